package reduct

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// usualPage is how many records a ReductStore puts on a page unless it is told otherwise.
const usualPage = 85

// pace bounds what passes ask of the edge store, heads and payloads alike: by any moment at most rate × time and one page more, however many ask at
// once. Each page takes its share before it is asked for, and gives back what it did not have.
type pace struct {
	rate int64 // records a second; 0 = no bound

	mu   sync.Mutex
	next time.Time // guarded by mu; when another page may be asked for
	page int64     // guarded by mu; the share of a page: the largest so far
}

// ask takes the share of a page and returns how long the caller has to wait before it asks for it.
func (p *pace) ask(now time.Time) (wait time.Duration, share int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next.Before(now) {
		p.next = now // what was not asked for meanwhile is not made up for
	}
	wait, share = p.next.Sub(now), max(p.page, usualPage)
	p.next = p.next.Add(p.cost(share))
	return wait, share
}

// got tells how many records the page had.
func (p *pace) got(share, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.page = max(p.page, n)
	p.next = p.next.Add(p.cost(n - share))
}

func (p *pace) cost(n int64) time.Duration {
	return time.Duration(n) * time.Second / time.Duration(p.rate)
}

// breathe waits until the pace lets a pass ask for a page, and returns what has to be called with the number of its records. Where c is not nil, its
// lock is held, and a sender that waits for it ends the wait: what a sender waits for has no pace.
func (r *Reconciler) breathe(ctx context.Context, c *course) (got func(n int), err error) {
	if r.pace.rate == 0 || c != nil && c.senders.Load() > 0 {
		return func(int) {}, nil
	}
	wait, share := r.pace.ask(r.clock.now())
	got = func(n int) { r.pace.got(share, int64(n)) }
	if wait <= 0 {
		return got, nil
	}
	var came <-chan struct{}
	if c != nil {
		came = c.came
	}
	for end := r.clock.after(wait); ; {
		select {
		case <-end:
			return got, nil
		case <-ctx.Done():
			got(0)
			return nil, fmt.Errorf("wait for source.rate: %w", ctx.Err())
		case <-came:
			if c.senders.Load() > 0 { // else it has given up since
				return got, nil
			}
		}
	}
}

// clock is the time, which tests make.
type clock struct {
	now   func() time.Time
	after func(time.Duration) <-chan time.Time
}

// take waits for the stream as somebody whom a sender waits for.
func (c *course) take(ctx context.Context, stream string) error {
	c.senders.Add(1)
	defer c.senders.Add(-1)
	select {
	case c.came <- struct{}{}:
	default: // told already
	}
	return c.enter(ctx, stream)
}

// enter waits until the stream is the caller's alone.
func (c *course) enter(ctx context.Context, stream string) error {
	select {
	case <-c.lock:
		c.paced = false
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the reconcile of %s: %w", stream, bridge.ErrRetry)
	}
}

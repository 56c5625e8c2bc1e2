package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// reading is how a pump gets its rows. Where what came in since the remote is back may overtake, two read: one the rows that were there then, the
// other those appended since. The first waits whenever the queue is full of what cannot be sent yet, the second must not wait for that.
type reading struct {
	rows, live <-chan Row
	lost       <-chan error // a reader had to stop
	end        context.CancelFunc
}

// open returns what a pump should wait for after a turn.
func (r *reading) open(at Progress) (rows, live <-chan Row, again <-chan time.Time) {
	if at.Room {
		rows = r.rows
	}
	if at.LiveRoom {
		live = r.live
	}
	if at.Again > 0 {
		again = time.After(at.Again)
	}
	return rows, live, again
}

// read reads all rows in their order, until ctx ends.
func (p *Pump) read(ctx context.Context, parts *sync.WaitGroup) reading {
	ctx, end := context.WithCancel(ctx)
	out, lost := make(chan Row, rowsAtOnce), make(chan error, 1)
	parts.Go(func() { p.follow(ctx, Row{}, out, lost) })
	return reading{rows: out, lost: lost, end: end}
}

// readAnew reads the rows that there are now, with an empty one at their end, and beside them as live ones those that are appended from now on.
func (p *Pump) readAnew(ctx context.Context, parts *sync.WaitGroup) reading {
	ctx, end := context.WithCancel(ctx)
	out, live, lost := make(chan Row, rowsAtOnce), make(chan Row, rowsAtOnce), make(chan error, 2) // one of each reader
	parts.Go(func() {
		newest, err := p.newest(ctx)
		if err != nil {
			lost <- err
			return
		}
		parts.Go(func() { p.catchUp(ctx, newest, out, lost) })
		p.follow(ctx, Row{Number: newest, Live: true}, live, lost)
	})
	return reading{rows: out, live: live, lost: lost, end: end}
}

// newest returns the number of the last row that is there to be sent, 0 where there is none.
func (p *Pump) newest(ctx context.Context) (number uint64, err error) {
	for ctx.Err() == nil {
		rows, err := p.there(number)
		if err != nil || len(rows) == 0 {
			return number, err
		}
		number = rows[len(rows)-1].Number
	}
	return number, nil
}

// catchUp hands over the rows up to newest, and an empty one then.
func (p *Pump) catchUp(ctx context.Context, newest uint64, out chan<- Row, lost chan<- error) {
	for after := uint64(0); ; {
		rows, err := p.there(after)
		if err != nil {
			lost <- err
			return
		}
		if len(rows) == 0 || rows[0].Number > newest {
			hand(ctx, Row{Number: newest}, out)
			return
		}
		for _, r := range rows {
			if r.Number > newest {
				break
			}
			if !hand(ctx, r, out) {
				return
			}
			after = r.Number
		}
	}
}

// follow hands over the rows after one, like it, as they are appended.
func (p *Pump) follow(ctx context.Context, last Row, out chan<- Row, lost chan<- error) {
	for {
		rows, err := p.Outbox.Next(ctx, last.Number, rowsAtOnce)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			lost <- fmt.Errorf("read rows after %d: %w", last.Number, err)
			return
		}
		for _, r := range rows {
			r.Live = last.Live
			if !hand(ctx, r, out) {
				return
			}
			last.Number = r.Number
		}
	}
}

// there returns rows after a number without waiting.
func (p *Pump) there(after uint64) ([]Row, error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	rows, err := p.Outbox.Next(ctx, after, rowsAtOnce)
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("read rows after %d: %w", after, err)
	}
	return rows, nil
}

// hand waits until out takes a row, and reports whether it did before ctx ended.
func hand(ctx context.Context, r Row, out chan<- Row) bool {
	select {
	case out <- r:
		return true
	case <-ctx.Done():
		return false
	}
}

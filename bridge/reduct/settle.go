package reduct

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// job is the settling of one stream: everything up to the last of times is fetched, but for times themselves, which their sender is
// about to deliver.
type job struct {
	stream string
	times  []int64   // ascending
	since  time.Time // a connection accepted later is not served: its sender may have forgotten times as well
	done   chan struct{}
	began  time.Time // set before done is closed, as err
	err    error
}

// Settle returns nil once a reconcile of the stream up to the last of times that began after since has ended (rule 7). Then the stream
// is the caller's until Release: a pass that is in the middle of older records has ended, and none begins. times are what the caller
// will deliver itself, ascending; it may reuse them afterwards. ErrRetry when ctx ends first: the reconcile goes on, a later call
// finds it done.
func (r *Reconciler) Settle(ctx context.Context, stream string, since time.Time, times []int64) error {
	c := r.course(stream)
	for {
		j := r.join(c, stream, since, times)
		if j == nil {
			return c.take(ctx, stream)
		}
		select {
		case <-j.done:
		case <-ctx.Done():
			return fmt.Errorf("reconcile of %s has not ended: %w", stream, bridge.ErrRetry)
		}
		if j.err != nil {
			return j.err
		}
		if !j.since.Before(r.since(c, since)) {
			return c.take(ctx, stream)
		}
	}
}

// Release ends what a Settle that returned nil began.
func (r *Reconciler) Release(stream string) { r.course(stream).lock <- struct{}{} }

// take waits until the stream is the caller's alone.
func (c *course) take(ctx context.Context, stream string) error {
	select {
	case <-c.lock:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the reconcile of %s: %w", stream, bridge.ErrRetry)
	}
}

// since returns the later of a connection's beginning and the last gap.
func (r *Reconciler) since(c *course, accepted time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.noted.After(accepted) {
		return c.noted
	}
	return accepted
}

// join returns the job to wait for; nil where the stream is settled.
func (r *Reconciler) join(c *course, stream string, since time.Time, times []int64) *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.noted.After(since) {
		since = c.noted
	}
	if !c.settled.Before(since) {
		return nil
	}
	if c.job != nil {
		return c.job // once it has ended, the caller sees whether it is late enough
	}
	j := &job{stream: stream, since: since, times: slices.Clone(times), done: make(chan struct{})}
	select {
	case r.jobs <- j:
		c.job = j
		return j
	default: // so many wait that this one must come again
		j.err = fmt.Errorf("reconcile of %s cannot begin: %w", stream, bridge.ErrRetry)
		close(j.done)
		return j
	}
}

// Noted tells that a gap of the stream was noted: the next batch waits until it is closed (rule 6).
func (r *Reconciler) Noted(stream string) {
	c := r.course(stream)
	r.mu.Lock()
	c.noted = time.Now()
	r.mu.Unlock()
}

// settleJobs works jobs off until ctx ends.
func (r *Reconciler) settleJobs(ctx context.Context) {
	for {
		select {
		case j := <-r.jobs:
			r.settleJob(ctx, j)
		case <-ctx.Done():
			return
		}
	}
}

func (r *Reconciler) settleJob(ctx context.Context, j *job) {
	j.began = time.Now()
	late, err := r.settle(ctx, j)
	if err != nil {
		r.loud.warn("a stream cannot be reconciled; its sender is answered 503", "stream", j.stream, "input", r.mind.Name, "err", err)
	}
	c := r.course(j.stream)
	r.mu.Lock()
	c.job = nil
	// A batch of old records says nothing of what was forgotten beyond it: it may pass, but the next one waits again.
	if err == nil && !late {
		c.settled = j.since
	}
	r.mu.Unlock()
	j.err = err
	close(j.done)
}

// settle fetches what was forgotten of a stream.
func (r *Reconciler) settle(ctx context.Context, j *job) (late bool, err error) {
	t, err := r.freshTask(ctx, j.began)
	if err != nil {
		return false, err
	}
	err = r.locked(ctx, j.stream, func(c *course) error {
		if err := r.closeGaps(ctx, t, c, j.stream); err != nil {
			return err
		}
		entry, ours := t.entry(j.stream)
		if !ours {
			r.loud.warn("a stream that source.replication does not send; what its sender forgets is not fetched", "stream", j.stream, "task", t.name)
			return nil
		}
		if len(t.stateful) > 0 || len(j.times) == 0 {
			return nil
		}
		from, err := r.cfg.since()
		if err != nil {
			return fmt.Errorf("source.since: %w", err)
		}
		newest, seen := r.mind.Marks.Newest(j.stream)
		seen = seen && newest <= j.began.UnixMicro() // a record from the future says nothing of those before it
		if seen {
			from = max(from, newest+1)
		}
		// What is at or before the mark was compared: nothing of it can have been forgotten since without having been seen.
		if mark, marked := r.mind.Marks.Reconciled(j.stream); marked {
			from = max(from, mark+1)
		}
		last := j.times[len(j.times)-1]
		if late = seen && last <= newest; from > last {
			return nil
		}
		_, err = r.fetch(ctx, t, errand{entry: entry, stream: j.stream, from: from, upTo: last, bounded: true, except: j.times})
		return err
	})
	return late, err
}

// freshTask returns the task as it was at some time after began; changing a task makes its sender open a new connection.
func (r *Reconciler) freshTask(ctx context.Context, began time.Time) (*task, error) {
	r.mu.Lock()
	t := r.task
	r.mu.Unlock()
	if t != nil && t.read.After(began) {
		return t, nil
	}
	t, err := r.source.task(ctx, r.cfg.Replication)
	if err == nil {
		r.remember(t)
	}
	return t, err
}

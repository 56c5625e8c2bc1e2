package reduct

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// Waiting is a batch that waits to be delivered.
type Waiting struct {
	Stream   string
	Accepted time.Time // when its connection was, which names the connection
	hold.Batch
}

// job is the settling of one stream for one connection: what its sender forgot before is fetched, the batch itself is left to it.
type job struct {
	Waiting
	done  chan struct{}
	began time.Time     // set before done is closed, as all below
	turn  hold.Settling // only to be compared
	err   error
}

// Settle returns nil once a settling of the stream for the batch's connection has ended that no gap came after (rule 7). Then the stream is the
// caller's until Release: a pass that is in the middle of older records has ended, and none begins. The caller may reuse w's slices
// afterwards. ErrRetry when ctx ends first: the settling goes on, a later call finds it done.
func (r *Reconciler) Settle(ctx context.Context, w Waiting) error {
	c := r.course(w.Stream)
	for {
		j := r.join(c, w)
		if j == nil {
			return c.take(ctx, w.Stream)
		}
		select {
		case <-j.done:
		case <-ctx.Done():
			return fmt.Errorf("reconcile of %s has not ended: %w", w.Stream, bridge.ErrRetry)
		}
		if j.err != nil {
			return j.err
		}
		if r.serves(c, j, w) {
			return c.take(ctx, w.Stream)
		}
	}
}

// serves reports whether a settling that has ended was for this very batch: it need not say anything of later ones.
func (r *Reconciler) serves(c *course, j *job, w Waiting) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return j.Accepted.Equal(w.Accepted) && slices.Equal(j.Times, w.Times) && c.hold.Fresh(j.turn)
}

// Release ends what a Settle that returned nil began.
func (r *Reconciler) Release(stream string) { r.course(stream).lock <- struct{}{} }

// join returns the job to wait for; nil where the connection's batches pass.
func (r *Reconciler) join(c *course, w Waiting) *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.hold.Passes(w.Accepted) {
		return nil
	}
	if c.job != nil {
		return c.job // once it has ended, the caller sees whether it was for him
	}
	w.Times, w.Updates = slices.Clone(w.Times), slices.Clone(w.Updates)
	j := &job{Waiting: w, done: make(chan struct{})}
	select {
	case r.jobs <- j:
		c.job = j
		return j
	default: // so many wait that this one must come again
		j.err = fmt.Errorf("reconcile of %s cannot begin: %w", w.Stream, bridge.ErrRetry)
		close(j.done)
		return j
	}
}

// Noted tells that a gap of the stream was noted: the next batch waits until it is closed (rule 6).
func (r *Reconciler) Noted(stream string) {
	c := r.course(stream)
	r.mu.Lock()
	c.hold.Noted()
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
	c := r.course(j.Stream)
	r.mu.Lock()
	j.began, j.turn = time.Now(), c.hold.Begin(j.Accepted)
	r.mu.Unlock()
	complete, err := r.settle(ctx, j)
	if err != nil {
		r.loud.warn("a stream cannot be reconciled; its sender is answered 503", "stream", j.Stream, "input", r.mind.Name, "err", err)
	}
	r.mu.Lock()
	c.job = nil
	if err == nil {
		c.hold.End(j.turn, complete)
	}
	r.mu.Unlock()
	j.err = err
	close(j.done)
}

// settle fetches what was forgotten of a stream; see hold.Walk for complete.
func (r *Reconciler) settle(ctx context.Context, j *job) (complete bool, err error) {
	t, err := r.freshTask(ctx, j.began)
	if err != nil {
		return false, err
	}
	err = r.locked(ctx, j.Stream, func(c *course) error {
		facts, err := r.facts(j.Stream, j.began)
		if err != nil {
			return err
		}
		if err := r.closeGaps(ctx, t, c, j.Stream, facts); err != nil {
			return err
		}
		entry, ours := t.entry(j.Stream)
		if !ours {
			r.loud.warn("a stream that source.replication does not send; what its sender forgets is not fetched", "stream", j.Stream, "task", t.name)
		}
		if !ours || len(t.stateful) > 0 || len(j.Times) == 0 {
			complete = true
			return nil
		}
		beyond, err := r.beyond(ctx, t, entry, j.Last())
		if err != nil {
			return err
		}
		walk := facts.Settle(j.Batch, beyond)
		complete = walk.Complete
		return r.walk(ctx, t, entry, j.Waiting, walk)
	})
	return complete, err
}

// walk fetches what a settling has to.
func (r *Reconciler) walk(ctx context.Context, t *task, entry string, w Waiting, walk hold.Walk) error {
	if !walk.Before.Empty() {
		if _, err := r.fetch(ctx, t, errandOf(entry, w.Stream, walk.Before)); err != nil {
			return err
		}
	}
	if walk.Beside.Empty() {
		return nil
	}
	e := errandOf(entry, w.Stream, walk.Beside)
	if other, err := r.others(ctx, t, e, w.Batch); err != nil || !other {
		return err
	}
	_, err := r.fetch(ctx, t, e)
	return err
}

// facts is what the ledger knows of a stream.
func (r *Reconciler) facts(stream string, now time.Time) (f hold.Facts, err error) {
	if f.Since, err = r.cfg.since(); err != nil {
		return f, fmt.Errorf("source.since: %w", err)
	}
	f.Now = now.UnixMicro()
	f.Newest, f.Seen = r.mind.Marks.Newest(stream)
	f.Mark, f.Marked = r.mind.Marks.Reconciled(stream)
	return f, nil
}

// freshTask returns the task as it was at some time after began; changing a task makes its sender open a new connection.
func (r *Reconciler) freshTask(ctx context.Context, began time.Time) (*task, error) {
	r.mu.Lock()
	t := r.task
	r.mu.Unlock()
	if t != nil && t.read.After(began) {
		return t, nil
	}
	t, err := r.readTask(ctx)
	if err == nil {
		r.remember(t)
	}
	return t, err
}

// readTask is the task as it is now.
func (r *Reconciler) readTask(ctx context.Context) (*task, error) {
	if r.given != nil {
		return r.given, nil
	}
	return r.source.task(ctx, r.cfg.Replication)
}

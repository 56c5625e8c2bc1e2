package reduct

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reductstore/reduct-go/model"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// Pass reconciles every stream of the task once, those with gaps first: a gap holds its stream. It goes on past a stream that fails. nil: all of them
// were compared.
func (r *Reconciler) Pass(ctx context.Context) error {
	x := round{Reconciler: r, began: time.Now(), wanted: func(string) bool { return true }, turn: oneTurn}
	x.back = r.lookBack(x.began)
	err := x.pass(ctx)
	r.behind.Store(x.more.Load())
	r.passed.Store(x.summary(err))
	if err != nil {
		return err
	}
	now := time.Now()
	r.last.Store(&now)
	if r.mind.Metrics != nil {
		r.mind.Metrics.ReconcileSuccess.Store(now.UnixMicro())
	}
	return nil
}

// Last is when a pass last ended well; nil where none has.
func (r *Reconciler) Last() *time.Time { return r.last.Load() }

// round is one look at the streams that somebody wants to be looked at.
type round struct {
	*Reconciler
	began   time.Time
	wanted  func(stream string) bool
	turn    time.Duration // for which a stream that has no sender is read at most, before others are; 0 = to its end
	back    bool          // such streams are compared with what was read before, too
	more    atomic.Bool   // a turn was over before the stream's end
	task    *task
	entries []model.EntryInfo

	guard sync.Mutex
	found map[string]*StreamReport // guarded by guard; by stream
}

// pass does what Pass says.
func (x *round) pass(ctx context.Context) (err error) {
	if x.task, err = x.readTask(ctx); err != nil {
		return err
	}
	x.remember(x.task)
	err = x.gaps(ctx)
	if bad := x.task.comparable(); bad != nil { // whoever asked must not take that for a reconcile
		return errors.Join(err, bad)
	}
	if futile(err) {
		return err
	}
	var unlisted error
	if x.entries, unlisted = x.source.entries(ctx, x.task.srcBucket); unlisted != nil {
		return errors.Join(err, unlisted)
	}
	return errors.Join(err, x.each(ctx, func(ctx context.Context, e *model.EntryInfo) error {
		if x.given == nil {
			return errors.Join(x.entry(ctx, e), x.attachments(ctx, e.Name))
		}
		err := x.pull(ctx, e)
		if x.back {
			err = errors.Join(err, x.attachments(ctx, e.Name))
		}
		return err
	}))
}

// each calls f for the entries, source.parallel of them at once, and returns when all calls have ended. Once one has failed as all others would,
// no more begin.
func (x *round) each(ctx context.Context, f func(context.Context, *model.EntryInfo) error) error {
	errs := make([]error, len(x.entries))
	var next atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range min(len(errs), max(x.cfg.Parallel, 1)) {
		wg.Go(func() {
			for !stop.Load() && ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(errs) {
					return
				}
				errs[i] = f(ctx, &x.entries[i])
				stop.Store(stop.Load() || futile(errs[i]))
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// futile reports whether the next stream would fail for the same reason, after the same wait.
func futile(err error) bool {
	return errors.Is(err, errUnreachable) || errors.Is(err, bridge.ErrFull) || errors.Is(err, bridge.ErrClosed) ||
		errors.Is(err, bridge.ErrCorrupt) || errors.Is(err, context.Canceled)
}

// paced runs f at the pace of a pass while nobody else reconciles the stream or delivers to it.
func (x *round) paced(ctx context.Context, stream string, f func(*course) error) error {
	c := x.course(stream)
	if err := c.enter(ctx, stream); err != nil {
		return err
	}
	defer x.Release(stream)
	c.paced, c.found, c.gone = true, Counts{}, nil
	began := time.Now()
	err := f(c)
	x.count(stream, c.found, time.Since(began))
	if err != nil {
		return fmt.Errorf("reconcile %s: %w", stream, err)
	}
	return nil
}

// gaps closes the gaps that can be closed.
func (x *round) gaps(ctx context.Context) error {
	open, err := x.mind.Gaps.OpenGaps()
	if err != nil {
		return fmt.Errorf("list gaps: %w", err)
	}
	var streams []string
	for _, g := range open {
		if bridge.Bucket(g.Stream) == x.task.dstBucket && x.wanted(g.Stream) { // those of other buckets are for another input's reconciler
			streams = append(streams, g.Stream)
		}
	}
	slices.Sort(streams)
	var errs []error
	for _, stream := range slices.Compact(streams) {
		err := x.paced(ctx, stream, func(c *course) error {
			facts, err := x.facts(stream, time.Now())
			if err != nil {
				return err
			}
			return x.closeGaps(ctx, x.task, c, stream, facts)
		})
		if errs = append(errs, err); futile(err) {
			break
		}
	}
	return errors.Join(errs...)
}

// attachments compares all attachments of an entry: the list does not show them, so that there is no end to go by.
func (x *round) attachments(ctx context.Context, entry string) error {
	meta := entry + "/" + metaEntry
	stream := x.task.stream(meta)
	if !x.task.selects(meta) || !x.wanted(stream) {
		return nil
	}
	return x.paced(ctx, stream, func(*course) error {
		_, err := x.fetch(ctx, x.task, errand{entry: meta, stream: stream, fresh: x.given != nil})
		return err
	})
}

// entry compares one stream from its mark on.
func (x *round) entry(ctx context.Context, e *model.EntryInfo) error {
	stream := x.task.stream(e.Name)
	if !x.task.selects(e.Name) || e.RecordCount == 0 || !x.wanted(stream) {
		return nil
	}
	return x.paced(ctx, stream, func(c *course) error {
		began := time.Now()
		facts, err := x.facts(stream, began)
		if err != nil {
			return err
		}
		p := facts.Pass(hold.Extent{Oldest: e.OldestRecord, Latest: e.LatestRecord, Some: true}, c.ahead, time.Duration(x.cfg.Overlap).Microseconds())
		if !p.Overtaken.Empty() {
			if err := x.overtaken(ctx, stream, p.Overtaken); err != nil {
				return err
			}
		}
		var found hold.Found
		if !p.Compare.Empty() {
			if err := x.finished(ctx, c, e, p.Compare.To); err != nil {
				return err
			}
			if found, err = x.fetch(ctx, x.task, errandOf(e.Name, stream, p.Compare)); err != nil {
				return err
			}
		}
		if !p.Vouches(found, time.Since(began)) {
			if err := x.passedBy(ctx, e.Name, &p); err != nil {
				return err
			}
		}
		c.ahead = hold.Ahead{Latest: e.LatestRecord, Known: true}
		upTo, moved := p.Mark(found)
		if !moved {
			return nil
		}
		bridge.CrashPoint("reconcile.mark")
		return x.mind.Marks.SetReconciled(ctx, stream, upTo)
	})
}

// passedBy looks again for the oldest record of an entry that was just compared: what was evicted since the entries were listed, which another
// stream that waits for a full ledger can make long ago, the comparison may not have seen. The list of all entries is long, so that it is asked
// for only where the comparison does not vouch for itself.
func (x *round) passedBy(ctx context.Context, entry string, p *hold.Pass) error {
	oldest, err := x.source.oldest(ctx, x.task.srcBucket, entry)
	if err != nil {
		return err
	}
	if lost := p.PassedBy(oldest, time.Now().UnixMicro()); !lost.Empty() {
		return x.overtaken(ctx, x.task.stream(entry), lost)
	}
	return nil
}

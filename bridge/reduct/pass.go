package reduct

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// Pass reconciles every stream of the task once. It goes on past a stream that fails. nil: all of them were compared.
func (r *Reconciler) Pass(ctx context.Context) error {
	t, err := r.source.task(ctx, r.cfg.Replication)
	if err != nil {
		return err
	}
	r.remember(t)
	entries, err := r.source.entries(ctx, t.srcBucket)
	if err != nil {
		return err
	}
	var errs []error
	if len(t.stateful) > 0 { // nothing can be compared, and whoever asked must not take that for a reconcile
		entries = nil
		errs = append(errs, fmt.Errorf("the condition of replication task %s depends on what it saw before (%s): "+
			"what it forgets cannot be fetched", t.name, strings.Join(t.stateful, " ")))
	}
	for _, e := range entries {
		err := r.passEntry(ctx, t, e.Name, hold.Extent{Oldest: e.OldestRecord, Latest: e.LatestRecord, Some: e.RecordCount > 0})
		errs = append(errs, err)
		if ctx.Err() != nil || futile(err) {
			return errors.Join(errs...)
		}
	}
	errs = append(errs, r.passGaps(ctx, t))
	if err := errors.Join(errs...); err != nil {
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

// futile reports whether the next stream would fail for the same reason, after the same wait.
func futile(err error) bool {
	return errors.Is(err, errUnreachable) || errors.Is(err, bridge.ErrFull) || errors.Is(err, bridge.ErrClosed) ||
		errors.Is(err, bridge.ErrCorrupt)
}

// passEntry reconciles an entry and the attachments that belong to it.
func (r *Reconciler) passEntry(ctx context.Context, t *task, entry string, has hold.Extent) error {
	var errs []error
	if t.selects(entry) && has.Some {
		errs = append(errs, r.passStream(ctx, t, entry, has))
	}
	// The list does not show attachments. They have no end to go by: all that is there is compared.
	if meta := entry + "/" + metaEntry; t.selects(meta) {
		errs = append(errs, r.locked(ctx, t.stream(meta), func(*course) error {
			_, err := r.fetch(ctx, t, errand{entry: meta, stream: t.stream(meta)})
			return err
		}))
	}
	return errors.Join(errs...)
}

// passStream compares one stream from its mark on.
func (r *Reconciler) passStream(ctx context.Context, t *task, entry string, has hold.Extent) error {
	stream := t.stream(entry)
	return r.locked(ctx, stream, func(c *course) error {
		began := time.Now()
		facts, err := r.facts(stream, began)
		if err != nil {
			return err
		}
		p := facts.Pass(has, c.ahead, time.Duration(r.cfg.Overlap).Microseconds())
		if !p.Overtaken.Empty() {
			if err := r.overtaken(ctx, stream, p.Overtaken); err != nil {
				return err
			}
		}
		var found hold.Found
		if !p.Compare.Empty() {
			if found, err = r.fetch(ctx, t, errandOf(entry, stream, p.Compare)); err != nil {
				return err
			}
		}
		if !p.Vouches(found, time.Since(began)) {
			if err := r.passedBy(ctx, t, entry, &p); err != nil {
				return err
			}
		}
		c.ahead = hold.Ahead{Latest: has.Latest, Known: true}
		upTo, moved := p.Mark(found)
		if !moved {
			return nil
		}
		return r.mind.Marks.SetReconciled(ctx, stream, upTo)
	})
}

// passedBy looks again for the oldest record of an entry that was just compared: what was evicted since the entries were listed, which another
// stream that waits for a full ledger can make long ago, the comparison may not have seen. The list of all entries is long, so that it is asked
// for only where the comparison does not vouch for itself.
func (r *Reconciler) passedBy(ctx context.Context, t *task, entry string, p *hold.Pass) error {
	entries, err := r.source.entries(ctx, t.srcBucket)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name != entry {
			continue
		}
		if lost := p.PassedBy(e.OldestRecord, time.Now().UnixMicro()); !lost.Empty() {
			return r.overtaken(ctx, t.stream(entry), lost)
		}
	}
	return nil
}

package reduct

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// closeGaps fetches what the gaps of a stream say is missing, and closes those of which nothing is left. One that cannot be made whole stays open: what
// it names is still there, or somebody has to look at it, but it no longer holds the stream. What is missing before a gap comes before it. The
// caller holds the stream's lock.
func (r *Reconciler) closeGaps(ctx context.Context, t *task, c *course, stream string, facts hold.Facts) error {
	open, err := r.mind.Gaps.OpenGaps()
	if err != nil {
		return fmt.Errorf("list gaps: %w", err)
	}
	c.remember(open)
	slices.SortStableFunc(open, func(a, b bridge.Gap) int { return cmp.Compare(a.From, b.From) })
	for _, g := range open {
		if g.Stream != stream || c.hopeless[g.ID] || kind(g) == asideReason && g.Noted.After(r.made) {
			continue
		}
		if err := r.beforeGap(ctx, t, g, facts); err != nil {
			return err
		}
		end, err := r.refill(ctx, t, g)
		if err != nil && !forGood(err) {
			return err
		}
		if end.Open == rangeOf(g) {
			c.hopeless[g.ID] = true
			r.loud.warn("a gap that cannot be refilled stays open", "stream", stream, "from", g.From, "to", g.To, "reason", g.Reason, "err", err)
			continue
		}
		if err := r.endGap(ctx, g, end); err != nil {
			return err
		}
	}
	return nil
}

// remember leaves of the gaps that were tried those that are still open: a gap that grows or shrinks gets a new ID, so that a sender which is wrong for
// ever would fill the memory with old ones.
func (c *course) remember(open []bridge.Gap) {
	still := make(map[int64]bool)
	for _, g := range open {
		if c.hopeless[g.ID] {
			still[g.ID] = true
		}
	}
	c.hopeless = still
}

func rangeOf(g bridge.Gap) hold.Range { return hold.Range{From: g.From, To: g.To} }

// beforeGap fetches what is missing before a gap.
func (r *Reconciler) beforeGap(ctx context.Context, t *task, g bridge.Gap, facts hold.Facts) error {
	before := hold.BeforeGap(facts.From(), rangeOf(g))
	entry, ours := t.entry(g.Stream)
	if before.Empty() || !ours || len(t.stateful) > 0 {
		return nil
	}
	_, err := r.fetch(ctx, t, errandOf(entry, g.Stream, before))
	return err
}

// forGood reports whether a fetch will fail in the same way again, for what the edge store holds.
func forGood(err error) bool {
	return errors.Is(err, bridge.ErrRejected) || errors.Is(err, errHead) || errors.Is(err, errBody)
}

// refill fetches what is there of a gap and returns what becomes of the rest.
func (r *Reconciler) refill(ctx context.Context, t *task, g bridge.Gap) (end hold.Ending, err error) {
	end.Open = rangeOf(g)
	entry, ours := t.entry(g.Stream)
	if !ours || len(t.stateful) > 0 || kind(g) == updateReason {
		return end, nil
	}
	found, err := r.fetch(ctx, t, errandOf(entry, g.Stream, rangeOf(g)))
	if err != nil {
		return end, err
	}
	var oldest int64
	if found.Doubtful(rangeOf(g)) && !isMeta(entry) { // attachments are not in the list: nobody can tell whether they were evicted
		if oldest, err = r.source.oldest(ctx, t.srcBucket, entry); err != nil {
			return end, err
		}
	}
	return hold.EndGap(rangeOf(g), found, oldest), nil
}

// endGap closes a gap. What stays of it becomes a gap of its own first.
func (r *Reconciler) endGap(ctx context.Context, g bridge.Gap, end hold.Ending) error {
	bridge.CrashPoint("reconcile.gap.filled")
	if !end.Open.Empty() {
		rest := g
		rest.From, rest.To = end.Open.From, end.Open.To
		if err := noteGap(ctx, r.mind.Gaps, rest); err != nil {
			return err
		}
	}
	lost, n := end.Lost, int64(-1)
	if lost.From == lost.To { // perhaps it came in another way
		var unseen [1]bool
		if err := r.mind.Intake.Unseen(ctx, g.Stream, []int64{lost.From}, unseen[:]); err != nil {
			return fmt.Errorf("look up the record of a gap: %w", err)
		}
		if n = 1; !unseen[0] {
			n = 0
		}
	}
	if lost.Empty() || n == 0 {
		if err := r.mind.Gaps.CloseGap(ctx, g.ID); err != nil {
			return fmt.Errorf("close gap %d of %s: %w", g.ID, g.Stream, err)
		}
		return nil
	}
	return r.lose(ctx, bridge.Loss{Stream: g.Stream, From: lost.From, To: lost.To, Records: n, Reason: evictedReason}, g.ID)
}

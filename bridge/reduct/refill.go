package reduct

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// closeGaps fetches what the gaps of a stream say is missing, and closes those that are whole. One that cannot be made whole stays
// open as the durable trace of what is missing, but no longer holds the stream. What is missing before a gap comes before it. The caller holds the stream's lock.
func (r *Reconciler) closeGaps(ctx context.Context, t *task, c *course, stream string, facts hold.Facts) error {
	open, err := r.mind.Gaps.OpenGaps()
	if err != nil {
		return fmt.Errorf("list gaps: %w", err)
	}
	slices.SortStableFunc(open, func(a, b bridge.Gap) int { return cmp.Compare(a.From, b.From) })
	for _, g := range open {
		if g.Stream != stream || c.hopeless[g.ID] || kind(g) == asideReason && g.Noted.After(r.made) {
			continue
		}
		if err := r.beforeGap(ctx, t, g, facts); err != nil {
			return err
		}
		whole, err := r.refill(ctx, t, g)
		if err != nil && !forGood(err) {
			return err
		}
		if !whole {
			if c.hopeless == nil {
				c.hopeless = make(map[int64]bool)
			}
			c.hopeless[g.ID] = true
			r.mind.Log.Warn("a gap that cannot be refilled stays open", "stream", stream, "from", g.From, "to", g.To,
				"reason", g.Reason, "err", err)
			continue
		}
		if err := r.mind.Gaps.CloseGap(ctx, g.ID); err != nil {
			return fmt.Errorf("close gap %d of %s: %w", g.ID, stream, err)
		}
	}
	return nil
}

// beforeGap fetches what is missing before a gap.
func (r *Reconciler) beforeGap(ctx context.Context, t *task, g bridge.Gap, facts hold.Facts) error {
	before := hold.BeforeGap(facts.From(), hold.Range{From: g.From, To: g.To})
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

// refill fetches what is there of a gap and reports whether the gap can be closed. What the edge store has evicted of its beginning
// becomes a gap of its own.
func (r *Reconciler) refill(ctx context.Context, t *task, g bridge.Gap) (whole bool, err error) {
	entry, ours := t.entry(g.Stream)
	if !ours || len(t.stateful) > 0 || kind(g) == updateReason {
		return false, nil
	}
	found, err := r.fetch(ctx, t, errandOf(entry, g.Stream, hold.Range{From: g.From, To: g.To}))
	if err != nil {
		return false, err
	}
	if found.Records == 0 || found.Left > 0 {
		return false, nil
	}
	if known := g.From > 0; known && found.First > g.From {
		rest := bridge.Gap{Stream: g.Stream, From: g.From, To: found.First - 1, Noted: time.Now(),
			Reason: "evicted from the edge store before it was fetched; " + g.Reason}
		if err := noteGap(ctx, r.mind.Gaps, rest); err != nil {
			return false, err
		}
	}
	return true, nil
}

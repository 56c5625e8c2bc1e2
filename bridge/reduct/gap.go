package reduct

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// maxGaps is how many gaps of a stream may be open: each is a row of the ledger, and a sender that is wrong is wrong again and again.
const maxGaps = 1000

// How the reasons of some gaps begin, by which they are told apart.
const (
	// A gap in a stream's updates. No reconcile can tell whether the edge store's labels are those that were forgotten, so it stays open as
	// the trace.
	updateReason = "label updates refused: "
	// A record that this configuration, or this version, does not take. Each run tries it once, in case there is another one by then.
	asideReason = "left in the edge store: "

	manyReason = "more gaps than a stream may have, taken together; the last: "
)

// kind returns how the gap's reason begins, where it is of one of these kinds.
func kind(g bridge.Gap) string {
	for _, k := range []string{updateReason, asideReason} {
		if strings.HasPrefix(g.Reason, k) {
			return k
		}
	}
	return ""
}

// noteGap makes a gap durable, unless an open one says the same. Where a stream has too many, the one that is nearest grows in its place.
func noteGap(ctx context.Context, list bridge.Gaps, g bridge.Gap) error {
	open, err := list.OpenGaps()
	if err != nil {
		return fmt.Errorf("list gaps: %w", err)
	}
	alike := 0
	near := bridge.Gap{ID: -1}
	for _, o := range open {
		if o.Stream != g.Stream {
			continue
		}
		if named := kind(o) == asideReason && kind(g) != updateReason; named && o.From == g.From && o.To == g.To {
			return nil // one record that was left behind
		}
		if kind(o) != kind(g) {
			continue
		}
		if o.From == g.From && o.To == g.To && o.Reason == g.Reason {
			return nil
		}
		if alike++; near.ID < 0 || distance(o, g) < distance(near, g) {
			near = o
		}
	}
	full := alike >= maxGaps
	if full {
		g.From, g.To = min(g.From, near.From), max(g.To, near.To)
		g.Reason = kind(g) + manyReason + strings.TrimPrefix(g.Reason, kind(g))
	}
	if err := list.NoteGap(ctx, g); err != nil {
		return fmt.Errorf("note a gap of %s: %w", g.Stream, err)
	}
	if !full {
		return nil
	}
	if err := list.CloseGap(ctx, near.ID); err != nil {
		return fmt.Errorf("close gap %d of %s, which has grown: %w", near.ID, g.Stream, err)
	}
	return nil
}

// distance is how much time lies between two gaps.
func distance(a, b bridge.Gap) int64 { return max(a.From-b.To, b.From-a.To, 0) }

// aside is a record that is left in the edge store. A gap says where it is.
type aside struct {
	time int64
	why  error
}

func oversized(it *item, most bridge.Size) aside {
	return aside{it.time, fmt.Errorf("record of %d bytes over max_record (%v)", it.size, most)}
}

func (a aside) gap(stream string) bridge.Gap {
	return bridge.Gap{Stream: stream, From: a.time, To: a.time, Reason: asideReason + a.why.Error(), Noted: time.Now()}
}

// setAside notes gaps for records of a stream that no open one covers.
func (r *Reconciler) setAside(ctx context.Context, stream string, left []aside) error {
	if len(left) == 0 {
		return nil
	}
	open, err := r.mind.Gaps.OpenGaps()
	if err != nil {
		return fmt.Errorf("list gaps: %w", err)
	}
	for _, a := range left {
		if slices.ContainsFunc(open, func(g bridge.Gap) bool {
			return g.Stream == stream && g.From <= a.time && a.time <= g.To && kind(g) != updateReason
		}) {
			continue
		}
		if err := noteGap(ctx, r.mind.Gaps, a.gap(stream)); err != nil {
			return err
		}
		r.loud.warn("record left in the edge store", "stream", stream, "time", a.time, "err", a.why)
	}
	return nil
}

// sift delivers a batch. Where that is refused for good, it does so record by record, so that one that is wrong does not keep the others
// out, and returns those that are refused on their own.
func sift(b *bridge.Batch, deliver func(*bridge.Batch) error) (wrong []aside, err error) {
	err = deliver(b)
	if !errors.Is(err, bridge.ErrRejected) {
		return nil, err
	}
	if len(b.Records) == 1 {
		return []aside{{b.Records[0].Time, err}}, nil
	}
	for i := range b.Records {
		err := deliver(&bridge.Batch{Stream: b.Stream, Records: b.Records[i : i+1 : i+1]})
		switch {
		case errors.Is(err, bridge.ErrRejected):
			wrong = append(wrong, aside{b.Records[i].Time, err})
		case err != nil:
			return nil, err
		}
	}
	return wrong, nil
}

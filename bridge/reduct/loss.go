package reduct

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// Why records are lost. Constant texts: the ledger joins losses of one reason that adjoin, so that a long outage is one and not thousands.
const (
	evictedReason   = "evicted from the edge store before it was fetched"
	overtakenReason = "evicted from the edge store before it was compared; what its sender had not delivered by then is lost"
	unreadReason    = "evicted from the edge store before it was read"
)

// lose lists n records of a range as lost, -1 where nobody can tell how many, and closes the gaps that end in that. The caller holds the stream's lock.
func (r *Reconciler) lose(ctx context.Context, l bridge.Loss, closes ...int64) error {
	l.Noted = time.Now()
	if err := r.mind.Gaps.Lose(ctx, l, closes...); err != nil {
		return fmt.Errorf("list what is lost: %w", err)
	}
	r.course(l.Stream).found.Losses++
	r.mu.Lock()
	r.total.Losses++
	r.mu.Unlock()
	r.mind.Log.Warn("records are lost", "stream", l.Stream, "from", time.UnixMicro(l.From).UTC(), "to", time.UnixMicro(l.To).UTC(),
		"records", l.Records, "reason", l.Reason)
	return nil
}

// evicted lists what was in the edge store a moment ago and is not any more: records that were asked for and did not come, in ascending order.
func (r *Reconciler) evicted(ctx context.Context, stream string, gone []int64) error {
	l := bridge.Loss{Stream: stream, From: gone[0], To: gone[len(gone)-1], Records: int64(len(gone)), Reason: evictedReason}
	if c := r.course(stream); len(c.gone) < maxGone {
		c.gone = append(c.gone, hold.Range{From: l.From, To: l.To})
	}
	return r.lose(ctx, l)
}

// maxGone is how many ranges a pass over one stream remembers of which it knows what was evicted. What is beyond is listed twice, as known and as not.
const maxGone = 100

// overtaken lists what the edge store's quota has passed over before it was compared, but for what this very pass has listed: nobody can tell any more
// how much of it there was. The mark moves behind it, so that it is said once.
func (r *Reconciler) overtaken(ctx context.Context, stream string, past hold.Range) error {
	reason := overtakenReason
	if r.given != nil {
		reason = unreadReason
	}
	known := r.course(stream).gone
	slices.SortFunc(known, func(a, b hold.Range) int { return cmp.Compare(a.From, b.From) })
	for _, piece := range past.Without(known) {
		l := bridge.Loss{Stream: stream, From: piece.From, To: piece.To, Records: -1, Reason: reason}
		if err := r.lose(ctx, l); err != nil {
			return err
		}
	}
	return r.mind.Marks.SetReconciled(ctx, stream, past.To)
}

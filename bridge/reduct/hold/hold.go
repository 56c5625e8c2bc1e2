// Package hold decides what must be fetched from the edge store before a sender's batch may pass (rule 7). A sender forgets without
// telling: what it forgot on an earlier connection has to come before what it sends on this one. It has no goroutine, no clock and no I/O, so that the
// same code runs in production and under a simulation that chooses every interleaving from a seed.
//
//	           newest seen            the waiting batch
//	                │                 first        last      end of the store, where it is near
//	───────────────┼──────────────────┼────────────┼─────────┼──▶ record time
//	                └── Before: taken ──┘└─ Beside: looked through, taken where anything but the batch's own is missing
package hold

import (
	"cmp"
	"slices"
	"time"
)

// usualMost is Stream.Most where none is set.
const usualMost = 64

// Stream is what is known of one stream's connections. The zero value knows nothing: every batch is held.
type Stream struct {
	// Most is how many connections are remembered, 24 bytes each: as many as the target accepts, those that are gone included. One that was forgotten is
	// settled once more; were more of them open than that, each batch would be.
	Most int

	settled []time.Time // connections whose batches pass, by when they were accepted
	gaps    int         // noted so far
}

// Passes reports whether the batches of a connection pass: a settling for it has ended, and no gap was noted since that began. One of another
// connection says nothing: that one's batch was left to its own sender, and two tasks may feed one stream.
func (s *Stream) Passes(accepted time.Time) bool {
	return slices.ContainsFunc(s.settled, accepted.Equal)
}

// Noted tells that a gap was noted: everybody's next batch waits until it is closed (rule 6).
func (s *Stream) Noted() {
	s.gaps++
	s.settled = nil
}

// Settling is one that was begun.
type Settling struct {
	accepted time.Time
	gaps     int
}

// Begin begins the settling of a connection.
func (s *Stream) Begin(accepted time.Time) Settling { return Settling{accepted, s.gaps} }

// Fresh reports whether no gap was noted since x began.
func (s *Stream) Fresh(x Settling) bool { return x.gaps == s.gaps }

// End ends a settling that went well. complete: it says that nothing is missing before any batch of the connection, not only the one it was for.
func (s *Stream) End(x Settling, complete bool) {
	if !complete || !s.Fresh(x) || s.Passes(x.accepted) {
		return
	}
	if most := cmp.Or(s.Most, usualMost); len(s.settled) >= most {
		s.settled = slices.Delete(s.settled, 0, len(s.settled)-most+1)
	}
	s.settled = append(s.settled, x.accepted)
}

// Facts is what is known of a stream when something is compared. Times are record times in microseconds.
type Facts struct {
	Since  int64 // nothing older is fetched
	Newest int64 // newest record seen, where Seen
	Mark   int64 // up to there everything was compared, where Marked
	Now    int64
	Seen   bool
	Marked bool
}

// seen reports whether Newest says something of what is before it: a record from the future does not.
func (f Facts) seen() bool { return f.Seen && f.Newest <= f.Now }

// From is the first time of which something may be missing that was to come in order. What is at or before the mark was compared: nothing of it can
// have been forgotten since without having been seen.
func (f Facts) From() int64 {
	from := f.Since
	if f.seen() {
		from = max(from, f.Newest+1)
	}
	if f.Marked {
		from = max(from, f.Mark+1)
	}
	return from
}

// Batch is what waits to be delivered by its sender.
type Batch struct {
	Times   []int64 // ascending, at least one
	Updates []int64 // ascending; those of Times that the sender was asked for when it told of new labels
}

// First and Last are the batch's ends.
func (b Batch) First() int64 { return b.Times[0] }
func (b Batch) Last() int64  { return b.Times[len(b.Times)-1] }

// Has reports whether a time is one of the batch's.
func (b Batch) Has(t int64) bool {
	_, ok := slices.BinarySearch(b.Times, t)
	return ok
}

// inOrder reports whether the batch is where its sender's log stands: not only labels of old records that have changed, and not only
// records that were written late. What a log has forgotten is older than where it stands, but for that of a killed store: see DESIGN.md, Limits.
func (f Facts) inOrder(b Batch) bool {
	if f.seen() && b.Last() <= f.Newest {
		return false
	}
	return slices.ContainsFunc(b.Times, func(t int64) bool {
		_, update := slices.BinarySearch(b.Updates, t)
		return !update
	})
}

// Beyond is what a look at the store behind the batch has found: one page at most.
type Beyond struct {
	Last int64 // time of the last record there, where Some
	Some bool
	More bool // the store goes on behind the page: its sender has a backlog
}

// Walk is what a settling fetches: everything that is missing in Before, then, where anything but the batch's own is missing in Beside, all that is missing
// there, the batch's own too. An empty range has To before From.
type Walk struct {
	Before, Beside Range
	Complete       bool // see Stream.End
}

// Range is of times, both included.
type Range struct{ From, To int64 }

var none = Range{0, -1}

// Empty reports whether no time is in r.
func (r Range) Empty() bool { return r.To < r.From }

// Settle returns what has to be fetched before b. Where the store ends soon behind the batch, its sender has little else to send, and the walk goes to the
// end: whatever is missing there is taken, and the settling is complete. Where it goes on, the sender has a backlog that it will bring itself, and only its
// order tells where the forgotten ends: the walk ends with the batch, and is complete where that is in order.
func (f Facts) Settle(b Batch, found Beyond) Walk {
	upTo := b.Last()
	if !found.More && found.Some {
		upTo = max(upTo, found.Last)
	}
	from := f.From()
	return Walk{
		Before:   Range{from, min(b.First()-1, upTo)},
		Beside:   Range{max(from, b.First()), upTo},
		Complete: !found.More || f.inOrder(b),
	}
}

// BeforeGap is what has to be fetched before a gap is refilled, where from is the first time of which something may be missing: a gap that is filled alone would
// bring its records before older ones that were forgotten as well.
func BeforeGap(from int64, gap Range) Range {
	if gap.To < from {
		return none
	}
	return Range{from, gap.From - 1}
}

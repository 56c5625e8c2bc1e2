package bridge

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Loss is a range of a stream's time of which records are known to be lost for good: nobody has them any more.
type Loss struct {
	ID       int64 // given by the ledger
	Stream   string
	From, To int64 // microseconds, both included
	Records  int64 // how many; -1 = nobody can tell
	Reason   string
	Noted    time.Time
}

// maxLosses is how many rows the list of a stream's losses has at most.
const maxLosses = 1000

// manyLosses begins the reason of a loss that stands for others, too, because the list is full.
const manyLosses = "more losses than a stream may have, taken together; the last: "

// Into adds l to the list of its stream's losses. It returns what is to be in the list, and the IDs of those in whose place it comes: of one
// reason, losses that overlap or adjoin are one, and in a full list the one that is nearest grows. The ID is 0 where none is replaced.
func (l Loss) Into(list []Loss) (whole Loss, replaces []int64) {
	whole = l
	whole.ID = 0
	for _, o := range list {
		if o.Reason == l.Reason && l.distance(o) <= 1 {
			whole, replaces = whole.with(o), append(replaces, o.ID)
		}
	}
	if len(replaces) > 0 || len(list) < maxLosses {
		return whole, replaces
	}
	near := slices.MinFunc(list, func(a, b Loss) int { return cmp.Compare(l.distance(a), l.distance(b)) })
	if near.Reason != l.Reason {
		whole.Reason = manyLosses + strings.TrimPrefix(l.Reason, manyLosses)
	}
	return whole.with(near), []int64{near.ID}
}

// distance is how far one begins behind the other's end; 0 where they overlap, 1 where they adjoin.
func (l Loss) distance(o Loss) uint64 {
	switch {
	case l.From > o.To:
		return uint64(l.From) - uint64(o.To)
	case o.From > l.To:
		return uint64(o.From) - uint64(l.To)
	}
	return 0
}

// with returns l grown by o, under the older of their IDs.
func (l Loss) with(o Loss) Loss {
	if l.ID == 0 || o.ID < l.ID {
		l.ID = o.ID
	}
	l.From, l.To = min(l.From, o.From), max(l.To, o.To)
	if l.Records < 0 || o.Records < 0 {
		l.Records = -1
	} else {
		l.Records += o.Records
	}
	if o.Noted.Before(l.Noted) {
		l.Noted = o.Noted
	}
	return l
}

package reduct

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// Closed is a range of a stream of which a pipeline's ledger does not know one by one any more what was taken in.
type Closed struct {
	Pipeline string
	bridge.ClosedRange
}

// sum is a number of records and the exclusive or of their times.
type sum struct {
	n    int64
	hash uint64
}

func (s *sum) add(t int64) {
	s.n++
	s.hash ^= uint64(t)
}

// closed is a Closed and what the edge store has of it.
type closed struct {
	Closed
	there sum
	taken sum // of there: what this configuration takes
}

// same reports whether ledger and edge store have the same records. What is too large, or cannot be read, is not in the ledger, unless the configuration
// was another one then.
func (c *closed) same() bool {
	mine := sum{c.Times, c.TimesHash}
	return c.there == mine || c.taken == mine
}

// lacks returns the time of the only record that the ledger lacks, if it is one.
func (c *closed) lacks() (t int64, one bool) {
	t = int64(c.there.hash ^ c.TimesHash)
	return t, c.there.n == c.Times+1 && c.From <= t && t <= c.To
}

// ranges are those of all pipelines of a stream, while the edge store's records pass by in ascending time.
type ranges struct {
	lists [][]closed // by pipeline; each ascends and does not overlap
	at    []int      // of each list, the first that does not end before the record that passed last
	first int64      // time of the first record that passed
}

func rangesOf(all []Closed) *ranges {
	r := &ranges{first: math.MaxInt64}
	slices.SortStableFunc(all, func(a, b Closed) int { return cmp.Or(cmp.Compare(a.Pipeline, b.Pipeline), cmp.Compare(a.From, b.From)) })
	for i, c := range all {
		if i == 0 || c.Pipeline != all[i-1].Pipeline {
			r.lists, r.at = append(r.lists, nil), append(r.at, 0)
		}
		last := &r.lists[len(r.lists)-1]
		*last = append(*last, closed{Closed: c})
	}
	return r
}

// widen returns in, so wide that it ends in no range: one is compared whole or not at all.
func (r *ranges) widen(in hold.Range) hold.Range {
	for again := true; again; {
		again = false
		for _, list := range r.lists {
			for _, c := range list {
				if c.To < in.From || c.From > in.To || in.From <= c.From && c.To <= in.To {
					continue
				}
				in.From, in.To, again = min(in.From, c.From), max(in.To, c.To), true
			}
		}
	}
	return in
}

// add lets one record of the edge store pass.
func (r *ranges) add(it *item, takes bool) {
	t := it.time
	r.first = min(r.first, t)
	for i, list := range r.lists {
		for r.at[i] < len(list) && list[r.at[i]].To < t {
			r.at[i]++
		}
		if r.at[i] == len(list) || t < list[r.at[i]].From {
			continue
		}
		c := &list[r.at[i]]
		if c.there.add(t); takes {
			c.taken.add(t)
		}
	}
}

// touching yields the ranges that have a part in in.
func (r *ranges) touching(in hold.Range) iter.Seq[*closed] {
	return func(yield func(*closed) bool) {
		for _, list := range r.lists {
			for i := range list {
				if c := &list[i]; c.From <= in.To && in.From <= c.To && !yield(c) {
					return
				}
			}
		}
	}
}

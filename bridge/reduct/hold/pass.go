package hold

import "time"

// A pass compares every stream with the store, at each interval, from the mark of the pass before on.
//
//	            mark                 newest seen, or the store's newest at the pass before
//	 overtaken    │ ◀─ overlap ─▶                    │      left to the sender
//	──────────────┼──────────────┼───────────────────┼──────────────────────────▶ record time
//	                 └────────── Compare ────────────┘

const (
	// quickPass is the longest comparison during which nothing is taken to be evicted.
	quickPass = time.Second
	// maxSeen is how many seen records between two wanted ones are read again: up to so many of them cost less than another query.
	maxSeen = 4
)

// Extent is what the store holds of an entry.
type Extent struct {
	Oldest, Latest int64
	Some           bool // else nothing
}

// Ahead is the newest record that the store had at the pass before, where there was one.
type Ahead struct {
	Latest int64
	Known  bool
}

// Found is what a comparison found in the store.
type Found struct {
	Records int   // that the task selects
	Lacking int   // of them, those that were unseen, and that were fetched
	Late    int   // of the fetched, those that are older than one taken before
	Lost    int   // of those that were to be fetched, and count as lacking, those that were evicted before
	Left    int   // of the records, those that are unseen and stay in the store: too large, unreadable, or refused for good
	First   int64 // time of the first
	Last    int64 // time of the last that is not in the future; 0 where there is none
}

// Pass is what a pass does to one stream.
type Pass struct {
	Overtaken Range // was evicted before it was compared: nobody can tell what of it was missing. Its end is the new mark
	Compare   Range

	facts Facts // with the mark behind Overtaken
}

// Pass returns what a pass does. What is newer than all that was seen and than all that the pass before saw is left to the sender, who is about to
// bring it: taken here as well, it would only be transferred twice. overlap, in microseconds, is looked at again.
func (f Facts) Pass(has Extent, before Ahead, overlap int64) Pass {
	p := Pass{Overtaken: f.Overtaken(has.Oldest)}
	if !p.Overtaken.Empty() {
		f.Mark = p.Overtaken.To
	}
	p.Compare = Range{f.Since, has.Latest}
	if f.Marked {
		p.Compare.From = max(f.Since, f.Mark+1-overlap)
	}
	if before.Known {
		newest := before.Latest
		if f.Seen {
			newest = max(newest, f.Newest)
		}
		p.Compare.To = min(p.Compare.To, newest)
	}
	p.facts = f
	return p
}

// Overtaken is what lies behind the mark and was evicted, where oldest is the time of the store's oldest record now. One in the future does not tell
// what there was before it.
func (f Facts) Overtaken(oldest int64) Range {
	if oldest = min(oldest, f.Now); !f.Marked || oldest <= f.Mark+1 {
		return none
	}
	return Range{f.Mark + 1, oldest - 1}
}

// Vouches reports whether a comparison that took so long saw by itself all that there was behind the mark: its first record is not behind it, so
// that nothing had been evicted by then, and it was over before much could be. Else the caller asks once more for the oldest record; see PassedBy.
func (p *Pass) Vouches(found Found, took time.Duration) bool {
	f := p.facts
	return !f.Marked || f.Mark >= p.Compare.To || found.Records > 0 && found.First <= f.Mark && found.Lacking == 0 && took < quickPass
}

// PassedBy moves the mark behind what was evicted while the pass compared, and returns that: it may not have seen it.
func (p *Pass) PassedBy(oldest, now int64) Range {
	return p.facts.passedBy(oldest, p.Compare.To, now)
}

func (f *Facts) passedBy(oldest, upTo, now int64) Range {
	f.Now = now
	lost := f.Overtaken(oldest)
	lost.To = min(lost.To, upTo)
	if !lost.Empty() {
		f.Mark = lost.To
	}
	return lost
}

// Mark is the new mark, false where it stays. It never goes beyond now: a mark that followed a clock which ran ahead would keep everything until then
// from being compared.
func (p *Pass) Mark(found Found) (upTo int64, moved bool) {
	upTo = p.Compare.To
	if upTo > p.facts.Now {
		upTo = found.Last
	}
	return upTo, upTo > p.facts.Mark
}

// Without returns what is left of r without others, which ascend and do not overlap.
func (r Range) Without(others []Range) (left []Range) {
	for _, o := range others {
		if o.To < r.From || r.Empty() {
			continue
		}
		if before := (Range{r.From, min(r.To, o.From-1)}); !before.Empty() {
			left = append(left, before)
		}
		if o.To >= r.To {
			return left
		}
		r.From = o.To + 1
	}
	if !r.Empty() {
		left = append(left, r)
	}
	return left
}

// Runs cuts the wanted of times, which ascend, into pieces that are fetched with one query each.
func Runs(times []int64, wanted []bool) (runs [][]int64) {
	last := 0
	for i, t := range times {
		if !wanted[i] {
			continue
		}
		if len(runs) == 0 || i-last > maxSeen+1 {
			runs = append(runs, nil)
		}
		runs[len(runs)-1] = append(runs[len(runs)-1], t)
		last = i
	}
	return runs
}

// Ending is what becomes of a gap that was looked for in the store: each of its records is here now, or in one of these ranges.
type Ending struct {
	Lost Range // the store has evicted it
	Open Range // stays a gap: it cannot be taken, or is neither there nor known to be evicted
}

// Doubtful reports whether EndGap has to know how far the store has evicted the entry.
func (found Found) Doubtful(gap Range) bool {
	return gap.From > 0 && (found.Records == 0 || found.First > gap.From)
}

// EndGap returns what becomes of a gap. oldest is the time of the entry's oldest record, math.MaxInt64 where it has none; it does not matter unless
// found is Doubtful. A gap from 0 on is one of which nobody knows where it begins: nothing can be called evicted of it.
func EndGap(gap Range, found Found, oldest int64) Ending {
	e := Ending{Lost: none, Open: none}
	absent := gap // up to its first record that is there
	if found.Records > 0 {
		absent.To = found.First - 1
	}
	if found.Doubtful(gap) && oldest > gap.From {
		e.Lost = Range{gap.From, min(oldest-1, absent.To)}
		absent.From = e.Lost.To + 1
	}
	switch {
	case found.Records == 0 || found.Left > 0:
		e.Open = Range{absent.From, gap.To}
	case found.Doubtful(gap):
		e.Open = absent
	}
	return e
}

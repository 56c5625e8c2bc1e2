package when

import (
	"math"

	"github.com/sluicebridge/sluice/bridge"
)

// filter is a condition at work on one stream. It has one user at a time.
type filter struct {
	*Condition
	onError Policy
	env     env
	window  window
	held    queue
	newest  int64 // time of the newest record that was asked about

	// Of the batch at work:
	passing []bridge.Record // to the modules, in their order
	from    []int32         // of each: its place in the batch; -1: of an earlier one
	fates   []fate          // of each record of the batch
	gone    [reasons]int64  // records that left for good, this batch's and earlier ones
	failed  [reasons]int64  // records on which the condition had no answer
	parked  []parking
	scratch []byte
	labels  []bridge.Label
	vs      []bridge.Verdict
}

// fate is what became of a record of the batch.
type fate struct {
	kind bridge.Kind
	why  Reason
}

// parking is a record that is set aside, and the place in the condition that failed.
type parking struct {
	at   int32
	path string
}

func newFilter(c *Condition, onError Policy) *filter {
	e := env{cells: make([]cell, c.uses.cells), places: make([]int, c.uses.labels)}
	return &filter{Condition: c, onError: onError, env: e, newest: math.MinInt64}
}

// take asks the condition about record i of the batch.
func (f *filter) take(i int, r *bridge.Record) {
	f.fates = append(f.fates, fate{})
	f.newest = max(f.newest, r.Time)
	f.env.begin(r)
	met, ok := f.met(&f.env)
	why := f.env.reason
	if !ok && why.failed() {
		f.failed[why]++
		switch f.onError {
		case Keep:
			met, ok = true, true
		case Park:
			f.fates[i] = fate{bridge.Parked, why}
			f.parked = append(f.parked, parking{int32(i), f.env.at})
			return
		}
	}
	f.hold(held{*r, int32(i), why})
	// Where there is no answer #ctx_after is not asked either, as in a replication task: such a record is not even context.
	if ok && f.window.passes(f.after, met, f.env.time) {
		f.pass()
	}
}

// hold puts a record behind those that are held, of which those leave that are too far before it.
func (f *filter) hold(h held) {
	if h.record.Revision != 0 {
		if old, found := f.held.replaced(h.record.Time); found {
			f.leave(old, old.why)
		}
	}
	f.held.push(h)
	if !f.before.time {
		f.trim(f.before.n + 1)
		return
	}
	// Times are compared as the store does it, without signs: one that goes back empties what is held.
	for now := uint64(h.record.Time); now-uint64(f.held.all()[0].record.Time) > f.before.n; {
		f.drop()
	}
}

// trim leaves the n youngest.
func (f *filter) trim(n uint64) {
	for uint64(f.held.len()) > n {
		f.drop()
	}
}

func (f *filter) drop() {
	h := f.held.pop()
	f.leave(h, h.why)
}

// leave notes that a record will not pass any more. One without an answer was counted when that was found.
func (f *filter) leave(h held, why Reason) {
	if !why.failed() {
		f.gone[why]++
	}
	if h.at >= 0 {
		f.fates[h.at] = fate{bridge.Dropped, why}
	}
}

// pass sends what is held to the modules, the record that was asked about last among it.
func (f *filter) pass() {
	for i := range f.held.all() {
		h := &f.held.all()[i]
		f.passing = append(f.passing, h.record)
		f.from = append(f.from, h.at)
		if h.at >= 0 {
			f.fates[h.at].kind = bridge.Passed
		}
	}
	f.held.empty()
}

// finish decides on what is left of the batch: what may still be asked for is kept, within bounds.
func (f *filter) finish() {
	if !f.before.holds() {
		f.trim(0)
		return
	}
	if !f.before.time {
		f.trim(f.before.n)
	}
	for i := range f.held.all() {
		if h := &f.held.all()[i]; h.at >= 0 {
			f.fates[h.at] = fate{bridge.Absorbed, h.why}
		}
	}
	f.scratch = f.appendHead(f.scratch[:0])
	room := maxState - len(f.scratch) - 10
	need := 0
	for i := range f.held.all() {
		need += f.held.all()[i].size()
	}
	for need > room {
		h := f.held.pop()
		need -= h.size()
		f.leave(h, Crowded)
	}
	f.held.own()
}

// end forgets the batch, whose bytes are not ours.
func (f *filter) end() {
	clear(f.passing)
	clear(f.labels)
	f.passing, f.from, f.fates, f.parked, f.labels = f.passing[:0], f.from[:0], f.fates[:0], f.parked[:0], f.labels[:0]
	f.gone, f.failed = [reasons]int64{}, [reasons]int64{}
}

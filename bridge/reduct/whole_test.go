package reduct

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// allOfIt is what --whole asks for.
var allOfIt = Want{Whole: true}

// forgetful makes the stream one that was taken but for holes of which nobody knows: all is reconciled, no gap is noted.
func forgetful(t *testing.T, r *rig, entry string, to int64, holes ...int64) {
	t.Helper()
	r.edge.fill(entry, 1, to)
	mustDeliver(t, r.intake, "dst/"+entry, slices.DeleteFunc(upTo(1, to), func(x int64) bool { return slices.Contains(holes, x) })...)
	if err := r.marks.SetReconciled(t.Context(), "dst/"+entry, to); err != nil {
		t.Fatal(err)
	}
}

// noOverlap leaves to passes only what is behind the mark.
func noOverlap(c *Config) { c.Source.Overlap = 0 }

// A target that forgot: no pass finds the holes any more, a whole reconcile finds exactly them.
func TestWhole(t *testing.T) {
	for _, c := range []struct {
		name  string
		want  Want
		found map[string][]int64 // by stream, in the order of arrival
		total Counts
	}{
		{"a pass", Want{}, nil, Counts{}},
		{"everything", allOfIt, map[string][]int64{"dst/a": {5, 6, 150}, "dst/b": {1}},
			Counts{Compared: 400, Missing: 4, Fetched: 4, Late: 4}},
		{"one entry", Want{Whole: true, Stream: "b"}, map[string][]int64{"dst/b": {1}}, Counts{Compared: 200, Missing: 1, Fetched: 1, Late: 1}},
		{"one stream", Want{Whole: true, Stream: "dst/*"}, map[string][]int64{"dst/a": {5, 6, 150}, "dst/b": {1}},
			Counts{Compared: 400, Missing: 4, Fetched: 4, Late: 4}},
		{"a range", Want{Whole: true, From: 6, To: 149}, map[string][]int64{"dst/a": {6}}, Counts{Compared: 288, Missing: 1, Fetched: 1, Late: 1}},
		{"none", Want{Whole: true, Stream: "x"}, nil, Counts{}},
		{"behind the end", Want{Whole: true, From: 201}, nil, Counts{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, noOverlap)
			forgetful(t, r, "a", 200, 5, 6, 150)
			forgetful(t, r, "b", 200, 1)
			before := map[string][]int64{"dst/a": r.intake.times("dst/a"), "dst/b": r.intake.times("dst/b")}
			got, err := r.Reconcile(t.Context(), c.want)
			if err != nil || got.Counts != c.total {
				t.Errorf("got %+v %v, want %+v", got.Counts, err, c.total)
			}
			for stream, was := range before {
				wantTimes(t, r.intake, stream, append(was, c.found[stream]...))
			}
			again, err := r.Reconcile(t.Context(), c.want)
			if err != nil || again.Missing != 0 || !again.OK() {
				t.Errorf("again: got %+v %v, want nothing missing", again.Counts, err)
			}
		})
	}
}

// Of a closed range only number and hash are known.
func TestWholeClosed(t *testing.T) {
	const from, to = 101, 200
	for _, c := range []struct {
		name   string
		plan   func(r *rig, c *Closed)
		want   Want
		counts Counts // Compared left out
		found  *Difference
	}{
		{"the same", func(*rig, *Closed) {}, allOfIt, Counts{Ranges: 1}, nil},
		{"the ledger lacks one", lack(150), allOfIt, Counts{Ranges: 1, Different: 1}, &Difference{Store: 100, Ledger: 99, Lacks: 150}},
		{"the ledger lacks the first", lack(101), allOfIt, Counts{Ranges: 1, Different: 1}, &Difference{Store: 100, Ledger: 99, Lacks: 101}},
		{"it lacks two", lack(150, 151), allOfIt, Counts{Ranges: 1, Different: 1}, &Difference{Store: 100, Ledger: 98}},
		{"one for another", func(r *rig, c *Closed) { c.TimesHash ^= 150 ^ 1150 }, allOfIt, Counts{Ranges: 1, Different: 1}, &Difference{Store: 100, Ledger: 100}},
		{"it lacks two and has one that is gone", func(r *rig, c *Closed) { lack(150, 151)(r, c); c.Times++; c.TimesHash ^= 1150 }, allOfIt,
			Counts{Ranges: 1, Different: 1}, &Difference{Store: 100, Ledger: 99}},
		{"somebody has deleted one from the store", func(r *rig, _ *Closed) {
			r.edge.entries["e"] = slices.DeleteFunc(r.edge.entries["e"], func(s stored) bool { return s.time == 150 })
		}, allOfIt, Counts{Ranges: 1, Different: 1}, &Difference{Store: 99, Ledger: 100}},
		{"the sums are not known", func(_ *rig, c *Closed) { c.Known = false }, allOfIt, Counts{Incomparable: 1}, nil},
		{"the beginning was evicted", func(r *rig, _ *Closed) { r.edge.evict("e", 102) }, allOfIt, Counts{Incomparable: 1}, nil},
		{"all before it was evicted", func(r *rig, _ *Closed) { r.edge.evict("e", 101) }, allOfIt, Counts{Ranges: 1}, nil},
		{"one was too large, and was left", func(r *rig, c *Closed) { lack(150)(r, c); r.edge.entries["e"][149].payload = "more than ten bytes" }, allOfIt,
			Counts{Ranges: 1}, nil},
		{"one would be too large today", func(r *rig, _ *Closed) { r.edge.entries["e"][149].payload = "more than ten bytes" }, allOfIt, Counts{Ranges: 1}, nil},
		{"a part of it is asked for", lack(101), Want{Whole: true, From: 150, To: 160}, Counts{Ranges: 1, Different: 1},
			&Difference{Store: 100, Ledger: 99, Lacks: 101}},
		{"nothing of it is asked for", lack(101), Want{Whole: true, From: 201}, Counts{}, nil},
		{"source.since is inside", func(r *rig, _ *Closed) { r.cfg.Since = "1970-01-01T00:00:00.00015Z" }, allOfIt, Counts{Incomparable: 1}, nil},
		{"another pipeline has not seen its end", func(r *rig, _ *Closed) { r.marks.newest = 170 }, allOfIt, Counts{Incomparable: 1}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(cfg *Config) { cfg.MaxRecord = 10; noOverlap(cfg) })
			forgetful(t, r, "e", 300)
			mark := Closed{"p", bridge.ClosedRange{From: from, To: to, Known: true, Times: 100}}
			for x := int64(from); x <= to; x++ {
				mark.TimesHash ^= uint64(x)
			}
			other := mark // of another pipeline, for which all is well
			other.Pipeline, other.Known = "q", false
			r.intake.ranges = []hold.Range{{From: from, To: to}}
			c.plan(r, &mark)
			r.marks.closed = map[string][]Closed{"dst/e": {other, mark}}
			got, err := r.Reconcile(t.Context(), c.want)
			c.counts.Compared = got.Compared
			if c.counts != (Counts{Compared: got.Compared}) {
				c.counts.Incomparable++ // the other's
			}
			if err != nil || got.Counts != c.counts {
				t.Fatalf("got %+v %v, want %+v", got.Counts, err, c.counts)
			}
			var found []Difference
			for _, s := range got.Streams {
				found = append(found, s.Differences...)
			}
			if c.found == nil {
				if len(found) > 0 || !got.OK() {
					t.Errorf("differences: got %+v, want none", found)
				}
				return
			}
			c.found.Pipeline, c.found.From, c.found.To = "p", from, to
			if len(found) != 1 || found[0] != *c.found || got.OK() {
				t.Errorf("differences: got %+v, want %+v", found, *c.found)
			}
		})
	}
}

// lack takes times out of what the ledger has.
func lack(times ...int64) func(*rig, *Closed) {
	return func(_ *rig, c *Closed) {
		for _, x := range times {
			c.Times--
			c.TimesHash ^= uint64(x)
		}
	}
}

// Attachments are not in the list of entries; they are compared all the same, and what was evicted before the first of them nobody knows.
func TestWholeMeta(t *testing.T) {
	r := newRig(t, noOverlap)
	forgetful(t, r, "e", 10)
	forgetful(t, r, "e/$meta", 90, 7)
	r.edge.evict("e/$meta", 2)
	r.intake.ranges = []hold.Range{{From: 1, To: 5}, {From: 8, To: 9}}
	r.marks.closed = map[string][]Closed{"dst/e/$meta": {
		{"p", bridge.ClosedRange{From: 1, To: 5, Known: true, Times: 5, TimesHash: 1 ^ 2 ^ 3 ^ 4 ^ 5}},
		{"p", bridge.ClosedRange{From: 8, To: 9, Known: true, Times: 2, TimesHash: 8 ^ 9}},
	}}
	got, err := r.Reconcile(t.Context(), allOfIt)
	if want := (Counts{Compared: 99, Missing: 1, Fetched: 1, Late: 1, Ranges: 1, Incomparable: 1}); err != nil || got.Counts != want {
		t.Errorf("got %+v %v, want %+v", got.Counts, err, want)
	}
	names := fmt.Sprint(got.Streams[0].Stream, got.Streams[1].Stream)
	if names != "dst/e dst/e/$meta" && names != "dst/edst/e/$meta" {
		t.Errorf("streams: got %s", names)
	}
}

// Rule 7 costs no sender a wait: between two pages of a whole reconcile the stream is free, and its own records are in order.
func TestWholeLetsSendersPass(t *testing.T) {
	r := newRig(t, func(c *Config) { noOverlap(c); c.Source.Rate = 1000 })
	forgetful(t, r, "e", 200, 5, 190)
	r.settlers(t)
	turns := 0
	r.clock.after = func(time.Duration) <-chan time.Time {
		now := time.Now()
		done := make(chan time.Time, 1)
		done <- now
		if len(r.course("dst/e").lock) == 0 {
			return done // in the middle of what a page lacks
		}
		turns++
		next := int64(200 + turns)
		r.edge.fill("e", next, next)
		if err := r.Settle(t.Context(), Waiting{Stream: "dst/e", Accepted: now, Batch: hold.Batch{Times: []int64{next}}}); err != nil {
			t.Errorf("settle: got %v, want nil", err)
		} else {
			mustDeliver(t, r.intake, "dst/e", next)
			r.Release("dst/e")
		}
		return done
	}
	got, err := r.Reconcile(t.Context(), allOfIt)
	if err != nil || got.Fetched != 2 || got.Late != 2 || turns < 2 {
		t.Errorf("got %+v %v in %d turns, want the two that were missing", got.Counts, err, turns)
	}
}

// A whole reconcile that fails says so, and what it did.
func TestWholeFails(t *testing.T) {
	for _, c := range []struct {
		name string
		plan func(*rig)
	}{
		{"task unreadable", func(r *rig) { r.edge.failPath = "GET /replications/task" }},
		{"list unreadable", func(r *rig) { r.edge.failPath = "GET /b/src" }},
		{"heads unreadable", func(r *rig) { r.edge.failPath = "HEAD /b/src/e/batch" }},
		{"records unreadable", func(r *rig) { r.edge.failPath = "GET /b/src/e/batch" }},
		{"ledger closed", func(r *rig) { r.intake.before = []error{bridge.ErrClosed} }},
		{"stateful", func(r *rig) { r.edge.settings["when"] = `{"$limit":5}` }},
		{"cut short", func(r *rig) { r.mind.Marks = &cutting{Marks: r.marks} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, noOverlap)
			forgetful(t, r, "e", 200, 150)
			c.plan(r)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if x, ok := r.mind.Marks.(*cutting); ok {
				x.cut = cancel
			}
			got, err := r.Reconcile(ctx, allOfIt)
			if err == nil || got.Error != err.Error() {
				t.Errorf("got %v and %q in the report, want the same error", err, got.Error)
			}
			if got.Fetched != 0 || errors.Is(err, errNotFound) {
				t.Errorf("got %+v %v, want nothing fetched", got.Counts, err)
			}
		})
	}
}

// cutting ends the caller's context when it is asked for closed ranges.
type cutting struct {
	Marks
	cut func()
}

func (c *cutting) Closed(string) []Closed { c.cut(); return nil }

// What was found is there to be shown: the last pass, the last one that was asked for, and all since the start, settlings included.
func TestFinds(t *testing.T) {
	r := newRig(t, noOverlap)
	if got := r.Finds(); got.Passed != nil || got.Asked != nil || got.Total != (Counts{}) {
		t.Errorf("at the start: got %+v, want nothing", got)
	}
	forgetful(t, r, "e", 200, 5, 150)
	r.edge.fill("e", 201, 210)
	r.pass(t)
	if got := r.Finds().Passed; got == nil || got.Fetched != 10 || got.Late != 0 || got.Compared != 10 || got.Error != "" || got.Began.IsZero() || got.Seconds <= 0 {
		t.Errorf("pass: got %+v, want 10 fetched in order", got)
	}
	if _, err := r.Reconcile(t.Context(), allOfIt); err != nil {
		t.Fatal(err)
	}
	if got := r.Finds().Asked; got == nil || got.Fetched != 2 || got.Late != 2 || got.Compared != 210 {
		t.Errorf("asked for: got %+v, want 2 of 210 fetched, late", got)
	}
	r.edge.fill("e", 211, 220)
	r.settlers(t)
	if err := r.Settle(t.Context(), Waiting{Stream: "dst/e", Accepted: time.Now(), Batch: hold.Batch{Times: []int64{219, 220}}}); err != nil {
		t.Fatal(err)
	}
	r.Release("dst/e")
	r.edge.failPath = "GET /b/src"
	if err := r.Pass(t.Context()); err == nil || r.Finds().Passed.Error != err.Error() {
		t.Errorf("a pass that fails: got %v and %+v, want the same error", err, r.Finds().Passed)
	}
	if got := r.Finds().Total; got.Fetched != 20 || got.Late != 2 {
		t.Errorf("since the start: got %+v, want 10 + 2 + 8 fetched", got)
	}
}

package ledger

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// reference is everything that was taken in of a stream, in a list.
type reference struct {
	rng   *rand.Rand
	taken []taken
	next  int64
}

// TestRanges takes in what sensors send, steady or in two bands of time, some of it late, some of it updated soon or long after, and
// compares what the ranges say with a list of all: their sums are about everything inside, they are apart, and all else is exact.
func TestRanges(t *testing.T) {
	for _, c := range []struct {
		name    string
		late    int   // of a hundred records
		behind  int64 // how far at most a late one is; 0: any time before
		updates int   // of a hundred Appends
		age     int64 // of what is updated, in records, at most
		bands   bool
		all     bool // every range is known
		none    bool // some range is not
	}{
		{"in order", 0, 0, 0, 0, false, true, false},
		{"late", 20, 0, 0, 0, false, true, false},
		{"late by as much as is exact", 20, 300, 0, 0, false, true, false},
		{"two bands", 5, 0, 0, 0, true, true, false},
		{"updated soon", 0, 0, 50, 40, false, true, false},
		{"updated long after", 10, 0, 4, 600, false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Exact = 60
			dir := t.TempDir()
			l := startWith(t, dir, cfg, smallLimits())
			r := &reference{rng: rand.New(rand.NewPCG(7, uint64(len(c.name))))}
			known, unknown := 0, 0
			for n := range 200 {
				var times []int64
				for range 1 + r.rng.IntN(6) {
					times = append(times, r.time(c.late, c.behind, c.bands))
				}
				slices.Sort(times)
				if r.rng.IntN(100) < c.updates && len(r.taken) > 0 {
					at := len(r.taken) - 1 - int(r.rng.Int64N(min(c.age, int64(len(r.taken)))))
					r.update(t, l, r.taken[at].Time)
				}
				r.append(t, l, times...)
				if n%40 == 39 {
					l.stop()
					l = startWith(t, dir, cfg, smallLimits())
				}
				if n%4 == 0 || n == 199 {
					k, u := r.check(t, l)
					known, unknown = known+k, unknown+u
				}
			}
			if known == 0 || c.all && unknown > 0 || c.none && unknown == 0 {
				t.Errorf("%d looks at ranges with sums, %d without", known, unknown)
			}
		})
	}
}

// time is the next record's.
func (r *reference) time(late int, behind int64, bands bool) int64 {
	if r.next > 0 && r.rng.IntN(100) < late {
		if behind == 0 || behind > r.next {
			behind = r.next
		}
		return r.next - 1 - r.rng.Int64N(behind)
	}
	r.next += 1 + r.rng.Int64N(5)
	if bands && r.rng.IntN(2) == 0 {
		return r.next - 100_000
	}
	return r.next
}

// append does what an intake does with a batch.
func (r *reference) append(t *testing.T, l *running, times ...int64) {
	t.Helper()
	rs := make([]bridge.Record, len(times))
	for i := range rs {
		rs[i].Time = times[i]
	}
	r.take(t, l, rs)
}

// update takes in a record whose labels were changed.
func (r *reference) update(t *testing.T, l *running, at int64) {
	t.Helper()
	rec := bridge.Record{Time: at, Labels: labelsOf(r.rng.IntN(3))}
	known := []bool{false}
	key := bridge.Key{Time: at, Revision: bridge.LabelHash(rec.Labels)}
	if err := l.Want(context.Background(), "p", "b/e", []bridge.Key{key}, known); err != nil {
		t.Fatal(err)
	}
	r.take(t, l, []bridge.Record{rec})
}

func (r *reference) take(t *testing.T, l *running, rs []bridge.Record) {
	t.Helper()
	fresh := make([]bool, len(rs))
	if err := l.Fresh("p", "b/e", rs, fresh); err != nil {
		t.Fatal(err)
	}
	a := &bridge.Append{Pipeline: "p", Stream: "b/e"}
	for i := range rs {
		if !fresh[i] {
			continue
		}
		v := bridge.Verdict{Kind: bridge.Kind(1 + r.rng.IntN(4)), Late: rs[i].Flags&bridge.Late != 0}
		if v.Kind == bridge.Passed {
			v.Outputs = uint16(1 + r.rng.IntN(3))
		}
		k := bridge.Key{Time: rs[i].Time, Revision: rs[i].Revision}
		a.Keys, a.Verdicts = append(a.Keys, k), append(a.Verdicts, v)
		r.taken = append(r.taken, taken{k, v})
	}
	if len(a.Keys) > 0 {
		mustAppend(t, l, a)
	}
}

// check compares the ledger with the list.
func (r *reference) check(t *testing.T, l *running) (known, unknown int) {
	t.Helper()
	ranges := l.Closed("p", "b/e")
	rangeOf := func(at int64) int {
		return slices.IndexFunc(ranges, func(c bridge.ClosedRange) bool { return c.From <= at && at <= c.To })
	}
	want := make([]bridge.ClosedRange, len(ranges))
	outside := make(map[taken]int)
	times := make(map[int64]bool)
	for _, k := range r.taken {
		at := rangeOf(k.Time)
		if at < 0 {
			outside[k]++
			continue
		}
		w := &want[at]
		if !times[k.Time] {
			times[k.Time] = true
			w.Times++
			w.TimesHash ^= uint64(k.Time)
		}
		if k.verdict.Kind == bridge.Passed {
			for index := range k.verdict.Outputs {
				w.Messages++
				w.MessageHash ^= bridge.MessageHash(k.Key, index)
			}
		}
	}
	keys, last := int64(0), int64(math.MinInt64)
	for i, got := range ranges {
		if got.From > got.To || i > 0 && got.From <= last {
			t.Fatalf("ranges %+v overlap", ranges)
		}
		keys, last = keys+got.Keys, got.To
		w := want[i]
		w.From, w.To, w.Keys, w.Known = got.From, got.To, got.Keys, got.Known
		if !got.Known {
			unknown++
			w = bridge.ClosedRange{From: got.From, To: got.To, Keys: got.Keys}
		} else {
			known++
		}
		if got != w {
			t.Fatalf("range %+v, want %+v", got, w)
		}
	}
	r.checkExact(t, l, outside, rangeOf, keys)
	return known, unknown
}

// checkExact: outside of the ranges every key is kept one by one, and with those inside they are as many as were taken.
func (r *reference) checkExact(t *testing.T, l *running, outside map[taken]int, rangeOf func(int64) int, closed int64) {
	t.Helper()
	var err error
	n := int64(0)
	for k, v := range l.Seen("p", "b/e", math.MinInt64, math.MaxInt64, &err) {
		n++
		if rangeOf(k.Time) < 0 {
			outside[taken{k, v}]--
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for k, left := range outside {
		if left != 0 {
			t.Fatalf("%+v outside of ranges: %d are missing, want it as often as it was taken", k, left)
		}
	}
	if n+closed != int64(len(r.taken)) {
		t.Fatalf("%d exact keys and %d in ranges, want %d", n, closed, len(r.taken))
	}
	if st := l.Streams(); len(st) > 0 && st[0].Seen != n+closed {
		t.Fatalf("%d keys seen, want %d", st[0].Seen, n+closed)
	}
}

// TestRangesBounded: a stream of pauses has no more ranges than it may, and they still say what was taken in.
func TestRangesBounded(t *testing.T) {
	cfg := testConfig()
	cfg.Exact = 10
	l := startWith(t, t.TempDir(), cfg, smallLimits())
	r := &reference{rng: rand.New(rand.NewPCG(1, 2))}
	most := 0
	for n := range int64(400) {
		r.append(t, l, n*n*1000, n*n*1000+1)
		r.check(t, l)
		most = max(most, len(l.Closed("p", "b/e")))
	}
	if most > l.limits.ranges || most < l.limits.ranges/2 {
		t.Errorf("%d ranges at most, want up to %d", most, l.limits.ranges)
	}
}

// TestRangeIsForgotten: what is taken in inside a range makes its sums unknown, in the same write; in all other ranges they stay.
func TestRangeIsForgotten(t *testing.T) {
	cfg := testConfig()
	cfg.Exact = 20
	dir := t.TempDir()
	l := startWith(t, dir, cfg, smallLimits())
	r := &reference{rng: rand.New(rand.NewPCG(1, 2))}
	for n := range int64(60) {
		r.append(t, l, 10*n, 10*n+1)
	}
	before := l.Closed("p", "b/e")
	if len(before) < 2 {
		t.Fatalf("got ranges %+v, want two or more", before)
	}
	r.update(t, l, before[1].From)
	for range 2 {
		for i, c := range l.Closed("p", "b/e") {
			if want := before[i]; i != 1 && c != want || i == 1 && c != (bridge.ClosedRange{From: want.From, To: want.To, Keys: want.Keys}) {
				t.Errorf("range %d is %+v after an update in the second, was %+v", i, c, want)
			}
		}
		l.stop()
		l = startWith(t, dir, cfg, smallLimits())
	}
}

func TestChangedRanges(t *testing.T) {
	list := func(firsts ...int64) (out []keyRange) {
		for _, f := range firsts {
			out = append(out, keyRange{first: f, last: f, count: 1})
		}
		return out
	}
	grown := list(1, 3, 5)
	grown[1].count = 2
	for _, c := range []struct {
		name          string
		before, after []keyRange
		want          string
	}{
		{"same", list(1, 2), list(1, 2), "drop [] put []"},
		{"one more", list(1, 3), list(1, 2, 3), "drop [] put [2]"},
		{"first", nil, list(4), "drop [] put [4]"},
		{"another sum", list(1, 3, 5), grown, "drop [3] put [3]"},
		{"joined", list(1, 2, 3, 4), list(1, 3), "drop [2 4] put []"},
	} {
		t.Run(c.name, func(t *testing.T) {
			drop, put := changedRanges(c.before, c.after)
			firsts := []int64{}
			for _, r := range put {
				firsts = append(firsts, r.first)
			}
			if got := fmt.Sprintf("drop %v put %v", drop, firsts); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

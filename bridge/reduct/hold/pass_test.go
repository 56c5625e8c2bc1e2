package hold

import (
	"math"
	"reflect"
	"testing"
	"time"
)

func TestPass(t *testing.T) {
	const now = 1000
	marked := Facts{Mark: 100, Marked: true, Newest: 150, Seen: true, Now: now}
	has := Extent{Oldest: 10, Latest: 200, Some: true}
	for _, tt := range []struct {
		name    string
		f       Facts
		has     Extent
		before  Ahead
		want    Range // to be compared
		lost    Range
		found   Found
		mark    int64
		moved   bool
		vouches bool
	}{
		{name: "the first takes all, and nothing was passed over", f: Facts{Now: now}, has: has,
			want: Range{0, 200}, lost: none, found: Found{Records: 190, Lacking: 190, First: 10, Last: 200}, mark: 200, moved: true, vouches: true},
		{name: "since", f: Facts{Since: 50, Now: now}, has: has, want: Range{50, 200}, lost: none, mark: 200, moved: true, vouches: true},
		{name: "after a restart from the mark on", f: marked, has: has, want: Range{81, 200}, lost: none,
			found: Found{Records: 100, First: 90, Last: 200}, mark: 200, moved: true, vouches: true},
		{name: "the tail is the sender's", f: marked, has: has, before: Ahead{170, true}, want: Range{81, 170}, lost: none,
			found: Found{Records: 80, First: 90, Last: 170}, mark: 170, moved: true, vouches: true},
		{name: "what was seen is not the sender's any more", f: marked, has: has, before: Ahead{90, true}, want: Range{81, 150}, lost: none,
			found: Found{Records: 80, First: 90, Last: 150}, mark: 150, moved: true, vouches: true},
		{name: "nothing seen", f: Facts{Now: now, Newest: 190}, has: has, before: Ahead{90, true}, want: Range{0, 90}, lost: none, mark: 90, moved: true, vouches: true},
		{name: "overtaken", f: marked, has: Extent{Oldest: 121, Latest: 200, Some: true}, want: Range{101, 200}, lost: Range{101, 120},
			found: Found{Records: 80, First: 121, Last: 200}, mark: 200, moved: true},
		{name: "fetched, which takes a while", f: marked, has: has, want: Range{81, 200}, lost: none,
			found: Found{Records: 100, Lacking: 1, First: 90, Last: 200}, mark: 200, moved: true},
		{name: "nothing before the mark that vouches", f: marked, has: has, want: Range{81, 200}, lost: none,
			found: Found{Records: 100, First: 101, Last: 200}, mark: 200, moved: true},
		{name: "nothing new", f: marked, has: Extent{Oldest: 10, Latest: 100, Some: true}, want: Range{81, 100}, lost: none, mark: 100, vouches: true},
		{name: "a clock that ran ahead", f: marked, has: Extent{Oldest: 10, Latest: 5000, Some: true}, want: Range{81, 5000}, lost: none,
			found: Found{Records: 100, First: 90, Last: 160}, mark: 160, moved: true, vouches: true},
		{name: "only records from the future", f: marked, has: Extent{Oldest: 4000, Latest: 5000, Some: true}, want: Range{980, 5000}, lost: Range{101, 999},
			found: Found{Records: 2, First: 4000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.f.Pass(tt.has, tt.before, 20)
			if p.Compare != tt.want || p.Overtaken != tt.lost {
				t.Errorf("compare %v, overtaken %v; want %v and %v", p.Compare, p.Overtaken, tt.want, tt.lost)
			}
			if got := p.Vouches(tt.found, time.Millisecond); got != tt.vouches {
				t.Errorf("vouches: got %v, want %v", got, tt.vouches)
			}
			if p.Vouches(tt.found, quickPass) && tt.f.Marked && p.facts.Mark < p.Compare.To {
				t.Error("a slow comparison vouches for itself")
			}
			if mark, moved := p.Mark(tt.found); mark != tt.mark || moved != tt.moved {
				t.Errorf("mark: got %d %v, want %d %v", mark, moved, tt.mark, tt.moved)
			}
		})
	}
}

func TestPassedBy(t *testing.T) {
	f := Facts{Mark: 100, Marked: true, Now: 1000}
	for _, tt := range []struct {
		name        string
		f           Facts
		oldest, now int64
		want        Range
	}{
		{"nothing evicted behind the mark", f, 101, 1000, none},
		{"some", f, 151, 1000, Range{101, 150}},
		{"beyond what was compared", f, 900, 1000, Range{101, 200}},
		{"the oldest is from the future", f, 9000, 180, Range{101, 179}},
		{"never compared before", Facts{Now: 1000}, 151, 1000, none},
	} {
		p := tt.f.Pass(Extent{Oldest: 10, Latest: 200, Some: true}, Ahead{}, 0)
		got := p.PassedBy(tt.oldest, tt.now)
		if got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
		if again := p.PassedBy(tt.oldest, tt.now); !again.Empty() {
			t.Errorf("%s: said again: %v", tt.name, again)
		}
	}
}

func TestWithout(t *testing.T) {
	for _, tt := range []struct {
		name   string
		others []Range
		want   []Range
	}{
		{"nothing", nil, []Range{{10, 20}}},
		{"apart", []Range{{1, 9}, {21, 30}}, []Range{{10, 20}}},
		{"the beginning", []Range{{5, 12}}, []Range{{13, 20}}},
		{"the end", []Range{{15, 20}}, []Range{{10, 14}}},
		{"all", []Range{{1, 30}}, nil},
		{"pieces", []Range{{11, 12}, {13, 14}, {20, 25}}, []Range{{10, 10}, {15, 19}}},
		{"up to the end of time", []Range{{15, math.MaxInt64}}, []Range{{10, 14}}},
	} {
		if got := (Range{10, 20}).Without(tt.others); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestRuns(t *testing.T) {
	for _, tt := range []struct {
		name   string
		wanted string // of the times 0, 1, …
		want   [][]int64
	}{
		{"none", "....", nil},
		{"one", ".x..", [][]int64{{1}}},
		{"near", "x....x", [][]int64{{0, 5}}},
		{"far", "x.....x", [][]int64{{0}, {6}}},
		{"both", "xx.x......x", [][]int64{{0, 1, 3}, {10}}},
	} {
		var times []int64
		var wanted []bool
		for i, c := range tt.wanted {
			times, wanted = append(times, int64(i)), append(wanted, c == 'x')
		}
		if got := Runs(times, wanted); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestEndGap(t *testing.T) {
	gap := Range{50, 59}
	whole := Found{Records: 10, First: 50}
	for _, tt := range []struct {
		name   string
		gap    Range
		found  Found
		oldest int64
		want   Ending
	}{
		{"all of it is there", gap, whole, 0, Ending{none, none}},
		{"the beginning was evicted", gap, Found{Records: 5, First: 55}, 55, Ending{Range{50, 54}, none}},
		{"more was evicted after it was fetched", gap, Found{Records: 5, First: 55}, 900, Ending{Range{50, 54}, none}},
		{"all of it was evicted", gap, Found{}, 60, Ending{gap, none}},
		{"the entry is gone", gap, Found{}, math.MaxInt64, Ending{gap, none}},
		{"nothing is there, and nothing was evicted", gap, Found{}, 20, Ending{none, gap}},
		{"nothing is there, and some was evicted", gap, Found{}, 55, Ending{Range{50, 54}, Range{55, 59}}},
		{"the beginning is not there, and was not evicted", gap, Found{Records: 5, First: 55}, 20, Ending{none, Range{50, 54}}},
		{"the beginning was evicted in part", gap, Found{Records: 5, First: 55}, 53, Ending{Range{50, 52}, Range{53, 54}}},
		{"some cannot be taken", gap, Found{Records: 10, Left: 1, First: 50}, 0, Ending{none, gap}},
		{"some cannot be taken, the beginning was evicted", gap, Found{Records: 5, Left: 1, First: 55}, 55, Ending{Range{50, 54}, Range{55, 59}}},
		{"nobody knows where it begins", Range{0, math.MaxInt64}, Found{Records: 5, First: 55}, 55, Ending{none, none}},
		{"nobody knows where it begins, nothing is there", Range{0, math.MaxInt64}, Found{}, math.MaxInt64, Ending{none, Range{0, math.MaxInt64}}},
	} {
		got := EndGap(tt.gap, tt.found, tt.oldest)
		for _, r := range []*Range{&got.Lost, &got.Open} {
			if r.Empty() {
				*r = none
			}
		}
		if got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

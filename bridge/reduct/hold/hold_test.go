package hold

import (
	"testing"
	"time"
)

func TestStream(t *testing.T) {
	var s Stream
	a, b := time.Unix(1, 0), time.Unix(2, 0)
	passes := func(what string, wantA, wantB bool) {
		t.Helper()
		if gotA, gotB := s.Passes(a), s.Passes(b); gotA != wantA || gotB != wantB {
			t.Errorf("%s: got %v %v, want %v %v", what, gotA, gotB, wantA, wantB)
		}
	}
	passes("rule 7: nobody at first", false, false)
	s.End(s.Begin(a), false)
	passes("a settling that says nothing of later batches", false, false)
	s.End(s.Begin(b), true)
	passes("each for itself", false, true)
	s.End(s.Begin(a), true)
	passes("both", true, true)
	x := s.Begin(a)
	s.Noted()
	passes("rule 6: a gap holds everybody", false, false)
	s.End(x, true)
	passes("a settling that began before the gap", false, false)
	s.End(s.Begin(a), true)
	passes("one that began after it", true, false)
}

// Rule 19: as many connections as a target accepts are remembered; of more, the oldest is forgotten, which costs it a settling.
func TestStreamBounded(t *testing.T) {
	for _, tt := range []struct{ most, want int }{{0, usualMost}, {1, 1}, {300, 300}} {
		s := Stream{Most: tt.most}
		for n := range tt.want + 1 {
			s.End(s.Begin(time.Unix(int64(n), 0)), true)
			s.End(s.Begin(time.Unix(int64(n), 0)), true)
		}
		if s.Passes(time.Unix(0, 0)) || !s.Passes(time.Unix(1, 0)) || len(s.settled) != tt.want {
			t.Errorf("most %d: %d connections, the first passes %v, the second %v; want %d, false, true",
				tt.most, len(s.settled), s.Passes(time.Unix(0, 0)), s.Passes(time.Unix(1, 0)), tt.want)
		}
	}
}

func TestFrom(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    Facts
		want int64
	}{
		{"nothing known", Facts{Now: 100}, 0},
		{"since", Facts{Since: 7, Now: 100}, 7},
		{"behind the newest seen", Facts{Seen: true, Newest: 20, Now: 100}, 21},
		{"a newest from the future says nothing", Facts{Seen: true, Newest: 200, Now: 100}, 0},
		{"behind the mark", Facts{Marked: true, Mark: 30, Now: 100}, 31},
		{"behind the later of both", Facts{Marked: true, Mark: 30, Seen: true, Newest: 40, Since: 50, Now: 100}, 50},
	} {
		if got := tt.f.From(); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestSettle(t *testing.T) {
	seen := Facts{Seen: true, Newest: 20, Now: 1000}
	backlog := Beyond{Last: 500, Some: true, More: true}
	for _, tt := range []struct {
		name   string
		f      Facts
		b      Batch
		beyond Beyond
		want   Walk
	}{
		{"the store ends with the batch", seen, Batch{Times: []int64{30, 40}}, Beyond{}, Walk{Range{21, 29}, Range{30, 40}, true}},
		{"the store ends a little behind it", seen, Batch{Times: []int64{30, 40}}, Beyond{Last: 60, Some: true}, Walk{Range{21, 29}, Range{30, 60}, true}},
		{"its sender has a backlog", seen, Batch{Times: []int64{30, 40}}, backlog, Walk{Range{21, 29}, Range{30, 40}, true}},
		{"late records and a backlog", seen, Batch{Times: []int64{5, 10}}, backlog, Walk{Range{21, 4}, Range{21, 10}, false}},
		{"late records, and the store ends", seen, Batch{Times: []int64{5, 10}}, Beyond{Last: 60, Some: true}, Walk{Range{21, 4}, Range{21, 60}, true}},
		{"updates of old records and a backlog", Facts{Now: 1000}, Batch{Times: []int64{5, 10}, Updates: []int64{5, 10}}, backlog,
			Walk{Range{0, 4}, Range{5, 10}, false}},
		{"an update among others", Facts{Now: 1000}, Batch{Times: []int64{5, 10}, Updates: []int64{5}}, backlog, Walk{Range{0, 4}, Range{5, 10}, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.f.Settle(tt.b, tt.beyond); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestBeforeGap(t *testing.T) {
	for _, tt := range []struct {
		name string
		from int64
		gap  Range
		want Range
	}{
		{"all of it was to come anyway", 20, Range{30, 40}, Range{20, 29}},
		{"its end was", 35, Range{30, 40}, Range{35, 29}},
		{"older than all that may be missing", 50, Range{30, 40}, Range{0, -1}},
	} {
		if got := BeforeGap(tt.from, tt.gap); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

package verify

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// sending is a store whose one sender has so much left to send, one number for each time that it is asked; the last of them stays.
type sending struct {
	*site
	left []int64
}

func (e *sending) Streams(ctx context.Context) ([]EdgeStream, error) {
	all, err := e.site.Streams(ctx)
	for i := range all {
		all[i].Sender, all[i].Pending = "edge", e.left[0]
	}
	if len(e.left) > 1 {
		e.left = e.left[1:]
	}
	return all, err
}

// TestOnTheWay: what is newer than all that was seen of its stream is the sender's only as long as something tells that it may still come. All records
// are of 2023, so that none is just written.
func TestOnTheWay(t *testing.T) {
	more := func(s *site, stream string, from, to int) {
		for n := from; n < to; n++ {
			s.edge[stream] = append(s.edge[stream], at(n))
		}
	}
	comes := func(s *site, stream string, ns ...int) { // between the looks
		if s.later == nil {
			s.later = s.ledger.clone()
		}
		for _, n := range ns {
			s.later.seen[pipeOf(stream)] = append(s.later.seen[pipeOf(stream)], pass(n, 1))
			s.arrive(stream, Arrival{ID: id(n)})
		}
	}
	for _, tt := range []struct {
		name  string
		plant func(s *site)
		left  []int64
		way   int64  // on the way
		holes int64  // of b/f
		why   string // of the last of them
	}{
		{"nothing left to send", func(s *site) { more(s, "b/f", 100, 110) }, []int64{0}, 0, 10, "nothing left to send"},
		{"it is being brought", func(s *site) { more(s, "b/f", 100, 110); comes(s, "b/f", 100, 101) }, []int64{10, 8}, 8, 0, ""},
		{"it stands still, and has them all", func(s *site) { more(s, "b/f", 100, 110); more(s, "b/e", 100, 105) }, []int64{15}, 15, 0, ""},
		{"it stands still, and has fewer", func(s *site) { more(s, "b/f", 100, 110) }, []int64{9}, 0, 10, "9 records left to send, and 10 have not come"},
		{"it reads on from where it is", func(s *site) { more(s, "b/f", 100, 110); more(s, "b/e", 100, 200); comes(s, "b/e", 100) }, []int64{math.MaxInt64}, 109, 0, ""},
		{"it brings others", func(s *site) { more(s, "b/f", 100, 110); more(s, "b/e", 100, 200); comes(s, "b/e", 100) }, []int64{5000}, 99, 10,
			"5000 records left to send, and sends others"},
		{"it brings others that nobody looks at", func(s *site) { more(s, "b/f", 100, 110) }, []int64{5000, 4000}, 0, 10, "sends others"},
		{"passed over", func(s *site) { more(s, "b/f", 100, 110); comes(s, "b/f", 100, 105) }, []int64{10, 8}, 4, 4, "a newer one of its stream came meanwhile"},
		{"nothing of the stream ever came", func(s *site) { delete(s.ledger.seen, pipeOf("b/f")); delete(s.far, "b/f") }, []int64{5000}, 0, 100,
			"nothing of its stream ever came"},
		{"its first come now", func(s *site) {
			delete(s.ledger.seen, pipeOf("b/f"))
			delete(s.far, "b/f")
			comes(s, "b/f", 0, 1, 2)
		}, []int64{5000}, 97, 0, ""},
		{"an open gap names them", func(s *site) {
			more(s, "b/f", 100, 110)
			s.later = s.ledger.clone()
			s.later.gaps = append(s.later.gaps, bridge.Gap{Stream: "b/f", From: at(100), To: at(200), Reason: "test"})
		}, []int64{0}, 0, 10, "an open gap names it: test"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(100, "b/e", "b/f")
			s.job.Edge = &sending{s, tt.left}
			tt.plant(s)
			r := s.run(t)
			holes, why := int64(0), ""
			for _, f := range r.Findings {
				if f.Kind == HoleEdge && f.Stream == "b/f" {
					holes, why = holes+1, f.Why
				}
			}
			if r.Total.OnTheWay != tt.way || holes != tt.holes || r.Total.Findings() != tt.holes || !strings.Contains(why, tt.why) {
				t.Errorf("%d on the way, %d holes of %d findings, why %q; want %d, %d and %q", r.Total.OnTheWay, holes, r.Total.Findings(), why, tt.way, tt.holes, tt.why)
			}
			if seen := int64(len(s.edge["b/e"])+len(s.edge["b/f"])) - tt.way - tt.holes; r.Total.Seen != seen {
				t.Errorf("%d seen, want %d: each record of the store is one of the three", r.Total.Seen, seen)
			}
		})
	}
}

// TestJustWritten: what was written within the last minute may be under way whatever the sender says, unless a newer one was seen.
func TestJustWritten(t *testing.T) {
	now := time.Now().UnixMicro()
	for _, tt := range []struct {
		name      string
		t, newest int64
		hole      bool
	}{
		{"just now", now, now - 1000, false},
		{"an hour ago", now - time.Hour.Microseconds(), now - 2*time.Hour.Microseconds(), true},
		{"just now, and a newer one was seen", now - 1000, now, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(0)
			s.edge["b/e"] = []int64{tt.t}
			s.ledger.seen[pipeOf("b/e")] = nil
			s.ledger.newest = tt.newest
			s.job.Period = Period{0, now + time.Hour.Microseconds()}
			s.job.Edge = &sending{s, []int64{0}}
			r := s.run(t)
			if got := r.Total.HolesEdge == 1; got != tt.hole || r.Total.HolesEdge+r.Total.OnTheWay != 1 {
				t.Errorf("%d holes and %d on the way, want a hole: %v", r.Total.HolesEdge, r.Total.OnTheWay, tt.hole)
			}
		})
	}
}

// TestWrittenMeanwhile: what is written after the sender said that it has nothing to send is asked about again, and so is what the ledger
// has taken in by then.
func TestWrittenMeanwhile(t *testing.T) {
	s := newSite(100, "b/e")
	s.edge["b/e"] = append(s.edge["b/e"], at(100), at(101), at(102))
	s.later = s.ledger.clone()
	s.later.seen[pipeOf("b/e")] = append(s.later.seen[pipeOf("b/e")], pass(100, 1))
	s.job.Edge = &sending{s, []int64{0, 2}}
	if r := s.run(t); !r.Clean() || r.Total.OnTheWay != 2 || r.Total.Seen != 101 {
		t.Errorf("found %q, %d on the way, %d seen, want nothing, 2 and 101", found(r), r.Total.OnTheWay, r.Total.Seen)
	}
}

// TestTail: the times of a tail are kept as they were.
func TestTail(t *testing.T) {
	want := []int64{-5, 0, 3, 1 << 40, 1 << 62}
	var x tail
	for _, at := range want {
		x.add(at)
	}
	var got []int64
	x.each(func(at int64) { got = append(got, at) })
	if !slices.Equal(got, want) || x.first != -5 || x.n != 5 {
		t.Errorf("got %v, the first %d of %d, want %v", got, x.first, x.n, want)
	}
}

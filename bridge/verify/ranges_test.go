package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// close makes a range of records from..to of b/e, as a ledger does of its oldest block: its sums are about all that was taken in there.
func (s *site) close(from, to int) {
	s.ledger.closed[pipeOf("b/e")] = append(s.ledger.closed[pipeOf("b/e")], bridge.ClosedRange{From: at(from), To: at(to), Known: true})
	s.sum()
	s.ledger.seen[pipeOf("b/e")] = slices.DeleteFunc(s.ledger.seen[pipeOf("b/e")], func(k taken) bool {
		return at(from) <= k.Time && k.Time <= at(to)
	})
}

// sum adds the keys of the last range to its sums.
func (s *site) sum() {
	all := s.ledger.closed[pipeOf("b/e")]
	r := &all[len(all)-1]
	times := map[int64]bool{}
	for _, k := range s.ledger.seen[pipeOf("b/e")] {
		if k.Time >= r.From && k.Time <= r.To {
			s.sumOf(r, k, !times[k.Time])
			times[k.Time] = true
		}
	}
}

func (s *site) sumOf(r *bridge.ClosedRange, k taken, first bool) {
	if first {
		r.Times++
		r.TimesHash ^= uint64(k.Time)
	}
	for index := range k.Outputs {
		r.Messages++
		r.MessageHash ^= bridge.MessageHash(k.Key, index)
	}
}

// keep is a key that was taken in inside the first range, which still stands in a younger block.
func (s *site) keep(k taken) {
	s.sumOf(&s.ledger.closed[pipeOf("b/e")][0], k, k.Revision == 0)
	s.ledger.seen[pipeOf("b/e")] = append(s.ledger.seen[pipeOf("b/e")], k)
}

// ranged is a difference that a test makes, and what is to be found.
type ranged struct {
	name      string
	plant     func(s *site)
	edge, far string // of the first range
	want      []string
}

func runRanged(t *testing.T, tests []ranged) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(100, "b/e")
			s.ledger.newest = base + 2_000_000
			s.ledger.set("b/e", 12, bridge.Verdict{Kind: bridge.Passed, Outputs: 3})
			s.far["b/e"] = slices.Insert(s.far["b/e"], 13, Arrival{ID: output(12, 1)}, Arrival{ID: output(12, 2)})
			s.ledger.set("b/e", 13, bridge.Verdict{Kind: bridge.Dropped})
			s.remove("b/e", id(13))
			s.close(10, 49)
			s.close(60, 69)
			tt.plant(s)
			r := s.run(t)
			if got := found(r); !slices.Equal(got, tt.want) {
				t.Errorf("found %q, want %q", got, tt.want)
			}
			if len(r.Ranges) != 2 {
				t.Fatalf("%d ranges, want 2", len(r.Ranges))
			}
			if x := r.Ranges[0]; !strings.HasPrefix(x.EdgeSays, tt.edge) || !strings.HasPrefix(x.FarSays, tt.far) {
				t.Errorf("edge %q, far %q, want %q and %q", x.EdgeSays, x.FarSays, tt.edge, tt.far)
			}
		})
	}
}

// TestRanges plants differences in what the ledger knows only the sums of.
func TestRanges(t *testing.T) {
	runRanged(t, []ranged{
		{"nothing", func(*site) {}, "equal", "equal", nil},
		{"one record missing", func(s *site) { s.edge["b/e"] = append(s.edge["b/e"], at(20)+500) }, "different", "equal",
			[]string{fmt.Sprintf("hole at the edge side b/e@%d", at(20)+500)}},
		{"two records missing", func(s *site) { s.edge["b/e"] = append(s.edge["b/e"], at(20)+500, at(21)+500) }, "different", "equal",
			[]string{fmt.Sprintf("hole at the edge side 2 of the records in b/e@%d..%d", at(10), at(49))}},
		{"one message missing", func(s *site) { s.remove("b/e", id(20)) }, "equal", "different", []string{"hole at the far end " + name(id(20))}},
		{"one of several outputs missing", func(s *site) { s.remove("b/e", output(12, 2)) }, "equal", "different",
			[]string{"hole at the far end " + name(output(12, 2))}},
		{"three messages missing", func(s *site) { s.remove("b/e", id(20)); s.remove("b/e", id(21)); s.remove("b/e", id(22)) }, "equal", "different",
			[]string{fmt.Sprintf("hole at the far end 3 of the messages in b/e@%d..%d", at(10), at(49))}},
		{"a stranger", func(s *site) { s.arrive("b/e", Arrival{ID: output(20, 7)}) }, "equal", "different", []string{"stranger " + name(output(20, 7))}},
		{"one for another", func(s *site) { s.remove("b/e", id(20)); s.arrive("b/e", Arrival{ID: output(21, 1)}) }, "equal", "different",
			[]string{fmt.Sprintf("hole at the far end 1 of the messages in b/e@%d..%d", at(10), at(49))}},
		{"a double", func(s *site) { s.arrive("b/e", Arrival{ID: id(20), Marked: true}) }, "equal", "equal",
			[]string{"double " + name(id(20)) + " x2 marked"}},
	})
}

// TestRangesApart: what is known one by one inside of a range is told apart from it, and a range that cannot be compared says why.
func TestRangesApart(t *testing.T) {
	runRanged(t, []ranged{
		{"a late record inside that is kept one by one", func(s *site) {
			k := taken{bridge.Key{Time: at(20) + 500}, bridge.Verdict{Kind: bridge.Passed, Outputs: 1, Late: true}}
			s.keep(k)
			s.edge["b/e"] = append(s.edge["b/e"], k.Time)
			s.arrive("b/e", Arrival{ID: bridge.ID{Key: k.Key}})
		}, "equal", "equal", nil},
		{"such a one that is missing at the far end", func(s *site) {
			k := taken{bridge.Key{Time: at(20) + 500}, bridge.Verdict{Kind: bridge.Passed, Outputs: 1, Late: true}}
			s.keep(k)
			s.edge["b/e"] = append(s.edge["b/e"], k.Time)
		}, "equal", "equal", []string{fmt.Sprintf("hole at the far end b/e@%d", at(20)+500)}},
		{"such a one that was dropped, and is there", func(s *site) {
			k := taken{bridge.Key{Time: at(20) + 500}, bridge.Verdict{Kind: bridge.Dropped, Late: true}}
			s.keep(k)
			s.edge["b/e"] = append(s.edge["b/e"], k.Time)
			s.arrive("b/e", Arrival{ID: bridge.ID{Key: k.Key}})
		}, "equal", "equal", []string{fmt.Sprintf("stranger b/e@%d", at(20)+500)}},
		{"an update of a record inside", func(s *site) {
			s.keep(taken{update(20, 9).Key, bridge.Verdict{Kind: bridge.Passed, Outputs: 1}})
			s.arrive("b/e", Arrival{ID: update(20, 9)})
		}, "equal", "equal", nil},
		{"updated, and back to the first update", func(s *site) {
			r := &s.ledger.closed[pipeOf("b/e")][0]
			for _, revision := range []uint64{9, 10, 9} {
				s.sumOf(r, taken{update(20, revision).Key, bridge.Verdict{Kind: bridge.Passed, Outputs: 1}}, false)
				s.arrive("b/e", Arrival{ID: update(20, revision)})
			}
		}, "equal", "equal", nil},
		{"waiting and refused inside", func(s *site) {
			s.ledger.waiting[pipeOf("b/e")] = []bridge.ID{id(20), id(21)}
			s.ledger.refused[pipeOf("b/e")] = []bridge.ID{id(22)}
			s.remove("b/e", id(20))
			s.remove("b/e", id(22))
		}, "equal", "equal", nil},
		{"evicted at its beginning", func(s *site) { s.edge["b/e"] = s.edge["b/e"][30:] }, "not compared: the edge store has evicted its beginning", "equal", nil},
		{"removed inside", func(s *site) { s.edge["b/e"] = slices.Delete(s.edge["b/e"], 20, 23) },
			"not compared: 3 records were removed from the edge store", "equal", nil},
		{"of an old ledger", func(s *site) { s.ledger.closed[pipeOf("b/e")][0].Known = false }, "not compared: its sums", "not compared: its sums", nil},
		{"beyond the period", func(s *site) { s.job.Period.From = at(20) }, "not compared: reaches beyond", "not compared: reaches beyond", nil},
		{"a far end that knows times only", func(s *site) {
			s.order = false
			s.remove("b/e", output(12, 1)) // a store has one record of a time
			s.remove("b/e", output(12, 2))
			for i := range s.far["b/e"] {
				s.far["b/e"][i].Coarse = true
			}
		}, "equal", "not compared: the far end knows times only", nil},
	})
}

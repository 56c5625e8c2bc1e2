package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/sluicebridge/sluice/bridge"
)

// found is the short form of findings: kind and identity.
func found(r *Report) (all []string) {
	for _, f := range r.Findings {
		text := string(f.Kind) + " " + f.ID
		if f.Copies > 1 {
			text += fmt.Sprintf(" x%d", f.Copies)
		}
		if f.Marked {
			text += " marked"
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

func name(id bridge.ID) string { return string(id.Append(nil, "b/e")) }

// planted is a difference that a test makes, and what is to be found.
type planted struct {
	name  string
	plant func(s *site)
	want  []string // findings
	count func(c *Counts) int64
	is    int64
}

func runPlanted(t *testing.T, tests []planted) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(100, "b/e", "b/f")
			s.ledger.newest = base + 2_000_000
			tt.plant(s)
			r := s.run(t)
			if got := found(r); !slices.Equal(got, tt.want) {
				t.Errorf("found %q, want %q", got, tt.want)
			}
			if got := tt.count(&r.Total); got != tt.is {
				t.Errorf("counted %d, want %d, in %+v", got, tt.is, r.Total)
			}
			if r.Clean() != (len(tt.want) == 0) {
				t.Errorf("clean %v, verdict %q", r.Clean(), r.Verdict)
			}
		})
	}
}

// TestPlanted plants one difference of each kind.
func TestPlanted(t *testing.T) {
	dropped := bridge.Verdict{Kind: bridge.Dropped, Module: 1}
	runPlanted(t, []planted{
		{"nothing", func(*site) {}, nil, func(c *Counts) int64 { return c.Arrived }, 200},
		{"hole at the edge side", func(s *site) { s.ledger.forget("b/e", 7); s.remove("b/e", id(7)) },
			[]string{"hole at the edge side " + name(id(7))}, func(c *Counts) int64 { return c.HolesEdge }, 1},
		{"hole at the far end", func(s *site) { s.remove("b/e", id(7)) },
			[]string{"hole at the far end " + name(id(7))}, func(c *Counts) int64 { return c.HolesFar }, 1},
		{"hole in the middle of outputs", func(s *site) {
			s.ledger.set("b/e", 7, bridge.Verdict{Kind: bridge.Passed, Outputs: 3})
			s.far["b/e"] = slices.Insert(s.far["b/e"], 8, Arrival{ID: output(7, 2)})
		}, []string{"hole at the far end " + name(output(7, 1))}, func(c *Counts) int64 { return c.Messages }, 202},
		{"what modules said between records", func(s *site) {
			s.said("b/e", 99, 12)
			s.arrive("b/e", Arrival{ID: update(99, 12)}, Arrival{ID: bridge.ID{Key: update(99, 12).Key, Index: 1}})
		}, nil, func(c *Counts) int64 { return c.Seen }, 200},
		{"half of what modules said between records", func(s *site) {
			s.said("b/e", 99, 12)
			s.arrive("b/e", Arrival{ID: update(99, 12)})
		}, []string{"hole at the far end " + name(bridge.ID{Key: update(99, 12).Key, Index: 1})}, func(c *Counts) int64 { return c.Messages }, 202},
		{"double", func(s *site) { s.arrive("b/e", Arrival{ID: id(7)}) },
			[]string{"double " + name(id(7)) + " x2"}, func(c *Counts) int64 { return c.Doubles }, 1},
		{"marked double", func(s *site) { s.arrive("b/e", Arrival{ID: id(7), Marked: true}) },
			[]string{"double " + name(id(7)) + " x2 marked"}, func(c *Counts) int64 { return c.Marked }, 1},
		{"three times", func(s *site) { s.arrive("b/e", Arrival{ID: id(7)}, Arrival{ID: id(7)}) },
			[]string{"double " + name(id(7)) + " x3"}, func(c *Counts) int64 { return c.Arrived }, 202},
		{"swap", func(s *site) { f := s.far["b/e"]; f[7], f[8] = f[8], f[7] },
			[]string{"misorder " + name(id(7))}, func(c *Counts) int64 { return c.Misorders }, 1},
		{"swap of outputs", func(s *site) {
			s.ledger.set("b/e", 7, bridge.Verdict{Kind: bridge.Passed, Outputs: 2})
			s.far["b/e"] = slices.Insert(s.far["b/e"], 7, Arrival{ID: output(7, 1)})
		}, []string{"misorder " + name(id(7))}, func(c *Counts) int64 { return c.Misorders }, 1},
		{"swap where the far end keeps no order", func(s *site) { s.order = false; f := s.far["b/e"]; f[7], f[8] = f[8], f[7] },
			nil, func(c *Counts) int64 { return c.Misorders }, 0},
		{"the second copy of a double is no misorder", func(s *site) { s.arrive("b/e", Arrival{ID: id(7), Marked: true}) },
			[]string{"double " + name(id(7)) + " x2 marked"}, func(c *Counts) int64 { return c.Misorders }, 0},
		{"stranger", func(s *site) { s.arrive("b/e", Arrival{ID: id(500)}) },
			[]string{"stranger " + name(id(500))}, func(c *Counts) int64 { return c.Strangers }, 1},
		{"stranger of a dropped record", func(s *site) { s.ledger.set("b/e", 7, dropped) },
			[]string{"stranger " + name(id(7))}, func(c *Counts) int64 { return c.Dropped }, 1},
		{"stranger beyond the outputs", func(s *site) { s.arrive("b/e", Arrival{ID: output(7, 1)}) },
			[]string{"stranger " + name(output(7, 1))}, func(c *Counts) int64 { return c.Strangers }, 1},
		{"stranger of an update that never was", func(s *site) { s.arrive("b/e", Arrival{ID: update(7, 9)}) },
			[]string{"stranger " + name(update(7, 9))}, func(c *Counts) int64 { return c.Strangers }, 1},
		{"stranger of a stream that never was", func(s *site) { s.far["b/x"] = []Arrival{{ID: id(1)}} },
			[]string{"stranger b/x@" + fmt.Sprint(at(1))}, func(c *Counts) int64 { return c.Strangers }, 1},
	})
}

// TestNoFinding plants one of each that is none, and is counted (rule 20).
func TestNoFinding(t *testing.T) {
	dropped := bridge.Verdict{Kind: bridge.Dropped, Module: 1}
	runPlanted(t, []planted{
		{"dropped", func(s *site) { s.ledger.set("b/e", 7, dropped); s.remove("b/e", id(7)) },
			nil, func(c *Counts) int64 { return c.Dropped }, 1},
		{"absorbed", func(s *site) { s.ledger.set("b/e", 7, bridge.Verdict{Kind: bridge.Absorbed}); s.remove("b/e", id(7)) },
			nil, func(c *Counts) int64 { return c.Absorbed }, 1},
		{"absorbed, and passed when a condition asked for what was before", func(s *site) {
			s.ledger.set("b/e", 7, bridge.Verdict{Kind: bridge.Absorbed})
			s.ledger.seen[pipeOf("b/e")] = append(s.ledger.seen[pipeOf("b/e")], pass(7, 1))
		}, nil, func(c *Counts) int64 { return c.Absorbed + c.Seen }, 200},
		{"parked by a module", func(s *site) { s.ledger.set("b/e", 7, bridge.Verdict{Kind: bridge.Parked}); s.remove("b/e", id(7)) },
			nil, func(c *Counts) int64 { return c.Parked }, 1},
		{"refused by the far end", func(s *site) {
			s.ledger.refused[pipeOf("b/e")] = []bridge.ID{id(7)}
			s.remove("b/e", id(7))
		}, nil, func(c *Counts) int64 { return c.Parked }, 1},
		{"waiting", func(s *site) {
			s.ledger.waiting[pipeOf("b/e")] = []bridge.ID{id(99), id(98)}
			s.remove("b/e", id(98))
			s.remove("b/e", id(99))
		}, nil, func(c *Counts) int64 { return c.Waiting }, 2},
		{"arrived, and its acknowledgement is not durable yet", func(s *site) { s.ledger.waiting[pipeOf("b/e")] = []bridge.ID{id(99)} },
			nil, func(c *Counts) int64 { return c.Waiting }, 0},
		{"late", func(s *site) {
			s.ledger.set("b/e", 7, bridge.Verdict{Kind: bridge.Passed, Outputs: 1, Late: true})
			s.remove("b/e", id(7))
			s.arrive("b/e", Arrival{ID: id(7)})
		}, nil, func(c *Counts) int64 { return c.Late }, 1},
		{"said to be late by the message", func(s *site) { s.remove("b/e", id(7)); s.arrive("b/e", Arrival{ID: id(7), Late: true}) },
			nil, func(c *Counts) int64 { return c.Misorders }, 0},
		{"an update comes when it comes", func(s *site) {
			s.ledger.seen[pipeOf("b/e")] = append(s.ledger.seen[pipeOf("b/e")], taken{update(7, 9).Key, bridge.Verdict{Kind: bridge.Passed, Outputs: 1}})
			s.arrive("b/e", Arrival{ID: update(7, 9)})
		}, nil, func(c *Counts) int64 { return c.Messages }, 201},
		{"labels changed and changed back", func(s *site) {
			v := bridge.Verdict{Kind: bridge.Passed, Outputs: 1}
			for _, r := range []uint64{9, 10, 9} {
				s.ledger.seen[pipeOf("b/e")] = append(s.ledger.seen[pipeOf("b/e")], taken{update(7, r).Key, v})
				s.arrive("b/e", Arrival{ID: update(7, r)})
			}
		}, nil, func(c *Counts) int64 { return c.Messages }, 203},
		{"evicted", func(s *site) { s.edge["b/e"] = s.edge["b/e"][10:] }, nil, func(c *Counts) int64 { return c.Evicted }, 10},
		{"given up with a remote that was removed", func(s *site) {
			s.remove("b/e", id(7))
			s.ledger.losses = []bridge.Loss{{Stream: "b/e", From: at(7), To: at(7), Records: 1, Reason: "given up with remote site"}}
		}, nil, func(c *Counts) int64 { return c.GivenUp }, 1},
		{"a loss of another kind does not excuse", func(s *site) {
			s.remove("b/e", id(7))
			s.ledger.losses = []bridge.Loss{{Stream: "b/e", From: at(7), To: at(7), Records: 1, Reason: "evicted before it was fetched"}}
		}, []string{"hole at the far end " + name(id(7))}, func(c *Counts) int64 { return c.HolesFar }, 1},
		{"outside the period", func(s *site) {
			s.edge["b/e"] = append(s.edge["b/e"], base-1, base+1_000_000)
			s.arrive("b/e", Arrival{ID: bridge.ID{Key: bridge.Key{Time: base - 1}}})
		}, nil, func(c *Counts) int64 { return c.Edge }, 200},
	})
}

// TestSecondLook: what was taken in and delivered between the look at the ledger and those at both ends is no finding; what still does not
// fit is.
func TestSecondLook(t *testing.T) {
	s := newSite(100, "b/e")
	s.later = s.ledger.clone()
	for i := range 3 {
		n := 100 + i
		s.edge["b/e"] = append(s.edge["b/e"], at(n))
		s.arrive("b/e", Arrival{ID: id(n)})
		if i < 2 {
			s.later.seen[pipeOf("b/e")] = append(s.later.seen[pipeOf("b/e")], pass(n, 1))
		}
	}
	s.later.gaps = []bridge.Gap{{Stream: "b/e", From: at(102), To: at(110), Reason: "a kill"}}
	r := s.run(t)
	if got, want := found(r), []string{"hole at the edge side " + name(id(102)), "stranger " + name(id(102))}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if s.looks != 3 {
		t.Errorf("looked %d times, want 3 times: once more than explains something", s.looks)
	}
	if !strings.Contains(r.Findings[0].Why+r.Findings[1].Why, "a kill") {
		t.Errorf("findings %+v do not name the gap", r.Findings)
	}
}

// TestTwoPipelines: both send the same stream to the same remote, so each identity is there twice; each must have seen each record.
func TestTwoPipelines(t *testing.T) {
	s := newSite(100, "b/e")
	s.job.Pipelines = []string{"p", "q"}
	for i := range 100 {
		if i != 9 {
			s.ledger.seen[[2]string{"q", "b/e"}] = append(s.ledger.seen[[2]string{"q", "b/e"}], pass(i, 1))
			s.arrive("b/e", Arrival{ID: id(i)})
		}
	}
	s.remove("b/e", id(7))
	s.arrive("b/e", Arrival{ID: id(7)})
	s.arrive("b/e", Arrival{ID: id(9)})
	want := []string{"double " + name(id(9)) + " x2", "hole at the edge side " + name(id(9)), "hole at the far end " + name(id(7))}
	r := s.run(t)
	if got := found(r); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Kind == HoleEdge }); r.Findings[i].Pipeline != "q" {
		t.Errorf("hole of pipeline %q, want q", r.Findings[i].Pipeline)
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "order was not compared") {
		t.Errorf("notes %q, want that the order was not compared", r.Notes)
	}
}

// TestUnordered: where a pipeline keeps no order of streams, none is asked for, and that is said.
func TestUnordered(t *testing.T) {
	s := newSite(100, "b/e")
	s.far["b/e"][3], s.far["b/e"][50] = s.far["b/e"][50], s.far["b/e"][3]
	s.job.Unordered = map[string]string{"p": "its lane is {label:device}"}
	r := s.run(t)
	if !r.Clean() || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "{label:device}") {
		t.Errorf("found %q, notes %q", found(r), r.Notes)
	}
}

// TestCoarse: a far end that knows times only is compared by them.
func TestCoarse(t *testing.T) {
	s := newSite(100, "b/e")
	s.order = false
	s.ledger.set("b/e", 3, bridge.Verdict{Kind: bridge.Passed, Outputs: 4})
	s.ledger.seen[pipeOf("b/e")] = append(s.ledger.seen[pipeOf("b/e")], taken{update(5, 9).Key, bridge.Verdict{Kind: bridge.Passed, Outputs: 1}})
	for i := range s.far["b/e"] {
		s.far["b/e"][i].Coarse = true
	}
	s.remove("b/e", id(7))
	s.ledger.set("b/e", 8, bridge.Verdict{Kind: bridge.Dropped})
	if got, want := found(s.run(t)), []string{"hole at the far end " + name(id(7)), "stranger " + name(id(8))}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// TestBounds: findings that are kept are bounded by kind, and all are counted.
func TestBounds(t *testing.T) {
	s := newSite(500, "b/e")
	s.far["b/e"] = s.far["b/e"][:100]
	s.arrive("b/e", Arrival{ID: id(5)})
	s.job.Most = 10
	r := s.run(t)
	if len(r.Findings) != 11 || r.Total.HolesFar != 400 || r.Total.Doubles != 1 {
		t.Errorf("%d findings, %d holes, %d doubles, want 11, 400 and 1", len(r.Findings), r.Total.HolesFar, r.Total.Doubles)
	}
}

// TestListed: with --all, too, the list of findings ends, and says so (rule 19).
func TestListed(t *testing.T) {
	j := &Job{rows: make(map[rowKey]*Counts), kept: make(map[Kind]int), noted: make(map[string]bool), report: &Report{Findings: make([]Finding, maxListed-1)}}
	for n := range 3 {
		j.find(Finding{Kind: HoleFar, Stream: "b/e", id: id(n)})
	}
	if got := j.row("b/e", at(0)).HolesFar; len(j.report.Findings) != maxListed || got != 3 || len(j.report.Notes) != 1 {
		t.Errorf("%d findings listed, %d counted, notes %q, want %d, 3 and a note", len(j.report.Findings), got, j.report.Notes, maxListed)
	}
}

// TestWrongEnd: of more differences than there is room for the rest is counted, by row, and it is said what that looks like (rule 19).
func TestWrongEnd(t *testing.T) {
	if got := unsafe.Sizeof(suspect{}); got != 80 {
		t.Errorf("a suspect takes %d bytes, want 80, of which DESIGN.md makes its figures", got)
	}
	for _, tt := range []struct {
		name  string
		plant func(s *site)
		holes func(c *Counts) int64
		says  string
	}{
		{"far end", func(s *site) { clear(s.far) }, func(c *Counts) int64 { return c.HolesFar }, "--far looks like the wrong end"},
		{"edge store", func(s *site) {
			for name := range s.edge {
				for i := range s.edge[name] {
					s.edge[name][i] += 500
				}
			}
		}, func(c *Counts) int64 { return c.HolesEdge }, "the edge store looks like that of another ledger"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(100, "b/e", "b/f")
			s.ledger.newest = base + 2_000_000
			tt.plant(s)
			s.job.room = 30
			r := s.run(t)
			if len(s.job.suspects) != 30 || len(r.Findings) != 30 {
				t.Errorf("%d suspects and %d findings were kept, want 30", len(s.job.suspects), len(r.Findings))
			}
			if got := tt.holes(&r.Total); got != 200 || tt.holes(&r.Rows[0].Counts) != 100 || tt.holes(&r.Rows[1].Counts) != 100 {
				t.Errorf("counted %d holes in %+v, want 100 in each of 2 rows", got, r.Rows)
			}
			if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "second look was left out") || !strings.Contains(r.Notes[0], tt.says) {
				t.Errorf("notes %q, want one with %q", r.Notes, tt.says)
			}
		})
	}
}

// TestRows: counts are by the hour of the record's time, and the sentence says how many streams are wrong.
func TestRows(t *testing.T) {
	s := newSite(0)
	hour := time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)
	for n := range 3 {
		for _, name := range []string{"b/e", "b/f"} {
			k := bridge.Key{Time: hour.Add(time.Duration(n)*30*time.Minute - time.Microsecond).UnixMicro()}
			s.edge[name] = append(s.edge[name], k.Time)
			s.ledger.seen[pipeOf(name)] = append(s.ledger.seen[pipeOf(name)], taken{k, bridge.Verdict{Kind: bridge.Passed, Outputs: 1}})
			if n != 1 || name == "b/f" {
				s.arrive(name, Arrival{ID: bridge.ID{Key: k}})
			}
		}
	}
	s.job.Period = Period{hour.Add(-time.Hour).UnixMicro(), hour.Add(2 * time.Hour).UnixMicro()}
	r := s.run(t)
	var got []string
	for _, row := range r.Rows {
		got = append(got, fmt.Sprintf("%s %s %d/%d/%d", row.Stream, row.Hour.Format("15"), row.Edge, row.Messages, row.Arrived))
	}
	want := []string{"b/e 06 1/1/1", "b/e 07 2/2/1", "b/f 06 1/1/1", "b/f 07 2/2/2"}
	if !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	if want := "1 hole in 1 of 2 streams"; r.Verdict != want {
		t.Errorf("verdict %q, want %q", r.Verdict, want)
	}
}

// TestFarAgain: holes are asked about again as long as the far end fills some; what nobody fills is one.
func TestFarAgain(t *testing.T) {
	s := newSite(100, "b/e", "b/f")
	late := []bridge.ID{id(95), id(96), id(97), id(98)}
	for _, x := range append(late, id(7)) {
		s.remove("b/e", x)
	}
	s.remove("b/f", id(99))
	s.arriving = func(read int) {
		if n := read - 2; n < len(late) {
			s.arrive("b/e", Arrival{ID: late[n]})
		}
		if read == 3 {
			s.arrive("b/f", Arrival{ID: id(99)})
		}
	}
	r := s.run(t)
	if got, want := found(r), []string{"hole at the far end " + name(id(7))}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if r.Total.Arrived != 199 || s.farReads != 6 {
		t.Errorf("%d arrived after %d reads, want 199 after 6: one more than fills a hole", r.Total.Arrived, s.farReads)
	}
	if s.looks != 1 {
		t.Errorf("the ledger was looked at %d times, want once: it has no say in holes of the far end", s.looks)
	}
}

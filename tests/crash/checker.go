package crash

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicebridge/sluice/tests/real"
)

// wanted is what should arrive of one entry: its records in the order they were written.
type wanted struct {
	entry    string
	ids      []string
	before   int             // records of the entry that were written before these
	late     map[string]bool // those that the store got after a newer one
	payloads func(i int) string
}

// finding is how often something was found, and the first of it.
type finding struct {
	n    int
	some []string
}

func (f *finding) add(what string) {
	if f.n++; len(f.some) < 3 {
		f.some = append(f.some, what)
	}
}

func (f finding) String() string {
	if f.n == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s)", f.n, strings.Join(f.some, ", "))
}

// report is what became of the records, as the far end saw it. All but the first three fields, lateness and marked doubles are faults of the bridge
// wherever the promise holds.
type report struct {
	records int // written
	arrived int // messages
	marked  int // of them, those that carried possible-duplicate

	lost       finding
	missing    []string // all that is lost
	doubled    finding  // copies after the first that carried no mark
	repeated   finding  // copies after the first that did
	misordered finding  // first copies that came after a newer one of their entry, and were not called late
	late       finding  // the same, called late
	strange    finding  // messages of no record
	garbled    finding  // another payload than was written
	miscounted finding  // numbers of the counting module that are there twice, or beyond the number of records
}

// check compares what arrived with what was wanted: as multisets, and first copies in their order.
func check(want []wanted, got []real.Received) report {
	type place struct {
		of *wanted
		at int
	}
	var r report
	places := make(map[string]place)
	for w := range want {
		r.records += len(want[w].ids)
		for i, id := range want[w].ids {
			places[id] = place{&want[w], i}
		}
	}
	copies := make(map[string]int)
	newest := make(map[*wanted]int)
	counts := make(map[string]bool)
	for i := range got {
		m := &got[i]
		if _, is := m.Properties["window"]; is {
			continue // no record's: see windows
		}
		r.arrived++
		if m.Marked {
			r.marked++
		}
		p, known := places[m.ID]
		if !known {
			r.strange.add(fmt.Sprintf("%q on %s", m.ID, m.Topic))
			continue
		}
		if text := p.of.payloads(p.at); string(m.Payload) != text {
			r.garbled.add(fmt.Sprintf("%s: %q, want %q", m.ID, m.Payload, text))
		}
		copies[m.ID]++
		switch {
		case copies[m.ID] > 1 && m.Marked:
			r.repeated.add(m.ID)
		case copies[m.ID] > 1:
			r.doubled.add(m.ID)
		default:
			r.first(m, p.of, p.at, newest)
			r.count(m, p.of, counts)
		}
	}
	for w := range want {
		for _, id := range want[w].ids {
			if copies[id] == 0 {
				r.lost.add(id)
				r.missing = append(r.missing, id)
			}
		}
	}
	return r
}

// first looks at the order of a first copy.
func (r *report) first(m *real.Received, of *wanted, at int, newest map[*wanted]int) {
	before, any := newest[of]
	switch {
	case !any || at > before:
		newest[of] = at
	case m.Late, of.late[m.ID]:
		r.late.add(m.ID)
	default:
		r.misordered.add(fmt.Sprintf("%s after %s", m.ID, of.ids[before]))
	}
}

// count looks at the number that the counting module gave a first copy, where there is one.
func (r *report) count(m *real.Received, of *wanted, seen map[string]bool) {
	text, counted := m.Properties["count"]
	if !counted {
		return
	}
	n, err := strconv.Atoi(text)
	key := of.entry + " " + text
	if err != nil || n <= of.before || n > of.before+len(of.ids) || seen[key] {
		r.miscounted.add(fmt.Sprintf("%s is number %s", m.ID, text))
	}
	seen[key] = true
}

// What a test may forgive.
const (
	repeats   = "doubled with a mark"
	disorders = "misordered"
)

// faults names what must never be, but for what is forgiven.
func (r report) faults(forgiven ...string) []string {
	var all []string
	for _, f := range []struct {
		what string
		finding
	}{
		{"lost", r.lost}, {"doubled without a mark", r.doubled}, {repeats, r.repeated}, {disorders, r.misordered},
		{"of no record", r.strange}, {"garbled", r.garbled}, {"miscounted", r.miscounted},
	} {
		if f.n > 0 && !slices.Contains(forgiven, f.what) {
			all = append(all, f.what+": "+f.finding.String())
		}
	}
	return all
}

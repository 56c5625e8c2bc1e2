package verify

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// site is three sides that agree until a test changes one.
type site struct {
	edge   map[string][]int64
	oldest map[string]int64
	ledger *fakeLedger
	later  *fakeLedger // what the second look finds; nil: the same
	far    map[string][]Arrival
	looks  int
	order  bool

	farReads int
	arriving func(read int) // called at each read but the first; nil: nothing arrives any more
	job      Job
}

const base = 1_700_000_000_000_000 // µs; a full hour is not near

var testPeriod = Period{base, base + 1_000_000}

type taken struct {
	bridge.Key
	bridge.Verdict
}

// fakeLedger is of one remote.
type fakeLedger struct {
	seen    map[[2]string][]taken // by pipeline and stream
	closed  map[[2]string][]bridge.ClosedRange
	waiting map[[2]string][]bridge.ID
	refused map[[2]string][]bridge.ID
	newest  int64 // 0: that of what is seen
	gaps    []bridge.Gap
	losses  []bridge.Loss
}

func (l *fakeLedger) Streams() (all []LedgerStream) {
	for k, ts := range l.seen {
		s := LedgerStream{Pipeline: k[0], Name: k[1], Newest: l.newest}
		for _, t := range ts {
			s.Newest = max(s.Newest, t.Time)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b LedgerStream) int {
		return cmp.Or(cmp.Compare(a.Pipeline, b.Pipeline), cmp.Compare(a.Name, b.Name))
	})
	return all
}

func (l *fakeLedger) Seen(pipeline, stream string) iter.Seq2[bridge.Key, bridge.Verdict] {
	return func(yield func(bridge.Key, bridge.Verdict) bool) {
		for _, t := range l.seen[[2]string{pipeline, stream}] {
			if !yield(t.Key, t.Verdict) {
				return
			}
		}
	}
}

func (l *fakeLedger) Closed(pipeline, stream string) []bridge.ClosedRange {
	return l.closed[[2]string{pipeline, stream}]
}

func (l *fakeLedger) Unsettled(_, pipeline, stream string) (waiting, refused []bridge.ID) {
	k := [2]string{pipeline, stream}
	return slices.Clone(l.waiting[k]), slices.Clone(l.refused[k])
}

func (l *fakeLedger) clone() *fakeLedger {
	c := *l
	c.seen = make(map[[2]string][]taken)
	for k, ts := range l.seen {
		c.seen[k] = slices.Clone(ts)
	}
	return &c
}

func (s *site) Streams(context.Context) (all []EdgeStream, err error) {
	for name, ts := range s.edge {
		e := EdgeStream{Name: name, Pipelines: s.job.Pipelines, Oldest: s.oldest[name]}
		if e.Oldest == 0 && len(ts) > 0 {
			e.Oldest = ts[0]
		}
		all = append(all, e)
	}
	return all, nil
}

func (s *site) Each(_ context.Context, stream string, p Period, each func(int64)) error {
	for _, t := range slices.Sorted(slices.Values(s.edge[stream])) {
		if p.Has(t) {
			each(t)
		}
	}
	return nil
}

type farSide struct{ *site }

func (f farSide) Streams(context.Context) (names []string, err error) {
	if f.farReads++; f.farReads > 1 && f.arriving != nil {
		f.arriving(f.farReads)
	}
	for name := range f.far {
		names = append(names, name)
	}
	return names, nil
}

func (f farSide) Each(_ context.Context, stream string, p Period, each func(Arrival)) error {
	for _, a := range f.far[stream] {
		if p.Has(a.Time) {
			each(a)
		}
	}
	return nil
}

func (f farSide) Ordered() bool { return f.order }

func (f farSide) Live() bool { return f.arriving != nil }

func (s *site) look(context.Context) (*Look, error) {
	l := s.ledger
	if s.looks++; s.looks > 1 && s.later != nil {
		l = s.later
	}
	return &Look{Ledger: l, Gaps: l.gaps, Losses: l.losses}, nil
}

// newSite has n records a millisecond apart in each stream, all of which one pipeline passed and the far end has.
func newSite(n int, streams ...string) *site {
	s := &site{edge: map[string][]int64{}, oldest: map[string]int64{}, far: map[string][]Arrival{}, order: true,
		ledger: &fakeLedger{seen: map[[2]string][]taken{}, closed: map[[2]string][]bridge.ClosedRange{},
			waiting: map[[2]string][]bridge.ID{}, refused: map[[2]string][]bridge.ID{}}}
	for _, name := range streams {
		for i := range n {
			s.edge[name] = append(s.edge[name], at(i))
			s.ledger.seen[pipeOf(name)] = append(s.ledger.seen[pipeOf(name)], pass(i, 1))
			s.far[name] = append(s.far[name], Arrival{ID: id(i)})
		}
	}
	s.job = Job{Period: testPeriod, Remote: "site", Pipelines: []string{"p"}, Match: func(string) bool { return true }, Look: s.look}
	s.job.Edge, s.job.Far = s, farSide{s}
	return s
}

func pipeOf(stream string) [2]string { return [2]string{"p", stream} }

func at(i int) int64 { return base + int64(i)*1000 }

func id(i int) bridge.ID { return bridge.ID{Key: bridge.Key{Time: at(i)}} }

func output(i int, index uint16) bridge.ID {
	return bridge.ID{Key: bridge.Key{Time: at(i)}, Index: index}
}

func update(i int, revision uint64) bridge.ID {
	return bridge.ID{Key: bridge.Key{Time: at(i), Revision: revision}}
}

func pass(i int, outputs uint16) taken {
	return taken{bridge.Key{Time: at(i)}, bridge.Verdict{Kind: bridge.Passed, Outputs: outputs}}
}

func (s *site) run(t *testing.T) *Report {
	t.Helper()
	r, err := s.job.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// set changes the verdict on record i.
func (l *fakeLedger) set(stream string, i int, v bridge.Verdict) {
	for n, k := range l.seen[pipeOf(stream)] {
		if k.Time == at(i) && k.Revision == 0 {
			l.seen[pipeOf(stream)][n].Verdict = v
		}
	}
}

// said adds a flush with two outputs behind record i, as the Append of that number.
func (s *site) said(stream string, i int, number uint64) {
	s.ledger.seen[pipeOf(stream)] = append(s.ledger.seen[pipeOf(stream)], taken{update(i, number).Key, bridge.Verdict{Kind: bridge.Passed, Outputs: 2}})
}

// forget takes record i out.
func (l *fakeLedger) forget(stream string, i int) {
	l.seen[pipeOf(stream)] = slices.DeleteFunc(l.seen[pipeOf(stream)], func(k taken) bool { return k.Time == at(i) })
}

// remove takes what has an identity out of the far end.
func (s *site) remove(stream string, id bridge.ID) {
	s.far[stream] = slices.DeleteFunc(s.far[stream], func(a Arrival) bool { return a.ID == id })
}

func (s *site) arrive(stream string, as ...Arrival) { s.far[stream] = append(s.far[stream], as...) }

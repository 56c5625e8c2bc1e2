package when

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sluicebridge/sluice/bridge"
)

// Options are what a Stage works with.
type Options struct {
	Pipeline  string
	Condition *Condition
	OnError   Policy
	States    bridge.States   // nil: nothing was ever committed
	Metrics   *bridge.Metrics // may be nil
	// Newest returns the newest record of a stream that the ledger has; nil: nobody else decides on the pipeline's records.
	Newest func(pipeline, stream string) (newest int64, found bool)
}

// Stage is a pipeline's condition before its modules: a bridge.Chain around theirs. Its methods may be called concurrently, for one stream by
// one goroutine at a time.
type Stage struct {
	bridge.Chain // the modules
	options      Options
	gone         [reasons]*atomic.Int64
	failed       [reasons]*atomic.Int64

	mu      sync.Mutex
	filters map[string]*filter // guarded by mu; by stream, never shrinks
}

// Place is the Module of a verdict that a condition has given: a chain has fewer modules.
const Place = math.MaxUint8

// NewStage puts a condition before modules.
func NewStage(o Options, modules bridge.Chain) *Stage {
	if o.Metrics == nil {
		o.Metrics = &bridge.Metrics{}
	}
	s := &Stage{Chain: modules, options: o, filters: make(map[string]*filter)}
	for r := range reasons {
		s.gone[r] = o.Metrics.Conditions.At(o.Pipeline + "/" + r.String())
		s.failed[r] = s.gone[r]
		if r.failed() && o.OnError != Drop {
			past := map[Policy]string{Keep: "kept", Park: "parked"}[o.OnError]
			s.failed[r] = o.Metrics.Conditions.At(o.Pipeline + "/" + r.String() + ", " + past)
		}
	}
	return s
}

// Apply implements bridge.Chain. What was held of earlier batches and passes now goes before the record that asks for it, through the
// modules too, and is told in out.Released.
func (s *Stage) Apply(ctx context.Context, stream string, rs []bridge.Record, out *bridge.Results) error {
	if len(rs) == 0 {
		return nil
	}
	f, err := s.filter(stream)
	if err != nil {
		return fmt.Errorf("condition on %s: %w", stream, err)
	}
	defer f.end()
	for i := range rs {
		f.take(i, &rs[i])
	}
	f.finish()
	base := len(out.Verdicts)
	if len(f.passing) > 0 {
		f.selectLabels(out)
		if err := s.Chain.Apply(ctx, stream, f.passing, out); err != nil {
			return err
		}
	}
	if n := len(out.Verdicts) - base; n != len(f.passing) {
		return fmt.Errorf("modules on %s: %d verdicts for %d records: %w", stream, n, len(f.passing), bridge.ErrCorrupt)
	}
	f.settle(rs, out, base)
	s.count(f)
	return nil
}

// Discard implements bridge.Chain (rule 4 of INVARIANTS.md).
func (s *Stage) Discard(stream string) {
	s.mu.Lock()
	delete(s.filters, stream)
	s.mu.Unlock()
	s.Chain.Discard(stream)
}

// filter returns a stream's, with the committed state where it is new.
func (s *Stage) filter(stream string) (*filter, error) {
	s.mu.Lock()
	f := s.filters[stream]
	s.mu.Unlock()
	if f != nil {
		return f, nil
	}
	f = newFilter(s.options.Condition, s.options.OnError)
	if err := s.load(stream, f); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.filters[stream] = f
	s.mu.Unlock()
	return f, nil
}

func (s *Stage) load(stream string, f *filter) error {
	o := &s.options
	if !f.Stateful() || o.States == nil {
		return nil
	}
	st, found, err := o.States.State(o.Pipeline, stream, Name)
	if err != nil {
		return fmt.Errorf("committed state: %w", err)
	}
	if found && st.SHA256 == f.sha && st.Version == stateVersion {
		if err := f.readState(st.Bytes); err != nil {
			return fmt.Errorf("committed state: %w", err)
		}
	}
	if o.Newest == nil {
		return nil
	}
	// Records may have passed while the pipeline had no condition, or another one. What was held before them would come behind them, unmarked.
	if newest, ok := o.Newest(o.Pipeline, stream); ok && newest > f.newest {
		f.trim(0)
		f.newest = newest
	}
	return nil
}

// selectLabels takes off what #select_labels does not name.
func (f *filter) selectLabels(out *bridge.Results) {
	if f.selected == nil {
		return
	}
	for i := range f.passing {
		f.labels = f.labels[:0]
		for _, l := range f.passing[i].Labels {
			if _, found := slices.BinarySearchFunc(f.selected, l.Name, compareName); found {
				f.labels = append(f.labels, l)
			}
		}
		f.passing[i].Labels = out.CopyLabels(f.labels)
	}
}

func compareName(name string, label []byte) int {
	switch {
	case name < string(label):
		return -1
	case name > string(label):
		return 1
	}
	return 0
}

// settle puts the verdicts of the batch where the modules put those of what passed, and adds the state to the same write (rule 3 of
// INVARIANTS.md).
func (f *filter) settle(rs []bridge.Record, out *bridge.Results, base int) {
	f.vs = append(f.vs[:0], out.Verdicts[base:]...)
	out.Verdicts = out.Verdicts[:base]
	for i := range rs {
		v := bridge.Verdict{Kind: f.fates[i].kind, Module: Place, Reason: uint16(f.fates[i].why)}
		out.Verdicts = append(out.Verdicts, v)
	}
	for i, v := range f.vs {
		if at := f.from[i]; at >= 0 {
			out.Verdicts[base+int(at)] = v
			continue
		}
		r := &f.passing[i]
		v.Late = r.Flags&bridge.Late != 0
		out.Released = append(out.Released, bridge.Released{Key: bridge.Key{Time: r.Time, Revision: r.Revision}, Verdict: v})
	}
	for _, p := range f.parked {
		out.Parked = append(out.Parked, bridge.Parking{
			Message: bridge.Message{Record: rs[p.at]}, Module: Name, SHA256: f.sha, Reason: wrong(p.path, "%s", f.fates[p.at].why).Error(),
		})
	}
	if f.Stateful() {
		f.scratch = f.appendState(f.scratch[:0])
		out.States = append(out.States, bridge.State{Module: Name, SHA256: f.sha, Version: stateVersion, Bytes: out.Copy(f.scratch)})
	}
}

// count is done when nothing of the batch can fail any more but its Append, as by a module.
func (s *Stage) count(f *filter) {
	for r := range reasons {
		if n := f.gone[r]; n > 0 {
			s.gone[r].Add(n)
		}
		if n := f.failed[r]; n > 0 {
			s.failed[r].Add(n)
		}
	}
}

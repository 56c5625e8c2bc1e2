package golden

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host"
)

// Units is the budget that a module's config should have for a test: the same on every machine.
const Units = 10_000_000

// Got is what a module made of a record.
type Got struct {
	Verdict string // as in Want
	Reason  string // the name of drop's, the text of park's and retry's
	Units   int64
	Outputs []bridge.Message
	trapped bool // the host set the record aside, not the module
}

// Watch sees each call of the module with the index of its record. What the module says comes before the call it said it in. Of a record that is
// tried again the last call counts.
type Watch interface {
	Called(record int, c host.Call)
	Said(level int32, text []byte)
}

// Run runs a module over a file's records, batch by batch; what it remembers goes from one batch to the next. The module was loaded with
// the file's Config. watch may be nil. An error means that there is no result; that a guest failed is one.
func (f *File) Run(ctx context.Context, rt *host.Runtime, m *host.Module, watch Watch) (*Report, error) {
	r := &runner{file: f, module: m, got: make([]Got, len(f.Records)), also: watch}
	chain, err := rt.Chain("test", []*host.Module{m}, &r.states, nil)
	if err != nil {
		return nil, err
	}
	chain.Watch(r)
	for _, rec := range f.Records {
		chain.Discard(rec.Entry) // what another run left
	}
	for batches := f.Batches(); r.to < len(f.Records); {
		r.from, r.to = r.to, r.to+1
		if f.Records[r.from].Flush != "" {
			err = r.flush(ctx, chain)
		} else {
			r.to = r.from + len(batches[0].Records)
			err = r.batch(ctx, chain, batches[0])
			batches = batches[1:]
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", f.path, f.Records[r.from].line, err)
		}
	}
	return f.report(r.got), nil
}

// runner takes the batches of a file through a chain of one module, and watches.
type runner struct {
	file   *File
	module *host.Module
	states states
	got    []Got
	from   int // of the batch, or the flush
	to     int

	flushed uint64 // flushes so far

	also Watch // nil: nobody else looks
}

func (r *runner) batch(ctx context.Context, chain *host.Chain, b bridge.Batch) error {
	out := new(bridge.Results)
	return r.note(ctx, b.Stream, out, chain.Apply(ctx, b.Stream, b.Records, out))
}

// flush asks for what the module holds back. The module's answer to that is what counts for its verdict and units.
func (r *runner) flush(ctx context.Context, chain *host.Chain) error {
	rec := r.file.Records[r.from]
	r.flushed++
	out := new(bridge.Results)
	f := bridge.Flush{Reason: flushes[rec.Flush], Key: bridge.Key{Time: *rec.Time, Revision: r.flushed}}
	err := r.note(ctx, rec.Entry, out, chain.Flush(ctx, rec.Entry, f, out))
	if got := &r.got[r.from]; err == nil && got.Verdict == "" {
		got.Verdict = pass // it was not asked, or has nothing
	}
	return err
}

// note takes over what came of a batch or flush, and commits it.
func (r *runner) note(ctx context.Context, stream string, out *bridge.Results, err error) error {
	if err != nil && (!errors.Is(err, bridge.ErrRetry) || ctx.Err() != nil) {
		return err
	}
	if err != nil { // nothing of the batch was decided
		r.undecided(err)
		return nil
	}
	r.states.commit(stream, out)
	r.decided(out)
	return nil
}

// undecided: a record asked for its batch again, or the module can be neither loaded nor saved. Either is the last word on all of it.
func (r *runner) undecided(why error) {
	for i := r.from; i < r.to; i++ {
		r.got[i].Verdict, r.got[i].Reason, r.got[i].Outputs = retry, why.Error(), nil
	}
}

// decided takes over what only the results tell.
func (r *runner) decided(out *bridge.Results) {
	messages, parked := out.Messages, out.Parked
	for i, v := range out.Verdicts {
		got := &r.got[r.from+i]
		got.Outputs = messages[:v.Outputs:v.Outputs]
		messages = messages[v.Outputs:]
		asked := got.Verdict
		switch {
		case len(parked) > 0 && parked[0].Time == *r.file.Records[r.from+i].Time:
			got.Verdict, got.Reason = park, parked[0].Reason
			parked = parked[1:]
		case asked == "" && v.Kind == bridge.Dropped: // by on_fault
			got.Verdict, got.Reason = drop, "fault"
		case asked == "":
			got.Verdict = pass
		}
		got.trapped = got.Verdict != asked
	}
}

// Called implements host.Watch: units and the guest's own verdict are told nowhere else.
func (r *runner) Called(c host.Call) {
	at, found := slices.BinarySearchFunc(r.file.Records[r.from:r.to], c.Record.Time, func(rec *Record, t int64) int { return cmp.Compare(*rec.Time, t) })
	if !found {
		return
	}
	if r.also != nil {
		r.also.Called(r.from+at, c)
	}
	if (c.Name == abi.ExportFlush) != (r.file.Records[r.from+at].Flush != "") {
		return
	}
	got := &r.got[r.from+at]
	*got = Got{Units: c.Units}
	if c.Err == nil {
		got.Verdict, got.Reason = r.verdict(&c)
	}
}

// Said implements host.Watch.
func (r *runner) Said(level int32, text []byte) {
	if r.also != nil {
		r.also.Said(level, text)
	}
}

// verdict reads an answer; one that lies has none, nor has FAIL: on_fault decides.
func (r *runner) verdict(c *host.Call) (verdict, reason string) {
	got, err := abi.ParseReturned(c.Returned)
	e := abi.Entry{Verdict: got.Verdict, Reason: got.Reason}
	if err == nil && !got.Short {
		e, _, err = abi.ReadEntry(c.Answer)
	}
	if err != nil || got.Failed || e.Verdict == abi.Fail {
		return "", ""
	}
	if e.Verdict == abi.Drop {
		reason = "other"
		if names := r.module.Info().Manifest.Reasons; int(e.Reason) < len(names) {
			reason = names[e.Reason]
		}
	}
	return [...]string{pass, emit, drop, absorb, park, retry}[e.Verdict], reason
}

// states is a ledger's: what was saved with the batch before.
type states struct{ kept map[string]bridge.State }

// State implements bridge.States.
func (s *states) State(_, stream, _ string) (bridge.State, bool, error) {
	state, found := s.kept[stream]
	return state, found, nil
}

func (s *states) commit(stream string, out *bridge.Results) {
	if s.kept == nil {
		s.kept = make(map[string]bridge.State)
	}
	for _, state := range out.States {
		state.Bytes = bytes.Clone(state.Bytes)
		s.kept[stream] = state
	}
}

// ceiling is the fuel that a record is given where none is written down: a tenth more than it took, for compilers differ.
func ceiling(units int64) int64 {
	return int64(math.Ceil(float64(units)*1.1/10)) * 10
}

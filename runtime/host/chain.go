package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
)

// Chain is a pipeline's modules in their order. Its methods may be called concurrently, for one stream by one goroutine at a time.
type Chain struct {
	pipeline string
	links    []link
	states   bridge.States
	watch    Watch // nil: nobody looks

	mu   sync.Mutex
	runs []*run // guarded by mu: buffers of batches that have ended
}

// link is a module in a chain, with the counters of that place.
type link struct {
	*Module
	index     uint8
	before    *link    // of the module that this one has replaced; nil: none
	shadows   []*Trial // that run beside it for good
	maskNames [][]byte // of the labels, for answers that are a mask
	drops     []*atomic.Int64
	traps     *atomic.Int64
	units     *atomic.Int64
	took      *bridge.Histogram
}

func newChain(pipeline string, modules []*Module, states bridge.States, metrics *bridge.Metrics) (*Chain, error) {
	if len(modules) > 255 {
		return nil, fmt.Errorf("pipeline %s: %d modules, want at most 255", pipeline, len(modules))
	}
	if metrics == nil {
		metrics = &bridge.Metrics{}
	}
	c := &Chain{pipeline: pipeline, states: states}
	seen := make(map[string]bool)
	for i, m := range modules {
		if m.cfg.Shadow {
			if len(c.links) == 0 {
				return nil, fmt.Errorf("pipeline %s: module %s has shadow = true and stands first, want it behind the module that it is compared with", pipeline, m.name)
			}
			t := newTrial(m)
			t.forGood = true
			live := &c.links[len(c.links)-1]
			live.shadows = append(live.shadows, t)
			continue
		}
		if m.Stateful() && seen[m.name] {
			return nil, fmt.Errorf("pipeline %s: module %s keeps a state and is there twice", pipeline, m.name)
		}
		seen[m.name] = true
		l := newLink(m, uint8(i), metrics)
		if m.before != nil && m.Resets(m.before) {
			l.before = new(newLink(m.before, uint8(i), new(bridge.Metrics)))
		}
		c.links = append(c.links, l)
	}
	return c, nil
}

func newLink(m *Module, index uint8, metrics *bridge.Metrics) link {
	l := link{
		Module: m, index: index,
		traps: metrics.ModuleTraps.At(m.name), units: metrics.ModuleFuel.At(m.name), took: metrics.ModuleCall.At(m.name),
	}
	for n := range m.manifest.Reasons {
		l.drops = append(l.drops, metrics.ModuleDrops.At(m.name+"/"+m.reason(uint16(n))))
	}
	l.drops = append(l.drops, metrics.ModuleDrops.At(m.name+"/other"), metrics.ModuleDrops.At(m.name+"/fault"))
	for _, name := range m.manifest.Labels {
		l.maskNames = append(l.maskNames, []byte(name))
	}
	return l
}

// drop is the counter of a reason.
func (l *link) drop(reason uint16) *atomic.Int64 {
	switch known := len(l.manifest.Reasons); {
	case reason == faultReason:
		return l.drops[known+1]
	case int(reason) < known:
		return l.drops[reason]
	default:
		return l.drops[known]
	}
}

// Apply implements bridge.Chain. The modules see the batch one after the other: all records through the first, what they became through the
// second, and so on.
func (c *Chain) Apply(ctx context.Context, stream string, rs []bridge.Record, out *bridge.Results) error {
	if len(rs) == 0 {
		return nil
	}
	r := c.begin(stream, rs, out)
	defer c.end(r)
	for i := range c.links {
		if err := r.pass(ctx, &c.links[i]); err != nil {
			return fmt.Errorf("module %s on %s: %w", c.links[i].name, stream, err)
		}
	}
	return r.finish()
}

// Flush implements bridge.Chain. What a module says goes through those behind it like a record, and they say theirs.
func (c *Chain) Flush(ctx context.Context, stream string, f bridge.Flush, out *bridge.Results) error {
	if !slices.ContainsFunc(c.links, func(l link) bool { return l.due(f.Reason) }) {
		return nil
	}
	r := c.begin(stream, nil, out)
	defer c.end(r)
	r.flush, r.origin = f.Reason, item{Message: bridge.Message{Record: bridge.Record{Time: f.Key.Time, Revision: f.Key.Revision}}}
	out.Verdicts = append(out.Verdicts, bridge.Verdict{})
	for i := range c.links {
		if err := r.pass(ctx, &c.links[i]); err != nil {
			return fmt.Errorf("module %s on %s: %w", c.links[i].name, stream, err)
		}
	}
	if len(r.items) == 0 && out.Verdicts[r.base].Kind == bridge.Undecided {
		out.Verdicts = out.Verdicts[:r.base]
		return nil
	}
	return r.finish()
}

// due tells whether the module is asked for what it holds back.
func (l *link) due(why bridge.FlushReason) bool {
	switch why {
	case bridge.FlushTick:
		return l.tick > 0
	case bridge.FlushShutdown:
		return l.Stateful() && l.flushes
	case bridge.FlushSwap:
		return l.before != nil // it is asked when the state is loaded
	}
	return false
}

// Tick is how often Flush wants to be called for a tick, by the module that wants it most often; 0 = never.
func (c *Chain) Tick() time.Duration {
	var least time.Duration
	for i := range c.links {
		if t := c.links[i].tick; t > 0 && (least == 0 || t < least) {
			least = t
		}
	}
	return least
}

// Discard implements bridge.Chain: the instances that served the stream end (rule 4 of INVARIANTS.md).
func (c *Chain) Discard(stream string) {
	for i := range c.links {
		l := &c.links[i]
		if l.Stateful() {
			l.pool.discard(owner{c.pipeline, stream, false})
		}
		for _, t := range l.shadows {
			t.forget(owner{c.pipeline, stream, true})
		}
		if t := l.trial.Load(); t != nil {
			t.forget(owner{c.pipeline, stream, true})
		}
	}
}

// item is a record on its way through the chain, and what the module it stands before made of it.
type item struct {
	bridge.Message
	from    int32       // index of the record it came from
	tries   uint8       // faults of this module on it; after the second it is not tried again
	verdict abi.Verdict // of this module; Pass and Emit have put their outputs into run.next
	reason  uint16
}

// run is one batch on its way. It is reused, so that a batch allocates nothing.
type run struct {
	chain  *Chain
	stream string
	entry  []byte
	out    *bridge.Results
	base   int                // where the batch's verdicts begin
	flush  bridge.FlushReason // 0: a batch
	origin item               // what outputs of a flush are made from: no label, no payload
	items  []item             // before the current module
	next   []item             // behind it
	labels []bridge.Label     // of the output that is made
	from   []int              // of each of labels: the record's label its value is from, -1 = none
	layout layout             // of the module's records
	plan   plan
}

func (c *Chain) begin(stream string, rs []bridge.Record, out *bridge.Results) *run {
	c.mu.Lock()
	var r *run
	if n := len(c.runs); n > 0 {
		r, c.runs = c.runs[n-1], c.runs[:n-1]
	}
	c.mu.Unlock()
	if r == nil {
		r = &run{chain: c}
	}
	r.stream, r.out, r.base = stream, out, len(out.Verdicts)
	r.entry = append(r.entry[:0], bridge.Entry(stream)...)
	for i := range rs {
		r.items = append(r.items, item{Message: bridge.Message{Record: rs[i]}, from: int32(i)})
		out.Verdicts = append(out.Verdicts, bridge.Verdict{})
	}
	return r
}

// end keeps the run's memory, but nothing that the batch owned.
func (c *Chain) end(r *run) {
	clear(r.items)
	clear(r.next)
	clear(r.labels)
	r.forget()
	r.items, r.next, r.labels, r.out = r.items[:0], r.next[:0], r.labels[:0], nil
	r.flush = 0
	c.mu.Lock()
	c.runs = append(c.runs, r) // as many as there were batches at once
	c.mu.Unlock()
}

var errUndecided = errors.New("a record was left undecided")

// finish puts what came out behind the last module into the results, numbered densely for each record.
func (r *run) finish() error {
	vs := r.out.Verdicts[r.base:]
	for i := range r.items {
		it := &r.items[i]
		v := &vs[it.from]
		it.Index = v.Outputs
		v.Outputs++
		r.out.Messages = append(r.out.Messages, it.Message)
	}
	for i := range vs {
		if vs[i].Outputs > 0 {
			vs[i] = bridge.Verdict{Kind: bridge.Passed, Outputs: vs[i].Outputs}
		}
		if vs[i].Kind == bridge.Undecided {
			return fmt.Errorf("%w: %w", errUndecided, bridge.ErrCorrupt)
		}
	}
	return nil
}

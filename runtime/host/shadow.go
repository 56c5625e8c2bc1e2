package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sluicebridge/sluice/bridge"
)

// Trial is a module that runs in the shadow of a live one: it gets the same records behind it, with the flag shadow, and nothing of what it makes
// leaves. Its state begins as a copy of the live one's, or anew where that is of another version, and stays in memory.
type Trial struct {
	link           // the candidate, with counters of its own that nobody shows
	forGood bool   // else it ends with its first fault, or when it has seen enough
	ended   func() // called once
	left    atomic.Int64
	over    atomic.Bool

	mu     sync.Mutex
	err    error                  // guarded by mu: why it failed
	states map[owner]bridge.State // guarded by mu
	bytes  int                    // guarded by mu: of states
}

// maxShadow bounds the states of a trial; a stream beyond begins each batch with the live one's.
const maxShadow = 64 << 20 // bytes

// Comparison is how a module did in the shadow of another.
type Comparison struct {
	Batches, Records, Different int64
	First                       string // the first difference
	Units, LiveUnits            int64
	Faults                      int64
	LastFault                   string
}

// comparison is a Comparison in the making.
type comparison struct {
	mu sync.Mutex
	c  Comparison // guarded by mu
}

func (m *comparison) change(f func(*Comparison)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.c)
}

// Compared is how m did in another's shadow so far.
func (m *Module) Compared() Comparison {
	m.shadow.mu.Lock()
	defer m.shadow.mu.Unlock()
	return m.shadow.c
}

// Try lets candidate run in the shadow of m for a number of batches, in every chain that m is in. ended is called when they are over, or at the
// candidate's first fault; Untry ends it early.
func (m *Module) Try(candidate *Module, batches int, ended func()) *Trial {
	t := newTrial(candidate)
	t.left.Store(int64(batches))
	t.ended = ended
	m.trial.Store(t)
	return t
}

// Untry ends the trial in the shadow of m, if there is one. A batch that is in the candidate ends there.
func (m *Module) Untry() { m.trial.Store(nil) }

func newTrial(m *Module) *Trial {
	return &Trial{link: newLink(m, 0, new(bridge.Metrics)), states: make(map[owner]bridge.State)}
}

// Over tells whether a trial has ended, and why it failed.
func (t *Trial) Over() (over bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over.Load(), t.err
}

func (t *Trial) end(err error) {
	t.mu.Lock()
	first := !t.over.Load()
	if first {
		t.err = err
		t.over.Store(true)
	}
	t.mu.Unlock()
	if first {
		t.ended()
	}
}

// beside runs the shadows of l on what it was given, when it has decided.
func (r *run) beside(ctx context.Context, l *link, live *stage) {
	for _, t := range l.shadows {
		t.run(ctx, r, live)
	}
	if t := l.trial.Load(); t != nil && !t.over.Load() {
		t.run(ctx, r, live)
	}
}

// run takes a batch that the live module has decided on through the candidate.
func (t *Trial) run(ctx context.Context, r *run, live *stage) {
	own := owner{r.chain.pipeline, r.stream, true}
	states := shadowStates{t, own, r.chain.states, live.name}
	mine := &run{chain: &Chain{pipeline: own.pipeline, states: states}, stream: r.stream, entry: r.entry, flush: r.flush, origin: r.origin, out: new(bridge.Results)}
	for i := range r.items {
		it := item{Message: r.items[i].Message, from: r.items[i].from}
		it.Flags |= bridge.Shadow
		if r.items[i].tries >= triesPerRecord {
			it.tries = triesPerRecord // what the live module could not decide on either is not held against it
		}
		mine.items = append(mine.items, it)
	}
	s := stage{run: mine, link: &t.link, record: -1, shadow: true}
	if t.Stateful() {
		s.owner = own
	}
	if err := t.work(ctx, &s); err != nil {
		if ctx.Err() == nil && !errors.Is(err, bridge.ErrClosed) {
			t.failed(fmt.Errorf("%s: %w", r.stream, err))
		}
		return
	}
	t.Module.shadow.change(func(c *Comparison) {
		c.Batches++
		c.Records += int64(len(r.items))
		c.Units, c.LiveUnits = c.Units+s.all, c.LiveUnits+live.all
		n, first := differences(r, mine)
		if c.Different += n; c.First == "" {
			c.First = first
		}
	})
	if !t.forGood && r.flush == 0 && t.left.Add(-1) == 0 {
		t.end(nil)
	}
}

// work is stage.work for a candidate: nobody waits for a second try.
func (t *Trial) work(ctx context.Context, s *stage) error {
	in, mine, err := t.pool.take(ctx, s.owner)
	if err != nil {
		return err
	}
	s.in, s.loaded = in, mine || !t.Stateful()
	_, err = s.attempt(ctx, 0)
	s.account()
	if err != nil {
		t.pool.end(in)
		t.forget(s.owner)
		return err
	}
	t.pool.put(in, s.owner)
	for _, st := range s.out.States {
		if st.Module == t.name {
			t.keep(s.owner, st)
		}
	}
	return nil
}

func (t *Trial) failed(err error) {
	t.Module.shadow.change(func(c *Comparison) { c.Faults, c.LastFault = c.Faults+1, err.Error() })
	if !t.forGood {
		t.end(err)
	}
}

func (t *Trial) keep(o owner, st bridge.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes -= len(t.states[o].Bytes)
	delete(t.states, o)
	if t.bytes+len(st.Bytes) > maxShadow {
		return
	}
	st.Bytes = bytes.Clone(st.Bytes)
	t.states[o] = st
	t.bytes += len(st.Bytes)
}

// forget makes the candidate go on from the live one's state: an Append was not done, or it has failed itself.
func (t *Trial) forget(o owner) {
	t.pool.discard(o)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes -= len(t.states[o].Bytes)
	delete(t.states, o)
}

// shadowStates gives a candidate its own state of a stream, or the one that is committed for the live module: this batch is not in it yet.
type shadowStates struct {
	t    *Trial
	own  owner
	live bridge.States
	name string // of the live module
}

// State implements bridge.States.
func (s shadowStates) State(pipeline, stream, module string) (bridge.State, bool, error) {
	s.t.mu.Lock()
	st, found := s.t.states[s.own]
	s.t.mu.Unlock()
	if found || module != s.t.name || s.live == nil {
		return st, found && module == s.t.name, nil
	}
	return s.live.State(pipeline, stream, s.name)
}

// differences counts the records of which live and shadow made something else, and describes the first.
func differences(live, shadow *run) (n int64, first string) {
	a, b := live.next, shadow.next
	note := func(from int32, t int64, what string) {
		if n++; first == "" {
			first = fmt.Sprintf("%s@%d: %s", live.stream, t, what)
		}
	}
	for i := 0; i < len(live.items); {
		from, at, what := live.items[i].from, live.items[i].Time, ""
		for ; i < len(live.items) && live.items[i].from == from; i++ {
			if x, y := &live.items[i], &shadow.items[i]; what == "" && (x.verdict != y.verdict || x.reason != y.reason) {
				what = fmt.Sprintf("%s %d in the shadow, %s %d live", y.verdict, y.reason, x.verdict, x.reason)
			}
		}
		x, y := outputsOf(&a, from), outputsOf(&b, from)
		if what == "" {
			what = unlike(x, y)
		}
		if what != "" {
			note(from, at, what)
		}
	}
	if what := unlike(a, b); what != "" {
		note(0, live.origin.Time, what)
	}
	return n, first
}

// outputsOf takes those of a record from the head of a list.
func outputsOf(list *[]item, from int32) []item {
	n := 0
	for n < len(*list) && (*list)[n].from == from {
		n++
	}
	out := (*list)[:n]
	*list = (*list)[n:]
	return out
}

// unlike says how outputs differ, or nothing.
func unlike(live, shadow []item) string {
	if len(live) != len(shadow) {
		return fmt.Sprintf("%d outputs in the shadow, %d live", len(shadow), len(live))
	}
	for i := range live {
		a, b := &live[i].Message, &shadow[i].Message
		switch {
		case a.Time != b.Time || a.Shift != b.Shift:
			return fmt.Sprintf("output %d has time %d in the shadow, %d live", i, b.Time, a.Time)
		case !bytes.Equal(a.Topic, b.Topic):
			return fmt.Sprintf("output %d has topic %q in the shadow, %q live", i, b.Topic, a.Topic)
		case !bytes.Equal(a.ContentType, b.ContentType):
			return fmt.Sprintf("output %d has content type %q in the shadow, %q live", i, b.ContentType, a.ContentType)
		case !slices.EqualFunc(a.Labels, b.Labels, equalLabels):
			return fmt.Sprintf("output %d has other labels", i)
		case !bytes.Equal(a.Payload, b.Payload):
			return fmt.Sprintf("output %d has another payload", i)
		}
	}
	return ""
}

func equalLabels(a, b bridge.Label) bool {
	return bytes.Equal(a.Name, b.Name) && bytes.Equal(a.Value, b.Value)
}

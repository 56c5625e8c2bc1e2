package host

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
)

// seat is a place in a pipeline for modules named a, with the states of its stream.
type seat struct {
	*bench
	t      *testing.T
	states *memoryStates
	live   *Module
	chain  *Chain
	over   atomic.Int32 // how often a trial has ended
}

func newSeat(t *testing.T, g *guest) *seat {
	s := &seat{bench: newBench(t), t: t, states: &memoryStates{}}
	s.put(s.module(g))
	return s
}

func (s *seat) module(g *guest) *Module { return s.load(s.t, "a", g.bytes(), testConfig()) }

// put makes a module the live one, as a promotion does.
func (s *seat) put(m *Module) {
	s.t.Helper()
	if s.live != nil {
		m.Follow(s.live)
	}
	c, err := s.Chain("p", []*Module{m}, s.states, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.live != nil {
		s.live.Rest()
	}
	s.chain, s.live = c, m
}

// batch takes n records in and returns what became of them.
func (s *seat) batch(n int) string {
	s.t.Helper()
	out := apply(s.t, s.chain, "b/e", records(n))
	s.states.commit("b/e", out)
	return describe(out)
}

func (s *seat) flush(why bridge.FlushReason) string {
	s.t.Helper()
	out := flush(s.t, s.chain, why)
	s.states.commit("b/e", out)
	return describe(out)
}

func (s *seat) count(want int) {
	s.t.Helper()
	if got := s.states.counter("b/e", "a"); got != want {
		s.t.Errorf("counted %d, want %d", got, want)
	}
}

// Rule 21: a candidate sees what the live module sees, in the live one's state, and nothing of it leaves; then it goes on from where that one was.
func TestShadow(t *testing.T) {
	s := newSeat(t, counter())
	s.batch(3)
	next := counter(asm.Op(0x01))
	m := s.module(next)
	trial := s.live.Try(m, 2, func() { s.over.Add(1) })
	if got := s.batch(2); got != "passed passed m:@0,n=0 m:@1,n=1" {
		t.Errorf("in the trial: %s", got)
	}
	if over, err := trial.Over(); over || err != nil {
		t.Errorf("after one batch of two: over %v, %v", over, err)
	}
	s.chain.Discard("b/e") // its Append was not done: the shadow forgets it too
	s.batch(2)
	if st := trial.states[owner{"p", "b/e", true}].Bytes; len(st) != 4 || st[0] != 7 {
		t.Errorf("the candidate's state is %v, want 7: the 5 that are committed, and 2", st)
	}
	s.batch(1)
	if over, err := trial.Over(); !over || err != nil || s.over.Load() != 1 {
		t.Errorf("after the batches: over %v %v, said %d times", over, err, s.over.Load())
	}
	if c := m.Compared(); c.Batches != 2 || c.Records != 4 || c.Different != 0 || c.Units <= 0 || c.LiveUnits <= 0 || c.Faults != 0 {
		t.Errorf("compared %+v", c)
	}
	s.count(8)
	s.live.Untry()
	s.put(m)
	s.batch(2)
	s.count(10)
	if got := s.states.states["b/e a"].SHA256; got != m.SHA256() {
		t.Errorf("the state is of %.8s, want %.8s: it is committed with the first batch", got, m.SHA256())
	}
}

// TestShadowDiffers: differences are counted and do not end a trial; a fault does, and the live module has noticed nothing.
func TestShadowDiffers(t *testing.T) {
	for _, tt := range []struct {
		name      string
		candidate *guest
		different int64
		first     string
		fault     string
	}{
		{"another verdict", answers(newGuest("version = \"2\"\nreasons = [\"x\"]"), asm.Int64(abi.ShortAnswer(abi.Drop, 0))), 1, "b/e@0: DROP 0 in the shadow, PASS 0 live", ""},
		{"sees that it is a shadow", shadowAware(), 3, "b/e@0: ABSORB 0 in the shadow", ""},
		{"more outputs", doubling(), 1, "b/e@0: EMIT 1 in the shadow, PASS 0 live", ""},
		{"a trap", answers(newGuest("version = \"3\""), pass, asm.Op(asm.Unreachable)), 0, "", "b/e: sluice_process: wasm error: unreachable"},
		{"an endless loop", answers(newGuest("version = \"4\""), asm.Code(asm.Loop(asm.Br(0)), pass)), 0, "", "budget used up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSeat(t, answers(newGuest("version = \"1\"")))
			m := s.module(tt.candidate)
			trial := s.live.Try(m, 5, func() {})
			for range 2 {
				if got := s.batch(3); got != "passed passed passed m:@0,n=0 m:@1,n=1 m:@2,n=2" {
					t.Errorf("live: %s", got)
				}
			}
			c := m.Compared()
			over, err := trial.Over()
			if tt.fault != "" {
				if !over || err == nil || !strings.Contains(err.Error(), tt.fault) || c.Faults != 1 || !strings.Contains(c.LastFault, tt.fault) {
					t.Errorf("over %v, %v, %+v, want %q", over, err, c, tt.fault)
				}
				return
			}
			if over || c.Different != 2*tt.different || !strings.HasPrefix(c.First, tt.first) {
				t.Errorf("over %v, %+v, want %d different a batch, the first %q", over, c, tt.different, tt.first)
			}
		})
	}
}

// TestShadowOfATrap: a record that the live module has failed on does not speak against the one that is to replace it.
func TestShadowOfATrap(t *testing.T) {
	s := newSeat(t, counter(asm.Op(asm.Unreachable)))
	m := s.module(counter(asm.Op(asm.Unreachable), asm.Op(0x01)))
	trial := s.live.Try(m, 2, func() {})
	for range 2 {
		if got := s.batch(3); got != "passed parked passed m:@0,n=0 m:@2,n=2 p:a@1,n=1" {
			t.Errorf("live: %s", got)
		}
	}
	if over, err := trial.Over(); !over || err != nil {
		t.Errorf("over %v, %v, compared %+v", over, err, m.Compared())
	}
	if c := m.Compared(); c.Records != 6 || c.Different != 0 || c.Faults != 0 {
		t.Errorf("compared %+v", c)
	}
}

// shadowAware makes a guest that absorbs where the flag shadow is set.
func shadowAware() *guest {
	g := newGuest("version = \"5\"")
	g.process(
		asm.Int(bufferAt), asm.Load(4), asm.Int(int32(abi.Shadow)), asm.Op(0x71),
		asm.If(asm.Int64(abi.ShortAnswer(abi.Absorb, 0)), asm.Op(asm.Return)), pass,
	)
	return g
}

func doubling() *guest {
	g := newGuest("version = \"6\"\noutputs_max = 2")
	return answers(g, g.canned(emit("x")))
}

// TestShadowForGood: a module with shadow = true stands behind the one that it is compared with, and its faults end nothing.
func TestShadowForGood(t *testing.T) {
	b, states := newBench(t), &memoryStates{}
	live := b.load(t, "a", counter().bytes(), testConfig())
	cfg := testConfig()
	cfg.Shadow = true
	beside := b.load(t, "b", counter(asm.Op(asm.Unreachable)).bytes(), cfg)
	if _, err := b.Chain("p", []*Module{beside, live}, states, nil); err == nil || !strings.Contains(err.Error(), "stands first") {
		t.Errorf("first in the list: got %v", err)
	}
	c, err := b.Chain("p", []*Module{live, beside}, states, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		states.commit("b/e", apply(t, c, "b/e", records(1)))
	}
	states.commit("b/e", apply(t, c, "b/e", records(2)))
	states.commit("b/e", apply(t, c, "b/e", records(1)))
	if got := beside.Compared(); got.Batches != 4 || got.Faults != 1 || got.Different != 0 {
		t.Errorf("got %+v, want 4 batches and 1 fault", got)
	}
	if len(states.states) != 1 || states.counter("b/e", "a") != 6 {
		t.Errorf("states %v, want that of a alone, 6", states.states)
	}
	if st := c.links[0].shadows[0].states[owner{"p", "b/e", true}].Bytes; len(st) != 4 || st[0] != 6 {
		t.Errorf("the shadow's state is %v, want 6: after the fault it began with the live one's", st)
	}
}

// TestHandOver: where the state cannot be taken over, the module before says what it holds, once, and its state is set aside and taken up again by a
// rollback. Every record is in exactly one of the sums.
func TestHandOver(t *testing.T) {
	for _, tt := range []struct {
		name  string
		first func(*seat) string
		want  string
	}{
		{"asked", func(s *seat) string { return s.flush(bridge.FlushSwap) + s.flush(bridge.FlushSwap) }, "passed m:@7~3,sum1=1"},
		{"at a tick", func(s *seat) string { return s.flush(bridge.FlushTick) + s.flush(bridge.FlushTick) }, "passed m:@7~3,sum1=1"},
		{"at the end", func(s *seat) string { return s.flush(bridge.FlushShutdown) + s.flush(bridge.FlushSwap) }, "passed m:@7~3,sum1=1"},
		{"by the next record", func(s *seat) string { return s.batch(2) }, "passed absorbed m:@0,sum1=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSeat(t, window("1"))
			s.batch(4)
			old, m := s.live, s.module(window("2"))
			if !m.Resets(old) {
				t.Error("versions 1 and 2, and no reset")
			}
			s.put(m)
			if got := tt.first(s); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if st := s.states.states["b/e a@1"]; st.Version != 1 || st.SHA256 != old.SHA256() || s.states.counter("b/e", "a@1") != 0 {
				t.Errorf("set aside: %+v, want what version 1 left: nothing held", st)
			}
			s.batch(3)
			s.put(old)
			if got := s.flush(bridge.FlushSwap); got != "passed m:@7~3,sum2=1" {
				t.Errorf("rollback: got %q, want what version 2 held", got)
			}
			s.count(0)
			s.batch(2)
			s.count(2)
		})
	}
}

// TestHandOverFails: a module before that traps at the end leaves its whole state set aside, and the new one goes on.
func TestHandOverFails(t *testing.T) {
	g := counter()
	g.Func(abi.ExportFlush, []byte{asm.I32}, []byte{asm.I64}, 0, asm.Get(0), asm.Int(abi.FlushSwap), asm.Op(asm.I32Eq), asm.If(asm.Op(asm.Unreachable)), pass)
	s := newSeat(t, g)
	s.batch(4)
	s.put(s.module(window("4")))
	if got := s.batch(2); got != "absorbed absorbed" {
		t.Errorf("got %q", got)
	}
	s.count(2)
	if got := s.states.counter("b/e", "a@3"); got != 4 || !strings.Contains(s.logs.String(), "did not say what it holds") {
		t.Errorf("set aside %d, want 4, and a word about it (rule 20):\n%s", got, s.logs)
	}
}

func TestAccepts(t *testing.T) {
	g := newGuest("state = \"explicit\"\nstate_version = 3")
	g.Data(stateAt+8, []byte("not mine\x00"))
	g.Func(abi.ExportSave, nil, []byte{asm.I64}, 0, asm.Int64(abi.LongAnswer(stateAt, 4)))
	g.Func(abi.ExportLoad, []byte{asm.I32}, []byte{asm.I32}, 0, asm.Get(0), asm.If(asm.Int(stateAt+8), asm.Op(asm.Return)), asm.Int(0))
	g.process(pass)
	s := newSeat(t, counter())
	m := s.module(g)
	ctx := context.Background()
	if err := m.Accepts(ctx, bridge.State{Version: 3, Bytes: []byte{1, 0, 0, 0}}); err == nil || !strings.Contains(err.Error(), "not mine") {
		t.Errorf("got %v, want the refusal", err)
	}
	for what, err := range map[string]error{
		"another version": m.Accepts(ctx, bridge.State{Version: 2, Bytes: []byte{1}}),
		"its own":         s.live.Accepts(ctx, bridge.State{Version: 3, Bytes: []byte{1, 0, 0, 0}}),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
	"github.com/tetratelabs/wazero"
)

// counter makes a stateful guest that counts the records of a stream and runs code for the one at time 1.
func counter(code ...[]byte) *guest {
	g := newGuest("state = \"explicit\"\nstate_version = 3")
	g.stateful()
	body := append([][]byte{count, asm.Int(bufferAt), asm.Load(8), asm.Int(1), asm.Op(asm.I32Eq), asm.If(code...)}, pass)
	g.process(body...)
	return g
}

func TestStateFollowsTheStream(t *testing.T) {
	b, states := newBench(t), &memoryStates{}
	c := b.chain(t, testConfig(), states, nil, counter())
	total := map[string]int{}
	for i := range 12 {
		stream := fmt.Sprintf("b/%d", i%3)
		n := 1 + i%4
		states.commit(stream, apply(t, c, stream, records(n)))
		total[stream] += n
		if got := states.counter(stream, "a"); got != total[stream] {
			t.Errorf("%s after batch %d: got %d, want %d", stream, i, got, total[stream])
		}
	}
	if states.loads != 3 {
		t.Errorf("got %d loads, want one for each stream: its instance is still there", states.loads)
	}
	if s := states.states["b/0 a"]; s.Version != 3 || s.SHA256 != c.links[0].sha256 || s.Module != "a" {
		t.Errorf("got %+v", s)
	}
}

func TestStateWithFewerInstancesThanStreams(t *testing.T) {
	b, states := newBench(t), &memoryStates{}
	cfg := testConfig()
	cfg.Instances = 1
	c := b.chain(t, cfg, states, nil, counter())
	for i := range 6 {
		stream := fmt.Sprintf("b/%d", i%2)
		states.commit(stream, apply(t, c, stream, records(2)))
	}
	if got := []int{states.counter("b/0", "a"), states.counter("b/1", "a")}; got[0] != 6 || got[1] != 6 {
		t.Errorf("got %v, want 6 each", got)
	}
	if states.loads != 6 || c.links[0].pool.alive != 1 {
		t.Errorf("got %d loads and %d instances, want 6 and 1", states.loads, c.links[0].pool.alive)
	}
}

// TestDiscard: after an Append that failed, the guest goes on from what is committed (rules 3 and 4).
func TestDiscard(t *testing.T) {
	b, states := newBench(t), &memoryStates{}
	c := b.chain(t, testConfig(), states, nil, counter())
	states.commit("b/e", apply(t, c, "b/e", records(5)))
	apply(t, c, "b/e", records(3)) // not committed
	c.Discard("b/e")
	c.Discard("b/never seen")
	states.commit("b/e", apply(t, c, "b/e", records(3)))
	if got := states.counter("b/e", "a"); got != 8 {
		t.Errorf("got %d, want 8", got)
	}
}

// TestRepetitionIsSilent: records that are run once more because a later one failed are not logged or counted again.
func TestRepetitionIsSilent(t *testing.T) {
	b := newBench(t)
	g := newGuest(`state = "explicit"`)
	log, counts := g.imports(abi.ImportLog, "iii:"), g.imports(abi.ImportCount, "iiI:")
	g.Data(stateAt+8, []byte("seen"))
	g.stateful()
	g.process(
		asm.Int(1), asm.Int(stateAt+8), asm.Int(4), asm.Call(log),
		asm.Int(stateAt+8), asm.Int(4), asm.Int64(1), asm.Call(counts),
		asm.Int(bufferAt), asm.Load(8), asm.Int(2), asm.Op(asm.I32Eq), asm.If(asm.Op(asm.Unreachable)), pass,
	)
	c := b.chain(t, testConfig(), &memoryStates{}, nil, g)
	apply(t, c, "b/e", records(4))
	// Records 0, 1 and 3 once, record 2 twice, for it was tried twice.
	if got := strings.Count(b.logs.String(), "text=seen"); got != 5 {
		t.Errorf("got %d lines, want 5:\n%s", got, b.logs)
	}
	if got := c.links[0].Tallies()["seen"].Sum; got != 5 {
		t.Errorf("counted %v, want 5", got)
	}
}

func TestStateOfAnotherVersion(t *testing.T) {
	b := newBench(t)
	states := &memoryStates{states: map[string]bridge.State{"b/e a": {Module: "a", Version: 2, Bytes: []byte{9, 0, 0, 0}}}}
	c := b.chain(t, testConfig(), states, nil, counter())
	states.commit("b/e", apply(t, c, "b/e", records(2)))
	if got := states.counter("b/e", "a"); got != 2 {
		t.Errorf("got %d, want 2: begun anew", got)
	}
	if !strings.Contains(b.logs.String(), "module begins anew") {
		t.Error("nothing was said about it (rule 20)")
	}
}

// TestRefusedState: a stream whose state the module refuses waits, loudly, until the module is repaired or the state may be given up (rule 20).
func TestRefusedState(t *testing.T) {
	for _, c := range []struct {
		name, onState string
		goesOn        bool
	}{{"held", StateHold, false}, {"given up", StateAnew, true}} {
		b := newBench(t)
		g := newGuest(`state = "explicit"`)
		g.Data(stateAt+8, []byte("not mine\x00"))
		g.Func(abi.ExportSave, nil, []byte{asm.I64}, 0, asm.Int64(abi.LongAnswer(stateAt, 4)))
		g.Func(abi.ExportLoad, []byte{asm.I32}, []byte{asm.I32}, 0, asm.Get(0), asm.If(asm.Int(stateAt+8), asm.Op(asm.Return)), asm.Int(0))
		g.process(count, pass)
		old := bridge.State{Module: "a", SHA256: "c0ffee", Bytes: []byte{9, 0, 0, 0}}
		states := &memoryStates{states: map[string]bridge.State{"b/e a": old}}
		cfg := testConfig()
		cfg.OnState = c.onState
		chain := b.chain(t, cfg, states, nil, g)
		var out bridge.Results
		err := chain.Apply(context.Background(), "b/e", records(2), &out)
		said := chain.links[0].LastError()
		const why = "refused: not mine (a state of 4 bytes that module c0ffee wrote)"
		if !strings.Contains(b.logs.String(), why) {
			t.Errorf("%s: nothing was said about it:\n%s", c.name, b.logs)
		}
		if c.goesOn {
			states.commit("b/e", &out)
			if got := states.counter("b/e", "a"); err != nil || said != "" || got != 2 {
				t.Errorf("%s: %v, error %q, counted %d, want 2", c.name, err, said, got)
			}
			continue
		}
		if !errors.Is(err, bridge.ErrRetry) || !strings.HasPrefix(said, "b/e: ") || !strings.Contains(said, why) {
			t.Errorf("%s: %v and last error %q, want %q", c.name, err, said, why)
		}
		apply(t, chain, "b/other", records(1))
		if chain.links[0].LastError() == "" {
			t.Errorf("%s: forgotten when another stream went on", c.name)
		}
		delete(states.states, "b/e a")
		apply(t, chain, "b/e", records(1))
		if said := chain.links[0].LastError(); said != "" {
			t.Errorf("%s: still said when the stream went on: %s", c.name, said)
		}
	}
}

type brokenStates struct{}

func (brokenStates) State(string, string, string) (bridge.State, bool, error) {
	return bridge.State{}, false, bridge.ErrCorrupt
}

func TestCommittedStateCannotBeRead(t *testing.T) {
	b := newBench(t)
	c := b.chain(t, testConfig(), brokenStates{}, nil, counter())
	err := c.Apply(context.Background(), "b/e", records(1), &bridge.Results{})
	if !errors.Is(err, bridge.ErrCorrupt) {
		t.Errorf("got %v, want corrupt (rule 17)", err)
	}
}

func TestPoolWaitsAndEnds(t *testing.T) {
	b := newBench(t)
	cfg := testConfig()
	cfg.Instances = 1
	m := b.load(t, "a", answers(newGuest("version = \"1\"")).bytes(), cfg)
	ctx, cancel := context.WithCancel(context.Background())
	in, _, err := m.pool.take(ctx, owner{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, _, err := m.pool.take(ctx, owner{}); !errors.Is(err, bridge.ErrRetry) {
		t.Errorf("got %v, want to be told to come again", err)
	}
	m.Close()
	if in.mod.IsClosed() {
		t.Error("an instance in use was closed")
	}
	m.pool.put(in, owner{})
	if !in.mod.IsClosed() || m.pool.alive != 0 {
		t.Error("the instance did not end when it was given back")
	}
	if _, _, err := m.pool.take(context.Background(), owner{}); !errors.Is(err, bridge.ErrClosed) {
		t.Errorf("got %v, want closed", err)
	}
}

// released counts how often a module's native code was given up.
type released struct {
	wazero.CompiledModule
	times int
}

func (r *released) Close(ctx context.Context) error {
	r.times++
	return r.CompiledModule.Close(ctx)
}

// TestNativeCodeGoesWithTheLastInstance: a reload must not leave the old module's code behind, nor take it from an instance that still runs (rule 19).
func TestNativeCodeGoesWithTheLastInstance(t *testing.T) {
	for _, inUse := range []bool{false, true} {
		b := newBench(t)
		m := b.load(t, "a", answers(newGuest("version = \"1\"")).bytes(), testConfig())
		code := &released{CompiledModule: m.compiled}
		m.compiled = code
		in, _, err := m.pool.take(context.Background(), owner{})
		if err != nil {
			t.Fatal(err)
		}
		if !inUse {
			m.pool.put(in, owner{})
		}
		m.Close()
		m.Close()
		if inUse {
			if code.times != 0 {
				t.Error("the code of an instance in use was given up")
			}
			m.pool.end(in)
		}
		if code.times != 1 {
			t.Errorf("in use %v: the code was given up %d times, want once", inUse, code.times)
		}
	}
}

// TestInstanceWithTooMuchMemoryEnds: memory of a guest never shrinks, so now and then a fresh one takes its place.
func TestInstanceWithTooMuchMemoryEnds(t *testing.T) {
	b := newBench(t)
	g := newGuest("version = \"1\"")
	g.process(asm.Int(11), asm.Op(0x40, 0, asm.Drop), pass)
	c := b.chain(t, testConfig(), nil, nil, g) // 4 + 11 of 16 pages
	for i := range 3 {
		apply(t, c, "b/e", records(9))
		if got := c.links[0].pool.alive; got != 1 {
			t.Errorf("batch %d: %d instances are alive, want 1", i, got)
		}
	}
	c.links[0].pool.idle[0].calls = 1 << 20
	apply(t, c, "b/e", records(1))
	if got := c.links[0].pool.alive; got != 0 {
		t.Errorf("%d instances are alive, want the full one gone", got)
	}
	apply(t, c, "b/e", records(1))
}

// TestManyStreamsAtOnce: more streams than instances, all at once; each stream's count is its own.
func TestManyStreamsAtOnce(t *testing.T) {
	b := newBench(t)
	cfg := testConfig()
	cfg.Instances = 3
	states := &lockedStates{}
	c := b.chain(t, cfg, states, nil, counter(), answers(newGuest("version = \"1\"")))
	const streams, batches = 8, 20
	var wg sync.WaitGroup
	for s := range streams {
		wg.Go(func() {
			stream, out := fmt.Sprintf("b/%d", s), &bridge.Results{}
			for i := range batches {
				out.Reset()
				if err := c.Apply(context.Background(), stream, records(3), out); err != nil {
					t.Error(err)
					return
				}
				if i%5 == 4 { // this Append failed
					c.Discard(stream)
					continue
				}
				states.commit(stream, out)
			}
		})
	}
	wg.Wait()
	for s := range streams {
		if got := states.counter(fmt.Sprintf("b/%d", s), "a"); got != 3*16 {
			t.Errorf("stream %d: got %d, want %d", s, got, 3*16)
		}
	}
	if got := c.links[0].pool.alive; got > 3 {
		t.Errorf("%d instances are alive, want at most 3 (rule 19)", got)
	}
}

// lockedStates is memoryStates for many streams at once.
type lockedStates struct {
	mu sync.Mutex
	memoryStates
}

func (l *lockedStates) State(pipeline, stream, module string) (bridge.State, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memoryStates.State(pipeline, stream, module)
}

func (l *lockedStates) commit(stream string, out *bridge.Results) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memoryStates.commit(stream, out)
}

func TestApplyEndsWithItsContext(t *testing.T) {
	b := newBench(t)
	c := b.chain(t, testConfig(), &memoryStates{}, nil, counter())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := c.Apply(ctx, "b/e", records(2), &bridge.Results{})
	if !errors.Is(err, bridge.ErrRetry) {
		t.Errorf("got %v, want to be told to come again", err)
	}
}

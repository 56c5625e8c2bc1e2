package host

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
)

// window makes a guest that absorbs every record, counts it, and says so between batches; version is its state_version.
func window(version string, more ...string) *guest {
	g := newGuest("state = \"explicit\"\ntick = \"10s\"\nstate_version = " + version + "\n" + strings.Join(more, "\n"))
	sum := g.canned(emit("sum" + version))
	g.stateful()
	g.process(count, asm.Int64(abi.ShortAnswer(abi.Absorb, 0)))
	g.Func(abi.ExportFlush, []byte{asm.I32}, []byte{asm.I64}, 0,
		asm.Get(0), asm.Int(abi.FlushBatch), asm.Op(asm.I32Eq), asm.If(pass, asm.Op(asm.Return)),
		asm.Int(stateAt), asm.Load(0), asm.Int(0), asm.Op(asm.I32Eq), asm.If(pass, asm.Op(asm.Return)),
		asm.Int(stateAt), asm.Int(0), asm.Store(0), sum)
	return g
}

// flush asks a chain and fails the test on an error.
func flush(t *testing.T, c *Chain, why bridge.FlushReason) *bridge.Results {
	t.Helper()
	var out bridge.Results
	if err := c.Flush(context.Background(), "b/e", bridge.Flush{Reason: why, Key: bridge.Key{Time: 7, Revision: 3}}, &out); err != nil {
		t.Fatal(err)
	}
	return &out
}

// TestFlushBetweenBatches: what a module holds goes through those behind it, under the flush's own identity, and with the state that it leaves.
func TestFlushBetweenBatches(t *testing.T) {
	b, states := newBench(t), &memoryStates{}
	behind := answers(newGuest("version = \"1\""))
	c := b.chain(t, testConfig(), states, nil, window("1"), counter(), behind)
	if c.Tick() != 10*time.Second {
		t.Errorf("tick %v, want 10s", c.Tick())
	}
	states.commit("b/e", apply(t, c, "b/e", records(4)))
	if got := states.counter("b/e", "a"); got != 4 {
		t.Fatalf("counted %d, want 4", got)
	}
	for i, want := range []string{"passed m:@7~3,sum1=1", "", ""} {
		out := flush(t, c, bridge.FlushTick)
		states.commit("b/e", out)
		if got := describe(out); got != want {
			t.Errorf("flush %d: got %q, want %q", i, got, want)
		}
		if want == "" && len(out.States) > 0 {
			t.Errorf("flush %d: %d states to be written, for nothing", i, len(out.States))
		}
	}
	if a, b := states.counter("b/e", "a"), states.counter("b/e", "b"); a != 0 || b != 1 {
		t.Errorf("states %d and %d, want 0 and 1: it was emptied, and the module behind has counted what came of it", a, b)
	}
}

// TestFlushOnlyWhoWants: at a tick, who has one; at the end all with a state; never who has none.
func TestFlushOnlyWhoWants(t *testing.T) {
	b := newBench(t)
	none := answers(newGuest(`version = "1"`))
	none.Func(abi.ExportFlush, []byte{asm.I32}, []byte{asm.I64}, 0, asm.Op(asm.Unreachable))
	silent := func() *guest {
		g := counter()
		g.Func(abi.ExportFlush, []byte{asm.I32}, []byte{asm.I64}, 0, g.canned(emit("end")))
		return g
	}
	for _, tt := range []struct {
		name string
		g    *guest
		why  bridge.FlushReason
		want string
	}{
		{"no state", none, bridge.FlushShutdown, ""},
		{"no tick", silent(), bridge.FlushTick, ""},
		{"the end", silent(), bridge.FlushShutdown, "passed m:@7~3,end=1"},
	} {
		if got := describe(flush(t, b.chain(t, testConfig(), &memoryStates{}, nil, tt.g), tt.why)); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestFlushAfterDiscard: a flush whose Append failed is asked of the state that is committed (rule 4), and so is one whose guest trapped.
func TestFlushAfterDiscard(t *testing.T) {
	b, states := newBench(t), &memoryStates{}
	c := b.chain(t, testConfig(), states, nil, window("1"))
	states.commit("b/e", apply(t, c, "b/e", records(4)))
	first := describe(flush(t, c, bridge.FlushTick))
	c.Discard("b/e")
	if again := describe(flush(t, c, bridge.FlushTick)); again != first || first == "" {
		t.Errorf("got %q after %q, want the same: nothing of it was committed", again, first)
	}
}

func TestTickOfAManifest(t *testing.T) {
	b := newBench(t)
	for _, tt := range []struct{ name, manifest, want string }{
		{"no state", `tick = "10s"`, "want state = \"explicit\""},
		{"no number", "state = \"explicit\"\ntick = \"soon\"", `tick: "soon", want 100ms..24h0m0s`},
		{"too short", "state = \"explicit\"\ntick = \"1ms\"", `tick: "1ms", want 100ms..24h0m0s`},
		{"no flush", "state = \"explicit\"\ntick = \"1s\"", `export sluice_flush: missing, the manifest says tick = "1s"`},
	} {
		g := newGuest(tt.manifest)
		g.stateful()
		g.process(pass)
		if _, err := b.try(t, "a", g.bytes(), testConfig()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

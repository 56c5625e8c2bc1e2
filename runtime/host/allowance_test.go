package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
)

// tickConfig lets a call take that long.
func tickConfig(budget time.Duration) Config {
	cfg := testConfig()
	cfg.Metering, cfg.BudgetUnits, cfg.Budget = MeterTick, 0, bridge.Duration(budget)
	return cfg
}

// turns makes code that turns a loop so often; the local 2 counts.
func turns(n int64, more ...[]byte) []byte {
	return asm.Code(asm.Int(int32(n)), asm.Set(2), asm.Loop(
		asm.Code(more...), asm.Get(2), asm.Int(1), asm.Op(asm.I32Sub), asm.Op(0x22, 2), asm.BrIf(0), // 0x22 = local.tee
	))
}

// TestTickIsTime: where the budget is time, how many units a call takes does not matter, and an endless one is stopped all the same.
func TestTickIsTime(t *testing.T) {
	b := newBench(t)
	long := func(name string, cfg Config, code []byte) *Chain {
		m := b.load(t, name, onSecond(newGuest("version = \"1\""), code).bytes(), cfg)
		c, err := b.Chain("p", []*Module{m}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	work := turns(min(50*b.speed, 1<<30)) // 50 ms of it
	fuel, tick := long("fuel", testConfig(), work), long("tick", tickConfig(time.Second), work)
	endless := long("endless", tickConfig(time.Millisecond), asm.Loop(asm.Br(0)))
	parked := "passed parked passed m:@0,n=0 m:@2,n=2 p:%s@1,n=1"
	if got, want := describe(apply(t, fuel, "b/e", records(3))), fmt.Sprintf(parked, "fuel"); got != want {
		t.Errorf("as fuel: got %s, want %s", got, want)
	}
	synctest.Test(t, func(t *testing.T) { // where time stands still while the guest runs, so that a busy machine takes none of it
		if got, want := describe(apply(t, tick, "b/e", records(3))), "passed passed passed m:@0,n=0 m:@1,n=1 m:@2,n=2"; got != want {
			t.Errorf("as time: got %s, want %s", got, want)
		}
	})
	out := apply(t, endless, "b/e", records(3))
	if got, want := describe(out), fmt.Sprintf(parked, "endless"); got != want {
		t.Fatalf("endless: got %s, want %s", got, want)
	}
	if got, want := out.Parked[0].Reason, "sluice_process: budget used up: it took longer than 1ms"; got != want {
		t.Errorf("endless: got %q, want %q", got, want)
	}
}

// stopper ends a batch when a guest says something.
type stopper struct{ stop context.CancelFunc }

func (stopper) Called(Call)          {}
func (s stopper) Said(int32, []byte) { s.stop() }

// TestStoppedWithItsBatch: who waits for a batch gives up while a guest runs. The guest ends with the next slice, and no record is blamed.
func TestStoppedWithItsBatch(t *testing.T) {
	fuel := testConfig()
	fuel.BudgetUnits = 1e10
	b := newBench(t)
	for name, cfg := range map[string]Config{MeterFuel: fuel, MeterTick: tickConfig(2 * time.Second)} {
		t.Run(name, func(t *testing.T) {
			g := newGuest(`state = "explicit"`)
			log := g.imports(abi.ImportLog, "iii:")
			g.stateful()
			g.process(count, asm.Int(bufferAt), asm.Load(8), asm.Int(1), asm.Op(asm.I32Eq),
				asm.If(asm.Int(1), asm.Int(0), asm.Int(0), asm.Call(log), asm.Loop(asm.Br(0))), pass)
			states, metrics := &memoryStates{}, &bridge.Metrics{}
			c := b.chain(t, cfg, states, metrics, g)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			c.Watch(stopper{cancel})
			var out bridge.Results
			err := c.Apply(ctx, "b/e", records(3), &out)
			if !errors.Is(err, bridge.ErrRetry) || !strings.Contains(err.Error(), context.Canceled.Error()) {
				t.Errorf("got %v, want to be told to come again", err)
			}
			if traps, alive := metrics.ModuleTraps.At("a").Load(), c.links[0].pool.alive; len(out.Parked) > 0 || traps != 0 || alive != 0 {
				t.Errorf("got %d records parked, %d traps and %d instances alive, want none (rule 4)", len(out.Parked), traps, alive)
			}
			states.commit("b/e", apply(t, c, "b/e", records(1)))
			if got := states.counter("b/e", "a"); got != 1 {
				t.Errorf("counted %d, want 1: what was stopped does not count (rule 3)", got)
			}
		})
	}
}

// TestUnitsDoNotDependOnSlices: a record that is too much on one machine is too much on all, however fast they are.
func TestUnitsDoNotDependOnSlices(t *testing.T) {
	b := newBench(t)
	work := func(n int64) *guest {
		g := newGuest("version = \"1\"")
		now := g.imports(abi.ImportNow, ":I")
		fill := asm.Code(asm.Int(0x2000), asm.Int(7), asm.Int(800), asm.Op(0xfc, 11, 0)) // memory.fill
		return onSecond(g, turns(n, fill, asm.Call(now), asm.Op(asm.Drop)))
	}
	used := func(slice, n int64) (units int64, parked string) {
		b.slice = slice
		metrics := &bridge.Metrics{}
		out := apply(t, b.chain(t, testConfig(), nil, metrics, work(n)), "b/e", records(3))
		for _, p := range out.Parked {
			parked += p.Reason
		}
		return metrics.ModuleFuel.At("a").Load(), parked
	}
	// A turn costs 100 for the fill, 32 for the call and 1: 750 of them are within the budget of 100,000, 760 are not.
	for n, want := range map[int64]string{1: "", 750: "", 760: "sluice_process: budget used up (100"} {
		units, parked := used(1<<40, n)
		if !strings.HasPrefix(parked, want) || (want == "") != (parked == "") {
			t.Errorf("%d turns, in one slice: parked for %q, want %q", n, parked, want)
		}
		for _, slice := range []int64{1, 7, 133, 10_000} {
			if u, p := used(slice, n); u != units || p != parked {
				t.Errorf("%d turns in slices of %d: %d units and parked for %q, in one slice %d and %q", n, slice, u, p, units, parked)
			}
		}
	}
}

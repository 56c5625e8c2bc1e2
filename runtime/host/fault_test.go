package host

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
)

// onSecond makes a guest that passes all records but the one at time 1, for which it runs code.
func onSecond(g *guest, code ...[]byte) *guest {
	return answers(g, pass, asm.Code(append(code, pass)...))
}

// TestFaults: whatever a guest answers, its record is parked with a reason that says what is wrong with it, and its neighbours pass.
func TestFaults(t *testing.T) {
	raw := func(b ...byte) func(*guest) []byte { return func(g *guest) []byte { return g.canned(b) } }
	value := func(v int64) func(*guest) []byte { return func(*guest) []byte { return asm.Int64(v) } }
	cases := []struct {
		name string
		code func(*guest) []byte // leaves an i64
		want string
	}{
		{"no answer", value(0), "sluice_process: no answer"},
		{"error code", value(-5), "sluice_process: failed with code 5"},
		{"unknown verdict", value(abi.ShortAnswer(77, 0)), "short answer at byte 0: unknown verdict 77"},
		{"answer over the end", value(abi.LongAnswer(4*pageSize-8, 16)), "lies outside the memory"},
		{"huge answer", value(abi.LongAnswer(0, 1<<31)), "an answer of 2147483648 bytes, want at most 4096"},
		{"half an answer", raw(1, 0, 1), "answer entry at byte 0: needs 8 bytes, 3 are left"},
		{"body that lies", raw(1, 0, 1, 0, 0xff, 0xff, 0xff, 0xff), "answer body at byte 8: needs 4294967295 bytes, 0 are left"},
		{"two entries", raw(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), "8 bytes follow the answer"},
		{"fewer outputs", raw(1, 0, 2, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), "output at byte 0: needs 8 bytes, 0 are left"},
		{"more outputs", raw(1, 0, 1, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), "8 bytes follow the last of 1 outputs"},
		{"ops left over", raw(1, 0, 1, 0, 16, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0), "8 bytes follow the last of 0 ops"},
		{"cut outside", func(g *guest) []byte {
			return g.canned(built(func(b *abi.Builder) { b.CutPayload(3, 2) }))
		}, "a part outside the payload of 4 bytes"},
		{"time too far", func(g *guest) []byte {
			return g.canned(built(func(b *abi.Builder) { b.SetTime(-1 << 63) }))
		}, "time -9223372036854775808, want less than 1<<61"},
		{"mask too wide", value(abi.MaskAnswer(2)), "mask 0x2, but the manifest declares 1 labels"},
		{"second output is bad", func(g *guest) []byte {
			return g.canned(built(func(b *abi.Builder) { b.Output(); b.Output(); b.CutPayload(9, 9) }))
		}, "a part outside the payload"},
	}
	b := newBench(t)
	cfg := testConfig()
	cfg.Output = 4096
	for _, c := range cases {
		for _, state := range []string{"none", "explicit"} {
			t.Run(c.name+", state "+state, func(t *testing.T) {
				g := newGuest("outputs_max = 2\nlabels = [\"n\"]\nstate = \"" + state + `"`)
				code := c.code(g)
				answers(g, pass, code)
				g.stateful()
				metrics := &bridge.Metrics{}
				chain := b.chain(t, cfg, &memoryStates{}, metrics, g)
				out := apply(t, chain, "b/e", records(3))
				if got := describe(out); got != "passed parked passed m:@0,n=0 m:@2,n=2 p:a@1,n=1" {
					t.Fatalf("got %s", got)
				}
				p := out.Parked[0]
				if !strings.Contains(p.Reason, c.want) || p.SHA256 != chain.links[0].sha256 || len(p.Reason) > 5000 {
					t.Errorf("got %q of module %s, want %q", p.Reason, p.SHA256, c.want)
				}
				if got := metrics.ModuleTraps.At("a").Load(); got != 2 {
					t.Errorf("got %d traps, want the first and the second try", got)
				}
			})
		}
	}
}

// TestEndlessLoopDoesNotFreezeTheProcess: while the guest spins, a collection must get through. The budget is what ends the loop.
func TestEndlessLoopDoesNotFreezeTheProcess(t *testing.T) {
	b := newBench(t)
	cfg := testConfig()
	cfg.BudgetUnits = 20_000_000
	c := b.chain(t, cfg, nil, nil, onSecond(newGuest("version = \"1\""), asm.Loop(asm.Br(0))))
	stop, collected := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			runtime.GC()
			n++
			select {
			case <-stop:
				collected <- n
				return
			default:
			}
		}
	}()
	for range 5 {
		if got := describe(apply(t, c, "b/e", records(3))); !strings.HasPrefix(got, "passed parked passed") {
			t.Error(got)
		}
	}
	close(stop)
	if n := <-collected; n == 0 {
		t.Error("no collection ended")
	}
}

func TestOnFault(t *testing.T) {
	for policy, want := range map[string]string{
		FaultPark: "passed parked passed m:@0,n=0 m:@2,n=2 p:a@1,n=1",
		FaultPass: "passed passed passed m:@0,n=0 m:@1,n=1 m:@2,n=2",
		FaultDrop: "passed dropped passed m:@0,n=0 m:@2,n=2",
		FaultHold: "",
	} {
		t.Run(policy, func(t *testing.T) {
			b, metrics := newBench(t), &bridge.Metrics{}
			cfg := testConfig()
			cfg.OnFault = policy
			c := b.chain(t, cfg, nil, metrics, onSecond(newGuest("version = \"1\""), asm.Op(asm.Unreachable)))
			out := &bridge.Results{}
			err := c.Apply(context.Background(), "b/e", records(3), out)
			if policy == FaultHold {
				if !errors.Is(err, bridge.ErrRetry) || !strings.Contains(err.Error(), "unreachable") {
					t.Errorf("got %v, want a retry that says why", err)
				}
				return
			}
			if got := describe(out); err != nil || got != want {
				t.Errorf("got %s %v, want %s", got, err, want)
			}
			if policy == FaultDrop && (out.Verdicts[1].Reason != faultReason || metrics.ModuleDrops.At("a/fault").Load() != 1) {
				t.Errorf("got reason %d", out.Verdicts[1].Reason)
			}
		})
	}
}

// TestPassingFaultIsNoFault: an instance gone wrong is not the record's fault; in a fresh one it passes.
func TestPassingFaultIsNoFault(t *testing.T) {
	b, metrics := newBench(t), &bridge.Metrics{}
	g := newGuest("version = \"1\"")
	g.process(count, asm.Int(stateAt), asm.Load(0), asm.Int(3), asm.Op(asm.I32Eq), asm.If(asm.Op(asm.Unreachable)), pass)
	c := b.chain(t, testConfig(), nil, metrics, g)
	if got := describe(apply(t, c, "b/e", records(4))); got != "passed passed passed passed m:@0,n=0 m:@1,n=1 m:@2,n=2 m:@3,n=3" {
		t.Error(got)
	}
	if got := metrics.ModuleTraps.At("a").Load(); got != 1 {
		t.Errorf("got %d traps, want 1", got)
	}
}

// TestRecordThatDoesNotFit is parked without the guest's help, and once.
func TestRecordThatDoesNotFit(t *testing.T) {
	b, metrics := newBench(t), &bridge.Metrics{}
	c := b.chain(t, testConfig(), nil, metrics, answers(newGuest(`labels = ["*"]`)))
	rs := records(2)
	rs[0].Labels = append(labels("a", strings.Repeat("x", 40_000)), labels("b", strings.Repeat("x", 40_000))...)
	out := apply(t, c, "b/e", rs)
	if len(out.Parked) != 1 || !strings.Contains(out.Parked[0].Reason, "at most 65535 fit") || out.Verdicts[1].Kind != bridge.Passed {
		t.Errorf("got %+v", out.Verdicts)
	}
	if got := metrics.ModuleTraps.At("a").Load(); got != 0 {
		t.Errorf("got %d traps, want none", got)
	}
}

func TestRecordLargerThanTheMemory(t *testing.T) {
	b := newBench(t)
	c := b.chain(t, testConfig(), nil, nil, answers(newGuest(`payload = "full"`)))
	rs := records(2)
	rs[0].Payload = make([]byte, 1<<20)
	out := apply(t, c, "b/e", rs)
	if len(out.Parked) != 1 || !strings.Contains(out.Parked[0].Reason, "lie outside the memory of 262144") || out.Verdicts[1].Kind != bridge.Passed {
		t.Errorf("got %s", describe(out))
	}
}

// TestFaultsOfState: what happens when a guest fails where no record is to blame. The batch waits; nothing is guessed.
func TestFaultsOfState(t *testing.T) {
	trap := asm.Op(asm.Unreachable)
	state := func(save, load, flush []byte) *guest {
		g := answers(newGuest(`state = "explicit"`))
		g.Func(abi.ExportSave, nil, []byte{asm.I64}, 0, save)
		g.Func(abi.ExportLoad, []byte{asm.I32}, []byte{asm.I32}, 0, load)
		if flush != nil {
			g.Func(abi.ExportFlush, []byte{asm.I32}, []byte{asm.I64}, 0, flush)
		}
		g.Data(stateAt, []byte("no such state\x00"))
		return g
	}
	fine := asm.Int(0)
	cases := map[string]struct {
		g    *guest
		want string
	}{
		"trap in save":       {state(trap, fine, nil), "sluice_save: wasm error: unreachable"},
		"save fails":         {state(asm.Int64(-3), fine, nil), "sluice_save: failed with code 3"},
		"state outside":      {state(asm.Int64(abi.LongAnswer(1<<20, 8)), fine, nil), "lies outside the memory"},
		"trap in load":       {state(asm.Int64(0), trap, nil), "sluice_load: wasm error: unreachable"},
		"load refuses":       {state(asm.Int64(0), asm.Int(stateAt), nil), "sluice_load: refused: no such state"},
		"load code":          {state(asm.Int64(0), asm.Int(-4), nil), "sluice_load: refused with code 4"},
		"endless save":       {state(asm.Loop(asm.Br(0)), fine, nil), "sluice_save: budget used up"},
		"trap in flush":      {state(asm.Int64(0), fine, trap), "sluice_flush: wasm error: unreachable"},
		"flush drops":        {state(asm.Int64(0), fine, asm.Int64(abi.ShortAnswer(abi.Drop, 0))), "sluice_flush: answered DROP, want PASS or EMIT"},
		"flush without text": {state(asm.Int64(0), fine, asm.Int64(0)), "sluice_flush: no answer"},
	}
	b := newBench(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			metrics := &bridge.Metrics{}
			if name == "endless save" {
				c.g = state(asm.Code(asm.Loop(asm.Br(0)), asm.Int64(0)), fine, nil)
			}
			chain := b.chain(t, testConfig(), &memoryStates{}, metrics, c.g)
			err := chain.Apply(context.Background(), "b/e", records(2), &bridge.Results{})
			if !errors.Is(err, bridge.ErrRetry) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if got := metrics.ModuleTraps.At("a").Load(); got != 2 {
				t.Errorf("got %d traps, want 2", got)
			}
			if got := chain.links[0].pool.alive; got != 0 {
				t.Errorf("%d instances are alive, want none (rule 4)", got)
			}
		})
	}
}

// TestHostFunctionsCheckTheirArguments: a guest that lies to the host about its memory traps, and nothing else happens.
func TestHostFunctionsCheckTheirArguments(t *testing.T) {
	far := asm.Int(1 << 30)
	cases := map[string]struct {
		name, signature string
		args            [][]byte
		want            string
	}{
		"log":     {abi.ImportLog, "iii:", [][]byte{asm.Int(1), far, asm.Int(5)}, "log: bytes 1073741824 to 1073741829 lie outside the memory of 262144"},
		"count":   {abi.ImportCount, "iiI:", [][]byte{far, asm.Int(5), asm.Int64(1)}, "count: bytes"},
		"payload": {abi.ImportPayload, "iiii:i", [][]byte{asm.Int(0), asm.Int(0), far, asm.Int(4)}, "payload: bytes"},
		"label":   {abi.ImportLabel, "iiiii:i", [][]byte{asm.Int(0), far, asm.Int(1), asm.Int(0), asm.Int(0)}, "label: bytes"},
		"dsp":     {abi.ImportDSP, "iiiii:i", [][]byte{asm.Int(0), asm.Int(1), asm.Int(0), far, asm.Int(64)}, "dsp: bytes"},
	}
	b := newBench(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := newGuest("version = \"1\"")
			f := g.imports(c.name, c.signature)
			code := asm.Code(append(c.args, asm.Call(f))...)
			if strings.HasSuffix(c.signature, "i") {
				code = append(code, asm.Drop)
			}
			out := apply(t, b.chain(t, testConfig(), nil, nil, onSecond(g, code)), "b/e", records(3))
			if len(out.Parked) != 1 || !strings.Contains(out.Parked[0].Reason, c.want) {
				t.Errorf("got %s %+v", describe(out), out.Parked)
			}
		})
	}
}

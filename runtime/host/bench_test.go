package host

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
)

const batchSize = 85 // records: what ReductStore's sender puts into a batch

// labelBatch is records of twelve labels, all of a stable machine.
func labelBatch() (rs []bridge.Record) {
	for i := range batchSize {
		rs = append(rs, bridge.Record{Time: int64(i) * 1000, Labels: labels(
			"site", "north-hall", "line", "4", "cell", "press-7", "shift", "early", "operator", "0815", "tool", "T-1138", "stable", "true",
			"rpm", "1450.5", "axis", "x", "device", "acc-17", "batch", "2026-11-23/4", "firmware", "3.2.1",
		)})
	}
	return rs
}

// compiled builds a guest of testdata in Go.
func compiled(tb testing.TB, name string) []byte {
	tb.Helper()
	to := filepath.Join(tb.TempDir(), name+".wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", to, "./testdata/"+name)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build %s: %v\n%s", name, err, out)
	}
	wasm, err := os.ReadFile(to)
	if err != nil {
		tb.Fatal(err)
	}
	return wasm
}

// threeOf is a chain of the same guest three times.
func threeOf(tb testing.TB, h *bench, g func() *guest) *Chain {
	return h.chain(tb, testConfig(), nil, nil, g(), g(), g())
}

var chainsOfThree = map[string]func() *guest{
	"PASS": func() *guest { return answers(newGuest("labels = [\"rpm\"]")) },
	"DROP": func() *guest {
		g := newGuest("labels = [\"rpm\"]")
		g.process(asm.Int64(abi.ShortAnswer(abi.Drop, 0)))
		return g
	},
	"EMIT": func() *guest {
		g := newGuest("labels = [\"rpm\"]")
		g.process(g.canned(emit("added")))
		return g
	},
	"state": func() *guest {
		g := newGuest("labels = [\"rpm\"]\nstate = \"explicit\"")
		g.stateful()
		g.process(count, pass)
		return g
	},
}

func BenchmarkChainOfThree(b *testing.B) {
	h := newBench(b)
	rs := labelBatch()
	for _, name := range []string{"PASS", "DROP", "EMIT", "state"} {
		b.Run(name, func(b *testing.B) {
			c := threeOf(b, h, chainsOfThree[name])
			out := &bridge.Results{}
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				if err := c.Apply(context.Background(), "b/e", rs, out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(rs)), "ns/record")
		})
	}
}

func TestNothingIsAllocatedForARecord(t *testing.T) {
	h := newBench(t)
	rs := labelBatch()
	for name, g := range chainsOfThree {
		c := threeOf(t, h, g)
		out := &bridge.Results{}
		got := testing.AllocsPerRun(20, func() {
			out.Reset()
			if err := c.Apply(context.Background(), "b/e", rs, out); err != nil {
				t.Fatal(err)
			}
		})
		if got != 0 {
			t.Errorf("%s: %v allocations for a batch of %d records, want none", name, got, len(rs))
		}
	}
}

// BenchmarkLoad is a start with a warm compile cache.
func BenchmarkLoad(b *testing.B) {
	h := newBench(b)
	wasm := compiled(b, "labels")
	h.load(b, "labels", wasm, Default()).Close()
	for b.Loop() {
		h.load(b, "labels", wasm, Default()).Close()
	}
}

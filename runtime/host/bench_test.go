package host

import (
	"context"
	"encoding/binary"
	"math"
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

// waveBatch is records of 16 KiB of f32.
func waveBatch() (rs []bridge.Record) {
	for i := range batchSize {
		var p []byte
		for n := range 4096 {
			p = binary.LittleEndian.AppendUint32(p, math.Float32bits(float32(math.Sin(float64(n*(i+1))/20))))
		}
		rs = append(rs, bridge.Record{Time: int64(i) * 1000, Payload: p})
	}
	return rs
}

// nativeLabels is the job of testdata/labels as a closure, with what the host does around it.
func nativeLabels(rs []bridge.Record, out *bridge.Results) {
	from := [...]string{"rpm", "axis", "device"}
	to := [...][]byte{[]byte("speed"), []byte("direction"), []byte("machine")}
	var scratch [16]bridge.Label
	for _, r := range rs {
		stable := false
		ls := append(scratch[:0], r.Labels...)
		for i := range ls {
			switch {
			case string(ls[i].Name) == "stable":
				stable = string(ls[i].Value) == "true"
			default:
				for j, name := range from {
					if string(ls[i].Name) == name {
						ls[i].Name = to[j]
					}
				}
			}
		}
		if !stable {
			out.Verdicts = append(out.Verdicts, bridge.Verdict{Kind: bridge.Dropped})
			continue
		}
		m := bridge.Message{Record: r}
		m.Labels = out.CopyLabels(ls)
		out.Verdicts = append(out.Verdicts, bridge.Verdict{Kind: bridge.Passed, Outputs: 1})
		out.Messages = append(out.Messages, m)
	}
}

// nativeWave is the job of testdata/wave.
func nativeWave(rs []bridge.Record, out *bridge.Results) {
	for _, r := range rs {
		var sum, fourth float64
		top := uint32(0)
		for i := 0; i+4 <= len(r.Payload); i += 4 {
			bits := binary.LittleEndian.Uint32(r.Payload[i:])
			v := float64(math.Float32frombits(bits))
			q := v * v
			sum += q
			fourth += q * q
			top = max(top, bits&0x7fffffff)
		}
		n := float64(len(r.Payload) / 4)
		var b [24]byte
		binary.LittleEndian.PutUint64(b[:], math.Float64bits(math.Sqrt(sum/n)))
		binary.LittleEndian.PutUint64(b[8:], math.Float64bits(float64(math.Float32frombits(top))))
		binary.LittleEndian.PutUint64(b[16:], math.Float64bits(fourth*n/(sum*sum)))
		m := bridge.Message{Record: r}
		m.Payload = out.Copy(b[:])
		out.Verdicts = append(out.Verdicts, bridge.Verdict{Kind: bridge.Passed, Outputs: 1})
		out.Messages = append(out.Messages, m)
	}
}

// compiled builds a guest of testdata; ok is false where the C compiler is missing.
func compiled(tb testing.TB, name, language string) (wasm []byte, ok bool) {
	tb.Helper()
	to := filepath.Join(tb.TempDir(), name+".wasm")
	var cmd *exec.Cmd
	if language == "Go" {
		cmd = exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", to, "./testdata/"+name)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	} else {
		if _, err := exec.LookPath("clang"); err != nil {
			return nil, false
		}
		cmd = exec.Command("clang", "--target=wasm32", "-O2", "-std=c11", "-mbulk-memory", "-fno-builtin", "-nostdlib", "-I", "../../wasm-modules/sdk/c",
			"-Wl,--no-entry,--stack-first,-z,stack-size=65536,--strip-debug", "-o", to, "testdata/"+name+"/main.c")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build %s in %s: %v\n%s", name, language, err, out)
	}
	wasm, err := os.ReadFile(to)
	if err != nil {
		tb.Fatal(err)
	}
	return wasm, true
}

func perRecord(b *testing.B, rs []bridge.Record, apply func([]bridge.Record, *bridge.Results) error) {
	out := &bridge.Results{}
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		if err := apply(rs, out); err != nil {
			b.Fatal(err)
		}
	}
	if len(out.Messages) != len(rs) {
		b.Fatalf("%d messages of %d records; parked: %+v", len(out.Messages), len(rs), out.Parked)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(rs)), "ns/record")
}

// BenchmarkJobs compares guests with a native closure doing the same; goals: labels C 4, Go 25 times native, wave C 1.5, Go 3 times.
func BenchmarkJobs(b *testing.B) {
	h := newBench(b)
	for _, job := range []struct {
		name   string
		rs     []bridge.Record
		native func([]bridge.Record, *bridge.Results)
	}{{"labels", labelBatch(), nativeLabels}, {"wave", waveBatch(), nativeWave}} {
		b.Run(job.name+"/native", func(b *testing.B) {
			perRecord(b, job.rs, func(rs []bridge.Record, out *bridge.Results) error { job.native(rs, out); return nil })
		})
		for _, language := range []string{"C", "Go"} {
			b.Run(job.name+"/"+language, func(b *testing.B) {
				wasm, ok := compiled(b, job.name, language)
				if !ok {
					b.Skip("no clang")
				}
				m := h.load(b, job.name, wasm, Default())
				c, err := h.Chain("p", []*Module{m}, nil, nil)
				if err != nil {
					b.Fatal(err)
				}
				perRecord(b, job.rs, func(rs []bridge.Record, out *bridge.Results) error {
					return c.Apply(context.Background(), "b/e", rs, out)
				})
			})
		}
	}
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
	wasm, _ := compiled(b, "labels", "Go")
	h.load(b, "labels", wasm, Default()).Close()
	for b.Loop() {
		h.load(b, "labels", wasm, Default()).Close()
	}
}

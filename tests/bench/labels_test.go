package bench

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/host"
)

const (
	jobBatch   = 85 // records: what the sender puts into a batch
	jobBatches = 400
)

// BenchmarkLabelJob is the price of a guest for next to no work: of twelve labels one is looked at and three are renamed. Goals: C at most 4
// times, Go at most 25 times the closure.
func BenchmarkLabelJob(b *testing.B) {
	var rs []bridge.Record
	for i := range jobBatch {
		rs = append(rs, bridge.Record{Time: int64(i) * 1000, Labels: named(
			"site", "north-hall", "line", "4", "cell", "press-7", "shift", "early", "operator", "0815", "tool", "T-1138", "stable", "true",
			"rpm", "1450.5", "axis", "x", "device", "acc-17", "batch", "2026-11-23/4", "firmware", "3.2.1",
		)})
	}
	job(b, "labels", rs, closureLabels)
}

// BenchmarkWaveformFeatures is heavy work: rms, peak and kurtosis of 4,096 values of f32. Goals: C at most 1.5 times, Go at most 3 times the closure.
func BenchmarkWaveformFeatures(b *testing.B) {
	var rs []bridge.Record
	for i := range jobBatch {
		var p []byte
		for n := range 4096 {
			p = binary.LittleEndian.AppendUint32(p, math.Float32bits(float32(math.Sin(float64(n*(i+1))/20))))
		}
		rs = append(rs, bridge.Record{Time: int64(i) * 1000, Payload: p})
	}
	job(b, "wave", rs, closureWave)
}

// job runs a closure, the guest in C and the one in Go alternately, metered, with all that a chain does around them, and reports the median of the ratios.
// Of each turn the fastest batch counts: what else the machine does then slows none of the three.
func job(b *testing.B, name string, rs []bridge.Record, closure func([]bridge.Record, *bridge.Results)) {
	dir := b.TempDir()
	rt, err := host.New(b.Context(), filepath.Join(dir, "cache"), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer rt.Close(context.Background())
	inC, inGo := jobChain(b, rt, dir, name, "C"), jobChain(b, rt, dir, name, "Go")
	var native, c, g, ratioC, ratioGo []float64
	for range pairs {
		x := fastest(b, rs, func(out *bridge.Results) error { closure(rs, out); return nil })
		y := fastest(b, rs, func(out *bridge.Results) error { return inC.Apply(b.Context(), "b/e", rs, out) })
		z := fastest(b, rs, func(out *bridge.Results) error { return inGo.Apply(b.Context(), "b/e", rs, out) })
		native, c, g = append(native, x), append(c, y), append(g, z)
		ratioC, ratioGo = append(ratioC, y/x), append(ratioGo, z/x)
	}
	b.ReportMetric(median(native), "closure_ns")
	b.ReportMetric(median(c), "C_ns")
	b.ReportMetric(median(g), "Go_ns")
	b.ReportMetric(median(ratioC), "C/closure")
	b.ReportMetric(median(ratioGo), "Go/closure")
	b.ReportMetric(0, "ns/op")
	b.Logf("closure %.0f, C %.0f, Go %.0f ns a record, ratios %.2f and %.2f", native, c, g, ratioC, ratioGo)
}

// fastest is the nanoseconds that a record took in the fastest of many batches.
func fastest(b *testing.B, rs []bridge.Record, apply func(*bridge.Results) error) float64 {
	b.Helper()
	out, least := new(bridge.Results), time.Hour
	for range jobBatches {
		begun := time.Now()
		out.Reset()
		if err := apply(out); err != nil {
			b.Fatal(err)
		}
		least = min(least, time.Since(begun))
	}
	if len(out.Messages) != len(rs) {
		b.Fatalf("%d messages of %d records; parked: %+v", len(out.Messages), len(rs), out.Parked)
	}
	return float64(least.Nanoseconds()) / float64(len(rs))
}

// jobChain builds the guest that does the job, as modules.mk builds modules, and makes a chain of it.
func jobChain(b *testing.B, rt *host.Runtime, dir, name, language string) *host.Chain {
	b.Helper()
	const guests = "../../runtime/host/testdata/"
	cfg := host.Default()
	cfg.Path = filepath.Join(dir, name+language+".wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", cfg.Path, guests+name)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if language == "C" {
		cmd = exec.Command("make", "-s", "-C", "../..", "c-module", "SRC=runtime/host/testdata/"+name+"/main.c", "OUT="+cfg.Path)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build %s in %s: %v\n%s", name, language, err, out)
	}
	m, err := rt.Load(b.Context(), name+language, cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(m.Close)
	c, err := rt.Chain("p", []*host.Module{m}, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func named(namesAndValues ...string) (ls []bridge.Label) {
	for i := 0; i < len(namesAndValues); i += 2 {
		ls = append(ls, bridge.Label{Name: []byte(namesAndValues[i]), Value: []byte(namesAndValues[i+1])})
	}
	return ls
}

// closureLabels is the job of the guests labels, with what the host does around it.
func closureLabels(rs []bridge.Record, out *bridge.Results) {
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

// closureWave is the job of the guests wave.
func closureWave(rs []bridge.Record, out *bridge.Results) {
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

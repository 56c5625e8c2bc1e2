package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
	"github.com/sluicebridge/sluice/bridge/when"
	"github.com/sluicebridge/sluice/runtime/host"
)

const (
	jobBatch   = 85 // records: what the sender puts into a batch
	jobBatches = 400
	guests     = "runtime/host/testdata/" // from the top: the jobs in each language
)

// BenchmarkLabelJob is the price of a guest for next to no work: of twelve labels one is looked at and three are renamed. Goals: C and Rust at
// most 4 times, AssemblyScript at most 10 times, Go at most 25 times the closure; a script at most 15 times C.
func BenchmarkLabelJob(b *testing.B) {
	rs := jobRecords().Records
	job(b, "labels", rs, closureLabels, condition(b, rs))
}

// jobRecords is a batch of the label job.
func jobRecords() bridge.Batch {
	var rs []bridge.Record
	for i := range jobBatch {
		rs = append(rs, bridge.Record{Time: int64(i) * 1000, Labels: named(
			"site", "north-hall", "line", "4", "cell", "press-7", "shift", "early", "operator", "0815", "tool", "T-1138", "stable", "true",
			"rpm", "1450.5", "axis", "x", "device", "acc-17", "batch", "2026-11-23/4", "firmware", "3.2.1",
		)})
	}
	return bridge.Batch{Stream: "b/e", Records: rs}
}

// condition is three terms of `when` over the same labels, with the stage around them, in the place of a module: goal 300 ns.
func condition(b *testing.B, rs []bridge.Record) row {
	b.Helper()
	c, err := when.Parse([]byte(`{"&stable":{"$eq":true},"&rpm":{"$gt":1400},"&axis":{"$eq":"x"}}`))
	if err != nil {
		b.Fatal(err)
	}
	stage := when.NewStage(when.Options{Pipeline: "p", Condition: c}, bridgetest.PassAll{})
	return row{name: "when", apply: func(out *bridge.Results) error { return stage.Apply(b.Context(), "b/e", rs, out) }}
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

// languages that a guest of the job may be written in: the file, and the make target that builds it. Go needs none.
var languages = []struct{ name, file, target string }{
	{"C", "main.c", "c-module"}, {"Rust", "main.rs", "rust-module"}, {"AssemblyScript", "main.ts", "as-module"},
	{"Zig", "main.zig", "zig-module"}, {"Go", "main.go", ""}, {"script", "main.js", "js-module"},
}

// job runs a closure and the guests that do the same, alternately, metered, with all that a chain does around them, and reports the medians of the ratios.
// Of each turn the fastest batch counts: what else the machine does then slows none of them. A guest's toolchain that is missing leaves its row
// out, or fails under E2E=require. None may allocate on the way of a record.
func job(b *testing.B, name string, rs []bridge.Record, closure func([]bridge.Record, *bridge.Results), others ...row) {
	dir := b.TempDir()
	rt, err := host.New(b.Context(), filepath.Join(dir, "cache"), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer rt.Close(context.Background())
	rows := []row{{name: "closure", apply: func(out *bridge.Results) error { closure(rs, out); return nil }}}
	for _, l := range languages {
		path := filepath.Join(dir, l.name+".wasm")
		if !buildJob(b, path, name, l.file, l.target) {
			continue
		}
		cfg := host.Default()
		cfg.Path = path
		if l.target == "js-module" {
			cfg.Script = "../../" + guests + name + "/" + l.file
		}
		c := jobChain(b, rt, cfg, name+l.name)
		rows = append(rows, row{name: l.name, apply: func(out *bridge.Results) error { return c.Apply(b.Context(), "b/e", rs, out) }})
	}
	rows = append(rows, others...)
	for range pairs {
		for i := range rows {
			ns := fastest(b, rs, rows[i].apply)
			rows[i].ns = append(rows[i].ns, ns)
			rows[i].ratios = append(rows[i].ratios, ns/rows[0].ns[len(rows[i].ns)-1])
		}
	}
	for i := range rows {
		r := &rows[i]
		out := new(bridge.Results)
		allocs := testing.AllocsPerRun(10, func() { // of a batch
			out.Reset()
			if err := r.apply(out); err != nil {
				b.Fatal(err)
			}
		})
		if i > 0 && allocs >= 1 {
			b.Errorf("%s: %v allocations a batch, want none", r.name, allocs)
		}
		b.ReportMetric(median(r.ns), r.name+"_ns")
		if i > 0 {
			b.ReportMetric(median(r.ratios), r.name+"/closure")
		}
		b.Logf("%-14s %.0f ns a record, %.2f times the closure", r.name, r.ns, r.ratios)
	}
	b.ReportMetric(0, "ns/op")
}

// row is one way to do the job and what it took: nanoseconds a record, and that by what the closure took in the same turn.
type row struct {
	name       string
	apply      func(*bridge.Results) error
	ns, ratios []float64
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

// buildJob builds the guest that does a job, as modules.mk builds modules. It is false where there is none in that language, or no toolchain.
func buildJob(b *testing.B, path, name, file, target string) bool {
	b.Helper()
	source := guests + name + "/" + file
	if _, err := os.Stat("../../" + source); errors.Is(err, os.ErrNotExist) {
		return false
	}
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", path, "../../"+guests+name)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if target != "" {
		missing, err := exec.Command("make", "-s", "-C", "../..", target+"-missing").CombinedOutput()
		switch {
		case err != nil || len(missing) > 0 && os.Getenv("E2E") == "require":
			b.Fatalf("%s%v", missing, err)
		case len(missing) > 0:
			b.Logf("%s left out: %s", file, missing)
			return false
		}
		cmd = exec.Command("make", "-s", "-C", "../..", target, "SRC="+source, "OUT="+path)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build %s: %v\n%s", source, err, out)
	}
	return true
}

// jobChain makes a chain of one module.
func jobChain(b *testing.B, rt *host.Runtime, cfg host.Config, name string) *host.Chain {
	b.Helper()
	m, err := rt.Load(b.Context(), name, cfg)
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

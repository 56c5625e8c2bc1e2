package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/golden"
	"github.com/sluicebridge/sluice/runtime/host"
)

const moduleBenchHelp = `usage: sluice module bench FILE.wasm|FILTER.js [FILE.toml or DIR ...] [flags]

Measures what a record costs: time, units, bytes that are copied in and out, allocations. The time is that of the fastest run over a file's
records, everything included that happens to a batch: the one figure that other programs hardly change. With --against the two modules take
turns, and the ratio is what counts.

`

// measured is what a record of a file costs, on the average.
type measured struct {
	File    string  `json:"file"`
	Module  string  `json:"module"`
	Records int     `json:"records"`
	Batches int     `json:"batches"`
	NS      float64 `json:"ns"`
	Units   float64 `json:"units"`
	In      float64 `json:"bytes_in"`
	Out     float64 `json:"bytes_out"`
	Allocs  float64 `json:"allocations"` // of the host
	Memory  int64   `json:"memory_bytes"`

	Ratio *float64 `json:"ratio,omitempty"` // of NS, to that of the module before
}

func runModuleBench(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("module bench")
	fs.Usage = func() { fmt.Fprint(e.err, moduleBenchHelp); fs.PrintDefaults() }
	o, asJSON := defineModule(fs), jsonFlag(fs)
	against := fs.String("against", "", "`FILE` of the version before")
	budget := fs.Duration("for", time.Second, "how long to measure each file of records")
	module, named, err := parseModule(fs, args)
	if err != nil {
		return err
	}
	files, err := samples(module, named)
	if err != nil {
		return err
	}
	w, err := openWorkbench(ctx, nil, module, o)
	if err != nil {
		return err
	}
	defer w.close(ctx)
	modules := []*workbench{w}
	if *against != "" {
		modules = append(modules, w.another(*against))
	}
	var all []measured
	for _, f := range files {
		ms, err := measure(ctx, f, modules, *budget)
		if err != nil {
			return err
		}
		all = append(all, ms...)
	}
	if *asJSON {
		return e.printJSON(all)
	}
	return printMeasured(e, all)
}

// measure runs the modules over a file's records in turns until the time is up, and each at least leastRuns times.
func measure(ctx context.Context, f *golden.File, modules []*workbench, budget time.Duration) ([]measured, error) {
	const leastRuns = 20
	var tracks []*track
	defer func() {
		for _, t := range tracks {
			t.module.Close()
		}
	}()
	for _, w := range modules {
		t, err := newTrack(ctx, w, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", f.Path(), w.cfg.Path+w.cfg.Script, err)
		}
		tracks = append(tracks, t)
	}
	end := time.Now().Add(budget)
	for runs := 0; runs < leastRuns || time.Now().Before(end); runs++ {
		for _, t := range tracks {
			if err := t.run(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", f.Path(), err)
			}
		}
	}
	var out []measured
	for _, t := range tracks {
		m, err := t.result(ctx)
		if err != nil {
			return nil, err
		}
		if len(out) > 0 {
			ratio := out[0].NS / m.NS
			out[0].Ratio = &ratio
		}
		out = append(out, m)
	}
	return out, nil
}

// track is a module on the records of a file, again and again. Times go on from run to run, as they would.
type track struct {
	measured
	module  *host.Module
	chain   *host.Chain
	batches []bridge.Batch
	out     bridge.Results
	span    int64 // time from one run to the next
	best    time.Duration
}

func newTrack(ctx context.Context, w *workbench, f *golden.File) (*track, error) {
	m, err := w.load(ctx, f.Config)
	if err != nil {
		return nil, err
	}
	t := &track{module: m, batches: f.Batches(), best: math.MaxInt64}
	t.File, t.Module, t.Records, t.Batches = f.Path(), w.cfg.Path+w.cfg.Script, len(f.Records), len(t.batches)
	seen := &traffic{}
	r, err := f.Run(ctx, w.rt, m, seen)
	if err == nil {
		t.chain, err = w.rt.Chain("bench", []*host.Module{m}, nil, nil)
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	n := float64(t.Records)
	t.Units, t.In, t.Out, t.Memory = float64(r.Units)/n, float64(seen.in)/n, float64(seen.out)/n, seen.memory
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	for _, b := range t.batches {
		low, high = min(low, b.Records[0].Time), max(high, b.Records[len(b.Records)-1].Time)
	}
	t.span = high - low + 1_000_000
	return t, nil
}

// traffic counts what crosses the border.
type traffic struct{ in, out, memory int64 }

// Called implements golden.Watch.
func (t *traffic) Called(_ int, c host.Call) {
	if c.Name == abi.ExportProcess {
		t.in += int64(len(c.In))
		t.out += int64(len(c.Answer))
	}
	t.memory = max(t.memory, c.Memory)
}

// Said implements golden.Watch.
func (t *traffic) Said(int32, []byte) {}

// run takes the records through once.
func (t *track) run(ctx context.Context) error {
	begun := time.Now()
	for _, b := range t.batches {
		t.out.Reset()
		if err := t.chain.Apply(ctx, b.Stream, b.Records, &t.out); err != nil && !errors.Is(err, bridge.ErrRetry) {
			return err
		}
	}
	t.best = min(t.best, time.Since(begun))
	for _, b := range t.batches {
		for i := range b.Records {
			b.Records[i].Time += t.span
		}
	}
	return ctx.Err()
}

// result counts allocations last, where buffers have grown.
func (t *track) result(ctx context.Context) (measured, error) {
	const runs = 10
	counts := make([]float64, 0, 3)
	for range cap(counts) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			if err := t.run(ctx); err != nil {
				return t.measured, err
			}
		}
		runtime.ReadMemStats(&after)
		counts = append(counts, math.Floor(float64(after.Mallocs-before.Mallocs)/runs)/float64(t.Records))
	}
	t.Allocs, t.NS = slices.Min(counts), float64(t.best.Nanoseconds())/float64(t.Records)
	return t.measured, nil
}

func printMeasured(e *environment, all []measured) error {
	t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "records\tbatches\tns/record\tunits\tbytes in\tbytes out\tallocations\tmemory\tratio\t \n")
	for _, m := range all {
		ratio := ""
		if m.Ratio != nil {
			ratio = fmt.Sprintf("%.2f", *m.Ratio)
		}
		fmt.Fprintf(t, "%d\t%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%s\t%s\t  %s on %s\n", m.Records, m.Batches, m.NS,
			m.Units, m.In, m.Out, m.Allocs, bridge.Size(m.Memory), ratio, m.Module, m.File)
	}
	return t.Flush()
}

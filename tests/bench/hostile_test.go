package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/host"
	"github.com/sluicebridge/sluice/tests/hostile"
)

const (
	paceEvery   = 2 * time.Millisecond
	paceBatches = 1500 // of one measurement: 3 s, and a p99 of the fifteen slowest
)

// BenchmarkHostile is what a healthy pipeline notices of another whose guest does harm to every seventh record at full speed: the p99 of its batches,
// from when they are due until they are taken in, by the p99 undisturbed. Goal: at most 2 for every guest. The ledgers remember nothing, so that
// what is compared is the runtime and not the disk. The first row is a pipeline that is as busy in Go, without a guest: what the machine's cores
// allow.
func BenchmarkHostile(b *testing.B) {
	dir := b.TempDir()
	rt, err := host.New(b.Context(), filepath.Join(dir, "cache"), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer rt.Close(context.Background())
	path := filepath.Join(dir, "healthy.wasm")
	if !buildJob(b, path, "labels", "main.c", "c-module") {
		b.Skip("the healthy pipeline's module needs the toolchain of C")
	}
	cfg := host.Default()
	cfg.Path = path
	healthy := pipeline("healthy", jobChain(b, rt, cfg, "healthy"))
	b.Run("native-loop", func(b *testing.B) {
		beside(b, healthy, &bridge.Intake{Pipeline: "native", Ledger: forgetful{}, Chain: busy{}})
	})
	for _, metering := range []string{host.MeterFuel, host.MeterTick} {
		for _, g := range hostile.Guests() {
			cfg := host.Default()
			cfg.Path, cfg.Metering, cfg.Output = filepath.Join(dir, "hostile.wasm"), metering, hostile.MaxOutput
			if err := os.WriteFile(cfg.Path, g.Wasm(false), 0o600); err != nil {
				b.Fatal(err)
			}
			name := strings.ReplaceAll(g.Name, " ", "-") + "/" + metering
			other := pipeline(name, jobChain(b, rt, cfg, name))
			b.Run(name, func(b *testing.B) { beside(b, healthy, other) })
		}
	}
}

// beside measures the healthy pipeline alone and beside the other, alternately.
func beside(b *testing.B, healthy, other *bridge.Intake) {
	var alone, disturbed, ratios []float64
	for range pairs {
		x := paced(b, healthy)
		stop := harm(b, other)
		y := paced(b, healthy)
		stop()
		alone, disturbed, ratios = append(alone, x), append(disturbed, y), append(ratios, y/x)
	}
	b.ReportMetric(median(alone), "alone_p99_µs")
	b.ReportMetric(median(disturbed), "beside_p99_µs")
	b.ReportMetric(median(ratios), "beside/alone")
	b.ReportMetric(0, "ns/op")
	b.Logf("p99 alone %.0f µs, beside %.0f µs, ratios %.2f", alone, disturbed, ratios)
}

// paced delivers a batch whenever one is due and returns the p99 in µs of the time from then until it was taken in.
func paced(b *testing.B, in *bridge.Intake) float64 {
	b.Helper()
	batch := jobRecords()
	took := make([]float64, 0, paceBatches)
	pace := time.NewTicker(paceEvery)
	defer pace.Stop()
	begun := time.Now()
	for i := range paceBatches {
		due := begun.Add(time.Duration(i) * paceEvery)
		for time.Until(due) > 0 {
			<-pace.C
		}
		if err := in.Deliver(b.Context(), &batch); err != nil {
			b.Fatal(err)
		}
		took = append(took, float64(time.Since(due).Microseconds()))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// harm delivers to a pipeline as fast as it takes, until stop is called.
func harm(b *testing.B, in *bridge.Intake) (stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	go func() {
		batch := jobRecords()
		for i := range batch.Records {
			batch.Records[i].Time = int64(i)
		}
		var err error
		for ctx.Err() == nil && err == nil {
			err = in.Deliver(b.Context(), &batch)
		}
		done <- err
	}()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(fmt.Errorf("the hostile pipeline: %w", err))
		}
	}
}

func pipeline(name string, c *host.Chain) *bridge.Intake {
	return &bridge.Intake{Pipeline: name, Ledger: forgetful{}, Chain: c}
}

// busy is a chain that computes for 10 ms and decides nothing.
type busy struct{}

func (busy) Apply(_ context.Context, _ string, rs []bridge.Record, out *bridge.Results) error {
	for begun := time.Now(); time.Since(begun) < 10*time.Millisecond; {
	}
	out.Verdicts = append(out.Verdicts, make([]bridge.Verdict, len(rs))...)
	return nil
}

func (busy) Discard(string) {}

func (busy) Flush(context.Context, string, bridge.Flush, *bridge.Results) error { return nil }

// forgetful is a ledger to which every record is fresh.
type forgetful struct{ bridge.Ledger }

func (forgetful) Fresh(_, _ string, rs []bridge.Record, fresh []bool) error {
	for i := range rs {
		fresh[i] = true
	}
	return nil
}

func (forgetful) Append(context.Context, *bridge.Append) error { return nil }

package reduct

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
)

// writeLoad stores records of 200 B with the times from..to in four entries.
func (s *store) writeLoad(from, to int64) {
	s.t.Helper()
	pad := strings.Repeat("x", 200)
	for _, entry := range []string{"a", "b", "c", "d"} {
		for at := from; at <= to; at += 80 {
			h, n := map[string]string{}, int64(0)
			for ts := at; ts <= min(at+79, to); ts++ {
				h[fmt.Sprintf("x-reduct-time-%d", ts)] = "200,application/json,rpm=1500,device=press-7"
				n++
			}
			s.ask("POST", "/b/src/"+entry+"/batch", strings.Repeat(pad, int(n)), h)
		}
	}
}

// 40,000 records of 200 B in four entries, into an intake that takes everything: read by a pull-only input, and sent by the store's own sender, whose
// log is full.
func BenchmarkRealPull(b *testing.B) {
	const each = 10_000
	s := startStore(b)
	s.writeLoad(1, each)
	for _, parallel := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("pull/%d", parallel), func(b *testing.B) {
			cfg := DefaultPull()
			cfg.URL, cfg.Bucket, cfg.Parallel = s.url, "src", parallel
			for b.Loop() {
				all := &everything{unseen: true}
				r, err := NewPuller(cfg, Mind{Name: "edge", Intake: all, Gaps: &gaps{}, Marks: &marks{intake: new(intake)}, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					b.Fatal(err)
				}
				if err := r.Pass(b.Context()); err != nil || all.n.Load() != 4*each {
					b.Fatalf("%d records, %v; want %d", all.n.Load(), err, 4*each)
				}
				r.source.close()
			}
			b.ReportMetric(4*each*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
	b.Run("replication", func(b *testing.B) {
		all := &everything{unseen: true}
		target := NewTarget(testConfig(), Parts{Intake: all, Gaps: &gaps{}, Log: slog.New(slog.DiscardHandler)})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan struct{})
		go func() { _ = target.Serve(ctx, ln); close(done) }()
		defer func() { cancel(); <-done }()
		s.replicate(ln.Addr().String(), map[string]any{"mode": "paused"})
		newest := int64(each)
		for b.Loop() {
			b.StopTimer()
			s.mode("paused")
			s.writeLoad(newest+1, newest+each)
			newest += each
			all.n.Store(0)
			b.StartTimer()
			s.mode("enabled")
			for tick := time.NewTicker(time.Millisecond); all.n.Load() < 4*each; <-tick.C {
			}
		}
		b.ReportMetric(4*each*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
}

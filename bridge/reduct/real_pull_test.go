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

// A record that is still being written is listed and not shown: it is not passed over, whatever was listed. One that is complete before it comes first, and then
// it comes late, at the next look back.
func TestRealPullHalfWritten(t *testing.T) {
	s := startStore(t)
	s.write("e", 1, 10)
	in, marks := &intake{}, &marks{}
	marks.intake = in
	cfg := DefaultPull()
	cfg.URL, cfg.Bucket = s.url, "src"
	r, err := NewPuller(cfg, Mind{Name: "edge", Intake: in, Gaps: &gaps{}, Marks: marks, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.source.close()
	half := func(at int64) (finish func()) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST /api/v1/b/src/e?ts=%d HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 200000\r\n\r\n%s", at, strings.Repeat("x", 100_000))
		eventually(t, "the record to be listed", func() bool {
			entries, err := r.source.entries(t.Context(), "src")
			return err == nil && entries[0].LatestRecord == at
		})
		return func() {
			fmt.Fprint(c, strings.Repeat("x", 100_000))
			if _, err := c.Read(make([]byte, 100)); err != nil {
				t.Error(err)
			}
			c.Close()
		}
	}
	pass := func(want ...int64) {
		t.Helper()
		if err := r.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantTimes(t, in, "src/e", append(upTo(1, 10), want...))
	}
	finish := half(11)
	pass()
	finish()
	pass(11)
	finish = half(12)
	s.write("e", 13, 13)
	pass(11, 13)
	finish()
	pass(11, 13)
	r.looked = time.Time{}
	pass(11, 13, 12)
}

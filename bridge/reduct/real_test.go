package reduct

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// real is a bridge: a target and a reconciler on a fixed address, that can be stopped, cut off and started again over the same intake.
type real struct {
	t      testing.TB
	addr   string
	cfg    Config
	intake *intake
	gaps   *gaps
	marks  *marks
	target *Target
	conns  *tapped
	stop   func()
	calm   bool // no passes: only what the target asks for is reconciled
}

// tapped remembers its connections, so that a test can cut them.
type tapped struct {
	net.Listener
	all chan net.Conn
}

func (l *tapped) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.all <- c
	}
	return c, err
}

// cut closes the listener and all connections, as a kill would.
func (l *tapped) cut() {
	_ = l.Close()
	for {
		select {
		case c := <-l.all:
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		default:
			return
		}
	}
}

func newReal(t testing.TB, s *store, change func(*Config)) *real {
	t.Helper()
	r := &real{t: t, addr: fmt.Sprintf("127.0.0.1:%d", freePort(t)), intake: &intake{entered: make(chan struct{}, 64)}, gaps: &gaps{}}
	r.marks = &marks{intake: r.intake}
	r.cfg = testConfig()
	r.cfg.Source.URL, r.cfg.Source.Replication, r.cfg.Source.Interval = s.url, "task", bridge.Duration(time.Hour)
	if change != nil {
		change(&r.cfg)
	}
	return r
}

func (r *real) start() {
	r.t.Helper()
	ln, err := net.Listen("tcp", r.addr)
	if err != nil {
		r.t.Fatalf("listen: %v", err)
	}
	r.conns = &tapped{ln, make(chan net.Conn, 100)}
	log := slog.New(slog.DiscardHandler)
	parts := Parts{Intake: r.intake, Gaps: r.gaps, Log: log, Metrics: new(bridge.Metrics)}
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{}, 2)
	if r.cfg.Source.URL != "" {
		rec := NewReconciler(r.cfg, Mind{Name: "edge", Intake: r.intake, Gaps: r.gaps, Marks: r.marks, Metrics: parts.Metrics, Log: log})
		parts.Holder = rec
		run := rec.Run
		if r.calm {
			run = func(ctx context.Context) error { rec.settleJobs(ctx); return nil }
		}
		go func() { _ = run(ctx); done <- struct{}{} }()
	} else {
		done <- struct{}{}
	}
	r.target = NewTarget(r.cfg, parts)
	go func() { _ = r.target.Serve(ctx, r.conns); done <- struct{}{} }()
	stopped := false
	r.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
			<-done
		}
	}
	r.t.Cleanup(func() { r.stop() })
}

// arrived waits until the stream has exactly these times, in this order.
func (r *real) arrived(stream string, want []int64) {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(25 * time.Second); time.Now().Before(end) && len(r.intake.times(stream)) < len(want); <-tick.C {
	}
	if got := r.intake.times(stream); !slices.Equal(got, want) {
		r.t.Fatalf("%s: got %d records %v, want %d", stream, len(got), got, len(want))
	}
}

// rejectBatch refuses the sender's first batch, and then each of its records.
func rejectBatch(in *intake) { in.before = slices.Repeat([]error{bridge.ErrRejected}, 1+85) }

// Each row of the answer table, and what the real sender then does: whatever happens, all arrives, once, in order.
func TestRealAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		noSource bool
		change   map[string]any // of the task
		plan     func(*intake)
		lost     bool // the rows that show what happens without a source
	}{
		{name: "200"},
		{name: "zstd", change: map[string]any{"compression": "zstd"}},
		{name: "gzip", change: map[string]any{"compression": "gzip"}},
		{name: "full, 503", plan: func(in *intake) { in.before = slices.Repeat([]error{bridge.ErrFull}, 6) }},
		{name: "append fails, 503", plan: func(in *intake) { in.before = []error{errors.New("disk gone")} }},
		{name: "stored but failed, 503", plan: func(in *intake) { in.after = []error{errors.New("disk gone")} }},
		{name: "rejected as a batch only", plan: func(in *intake) { in.before = []error{bridge.ErrRejected} }},
		{name: "rejected, gap, 422", plan: rejectBatch},
		{name: "rejected without a source", noSource: true, lost: true, plan: rejectBatch},
		{name: "full without a source", noSource: true, plan: func(in *intake) { in.before = slices.Repeat([]error{bridge.ErrFull}, 6) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startStore(t)
			r := newReal(t, s, func(cfg *Config) {
				if c.noSource {
					cfg.Source.URL = ""
				}
			})
			r.calm = true
			if c.plan != nil {
				c.plan(r.intake)
			}
			s.replicate(r.addr, c.change)
			s.mode("paused")
			s.write("e", 1, 400)
			r.start()
			s.mode("enabled")
			if c.lost {
				r.arrived("dst/e", upTo(86, 400))
				if len(r.gaps.all) != 1 || r.gaps.all[0].From != 1 || r.gaps.all[0].To != 85 {
					t.Errorf("gaps: got %+v, want 1..85", r.gaps.all)
				}
				return
			}
			r.arrived("dst/e", upTo(1, 400))
			eventually(t, "the sender has nothing left", func() bool { return s.pending() == 0 })
			if open, _ := r.gaps.OpenGaps(); len(open) != 0 {
				t.Errorf("open gaps: got %+v, want none", open)
			}
		})
	}
}

// Wrong token and wrong bucket: the sender keeps everything until somebody puts it right.
func TestRealNotAdmitted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change map[string]any
	}{
		{"wrong token", map[string]any{"dst_token": "nonsense"}},
		{"wrong bucket", map[string]any{"dst_token": "s3cret", "dst_bucket": "other"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startStore(t)
			r := newReal(t, s, func(cfg *Config) { cfg.Token, cfg.Bucket, cfg.Source.URL = "s3cret", "dst", "" })
			r.start()
			s.replicate(r.addr, c.change)
			s.write("e", 1, 100)
			eventually(t, "the sender is told", func() bool {
				r.target.loud.mu.Lock()
				defer r.target.loud.mu.Unlock()
				return len(r.target.loud.last) > 0
			})
			eventually(t, "the sender keeps all 100", func() bool { return s.pending() == 100 })
			b, _ := json.Marshal(map[string]any{
				"src_bucket": "src", "dst_bucket": "dst", "dst_host": "http://" + r.addr, "dst_token": "s3cret", "entries": []string{},
			})
			s.ask("PUT", "/replications/task", string(b), nil)
			r.arrived("dst/e", upTo(1, 100))
		})
	}
}

// A bridge that is killed with a batch in its hands, and comes back: the sender has forgotten that batch, the order holds all the same.
func TestRealKill(t *testing.T) {
	t.Parallel()
	s := startStore(t)
	r := newReal(t, s, nil)
	s.replicate(r.addr, nil)
	s.write("e", 1, 50)
	r.start()
	r.arrived("dst/e", upTo(1, 50))
	r.intake.mu.Lock()
	r.intake.block = make(chan struct{})
	r.intake.mu.Unlock()
	s.write("e", 51, 400)
	<-r.intake.entered
	r.conns.cut()
	r.stop()
	r.intake.mu.Lock()
	r.intake.block = nil
	r.intake.mu.Unlock()
	r.start()
	r.arrived("dst/e", upTo(1, 400))
	eventually(t, "the sender has nothing left", func() bool { return s.pending() == 0 })
	r.arrived("dst/e", upTo(1, 400))
}

// The same in a running bridge: one connection breaks unseen, nothing is restarted. Only the hold can put the batch back in its place.
func TestRealBrokenConnection(t *testing.T) {
	t.Parallel()
	s := startStore(t)
	r := newReal(t, s, nil)
	s.replicate(r.addr, nil)
	s.write("e", 1, 50)
	r.start()
	r.arrived("dst/e", upTo(1, 50))
	(<-r.conns.all).Close() // idle: the next batch goes into the void, or over a new connection
	s.write("e", 51, 400)
	r.arrived("dst/e", upTo(1, 400))
}

// Shutdown and restart: nothing is asked of the edge store twice, nothing is lost, nothing comes twice.
func TestRealShutdown(t *testing.T) {
	t.Parallel()
	s := startStore(t)
	r := newReal(t, s, func(cfg *Config) { cfg.Source.URL = "" })
	s.replicate(r.addr, nil)
	r.start()
	for i := range int64(3) {
		s.write("e", 1+i*200, 200+i*200)
		r.stop()
		r.start()
	}
	r.arrived("dst/e", upTo(1, 600))
}

// Edge killed with records pending: its log is there again, or it is not; the reconciler does not mind.
func TestRealEdgeKill(t *testing.T) {
	t.Parallel()
	s := startStore(t)
	r := newReal(t, s, nil)
	s.replicate(r.addr, nil)
	s.mode("paused")
	s.write("e", 1, 300)
	s.ask("POST", "/b/src/e/batch", "p301", map[string]string{"x-reduct-time-301": "4,text/plain,n=301"})
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	logs, _ := filepath.Glob(filepath.Join(s.data, "src/e/*.log"))
	for _, l := range logs {
		if err := os.Remove(l); err != nil {
			t.Fatal(err)
		}
	}
	s.start(s.bin)
	r.start()
	r.arrived("dst/e", upTo(1, 301))
}

// Label updates: of a record that was delivered, of one that waits beside its own write (which the sender then doubles), and again.
func TestRealUpdate(t *testing.T) {
	t.Parallel()
	s := startStore(t)
	r := newReal(t, s, nil)
	s.replicate(r.addr, nil)
	s.write("e", 1, 3)
	r.start()
	r.arrived("dst/e", upTo(1, 3))
	s.ask("PATCH", "/b/src/e/batch", "", map[string]string{"x-reduct-time-2": "0,,n=two"})
	r.arrived("dst/e", []int64{1, 2, 3, 2})
	s.mode("paused")
	s.write("e", 4, 6)
	s.ask("PATCH", "/b/src/e/batch", "", map[string]string{"x-reduct-time-5": "0,,n=four"})
	s.ask("PATCH", "/b/src/e/batch", "", map[string]string{"x-reduct-time-5": "0,,n=five"})
	s.mode("enabled")
	eventually(t, "the sender has nothing left", func() bool { return s.pending() == 0 })
	got := show(r.intake.records("dst/e"))
	want := []string{
		`1 text/plain n=1 "p1"`, `2 text/plain n=2 "p2"`, `3 text/plain n=3 "p3"`, `2 text/plain n=two "p2"`,
		`4 text/plain n=4 "p4"`, `5 text/plain n=five "p5"`, `6 text/plain n=6 "p6"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("records:\ngot  %q\nwant %q", got, want)
	}
	if len(r.gaps.all) != 0 {
		t.Errorf("gaps: got %+v, want none", r.gaps.all)
	}
}

// What a task can say: prefix, patterns, condition with its order, attachments, odd labels; first through the sender, then through the
// reconciler alone. Both must bring the same bytes.
func TestRealSameBytes(t *testing.T) {
	t.Parallel()
	s := startStore(t)
	post := func(entry string, ts int, body string, labels map[string]string) {
		h := map[string]string{"Content-Type": "text/plain; charset=utf-8"}
		for k, v := range labels {
			h["x-reduct-label-"+k] = v
		}
		s.ask("POST", fmt.Sprintf("/b/src/%s?ts=%d", entry, ts), body, h)
	}
	r := newReal(t, s, func(cfg *Config) { cfg.Source.URL = "" })
	s.replicate(r.addr, map[string]any{"dst_prefix": "/site1", "entries": []string{"acc-*", "!acc-9"},
		"when": map[string]any{"&pass": map[string]any{"$eq": true}}})
	for _, entry := range []string{"acc-1", "acc-2/x", "acc-9", "other"} {
		post(entry, 10, "ten", map[string]string{"pass": "true", "a": `"x"`, "b": `x,"y"`, "c": `"p","q"`, "d": "k=v"})
		post(entry, 11, "", map[string]string{"pass": "true"})
		post(entry, 12, "no", map[string]string{"pass": "false"})
		s.ask("POST", "/b/src/"+entry+"/$meta/batch", "{}", map[string]string{"x-reduct-time-7": "2,application/json,key=schema"})
	}
	streams := []string{"dst/site1/acc-1", "dst/site1/acc-2/x", "dst/site1/acc-1/$meta", "dst/site1/acc-2/x/$meta"}
	r.start()
	var sent [][]string
	for _, stream := range streams {
		want := []int64{10, 11}
		if strings.HasSuffix(stream, "$meta") {
			want = []int64{7}
		}
		r.arrived(stream, want)
		sent = append(sent, show(r.intake.records(stream)))
	}
	r.stop()

	s.mode("paused")
	again := newReal(t, s, nil)
	again.start()
	for i, stream := range streams {
		again.arrived(stream, r.intake.times(stream))
		if got := show(again.intake.records(stream)); !slices.Equal(got, sent[i]) {
			t.Errorf("%s:\nreconciled %q\nsent       %q", stream, got, sent[i])
		}
	}
	if n := len(again.intake.streams); n != len(streams) {
		t.Errorf("streams: got %d, want %d", n, len(streams))
	}
}

// How long a new connection is held: the stream is reconciled from its last known key, whatever lies before that in the entry.
func BenchmarkRealSettle(b *testing.B) {
	s := startStore(b)
	r := newReal(b, s, nil)
	s.replicate("127.0.0.1:1", nil)
	s.write("e", 1, 20000)
	mustDeliver(b, r.intake, "dst/e", upTo(1, 19915)...)
	rec := NewReconciler(r.cfg, Mind{Name: "edge", Intake: r.intake, Gaps: r.gaps, Marks: r.marks, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { rec.settleJobs(ctx); close(done) }()
	for b.Loop() {
		if err := rec.Settle(ctx, waiting("dst/e", time.Now(), upTo(19916, 20000)...)); err != nil {
			b.Fatal(err)
		}
		rec.Release("dst/e")
	}
	cancel()
	<-done
}

// A pass over entries that were seen already, heads only, and over some that were not; with the pace of the default and without.
func BenchmarkRealPass(b *testing.B) {
	s := startStore(b)
	r := newReal(b, s, nil)
	s.replicate("127.0.0.1:1", nil)
	for _, entry := range []string{"a", "b", "c", "d"} {
		s.write(entry, 1, 5000)
	}
	for _, c := range []struct {
		name           string
		fetch          bool
		rate, parallel int
	}{
		{"compare/one", false, 0, 1}, {"compare/two", false, 0, 2}, {"compare/four", false, 0, 4}, {"compare/two/20000", false, 20_000, 2},
		{"fetch/one", true, 0, 1}, {"fetch/two", true, 0, 2}, {"fetch/two/20000", true, 20_000, 2},
	} {
		b.Run(c.name, func(b *testing.B) {
			cfg := r.cfg
			cfg.Source.Rate, cfg.Source.Parallel = c.rate, c.parallel
			for b.Loop() {
				all := &everything{unseen: c.fetch}
				rec := NewReconciler(cfg, Mind{Name: "edge", Intake: all, Gaps: r.gaps, Marks: &marks{intake: r.intake}, Log: slog.New(slog.DiscardHandler)})
				if err := rec.Pass(b.Context()); err != nil {
					b.Fatal(err)
				}
				if got := all.n.Load(); c.fetch && got != 20000 {
					b.Fatalf("fetched %d records, want 20000", got)
				}
				rec.source.close()
			}
			b.ReportMetric(20000*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// everything is an intake that has seen nothing, or all.
type everything struct {
	drain
	unseen bool
	n      atomic.Int64
}

func (e *everything) Unseen(_ context.Context, _ string, _ []int64, unseen []bool) error {
	for i := range unseen {
		unseen[i] = e.unseen
	}
	return nil
}

func (e *everything) Deliver(_ context.Context, b *bridge.Batch) error {
	e.n.Add(int64(len(b.Records)))
	return nil
}

// Records that are labelled after they were written, while a backlog waits: the sender sends each with its final labels, and then once more as
// an update with the same ones. It must not arrive twice.
func TestRealLabelledBacklog(t *testing.T) {
	t.Parallel()
	for _, calm := range []bool{true, false} { // the target alone, and with the reconciler's first pass before the sender
		s := startStore(t)
		r := newReal(t, s, nil)
		r.calm = calm
		s.replicate(r.addr, nil)
		s.mode("paused")
		s.write("e", 1, 200)
		for ts := int64(1); ts <= 200; ts += 50 {
			h := map[string]string{}
			for i := ts; i < ts+50; i++ {
				h[fmt.Sprintf("x-reduct-time-%d", i)] = "0,,class=ok"
			}
			s.ask("PATCH", "/b/src/e/batch", "", h)
		}
		r.start()
		s.mode("enabled")
		r.arrived("dst/e", upTo(1, 200))
		eventually(t, "the sender has nothing left", func() bool { return s.pending() == 0 })
		r.arrived("dst/e", upTo(1, 200))
		for _, rec := range r.intake.records("dst/e") {
			if len(rec.Labels) != 2 || string(rec.Labels[0].Value) != "ok" {
				t.Errorf("record %d: got labels %q, want class=ok and n", rec.Time, rec.Labels)
			}
		}
		r.stop()
	}
}

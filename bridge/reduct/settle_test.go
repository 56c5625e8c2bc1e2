package reduct

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// bridged is a target and a reconciler over one intake.
func bridged(t *testing.T, change func(*Config)) (*site, *rig) {
	t.Helper()
	r := newRig(t, change)
	cfg := testConfig()
	cfg.Hold = bridge.Duration(2 * time.Second)
	s := serve(t, cfg, r)
	s.target.part.Intake, s.target.part.Gaps = r.intake, r.gaps
	s.intake, s.gaps = r.intake, r.gaps
	return s, r
}

// primed makes the stream one that has been running: 1..10 seen, reconciled, the first pass over.
func primed(t *testing.T, change func(*Config)) (*site, *rig) {
	t.Helper()
	s, r := bridged(t, change)
	r.edge.fill("e", 1, 10)
	r.pass(t)
	r.settlers(t)
	return s, r
}

// Rule 7: what the sender forgot before it opened the connection comes before what it remembers; afterwards nothing is asked any more.
func TestHold(t *testing.T) {
	s, r := primed(t, nil)
	r.edge.fill("e", 11, 200)
	c := s.dial()
	want(t, c.send(r.edge.post("e", upTo(21, 30)...)), 200) // 11..20 were forgotten unseen
	wantTimes(t, r.intake, "dst/e", upTo(1, 30))
	if got := r.metrics.ReconcileMissing.At("edge").Load(); got != 20 {
		t.Errorf("reconcile_missing: got %d, want 20: 10 of the first pass and the forgotten 10", got)
	}
	before := r.edge.requests("")
	want(t, c.send(r.edge.post("e", upTo(31, 40)...)), 200)
	wantTimes(t, r.intake, "dst/e", upTo(1, 40))
	if got := r.edge.requests(""); got != before {
		t.Errorf("requests to the edge store for a known connection: got %d, want 0", got-before)
	}
	want(t, s.send(r.edge.post("e", upTo(51, 60)...)), 200) // a new connection
	wantTimes(t, r.intake, "dst/e", upTo(1, 60))
}

// Forgotten records between those of the batch: the batch's own are fetched too, so that the order stays.
func TestHoldInterleaved(t *testing.T) {
	s, r := primed(t, nil)
	r.edge.fill("e", 11, 16)
	want(t, s.send(r.edge.post("e", 13, 14, 16)), 200)
	wantTimes(t, r.intake, "dst/e", upTo(1, 16))
}

// A stream never seen before: its whole past comes first.
func TestHoldFirst(t *testing.T) {
	s, r := bridged(t, nil)
	r.edge.fill("e", 1, 300)
	r.settlers(t)
	want(t, s.send(r.edge.post("e", upTo(290, 300)...)), 200)
	wantTimes(t, r.intake, "dst/e", upTo(1, 300))
}

// A batch of old records passes, but does not vouch for what is newer.
func TestHoldLate(t *testing.T) {
	s, r := bridged(t, nil)
	r.edge.fill("e", 5, 10)
	r.pass(t)
	r.settlers(t)
	r.edge.fill("e", 1, 4)
	r.edge.fill("e", 11, 200)
	c := s.dial()
	want(t, c.send(r.edge.post("e", 1, 2, 3, 4)), 200)
	want(t, c.send(r.edge.post("e", upTo(21, 30)...)), 200)
	wantTimes(t, r.intake, "dst/e", append(append(upTo(5, 10), upTo(1, 4)...), upTo(11, 30)...))
}

// Rule 6: a gap on a known connection holds the stream until it is closed.
func TestHoldGap(t *testing.T) {
	s, r := primed(t, nil)
	r.edge.fill("e", 11, 30)
	want(t, s.send(r.edge.post("e", upTo(11, 15)...)), 200)
	bad := rawRequest("POST", "/api/v1/b/dst/e/batch", "x", "x-reduct-time-16: 1,a,nonsense", "x-reduct-time-20: 1,a")
	want(t, s.send(bad), 422)
	want(t, s.send(r.edge.post("e", upTo(21, 30)...)), 200)
	wantTimes(t, r.intake, "dst/e", upTo(1, 30))
	if open, _ := r.gaps.OpenGaps(); len(open) != 0 {
		t.Errorf("open gaps: got %d, want 0", len(open))
	}
}

// As long as the edge store cannot be asked, batches stay with their sender.
func TestHoldSourceFails(t *testing.T) {
	for _, path := range []string{"GET /replications/task", "POST /b/src/e/q", "HEAD /b/src/e/batch", "GET /b/src/e/batch"} {
		t.Run(path, func(t *testing.T) {
			s, r := primed(t, nil)
			r.edge.fill("e", 11, 20)
			r.edge.mu.Lock()
			r.edge.failPath = path
			r.edge.mu.Unlock()
			c := s.dial()
			want(t, c.send(r.edge.post("e", 19, 20)), 503)
			want(t, c.send(r.edge.post("e", 19, 20)), 200)
			wantTimes(t, r.intake, "dst/e", upTo(1, 20))
		})
	}
}

// A reconcile that outlasts the hold goes on, and the sender's repetition finds it done.
func TestHoldOutlasted(t *testing.T) {
	s, r := primed(t, nil)
	s.target.cfg.Hold = bridge.Duration(50 * time.Millisecond)
	r.edge.fill("e", 11, 20)
	gate, reached := make(chan struct{}), make(chan struct{}, 8)
	r.edge.onGet = func() { reached <- struct{}{}; <-gate }
	c := s.dial()
	want(t, c.send(r.edge.post("e", 19, 20)), 503)
	<-reached
	close(gate)
	s.target.cfg.Hold = bridge.Duration(2 * time.Second)
	want(t, c.send(r.edge.post("e", 19, 20)), 200)
	wantTimes(t, r.intake, "dst/e", upTo(1, 20))
	if got := r.edge.requests("GET /b/src/e/batch"); got != 2 {
		t.Errorf("fetches: got %d, want 2: the first pass and one", got)
	}
}

// A pass in the middle of older records and a batch of newer ones: the batch waits, the order stays.
func TestPassBeforeBatch(t *testing.T) {
	s, r := primed(t, nil)
	r.edge.fill("e", 11, 600)
	c := s.dial()
	want(t, c.send(r.edge.post("e", upTo(11, 20)...)), 200)
	r.pass(t) // what is newer is left to the sender for once
	r.intake.block = make(chan struct{})
	passed := make(chan error, 1)
	go func() { passed <- r.Pass(t.Context()) }()
	<-r.intake.entered // the pass delivers its first page of 21..600
	r.edge.fill("e", 601, 610)
	answered := make(chan *http.Response, 1)
	go func() { answered <- c.send(r.edge.post("e", upTo(601, 610)...)) }()
	go func() {
		for range r.intake.entered { // the others
		}
	}()
	close(r.intake.block)
	if err := <-passed; err != nil {
		t.Fatalf("pass: got %v, want nil", err)
	}
	want(t, <-answered, 200)
	close(r.intake.entered)
	wantTimes(t, r.intake, "dst/e", upTo(1, 610))
}

// A settling is for one connection: the same one passes afterwards unasked, any other one is settled for itself.
func TestSettleOwn(t *testing.T) {
	r := newRig(t, nil)
	r.edge.fill("e", 1, 10)
	r.settlers(t)
	one, another := time.Now(), time.Now().Add(-time.Hour)
	for _, tt := range []struct {
		name  string
		w     Waiting
		asked bool
	}{
		{"first batch", waiting("dst/e", one, 11), true},
		{"the same connection", waiting("dst/e", one, 12), false},
		{"an older one", waiting("dst/e", another, 12), true},
		{"the same again", waiting("dst/e", another, 13), false},
		{"the first again", waiting("dst/e", one, 13), false},
	} {
		before := r.edge.requests("/q")
		if err := r.Settle(t.Context(), tt.w); err != nil {
			t.Fatalf("%s: settle: %v", tt.name, err)
		}
		r.Release("dst/e")
		if asked := r.edge.requests("/q") > before; asked != tt.asked {
			t.Errorf("%s: the edge store was asked: %v, want %v", tt.name, asked, tt.asked)
		}
	}
}

// Of max_connections senders of one stream, each is settled once.
func TestSettleCrowd(t *testing.T) {
	const crowd = 150
	r := newRig(t, func(c *Config) { c.MaxConnections = crowd })
	r.edge.fill("e", 1, 10)
	r.settlers(t)
	began := time.Now()
	for round, want := range []int{crowd, 0} {
		asked := 0
		for n := range crowd {
			before := r.edge.requests("/q")
			if err := r.Settle(t.Context(), waiting("dst/e", began.Add(time.Duration(n)), 11)); err != nil {
				t.Fatalf("connection %d: settle: %v", n, err)
			}
			r.Release("dst/e")
			if r.edge.requests("/q") > before {
				asked++
			}
		}
		if asked != want {
			t.Errorf("round %d: %d of %d connections were settled, want %d", round, asked, crowd, want)
		}
	}
}

// Two tasks feed one stream: what the settling of one left to its sender is none of the other's batches, and comes before those.
func TestHoldTwoTasks(t *testing.T) {
	s, r := primed(t, nil)
	r.edge.fill("e", 11, 200)
	one, two := s.dial(), s.dial()
	r.intake.before = slices.Repeat([]error{bridge.ErrFull}, 100)
	s.target.cfg.Hold = bridge.Duration(50 * time.Millisecond)
	want(t, one.send(r.edge.post("e", upTo(11, 20)...)), 503) // settled, and not taken
	r.intake.before = nil
	s.target.cfg.Hold = bridge.Duration(2 * time.Second)
	want(t, two.send(r.edge.post("e", upTo(21, 30)...)), 200) // this task was made after the first 20
	want(t, one.send(r.edge.post("e", upTo(11, 20)...)), 200)
	wantTimes(t, r.intake, "dst/e", upTo(1, 30))
}

// Labels of old records that have changed say nothing of where the sender's log stands, when there is a backlog behind them.
func TestHoldUpdate(t *testing.T) {
	s, r := primed(t, nil)
	r.edge.fill("e", 11, 400)
	c := s.dial()
	want(t, c.send(rawRequest("PATCH", "/api/v1/b/dst/e/batch", "", "x-reduct-time-11: 0,text/plain,n=11")), 200) // never seen: 404 for the record
	want(t, c.send(r.edge.post("e", 11)), 200)
	want(t, c.send(r.edge.post("e", upTo(31, 40)...)), 200) // 12..30 were forgotten
	wantTimes(t, r.intake, "dst/e", upTo(1, 40))
}

// A small batch in front of nothing: what else the store has, its sender has forgotten.
func TestHoldNearEnd(t *testing.T) {
	s, r := primed(t, nil)
	r.edge.fill("e", 11, 30)
	c := s.dial()
	want(t, c.send(r.edge.post("e", 11, 12)), 200)
	wantTimes(t, r.intake, "dst/e", upTo(1, 30))
}

// A gap of newer records does not overtake older ones that were forgotten without a trace.
func TestHoldGapBehindForgotten(t *testing.T) {
	s, r := primed(t, nil)
	r.edge.fill("e", 11, 30)
	bad := rawRequest("POST", "/api/v1/b/dst/e/batch", "x", "x-reduct-time-16: 1,a,nonsense", "x-reduct-time-20: 1,a")
	c := s.dial()
	want(t, c.send(bad), 422)
	want(t, s.send(r.edge.post("e", upTo(21, 30)...)), 200)
	wantTimes(t, r.intake, "dst/e", upTo(1, 30))
}

// A settling leaves its caller's batch out. Where that caller's connection breaks, the next one's sender has forgotten the batch, so that a
// settling that waited since before does not serve it.
func TestSettleJoined(t *testing.T) {
	r := newRig(t, nil)
	r.edge.fill("e", 1, 10)
	r.pass(t)
	r.edge.fill("e", 11, 200)
	gone, cancel := context.WithCancel(t.Context())
	first := time.Now()
	cancel()
	if err := r.Settle(gone, waiting("dst/e", first, upTo(11, 20)...)); !errors.Is(err, bridge.ErrRetry) { // waits for a settler
		t.Fatalf("settle: got %v, want ErrRetry", err)
	}
	r.settlers(t)
	if err := r.Settle(t.Context(), waiting("dst/e", first.Add(1), upTo(21, 30)...)); err != nil {
		t.Fatalf("settle: got %v, want nil", err)
	}
	r.Release("dst/e")
	wantTimes(t, r.intake, "dst/e", upTo(1, 20))
}

// Without Run nothing is settled, and nothing hangs.
func TestSettleEnds(t *testing.T) {
	r := newRig(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := r.Settle(ctx, waiting("dst/e", time.Now(), 1)); !errors.Is(err, bridge.ErrRetry) {
		t.Errorf("settle: got %v, want ErrRetry", err)
	}
	for i := range cap(r.jobs) + 1 {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Settle(ctx, waiting("dst/"+string(rune('a'+i)), time.Now(), 1)); !errors.Is(err, bridge.ErrRetry) {
			t.Errorf("settle %d: got %v, want ErrRetry", i, err)
		}
	}
}

// A stream that the task does not send is not held back for ever.
func TestHoldForeign(t *testing.T) {
	s, r := bridged(t, nil)
	r.settlers(t)
	want(t, s.send(batchOf("abc", "x-reduct-time-7: 3,a")), 200)
	if got := r.intake.times("b/e"); !slices.Equal(got, []int64{7}) {
		t.Errorf("records: got %v, want [7]", got)
	}
}

// The batch's last record is not in the store any more, nor anything behind it: the store is asked all the same, and refuses no query for that.
func TestHoldBehindTheEnd(t *testing.T) {
	s, r := primed(t, nil)
	r.edge.fill("e", 11, 30)
	raw := r.edge.post("e", upTo(21, 30)...)
	r.edge.mu.Lock()
	r.edge.entries["e"] = r.edge.entries["e"][:25]
	r.edge.mu.Unlock()
	want(t, s.send(raw), 200)
	wantTimes(t, r.intake, "dst/e", upTo(1, 30))
}

package reduct

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// newPuller makes a rig whose reconciler is a pull-only input.
func newPuller(t *testing.T, change func(*Pull)) *rig {
	t.Helper()
	r := newRig(t, nil)
	r.again(t, change)
	return r
}

// again starts the input anew, over the same store and ledger.
func (r *rig) again(t *testing.T, change func(*Pull)) {
	t.Helper()
	cfg := DefaultPull()
	cfg.URL, cfg.Bucket, cfg.Interval = r.edge.server.URL, "src", bridge.Duration(time.Hour)
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatalf("validate: %v", err)
	}
	puller, err := NewPuller(cfg, Mind{Name: "edge", Intake: r.intake, Gaps: r.gaps, Marks: r.marks, Metrics: r.metrics, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("new: %v", err)
	}
	r.Reconciler = puller
	t.Cleanup(puller.source.close)
}

// looksBack makes the next pass look back.
func (r *rig) looksBack() { r.looked = time.Time{} }

// What is there comes whole, in order and once; what is new afterwards costs one query, and is nothing that was missing.
func TestPull(t *testing.T) {
	r := newPuller(t, func(c *Pull) { c.Entries = []string{"e*", "!ex"} })
	r.edge.fill("e", 1, 200)
	r.edge.fill("ex", 1, 5)
	r.edge.write("e/$meta", stored{7, "", map[string]string{"key": "schema"}, "{}"})
	r.pass(t)
	r.edge.fill("e", 201, 300) // to the end of the store, nothing is left to a sender
	queries := r.edge.requests("/q")
	r.pass(t)
	wantTimes(t, r.intake, "src/e", upTo(1, 300))
	wantTimes(t, r.intake, "src/e/$meta", []int64{7})
	if got := r.edge.requests("/q") - queries; got != 1 {
		t.Errorf("queries for what is new: got %d, want 1", got)
	}
	queries = r.edge.requests("/q")
	r.pass(t)
	if got := r.edge.requests("/q") - queries; got != 0 {
		t.Errorf("queries while nothing is new: got %d, want 0", got)
	}
	if got, want := show(r.intake.records("src/e")[:1])[0], `1 text/plain a=x,y n=1 "p1"`; got != want {
		t.Errorf("first record: got %s, want %s", got, want)
	}
	for _, rec := range r.intake.records("src/e") {
		if rec.Flags&bridge.Late != 0 {
			t.Errorf("record %d is late", rec.Time)
		}
	}
	if f := r.Finds(); !f.Total.OK() || r.metrics.ReconcileMissing.At("edge").Load() != 0 {
		t.Errorf("new records count as missing: %+v", f.Total)
	}
	if n := r.edge.requests("replications"); n != 0 {
		t.Errorf("%d requests for a replication task", n)
	}
}

// A late record is found by the next look back, where it is not later than overlap.
func TestPullLate(t *testing.T) {
	r := newPuller(t, func(c *Pull) { c.Overlap = bridge.Duration(50 * time.Microsecond) })
	r.edge.write("e", stored{300, "", nil, "a"})
	r.pass(t)
	r.edge.fill("e", 150, 150) // twice overlap and more
	r.edge.fill("e", 260, 260)
	r.pass(t)
	wantTimes(t, r.intake, "src/e", []int64{300})
	r.looksBack()
	r.pass(t)
	wantTimes(t, r.intake, "src/e", []int64{300, 260})
	if f := r.Finds().Total; f.Fetched != 1 || f.Late != 1 {
		t.Errorf("found %+v, want one late", f)
	}
}

// A restart goes on from the durable mark: what is before it is not read again, what is behind it and was taken is not taken twice.
func TestPullRestart(t *testing.T) {
	r := newPuller(t, func(c *Pull) { c.Overlap = 0 })
	r.edge.fill("e", 1, 1000)
	r.pass(t)
	r.edge.fill("e", 1001, 1085)
	r.pass(t) // too soon for another durable mark
	if mark, _ := r.marks.Reconciled("src/e"); mark != 1000 {
		t.Fatalf("mark: got %d, want 1000", mark)
	}
	r.edge.fill("e", 1086, 1100)
	r.again(t, func(c *Pull) { c.Overlap = 0 })
	pages := r.edge.requests("/batch")
	r.pass(t)
	wantTimes(t, r.intake, "src/e", upTo(1, 1100))
	if got := r.edge.requests("GET /b/src/e/batch"); r.edge.requests("/batch")-pages != 2 {
		t.Errorf("a restart read %d pages of %d in all, want 2", r.edge.requests("/batch")-pages, got)
	}
	if mark, _ := r.marks.Reconciled("src/e"); mark != 1100 {
		t.Errorf("mark: got %d, want 1100", mark)
	}
}

// The condition goes to the store as it is. What it leaves out does not stay in the way, and what is half written is not passed over.
func TestPullWhen(t *testing.T) {
	r := newPuller(t, func(c *Pull) { c.When = `{"&pass": {"$eq": true}}` })
	yes, no := map[string]string{"pass": "true"}, map[string]string{"pass": "false"}
	r.edge.write("e", stored{1, "", yes, "a"}, stored{2, "", no, "b"}, stored{3, "", no, "c"})
	r.pass(t)
	if got := r.course("src/e").read.Latest; got != 1 {
		t.Errorf("after the first pass: read to %d, want 1, what is newest may not be shown yet", got)
	}
	r.edge.write("e", stored{9, "", no, "d"})
	r.pass(t)
	if got := r.course("src/e").read.Latest; got != 3 {
		t.Errorf("after the second pass: read to %d, want 3, the newest of the pass before", got)
	}
	r.edge.write("e", stored{8, "", yes, "e"})
	r.pass(t)
	wantTimes(t, r.intake, "src/e", []int64{1, 8})
}

// A record that takes longer than a pass to write stays before the mark, pass after pass, also where a condition leaves records out: it is read when it is written.
func TestPullHalfWritten(t *testing.T) {
	for _, when := range []bridge.JSON{"", `{"&pass": {"$eq": true}}`} {
		t.Run(string(when), func(t *testing.T) {
			r := newPuller(t, func(c *Pull) { c.When, c.Overlap = when, 0 })
			yes := map[string]string{"pass": "true"}
			r.edge.write("e", stored{1, "", yes, "a"}, stored{3, "", yes, "b"}, stored{9, "", yes, "c"})
			r.edge.writing, r.edge.looks = 9, 1<<30
			for range 3 {
				r.pass(t)
				if got := r.course("src/e").read.Latest; got >= 9 {
					t.Fatalf("read to %d, and 9 is still being written", got)
				}
			}
			wantTimes(t, r.intake, "src/e", []int64{1, 3})
			r.edge.looks = 0
			r.pass(t)
			wantTimes(t, r.intake, "src/e", []int64{1, 3, 9})
		})
	}
}

// A full ledger, a store that fails, a bucket that is gone: the next pass goes on where this one stopped.
func TestPullWaits(t *testing.T) {
	r := newPuller(t, nil)
	r.edge.fill("e", 1, 100)
	r.intake.before = []error{nil, bridge.ErrClosed}
	if err := r.Pass(t.Context()); err == nil {
		t.Error("the ledger refuses: the pass says nothing")
	}
	wantTimes(t, r.intake, "src/e", upTo(1, 85))
	r.edge.failPath = "GET /b/src"
	if err := r.Pass(t.Context()); err == nil {
		t.Error("the store fails: the pass says nothing")
	}
	r.pass(t)
	wantTimes(t, r.intake, "src/e", upTo(1, 100))
	gone := newPuller(t, func(c *Pull) { c.Bucket = "gone" })
	if err := gone.Pass(t.Context()); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("a bucket that is gone: got %v", err)
	}
}

// What the FIFO takes before it is read is listed, whenever it does so; what was read is not.
func TestPullEvicted(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(r *rig)
		lost []string
		want []int64
	}{
		{"what was read", func(r *rig) { r.edge.fill("e", 101, 110); r.edge.evict("e", 100) }, nil, upTo(1, 110)},
		{"all that was read, and no more", func(r *rig) { r.edge.fill("e", 101, 110); r.edge.evict("e", 101) }, nil, upTo(1, 110)},
		{"before the store was asked", func(r *rig) { r.edge.fill("e", 101, 110); r.edge.evict("e", 105) },
			[]string{"101-104 -1 " + unreadReason}, append(upTo(1, 100), upTo(105, 110)...)},
		{"after the entries were listed", func(r *rig) {
			r.edge.fill("e", 101, 110)
			r.edge.onQuery = func() { r.edge.evict("e", 105) }
		}, []string{"101-104 -1 " + unreadReason}, append(upTo(1, 100), upTo(105, 110)...)},
		{"between two answers", func(r *rig) {
			r.edge.fill("e", 101, 300)
			n := 0
			r.edge.onGet = func() {
				if n++; n == 2 {
					r.edge.evict("e", 201)
				}
			}
		}, []string{"101-200 -1 " + unreadReason}, append(upTo(1, 184), upTo(201, 300)...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newPuller(t, nil)
			r.edge.fill("e", 1, 100)
			r.pass(t)
			c.do(r)
			r.pass(t)
			wantTimes(t, r.intake, "src/e", c.want)
			var lost []string
			for _, l := range r.gaps.lost {
				lost = append(lost, fmt.Sprintf("%d-%d %d %s", l.From, l.To, l.Records, l.Reason))
			}
			if !slices.Equal(lost, c.lost) {
				t.Errorf("losses:\ngot  %q\nwant %q", lost, c.lost)
			}
		})
	}
}

// A record from the future is taken by a look back, and what is written meanwhile is read on.
func TestPullClockAhead(t *testing.T) {
	r := newPuller(t, nil)
	now := time.Now().UnixMicro()
	future := now + time.Hour.Microseconds()
	r.edge.fill("e", now-100, now-91)
	r.edge.fill("e", future, future)
	r.pass(t)
	r.edge.fill("e", now-90, now-81)
	r.pass(t)
	got := r.intake.times("src/e")
	slices.Sort(got)
	if want := append(upTo(now-100, now-81), future); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	read := r.Finds().Total.Compared
	r.pass(t)
	if n := r.Finds().Total.Compared - read; n != 1 {
		t.Errorf("another pass read %d records, want the one at the mark", n)
	}
}

// One entry with a long backlog does not keep the others waiting, and the next pass comes at once.
func TestPullTurn(t *testing.T) {
	r := newPuller(t, nil)
	r.edge.fill("e", 1, 500)
	x := round{Reconciler: r.Reconciler, began: time.Now(), wanted: func(string) bool { return true }, turn: 1}
	if err := x.pass(t.Context()); err != nil || !x.more.Load() {
		t.Fatalf("got %v, more %v, want a turn that is over", err, x.more.Load())
	}
	wantTimes(t, r.intake, "src/e", upTo(1, 85))
	r.pass(t)
	wantTimes(t, r.intake, "src/e", upTo(1, 500))
}

// A record over max_record is left with a gap, which is nothing that holds the stream.
func TestPullOversized(t *testing.T) {
	r := newPuller(t, func(c *Pull) { c.MaxRecord = 10 })
	r.edge.fill("e", 1, 3)
	r.edge.write("e", stored{4, "", nil, strings.Repeat("x", 11)})
	r.edge.fill("e", 5, 6)
	r.pass(t)
	r.pass(t)
	wantTimes(t, r.intake, "src/e", []int64{1, 2, 3, 5, 6})
	if open, _ := r.gaps.OpenGaps(); len(open) != 1 || open[0].From != 4 || open[0].To != 4 {
		t.Errorf("gaps: %+v, want one for record 4", open)
	}
}

// A whole reconcile compares all of it.
func TestPullWhole(t *testing.T) {
	r := newPuller(t, nil)
	r.edge.write("e", stored{1000_000_000, "", nil, ""})
	r.pass(t)
	r.edge.fill("e", 1, 10)
	rep, err := r.Reconcile(t.Context(), Want{Whole: true})
	if err != nil || rep.Fetched != 10 || rep.Late != 10 {
		t.Errorf("got %+v %v, want ten fetched, late", rep.Counts, err)
	}
}

func TestPullConfig(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Pull)
		want   string
	}{
		{"fine", func(*Pull) {}, ""},
		{"a condition", func(c *Pull) { c.When = `{"&status":{"$eq":0}}` }, ""},
		{"no url", func(c *Pull) { c.URL = "" }, `url: "", want http://host:port`},
		{"no bucket", func(c *Pull) { c.Bucket = "" }, `bucket: ""`},
		{"any bucket", func(c *Pull) { c.Bucket = "*" }, `bucket: "*"`},
		{"two tokens", func(c *Pull) { c.Token, c.TokenFile = "a", "b" }, "token_file: set beside token"},
		{"too often", func(c *Pull) { c.Interval = bridge.Duration(time.Millisecond) }, "interval: 1ms, want at least 1s"},
		{"a list", func(c *Pull) { c.When = `[1]` }, "is not an object"},
		{"stateful", func(c *Pull) {
			c.When = `{"$and":[{"$each_t":"1s"},{"$limit":3}]}`
		},
			"when: $each_t, $limit: what it passes depends on the records before"},
		{"context", func(c *Pull) { c.When = `{"#ctx_before": 5, "&x": {"$eq": 1}}` }, "when: #ctx_before:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := DefaultPull()
			cfg.URL, cfg.Bucket = "http://127.0.0.1:1", "b"
			c.change(&cfg)
			err := cfg.Validate()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestInspectPull(t *testing.T) {
	r := newPuller(t, nil)
	r.edge.fill("e", 1, 1)
	cfg := DefaultPull()
	cfg.URL, cfg.Bucket, cfg.Entries = r.edge.server.URL, "src", []string{"e", "acc-*", "!x"}
	cfg.When = `{"&stable":{"$eq":"true"}}`
	got, err := InspectPull(t.Context(), cfg, surprise)
	if err != nil || len(got) != 2 || !strings.Contains(got[0], "a surprise") || !strings.Contains(got[1], `"acc-*"`) {
		t.Errorf("got %q %v, want the surprise, and the pattern that nothing is like", got, err)
	}
	cfg.Bucket = "gone"
	if got, err = InspectPull(t.Context(), cfg, surprise); err != nil || len(got) != 2 || !strings.Contains(got[1], "not there") {
		t.Errorf("got %q %v, want a bucket that is not there", got, err)
	}
}

// The source of a comparison is what the input reads.
func TestSurveyPull(t *testing.T) {
	r := newPuller(t, nil)
	r.edge.fill("e", 1, 3)
	cfg := DefaultPull()
	cfg.URL, cfg.Bucket = r.edge.server.URL, "src"
	s, err := SurveyPull(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []int64
	if err := s.Each(t.Context(), "src/e", 0, 100, func(at int64, _ []bridge.Label) { got = append(got, at) }); err != nil || !slices.Equal(got, upTo(1, 3)) {
		t.Errorf("got %v %v, want 1 to 3", got, err)
	}
	if pending, err := s.Pending(t.Context()); pending != math.MaxInt64 || err != nil || s.Bucket() != "src" {
		t.Errorf("pending %v %v of bucket %s", pending, err, s.Bucket())
	}
}

package reduct

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

func wantTimes(t *testing.T, in *intake, stream string, want []int64) {
	t.Helper()
	if got := in.times(stream); !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %v\nwant %v", stream, got, want)
	}
}

// Data older than the task, and everything a pass finds, comes whole and in order, once.
func TestPass(t *testing.T) {
	r := newRig(t, nil)
	r.edge.fill("e", 1, 200)
	r.edge.write("e", stored{201, "", map[string]string{"q": `"x"`, "z": ""}, ""})
	r.pass(t)
	wantTimes(t, r.intake, "dst/e", upTo(1, 201))
	rs := r.intake.records("dst/e")
	if got, want := show(rs[:1])[0], `1 text/plain a=x,y n=1 "p1"`; got != want {
		t.Errorf("first record: got %s, want %s", got, want)
	}
	if got, want := show(rs[200:])[0], `201  q="x" z= ""`; got != want {
		t.Errorf("last record: got %s, want %s", got, want)
	}
	if got := r.metrics.ReconcileMissing.At("edge").Load(); got != 201 {
		t.Errorf("reconcile_missing: got %d, want 201", got)
	}
	if last := r.Last(); last == nil || r.metrics.ReconcileSuccess.Load() != last.UnixMicro() {
		t.Errorf("last reconcile: got %v and %d in the metrics, want the same time", last, r.metrics.ReconcileSuccess.Load())
	}
	if upTo, ok := r.marks.Reconciled("dst/e"); upTo != 201 || !ok {
		t.Errorf("mark: got %d %v, want 201", upTo, ok)
	}
	gets := r.edge.requests("GET /b/src/e/batch")
	r.pass(t)
	if got := r.edge.requests("GET /b/src/e/batch"); got != gets {
		t.Errorf("records fetched by a pass without work: got %d pages, want 0", got-gets)
	}
}

// What was seen is not fetched again, however it lies between what is missing.
func TestPassSparse(t *testing.T) {
	for _, c := range []struct {
		name    string
		missing []int64
		queries int // for records; one more is for the heads
	}{
		{"nothing", nil, 0},
		{"one", []int64{50}, 1},
		{"ends of a page", []int64{1, 85}, 2},
		{"close together", []int64{10, 12, 16}, 1},
		{"two pages", []int64{84, 85, 86, 87}, 2},
		{"every fifth", []int64{5, 10, 15, 20, 25}, 1},
		{"all", upTo(1, 100), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.edge.fill("e", 1, 100)
			var seen []int64
			for _, ts := range upTo(1, 100) {
				if !slices.Contains(c.missing, ts) {
					seen = append(seen, ts)
				}
			}
			if len(seen) > 0 {
				mustDeliver(t, r.intake, "dst/e", seen...)
			}
			r.pass(t)
			wantTimes(t, r.intake, "dst/e", append(seen, c.missing...))
			if got := r.edge.requests("POST /b/src/e/q") - 1; got > c.queries {
				t.Errorf("queries for records: got %d, want at most %d", got, c.queries)
			}
			for _, rec := range r.intake.records("dst/e") {
				late := slices.Contains(c.missing, rec.Time) && len(seen) > 0 && rec.Time < slices.Max(seen)
				if got := rec.Flags&bridge.Late != 0; got != late {
					t.Errorf("record %d: late %v, want %v", rec.Time, got, late)
				}
			}
		})
	}
}

func mustDeliver(t testing.TB, in *intake, stream string, times ...int64) {
	t.Helper()
	b := bridge.Batch{Stream: stream}
	for _, ts := range times {
		b.Records = append(b.Records, bridge.Record{Time: ts})
	}
	if err := in.Deliver(t.Context(), &b); err != nil {
		t.Fatalf("deliver: %v", err)
	}
}

// The task decides what is compared: entries, prefix, condition, attachments.
func TestPassTask(t *testing.T) {
	r := newRig(t, nil)
	r.edge.settings["entries"] = []string{"acc-*", "!acc-9"}
	r.edge.settings["dst_prefix"] = "/site1/"
	r.edge.settings["when"] = `{"#select_labels":["n"],"&pass":{"$eq":true}}`
	r.edge.write("acc-1", stored{1, "", map[string]string{"pass": "true", "n": "1"}, "a"}, stored{2, "", map[string]string{"pass": "false"}, "b"})
	r.edge.write("acc-1/x", stored{1, "", map[string]string{"pass": "true"}, "a"})
	r.edge.write("acc-1/$meta", stored{7, "", map[string]string{"key": "schema"}, "{}"})
	r.edge.write("acc-9", stored{1, "", map[string]string{"pass": "true"}, "a"})
	r.edge.write("other", stored{1, "", map[string]string{"pass": "true"}, "a"})
	r.pass(t)
	wantTimes(t, r.intake, "dst/site1/acc-1", []int64{1})
	wantTimes(t, r.intake, "dst/site1/acc-1/x", []int64{1})
	wantTimes(t, r.intake, "dst/site1/acc-1/$meta", []int64{7})
	if n := len(r.intake.streams); n != 3 {
		t.Errorf("streams: got %d, want 3", n)
	}
	if got := show(r.intake.records("dst/site1/acc-1"))[0]; got != `1  n=1 pass=true "a"` {
		t.Errorf("record: got %s, want all its labels", got)
	}
}

func TestSince(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Source.Since = "1970-01-01T00:00:01Z" })
	r.edge.fill("e", 999_998, 1_000_002)
	r.pass(t)
	wantTimes(t, r.intake, "dst/e", upTo(1_000_000, 1_000_002))
}

// What the sender is about to send anyway is left to it for one interval.
func TestTail(t *testing.T) {
	r := newRig(t, nil)
	r.edge.fill("e", 1, 10)
	r.pass(t) // the first takes all
	r.edge.fill("e", 11, 20)
	r.pass(t)
	wantTimes(t, r.intake, "dst/e", upTo(1, 10))
	mustDeliver(t, r.intake, "dst/e", 11, 12, 15) // the sender comes, and forgets some
	r.pass(t)
	wantTimes(t, r.intake, "dst/e", append(upTo(1, 10), 11, 12, 15, 13, 14, 16, 17, 18, 19, 20))
}

// Stateful conditions cannot be asked again: nothing is fetched, gaps stay open and visible.
func TestStateful(t *testing.T) {
	for _, when := range []string{`{"$each_t":"10m"}`, `{"$and":[{"$limit":5}]}`, `{"#ctx_before":"4s"}`, `{"&a":{"$gt":1},"$each_n":[3]}`} {
		r := newRig(t, nil)
		r.edge.settings["when"] = when
		r.edge.fill("e", 1, 10)
		if err := r.gaps.NoteGap(t.Context(), bridge.Gap{Stream: "dst/e", From: 2, To: 3}); err != nil {
			t.Fatal(err)
		}
		r.run(t)
		if err := r.Settle(t.Context(), waiting("dst/e", time.Now(), 11)); err != nil {
			t.Errorf("%s: settle: got %v, want nil", when, err)
		}
		r.Release("dst/e")
		if err := r.Pass(t.Context()); err == nil || !strings.Contains(err.Error(), "depends on what it saw before") {
			t.Errorf("%s: pass: got %v, want an error that says why nothing was compared", when, err)
		}
		if r.metrics.ReconcileSuccess.Load() != 0 || r.Last() != nil {
			t.Errorf("%s: got a successful reconcile, want none", when)
		}
		if open, _ := r.gaps.OpenGaps(); len(open) != 1 || len(r.intake.streams) != 0 {
			t.Errorf("%s: got %d open gaps and %d streams, want 1 and 0", when, len(open), len(r.intake.streams))
		}
	}
}

// Rule 6: a gap is closed when what it names has been fetched, also far before the mark; what cannot be fetched stays as a trace.
func TestGaps(t *testing.T) {
	gap := func(stream string, from, to int64) bridge.Gap {
		return bridge.Gap{Stream: stream, From: from, To: to, Reason: "test"}
	}
	for _, c := range []struct {
		name  string
		gap   bridge.Gap
		evict int64
		want  []int64
		left  []bridge.Gap // by stream and range
		lost  []string
	}{
		{"range", gap("dst/e", 5, 7), 0, []int64{5, 6, 7}, nil, nil},
		{"unknown range", gap("dst/e", 0, 1<<63-1), 0, upTo(1, 20), nil, nil},
		{"unknown range, some evicted", gap("dst/e", 0, 1<<63-1), 4, upTo(4, 20), nil, nil},
		{"half evicted", gap("dst/e", 5, 7), 7, []int64{7}, nil, []string{"5..6 -1"}},
		{"evicted", gap("dst/e", 5, 7), 10, nil, nil, []string{"5..7 -1"}},
		{"one record, evicted", gap("dst/e", 5, 5), 10, nil, nil, []string{"5..5 1"}},
		{"never there", gap("dst/e", 25, 27), 10, nil, []bridge.Gap{gap("dst/e", 25, 27)}, nil},
		{"another bucket", gap("else/e", 5, 7), 0, nil, []bridge.Gap{gap("else/e", 5, 7)}, nil},
		{"over max_record", gap("dst/e", 18, 20), 0, []int64{19, 20}, []bridge.Gap{gap("dst/e", 18, 20)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(cfg *Config) { cfg.MaxRecord = 10 })
			r.edge.fill("e", 1, 20)
			r.edge.mu.Lock()
			if c.name == "over max_record" {
				r.edge.entries["e"][17].payload = "more than ten bytes"
			}
			r.edge.mu.Unlock()
			r.edge.evict("e", c.evict)
			r.marks.reconciled = map[string]int64{"dst/e": 1e15}
			if err := r.gaps.NoteGap(t.Context(), c.gap); err != nil {
				t.Fatal(err)
			}
			r.pass(t)
			r.pass(t)
			wantTimes(t, r.intake, "dst/e", c.want)
			open, _ := r.gaps.OpenGaps()
			if !slices.EqualFunc(open, c.left, func(a, b bridge.Gap) bool { return a.Stream == b.Stream && a.From == b.From && a.To == b.To }) {
				t.Errorf("open gaps:\ngot  %+v\nwant %+v", open, c.left)
			}
			if got := r.gaps.lostOf("dst/e"); !slices.Equal(got, c.lost) {
				t.Errorf("lost: got %v, want %v", got, c.lost)
			}
			// What cannot be fetched is tried once, not at each pass, and holds nothing.
			before := r.edge.requests("/q")
			r.pass(t)
			if got := r.edge.requests("/q") - before; got > 1 {
				t.Errorf("queries of a pass without work: got %d, want the one for attachments at most", got)
			}
			r.settlers(t)
			if err := r.Settle(t.Context(), waiting("dst/e", time.Now(), 20)); err != nil {
				t.Errorf("settle: got %v, want nil", err)
			}
			r.Release("dst/e")
		})
	}
}

// What disappears between the comparison and the fetch is listed with its count.
func TestEvicted(t *testing.T) {
	r := newRig(t, nil)
	r.edge.fill("e", 1, 10)
	r.edge.onGet = func() { r.edge.evict("e", 4) }
	r.pass(t)
	wantTimes(t, r.intake, "dst/e", upTo(4, 10))
	wantLost(t, r, "dst/e", "1..3 3")
	if r.total.Lost != 3 || r.total.Fetched != 7 || r.total.Losses != 1 {
		t.Errorf("counted: got %+v, want 3 lost of 10", r.total)
	}
}

// The only record of a gap came in another way before it was evicted: nothing is lost.
func TestGapSeen(t *testing.T) {
	r := newRig(t, nil)
	r.edge.fill("e", 6, 10)
	mustDeliver(t, r.intake, "dst/e", 5)
	if err := r.gaps.NoteGap(t.Context(), bridge.Gap{Stream: "dst/e", From: 5, To: 5, Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	r.pass(t)
	wantLost(t, r, "dst/e")
	if open, _ := r.gaps.OpenGaps(); len(open) != 0 {
		t.Errorf("open gaps: got %+v, want none", open)
	}
}

// A gap that is evicted while it is filled: what is lost is listed once.
func TestEvictedGap(t *testing.T) {
	r := newRig(t, nil)
	r.edge.fill("e", 1, 20)
	mustDeliver(t, r.intake, "dst/e", 1, 2, 20)
	r.marks.reconciled = map[string]int64{"dst/e": 20}
	if err := r.gaps.NoteGap(t.Context(), bridge.Gap{Stream: "dst/e", From: 3, To: 19, Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	r.edge.onGet = sync.OnceFunc(func() {
		r.edge.evict("e", 10)
		r.intake.mu.Lock()
		defer r.intake.mu.Unlock()
		r.intake.before = []error{bridge.ErrClosed}
	})
	if err := r.Pass(t.Context()); err == nil {
		t.Fatal("pass with a closed ledger: got nil, want an error")
	}
	r.pass(t)
	wantLost(t, r, "dst/e", "3..9 -1")
	wantTimes(t, r.intake, "dst/e", append([]int64{1, 2, 20}, upTo(10, 19)...))
	if open, _ := r.gaps.OpenGaps(); len(open) != 0 {
		t.Errorf("open gaps: got %+v, want none", open)
	}
}

// What the quota passed over before anybody asked for it is listed as lost, in one range that grows with the outage.
func TestOvertaken(t *testing.T) {
	r := newRig(t, nil)
	r.edge.fill("e", 1, 10)
	r.pass(t)
	r.edge.fill("e", 11, 30)
	r.pass(t)                                // leaves the newest to the sender, who cannot deliver
	for _, oldest := range []int64{16, 21} { // the outage: nothing can be taken
		r.edge.evict("e", oldest)
		r.intake.before = []error{bridge.ErrClosed}
		if err := r.Pass(t.Context()); err == nil {
			t.Fatalf("pass with a closed ledger: got nil, want an error")
		}
		wantLost(t, r, "dst/e", fmt.Sprintf("11..%d -1", oldest-1))
	}
	r.pass(t)
	r.pass(t)
	wantLost(t, r, "dst/e", "11..20 -1")
	wantTimes(t, r.intake, "dst/e", append(upTo(1, 10), upTo(21, 30)...))
}

// The same while a pass is under way: what it has not read yet is gone when it gets there, in this entry and in one that it listed as well.
func TestPassedBy(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.Source.Parallel = 1 })
	for _, entry := range []string{"d", "e"} {
		r.edge.fill(entry, 1, 10)
	}
	r.pass(t)
	for _, entry := range []string{"d", "e"} {
		r.edge.fill(entry, 11, 300)
	}
	r.pass(t)
	r.edge.onGet = sync.OnceFunc(func() { r.edge.evict("d", 150); r.edge.evict("e", 301); r.edge.fill("e", 301, 310) })
	r.pass(t)
	wantLost(t, r, "dst/d", "11..85 75", "86..149 -1") // a page of it was listed
	wantLost(t, r, "dst/e", "11..300 -1")
	if got := r.intake.times("dst/d"); !slices.Equal(got[len(got)-151:], upTo(150, 300)) {
		t.Errorf("taken: got %v, want 150..300 at the end", got)
	}
}

// The list of all entries is asked for once by a pass that has nothing to fetch, not once more for each entry.
func TestPassLists(t *testing.T) {
	r := newRig(t, nil)
	entries := []string{"a", "b", "c", "d"}
	for _, entry := range entries {
		r.edge.fill(entry, 1, 10)
	}
	r.pass(t)
	for _, entry := range entries {
		r.edge.fill(entry, 11, 20)
		mustDeliver(t, r.intake, "dst/"+entry, upTo(11, 20)...)
	}
	lists := func() int { return r.edge.requests("GET /b/src") - r.edge.requests("GET /b/src/") }
	before := lists()
	r.pass(t)
	if got := lists() - before; got != 1 {
		t.Errorf("lists: got %d, want 1", got)
	}
	if mark, _ := r.marks.Reconciled("dst/d"); mark != 20 {
		t.Errorf("mark: got %d, want 20", mark)
	}
}

// Gaps of another bucket are another input's: nothing is said or tried.
func TestPassGapsOfOthers(t *testing.T) {
	r := newRig(t, nil)
	if err := r.gaps.NoteGap(t.Context(), bridge.Gap{Stream: "else/e", From: 5, To: 7}); err != nil {
		t.Fatal(err)
	}
	r.pass(t)
	if n := len(r.streams); n != 0 {
		t.Errorf("streams that were reconciled: got %d, want 0", n)
	}
}

func wantLost(t *testing.T, r *rig, stream string, want ...string) {
	t.Helper()
	if got := r.gaps.lostOf(stream); !slices.Equal(got, want) {
		t.Errorf("lost of %s: got %v, want %v", stream, got, want)
	}
}

// A pass that fails moves no mark beyond what it did, and the next one completes it.
func TestPassFails(t *testing.T) {
	for _, c := range []struct {
		name string
		plan func(*rig)
	}{
		{"task unreadable", func(r *rig) { r.edge.failPath = "GET /replications/task" }},
		{"list unreadable", func(r *rig) { r.edge.failPath = "GET /b/src" }},
		{"query refused", func(r *rig) { r.edge.failPath = "POST /b/src/e/q" }},
		{"heads unreadable", func(r *rig) { r.edge.failPath = "HEAD /b/src/e/batch" }},
		{"records unreadable", func(r *rig) { r.edge.failPath = "GET /b/src/e/batch" }},
		{"ledger fails", func(r *rig) { r.intake.before = []error{nil, errors.New("disk gone")} }},
		{"ledger fails after storing", func(r *rig) { r.intake.after = []error{nil, errors.New("disk gone")} }},
		{"wrong token", func(r *rig) { r.edge.token = "secret" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.edge.fill("e", 1, 200)
			c.plan(r)
			if err := r.Pass(t.Context()); err == nil {
				t.Fatalf("pass: got nil, want an error")
			}
			if _, marked := r.marks.Reconciled("dst/e"); marked || r.metrics.ReconcileSuccess.Load() != 0 {
				t.Errorf("mark after a failed pass: got one, want none")
			}
			r.edge.token = ""
			r.pass(t)
			wantTimes(t, r.intake, "dst/e", upTo(1, 200))
		})
	}
}

// A ledger that is full for a moment is waited for.
func TestPassFull(t *testing.T) {
	r := newRig(t, nil)
	r.edge.fill("e", 1, 100)
	r.intake.before = []error{bridge.ErrFull, bridge.ErrRetry, bridge.ErrUnknown}
	r.pass(t)
	wantTimes(t, r.intake, "dst/e", upTo(1, 100))
	if len(r.intake.before) != 0 {
		t.Errorf("planned faults that never fired: %d", len(r.intake.before))
	}
}

func TestMatchEntry(t *testing.T) {
	for _, c := range []struct {
		entry, pattern string
		want           bool
	}{
		{"acc-a", "acc-*", true}, {"acc-a/sub", "acc-*", true}, {"acc-a", "/acc-a", true}, {"acc-a", "acc", false},
		{"a/b/c", "a/*/c", true}, {"a/b/c", "a/*", false}, {"a/b/c", "a/**", true}, {"a/c", "a/**/c", true}, {"a/b/b/c", "a/**/c", true},
		{"a/x-1-y", "a/x*y", true}, {"a/x-1-z", "a/x*y", false}, {"sensor-1", "*-1", true}, {"a/sensor-1", "*-1", false}, {"abc", "a*b*c", true},
		{"ac", "a*b*c", false}, {"", "*", true},
		{"a", "**", false}, // as the server has it: without a slash only the last * is one
	} {
		if got := matchEntry(c.entry, c.pattern); got != c.want {
			t.Errorf("matchEntry(%q, %q): got %v, want %v", c.entry, c.pattern, got, c.want)
		}
	}
}

func TestForQuery(t *testing.T) {
	for _, c := range []struct{ when, query, stateful string }{
		{`{"&z":{"$eq":1},"&a":{"$eq":"2"}}`, `{"&z":{"$eq":1},"&a":{"$eq":"2"}}`, "[]"},
		{`{"#ext":{},"&a":true}`, `{"&a":true}`, "[]"},
		{`{"#batch_records":5}`, ``, "[]"},
		{`{"#ctx_before":"4s","&status":{"$eq":0},"$has":"prod_speed","$each_t":"10m"}`, `{"&status":{"$eq":0},"$has":"prod_speed","$each_t":"10m"}`, "[#ctx_before $each_t]"},
	} {
		query, stateful, err := forQuery([]byte(c.when))
		if err != nil || string(query) != c.query || fmt.Sprint(stateful) != c.stateful {
			t.Errorf("%s: got %s %v %v, want %s %s", c.when, query, stateful, err, c.query, c.stateful)
		}
	}
	for _, bad := range []string{`[]`, `{"a"`, `{"a":1`, `"x"`} {
		if _, _, err := forQuery([]byte(bad)); err == nil {
			t.Errorf("%s: got nil, want an error", bad)
		}
	}
}

func TestInspect(t *testing.T) {
	for _, c := range []struct {
		name string
		plan func(*edge, *Config)
		want []string // one word of each warning
	}{
		{"fine", func(*edge, *Config) {}, nil},
		{"no source", func(_ *edge, c *Config) { c.Source.URL = "" }, []string{"no source"}},
		{"old", func(e *edge, _ *Config) { e.version = "1.19.4" }, []string{"1.19.4"}},
		{"older", func(e *edge, _ *Config) { e.version = "1.9.10" }, []string{"1.9.10"}},
		{"other bucket", func(_ *edge, c *Config) { c.Bucket = "x" }, []string{"sends to bucket dst"}},
		{"stateful", func(e *edge, _ *Config) { e.settings["when"] = `{"$each_t":"10m"}` }, []string{"$each_t"}},
		{"surprising", func(e *edge, _ *Config) { e.settings["when"] = `{"&stable":{"$eq":"true"}}` }, []string{`when: {"&stable":{"$eq":"true"}}: a surprise`}},
	} {
		e := newEdge(t)
		cfg := Default()
		cfg.Source.URL, cfg.Source.Replication = e.server.URL, "task"
		c.plan(e, &cfg)
		got, err := Inspect(t.Context(), cfg, surprise)
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%s: got %q %v, want %q", c.name, got, err, c.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("%s: got %q, want it to name %q", c.name, got[i], c.want[i])
			}
		}
	}
	cfg := Default()
	cfg.Source.URL, cfg.Source.Replication = newEdge(t).server.URL, "none"
	if _, err := Inspect(t.Context(), cfg, surprise); !errors.Is(err, errNotFound) {
		t.Errorf("unknown task: got %v, want not found", err)
	}
}

// surprise is surprised by a text.
func surprise(when []byte) ([]string, error) {
	if strings.Contains(string(when), `"true"`) {
		return []string{string(when) + ": a surprise"}, nil
	}
	return nil, nil
}

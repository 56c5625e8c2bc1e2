package reduct

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/sluicebridge/sluice/bridge"
)

// want checks an answer's status.
func want(t *testing.T, resp *http.Response, status int) {
	t.Helper()
	if resp.StatusCode != status {
		t.Fatalf("answer: got %d (%s), want %d", resp.StatusCode, resp.Header.Get("x-reduct-error"), status)
	}
	if got := resp.Header.Get("x-reduct-api"); got != "1.21" && status != 503 {
		t.Errorf("x-reduct-api: got %q, want 1.21", got)
	}
}

// What the real sender sends arrives whole, in order of time.
func TestCaptures(t *testing.T) {
	const base = "170000000000"
	seq := func(i int) string { return fmt.Sprintf(`%s%04d text/plain n=%d "payload-%d"`, base, 10+i, i, i) }
	for _, c := range []struct {
		file, stream string
		n            int
		first        []string
	}{
		{"plain.http", "to-hono/sensor-1", 5, []string{base + `0000 application/json rpm=1480 seq=0 stable=true status=0 "{\"seq\":0}"`}},
		{"slashes.http", "to-hono/camera/front", 1, []string{base + `0001 image/jpeg "jpg"`}},
		{"meta.http", "to-hono/sensor-1/$meta", 1, []string{base + `0001 application/json key=schema "{\"unit\":\"g\"}"`}},
		{"empty.http", "to-hono/sensor-1", 3, []string{base + `6000 text/plain ""`, base + `7000 application/octet-stream a=1 ""`, base + `8000 application/octet-stream "x"`}},
		{"quoted.http", "to-hono/quoted", 2, []string{base + `0001 text/plain a=x,y b=say "hi" c=k=v "q1"`}},
		{"dst-prefix.http", "to-hono/site1/sensor-1", 3, nil},
		{"zstd.http", "to-hono/sensor-1", 85, []string{base + `0000 application/json rpm=1480 seq=0 stable=true status=0 56 bytes`}},
		{"gzip.http", "to-hono/sensor-1", 85, []string{base + `0000 application/json rpm=1480 seq=0 stable=true status=0 56 bytes`}},
		{"double.http", "to-hono/dbl", 3, []string{seq(0), base + `0011 text/plain n=one "payload-1"`, seq(2)}},
		{"metadata.http.gz", "to-hono/meta", 80, nil},
	} {
		t.Run(c.file, func(t *testing.T) {
			s := serve(t, testConfig(), nil)
			want(t, s.send(capture(t, c.file)), 200)
			rs := s.intake.records(c.stream)
			if len(rs) != c.n || !slices.IsSortedFunc(rs, func(a, b bridge.Record) int { return int(a.Time - b.Time) }) {
				t.Fatalf("%s: got %d records %v, want %d in order", c.stream, len(rs), s.intake.times(c.stream), c.n)
			}
			if got := show(rs)[:len(c.first)]; !slices.Equal(got, c.first) {
				t.Errorf("records:\ngot  %q\nwant %q", got, c.first)
			}
		})
	}
}

// 80 records of 100 kB in one request, as the sender cuts them, and the next request on the same connection.
func TestLargeBatch(t *testing.T) {
	s := serve(t, testConfig(), nil)
	var body bytes.Buffer
	for i := range 80 {
		body.Write(bytes.Repeat(fmt.Appendf(nil, "%02d", i), 50000))
	}
	c := s.dial()
	want(t, c.send(append(capture(t, "large-head.http"), body.Bytes()...)), 200)
	want(t, c.send(capture(t, "plain.http")), 200)
	rs := s.intake.records("to-hono/large")
	if len(rs) != 80 {
		t.Fatalf("got %d records, want 80", len(rs))
	}
	for i, r := range rs {
		if len(r.Payload) != 100000 || string(r.Payload[:2]) != fmt.Sprintf("%02d", i) || string(r.Payload[99998:]) != fmt.Sprintf("%02d", i) {
			t.Errorf("record %d: got %d bytes beginning %q, want 100000 of %02d", i, len(r.Payload), r.Payload[:2], i)
		}
	}
}

// The questions that a sender asks before the first batch and after each 503.
func TestBucket(t *testing.T) {
	cfg := testConfig()
	cfg.Bucket, cfg.Token = "to-hono", "s3cret"
	auth, wrong := "authorization: Bearer s3cret", "authorization: Bearer nonsense"
	s := serve(t, cfg, nil)
	for _, c := range []struct {
		name   string
		raw    []byte
		status int
	}{
		{"captured GET", capture(t, "bucket-get.http"), 200},
		{"captured POST: there already", capture(t, "bucket-post.http"), 409},
		{"HEAD", rawRequest("HEAD", "/api/v1/b/to-hono", "", auth), 200},
		{"GET, wrong token", rawRequest("GET", "/api/v1/b/to-hono", "", wrong), 401},
		{"GET, no token", rawRequest("GET", "/api/v1/b/to-hono", ""), 401},
		{"GET, unknown bucket", rawRequest("GET", "/api/v1/b/other", "", auth), 404},
		{"POST, unknown bucket", rawRequest("POST", "/api/v1/b/other", "", auth), 503},
		{"POST, wrong token", rawRequest("POST", "/api/v1/b/to-hono", "", wrong), 503},
		{"batch, wrong token", rawRequest("POST", "/api/v1/b/to-hono/e/batch", "x", wrong, "x-reduct-time-1: 1,a"), 503},
		{"batch, unknown bucket", rawRequest("POST", "/api/v1/b/other/e/batch", "x", auth, "x-reduct-time-1: 1,a"), 503},
		{"PATCH, unknown bucket", rawRequest("PATCH", "/api/v1/b/other/e/batch", "", auth, "x-reduct-time-1: 0,,a=b"), 503},
		{"alive", rawRequest("HEAD", "/api/v1/alive", ""), 200},
		{"info", rawRequest("GET", "/api/v1/info", ""), 200},
		{"GET of something else", rawRequest("GET", "/api/v1/tokens", "", auth), 404},
		{"a protocol of tomorrow", rawRequest("POST", "/api/v1/io/to-hono/write", "xyz", auth), 503},
		{"not the root", rawRequest("POST", "/proxy/api/v1/b/to-hono/e/batch", "x", auth, "x-reduct-time-1: 1,a"), 503},
	} {
		if got := s.send(c.raw).StatusCode; got != c.status {
			t.Errorf("%s: got %d, want %d", c.name, got, c.status)
		}
	}
	if n := len(s.intake.streams); n != 0 {
		t.Errorf("streams taken in: got %d, want 0", n)
	}
}

// Rule 1: 200 only when it is ours; a failure that may pass is waited for a little, then 503, and the sender's repetition is not taken
// twice.
func TestKept(t *testing.T) {
	full := make([]error, 100)
	for i := range full {
		full[i] = bridge.ErrFull
	}
	for _, c := range []struct {
		name          string
		before, after []error
		status        int // of the first request; the second is always 200
	}{
		{"done", nil, nil, 200},
		{"full for a moment", full[:2], nil, 200},
		{"full", full, nil, 503},
		{"append failed", []error{errors.New("disk gone")}, nil, 503},
		{"paused", slices.Repeat([]error{bridge.ErrRetry}, 100), nil, 503},
		{"unknown, then found stored", nil, []error{bridge.ErrUnknown}, 200},
		{"failed after it was stored", nil, []error{errors.New("disk gone")}, 503},
		{"closed", []error{bridge.ErrClosed}, nil, 503},
		{"corrupt", []error{bridge.ErrCorrupt}, nil, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, testConfig(), nil)
			s.intake.before, s.intake.after = c.before, c.after
			resp := s.send(capture(t, "plain.http"))
			want(t, resp, c.status)
			if c.status == 503 && resp.Header.Get("x-reduct-error") == "" {
				t.Errorf("x-reduct-error: got none, want a reason")
			}
			s.intake.mu.Lock()
			fired := s.intake.calls > 0
			s.intake.before, s.intake.after = nil, nil
			s.intake.mu.Unlock()
			if !fired {
				t.Fatalf("the planned fault never fired")
			}
			want(t, s.send(capture(t, "plain.http")), 200)
			if got := len(s.intake.times("to-hono/sensor-1")); got != 5 {
				t.Errorf("records: got %d, want 5", got)
			}
			if n := len(s.gaps.all); n != 0 {
				t.Errorf("gaps: got %d, want 0", n)
			}
			if got := s.target.part.Metrics.BatchResponses.At(fmt.Sprint(c.status)).Load(); got < 1 {
				t.Errorf("batch_responses{%d}: got %d, want at least 1", c.status, got)
			}
		})
	}
}

// Rule 6: what will never fit is forgotten by the sender only after a durable gap says so; if that cannot be written, it is kept.
func TestRefused(t *testing.T) {
	small := testConfig()
	small.MaxRecord, small.MaxBody = 100, 150
	for _, c := range []struct {
		name     string
		cfg      Config
		raw      []byte
		rejected bool
		from, to int64
	}{
		{"malformed label", testConfig(), batchOf("abc", "x-reduct-time-7: 1,a,b", "x-reduct-time-5: 2,a"), false, 5, 7},
		{"malformed time", testConfig(), batchOf("abc", "x-reduct-time-7x: 1,a"), false, 0, 1<<63 - 1},
		{"no records", testConfig(), batchOf("abc"), false, 0, 1<<63 - 1},
		{"body longer", testConfig(), batchOf("abcd", "x-reduct-time-7: 3,a"), false, 7, 7},
		{"body twice as long, other bytes", testConfig(), batchOf("abcabd", "x-reduct-time-7: 3,a"), false, 7, 7},
		{"body 86 times as long", testConfig(), batchOf(strings.Repeat("abc", 86), "x-reduct-time-7: 3,a"), false, 7, 7},
		{"body shorter", testConfig(), batchOf("ab", "x-reduct-time-7: 3,a"), false, 7, 7},
		{"over max_body", small, batchOf(strings.Repeat("x", 160), "x-reduct-time-7: 80,a", "x-reduct-time-9: 80,a"), false, 7, 9},
		{"unknown encoding", testConfig(), batchOf("abc", "x-reduct-time-7: 3,a", "content-encoding: br"), false, 7, 7},
		{"not gzip", testConfig(), batchOf("abc", "x-reduct-time-7: 3,a", "content-encoding: gzip"), false, 7, 7},
		{"not zstd", testConfig(), batchOf("abc", "x-reduct-time-7: 3,a", "content-encoding: zstd"), false, 7, 7},
		{"zstd bomb", testConfig(), batchOf(zstded(1<<26), "x-reduct-time-7: 3,a", "content-encoding: zstd"), false, 7, 7},
		{"gzip bomb", testConfig(), batchOf(gzipped(1<<26), "x-reduct-time-7: 3,a", "content-encoding: gzip"), false, 7, 7},
		{"modules reject it", testConfig(), batchOf("abc", "x-reduct-time-7: 3,a"), true, 7, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &holder{}
			s := serve(t, c.cfg, h)
			if c.rejected {
				s.intake.before = []error{bridge.ErrRejected, bridge.ErrRejected}
			}
			s.gaps.fail = errors.New("disk full")
			want(t, s.send(c.raw), 503)
			if len(h.noted) != 0 || len(s.gaps.all) != 0 {
				t.Fatalf("gaps while they cannot be written: got %v %v, want none", h.noted, s.gaps.all)
			}
			s.gaps.fail = nil
			want(t, s.send(c.raw), 422)
			if len(s.gaps.all) != 1 || len(h.noted) != 1 || h.noted[0] != "b/e" {
				t.Fatalf("gaps: got %v, holder told %v, want one each", s.gaps.all, h.noted)
			}
			if g := s.gaps.all[0]; g.Stream != "b/e" || g.From != c.from || g.To != c.to || g.Reason == "" || g.Noted.IsZero() {
				t.Errorf("gap: got %+v, want b/e %d..%d with a reason", g, c.from, c.to)
			}
			if n := len(s.intake.streams); n != 0 {
				t.Errorf("streams taken in: got %d, want 0", n)
			}
		})
	}
}

func batchOf(body string, headers ...string) []byte {
	return rawRequest("POST", "/api/v1/b/b/e/batch", body, headers...)
}

func zstded(n int) string {
	var b bytes.Buffer
	w, _ := zstd.NewWriter(&b)
	_, _ = w.Write(make([]byte, n))
	_ = w.Close()
	return b.String()
}

func gzipped(n int) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(make([]byte, n))
	_ = w.Close()
	return b.String()
}

// A record over max_record is left where it is, with a gap as reference; the rest of its batch goes on.
func TestOversized(t *testing.T) {
	cfg := testConfig()
	cfg.MaxRecord, cfg.MaxBody = 100, 200
	raw := batchOf("a"+strings.Repeat("x", 101)+"c", "x-reduct-time-1: 1,a", "x-reduct-time-2: 101,a", "x-reduct-time-3: 1,a")
	s := serve(t, cfg, nil)
	c := s.dial()
	s.gaps.fail = errors.New("disk full")
	want(t, c.send(raw), 503)
	s.gaps.fail = nil
	want(t, c.send(raw), 200)
	if got, want := show(s.intake.records("b/e")), []string{`1 a "a"`, `3 a "c"`}; !slices.Equal(got, want) {
		t.Errorf("records: got %q, want %q", got, want)
	}
	if len(s.gaps.all) != 1 || s.gaps.all[0].From != 2 || s.gaps.all[0].To != 2 || !strings.Contains(s.gaps.all[0].Reason, "101 bytes over max_record") {
		t.Errorf("gaps: got %+v, want one of record 2", s.gaps.all)
	}
}

// A record that the log names once for its write and once for each update stands as often in the body.
func TestRepeated(t *testing.T) {
	for _, c := range []struct {
		name, body string
		headers    []string
		want       []string
	}{
		{"all twice", "aabbbb", []string{"x-reduct-time-1: 1,t", "x-reduct-time-2: 2,t"}, []string{`1 t "a"`, `2 t "bb"`}},
		{"one three times", "abbbc", []string{"x-reduct-time-1: 1,t", "x-reduct-time-2: 1,t", "x-reduct-time-3: 1,t"}, []string{`1 t "a"`, `2 t "b"`, `3 t "c"`}},
		{"85 times", strings.Repeat("abc", 85), []string{"x-reduct-time-1: 3,t"}, []string{`1 t "abc"`}},
		{"neighbours alike", "xxx", []string{"x-reduct-time-1: 1,t", "x-reduct-time-2: 1,t"}, []string{`1 t "x"`, `2 t "x"`}},
		{"beside an empty one", "aa", []string{"x-reduct-time-1: 1,t", "x-reduct-time-2: 0,t"}, []string{`1 t "a"`, `2 t ""`}},
	} {
		s := serve(t, testConfig(), nil)
		want(t, s.send(batchOf(c.body, c.headers...)), 200)
		if got := show(s.intake.records("b/e")); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// PATCH: what is wanted whole is answered 404, each record on its own; the POST that follows passes once.
func TestUpdate(t *testing.T) {
	for _, c := range []struct {
		onUpdate string
		first    bool // records are known when the PATCH comes
		errors   int
		records  int // taken after the PATCH and the POST
	}{
		{"resend", true, 2, 4},
		{"resend", false, 2, 2},
		{"ignore", true, 0, 2},
		{"ignore", false, 2, 2},
	} {
		t.Run(fmt.Sprintf("%s, known %v", c.onUpdate, c.first), func(t *testing.T) {
			cfg := testConfig()
			cfg.OnUpdate = c.onUpdate
			s := serve(t, cfg, nil)
			path := "/api/v1/b/b/e/batch"
			if c.first {
				want(t, s.send(rawRequest("POST", path, "xy", "x-reduct-time-1: 1,a,n=old", "x-reduct-time-2: 1,a,n=old")), 200)
			}
			patch := rawRequest("PATCH", path, "", "x-reduct-time-1: 0,,n=new", "x-reduct-time-2: 0,,n=new")
			resp := s.send(patch)
			want(t, resp, 200)
			n := 0
			for _, ts := range []string{"1", "2"} {
				if v := resp.Header.Get("x-reduct-error-" + ts); strings.HasPrefix(v, "404,") {
					n++
				}
			}
			if n != c.errors {
				t.Errorf("records answered 404: got %d, want %d", n, c.errors)
			}
			post := rawRequest("POST", path, "xy", "x-reduct-time-1: 1,a,n=new", "x-reduct-time-2: 1,a,n=new")
			want(t, s.send(post), 200)
			want(t, s.send(post), 200)
			if got := len(s.intake.times("b/e")); got != c.records {
				t.Errorf("records: got %d, want %d", got, c.records)
			}
			if resp := s.send(patch); c.onUpdate == "resend" && resp.Header.Get("x-reduct-error-1") != "" {
				t.Errorf("the same PATCH again: got an error for record 1, want none")
			}
		})
	}
	t.Run("labels that are taken back", func(t *testing.T) {
		s := serve(t, testConfig(), nil)
		old, path := "x-reduct-time-1: 1,a,n=old", "/api/v1/b/b/e/batch"
		want(t, s.send(rawRequest("POST", path, "x", old)), 200)
		same := s.send(rawRequest("PATCH", path, "", "x-reduct-time-1: 0,,n=old"))
		if got := same.Header.Get("x-reduct-error-1"); got != "" {
			t.Errorf("PATCH with the labels it was taken with: got %q, want no error", got)
		}
		s.send(rawRequest("PATCH", path, "", "x-reduct-time-1: 0,,n=new"))
		want(t, s.send(rawRequest("POST", path, "x", "x-reduct-time-1: 1,a,n=new")), 200)
		back := s.send(rawRequest("PATCH", path, "", "x-reduct-time-1: 0,,n=old"))
		if got := back.Header.Get("x-reduct-error-1"); !strings.HasPrefix(got, "404,") {
			t.Errorf("PATCH back to the first labels: got %q, want 404", got)
		}
	})
	t.Run("seen with other labels", func(t *testing.T) {
		s := serve(t, testConfig(), nil)
		path := "/api/v1/b/b/e/batch"
		want(t, s.send(rawRequest("POST", path, "x", "x-reduct-time-1: 1,a,n=old")), 200)
		want(t, s.send(rawRequest("POST", path, "x", "x-reduct-time-1: 1,a,n=new")), 200) // not taken: seen
		resp := s.send(rawRequest("PATCH", path, "", "x-reduct-time-1: 0,,n=new"))
		if got := resp.Header.Get("x-reduct-error-1"); !strings.HasPrefix(got, "404,") {
			t.Errorf("PATCH with labels that never arrived: got %q, want 404", got)
		}
	})
	t.Run("ledger full", func(t *testing.T) {
		s := serve(t, testConfig(), nil)
		s.intake.before = slices.Repeat([]error{bridge.ErrFull}, 100)
		want(t, s.send(capture(t, "patch-known.http")), 503)
	})
	t.Run("malformed", func(t *testing.T) {
		s := serve(t, testConfig(), nil)
		want(t, s.send(rawRequest("PATCH", "/api/v1/b/b/e/batch", "", "x-reduct-time-1: 0,,n")), 422)
		if len(s.gaps.all) != 1 {
			t.Errorf("gaps: got %d, want 1", len(s.gaps.all))
		}
	})
}

// Rule 7: each batch is shown to the holder with the time its connection was accepted; what the holder does not settle is kept.
func TestHeld(t *testing.T) {
	h := &holder{errs: []error{bridge.ErrRetry}}
	s := serve(t, testConfig(), h)
	want(t, s.send(capture(t, "plain.http")), 503)
	if got := len(s.intake.times("to-hono/sensor-1")); got != 0 {
		t.Fatalf("records before the reconcile: got %d, want 0", got)
	}
	want(t, s.send(capture(t, "plain.http")), 200)
	if got, want := h.asked, slices.Repeat([]string{"to-hono/sensor-1<=1700000000004000"}, 2); !slices.Equal(got, want) {
		t.Errorf("asked: got %q, want %q", got, want)
	}
}

// A sender repeats itself: what is wrong with a stream is said now and then, and does not keep what is wrong with another from being said.
func TestLoud(t *testing.T) {
	var l loud
	now := time.Now()
	for i, c := range []struct {
		what  said
		after time.Duration
		want  bool
	}{
		{said{"full", "b/1"}, 0, true}, {said{"full", "b/1"}, time.Second, false}, {said{"full", "b/2"}, time.Second, true},
		{said{"wrong", "b/1"}, time.Second, true}, {said{"full", "b/1"}, loudAgain, true},
	} {
		if got := l.due(c.what, now.Add(c.after)); got != c.want {
			t.Errorf("%d: %v after %v: got %v, want %v", i, c.what, c.after, got, c.want)
		}
	}
	told := 0
	for i := range 10 * maxSaid {
		if l.due(said{"full", fmt.Sprint("many/", i)}, now.Add(loudAgain)) {
			told++
		}
	}
	if told > maxSaid || len(l.last) > maxSaid+1 {
		t.Errorf("%d streams: got %d messages and %d remembered, want %d at most", 10*maxSaid, told, len(l.last), maxSaid)
	}
	if !l.due(said{"full", "b/1"}, now.Add(3*loudAgain)) || len(l.last) != 1 {
		t.Errorf("after a while: got nothing said or %d remembered, want all others forgotten", len(l.last))
	}
}

// At shutdown what was read is finished, what still comes is kept with its sender, and new connections are refused.
func TestShutdown(t *testing.T) {
	s := serve(t, testConfig(), nil)
	idle, busy := s.dial(), s.dial()
	want(t, idle.send(capture(t, "bucket-get.http")), 200)
	want(t, busy.send(capture(t, "bucket-get.http")), 200)
	s.intake.block = make(chan struct{})
	answered := make(chan *http.Response, 1)
	go func() { answered <- busy.send(capture(t, "plain.http")) }()
	<-s.intake.entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	<-s.target.stopped

	resp := idle.send(capture(t, "slashes.http"))
	want(t, resp, 503)
	if !resp.Close {
		t.Errorf("answer at shutdown: got keep-alive, want Connection: close")
	}
	close(s.intake.block)
	want(t, <-answered, 200)
	_ = busy.Close()
	if err := <-stopped; err != nil {
		t.Errorf("serve: got %v, want nil", err)
	}
	if got := len(s.intake.times("to-hono/sensor-1")); got != 5 {
		t.Errorf("records: got %d, want 5", got)
	}
	if resp, err := http.Get("http://" + s.addr); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		t.Errorf("connection after the end: got an answer, want it refused")
	}
}

package site

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// drain sends until the logs are empty, and fails the test when that takes unreasonably long or a planned fault has not happened.
func drain(t *testing.T, e *edge) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := e.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if n := e.Unfired(); n > 0 {
		t.Fatalf("%d planned faults did not happen", n)
	}
}

func equal(t *testing.T, what string, got, want []int64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// What the first of two batches ends with decides whether its ten records arrive, and how often.
func TestWhatIsForgotten(t *testing.T) {
	all, second := sequence(0, 20), sequence(10, 20)
	for _, c := range []struct {
		name      string
		first     func(http.ResponseWriter, request) []int64
		fault     Fault
		arrived   []int64
		forgotten []int64
		kept      int
	}{
		{"200", status(200), NoFault, all, nil, 0},
		{"204", status(204), NoFault, all, nil, 0},
		{"503", status(503), NoFault, all, nil, 10},
		{"429", status(429), NoFault, all, nil, 10},
		{"502", status(502), NoFault, all, nil, 10},
		{"504", status(504), NoFault, all, nil, 10},
		{"400", status(400), NoFault, second, sequence(0, 10), 0},
		{"401", status(401), NoFault, second, sequence(0, 10), 0},
		{"404", status(404), NoFault, second, sequence(0, 10), 0},
		{"408", status(408), NoFault, second, sequence(0, 10), 0},
		{"422", status(422), NoFault, second, sequence(0, 10), 0},
		{"431", status(431), NoFault, second, sequence(0, 10), 0},
		{"500", status(500), NoFault, second, sequence(0, 10), 0},
		{"507", status(507), NoFault, second, sequence(0, 10), 0},
		{"reset after the request", reset, NoFault, second, sequence(0, 10), 0},
		{"errors of single records", refuseOdd, NoFault, append([]int64{0, 2, 4, 6, 8}, second...), []int64{1, 3, 5, 7, 9}, 0},
		{"cut in mid-request", nil, CutRequest, second, sequence(0, 10), 0},
		{"503 unread", status(503), CutAnswer, second, sequence(0, 10), 0},
		{"200 unread", status(200), CutAnswer, all, sequence(0, 10), 0},
		{"edge killed in mid-request", nil, KillRequest, all, nil, 0},
		{"edge killed before it read 200", status(200), KillAnswer, append(sequence(0, 10), all...), nil, 0},
		{"edge killed before it read 503", status(503), KillAnswer, all, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			far := newTarget(t)
			if c.first != nil {
				far.script = append(far.script, c.first)
			}
			e := newEdge(t, far.URL, nil)
			if c.fault != NoFault {
				e.Plan(c.fault, 0)
			}
			e.write("acc-1", 0, 20)
			drain(t, e)
			equal(t, "arrived", far.took("acc-1"), c.arrived)
			equal(t, "forgotten", e.of(Forgotten), c.forgotten)
			if n := e.Counters(); int(n.Kept) != c.kept || int(n.Sent+n.Forgotten) != 20 {
				t.Errorf("kept %d times, want %d; sent %d and forgotten %d, want 20 together", n.Kept, c.kept, n.Sent, n.Forgotten)
			}
		})
	}
}

func TestNoConnectionKeeps(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	e := newEdge(t, "http://"+listener.Addr().String(), nil)
	e.write("acc-1", 0, 3)
	for range 2 {
		state, err := e.Pass(t.Context())
		if err != nil || state != Unavailable {
			t.Fatalf("pass without a target: %v %v, want Unavailable", state, err)
		}
	}
	if n := e.Pending(); n != 3 {
		t.Errorf("%d pending, want 3", n)
	}
}

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []int
		want    string // methods of the probes until the batch went
	}{
		{"there", nil, "GET"},
		{"not there, made", []int{404, 200}, "GET POST"},
		{"not there, made by another", []int{404, 409, 200}, "GET POST GET"},
		{"unauthorized keeps and asks again", []int{401, 200}, "GET GET"},
		{"unavailable keeps and asks again", []int{503, 500, 200}, "GET GET GET"},
		{"may not be made", []int{404, 403, 200}, "GET POST GET"},
	} {
		t.Run(c.name, func(t *testing.T) {
			far := newTarget(t)
			far.probe = c.answers
			e := newEdge(t, far.URL, nil)
			e.write("acc-1", 0, 3)
			drain(t, e)
			var methods []string
			for _, r := range far.got {
				if len(r.times) == 0 {
					methods = append(methods, r.method)
				}
			}
			if got := strings.Join(methods, " "); got != c.want {
				t.Errorf("probes %s, want %s", got, c.want)
			}
			equal(t, "arrived", far.took("acc-1"), sequence(0, 3))
		})
	}
}

func TestIdleConnectionClosedByTheTarget(t *testing.T) {
	for _, c := range []struct {
		name      string
		unused    time.Duration
		forgotten []int64
	}{
		{"long before: noticed, nothing lost", time.Second, nil},
		{"just as a batch is sent: forgotten", 0, sequence(1, 2)},
	} {
		t.Run(c.name, func(t *testing.T) {
			far := newTarget(t)
			e := newEdge(t, far.URL, nil)
			e.write("acc-1", 0, 1)
			if _, err := e.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
			far.CloseClientConnections()
			e.conn.lastUsed = time.Now().Add(time.Minute - c.unused)
			if c.unused > 0 {
				e.conn.lastUsed = time.Now().Add(-c.unused)
			}
			e.write("acc-1", 1, 2)
			drain(t, e)
			equal(t, "forgotten", e.of(Forgotten), c.forgotten)
		})
	}
}

// relabel updates the labels of records, as a PATCH at the edge store does.
func (e *edge) relabel(entry string, times ...int64) {
	for _, at := range times {
		e.Relabel(entry, at, []bridge.Label{{Name: []byte("rpm"), Value: []byte("1600")}})
		e.Notify(entry, at, true)
	}
}

func TestUpdates(t *testing.T) {
	for _, c := range []struct {
		name      string
		script    []func(http.ResponseWriter, request) []int64
		requests  string
		forgotten []int64
	}{
		{"known: PATCH, then POST for the new ones", nil, "PATCH[1 2] POST[5 6]", nil},
		{"some unknown: these are POSTed whole", []func(http.ResponseWriter, request) []int64{refuseOdd}, "PATCH[1 2] POST[2 5 6]", nil},
		{"PATCH 404: all are POSTed", []func(http.ResponseWriter, request) []int64{status(404)}, "PATCH[1 2] POST[1 2 5 6]", nil},
		{"PATCH 503 keeps all", []func(http.ResponseWriter, request) []int64{status(503)}, "PATCH[1 2] PATCH[1 2] POST[5 6]", nil},
		{"PATCH 500 forgets all, the unsent writes too", []func(http.ResponseWriter, request) []int64{status(500)}, "PATCH[1 2]", []int64{5, 6, 1, 2}},
		{"POST 503 sends the updates again", []func(http.ResponseWriter, request) []int64{status(200), status(503)}, "PATCH[1 2] POST[5 6] PATCH[1 2] POST[5 6]", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			far := newTarget(t)
			e := newEdge(t, far.URL, nil)
			e.write("acc-1", 1, 3)
			drain(t, e)
			far.mu.Lock()
			far.got, far.script = nil, c.script
			far.mu.Unlock()
			e.write("acc-1", 5, 7)
			e.relabel("acc-1", 1, 2)
			drain(t, e)
			var requests []string
			for _, r := range far.batches() {
				requests = append(requests, strings.ReplaceAll(r.method+format(r.times), ",", " "))
			}
			if got := strings.Join(requests, " "); got != c.requests {
				t.Errorf("requests %s, want %s", got, c.requests)
			}
			equal(t, "forgotten", e.of(Forgotten), c.forgotten)
		})
	}
}

// A record that is written and updated in one batch, and asked for by the answer to PATCH, has one header and two payloads: seen of ReductStore 1.21.5.
func TestWrittenAndUpdatedInOneBatch(t *testing.T) {
	far := newTarget(t)
	far.script = append(far.script, status(404))
	e := newEdge(t, far.URL, nil)
	e.write("acc-1", 1, 4)
	e.relabel("acc-1", 2)
	drain(t, e)
	post := far.batches()[1]
	if want := "payload 1payload 2payload 2payload 3"; post.body != want || len(post.times) != 3 {
		t.Errorf("headers for %v and body %q, want three and %q", post.times, post.body, want)
	}
	if got, want := post.header.Get("x-reduct-time-2"), "9,text/plain,rpm=1600"; got != want {
		t.Errorf("header %q, want %q: labels as they are when it is sent", got, want)
	}
}

func TestLogOverruns(t *testing.T) {
	far := newTarget(t)
	e := newEdge(t, far.URL, func(c *SenderConfig) { c.LogSize = 10; c.BatchRecords = 4 })
	e.write("acc-1", 0, 12)
	equal(t, "overrun", e.of(Overrun), sequence(0, 3))
	// While the first batch, 3 to 6, is in flight, two more records push 3 and 4 out: its end then pops 5 to 8, and 7 and 8 are never sent.
	far.script = append(far.script, func(_ http.ResponseWriter, r request) []int64 {
		e.write("acc-1", 12, 14)
		return r.times
	})
	drain(t, e)
	equal(t, "overrun", e.of(Overrun), sequence(0, 5))
	equal(t, "forgotten", e.of(Forgotten), []int64{7, 8})
	equal(t, "arrived", far.took("acc-1"), []int64{3, 4, 5, 6, 9, 10, 11, 12, 13})
}

func TestLogLostRecordsEvicted(t *testing.T) {
	far := newTarget(t)
	e := newEdge(t, far.URL, nil)
	e.write("acc-1", 0, 5)
	if n := e.Drop("acc-1"); n != 5 {
		t.Errorf("dropped %d, want 5", n)
	}
	e.write("acc-1", 5, 10)
	e.Evict("acc-1", 6)
	e.Restart()
	drain(t, e)
	equal(t, "log lost", e.of(LogLost), sequence(0, 5))
	equal(t, "evicted", e.of(Evicted), []int64{6})
	equal(t, "arrived", far.took("acc-1"), []int64{5, 7, 8, 9})
	if n := e.Drop("acc-2"); n != 0 {
		t.Errorf("dropped %d of an entry that was never written, want 0", n)
	}
}

// One batch of each entry in turn, sorted by name; the batch's size ends it with the record that passes it.
func TestOrderOfBatches(t *testing.T) {
	far := newTarget(t)
	e := newEdge(t, far.URL, func(c *SenderConfig) { c.BatchBytes = 20; c.Prefix = "/site1/" })
	e.write("b/front", 0, 4)
	e.write("a", 0, 4)
	drain(t, e)
	var got []string
	for _, r := range far.batches() {
		got = append(got, strings.TrimPrefix(r.path, "/api/v1/b/far/")+format(r.times))
	}
	want := "site1/a/batch[0,1,2] site1/b/front/batch[0,1,2] site1/a/batch[3] site1/b/front/batch[3]"
	if strings.Join(got, " ") != want {
		t.Errorf("batches %s, want %s", strings.Join(got, " "), want)
	}
	if n := e.Counters().Dials; n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestCompression(t *testing.T) {
	far := newTarget(t)
	e := newEdge(t, far.URL, func(c *SenderConfig) { c.Compression = "zstd" })
	e.write("acc-1", 0, 2)
	drain(t, e)
	post := far.batches()[0]
	if got := decompress(t, post.body); got != "payload 0payload 1" || post.header.Get("Content-Encoding") != "zstd" {
		t.Errorf("body %q with content-encoding %q", got, post.header.Get("Content-Encoding"))
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	far := newTarget(t)
	ctx, cancel := context.WithCancel(t.Context())
	far.script = append(far.script, func(http.ResponseWriter, request) []int64 { cancel(); return nil })
	e := newEdge(t, far.URL, nil)
	e.write("acc-1", 0, 3)
	if err := e.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

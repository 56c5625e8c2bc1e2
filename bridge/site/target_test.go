package site

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/sluicebridge/sluice/bridge"
)

// request is what a target got.
type request struct {
	method, path string
	header       http.Header
	times        []int64
	body         string
}

// target is a tiny replication target: it takes what it answers 2xx for. script has what it does instead, one step for each request with records.
type target struct {
	*httptest.Server
	mu     sync.Mutex
	script []func(http.ResponseWriter, request) (took []int64)
	probe  []int // statuses of the first probes
	got    []request
	taken  map[string][]int64 // by entry, in the order of taking
}

func newTarget(t *testing.T) *target {
	far := &target{taken: make(map[string][]int64)}
	far.Server = httptest.NewServer(far)
	t.Cleanup(far.Close)
	return far
}

func (f *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // a request that was cut: nothing is taken
	}
	got := request{method: r.Method, path: r.URL.Path, header: r.Header, body: string(body)}
	for name := range r.Header {
		if digits, ok := strings.CutPrefix(name, "X-Reduct-Time-"); ok {
			at, _ := strconv.ParseInt(digits, 10, 64)
			got.times = append(got.times, at)
		}
	}
	slices.Sort(got.times)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, got)
	if !strings.HasSuffix(r.URL.Path, "/batch") {
		w.Header().Set("x-reduct-api", "1.21")
		if len(f.probe) > 0 {
			w.WriteHeader(f.probe[0])
			f.probe = f.probe[1:]
		}
		return
	}
	took := got.times
	if len(f.script) > 0 {
		step := f.script[0]
		f.script = f.script[1:]
		took = step(w, got)
	}
	if r.Method == http.MethodPost {
		entry := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/api/v1/b/far/"), "/batch")
		f.taken[entry] = append(f.taken[entry], took...)
	}
}

// batches returns the requests with records.
func (f *target) batches() []request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.got), func(r request) bool { return len(r.times) == 0 })
}

func (f *target) took(entry string) []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.taken[entry])
}

// status answers a status, and takes nothing but of a 2xx.
func status(code int) func(http.ResponseWriter, request) []int64 {
	return func(w http.ResponseWriter, r request) []int64 {
		w.WriteHeader(code)
		if code/100 == 2 {
			return r.times
		}
		return nil
	}
}

// reset breaks the connection without an answer.
func reset(w http.ResponseWriter, _ request) []int64 {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = c.Close()
	}
	return nil
}

// refuseOdd answers 200 with an error for every second record.
func refuseOdd(w http.ResponseWriter, r request) (took []int64) {
	for i, at := range r.times {
		if i%2 == 1 {
			w.Header().Set("x-reduct-error-"+strconv.FormatInt(at, 10), "404,no such record")
			continue
		}
		took = append(took, at)
	}
	return took
}

// edge is a sender with a store of small records, and what it was told.
type edge struct {
	*Sender
	Memory
	events []Event
}

func newEdge(t *testing.T, url string, change func(*SenderConfig)) *edge {
	t.Helper()
	e := new(edge)
	cfg := SenderConfig{
		Target: url, Bucket: "far", Token: "secret", BatchRecords: 10, RetryAfter: time.Microsecond,
		Identity: Identity{"node", "store", "null"},
		Watch:    func(ev Event) { e.events = append(e.events, ev) },
	}
	if change != nil {
		change(&cfg)
	}
	s, err := NewSender(cfg, &e.Memory)
	if err != nil {
		t.Fatal(err)
	}
	e.Sender = s
	t.Cleanup(s.conn.close)
	return e
}

// write puts records with these times into an entry, and their transactions into the log.
func (e *edge) write(entry string, from, upTo int64) {
	for at := from; at < upTo; at++ {
		e.Put(entry, bridge.Record{
			Time: at, ContentType: []byte("text/plain"), Payload: []byte("payload " + strconv.FormatInt(at, 10)),
			Labels: []bridge.Label{{Name: []byte("note"), Value: []byte("a,b")}, {Name: []byte("rpm"), Value: []byte("1500")}},
		})
		e.Notify(entry, at, false)
	}
}

// of returns the times of all events with one outcome.
func (e *edge) of(o Outcome) (all []int64) {
	for _, ev := range e.events {
		if ev.Outcome == o {
			all = append(all, ev.Times...)
		}
	}
	return all
}

func sequence(from, upTo int64) []int64 {
	var s []int64
	for i := from; i < upTo; i++ {
		s = append(s, i)
	}
	return s
}

func decompress(t *testing.T, body string) string {
	t.Helper()
	d, err := zstd.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	plain, err := io.ReadAll(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

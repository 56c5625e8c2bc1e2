package reduct

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// stored is a record of the fake edge store.
type stored struct {
	time        int64
	contentType string
	labels      map[string]string
	payload     string
}

// edge is a fake of an edge store's reading side. Its only condition is {"&pass": {"$eq": true}}.
type edge struct {
	t      *testing.T
	server *httptest.Server

	mu       sync.Mutex
	entries  map[string][]stored // of bucket "src"
	settings map[string]any
	bucket   map[string]any // settings of the bucket
	version  string
	queries  map[int]*edgeQuery
	log      []string // requests as METHOD path
	failPath string   // the next such request is answered 500
	onGet    func()   // called before a GET of records, without the lock
	onQuery  func()   // called before a query, without the lock
	token    string

	writing int64 // from this time on records are still being written, where looks is not 0: the list has them, queries do not
	looks   int   // at a record that is, until it is written
}

type edgeQuery struct {
	entry string
	left  []stored
}

func newEdge(t *testing.T) *edge {
	e := &edge{t: t, entries: make(map[string][]stored), queries: make(map[int]*edgeQuery), version: "1.21.5"}
	e.settings = map[string]any{"src_bucket": "src", "dst_bucket": "dst", "entries": []string{}, "dst_prefix": "", "when": nil}
	e.server = httptest.NewServer(http.HandlerFunc(e.handle))
	t.Cleanup(e.server.Close)
	return e
}

func (e *edge) write(entry string, rs ...stored) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.entries[entry] = append(e.entries[entry], rs...)
	sort.Slice(e.entries[entry], func(i, j int) bool { return e.entries[entry][i].time < e.entries[entry][j].time })
}

// fill writes records with the times from, from+1 … to.
func (e *edge) fill(entry string, from, to int64) {
	for t := from; t <= to; t++ {
		e.write(entry, stored{t, "text/plain", map[string]string{"n": strconv.FormatInt(t, 10), "a": "x,y"}, fmt.Sprintf("p%d", t)})
	}
}

func (e *edge) evict(entry string, before int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.entries[entry] = slices.DeleteFunc(e.entries[entry], func(r stored) bool { return r.time < before })
}

// requests counts the requests so far that contain s.
func (e *edge) requests(s string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, l := range e.log {
		if strings.Contains(l, s) {
			n++
		}
	}
	return n
}

func (e *edge) handle(w http.ResponseWriter, req *http.Request) {
	if e.onGet != nil && req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/batch") {
		e.onGet()
	}
	if e.onQuery != nil && strings.HasSuffix(req.URL.Path, "/q") {
		e.onQuery()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	path := strings.TrimPrefix(req.URL.Path, "/api/v1")
	e.log = append(e.log, req.Method+" "+path)
	w.Header().Set("x-reduct-api", "1.21")
	if e.failPath == req.Method+" "+path {
		e.failPath = ""
		w.Header().Set("x-reduct-error", "injected")
		w.WriteHeader(500)
		return
	}
	if e.token != "" && req.Header.Get("Authorization") != "Bearer "+e.token {
		w.WriteHeader(401)
		return
	}
	switch {
	case path == "/info":
		fmt.Fprintf(w, `{"version":%q}`, e.version)
	case path == "/replications/task":
		// By hand: a map would lose the order of when.
		s := e.settings
		entries, _ := json.Marshal(s["entries"])
		when := "null"
		if s["when"] != nil {
			when = s["when"].(string)
		}
		fmt.Fprintf(w, `{"info":{"name":"task","pending_records":0},"settings":{"src_bucket":%q,"dst_bucket":%q,"entries":%s,"dst_prefix":%q,"when":%s}}`,
			s["src_bucket"], s["dst_bucket"], entries, s["dst_prefix"], when)
	case path == "/b/src":
		e.list(w)
	case strings.HasSuffix(path, "/q"):
		e.query(w, req, strings.TrimSuffix(strings.TrimPrefix(path, "/b/src/"), "/q"))
	case strings.HasSuffix(path, "/batch"):
		e.page(w, req)
	case req.Method == http.MethodHead && req.URL.Query().Has("ts"):
		if e.looks > 0 {
			e.looks--
			w.WriteHeader(http.StatusTooEarly)
		}
	default:
		w.WriteHeader(404)
	}
}

func (e *edge) list(w http.ResponseWriter) {
	var out []map[string]any
	for name, rs := range e.entries {
		if len(rs) > 0 && !strings.HasSuffix(name, "$meta") {
			size := 0
			for _, r := range rs {
				size += len(r.payload)
			}
			out = append(out, map[string]any{
				"name": name, "record_count": len(rs), "oldest_record": rs[0].time, "latest_record": rs[len(rs)-1].time, "size": size, "block_count": 2,
			})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i]["name"].(string) < out[j]["name"].(string) })
	_ = json.NewEncoder(w).Encode(map[string]any{"info": map[string]any{"name": "src"}, "settings": e.bucket, "entries": out})
}

func (e *edge) query(w http.ResponseWriter, req *http.Request, entry string) {
	var q query
	if err := json.NewDecoder(req.Body).Decode(&q); err != nil {
		e.t.Errorf("query: %v", err)
	}
	rs, ok := e.entries[entry]
	if !ok {
		w.WriteHeader(404)
		return
	}
	stop := q.End
	if stop == 0 && len(rs) > 0 {
		stop = uint64(rs[len(rs)-1].time) + 1
	}
	if uint64(q.Start) > stop {
		w.Header().Set("x-reduct-error", "Start time must be before stop time")
		w.WriteHeader(422)
		return
	}
	var left []stored
	for _, r := range rs {
		if e.looks > 0 && r.time >= e.writing {
			break
		}
		if r.time >= q.Start && uint64(r.time) < stop && (q.When == nil || r.labels["pass"] == "true") {
			left = append(left, r)
		}
	}
	id := len(e.queries) + 1
	e.queries[id] = &edgeQuery{entry, left}
	fmt.Fprintf(w, `{"id":%d}`, id)
}

func (e *edge) page(w http.ResponseWriter, req *http.Request) {
	id, _ := strconv.Atoi(req.URL.Query().Get("q"))
	q := e.queries[id]
	if q == nil || len(q.left) == 0 {
		w.WriteHeader(204)
		return
	}
	n := min(85, len(q.left))
	var body strings.Builder
	for _, r := range q.left[:n] {
		if !slices.ContainsFunc(e.entries[q.entry], func(s stored) bool { return s.time == r.time }) {
			continue // evicted since the query began
		}
		w.Header().Set(fmt.Sprintf("x-reduct-time-%d", r.time), headerOf(r))
		body.WriteString(r.payload)
	}
	q.left = q.left[n:]
	w.Header().Set("x-reduct-last", strconv.FormatBool(len(q.left) == 0))
	w.Header().Set("content-length", strconv.Itoa(body.Len()))
	w.WriteHeader(200)
	if req.Method != http.MethodHead {
		_, _ = io.WriteString(w, body.String())
	}
}

// headerOf writes a record's header as ReductStore does.
func headerOf(r stored) string {
	var labels []string
	for k, v := range r.labels {
		if strings.Contains(v, ",") {
			v = `"` + v + `"`
		}
		labels = append(labels, k+"="+v)
	}
	sort.Strings(labels)
	return strings.Join(append([]string{strconv.Itoa(len(r.payload)), r.contentType}, labels...), ",")
}

// post is what the replication sender makes of records of the store: the raw request.
func (e *edge) post(entry string, times ...int64) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	var headers []string
	body := ""
	for _, r := range e.entries[entry] {
		if slices.Contains(times, r.time) {
			headers = append(headers, fmt.Sprintf("x-reduct-time-%d: %s", r.time, headerOf(r)))
			body += r.payload
		}
	}
	return rawRequest("POST", "/api/v1/b/dst/"+entry+"/batch", body, headers...)
}

// upTo returns from, from+1 … to.
func upTo(from, to int64) []int64 {
	var ts []int64
	for t := from; t <= to; t++ {
		ts = append(ts, t)
	}
	return ts
}

// marks adds what a ledger remembers to the fake intake.
type marks struct {
	*intake
	mu         sync.Mutex
	reconciled map[string]int64
	closed     map[string][]Closed
	newest     int64 // not 0: what a pipeline that lags has seen
}

func (m *marks) Closed(stream string) []Closed { return slices.Clone(m.closed[stream]) }

func (m *marks) Newest(stream string) (int64, bool) {
	ts := m.times(stream)
	if m.newest > 0 {
		return m.newest, true
	}
	if len(ts) == 0 {
		return 0, false
	}
	return slices.Max(ts), true
}

func (m *marks) Reconciled(stream string) (int64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.reconciled[stream]
	return t, ok
}

func (m *marks) SetReconciled(_ context.Context, stream string, upTo int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reconciled == nil {
		m.reconciled = make(map[string]int64)
	}
	m.reconciled[stream] = upTo
	return nil
}

// rig is a reconciler over a fake store and a fake intake.
type rig struct {
	*Reconciler
	edge    *edge
	intake  *intake
	gaps    *gaps
	marks   *marks
	metrics *bridge.Metrics
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	e := newEdge(t)
	cfg := testConfig()
	cfg.Source.URL, cfg.Source.Replication = e.server.URL, "task"
	cfg.Source.Interval = bridge.Duration(time.Hour)
	if change != nil {
		change(&cfg)
	}
	in := &intake{entered: make(chan struct{}, 8)}
	r := &rig{edge: e, intake: in, gaps: &gaps{}, marks: &marks{intake: in}, metrics: new(bridge.Metrics)}
	r.Reconciler = NewReconciler(cfg, Mind{Name: "edge", Intake: in, Gaps: r.gaps, Marks: r.marks, Metrics: r.metrics, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(r.source.close)
	return r
}

// run starts Run until the test ends.
func (r *rig) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: got %v, want nil", err)
		}
	})
}

// settlers works settlings off until the test ends, without the passes of Run.
func (r *rig) settlers(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.settleJobs(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

// pass runs one pass that must succeed.
func (r *rig) pass(t *testing.T) {
	t.Helper()
	if err := r.Pass(t.Context()); err != nil {
		t.Fatalf("pass: got %v, want nil", err)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// shelf is an edge store of one entry, acc-1, as far as a reconciler can tell. Each record's payload is an x.
type shelf struct {
	mu      sync.Mutex
	times   []int64   // guarded by mu
	queries [][]int64 // guarded by mu; what is left to be read
}

func (s *shelf) write(times ...int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times = slices.Sorted(slices.Values(append(s.times, times...)))
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("x-reduct-api", "1.21")
	switch path := strings.TrimPrefix(req.URL.Path, "/api/v1"); path {
	case "/replications/task":
		fmt.Fprint(w, `{"info":{"pending_records":0},"settings":{"src_bucket":"src","dst_bucket":"gate","entries":[],"when":null}}`)
	case "/b/src":
		fmt.Fprintf(w, `{"info":{"name":"src"},"entries":[{"name":"acc-1","record_count":%d,"oldest_record":%d,"latest_record":%d}]}`,
			len(s.times), s.times[0], s.times[len(s.times)-1])
	case "/b/src/acc-1/q":
		var q struct {
			Start int64
			Stop  uint64
		}
		if err := json.NewDecoder(req.Body).Decode(&q); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.queries = append(s.queries, slices.DeleteFunc(slices.Clone(s.times), func(t int64) bool { return t < q.Start || uint64(t) >= q.Stop }))
		fmt.Fprintf(w, `{"id":%d}`, len(s.queries)-1)
	case "/b/src/acc-1/batch":
		s.page(w, req)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// page answers all that a query has left.
func (s *shelf) page(w http.ResponseWriter, req *http.Request) {
	id, err := strconv.Atoi(req.URL.Query().Get("q"))
	if err != nil || id >= len(s.queries) || len(s.queries[id]) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	times := s.queries[id]
	s.queries[id] = nil
	for _, t := range times {
		w.Header().Set(fmt.Sprintf("x-reduct-time-%d", t), "1,text/plain")
	}
	w.Header().Set("x-reduct-last", "true")
	w.Header().Set("content-length", strconv.Itoa(len(times)))
	if req.Method != http.MethodHead {
		fmt.Fprint(w, strings.Repeat("x", len(times)))
	}
}

// TestRecover: after an old copy of the ledger was put back, what was written late and taken in since is fetched again, however old it is: its sender
// has no reason to bring it a second time.
func TestRecover(t *testing.T) {
	b, s := newBench(t), new(shelf)
	server := httptest.NewServer(s)
	defer server.Close()
	path := b.write(strings.Replace(b.config(), "[modules.guest]", fmt.Sprintf(`[inputs.replication.edge.source]
url = %q
replication = "task"
interval = "1h"
[modules.guest]`, server.URL), 1))
	db, first := filepath.Join(b.dir, "data", "ledger", "ledger.db"), time.Now().Add(-time.Hour).UnixMicro()
	s.write(first, first+1, first+2)
	g, stop := b.start(path)
	b.await(3)
	b.until(g, "a mark behind the first records", func() bool { return g.inputs[0].reconciler.Last() != nil })
	stop()
	copied, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}

	late := first - time.Hour.Microseconds()
	s.write(late) // and taken in by a ledger that nobody has any more
	_, stop = b.start(path)
	stop()
	if err := os.WriteFile(db, copied, 0o600); err != nil {
		t.Fatal(err)
	}

	g, stop = b.start(path)
	defer stop()
	if g.store.Restored() == "" {
		t.Fatal("the old copy was not noticed")
	}
	if got, want := b.take(), fmt.Sprintf("gate/acc-1@%d", late); got != want {
		t.Errorf("%s arrived, want %s", got, want)
	}
	b.until(g, "a ledger that is whole", func() bool { return g.store.Restored() == "" })
}

// until waits for something that a bridge does by itself.
func (b *bench) until(g *gate, what string, done func() bool) {
	b.t.Helper()
	for late := time.Now().Add(30 * time.Second); !done(); b.status(g) {
		if time.Now().After(late) {
			b.t.Fatalf("no %s after 30 s", what)
		}
	}
}

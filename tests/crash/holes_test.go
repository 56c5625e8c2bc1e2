package crash

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/sluicebridge/sluice/tests/real"
)

// Rule 7: what the sender itself forgets or never knew of. After one interval nothing is missing, and it came in order.
func TestSenderForgets(t *testing.T) {
	t.Parallel()
	const backlog = 800 // records of each entry
	for _, tt := range []struct {
		name   string
		o      options
		forget func(*testing.T, *site)
	}{
		{"log deleted while the store is down", options{}, func(t *testing.T, s *site) {
			s.backlog(t, backlog)
			s.store.Kill()
			s.deleteLogs(t)
			s.store.Up()
			s.sluice.Up()
		}},
		{"log overrun", options{store: []string{"RS_REPLICATION_LOG_SIZE=200"}}, func(t *testing.T, s *site) {
			s.backlog(t, backlog)
			s.sluice.Up()
		}},
		{"task made after the data", options{late: true}, func(t *testing.T, s *site) {
			s.backlog(t, backlog)
			s.sluice.Up()
			s.replicate(t, s.target())
		}},
		{"target answered 500", options{late: true}, func(t *testing.T, s *site) {
			s.sluice.Up()
			bad := newBadTarget(t, s.target(), 3)
			s.replicate(t, bad.url)
			s.backlog(t, backlog)
			real.Eventually(t, limit, "the target to be well again", func() (bool, string) {
				left := bad.left.Load()
				return left <= 0, fmt.Sprintf("%d answers of 500 to go", left)
			})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.o.qos = 2
			s := newSite(t, tt.o)
			tt.forget(t, s)
			r := s.finish(t)
			fetched, err := s.sluice.Metric("sluice_reconcile_missing_total", "")
			if err != nil || fetched == 0 {
				t.Errorf("%v records were fetched, %v: the sender forgot nothing", fetched, err)
			}
			figures(t, tt.name+", QoS 2", 1, r, fmt.Sprintf("%v fetched", fetched))
			for _, f := range r.faults() {
				t.Error(f)
			}
		})
	}
}

// backlog writes n records of each entry.
func (s *site) backlog(t *testing.T, n int) {
	t.Helper()
	for e := range entries {
		s.load.write(t, e, n)
	}
}

// deleteLogs deletes the replication logs of a store that is down.
func (s *site) deleteLogs(t *testing.T) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(s.store.Dir, "vib", "*", "to-gate.log"))
	if err != nil || len(logs) != len(entries) {
		t.Fatalf("%d replication logs, %v; want %d", len(logs), err, len(entries))
	}
	for _, l := range logs {
		if err := os.Remove(l); err != nil {
			t.Fatal(err)
		}
	}
}

// badTarget answers the first batches 500, and hands the rest on.
type badTarget struct {
	url  string
	left atomic.Int64
}

func newBadTarget(t *testing.T, target string, bad int64) *badTarget {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	b := &badTarget{url: fmt.Sprintf("http://127.0.0.1:%d", real.Port(t))}
	b.left.Store(bad)
	good := httputil.NewSingleHostReverseProxy(to)
	server := &http.Server{Addr: b.url[len("http://"):], Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && b.left.Add(-1) >= 0 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		good.ServeHTTP(w, r)
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; err != http.ErrServerClosed {
			t.Errorf("bad target: %v", err)
		}
	})
	return b
}

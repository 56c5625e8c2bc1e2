package reduct

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// Rule 6: a page whose answer is lost with its connection is not asked for a second time: the store would send the next one, and what was on the lost one would be
// taken for compared, or for evicted. net/http does ask again by itself, with a connection that was used before.
func TestPageAskedOnce(t *testing.T) {
	for _, heads := range []bool{true, false} {
		t.Run(fmt.Sprintf("heads %v", heads), func(t *testing.T) {
			var pages atomic.Int64
			mux := http.NewServeMux()
			mux.HandleFunc("POST /api/v1/b/src/e/q", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"id":1}`) })
			mux.HandleFunc("/api/v1/b/src/e/batch", func(w http.ResponseWriter, r *http.Request) {
				n := pages.Add(1)
				if n == 2 {
					conn, _, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					conn.Close()
					return
				}
				w.Header().Set(fmt.Sprintf("x-reduct-time-%d", n), "1,text/plain")
				w.Header().Set("content-length", "1")
				if r.Method == http.MethodGet {
					fmt.Fprint(w, "x")
				}
			})
			server := httptest.NewServer(mux)
			defer server.Close()
			s := newSource(Source{URL: server.URL})
			defer s.close()
			c, err := s.open(t.Context(), "src", "e", query{Head: heads})
			if err != nil {
				t.Fatal(err)
			}
			read := func(_ *head, body io.Reader) error {
				_, err := io.Copy(io.Discard, body) // so that the connection is used again
				return err
			}
			if more, err := c.next(t.Context(), read); !more || err != nil || c.page.items[0].time != 1 {
				t.Fatalf("first page: %v, %v", more, err)
			}
			if more, err := c.next(t.Context(), read); err == nil || pages.Load() != 2 {
				t.Errorf("page that was lost: more %v, %v, asked %d times; want an error, 2", more, err, pages.Load())
			}
		})
	}
}

// Rule 6: a page that never came, as through a proxy that asks again by itself, is not taken for evicted while the store has its records.
func TestPageLost(t *testing.T) {
	r := newRig(t, nil)
	r.edge.fill("e", 1, 10)
	r.edge.onGet = sync.OnceFunc(func() {
		r.edge.mu.Lock()
		defer r.edge.mu.Unlock()
		for _, q := range r.edge.queries {
			q.left = nil
		}
	})
	if err := r.Pass(t.Context()); err == nil {
		t.Error("a pass of which a page did not come ended well")
	}
	if lost := r.gaps.lost; len(lost) > 0 {
		t.Errorf("called lost: %v, want none", lost)
	}
	r.pass(t)
	if got, want := r.intake.times("dst/e"), upTo(1, 10); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

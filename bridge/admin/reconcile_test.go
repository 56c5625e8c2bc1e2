package admin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// comparer is a Source whose reconciles say what they were asked, refuse the input "wrong", and wait where they are told to.
type comparer struct {
	fixed
	wait  func(context.Context)
	asked ReconcileRequest
}

func (c *comparer) Reconcile(ctx context.Context, r ReconcileRequest) (any, error) {
	if r.Input == "wrong" {
		return nil, errors.New("no input wrong")
	}
	c.asked = r
	if c.wait != nil {
		c.wait(ctx)
	}
	return []map[string]any{{"input": r.Input, "missing": 3}}, ctx.Err()
}

func post(h http.Handler, body string, headers ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/reconcile", strings.NewReader(body))
	for _, x := range headers {
		name, value, _ := strings.Cut(x, ": ")
		r.Header.Set(name, value)
	}
	h.ServeHTTP(w, r)
	return w
}

func TestReconcile(t *testing.T) {
	for _, tt := range []struct {
		name    string
		body    string
		headers []string
		code    int
		want    string
	}{
		{"everything", `{}`, []string{"X-Sluice: 1"}, 200, `[{"input":"","missing":3}]`},
		{"a part", `{"input":"edge","stream":"acc-*","whole":true,"from":5,"to":7}`, []string{"X-Sluice: 1"}, 200, `[{"input":"edge","missing":3}]`},
		{"from a page of another site", `{}`, nil, 403, "X-Sluice: 1"},
		{"not JSON", `{`, []string{"X-Sluice: 1"}, 400, "read the request"},
		{"too long", `{"stream":"` + strings.Repeat("x", maxReconcileBody) + `"}`, []string{"X-Sluice: 1"}, 400, "too large"},
		{"nothing of that name", `{"input":"wrong"}`, []string{"X-Sluice: 1"}, 400, "no input wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := new(comparer)
			h := Handler(new(bridge.Metrics), c)
			if w := post(h, tt.body, tt.headers...); w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, tt.code, tt.want)
			}
			if want := (ReconcileRequest{"edge", "acc-*", true, 5, 7}); tt.name == "a part" && c.asked != want {
				t.Errorf("asked: got %+v, want %+v", c.asked, want)
			}
			if w := post(h, `{}`, "X-Sluice: 1"); w.Code != 200 {
				t.Errorf("the next one: got %d %s, want 200", w.Code, w.Body)
			}
		})
	}
	if w := post(Handler(new(bridge.Metrics), fixed{}), `{}`, "X-Sluice: 1"); w.Code != http.StatusNotFound && w.Code != http.StatusMethodNotAllowed {
		t.Errorf("a source without edge stores: got %d, want none", w.Code)
	}
}

// One at a time: a second one is told so at once, and does not end the first.
func TestReconcileOnce(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	h := Handler(new(bridge.Metrics), &comparer{wait: func(context.Context) { entered <- struct{}{}; <-leave }})
	first := make(chan int, 1)
	go func() { first <- post(h, `{}`, "X-Sluice: 1").Code }()
	<-entered
	if w := post(h, `{}`, "X-Sluice: 1"); w.Code != http.StatusConflict {
		t.Errorf("second: got %d %s, want 409", w.Code, w.Body)
	}
	close(leave)
	if code := <-first; code != 200 {
		t.Errorf("first: got %d, want 200", code)
	}
}

// The server's deadlines, which are for answers from memory, do not end a reconcile; its client's going away does.
func TestReconcileLasts(t *testing.T) {
	gone := make(chan struct{})
	c := &comparer{}
	server := httptest.NewUnstartedServer(Handler(new(bridge.Metrics), c))
	server.Config.ReadTimeout, server.Config.WriteTimeout = 20*time.Millisecond, 20*time.Millisecond
	server.Start()
	defer server.Close()
	ask := func(ctx context.Context) (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/reconcile", bytes.NewReader([]byte(`{}`)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Sluice", "1")
		return http.DefaultClient.Do(r)
	}
	c.wait = func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-time.After(10 * server.Config.ReadTimeout):
		}
	}
	reply, err := ask(t.Context())
	if err != nil {
		t.Fatalf("longer than the deadlines: got %v, want an answer", err)
	}
	body, err := io.ReadAll(reply.Body)
	reply.Body.Close()
	if err != nil || reply.StatusCode != 200 || !strings.Contains(string(body), `"missing":3`) {
		t.Errorf("longer than the deadlines: got %s %s %v, want the report", reply.Status, body, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c.wait = func(ctx context.Context) {
		<-time.After(10 * server.Config.ReadTimeout)
		cancel()
		<-ctx.Done()
		close(gone)
	}
	if _, err := ask(ctx); err == nil {
		t.Error("cancelled: got an answer, want none")
	}
	<-gone
}

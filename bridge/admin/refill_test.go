package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// refilling is a Source that refills, one identity of two.
type refilling struct {
	fixed
	entered, leave chan struct{} // nil: at once
}

func (r refilling) Refill(_ context.Context, q RefillRequest) (a RefillAnswer, err error) {
	if r.entered != nil {
		r.entered <- struct{}{}
		<-r.leave
	}
	if q.Pipeline != "p" || q.Remote != "far" {
		return a, errors.New("no such pipeline")
	}
	for i, id := range q.IDs {
		if i%2 == 0 {
			a.Queued++
			continue
		}
		a.Refused = append(a.Refused, Refused{id, "odd"})
	}
	return a, nil
}

func postRefill(h http.Handler, body string, header ...string) *httptest.ResponseRecorder {
	q := httptest.NewRequest(http.MethodPost, "/refill", strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, q)
	return w
}

func TestRefill(t *testing.T) {
	many := `"a"` + strings.Repeat(`,"a"`, MaxRefill)
	for _, tt := range []struct {
		name, body, header string
		code               int
		says               string
	}{
		{"good", `{"pipeline":"p","remote":"far","ids":["a","b","c"]}`, "1", 200, `"queued":2`},
		{"nothing refused is an empty list", `{"pipeline":"p","remote":"far","ids":["a"]}`, "1", 200, `"refused":[]`},
		{"from a page of somebody else", `{"pipeline":"p","remote":"far","ids":["a"]}`, "", 403, "X-Sluice"},
		{"unknown pipeline", `{"pipeline":"q","remote":"far","ids":["a"]}`, "1", 400, "no such pipeline"},
		{"no JSON", `x`, "1", 400, "read the request"},
		{"none", `{"pipeline":"p","remote":"far","ids":[]}`, "1", 400, "0 ids"},
		{"too many", fmt.Sprintf(`{"pipeline":"p","remote":"far","ids":[%s]}`, many), "1", 400, "1001 ids"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := postRefill(Handler(counted(), refilling{}), tt.body, "X-Sluice", tt.header)
			if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, tt.code, tt.says)
			}
		})
	}
	if w := postRefill(Handler(counted(), fixed{}), `{}`, "X-Sluice", "1"); w.Code == 200 {
		t.Errorf("a source that cannot refill: %d", w.Code)
	}
}

// TestRefillOnce: a second refill is refused while one is under way, and not after it.
func TestRefillOnce(t *testing.T) {
	r := refilling{entered: make(chan struct{}), leave: make(chan struct{})}
	h := Handler(counted(), r)
	body := `{"pipeline":"p","remote":"far","ids":["a"]}`
	for range 2 {
		ended := make(chan *httptest.ResponseRecorder)
		go func() { ended <- postRefill(h, body, "X-Sluice", "1") }()
		<-r.entered
		if w := postRefill(h, body, "X-Sluice", "1"); w.Code != http.StatusConflict {
			t.Errorf("while one is under way: %d, want %d", w.Code, http.StatusConflict)
		}
		r.leave <- struct{}{}
		var a RefillAnswer
		if w := <-ended; json.Unmarshal(w.Body.Bytes(), &a) != nil || a.Queued != 1 {
			t.Errorf("the first: %d %s", w.Code, w.Body)
		}
	}
}

package admin

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// roller is a Source with one module to bring back.
type roller struct{ fixed }

func (roller) Rollback(_ context.Context, q RollbackRequest) (RollbackAnswer, error) {
	if q.Module != "filter" {
		return RollbackAnswer{}, errors.New("no module " + q.Module)
	}
	return RollbackAnswer{SHA256: "aa", Was: "bb"}, nil
}

func TestRollback(t *testing.T) {
	for _, tt := range []struct {
		name, body, header string
		code               int
		want               string
	}{
		{"brought back", `{"module":"filter"}`, "1", 200, `{"sha256":"aa","was":"bb"}`},
		{"from a page of another site", `{"module":"filter"}`, "", 403, "X-Sluice: 1"},
		{"none of that name", `{"module":"x"}`, "1", 400, "no module x"},
		{"too long", `{"module":"` + strings.Repeat("x", maxRollbackBody) + `"}`, "1", 400, "too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/rollback", strings.NewReader(tt.body))
			r.Header.Set("X-Sluice", tt.header)
			w := httptest.NewRecorder()
			Handler(new(bridge.Metrics), roller{fixed{true}}).ServeHTTP(w, r)
			if got := w.Body.String(); w.Code != tt.code || !strings.Contains(got, tt.want) {
				t.Errorf("got %d %s, want %d %s", w.Code, got, tt.code, tt.want)
			}
		})
	}
}

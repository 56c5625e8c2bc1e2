package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// ReconcileRequest asks for a comparison with the edge stores, now. Times are microseconds, both included.
type ReconcileRequest struct {
	Input  string `json:"input,omitempty"`  // empty = every input that has a source
	Stream string `json:"stream,omitempty"` // pattern; empty = all
	Whole  bool   `json:"whole,omitempty"`  // everything from From to To, else what is new
	From   int64  `json:"from,omitempty"`
	To     int64  `json:"to,omitempty"` // 0 = no end
}

// Reconciler is a Source that can compare with its edge stores. What it returns is shown as JSON: what was done, and what could not be. An error means
// that the request as a whole is wrong, and nothing was done. It may take hours, and ends with ctx.
type Reconciler interface {
	Reconcile(ctx context.Context, r ReconcileRequest) (reports any, err error)
}

// maxReconcileBody bounds a request: names and numbers.
const maxReconcileBody = 64 << 10 // bytes

// reconcile answers POST /reconcile, one at a time. A browser cannot be made to send the header by another site's page. There is no deadline: the work ends
// when it is done, or when whoever asked has gone away.
func reconcile(s Reconciler) http.Handler {
	free := make(chan struct{}, 1)
	free <- struct{}{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Sluice") != "1" {
			http.Error(w, "want the header X-Sluice: 1", http.StatusForbidden)
			return
		}
		select {
		case <-free:
			defer func() { free <- struct{}{} }()
		default:
			http.Error(w, "another reconcile is under way", http.StatusConflict)
			return
		}
		var request ReconcileRequest
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReconcileBody)) // to its end: only then does the server see the reader go
		if err == nil {
			err = json.Unmarshal(body, &request)
		}
		if err != nil {
			http.Error(w, fmt.Sprintf("read the request: %v", err), http.StatusBadRequest)
			return
		}
		reports, err := s.Reconcile(r.Context(), request)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // the server's has long passed
		json.NewEncoder(w).Encode(reports)                                               // an error means that the reader went away
	})
}

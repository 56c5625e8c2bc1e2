package admin

import (
	"context"
	"net/http"
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

// reconcile answers POST /reconcile. There is no deadline: the work ends when it is done, or when whoever asked has gone away.
func reconcile(s Reconciler) http.Handler {
	return alone("reconcile", func(w http.ResponseWriter, r *http.Request) {
		var request ReconcileRequest
		if !readRequest(w, r, maxReconcileBody, &request) {
			return
		}
		reports, err := s.Reconcile(r.Context(), request)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writeAnswer(w, reports)
	})
}

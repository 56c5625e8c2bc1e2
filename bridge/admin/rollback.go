package admin

import (
	"context"
	"net/http"
)

// RollbackRequest asks for the module that was in a place before.
type RollbackRequest struct {
	Module string `json:"module"`
}

// RollbackAnswer says who is in the place now.
type RollbackAnswer struct {
	SHA256 string `json:"sha256"`
	Was    string `json:"was"` // the one that was taken out of it, or out of its trial
}

// Roller is a Source that can bring a module back. On error the one in the place has stayed there.
type Roller interface {
	Rollback(ctx context.Context, r RollbackRequest) (RollbackAnswer, error)
}

const maxRollbackBody = 4 << 10 // bytes: a name

// rollback answers POST /rollback.
func rollback(s Roller) http.Handler {
	return alone("rollback", func(w http.ResponseWriter, r *http.Request) {
		var request RollbackRequest
		if !readRequest(w, r, maxRollbackBody, &request) {
			return
		}
		answer, err := s.Rollback(r.Context(), request)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writeAnswer(w, answer)
	})
}

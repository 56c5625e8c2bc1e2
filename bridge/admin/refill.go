package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// RefillRequest asks for messages to be sent to one remote once more: what verify found missing there.
type RefillRequest struct {
	Pipeline string   `json:"pipeline"`
	Remote   string   `json:"remote"`
	IDs      []string `json:"ids"` // MaxRefill at most
}

// RefillAnswer says what became of each.
type RefillAnswer struct {
	Queued  int       `json:"queued"` // durable, to be sent with a mark
	Refused []Refused `json:"refused"`
}

// Refused is a message that cannot be sent once more.
type Refused struct {
	ID  string `json:"id"`
	Why string `json:"why"`
}

// MaxRefill is how many messages a request may name.
const MaxRefill = 1000

const (
	maxRefillBody = 4 << 20         // bytes: identities of 4 KiB
	refillTime    = 5 * time.Minute // a record of an edge store takes milliseconds
)

// Refiller is a Source that can send messages once more. An error means that the request as a whole is wrong, and nothing was queued.
type Refiller interface {
	Refill(ctx context.Context, r RefillRequest) (RefillAnswer, error)
}

// refill answers POST /refill, one at a time. A browser cannot be made to send the header by another site's page.
func refill(f Refiller) http.Handler {
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
			http.Error(w, "another refill is under way", http.StatusConflict)
			return
		}
		var request RefillRequest
		if err := json.NewDecoder(io.LimitReader(r.Body, maxRefillBody)).Decode(&request); err != nil {
			http.Error(w, fmt.Sprintf("read the request: %v", err), http.StatusBadRequest)
			return
		}
		if n := len(request.IDs); n == 0 || n > MaxRefill {
			http.Error(w, fmt.Sprintf("%d ids, want 1..%d", n, MaxRefill), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), refillTime)
		defer cancel()
		// An error means that the connection is gone, which the answer will meet again.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(refillTime + writeTimeout))
		answer, err := f.Refill(ctx, request)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer.Refused = append([]Refused{}, answer.Refused...)
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answer) // an error means that the reader went away
	})
}

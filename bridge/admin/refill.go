package admin

import (
	"context"
	"fmt"
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

// refill answers POST /refill.
func refill(f Refiller) http.Handler {
	return alone("refill", func(w http.ResponseWriter, r *http.Request) {
		var request RefillRequest
		if !readRequest(w, r, maxRefillBody, &request) {
			return
		}
		if n := len(request.IDs); n == 0 || n > MaxRefill {
			http.Error(w, fmt.Sprintf("%d ids, want 1..%d", n, MaxRefill), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), refillTime)
		defer cancel()
		answer, err := f.Refill(ctx, request)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer.Refused = append([]Refused{}, answer.Refused...)
		writeAnswer(w, answer)
	})
}

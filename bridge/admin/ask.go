package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// alone serves what makes the bridge work, one request at a time. A browser cannot be made to send the header by another site's page.
func alone(what string, serve http.HandlerFunc) http.Handler {
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
			http.Error(w, "another "+what+" is under way", http.StatusConflict)
			return
		}
		serve(w, r)
	})
}

// readRequest decodes a body of at most limit bytes, or says what is wrong with it.
func readRequest(w http.ResponseWriter, r *http.Request, limit int64, into any) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit)) // to its end: only then does the server see the reader go
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		http.Error(w, fmt.Sprintf("read the request: %v", err), http.StatusBadRequest)
	}
	return err == nil
}

// writeAnswer answers after work that may have taken long.
func writeAnswer(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // the server's has long passed
	json.NewEncoder(w).Encode(answer)                                                // an error means that the reader went away
}

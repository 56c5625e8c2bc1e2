package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// maxAnswer bounds what is read from an address that may be anyone's: a line for each of a site's streams.
const maxAnswer = 256 << 20

// ask has a running bridge do something, and waits for as long as that takes. The bridge ends it when ctx does.
func ask(ctx context.Context, url string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return usageError{err.Error()}
	}
	request.Header.Set("X-Sluice", "1")
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask the bridge at %s, is it running?: %w", url, err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(reply.Body, 4<<10))
		return fmt.Errorf("ask the bridge at %s: %s: %s", url, reply.Status, bytes.TrimSpace(why))
	}
	if err := json.NewDecoder(io.LimitReader(reply.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("read the answer of %s: %w", url, err)
	}
	return nil
}

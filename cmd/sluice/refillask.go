package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"github.com/sluicebridge/sluice/bridge/admin"
	"github.com/sluicebridge/sluice/bridge/verify"
)

// refilled is what became of a --refill.
type refilled struct {
	Queued  int             `json:"queued"` // messages for the far end
	Refused []admin.Refused `json:"refused"`
}

// refill asks the running bridge for what is missing.
func (s *side) refill(ctx context.Context, r *verify.Report) (*refilled, error) {
	base, err := bridgeAt(s.flags.url, s.file.Admin.Listen)
	if err != nil {
		return nil, err
	}
	out := &refilled{Refused: []admin.Refused{}}
	far := make(map[string][]string) // by pipeline
	for i := range r.Findings {
		f := &r.Findings[i]
		switch {
		case f.Kind != verify.HoleFar:
		case f.Unnamed:
			out.Refused = append(out.Refused, admin.Refused{ID: f.ID, Why: "which ones they are cannot be told any more"})
		default:
			far[f.Pipeline] = append(far[f.Pipeline], f.ID)
		}
	}
	for _, pipeline := range slices.Sorted(maps.Keys(far)) {
		for ids := far[pipeline]; len(ids) > 0; {
			n := min(len(ids), admin.MaxRefill)
			var answer admin.RefillAnswer
			err := post(ctx, base+"/refill", admin.RefillRequest{Pipeline: pipeline, Remote: s.remote, IDs: ids[:n]}, &answer)
			if err != nil {
				return out, fmt.Errorf("refill: %w", err)
			}
			out.Queued += answer.Queued
			out.Refused = append(out.Refused, answer.Refused...)
			ids = ids[n:]
		}
	}
	return out, nil
}

// post asks a running bridge to do something.
func post(ctx context.Context, url string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("ask the running bridge: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return usageError{err.Error()}
	}
	request.Header.Set("X-Sluice", "1")
	request.Header.Set("Content-Type", "application/json")
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask the running bridge: %w", err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(reply.Body, 1<<10)) // what was read of it is enough for a person
		return fmt.Errorf("ask the running bridge at %s: %s: %s", url, reply.Status, bytes.TrimSpace(why))
	}
	if err := json.NewDecoder(io.LimitReader(reply.Body, maxStatus)).Decode(out); err != nil {
		return fmt.Errorf("read the answer of %s: %w", url, err)
	}
	return nil
}

func (r *refilled) print(out io.Writer) {
	fmt.Fprintf(out, "refill: %d messages queued, %d not\n", r.Queued, len(r.Refused))
	for i, x := range r.Refused {
		if i == maxFindings {
			fmt.Fprintf(out, "and %d more; --json lists them\n", len(r.Refused)-i)
			return
		}
		fmt.Fprintf(out, "not refilled: %s: %s\n", x.ID, x.Why)
	}
}

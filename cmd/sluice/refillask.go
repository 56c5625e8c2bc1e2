package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/sluicebridge/sluice/bridge/admin"
	"github.com/sluicebridge/sluice/bridge/verify"
)

// refilled is what became of a --refill.
type refilled struct {
	Queued  int             `json:"queued"`  // messages for the far end
	Fetched int             `json:"fetched"` // records of the edge store
	Refused []admin.Refused `json:"refused"`
}

func (r *refilled) refuse(id, why string) {
	r.Refused = append(r.Refused, admin.Refused{ID: id, Why: why})
}

// refill asks the running bridge for what is missing: at the edge side by having it compare these times again, at the far end by identity.
func (s *side) refill(ctx context.Context, r *verify.Report) (*refilled, error) {
	out := &refilled{Refused: []admin.Refused{}}
	base, err := bridgeAt(s.flags.url, s.file.Admin.Listen)
	if err != nil {
		return out, err
	}
	far := make(map[string][]string)       // by pipeline
	edge := make(map[string]verify.Period) // by stream
	for i := range r.Findings {
		f := &r.Findings[i]
		switch {
		case f.Kind != verify.HoleFar && f.Kind != verify.HoleEdge:
		case f.Unnamed:
			out.refuse(f.ID, "which ones they are cannot be told any more")
		case f.Closed:
			out.refuse(f.ID, "its time counts as seen: the ledger does not keep keys that old one by one")
		case f.Kind == verify.HoleFar:
			far[f.Pipeline] = append(far[f.Pipeline], f.ID)
		default:
			t := f.Time.UnixMicro()
			p, more := edge[f.Stream]
			if !more {
				p = verify.Period{From: t, To: t}
			}
			edge[f.Stream] = verify.Period{From: min(p.From, t), To: max(p.To, t)}
		}
	}
	for _, stream := range slices.Sorted(maps.Keys(edge)) {
		if err := out.edge(ctx, base, stream, edge[stream]); err != nil {
			return out, fmt.Errorf("refill: %w", err)
		}
	}
	for _, pipeline := range slices.Sorted(maps.Keys(far)) {
		if err := out.far(ctx, base, admin.RefillRequest{Pipeline: pipeline, Remote: s.remote, IDs: far[pipeline]}); err != nil {
			return out, fmt.Errorf("refill: %w", err)
		}
	}
	return out, nil
}

// edge has the bridge compare a stream's times with the edge store.
func (r *refilled) edge(ctx context.Context, base, stream string, p verify.Period) error {
	reports, err := askReconcile(ctx, base, admin.ReconcileRequest{Stream: stream, Whole: true, From: p.From, To: p.To})
	if err != nil {
		return err
	}
	for _, x := range reports {
		r.Fetched += x.Fetched
		if x.Error != "" {
			r.refuse(stream, x.Error)
		}
		if x.Left > 0 {
			r.refuse(stream, fmt.Sprintf("%d records stay in the edge store; sluice status has a gap for each, with its reason", x.Left))
		}
	}
	return nil
}

// far has the bridge send messages once more, as many at a time as it takes.
func (r *refilled) far(ctx context.Context, base string, q admin.RefillRequest) error {
	for ids := q.IDs; len(ids) > 0; {
		n := min(len(ids), admin.MaxRefill)
		q.IDs, ids = ids[:n], ids[n:]
		var answer admin.RefillAnswer
		if err := ask(ctx, base+"/refill", q, &answer); err != nil {
			return err
		}
		r.Queued += answer.Queued
		r.Refused = append(r.Refused, answer.Refused...)
	}
	return nil
}

func (r *refilled) print(out io.Writer) {
	fmt.Fprintf(out, "refill: %d messages queued, %d records fetched, %d not refilled\n", r.Queued, r.Fetched, len(r.Refused))
	for i, x := range r.Refused {
		if i == maxFindings {
			fmt.Fprintf(out, "and %d more; --json lists them\n", len(r.Refused)-i)
			return
		}
		fmt.Fprintf(out, "not refilled: %s: %s\n", x.ID, x.Why)
	}
}

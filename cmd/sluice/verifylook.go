package main

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/ledger"
	"github.com/sluicebridge/sluice/bridge/verify"
)

// lookAt opens the ledger for a comparison, whether a bridge has it or not.
func (s *side) lookAt(match func(string) bool) func(context.Context) (*verify.Look, error) {
	return func(ctx context.Context) (*verify.Look, error) {
		v, err := ledger.OpenView(ctx, filepath.Join(s.file.DataDir, "ledger"), ledger.ViewFilter{
			Streams: func(pipeline, stream string) bool { return slices.Contains(s.pipelines, pipeline) && match(stream) },
			From:    s.period.From, To: s.period.To - 1,
		})
		if err != nil {
			return nil, err
		}
		return &verify.Look{Ledger: ledgerLook{v}, Gaps: v.Gaps(), Losses: v.Losses()}, nil
	}
}

// ledgerLook is a ledger.View as a comparison wants it.
type ledgerLook struct{ *ledger.View }

func (l ledgerLook) Streams() (all []verify.LedgerStream) {
	for _, s := range l.View.Streams() {
		all = append(all, verify.LedgerStream{Pipeline: s.Pipeline, Name: s.Stream, Newest: s.Newest})
	}
	return all
}

// Unsettled implements verify.Ledger.
func (l ledgerLook) Unsettled(remote, pipeline, stream string) (waiting, refused []bridge.ID) {
	for _, p := range l.Parked(pipeline, stream) {
		if p.By == remote {
			refused = append(refused, p.ID)
		}
	}
	return l.Waiting(remote, pipeline, stream), refused
}

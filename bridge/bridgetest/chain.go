package bridgetest

import (
	"context"

	"github.com/sluicebridge/sluice/bridge"
)

// PassAll is a bridge.Chain without modules.
type PassAll struct{}

// Apply implements bridge.Chain.
func (PassAll) Apply(_ context.Context, _ string, rs []bridge.Record, out *bridge.Results) error {
	for _, r := range rs {
		out.Verdicts = append(out.Verdicts, bridge.Verdict{Kind: bridge.Passed, Outputs: 1})
		out.Messages = append(out.Messages, bridge.Message{Record: r})
	}
	return nil
}

// Flush implements bridge.Chain: nothing is held back.
func (PassAll) Flush(context.Context, string, bridge.Flush, *bridge.Results) error { return nil }

// Discard implements bridge.Chain.
func (PassAll) Discard(string) {}

package main

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
)

// TestFan: an input's batch is taken when all pipelines have it (rule 1), and no pipeline sees what another one marked (rule 2).
func TestFan(t *testing.T) {
	a, b := bridgetest.NewLedger(t, "far"), bridgetest.NewLedger(t, "far")
	f := fan{&bridge.Intake{Pipeline: "a", Ledger: a}, &bridge.Intake{Pipeline: "b", Ledger: b}}
	ctx, stream := context.Background(), "gate/acc-1"
	batch := func() *bridge.Batch {
		return &bridge.Batch{Stream: stream, Records: []bridge.Record{{Time: 1}, {Time: 2}}}
	}
	b.Plan(bridgetest.Fails)
	if err := f.Deliver(ctx, batch()); !errors.Is(err, bridgetest.ErrInjected) {
		t.Fatalf("one of two failed: got %v, want its error", err)
	}
	unseen := make([]bool, 3)
	if err := f.Unseen(ctx, stream, []int64{1, 2, 3}, unseen); err != nil || !slices.Equal(unseen, []bool{true, true, true}) {
		t.Errorf("lacking in one: got %v, %v, want all unseen", unseen, err)
	}
	if err := f.Untouched(ctx, stream, []int64{1, 2, 3}, unseen); err != nil || !slices.Equal(unseen, []bool{false, false, true}) {
		t.Errorf("taken by one: got %v, %v, want only the third untouched", unseen, err)
	}
	if err := f.Deliver(ctx, batch()); err != nil {
		t.Fatal(err)
	}
	if err := f.Unseen(ctx, stream, []int64{1, 2, 3}, unseen); err != nil || !slices.Equal(unseen, []bool{false, false, true}) {
		t.Errorf("both have two: got %v, %v, want only the third unseen", unseen, err)
	}

	labels := []bridge.Label{{Name: []byte("rpm"), Value: []byte("1")}}
	update := bridge.Key{Time: 1, Revision: bridge.LabelHash(labels)}
	known := []bool{true}
	if err := f.Update(ctx, stream, []bridge.Key{update}, known); err != nil || known[0] {
		t.Fatalf("new revision: got %v, %v, want unknown", known, err)
	}
	updated := &bridge.Batch{Stream: stream, Records: []bridge.Record{{Time: 1, Labels: labels}}}
	if err := f.Deliver(ctx, updated); err != nil {
		t.Fatal(err)
	}
	if err := f.Update(ctx, stream, []bridge.Key{update}, known); err != nil || !known[0] {
		t.Errorf("revision that both have: got %v, %v, want known", known, err)
	}
	for name, l := range map[string]*bridgetest.Ledger{"a": a, "b": b} {
		if n := len(l.Messages(name, stream)); n != 3 {
			t.Errorf("%s has %d messages, want 3", name, n)
		}
	}
}

package main

import (
	"context"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// fan delivers an input's batches to every pipeline that reads it. nil means that all have taken it; where one has not, the sender keeps
// the batch, and those that have taken it know it when it comes again.
type fan []*bridge.Intake

// Deliver implements what inputs need of an intake.
func (f fan) Deliver(ctx context.Context, b *bridge.Batch) error {
	for i, in := range f {
		mine := b
		if i < len(f)-1 { // an intake marks the revisions of records; the next one must see them as they came
			mine = &bridge.Batch{Stream: b.Stream, Records: slices.Clone(b.Records)}
		}
		if err := in.Deliver(ctx, mine); err != nil {
			return err
		}
	}
	return nil
}

// Unseen sets unseen[i] where at least one pipeline lacks the record.
func (f fan) Unseen(ctx context.Context, stream string, times []int64, unseen []bool) error {
	clear(unseen)
	return f.lacking(ctx, stream, times, func(i int, lacks bool) { unseen[i] = unseen[i] || lacks })
}

// Untouched sets untouched[i] where every pipeline lacks the record.
func (f fan) Untouched(ctx context.Context, stream string, times []int64, untouched []bool) error {
	for i := range untouched {
		untouched[i] = true
	}
	return f.lacking(ctx, stream, times, func(i int, lacks bool) { untouched[i] = untouched[i] && lacks })
}

// lacking tells for each pipeline which records it lacks.
func (f fan) lacking(ctx context.Context, stream string, times []int64, tell func(i int, lacks bool)) error {
	one := make([]bool, len(times))
	for _, in := range f {
		if err := in.Unseen(ctx, stream, times, one); err != nil {
			return err
		}
		for i, lacks := range one {
			tell(i, lacks)
		}
	}
	return nil
}

// Update sets known[i] where every pipeline had taken that very revision.
func (f fan) Update(ctx context.Context, stream string, keys []bridge.Key, known []bool) error {
	for i := range known {
		known[i] = true
	}
	one := make([]bool, len(keys))
	for _, in := range f {
		if err := in.Update(ctx, stream, keys, one); err != nil {
			return err
		}
		for i, knows := range one {
			known[i] = known[i] && knows
		}
	}
	return nil
}

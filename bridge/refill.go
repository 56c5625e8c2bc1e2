package bridge

import (
	"context"
	"fmt"
	"slices"
)

// refilled is how a message is marked that goes out again because a far end was found to lack it.
const refilled = Replayed | Late

// Resend appends messages of a stream once more, for one remote only. Durable on return.
func (in *Intake) Resend(ctx context.Context, streamName, remote string, ms []Message) error {
	s, err := in.take(ctx, streamName)
	if err != nil {
		return err
	}
	defer s.release()
	return in.resend(ctx, streamName, remote, slices.Clone(ms))
}

// resend appends ms, which it changes. The caller holds the stream's lock.
func (in *Intake) resend(ctx context.Context, streamName, remote string, ms []Message) error {
	for i := range ms {
		ms[i].Flags |= refilled
	}
	a := Append{Pipeline: in.Pipeline, Stream: streamName, Messages: ms, Remotes: []string{remote}}
	if err := in.Ledger.Append(ctx, &a); err != nil {
		return fmt.Errorf("append %d messages of %s for remote %s once more: %w", len(ms), streamName, remote, err)
	}
	return nil
}

// Remake runs the modules on a record anew and appends those of the messages that are wanted, for one remote only. It returns which ones
// they made, durable. Nothing is noted of the record, so no module may keep a state: ErrRejected.
func (in *Intake) Remake(ctx context.Context, streamName, remote string, r Record, want []ID) (made []ID, err error) {
	s, err := in.take(ctx, streamName)
	if err != nil {
		return nil, err
	}
	defer s.release()
	s.records, s.keys = append(s.records[:0], r), append(s.keys[:0], Key{r.Time, r.Revision})
	if err := s.decide(ctx, in, streamName, 0, len(s.records)); err != nil {
		return nil, err
	}
	if len(s.results.States) > 0 {
		in.discard(streamName) // its guests are ahead of the ledger now: rule 4 of INVARIANTS.md
		return nil, fmt.Errorf("a module of pipeline %s keeps a state: %w", in.Pipeline, ErrRejected)
	}
	ms := slices.DeleteFunc(s.results.Messages, func(m Message) bool { return !slices.Contains(want, m.ID()) })
	if len(ms) == 0 {
		return nil, nil
	}
	for i := range ms {
		made = append(made, ms[i].ID())
	}
	return made, in.resend(ctx, streamName, remote, ms)
}

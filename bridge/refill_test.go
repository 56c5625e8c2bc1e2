package bridge_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
)

// splitting makes two messages of a record, and none where its payload is "no".
type splitting struct{}

func (splitting) Apply(_ context.Context, _ string, rs []bridge.Record, out *bridge.Results) error {
	for _, r := range rs {
		if string(r.Payload) == "no" {
			out.Verdicts = append(out.Verdicts, bridge.Verdict{Kind: bridge.Dropped})
			continue
		}
		out.Verdicts = append(out.Verdicts, bridge.Verdict{Kind: bridge.Passed, Outputs: 2})
		out.Messages = append(out.Messages, bridge.Message{Record: r}, bridge.Message{Record: r, Index: 1})
	}
	return nil
}
func (splitting) Discard(string) {}

func (splitting) Flush(context.Context, string, bridge.Flush, *bridge.Results) error { return nil }

// TestRemake: of a record the messages that are wanted are made and stored again, marked as sent again and out of order, and nothing is noted
// of the record itself.
func TestRemake(t *testing.T) {
	first, second := bridge.ID{Key: bridge.Key{Time: 7}}, bridge.ID{Key: bridge.Key{Time: 7}, Index: 1}
	for _, tt := range []struct {
		name, payload string
		want, made    []bridge.ID
	}{
		{"both", "yes", []bridge.ID{first, second}, []bridge.ID{first, second}},
		{"the second", "yes", []bridge.ID{second}, []bridge.ID{second}},
		{"one that is not made", "yes", []bridge.ID{{Key: bridge.Key{Time: 7}, Index: 2}}, nil},
		{"dropped this time", "no", []bridge.ID{first}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := bridgetest.NewLedger(t, "remote", "other")
			in := &bridge.Intake{Pipeline: "p", Ledger: l, Chain: splitting{}}
			made, err := in.Remake(t.Context(), streamName, "remote", bridge.Record{Time: 7, Payload: []byte(tt.payload)}, tt.want)
			if err != nil || !slices.Equal(made, tt.made) {
				t.Errorf("made %v, %v, want %v", made, err, tt.made)
			}
			stored := l.Messages("p", streamName)
			for i, m := range stored {
				if m.ID() != tt.made[i] || m.Flags != bridge.Replayed|bridge.Late {
					t.Errorf("stored %+v, want %v, replayed and late", m, tt.made[i])
				}
			}
			if len(stored) != len(tt.made) {
				t.Errorf("%d messages stored, want %d", len(stored), len(tt.made))
			}
			wantWaiting(t, l, "remote", len(tt.made))
			wantWaiting(t, l, "other", 0)
			if _, seen := l.Seen("p", streamName, bridge.Key{Time: 7}); seen {
				t.Error("the record counts as seen")
			}
		})
	}
}

// wantWaiting checks how many messages wait to be sent to a remote: a refill is for the one that lacks something, at any other it is a double.
func wantWaiting(t *testing.T, l *bridgetest.Ledger, remote string, want int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what is there already is all there is
	rows, err := l.Outbox(remote).Next(ctx, 0, 10)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	got := 0
	for _, r := range rows {
		got += r.Count
	}
	if got != want {
		t.Errorf("%d messages wait for %s, want %d", got, remote, want)
	}
}

// TestRemakeStateful: a chain with a state is not run on a record twice; what its guests know is thrown away (rule 4).
func TestRemakeStateful(t *testing.T) {
	in, l, chain := newIntake(t)
	if err := in.Deliver(t.Context(), batchOf(1, 2)); err != nil {
		t.Fatal(err)
	}
	made, err := in.Remake(t.Context(), streamName, "remote", bridge.Record{Time: 1}, []bridge.ID{{Key: bridge.Key{Time: 1}}})
	if !errors.Is(err, bridge.ErrRejected) || made != nil {
		t.Errorf("made %v, %v, want %v", made, err, bridge.ErrRejected)
	}
	if chain.discarded != 1 {
		t.Errorf("chain was discarded %d times, want once: its count is ahead of the ledger (rule 4)", chain.discarded)
	}
	if err := in.Deliver(t.Context(), batchOf(3)); err != nil {
		t.Fatal(err)
	}
	if got, want := numbers(l), "1 2 3"; got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
}

// TestResend: messages that are still there are stored again as they are, but for their marks.
func TestResend(t *testing.T) {
	l := bridgetest.NewLedger(t, "remote", "other")
	in := &bridge.Intake{Pipeline: "p", Ledger: l}
	ms := []bridge.Message{{Record: bridge.Record{Time: 9, Payload: []byte("x")}, Shift: 2, Index: 3}}
	if err := in.Resend(t.Context(), streamName, "remote", ms); err != nil {
		t.Fatal(err)
	}
	got := l.Messages("p", streamName)
	if len(got) != 1 || got[0].ID() != ms[0].ID() || string(got[0].Payload) != "x" || got[0].Flags != bridge.Replayed|bridge.Late {
		t.Errorf("stored %+v, want %+v, replayed and late", got, ms)
	}
	wantWaiting(t, l, "remote", 1)
	wantWaiting(t, l, "other", 0)
	if ms[0].Flags != 0 {
		t.Error("the caller's messages were changed")
	}
	l.Plan(bridgetest.Unknown)
	if err := in.Resend(t.Context(), streamName, "remote", ms); !errors.Is(err, bridge.ErrUnknown) {
		t.Errorf("got %v, want %v", err, bridge.ErrUnknown)
	}
}

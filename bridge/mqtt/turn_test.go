package mqtt

import (
	"net"
	"testing"

	"github.com/sluicebridge/sluice/bridge/bridgetest"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// TestLostInTurn: a connection that is lost and the next one come in one turn. What the first was to be told ends with it: the next one is asked for
// CONNECT, once, and not ended for what was wrong with the other.
func TestLostInTurn(t *testing.T) {
	for _, tt := range []struct {
		name  string
		turns [][]event // before the first is lost, the last of them in the same turn
	}{
		{"just ready", [][]event{{{kind: ready}}}},
		{"taken over", [][]event{{{kind: ready}}, {{kind: accepted, most: 10}, {kind: takenOver}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := bridgetest.NewLedger(t, "far").Outbox("far")
			r, err := New("far", testConfig("127.0.0.1:1"), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.restore(t.Context(), out); err != nil {
				t.Fatal(err)
			}
			first, second := idle(t), idle(t)
			asked, again := make(chan opening, 2), make(chan opening, 2) // with room for one too many
			last := len(tt.turns) - 1
			tt.turns[last] = append(tt.turns[last], event{kind: lost}, event{kind: ready, link: second, connect: again})
			for _, list := range tt.turns {
				for _, e := range list {
					if e.kind == ready && e.link == nil {
						e.link, e.connect = first, asked
					}
					r.events.add(e)
				}
				if _, err := r.Turn(false); err != nil {
					t.Fatal(err)
				}
				for s := r.Step(); s != nil; s = r.Step() {
					if err := out.Commit(t.Context(), s); err != nil {
						t.Fatal(err)
					}
					if err := r.Done(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if len(asked) != 1 || len(again) != 1 {
				t.Errorf("the first connection was asked for %d CONNECTs, the second for %d, want 1 each", len(asked), len(again))
			}
			if err := second.failure(); err != nil {
				t.Errorf("the second connection was ended: %v, want only the first", err)
			}
		})
	}
}

// idle is a link that nobody writes from.
func idle(t *testing.T) *link {
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	return newLink(near, func(session.Packet) {}, func() {})
}

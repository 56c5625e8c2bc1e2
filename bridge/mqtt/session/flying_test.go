package session_test

import (
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// TestFlying follows what is in flight, and what of it waits for the broker, through two network connections.
func TestFlying(t *testing.T) {
	s := newScript(t, session.Config{QoS: 2}, bridge.Restored{})
	flying := func(what string, n, awaited int) {
		t.Helper()
		if gotN, gotAwaited := s.m.Flying(0); gotN != n || gotAwaited != awaited {
			t.Errorf("%s: %d in flight, %d of them await the broker; want %d, %d", what, gotN, gotAwaited, n, awaited)
		}
	}
	s.offer(1, 3)
	s.online(false, 10)
	flying("sent", 3, 3)
	s.ack(session.Pubrec, 2, 0)
	flying("second PUBREC", 3, 2)
	s.commit()
	flying("its PUBREL waits for the first", 3, 2)
	s.ack(session.Pubrec, 1, 0)
	flying("first PUBREC, R not durable", 3, 1)
	s.ack(session.Pubrec, 1, 0)
	flying("said twice", 3, 1)
	s.commit()
	flying("PUBRELs out", 3, 3)
	s.ack(session.Pubcomp, 1, 0)
	flying("first PUBCOMP", 2, 2)
	s.ack(session.Pubrec, 3, 0)
	flying("third PUBREC", 2, 1)
	s.m.Lost(0, true)
	flying("lost", 0, 0)
	s.m.Ready(0)
	flying("connecting", 0, 0)
	s.commit()
	s.m.Accepted(0, true, 10)
	flying("settling", 0, 0)
	s.commit()
	flying("resumed: PUBRELs out", 2, 2)
	s.m.Distrust(0)
	flying("session not ours", 0, 0)
}

// TestFlyingRefused: a message that could not be sent is none that the broker owes an answer for.
func TestFlyingRefused(t *testing.T) {
	s := newScript(t, session.Config{QoS: 2}, bridge.Restored{})
	s.offer(1, 2)
	s.online(false, 10)
	s.ack(session.Pubrec, 1, 0) // a lie
	s.m.Refuse(0, 0, "too large")
	if n, awaited := s.m.Flying(0); n != 1 || awaited != 1 {
		t.Errorf("%d in flight, %d await the broker; want 1, 1", n, awaited)
	}
}

package session_test

import (
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// tokens is a session.Limit that is open while it has some.
type tokens int

func (n *tokens) Open() bool      { return *n > 0 }
func (n *tokens) Take(bridge.Ref) { *n-- }

// TestLimit: only claims wait for the limit. Acknowledgements are committed alone meanwhile (rule 12), what is half done at the broker goes on, and is
// paid for before anything new.
func TestLimit(t *testing.T) {
	limit := tokens(2)
	s := newScript(t, session.Config{QoS: 2, Limit: &limit}, bridge.Restored{})
	waits := func(what string, want bool) {
		t.Helper()
		if got := s.m.Waits(); got != want {
			t.Errorf("%s: waits %v, want %v", what, got, want)
		}
	}
	s.offer(1, 5)
	waits("not connected", false)
	s.m.Ready(0)
	s.m.Accepted(0, false, 10)
	waits("tokens are there", false)
	s.want("as many as there are tokens", s.commit(), "claim 0=1.0, claim 1=1.1")
	s.frames()
	waits("none is left", true)
	s.want("nothing to commit", s.commit(), "")

	s.ack(session.Pubrec, 1, 0)
	if s.m.Lazy() {
		t.Error("lazy although PUBREL waits for R")
	}
	s.want("R alone (rule 12)", s.commit(), "R 0")
	s.want("its PUBREL", s.frames(), "PUBREL 1")
	s.ack(session.Pubcomp, 1, 0)
	if !s.m.Lazy() {
		t.Error("not lazy although nothing waits for C: no claim could be made with it")
	}
	s.want("C alone (rule 12)", s.commit(), "C 0")

	s.m.Lost(0, false)
	waits("lost", false)
	limit = 1
	s.online(true, 10)
	s.want("resumed at once, and nothing new", s.frames(), "CONNECT, PUBLISH 2 dup")
	waits("paid for with the last one", true)
	limit = 1
	s.want("one more", s.commit(), "claim 2=1.2")
	s.m.Lost(0, false)
	limit = 1
	s.online(true, 10)
	if limit != -1 {
		t.Errorf("%d tokens, want -1 after two messages more", limit)
	}
	s.frames()
	s.m.Stop()
	waits("stopping", false)
	s.ack(session.Pubrec, 2, 0)
	s.ack(session.Pubrec, 3, 0)
	s.commit()
	s.ack(session.Pubcomp, 2, 0)
	s.ack(session.Pubcomp, 3, 0)
	s.want("the last acknowledgements", s.commit(), "C 1, C 2")
	if !s.m.Idle() {
		t.Error("a stopping pump would wait for tokens")
	}
}

// TestLimitWindow: a window that is full is not waited for as if it were the limit.
func TestLimitWindow(t *testing.T) {
	limit := tokens(1)
	s := newScript(t, session.Config{QoS: 1, Limit: &limit}, bridge.Restored{})
	s.offer(1, 5)
	s.online(false, 1)
	s.want("one", s.frames(), "CONNECT clean, PUBLISH 1")
	if s.m.Waits() {
		t.Error("waits for tokens although the window is full")
	}
}

package session_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// TestLive plays what live.go draws: who goes first, and which messages are late (rule 15). A claim at a time, so that the order can be seen.
func TestLive(t *testing.T) {
	s := newScript(t, session.Config{QoS: 1, Live: true}, bridge.Restored{})
	offer := func(live bool, rows ...uint64) {
		for _, n := range rows {
			s.m.Offer(&bridge.Row{Number: n, Count: 1, Live: live}, func(int) session.Lane { return session.Lane{Ordering: bridge.Pipelined} })
		}
	}
	id := uint16(0)
	next := func(want string) { // acknowledges what is in flight, and says what is claimed then
		t.Helper()
		id++
		s.ack(session.Puback, id, 0)
		s.want("next", s.commit(), fmt.Sprintf("C %d, claim %d=%s", id-1, id, want))
	}
	begin := func(rows ...uint64) {
		s.m.Anew()
		offer(false, rows...)
		s.m.Offer(&bridge.Row{Number: 99}, nil)
		s.online(id > 0, 1)
	}
	offer(false, 1, 2, 3, 4) // before the first connection, and forgotten with it
	begin(1, 2, 3, 4, 5, 6)
	s.want("the first", s.frames(), "CONNECT clean, PUBLISH 1")
	next("2.0")
	offer(true, 7)
	next("7.0, passed 7")
	next("3.0")
	s.want("late after a newer one", s.frames(), "PUBLISH 2, PUBLISH 3, PUBLISH 4 late")
	offer(true, 8)
	next("8.0") // the first of the phase says it for all
	offer(true, 9)

	s.m.Lost(0, false)
	begin(4, 5, 6, 8, 9) // row 8 is claimed
	s.want("what is open goes on", s.frames(), "PUBLISH 5, CONNECT, PUBLISH 5 dup marked")
	next("4.0")
	offer(true, 10)
	next("10.0, passed 10")
	next("5.0")
	next("6.0")
	offer(true, 11)
	next("11.0")
	next("9.0")
	s.want("those of the phase before, too", s.frames(), "PUBLISH 6 late, PUBLISH 7, PUBLISH 8 late, PUBLISH 9 late, PUBLISH 10, PUBLISH 11 late")
	offer(true, 12)
	next("12.0") // nothing is left that it could overtake
}

// TestLiveRestart: what went first is remembered by the outbox, a claim that was late is late again, and order is given up by nobody else.
func TestLiveRestart(t *testing.T) {
	open := bridge.Restored{
		Next: map[uint16]uint64{0: 3}, Passed: []bridge.Overtaking{{Row: 7}},
		Claims: []bridge.OpenClaim{{Claim: bridge.Claim{Ref: bridge.Ref{Row: 1}, Number: 1}}, {Claim: bridge.Claim{Ref: bridge.Ref{Row: 2}, Number: 2, Late: true}}},
	}
	for _, live := range []bool{true, false} {
		s := newScript(t, session.Config{QoS: 2, Live: live}, open)
		for _, row := range []uint64{1, 2, 3, 8} {
			s.offer(row, 1)
		}
		s.online(true, 10)
		s.want(fmt.Sprintf("live %v", live), s.frames(), "CONNECT, PUBLISH 2 dup, PUBLISH 3 dup late, PUBLISH 4 late, PUBLISH 5")
	}
}

// TestLiveLimit: the limit is on the backlog, which is not claimed ahead either; live messages have room and claims of their own (rule 19).
func TestLiveLimit(t *testing.T) {
	limit := tokens(1)
	s := newScript(t, session.Config{QoS: 1, Live: true, Limit: &limit, Ahead: 10, Queue: 4}, bridge.Restored{})
	s.m.Anew()
	for row := uint64(1); s.m.Room(); row++ {
		s.m.Offer(&bridge.Row{Number: row, Count: 1}, func(int) session.Lane { return session.Lane{Hash: row} })
	}
	s.online(false, 2)
	if !s.m.Waits() || !s.m.LiveRoom() {
		t.Errorf("waits %v, room for live rows %v; want both", s.m.Waits(), s.m.LiveRoom())
	}
	s.frames()
	s.m.Offer(&bridge.Row{Number: 100, Count: 3, Live: true}, func(int) session.Lane { return session.Lane{Ordering: bridge.Pipelined} })
	s.want("live ones", s.commit(), "claim 1=100.0, claim 2=100.1, claim 3=100.2, passed 100")
	limit = 5
	s.want("the backlog has no claims ahead", s.commit(), "")
	for id := range uint16(3) {
		s.ack(session.Puback, id+1, 0)
	}
	if got := s.commit(); strings.Count(got, "claim ") != 1 {
		t.Errorf("got %q, want one claim: the window has two, one is open", got)
	}
}

// TestLiveMarks: what was returned marked is marked when it is claimed, however many phases come in between (rule 14).
func TestLiveMarks(t *testing.T) {
	s := newScript(t, session.Config{QoS: 2, Live: true}, bridge.Restored{Marked: []bridge.Ref{{Row: 1, Index: 1}}})
	s.offer(1, 3)
	for range 2 {
		s.m.Anew()
		s.offer(1, 3)
	}
	s.online(false, 10)
	s.want("sent", s.frames(), "CONNECT clean, PUBLISH 1, PUBLISH 2 marked, PUBLISH 3")
}

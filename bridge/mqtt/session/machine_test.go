package session_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// script drives one machine by hand and keeps what it wants sent, in words.
type script struct {
	t *testing.T
	m *session.Machine
}

func newScript(t *testing.T, c session.Config, r bridge.Restored) *script {
	t.Helper()
	s := &script{t, session.New(c)}
	if err := s.m.Restore(r, func(bridge.Ref) (session.Lane, error) { return session.Lane{Ordering: bridge.Pipelined}, nil }); err != nil {
		t.Fatal(err)
	}
	return s
}

// offer queues a row of n messages in a pipelined lane.
func (s *script) offer(row uint64, n int) {
	s.m.Offer(&bridge.Row{Number: row, Count: n}, func(int) session.Lane { return session.Lane{Ordering: bridge.Pipelined} })
}

// commit makes all steps durable and returns them in words.
func (s *script) commit() string {
	var words []string
	for step := s.m.Step(); step != nil; step = s.m.Step() {
		for _, a := range step.Acks {
			words = append(words, fmt.Sprintf("%s %d", [...]string{"", "R", "C", "refused", "returned"}[a.Kind], a.Number))
		}
		for _, n := range step.Notes {
			words = append(words, [...]string{"", "trying", "kept", "lost", "removed"}[n.Kind])
		}
		for _, c := range step.Claims {
			words = append(words, fmt.Sprintf("claim %d=%d.%d", c.Number, c.Row, c.Index))
		}
		for _, p := range step.Passed {
			words = append(words, fmt.Sprintf("passed %d", p.Row))
		}
		s.m.Done()
	}
	return strings.Join(words, ", ")
}

// frames returns what was given out since the last call.
func (s *script) frames() string {
	var words []string
	for _, f := range s.m.Frames() {
		w := [...]string{"", "CONNECT", "PUBLISH", "PUBREL", "drop", "erase"}[f.Kind]
		if f.ID > 0 && f.Kind != session.Connect { // TestSpare
			w += fmt.Sprintf(" %d", f.ID)
		}
		if f.Clean {
			w += " clean"
		}
		if f.Dup && f.Kind == session.Publish {
			w += " dup"
		}
		if f.Mark != 0 {
			w += " marked"
		}
		if f.Mark&session.Unanswered != 0 {
			w += " unanswered"
		}
		if f.Mark&session.OtherFarEnd != 0 {
			w += " elsewhere"
		}
		if f.Late {
			w += " late"
		}
		words = append(words, w)
	}
	return strings.Join(words, ", ")
}

func (s *script) want(what, got, want string) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// online connects and commits what that takes.
func (s *script) online(present bool, window int) {
	s.t.Helper()
	s.m.Ready(0)
	s.commit()
	s.m.Accepted(0, present, window)
	s.commit()
}

func (s *script) ack(kind session.PacketKind, id uint16, code byte) {
	s.m.Packet(0, session.Packet{Kind: kind, ID: id, Code: code, Reason: "why"})
}

// TestUnsure: what was sent and not acknowledged is unsure from the cut on, until it is sent again.
func TestUnsure(t *testing.T) {
	s := newScript(t, session.Config{QoS: 1}, bridge.Restored{})
	unsure := func(what string, want int) {
		t.Helper()
		if got := s.m.Unsure(0); got != want {
			t.Errorf("%s: %d unsure, want %d", what, got, want)
		}
	}
	s.offer(1, 3)
	s.online(false, 2)
	s.frames()
	unsure("in flight", 0)
	s.ack(session.Puback, 1, 0)
	s.m.Lost(0, false)
	unsure("cut", 1)
	s.commit()
	s.online(true, 1)
	unsure("sent again", 0)
	s.m.Lost(0, false)
	s.online(true, 1)
	s.m.Lost(0, false)
	unsure("cut again", 1)
}

func TestHandshake(t *testing.T) {
	s := newScript(t, session.Config{QoS: 2}, bridge.Restored{})
	s.offer(1, 3)
	s.m.Ready(0)
	s.want("first connect", s.frames(), "CONNECT clean")
	s.want("nothing is open, nothing to note", s.commit(), "")
	s.m.Accepted(0, false, 2)
	s.want("claims", s.commit(), "claim 0=1.0, claim 1=1.1")
	s.want("publish", s.frames(), "PUBLISH 1, PUBLISH 2")
	s.ack(session.Pubrec, 2, 0)
	s.ack(session.Pubrec, 1, 0x10)
	s.ack(session.Pubrec, 1, 0)
	s.want("no PUBREL before R is durable (rule 9)", s.frames(), "")
	s.want("acknowledgements go alone (rule 12)", s.commit(), "R 1, R 0")
	s.want("PUBREL in PUBLISH order", s.frames(), "PUBREL 1, PUBREL 2")
	s.ack(session.Pubcomp, 1, 0)
	s.want("C rides with a claim", s.commit(), "C 0, claim 2=1.2")
	s.want("publish the third", s.frames(), "PUBLISH 3")
}

// TestStepOutstanding: while a step is out nothing else is committed, and its claims are not sent (rule 8).
func TestStepOutstanding(t *testing.T) {
	s := newScript(t, session.Config{QoS: 1}, bridge.Restored{})
	s.offer(1, 1)
	s.online(false, 10)
	s.frames()
	s.offer(2, 1)
	if step := s.m.Step(); step == nil || len(step.Claims) != 1 {
		t.Fatalf("step %+v, want one claim", step)
	}
	s.ack(session.Puback, 1, 0)
	if step := s.m.Step(); step != nil {
		t.Errorf("a second step %+v while the first is out", step)
	}
	s.want("not durable, not sent", s.frames(), "")
	s.m.Done()
	s.want("sent", s.frames(), "PUBLISH 2")
	s.want("noted meanwhile", s.commit(), "C 0")
}

func TestResume(t *testing.T) {
	open := bridge.Restored{
		Far: "here", Next: map[uint16]uint64{0: 4},
		Claims: []bridge.OpenClaim{
			{Claim: bridge.Claim{Ref: bridge.Ref{Row: 1}, Number: 1}, Received: true},
			{Claim: bridge.Claim{Ref: bridge.Ref{Row: 1, Index: 1}, Number: 2}},
			{Claim: bridge.Claim{Ref: bridge.Ref{Row: 1, Index: 2}, Number: 3, Marked: true}},
		},
	}
	for _, tt := range []struct {
		name    string
		trying  bool
		present bool
		noted   string
		frames  string
	}{
		{"kept", false, true, "kept", "PUBREL 2, PUBLISH 3 dup, PUBLISH 4 dup marked"},
		{"lost", false, false, "lost", "PUBLISH 2 dup marked, PUBLISH 3 dup marked, PUBLISH 4 dup marked"},
		{"present, but an earlier CONNECT has no answer", true, true, "lost",
			"PUBLISH 2 dup marked unanswered, PUBLISH 3 dup marked unanswered, PUBLISH 4 dup marked unanswered"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if open.Trying = nil; tt.trying {
				open.Trying = map[uint16]bool{0: true}
			}
			s := newScript(t, session.Config{QoS: 2}, open)
			s.m.Ready(0)
			if !tt.trying {
				s.want("nothing is sent before trying is durable (rule 14)", s.frames(), "")
				s.want("note", s.commit(), "trying")
			}
			s.want("connect", s.frames(), "CONNECT")
			s.m.Accepted(0, tt.present, 10)
			s.want("nothing is sent before the answer is noted", s.frames(), "")
			s.want("note", s.commit(), tt.noted)
			s.want("resume in claim order (rule 13)", s.frames(), tt.frames)
			s.offer(1, 3)
			s.want("what is open is not claimed again", s.commit(), "")
		})
	}
}

// TestSpare: the identifier that comes with a CONNECT is the one that will be given to a message last.
func TestSpare(t *testing.T) {
	for _, tt := range []struct {
		name string
		open bridge.Restored
		want uint16
	}{
		{"nothing is open", bridge.Restored{}, 3},
		{"claims 4 to 5 are, under 2 and 3", bridge.Restored{Next: map[uint16]uint64{0: 6}, Claims: []bridge.OpenClaim{
			{Claim: bridge.Claim{Ref: bridge.Ref{Row: 1}, Number: 4}}, {Claim: bridge.Claim{Ref: bridge.Ref{Row: 1, Index: 1}, Number: 5}}}}, 1},
	} {
		s := newScript(t, session.Config{QoS: 2, IDs: 3}, tt.open)
		s.m.Ready(0)
		s.commit()
		if f := s.m.Frames(); len(f) != 1 || f[0].Kind != session.Connect || f[0].ID != tt.want {
			t.Errorf("%s: got %+v, want CONNECT with %d", tt.name, f, tt.want)
		}
	}
}

// TestDialFails: a connection that breaks before CONNECT went out leaves no doubt about the session.
func TestDialFails(t *testing.T) {
	s := newScript(t, session.Config{QoS: 2}, bridge.Restored{})
	s.offer(1, 1)
	s.online(false, 10)
	s.m.Lost(0, false)
	s.m.Ready(0)
	s.m.Lost(0, false) // trying is not durable yet
	s.want("note", s.commit(), "trying")
	s.frames()
	s.m.Ready(0)
	s.m.Rejected(0) // an answer
	s.m.Ready(0)
	s.m.Accepted(0, true, 10)
	s.want("note", s.commit(), "kept")
	s.want("frames", s.frames(), "CONNECT, CONNECT, PUBLISH 1 dup")
}

// TestStaleReceived: an R that was noted in a lost session is thrown away, a C stays.
func TestStaleReceived(t *testing.T) {
	s := newScript(t, session.Config{QoS: 2}, bridge.Restored{})
	s.offer(1, 2)
	s.online(false, 10)
	s.ack(session.Pubrec, 1, 0)
	s.commit()
	s.ack(session.Pubcomp, 1, 0)
	s.ack(session.Pubrec, 2, 0)
	s.m.Lost(0, false)
	s.m.Ready(0)
	s.want("both are noted", s.commit(), "C 0, R 1, trying")
	s.m.Lost(0, false)
	s.m.Ready(0)
	s.frames()
	s.m.Accepted(0, false, 10)
	s.want("lost", s.commit(), "lost")
	s.want("R is forgotten", s.frames(), "PUBLISH 2 dup marked")

	s = newScript(t, session.Config{QoS: 2}, bridge.Restored{})
	s.offer(1, 1)
	s.online(false, 10)
	s.m.Lost(0, false)
	s.m.Ready(0)
	s.commit()
	s.m.Accepted(0, false, 10)
	s.ack(session.Pubrec, 1, 0) // of the old session, read late
	s.want("no R before the loss is noted", s.commit(), "lost")
}

// TestStranger: answers that can only come from a session which is not ours.
func TestStranger(t *testing.T) {
	for _, tt := range []struct {
		name string
		qos  byte
		do   func(*script)
	}{
		{"0x91 to a first PUBLISH", 2, func(s *script) { s.ack(session.Pubrec, 1, 0x91) }},
		{"0x91 in a PUBACK", 1, func(s *script) { s.ack(session.Puback, 1, 0x91) }},
		{"0x92 to a first PUBREL", 2, func(s *script) {
			s.ack(session.Pubrec, 1, 0)
			s.commit()
			s.frames()
			s.ack(session.Pubcomp, 1, 0x92)
		}},
		{"session taken over", 2, func(s *script) { s.m.Distrust(0) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t, session.Config{QoS: tt.qos}, bridge.Restored{})
			s.offer(1, 1)
			s.online(false, 10)
			s.frames()
			tt.do(s)
			s.want("frames", s.frames(), "drop")
			s.m.Lost(0, false)
			s.want("noted", s.commit(), "trying")
			s.m.Ready(0)
			s.want("connect", s.frames(), "CONNECT clean")
			s.m.Accepted(0, false, 10)
			s.want("noted", s.commit(), "lost")
			s.want("again", s.frames(), "PUBLISH 1 dup marked")
		})
	}
}

// TestStrangerWhileIdle: a session that was taken over while nothing was open is wiped out, in another life too: what the stranger left in it
// would swallow messages.
func TestStrangerWhileIdle(t *testing.T) {
	s := newScript(t, session.Config{QoS: 2}, bridge.Restored{Next: map[uint16]uint64{0: 4}})
	s.online(true, 10)
	s.m.Distrust(0)
	s.want("frames", s.frames(), "CONNECT, drop")
	s.want("noted", s.commit(), "trying")
	s = newScript(t, session.Config{QoS: 2}, bridge.Restored{Next: map[uint16]uint64{0: 4}, Trying: map[uint16]bool{0: true}})
	s.offer(1, 1)
	s.m.Ready(0)
	s.want("connect in another life", s.frames(), "CONNECT clean")
	s.m.Accepted(0, false, 10)
	s.want("noted, and on", s.commit(), "lost, claim 4=1.0")
	s.want("not marked", s.frames(), "PUBLISH 5")
}

// TestRepeats: answers to repeated frames that mean "done".
func TestRepeats(t *testing.T) {
	s := newScript(t, session.Config{QoS: 2}, bridge.Restored{})
	s.offer(1, 1)
	s.online(false, 10)
	s.m.Lost(0, false)
	s.online(true, 10)
	s.ack(session.Pubrec, 1, 0x91)
	s.want("0x91 to a resend is R", s.commit(), "R 0")
	s.m.Lost(0, false)
	s.online(true, 10)
	s.ack(session.Pubcomp, 1, 0x92)
	s.want("0x92 to a repeated PUBREL is C", s.commit(), "C 0")
}

// TestIdentifiers: claiming pauses before an identifier could be used twice (rule 11).
func TestIdentifiers(t *testing.T) {
	s := newScript(t, session.Config{QoS: 1, IDs: 3}, bridge.Restored{})
	s.offer(1, 6)
	s.online(false, 100)
	s.want("three", s.frames(), "CONNECT clean, PUBLISH 1, PUBLISH 2, PUBLISH 3")
	s.ack(session.Puback, 2, 0)
	s.ack(session.Puback, 3, 0)
	s.want("the lowest is open", s.commit(), "C 1, C 2")
	s.ack(session.Puback, 1, 0)
	s.want("C is not durable yet", s.commit(), "C 0, claim 3=1.3, claim 4=1.4, claim 5=1.5")
	s.want("identifiers come again", s.frames(), "PUBLISH 1, PUBLISH 2, PUBLISH 3")
}

// TestRefuseSent: a message that cannot be sent again finishes its handshake, else its identifier would swallow a later message.
func TestRefuseSent(t *testing.T) {
	s := newScript(t, session.Config{QoS: 2}, bridge.Restored{})
	s.offer(1, 2)
	s.online(false, 10)
	s.m.Refuse(0, 0, "too large")
	s.want("never sent before", s.commit(), "refused 0")
	s.m.Lost(0, false)
	s.online(true, 10)
	s.frames()
	s.m.Refuse(0, 1, "too large")
	s.want("released first", s.frames(), "PUBREL 2")
	s.want("not parked yet", s.commit(), "")
	s.ack(session.Pubcomp, 2, 0x92)
	s.want("parked", s.commit(), "refused 1")
}

func TestRemoved(t *testing.T) {
	open := bridge.Restored{
		Far: "here", Next: map[uint16]uint64{0: 5, 2: 8}, Claims: []bridge.OpenClaim{{Claim: bridge.Claim{Conn: 2, Number: 7}}},
	}
	s := newScript(t, session.Config{QoS: 1}, open)
	if got := fmt.Sprint(s.m.Connections()); got != "[0 2]" {
		t.Errorf("connections %s, want [0 2]", got)
	}
	s.m.Ready(2)
	s.commit()
	s.m.Accepted(2, true, 10)
	s.commit()
	s.want("resumed", s.frames(), "CONNECT, PUBLISH 8 dup marked")
	s.m.Packet(2, session.Packet{Kind: session.Puback, ID: 8})
	s.want("not erased before C is durable", s.frames(), "")
	s.commit()
	s.want("erased", s.frames(), "erase")
	s.m.Lost(2, false)
	s.want("forgotten", s.commit(), "removed")
	if got := fmt.Sprint(s.m.Connections()); got != "[0]" {
		t.Errorf("connections %s, want [0]", got)
	}
}

// TestOtherFarEnd: no session of another broker is ours, whatever it says.
func TestOtherFarEnd(t *testing.T) {
	open := bridge.Restored{
		Next: map[uint16]uint64{0: 1}, Claims: []bridge.OpenClaim{{Claim: bridge.Claim{Ref: bridge.Ref{Row: 1}, Marked: true}}}, // as the outbox makes them
	}
	s := newScript(t, session.Config{QoS: 2, Clean: true}, open)
	s.m.Ready(0)
	s.want("noted", s.commit(), "trying")
	s.want("connect", s.frames(), "CONNECT clean")
	s.m.Accepted(0, true, 10)
	s.want("noted", s.commit(), "lost")
	s.want("again", s.frames(), "PUBLISH 1 dup marked elsewhere")
}

// TestHeld: a message that is refused for now waits at the head of its lane until Retry (rule 16).
func TestHeld(t *testing.T) {
	for _, tt := range []struct {
		name string
		hold bool
		code byte
		want string
	}{
		{"for now", false, 0x97, "returned 0"},
		{"for good", false, 0x99, "refused 0, claim 1=1.1"},
		{"for good, held", true, 0x99, "returned 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t, session.Config{QoS: 1, Hold: tt.hold}, bridge.Restored{})
			s.m.Offer(&bridge.Row{Number: 1, Count: 2}, func(int) session.Lane { return session.Lane{} })
			s.online(false, 10)
			s.ack(session.Puback, 1, tt.code)
			s.want("refused", s.commit(), tt.want)
			if strings.HasPrefix(tt.want, "refused") {
				return
			}
			if s.m.Held() != 1 || s.m.HeldWhy() != "why" {
				t.Errorf("%d lanes held: %q, want 1: \"why\"", s.m.Held(), s.m.HeldWhy())
			}
			s.m.Retry()
			s.want("tried again, before what follows", s.commit(), "claim 1=1.0")
		})
	}
}

// TestLazy: a step may gather unless a PUBREL, a note, a connection or an identifier waits for it.
func TestLazy(t *testing.T) {
	s := newScript(t, session.Config{QoS: 1, Ahead: 8, IDs: 30}, bridge.Restored{})
	check := func(what string, want bool) {
		t.Helper()
		if got := s.m.Lazy(); got != want {
			t.Errorf("%s: lazy %v, want %v", what, got, want)
		}
	}
	check("nothing to do", false)
	s.offer(1, 11)
	s.online(false, 2)
	s.want("claims", fmt.Sprint(strings.Count(s.frames(), "PUBLISH")), "2")
	check("all is claimed that may be", false)
	s.ack(session.Puback, 1, 0)
	check("an acknowledgement, enough is claimed ahead", true)
	for id := uint16(2); id <= 4; id++ {
		s.ack(session.Puback, id, 0)
	}
	check("half of what was claimed ahead is sent", false)
	s.commit()
	check("committed", false)
	s.ack(session.Puback, 5, 0)
	check("nothing is queued", true)
	s.m.Lost(0, false)
	s.m.Ready(0)
	check("trying", false)

	s = newScript(t, session.Config{QoS: 2}, bridge.Restored{})
	s.offer(1, 1)
	s.online(false, 2)
	s.ack(session.Pubrec, 1, 0)
	check("PUBREL waits for R", false)
	s.commit()
	s.ack(session.Pubcomp, 1, 0)
	check("nothing waits for C", true)
	s.m.Stop()
	check("stopping", false)

	s = newScript(t, session.Config{QoS: 1, IDs: 3}, bridge.Restored{})
	s.offer(1, 2)
	s.online(false, 2)
	s.ack(session.Puback, 1, 0)
	check("identifiers run out (rule 11)", false)
}

// TestRoom: a lane that is held, or strict and waiting, leaves room for the others, up to four times the queue (rule 19).
func TestRoom(t *testing.T) {
	for _, code := range []byte{0x97, 0} { // 0: no answer
		s := newScript(t, session.Config{QoS: 1, Queue: 128}, bridge.Restored{})
		row := uint64(0)
		offer := func(hash uint64) {
			row++
			s.m.Offer(&bridge.Row{Number: row, Count: 1}, func(int) session.Lane { return session.Lane{Hash: hash} })
		}
		s.online(false, 10)
		offer(1)
		s.commit()
		s.frames()
		if code > 0 {
			s.ack(session.Puback, 1, code)
			s.commit()
		}
		for range 300 {
			offer(1)
		}
		if !s.m.Room() {
			t.Errorf("code 0x%02x: no room behind one lane of 300 rows", code)
		}
		offer(2)
		s.commit()
		s.want("the other lane goes on", s.frames(), "PUBLISH 2")
		for hash := range uint64(63) {
			offer(hash + 3)
			offer(hash + 3)
		}
		if s.m.Room() {
			t.Errorf("code 0x%02x: room although the queue's 128 are there", code)
		}
		if s.ack(session.Puback, 2, 0); s.commit() == "" || !s.m.Room() {
			t.Errorf("code 0x%02x: no room after claims", code)
		}
		for s.m.Room() && row < 1000 {
			offer(1)
		}
		if row > 600 {
			t.Errorf("code 0x%02x: room for %d rows, want about 512", code, row)
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	claim := func(n uint64) bridge.OpenClaim { return bridge.OpenClaim{Claim: bridge.Claim{Number: n}} }
	for _, tt := range []struct {
		name   string
		claims []bridge.OpenClaim
	}{
		{"out of order", []bridge.OpenClaim{claim(5), claim(4)}},
		{"twice", []bridge.OpenClaim{claim(5), claim(5)}},
		{"more than identifiers", []bridge.OpenClaim{claim(5), claim(5 + 65535)}},
	} {
		m := session.New(session.Config{QoS: 2})
		lane := func(bridge.Ref) (session.Lane, error) { return session.Lane{}, nil }
		err := m.Restore(bridge.Restored{Claims: tt.claims, Next: map[uint16]uint64{0: 6}}, lane)
		if !errors.Is(err, bridge.ErrCorrupt) {
			t.Errorf("%s: got %v, want %v (rule 17)", tt.name, err, bridge.ErrCorrupt)
		}
	}
}

// BenchmarkMachine runs whole QoS 2 handshakes through the machine: eight lanes, rows of 85, a window of 1,024.
func BenchmarkMachine(b *testing.B) {
	for _, qos := range []byte{1, 2} {
		b.Run(fmt.Sprintf("qos%d", qos), func(b *testing.B) {
			m := session.New(session.Config{QoS: qos, Window: 1024})
			m.Ready(0)
			m.Frames()
			m.Accepted(0, false, 1024)
			b.ReportAllocs()
			b.ResetTimer()
			row, ended := uint64(0), 0
			for ended < b.N {
				for m.Room() && row < uint64(ended/85+40) {
					row++
					lane := session.Lane{Hash: row % 8, Ordering: bridge.Pipelined}
					m.Offer(&bridge.Row{Number: row, Count: 85}, func(int) session.Lane { return lane })
				}
				if m.Step() != nil {
					m.Done()
				}
				for _, f := range m.Frames() {
					p := session.Packet{ID: f.ID}
					switch {
					case qos == 1:
						p.Kind = session.Puback
						ended++
					case f.Kind == session.Publish:
						p.Kind = session.Pubrec
					default:
						p.Kind = session.Pubcomp
						ended++
					}
					m.Packet(0, p)
				}
			}
			b.ReportMetric(float64(ended)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

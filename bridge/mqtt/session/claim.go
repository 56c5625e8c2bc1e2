package session

import (
	"fmt"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// claim is a message under a send number.
type claim struct {
	bridge.Ref
	lane *lane
	flags
	rels uint8 // PUBRELs sent, 2 standing for more
	mark Mark
	late bool // a newer message of its lane was claimed before
}

type flags uint8

const (
	received   flags = 1 << iota // PUBREC seen
	releasable                   // and durable: PUBREL may go (rule 9)
	ended                        // its last acknowledgement is noted
	gone                         // and durable: the packet identifier is free
	sent                         // a PUBLISH went out, in this life or an earlier one
	resent                       // the last PUBLISH was not the first
	returned                     // ended, and its message waits for another claim
	alive                        // its message is live
)

func (f flags) has(x flags) bool { return f&x != 0 }

// claims of a connection: a ring in which claim n is at n modulo its length. Numbers are dense, so there are never more than packet
// identifiers (rule 11).
type claims struct {
	ring []claim
	base uint64 // lowest claim not durably ended; next if there is none
	next uint64 // number of the next claim
}

func (q *claims) at(n uint64) *claim { return &q.ring[n&uint64(len(q.ring)-1)] }

// add makes room for one more claim and returns it, cleared.
func (q *claims) add() *claim {
	if int(q.next-q.base) == len(q.ring) {
		q.grow()
	}
	k := q.at(q.next)
	q.next++
	*k = claim{}
	return k
}

func (q *claims) grow() {
	old := *q
	q.ring = make([]claim, max(64, 2*len(old.ring)))
	for n := old.base; n < old.next; n++ {
		*q.at(n) = *old.at(n)
	}
}

// trim moves base past what is durably ended.
func (q *claims) trim() {
	for q.base < q.next && q.at(q.base).has(gone) {
		q.base++
	}
}

// start sets the next number of a connection that has nothing open.
func (c *conn) start(next uint64) {
	c.base, c.next, c.durable, c.touched, c.released = next, next, next, next, next
}

// restore adds an open claim of an earlier life. Numbers between open claims are those of ended ones.
func (c *conn) restore(k *bridge.OpenClaim, l *lane, qos byte) error {
	upto := max(c.next, k.Number+1)
	if c.base == c.next { // the first open one
		c.base, c.next = k.Number, k.Number
	}
	if k.Number < c.base || upto-c.base > c.ids {
		return fmt.Errorf("restore claim %d of connection %d, the first is %d and %d are possible: %w",
			k.Number, c.id, c.base, c.ids, bridge.ErrCorrupt)
	}
	for c.next < upto {
		c.add().flags = ended | gone
	}
	if c.at(k.Number).lane != nil {
		return fmt.Errorf("restore claim %d of connection %d: it is there already: %w", k.Number, c.id, bridge.ErrCorrupt)
	}
	x := claim{Ref: k.Ref, lane: l, flags: sent | resent}
	if k.Received && qos == 2 {
		x.flags |= received | releasable
		x.rels = 1
	}
	if k.Marked {
		x.mark = SessionLost
	}
	x.late = k.Late
	*c.at(k.Number) = x
	c.durable, c.touched, c.released = upto, c.base, c.base
	c.open++
	return nil
}

// nothingToKeep reports, for a restored connection, that a session at the broker is of no use to it, so that the first CONNECT may wipe
// it out with whatever strangers left in it: never claimed on, or given up (trying, and all that is open goes out marked anyway). The
// latter is what a new far end looks like until its first CONNACK is noted.
func (c *conn) nothingToKeep() bool {
	if c.next == 0 {
		return true
	}
	for n := c.base; n < c.next; n++ {
		if k := c.at(n); !k.has(ended) && (k.mark == Unmarked || k.has(received)) {
			return false
		}
	}
	return c.tried
}

// claim adds to s what may go now or soon: the heads of free lanes.
func (m *Machine) claim(s *bridge.Step) {
	n := m.c.Connections
	for i := range n {
		if c := m.conns[(m.turn+i)%n]; c != nil {
			m.claimOn(c, s)
		}
	}
	m.turn = (m.turn + 1) % n
}

func (m *Machine) claimOn(c *conn, s *bridge.Step) {
	for x := classes; x > 0; x-- { // live ones first
		m.claimClass(c, x-1, s)
	}
}

func (m *Machine) claimClass(c *conn, x class, s *bridge.Step) {
	for c.state == online && m.room(c, x, s) > 0 && m.mayClaim(x) {
		l := c.ready[x].pop()
		if l == nil {
			return
		}
		l.queued[x] = false
		for n := min(quantum, m.room(c, x, s)); n > 0 && l.claimable(x) && m.mayClaim(x); n-- {
			m.claimNext(c, l, x, s)
		}
		m.enqueue(l)
		m.forget(l)
	}
}

// claimNext claims the first message of a class in a lane.
func (m *Machine) claimNext(c *conn, l *lane, x class, s *bridge.Step) {
	ref, mark, spans := l.queue[x].pop()
	m.grow(l, x, -spans)
	k := c.add()
	k.Ref, k.lane, k.mark = ref, l, mark
	c.open++
	l.here++
	if x == live {
		k.flags = alive
		m.overtake(l, ref.Row, s)
	} else {
		k.late = m.late(l, ref.Row)
		m.took(ref)
	}
	s.Claims = append(s.Claims, bridge.Claim{Ref: ref, Conn: c.id, Number: c.next - 1, Marked: mark != Unmarked, Late: k.late})
}

// quantum is how many messages of one lane are claimed before the next lane has its turn.
const quantum = 32

// room returns how many claims may be made on c in this step: the Receive Maximum and what is claimed ahead of it, the step's size and, for
// rule 11, number to be claimed − lowest not durably ended < N. What is claimed ahead is sent as soon as the window has room, without waiting for
// a commit; the price is paid after a crash or a lost session, when messages that never went out are resent as if they had.
func (m *Machine) room(c *conn, x class, s *bridge.Step) int {
	return min(c.window+m.ahead(x)-c.open, int(c.ids-(c.next-c.base)), m.c.Claims-len(s.Claims))
}

// ahead is how many claims of a class may be made beyond the window: what can be overtaken is overtaken as long as it is not claimed.
func (m *Machine) ahead(x class) int {
	if m.c.Live && x == backlog {
		return 0
	}
	return m.c.Ahead
}

// mayClaim reports whether Limit lets a message of a class pass. It is there for what has gathered.
func (m *Machine) mayClaim(x class) bool { return m.c.Limit == nil || x == live || m.c.Limit.Open() }

func (m *Machine) took(ref bridge.Ref) {
	if m.c.Limit != nil {
		m.c.Limit.Take(ref)
	}
}

// wants reports whether c has something of a class to claim, and room for it.
func (m *Machine) wants(c *conn, x class) bool {
	return c.state == online && !c.ready[x].empty() && c.open < c.window+m.ahead(x)
}

// Waits reports whether more would be claimed if Limit were open.
func (m *Machine) Waits() bool {
	if m.stopped || m.mayClaim(backlog) {
		return false
	}
	return slices.ContainsFunc(m.conns, func(c *conn) bool { return c != nil && m.wants(c, backlog) })
}

package session

import (
	"fmt"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// Config of a Machine. The zero value of a field is what its comment says.
type Config struct {
	QoS         byte  // 2, else what is sent again is always a possible duplicate
	Connections int   // clients that may claim; 0 = 1
	IDs         int   // number of packet identifiers; 0 = 65,535. Simulations use few.
	Window      int   // at most this many unacknowledged a connection, whatever its Receive Maximum; 0 = no limit of ours
	Queue       int   // spans (messages of one row and lane that follow each other) that are queued before Room is false, see there; 0 = 65,536
	Claims      int   // at most this many claims in a Step; 0 = 4,096
	Ahead       int   // claims a connection may have beyond its window, so that no send waits for a commit; 0 = none
	Hold        bool  // a message that is refused for good is tried again like one refused for now; strict lanes only
	Clean       bool  // the far end is not the one that the restored claims belong to: no session of it can be ours
	Limit       Limit // bounds how fast new claims are made, of live messages not; nil = nothing does
	Live        bool  // live rows go before the others; see Anew
}

// Limit bounds how fast messages are claimed. What is sent again at a resume is not asked for, since it is half done at the broker, but it
// counts: new messages wait until it is paid for.
type Limit interface {
	Open() bool          // one more message may be claimed
	Take(ref bridge.Ref) // one was, or goes out once more
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *int
		value int
	}{{&c.Connections, 1}, {&c.IDs, 65535}, {&c.Window, 65535}, {&c.Queue, 65536}, {&c.Claims, 4096}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return c
}

// Lane is the lane of a message as the caller computed it.
type Lane struct {
	Hash     uint64
	Ordering bridge.Ordering // the same for all messages of a Hash
}

// Kind of a Frame.
type Kind uint8

const (
	_       Kind = iota
	Connect      // CONNECT; ID is free for a SUBSCRIBE. Where Clean, whatever session the broker has is ended before, and Accepted means that a new one was made
	Publish      // PUBLISH of message Ref
	Pubrel       // PUBREL
	Drop         // end the network connection
	Erase        // DISCONNECT with session expiry 0, then end the network connection
)

// Mark says why a PUBLISH may be a duplicate; there may be several reasons.
type Mark uint8

const (
	Unmarked    Mark = 0
	SessionLost Mark = 1 // sent before in a session that is gone
	SentBefore  Mark = 2 // sent before, and QoS 0 and 1 have no way to tell whether it arrived
	OtherFarEnd Mark = 4 // sent before to another far end, or by another ledger
	Unanswered  Mark = 8 // sent before in a session that may have been lost unseen: an answer to CONNECT never came
)

// Frame is something to send. Number is the claim's send number.
type Frame struct {
	bridge.Ref
	Number uint64
	Conn   uint16
	ID     uint16
	Kind   Kind
	Dup    bool
	Clean  bool
	Late   bool // a newer message of its lane was claimed before
	Mark   Mark
}

// Machine is the protocol's state for one remote. See the package comment for how it is used.
type Machine struct {
	c        Config
	conns    []*conn // by connection number; nil: forgotten
	lanes    map[uint64]*lane
	free     []*lane // for reuse
	held     []*lane
	why      string                  // the last of them is held
	spans    [classes]int            // queued
	shares   [classes]int            // the same, no lane counting for more than its share
	restored map[bridge.Ref]struct{} // open at the start: their rows come by Offer once more
	marked   map[bridge.Ref]Mark     // the same of those that were returned while marked, and are queued then
	passed   map[uint64]passed       // by lane: what went before older messages
	caughtUp bool                    // all of the backlog was offered
	parking  map[bridge.Ref]string   // refused by the caller, their reason; PUBCOMP is waited for
	acks     []bridge.Ack            // noted, not in a step yet
	notes    []bridge.Note
	pressing bool // acks has one that a PUBREL waits for
	step     bridge.Step
	out      bool // step is being committed
	stopped  bool
	turn     int // connection that claims first in the next step
	frames   []Frame
	given    []Frame
}

// New returns a machine that has nothing open.
func New(c Config) *Machine {
	m := &Machine{c: c.withDefaults(), lanes: make(map[uint64]*lane), marked: make(map[bridge.Ref]Mark), passed: make(map[uint64]passed)}
	for id := range m.c.Connections {
		m.conns = append(m.conns, &conn{id: uint16(id), clean: c.Clean, ids: uint64(m.c.IDs)})
	}
	return m
}

// Restore takes over what was open. It is called at most once, before any event; lane gives the lane of an open claim's message.
func (m *Machine) Restore(r bridge.Restored, lane func(bridge.Ref) (Lane, error)) error {
	for id, next := range r.Next {
		m.restoreConn(id).start(next)
	}
	for id := range r.Trying {
		c := m.restoreConn(id)
		c.tried, c.unanswered = true, true
	}
	m.restored = make(map[bridge.Ref]struct{}, len(r.Claims))
	for _, ref := range r.Marked {
		m.remember(ref, SessionLost)
	}
	for _, p := range r.Passed {
		m.passed[p.Lane] = passed{row: p.Row}
	}
	for i := range r.Claims {
		k := &r.Claims[i]
		l, err := lane(k.Ref)
		if err != nil {
			return fmt.Errorf("restore claim %d of connection %d: %w", k.Number, k.Conn, err)
		}
		c := m.restoreConn(k.Conn)
		if err := c.restore(k, m.lane(l), m.c.QoS); err != nil {
			return err
		}
		if k.Marked && m.c.Clean {
			c.at(k.Number).mark |= OtherFarEnd
		}
		m.count(c.at(k.Number).lane, c, 1)
		m.restored[k.Ref] = struct{}{}
	}
	for _, c := range m.conns {
		if c != nil {
			c.clean = c.clean || c.nothingToKeep()
			c.doubt()
		}
	}
	return nil
}

// restoreConn returns a connection that may not be configured any more.
func (m *Machine) restoreConn(id uint16) *conn {
	for int(id) >= len(m.conns) {
		m.conns = append(m.conns, nil)
	}
	if m.conns[id] == nil {
		m.conns[id] = &conn{id: id, removed: true, clean: m.c.Clean, ids: uint64(m.c.IDs)}
	}
	return m.conns[id]
}

// conn returns a connection, nil for one that is not known or was forgotten: what is said of it is ignored.
func (m *Machine) conn(id uint16) *conn {
	if int(id) >= len(m.conns) {
		return nil
	}
	return m.conns[id]
}

// Connections returns the numbers of those that are to be connected: the configured ones, and those that still have to end what was
// open when they were taken out of the configuration.
func (m *Machine) Connections() []uint16 {
	var ids []uint16
	for id, c := range m.conns {
		if c != nil {
			ids = append(ids, uint16(id))
		}
	}
	return ids
}

// Offer queues the messages of a row that are neither settled nor claimed. Rows must come in ascending order, live ones and the others each. An empty
// one says that all the others of the phase were offered.
func (m *Machine) Offer(row *bridge.Row, laneOf func(i int) Lane) {
	if row.Count == 0 {
		m.caughtUp = true
	}
	var last *lane
	x := backlog
	if row.Live {
		x = live
	}
	for i := range row.Count {
		ref := bridge.Ref{Row: row.Number, Index: uint32(i)}
		if row.Settled.Has(i) || m.taken(ref) {
			continue
		}
		of := laneOf(i)
		if last == nil || last.Hash != of.Hash {
			last = m.lane(of)
		}
		mark := Unmarked
		if len(m.marked) > 0 {
			mark = m.marked[ref]
			delete(m.marked, ref)
		}
		m.grow(last, x, last.queue[x].push(ref, mark))
		m.enqueue(last)
	}
}

// taken reports whether ref was claimed in an earlier life; each is asked for once.
func (m *Machine) taken(ref bridge.Ref) bool {
	if len(m.restored) == 0 {
		return false
	}
	_, ok := m.restored[ref]
	delete(m.restored, ref)
	return ok
}

// remember keeps the mark of a message that is queued when its row comes.
func (m *Machine) remember(ref bridge.Ref, mark Mark) {
	if mark != Unmarked {
		m.marked[ref] = mark
	}
}

// Room reports whether more rows should be offered that are not live. A lane counts for a 64th of Queue at most, so that one which is held, or strict and slow, does
// not keep rows from the others; all lanes together may have four times Queue.
func (m *Machine) Room() bool { return m.hasRoom(backlog) }

// LiveRoom is Room for live rows. It is theirs alone.
func (m *Machine) LiveRoom() bool { return m.hasRoom(live) }

func (m *Machine) hasRoom(x class) bool {
	return m.shares[x] < m.c.Queue && m.spans[x] < stretch*m.c.Queue
}

const stretch = 4

func (m *Machine) share() int { return max(1, m.c.Queue/64) }

// grow counts spans that were added to l, or taken from it.
func (m *Machine) grow(l *lane, x class, by int) {
	now := l.queue[x].len()
	m.spans[x] += by
	m.shares[x] += min(now, m.share()) - min(now-by, m.share())
}

// Stop makes every later Step free of claims.
func (m *Machine) Stop() { m.stopped = true }

// Idle reports whether nothing is open that could still be answered: no acknowledgement waits to be committed, and every
// connection with open claims is down.
func (m *Machine) Idle() bool {
	if m.out || len(m.acks)+len(m.notes) > 0 {
		return false
	}
	for _, c := range m.conns {
		if c != nil && c.open > 0 && c.state != down {
			return false
		}
	}
	return true
}

// Frames returns what is to be sent since the last call, in order. The slice is the caller's until the next call.
func (m *Machine) Frames() []Frame {
	m.frames, m.given = m.given[:0], m.frames
	return m.given
}

// Retry lets the lanes go on that hold a message which was refused for now.
func (m *Machine) Retry() {
	for _, l := range m.held {
		l.held = false
		m.enqueue(l)
	}
	m.held = m.held[:0]
}

// Up reports whether there is a connection that the broker has accepted.
func (m *Machine) Up() bool {
	return slices.ContainsFunc(m.conns, func(c *conn) bool { return c != nil && c.state >= settling })
}

// Behind reports whether there is something to send: queued, or open.
func (m *Machine) Behind() bool {
	return m.spans[backlog]+m.spans[live] > 0 || slices.ContainsFunc(m.conns, func(c *conn) bool { return c != nil && c.open > 0 })
}

// Held returns how many lanes wait for Retry.
func (m *Machine) Held() int { return len(m.held) }

// HeldWhy returns why the last lane was held, as the broker said.
func (m *Machine) HeldWhy() string { return m.why }

// Unsure returns how many of id's messages were sent on an earlier network connection, or before a crash, and neither acknowledged nor sent again since: the
// broker may have them or not.
func (m *Machine) Unsure(id uint16) int {
	if c := m.conn(id); c != nil {
		return c.doubtful
	}
	return 0
}

// Flying returns how many messages were sent on id's network connection and are not acknowledged, and how many of them wait for the broker: the
// others have their PUBREC, and wait for it to be durable.
func (m *Machine) Flying(id uint16) (n, awaited int) {
	if c := m.conn(id); c != nil {
		return c.flying, c.flying - c.ours
	}
	return 0, 0
}

// Find returns the message of a claim that is not durably ended.
func (m *Machine) Find(id uint16, number uint64) (bridge.Ref, bool) {
	c := m.conn(id)
	if c == nil || number < c.base || number >= c.next {
		return bridge.Ref{}, false
	}
	return c.at(number).Ref, true
}

// Step returns what is to be made durable next, or nil while there is nothing or a step is out. Acknowledgements ride with new claims, or
// go alone (rule 12).
func (m *Machine) Step() *bridge.Step {
	if m.out {
		return nil
	}
	s := &m.step
	s.Acks, m.acks = m.acks, s.Acks[:0]
	m.pressing = false
	s.Notes, m.notes = m.notes, s.Notes[:0]
	s.Claims, s.Passed = s.Claims[:0], s.Passed[:0]
	if !m.stopped {
		m.claim(s)
	}
	if len(s.Acks)+len(s.Notes)+len(s.Claims) == 0 {
		return nil
	}
	m.out = true
	return s
}

// Lazy reports whether there is a step that nothing waits for: no PUBREL, no connection, and the claims that are durable will do for a while.
func (m *Machine) Lazy() bool {
	if m.out || m.stopped || m.pressing || len(m.notes) > 0 {
		return false
	}
	some := len(m.acks) > 0
	for _, c := range m.conns {
		if c == nil || c.state != online {
			continue
		}
		if c.next-c.base > c.ids/2 || c.removed { // identifiers are needed (rule 11), or the end is
			return false
		}
		if !m.wants(c, live) && !(m.wants(c, backlog) && m.mayClaim(backlog)) {
			continue
		}
		if c.next-c.touched <= uint64(m.c.Ahead/2) {
			return false
		}
		some = true
	}
	return some
}

// Done says that the last step is durable.
func (m *Machine) Done() {
	m.out = false
	for i := range m.step.Acks {
		a := &m.step.Acks[i]
		m.conns[a.Conn].durably(a)
	}
	for _, n := range m.step.Notes {
		m.noted(n)
	}
	for _, c := range m.conns {
		if c != nil {
			c.settle()
			m.send(c)
			m.drain(c)
		}
	}
	m.prune()
}

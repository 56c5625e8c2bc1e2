package session

import "github.com/sluicebridge/sluice/bridge"

// conn is one client: a session at the broker, and the network connections to it that come and go.
//
//	       Ready            (trying durable)      CONNACK           (kept or lost durable)
//	down ────────▶ waiting ────────────────▶ connecting ──────▶ settling ──────────────▶ online ──▶ erasing (removed, all ended)
//	  ▲                                                                                    │
//	  └─────────────────────────── Lost, from anywhere ────────────────────────────────────┘
//
// With nothing open there is nothing to note, and the two waits fall away.
type conn struct {
	claims
	id      uint16
	state   state
	removed bool   // not in the configuration any more
	ids     uint64 // packet identifiers
	ready   [classes]lanes

	// Of the session (rule 14).
	tried      bool // "trying" is durable and no answer was noted since
	unanswered bool // a CONNECT went out and no answer is noted
	unsure     bool // of the CONNECT under way: an earlier one was unanswered, the session may have been lost unseen
	strikes    int  // network connections in a row that the broker ended on what was sent, without an acknowledgement
	clean      bool // whatever session the broker has is not ours: the next CONNECT starts a clean one
	unseen     bool // the session under way was present; where it is taken for lost all the same, that is because of an unanswered CONNECT
	noteOpen   bool // a note about this connection is on its way to be durable

	// Of the network connection.
	window   int    // how many may fly: allowed, or 1 while a message is suspected
	allowed  int    // Receive Maximum, or the configuration's limit
	answered bool   // something was acknowledged on it
	flying   int    // sent on it and not ended; a QoS 2 message counts until PUBCOMP
	ours     int    // of flying: PUBREC is in and PUBREL is not out, so the broker waits for us
	open     int    // claims not ended
	doubtful int    // of open: sent, but not on this network connection, and without an acknowledgement
	durable  uint64 // claims below are durable and may be sent
	touched  uint64 // claims below were sent on this network connection
	released uint64 // claims below need no PUBREL on it any more
}

type state uint8

const (
	down state = iota
	waiting
	connecting
	settling
	online
	erasing
)

// number returns the claim that a packet identifier stands for.
func (c *conn) number(id uint16) (uint64, bool) {
	if id == 0 || uint64(id) > c.ids {
		return 0, false
	}
	after := uint64(id-1) + c.ids - c.base%c.ids
	if after >= c.ids { // a division less, for each acknowledgement
		after -= c.ids
	}
	return c.base + after, c.base+after < c.next
}

func (c *conn) packetID(n uint64) uint16 { return uint16(n%c.ids + 1) }

// Ready says that a network connection for id is there on which nothing was sent yet.
func (m *Machine) Ready(id uint16) {
	c := m.conn(id)
	if c == nil || c.state != down {
		return
	}
	c.state = waiting
	m.ask(c)
}

// ask sends CONNECT as soon as what must be durable before it is (rule 14).
func (m *Machine) ask(c *conn) {
	if c.state != waiting || c.noteOpen { // else the note on the last CONNECT would wipe out the one for this
		return
	}
	nothing := c.base == c.next
	if !nothing && !c.tried {
		m.note(c, bridge.NoteTrying)
		return
	}
	c.unsure = !nothing && (c.unanswered || c.clean)
	c.unanswered = true
	c.state = connecting
	m.frames = append(m.frames, Frame{Kind: Connect, Conn: c.id, ID: c.packetID(c.base + c.ids - 1), Clean: c.clean || c.removed && nothing})
}

func (m *Machine) note(c *conn, kind bridge.NoteKind) {
	c.noteOpen = true
	m.notes = append(m.notes, bridge.Note{Conn: c.id, Kind: kind})
}

// Accepted is a CONNACK below 0x80.
func (m *Machine) Accepted(id uint16, present bool, receiveMaximum int) {
	c := m.conn(id)
	if c == nil || c.state != connecting {
		return
	}
	c.allowed = max(1, min(receiveMaximum, m.c.Window))
	c.window = c.allowed
	if c.strikes >= suspectAfter {
		c.window = 1
	}
	c.unseen = present && !c.clean
	c.clean = false
	if c.base == c.next && !c.tried {
		c.unanswered = false
		m.resume(c)
		return
	}
	c.state = settling
	if present && !c.unsure {
		m.note(c, bridge.NoteKept)
		return
	}
	m.note(c, bridge.NoteLost)
}

// Rejected is a CONNACK from 0x80 on: an answer, and the session is as it was.
func (m *Machine) Rejected(id uint16) {
	if c := m.conn(id); c != nil && c.state == connecting {
		c.unanswered = c.unsure
		c.state = down
	}
}

// Some brokers end the connection on a message that they do not like, without a word: sent again and again, it would stop its connection
// for ever. So after suspectAfter connections that ended on what was sent before anything was acknowledged, one message is sent at a time;
// when parkAfter have ended so, it is that message, and it is parked.
const (
	suspectAfter = 3
	parkAfter    = 7
)

// Suspects reports whether a message of id is suspected to end its connections. The caller then waits a moment before it passes on the
// next Accepted, so that a connection which breaks by itself is not blamed on the message.
func (m *Machine) Suspects(id uint16) bool {
	c := m.conn(id)
	return c != nil && c.strikes >= suspectAfter
}

// Lost says that id's network connection is gone. blame: the broker ended it, and gave no reason that has nothing to do with what was sent.
func (m *Machine) Lost(id uint16, blame bool) {
	c := m.conn(id)
	if c == nil {
		return
	}
	if c.state == erasing {
		m.note(c, bridge.NoteRemoved)
	}
	blame = blame && c.state == online && c.flying > 0 && !c.answered
	c.state = down
	if blame {
		if c.strikes++; c.strikes >= parkAfter && !m.c.Hold {
			m.parkSuspect(c)
		}
	}
	c.flying, c.ours = 0, 0
	c.doubt()
}

// doubt counts what is doubtful now that nothing flies.
func (c *conn) doubt() {
	c.doubtful = 0
	for n := c.base; n < c.next; n++ {
		if k := c.at(n); k.has(sent) && !k.has(ended) {
			c.doubtful++
		}
	}
}

// parkSuspect gives up the one message in flight.
func (m *Machine) parkSuspect(c *conn) {
	for n := c.base; n < c.touched; n++ {
		if !c.at(n).has(ended) {
			c.strikes = 0
			m.park(c, n, "the broker ended the connection each time this message was sent; it may have arrived")
			return
		}
	}
}

// Distrust says that the session at the broker is not, or not only, ours. The network connection is to be ended.
func (m *Machine) Distrust(id uint16) {
	c := m.conn(id)
	if c == nil {
		return
	}
	c.clean = true
	if c.state != down {
		m.frames = append(m.frames, Frame{Kind: Drop, Conn: id})
		c.state = down
	}
	c.flying, c.ours = 0, 0
	c.doubt()
	if !c.tried && !c.noteOpen {
		m.note(c, bridge.NoteTrying) // so that a crash does not make us trust it again
	}
}

// noted is a note that has become durable.
func (m *Machine) noted(n bridge.Note) {
	c := m.conn(n.Conn)
	if c == nil {
		return
	}
	c.noteOpen = false
	switch n.Kind {
	case bridge.NoteTrying:
		c.tried = true
	case bridge.NoteLost:
		c.forgetSession()
		fallthrough
	case bridge.NoteKept:
		c.tried, c.unanswered = false, false
		if c.state == settling {
			m.resume(c)
		}
	case bridge.NoteRemoved:
		m.conns[n.Conn] = nil
		return
	}
	m.ask(c)
}

// forgetSession is what a lost session means: R no longer counts, what was sent goes out again, marked. The outbox marks all open claims: it
// does not know which were claimed ahead and never sent; after a crash nor do we. No R of that session is still
// on its way to be durable: all that were noted rode with "trying", at the latest.
func (c *conn) forgetSession() {
	for n := c.base; n < c.next; n++ {
		if k := c.at(n); !k.has(ended) {
			k.flags &^= received | releasable
			k.rels = 0
			if k.has(sent) {
				k.mark |= SessionLost
				if c.unseen {
					k.mark |= Unanswered
				}
			}
		}
	}
}

// resume starts sending on a new network connection: first what is open, in claim order (rule 13).
func (m *Machine) resume(c *conn) {
	c.state = online
	c.touched, c.released, c.answered = c.base, c.base, false
	for n := c.base; n < c.next; n++ {
		k := c.at(n)
		if !k.has(sent) || k.has(ended) {
			continue
		}
		if m.c.QoS != 2 {
			k.mark |= SentBefore
		}
		if !k.has(releasable) {
			m.took(k.Ref)
		}
	}
	m.send(c)
	m.drain(c)
}

// send gives out what may go, in claim order: new work and resumed work are the same code.
func (m *Machine) send(c *conn) {
	if c.state != online {
		return
	}
	for c.touched < c.durable { // rule 8
		k := c.at(c.touched)
		if k.has(ended) {
			c.touched++
			continue
		}
		if c.flying >= c.window {
			break
		}
		c.flying++
		if k.has(sent) {
			c.doubtful--
		}
		if _, ok := m.parking[k.Ref]; ok {
			k.flags |= received | releasable
			k.rels = 1 // 0x92 is as good as any answer
		}
		if k.has(received) {
			c.ours++
		}
		if !k.has(releasable) {
			m.publish(c, k)
		}
		c.touched++
		m.release(c)
	}
	m.release(c)
}

func (m *Machine) publish(c *conn, k *claim) {
	m.frames = append(m.frames, Frame{
		Kind: Publish, Conn: c.id, ID: c.packetID(c.touched), Number: c.touched, Ref: k.Ref, Dup: k.has(sent), Mark: k.mark, Late: k.late,
	})
	if k.has(sent) {
		k.flags |= resent
	}
	k.flags |= sent
}

// release gives out PUBRELs in the order of the PUBLISHes (rule 9): brokers that hand on at PUBREL deliver in this order.
func (m *Machine) release(c *conn) {
	for ; c.released < c.touched; c.released++ {
		k := c.at(c.released)
		if k.has(ended) {
			continue
		}
		if !k.has(releasable) {
			return
		}
		k.rels = min(2, k.rels+1)
		c.ours--
		m.frames = append(m.frames, Frame{Kind: Pubrel, Conn: c.id, ID: c.packetID(c.released), Number: c.released, Ref: k.Ref, Dup: k.rels > 1})
	}
}

// drain ends a removed connection's session once nothing of it is open: its last C is durable, the broker knows nothing we need.
func (m *Machine) drain(c *conn) {
	if c.removed && c.state == online && c.base == c.next && !c.noteOpen {
		c.state = erasing
		m.frames = append(m.frames, Frame{Kind: Erase, Conn: c.id})
	}
}

// settle makes everything claimed so far sendable; called when a step has become durable, which held all of it.
func (c *conn) settle() {
	c.durable = c.next
	c.trim()
}

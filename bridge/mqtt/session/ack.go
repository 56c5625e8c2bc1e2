package session

import "github.com/sluicebridge/sluice/bridge"

// Packet is an acknowledgement from the broker.
type Packet struct {
	Kind   PacketKind
	ID     uint16
	Code   byte   // reason code
	Reason string // for a person, from the reason string or the code's name
}

// PacketKind tells the acknowledgements apart.
type PacketKind uint8

const (
	_ PacketKind = iota
	Puback
	Pubrec
	Pubcomp
)

const (
	codeError       = 0x80 // codes from here on are refusals
	codeUnavailable = 0x88
	codeBusy        = 0x89
	codeIDInUse     = 0x91
	codeIDNotFound  = 0x92
	codeRate        = 0x96
	codeQuota       = 0x97
)

// passing reports whether a refusal may be gone when the same message is tried later.
func passing(code byte) bool {
	switch code {
	case codeUnavailable, codeBusy, codeRate, codeQuota:
		return true
	}
	return false
}

// Packet takes an acknowledgement. One that nothing waits for is ignored: brokers repeat them on a resumed session.
func (m *Machine) Packet(id uint16, p Packet) {
	c := m.conn(id)
	if c == nil || c.state != online {
		return
	}
	n, ok := c.number(p.ID)
	if !ok || n >= c.touched {
		return
	}
	k := c.at(n)
	if m.c.QoS == 2 && p.Kind == Puback && p.Code >= codeError {
		p.Kind = Pubrec // some brokers refuse a QoS 2 message so
	}
	if k.has(ended) || (p.Kind == Puback) == (m.c.QoS == 2) {
		return
	}
	c.answered, c.strikes, c.window = true, 0, c.allowed
	switch p.Kind {
	case Puback:
		m.puback(c, n, p)
	case Pubrec:
		m.pubrec(c, n, p)
	case Pubcomp:
		m.pubcomp(c, n, p)
	}
}

func (m *Machine) puback(c *conn, n uint64, p Packet) {
	switch {
	case p.Code < codeError:
		m.end(c, n, bridge.Ack{Kind: bridge.AckDelivered})
	case p.Code == codeIDInUse:
		m.Distrust(c.id) // its session holds something of ours that is not in flight
	default:
		m.refused(c, n, p)
	}
}

func (m *Machine) pubrec(c *conn, n uint64, p Packet) {
	k := c.at(n)
	switch {
	case k.has(received): // said twice; the PUBREL is sent or will be
	case p.Code < codeError, p.Code == codeIDInUse && k.has(resent): // 0x91 to a resend: "I have it"
		k.flags |= received
		c.ours++
		m.pressing = true
		m.acks = append(m.acks, bridge.Ack{Conn: c.id, Number: n, Kind: bridge.AckReceived})
	case p.Code == codeIDInUse:
		m.Distrust(c.id) // another message waits there under this identifier, and ours was thrown away
	default:
		m.refused(c, n, p)
	}
}

func (m *Machine) pubcomp(c *conn, n uint64, p Packet) {
	k := c.at(n)
	reason, park := m.parking[k.Ref]
	switch {
	case n >= c.released: // no PUBREL was sent
	case park:
		delete(m.parking, k.Ref)
		m.end(c, n, bridge.Ack{Kind: bridge.AckRefused, Reason: reason})
	case p.Code == codeIDNotFound && k.rels < 2:
		m.Distrust(c.id) // it had said PUBREC and has forgotten: the message may be lost there
	default: // 0x92 to a repeated PUBREL: the first one had arrived
		m.end(c, n, bridge.Ack{Kind: bridge.AckDelivered})
	}
}

// refused ends a claim that the broker did not take. Pipelined lanes never go back: what follows may have been delivered.
func (m *Machine) refused(c *conn, n uint64, p Packet) {
	k := c.at(n)
	l := k.lane
	if l.Ordering == bridge.Pipelined || !passing(p.Code) && !(m.c.Hold && l.Ordering == bridge.Strict) {
		reason := p.Reason
		if passing(p.Code) {
			reason += "; it may pass, but messages of its pipelined lane are ahead of it already"
		}
		m.end(c, n, bridge.Ack{Kind: bridge.AckRefused, Reason: reason})
		return
	}
	if !l.held {
		l.held = true
		m.held, m.why = append(m.held, l), p.Reason
	}
	m.giveBack(l, k)
	m.end(c, n, bridge.Ack{Kind: bridge.AckReturned})
}

// giveBack puts a message back to where it was. If its row comes by Offer once more, it comes with that: what belongs before it may come then, too.
func (m *Machine) giveBack(l *lane, k *claim) {
	k.flags |= returned
	if _, comes := m.restored[k.Ref]; comes {
		delete(m.restored, k.Ref)
		m.remember(k.Ref, k.mark)
		return
	}
	x := backlog
	if k.has(alive) {
		x = live
	}
	l.queue[x].pushBack(k.Ref, k.mark)
	m.grow(l, x, 1)
}

// Refuse ends a claim whose PUBLISH frame could not be sent, for a reason that stays. The message is parked. Where it was sent before at
// QoS 2, the broker may hold it: its identifier is released first, else a later message under it would be thrown away as a repeat.
func (m *Machine) Refuse(id uint16, number uint64, reason string) {
	c := m.conn(id)
	if c == nil || c.state != online || number < c.base || number >= c.touched || c.at(number).has(ended) {
		return
	}
	if m.c.QoS != 2 || !c.at(number).has(resent) {
		m.end(c, number, bridge.Ack{Kind: bridge.AckRefused, Reason: reason})
		return
	}
	m.park(c, number, reason+"; it was sent before and may have arrived")
	k := c.at(number)
	if !k.has(received) {
		c.ours++
	}
	k.flags |= received | releasable // nothing is noted: after a crash it is refused again
	k.rels = 1
	m.release(c)
}

// park gives up a message that was sent: at QoS 2 once PUBCOMP says that the broker holds nothing under its identifier.
func (m *Machine) park(c *conn, n uint64, reason string) {
	if m.c.QoS != 2 {
		m.end(c, n, bridge.Ack{Kind: bridge.AckRefused, Reason: reason})
		return
	}
	if m.parking == nil {
		m.parking = make(map[bridge.Ref]string)
	}
	m.parking[c.at(n).Ref] = reason
}

// end notes the last acknowledgement of a claim that was sent on this network connection.
func (m *Machine) end(c *conn, n uint64, a bridge.Ack) {
	k := c.at(n)
	k.flags |= ended
	c.open--
	c.flying--
	if k.has(received) && n >= c.released { // a broker that said PUBREC to what could not be sent
		c.ours--
	}
	a.Conn, a.Number = c.id, n
	m.acks = append(m.acks, a)
	m.count(k.lane, c, -1)
	m.enqueue(k.lane)
	m.forget(k.lane)
	k.lane = nil
	m.send(c)
}

// count adds to a lane's open claims.
func (m *Machine) count(l *lane, c *conn, by int) {
	if m.home(l) == c {
		l.here += by
	} else {
		l.away += by
	}
}

// durably takes an acknowledgement that has become durable.
func (c *conn) durably(a *bridge.Ack) {
	if a.Number < c.base || a.Number >= c.next {
		return
	}
	k := c.at(a.Number)
	switch {
	case a.Kind != bridge.AckReceived:
		k.flags |= gone
	case k.has(received): // else the session it was said in is lost
		k.flags |= releasable
	}
}

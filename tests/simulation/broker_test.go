package simulation

import (
	"maps"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// The broker: hands on at PUBLISH or at PUBREL, answers 0x91 to resends or not, has another Receive Maximum at every CONNECT, refuses some
// messages, ends its connection on one, loses its sessions or comes back with old ones.

// packet is on its way in either direction.
type packet struct {
	kind    session.Kind       // to the broker
	ack     session.PacketKind // from the broker; 0: CONNACK
	id      uint16
	code    byte
	ref     bridge.Ref
	mark    bool
	late    bool
	clean   bool
	present bool
	window  int
}

// keeping is what a broker keeps of a client.
type keeping struct {
	exists  bool
	waiting map[uint16]packet // QoS 2, PUBREC said
}

func (k keeping) clone() keeping {
	k.waiting = maps.Clone(k.waiting)
	return k
}

// client is a network connection of ours.
type client struct {
	up       bool
	toBroker []packet
	toUs     []packet
	window   int
	busy     map[uint16]bool
	answered bool // no CONNECT is under way
}

type broker struct {
	atPublish bool // hands on at PUBLISH, else at PUBREL
	says91    bool
	clients   [maxClients]client
	sessions  [maxClients]keeping
	snapshot  *[maxClients]keeping // on its disk
	life      int                  // one more at each start
	refusals  map[int64]int        // by record time: 1 once, for now; 2 for good
	poison    int64                // time of a record on which it ends the connection; 0: none
	out       []packet             // handed on, in order
}

func (w *world) brokerReads() bool {
	id := w.pick(maxClients)
	if len(w.broker.clients[id].toBroker) == 0 {
		return false
	}
	w.brokerTakes(id)
	return true
}

func (w *world) brokerTakes(id int) {
	c, s := &w.broker.clients[id], &w.broker.sessions[id]
	p := c.toBroker[0]
	c.toBroker = c.toBroker[1:]
	switch p.kind {
	case session.Connect:
		w.brokerConnect(id, p)
	case session.Publish:
		if t := w.timeOf(p.ref); t == w.broker.poison && t != 0 {
			w.poisoned(id)
			return
		}
		w.brokerPublish(c, s, p)
	case session.Pubrel:
		reply := packet{ack: session.Pubcomp, id: p.id}
		kept, known := s.waiting[p.id]
		if !known {
			reply.code = 0x92
		} else if !w.broker.atPublish && kept.ref.Row != 0 {
			w.hand(kept)
		}
		delete(s.waiting, p.id)
		delete(c.busy, p.id)
		c.toUs = append(c.toUs, reply)
	case session.Erase:
		*s = keeping{}
		w.cutClient(id)
	}
}

func (w *world) brokerConnect(id int, p packet) {
	c, s := &w.broker.clients[id], &w.broker.sessions[id]
	if w.faults > 0 && w.chance(12) {
		w.faults--
		w.fire("CONNECT rejected")
		c.toUs = append(c.toUs, packet{code: 0x88})
		return
	}
	if p.clean { // by a connection of its own, after which another makes the session
		*s = keeping{}
		if w.faults > 0 && w.chance(4) {
			w.faults--
			w.fire("cut after the old session was ended")
			w.cutClient(id)
			return
		}
	}
	if !s.exists {
		*s = keeping{waiting: map[uint16]packet{}}
	}
	c.window, c.busy = w.receiveMaximum(), map[uint16]bool{}
	c.toUs = append(c.toUs, packet{present: s.exists, window: c.window})
	s.exists = true
}

func (w *world) receiveMaximum() int {
	if w.chance(4) {
		return 1 + w.pick(100)
	}
	return 1 + w.pick(5)
}

func (w *world) brokerPublish(c *client, s *keeping, p packet) {
	reply := packet{ack: session.Puback, id: p.id}
	if w.qos == 2 {
		reply.ack = session.Pubrec
	}
	if c.busy[p.id] = true; len(c.busy) > c.window {
		w.failf("window of %d exceeded", c.window)
	}
	t := w.timeOf(p.ref)
	_, known := s.waiting[p.id]
	switch {
	case w.qos == 2 && known:
		if w.broker.says91 {
			reply.code = 0x91
			w.fire("0x91")
		}
	case w.broker.refusals[t] > 0:
		reply.code = w.refuse(t)
	case w.qos != 2:
		w.hand(p)
	default:
		if s.waiting[p.id] = p; w.broker.atPublish {
			w.hand(p)
		}
	}
	if w.qos != 2 || reply.code >= 0x80 && reply.code != 0x91 {
		delete(c.busy, p.id)
	}
	c.toUs = append(c.toUs, reply)
}

func (w *world) refuse(t int64) byte {
	if w.broker.refusals[t] == 1 {
		delete(w.broker.refusals, t)
		w.fire("refused for now")
		return 0x97
	}
	w.fire("refused for good")
	if w.hold && w.chance(3) {
		delete(w.broker.refusals, t)
	}
	return 0x99
}

func (w *world) hand(p packet) {
	w.note("far end has %v%s", w.words(p.ref), map[bool]string{true: " marked"}[p.mark])
	w.broker.out = append(w.broker.out, p)
}

// cutClient ends a network connection; the broker may still read what was on its way.
func (w *world) cutClient(id int) {
	c := &w.broker.clients[id]
	for n := w.pick(len(c.toBroker) + 1); n > 0 && len(c.toBroker) > 0; n-- {
		w.brokerTakes(id)
	}
	if c.up && !c.answered {
		w.fire("CONNECT unanswered")
		w.lossy = true
	}
	*c = client{answered: true}
	w.pumpLost(id, false)
}

// poisoned ends the connection as a broker does that cannot stand a message.
func (w *world) poisoned(id int) {
	w.fire("connection ended on a message")
	w.broker.clients[id] = client{answered: true}
	w.pumpLost(id, true)
}

// restartBroker kills it: what was under way to it is gone, its sessions may be, or be old ones.
func (w *world) restartBroker() {
	b := &w.broker
	for id := range b.clients {
		b.clients[id].toBroker = nil
		w.cutClient(id)
	}
	switch {
	case w.loses && b.exists():
		w.fire("session lost")
		w.lossy = true
		b.sessions = [maxClients]keeping{}
	case w.stale && b.snapshot != nil:
		w.fire("stale session")
		w.lossy = true
		b.sessions = *b.snapshot
		b.snapshot = nil
		b.life++
	}
}

func (b *broker) exists() bool {
	for id := range b.sessions {
		if b.sessions[id].exists {
			return true
		}
	}
	return false
}

// save writes the broker's sessions to its disk, as an autosave does.
func (w *world) save() {
	snapshot := w.broker.sessions
	for id := range snapshot {
		snapshot[id] = snapshot[id].clone()
	}
	w.broker.snapshot = &snapshot
}

// otherBroker is one whose sessions under our client ids have rests of somebody else's messages in them.
func (w *world) otherBroker() {
	for id := range w.broker.sessions {
		s := keeping{exists: w.chance(2), waiting: map[uint16]packet{}}
		for n := range w.ids {
			if s.exists && w.chance(2) {
				s.waiting[uint16(n+1)] = packet{}
			}
		}
		w.broker.sessions[id] = s
	}
}

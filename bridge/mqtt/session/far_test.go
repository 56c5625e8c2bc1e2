package session_test

import (
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// The model of a broker: hands on at PUBLISH or at PUBREL, answers 0x91 to resends or not, another Receive Maximum at every CONNECT.

func (w *world) brokerReads() bool {
	id := w.pick(maxClients)
	if len(w.clients[id].toBroker) == 0 {
		return false
	}
	w.brokerTakes(id)
	return true
}

func (w *world) brokerTakes(id int) {
	c, s := &w.clients[id], &w.sessions[id]
	p := c.toBroker[0]
	c.toBroker = c.toBroker[1:]
	switch p.kind {
	case session.Connect:
		w.brokerConnect(id, p)
	case session.Publish:
		if p.ref == w.poison {
			w.poisoned(id)
			return
		}
		w.brokerPublish(c, s, p)
	case session.Pubrel:
		reply := packet{ack: session.Pubcomp, id: p.id}
		kept, known := s.waiting[p.id]
		if !known {
			reply.code = 0x92
		} else if !w.atPublish && kept.ref.Row != 0 {
			w.handOn(kept)
		}
		delete(s.waiting, p.id)
		delete(c.busy, p.id)
		c.toUs = append(c.toUs, reply)
	case session.Erase:
		*s = brokerSession{}
		w.cut(id)
	}
}

func (w *world) brokerConnect(id int, p packet) {
	c, s := &w.clients[id], &w.sessions[id]
	if w.faults > 0 && w.pick(12) == 0 {
		w.faults--
		w.fire("CONNECT rejected")
		c.toUs = append(c.toUs, packet{code: 0x88})
		return
	}
	if p.clean { // by a connection of its own, after which another makes the session
		*s = brokerSession{}
		if w.faults > 0 && w.pick(4) == 0 {
			w.faults--
			w.fire("cut after the old session was ended")
			w.cut(id)
			return
		}
	}
	if !s.exists {
		*s = brokerSession{waiting: map[uint16]packet{}}
	}
	c.window, c.busy = 1+w.pick(5), map[uint16]bool{}
	c.toUs = append(c.toUs, packet{present: s.exists, window: c.window})
	s.exists = true
}

func (w *world) brokerPublish(c *client, s *brokerSession, p packet) {
	reply := packet{ack: session.Puback, id: p.id}
	if w.qos == 2 {
		reply.ack = session.Pubrec
	}
	if c.busy[p.id] = true; len(c.busy) > c.window {
		w.fail = "window"
	}
	_, known := s.waiting[p.id]
	switch {
	case w.qos == 2 && known:
		if w.says91 {
			reply.code = 0x91
			w.fire("0x91")
		}
	case w.refusals[p.ref] > 0:
		reply.code = 0x97
		if w.refusals[p.ref] == 1 {
			delete(w.refusals, p.ref)
			w.fire("refused for now")
		} else {
			reply.code = 0x99
			w.fire("refused for good")
			if w.hold && w.pick(3) == 0 {
				delete(w.refusals, p.ref)
			}
		}
	case w.qos != 2:
		w.handOn(p)
	default:
		if s.waiting[p.id] = p; w.atPublish {
			w.handOn(p)
		}
	}
	if w.qos != 2 || reply.code >= 0x80 && reply.code != 0x91 {
		delete(c.busy, p.id)
	}
	c.toUs = append(c.toUs, reply)
}

func (w *world) handOn(p packet) { w.out = append(w.out, p) }

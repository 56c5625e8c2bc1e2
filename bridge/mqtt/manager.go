package mqtt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho/log"
	pahosession "github.com/eclipse/paho.golang/paho/session"
)

// manager is the session state of a paho.Client, kept elsewhere: the Machine decides what is sent again, once the ledger has noted what
// CONNACK said. So nothing is sent from within these calls, and none of paho's own stores is used (DESIGN.md says why).
type manager struct {
	c        *client
	wiping   bool  // the connection is only there to end the broker's session
	fresh    bool  // the broker's session was ended: one that is present is somebody else's
	accepted event // what CONNACK said, where nothing is wrong with it
	forgets  bool  // CONNACK said that no message is retained
}

var _ pahosession.SessionManager = (*manager)(nil)

// ConAckReceived checks what the broker offers. An error ends the connection.
func (m *manager) ConAckReceived(_ io.Writer, _ *packets.Connect, ca *packets.Connack) error {
	p, c := ca.Properties, m.c
	if m.wiping {
		return nil
	}
	if m.fresh && ca.SessionPresent {
		return errors.New("the broker has a session under our client id although the last one was ended: does somebody else use it?")
	}
	e := event{kind: accepted, conn: c.id, present: ca.SessionPresent, most: 65535, size: int(c.c.MaxPacket)}
	if err := c.acceptable(p); err != nil {
		if ca.SessionPresent {
			c.events.add(event{kind: rejected, conn: c.id}) // an answer, and the session is as it was
		}
		return err
	}
	if p.ReceiveMaximum != nil && c.c.QoS > 0 {
		e.most = int(*p.ReceiveMaximum)
	}
	if p.MaximumPacketSize != nil && (e.size == 0 || int(*p.MaximumPacketSize) < e.size) {
		e.size = int(*p.MaximumPacketSize)
	}
	if p.SessionExpiryInterval != nil && *p.SessionExpiryInterval != 0xffffffff {
		c.log.Warn("broker keeps the session for a limited time only: an outage that is longer costs possible duplicates",
			"client", c.name, "seconds", *p.SessionExpiryInterval)
	}
	if p.AssignedClientID != "" && p.AssignedClientID != c.name {
		c.log.Warn("broker changed the client id: its session will not be found again", "client", c.name, "assigned", p.AssignedClientID)
	}
	c.mu.Lock()
	c.status.Connected, c.status.Since, c.status.ReceiveMaximum = true, time.Now(), e.most
	c.mu.Unlock()
	m.accepted, m.forgets = e, p.RetainAvailable != nil && *p.RetainAvailable == 0
	return nil
}

// acceptable refuses a broker that cannot give what the configuration promises.
func (c *client) acceptable(p *packets.Properties) error {
	if p.MaximumQOS != nil && int(*p.MaximumQOS) < c.c.QoS {
		return &refusal{0x9B, fmt.Sprintf("broker allows QoS %d at most, qos is %d", *p.MaximumQOS, c.c.QoS)}
	}
	if p.RetainAvailable != nil && *p.RetainAvailable == 0 && c.c.Retain {
		return &refusal{0x9A, "broker keeps no retained messages, retain is true"}
	}
	return nil
}

// ConnectionLost is called with the broker's DISCONNECT, and again at the end of every connection.
func (m *manager) ConnectionLost(d *packets.Disconnect) error {
	if d == nil {
		return nil
	}
	m.c.mu.Lock()
	m.c.gone = d
	m.c.mu.Unlock()
	if d.ReasonCode == packets.DisconnectSessionTakenOver {
		m.c.events.add(event{kind: takenOver, conn: m.c.id})
	}
	return nil
}

// PacketReceived gets what the link does not take: SUBACK, and messages of a subscription that somebody made under our client id, which are not ours.
func (m *manager) PacketReceived(p *packets.ControlPacket, _ chan<- *packets.Publish) error {
	if s, ok := p.Content.(*packets.Suback); ok && m.c.life != nil {
		m.c.life.answered(s.Reasons)
	}
	return nil
}

// AddToSession is for what is published or subscribed through the paho.Client, which nobody does here.
func (m *manager) AddToSession(context.Context, pahosession.Packet, chan<- packets.ControlPacket) error {
	return errors.ErrUnsupported
}

// Ack implements SessionManager.
func (m *manager) Ack(*packets.Publish) error { return nil }

// Close implements SessionManager.
func (m *manager) Close() error { return nil }

// SetErrorLogger implements SessionManager.
func (m *manager) SetErrorLogger(log.Logger) {}

// SetDebugLogger implements SessionManager.
func (m *manager) SetDebugLogger(log.Logger) {}

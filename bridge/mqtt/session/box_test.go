package session_test

import (
	"fmt"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// box is a model of an outbox: what is durable of a pump.
type box struct {
	ids     int
	conns   map[uint16]*boxConn
	settled map[bridge.Ref]bool
	parked  map[bridge.Ref]bool
	marked  map[bridge.Ref]bool // returned while marked
	sent    map[bridge.Ref]bool // under its present claim
	must    map[bridge.Ref]bool // sent in a session that was lost
	claimed map[bridge.Ref]bool // at any time
	passed  map[uint64]uint64   // by lane
}

type boxConn struct {
	next   uint64
	trying bool
	claims []bridge.OpenClaim
}

func newBox(ids int) box {
	return box{
		ids: ids, sent: map[bridge.Ref]bool{}, must: map[bridge.Ref]bool{}, conns: map[uint16]*boxConn{}, settled: map[bridge.Ref]bool{}, parked: map[bridge.Ref]bool{},
		marked: map[bridge.Ref]bool{}, claimed: map[bridge.Ref]bool{}, passed: map[uint64]uint64{},
	}
}

func (b *box) conn(id uint16) *boxConn {
	if b.conns[id] == nil {
		b.conns[id] = &boxConn{}
	}
	return b.conns[id]
}

func (b *box) apply(s *bridge.Step) string {
	for _, a := range s.Acks {
		if fail := b.ack(a); fail != "" {
			return fail
		}
	}
	for _, n := range s.Notes {
		c := b.conn(n.Conn)
		c.trying = n.Kind == bridge.NoteTrying
		if n.Kind == bridge.NoteLost {
			b.lose(c)
		}
		if n.Kind == bridge.NoteRemoved {
			if len(c.claims) > 0 {
				return "removed with open claims"
			}
			delete(b.conns, n.Conn)
		}
	}
	for _, k := range s.Claims {
		c := b.conn(k.Conn)
		switch {
		case k.Number != c.next:
			return fmt.Sprintf("claim %d, want %d", k.Number, c.next)
		case b.settled[k.Ref] || b.isOpen(k.Ref):
			return fmt.Sprintf("claim of %v twice", k.Ref)
		case len(c.claims) > 0 && k.Number-c.claims[0].Number >= uint64(b.ids):
			return "identifier in use"
		case k.Marked && !b.claimed[k.Ref]:
			return "marked without a claim before"
		case b.must[k.Ref] && !k.Marked:
			return "mark forgotten"
		}
		delete(b.marked, k.Ref)
		b.claimed[k.Ref] = true
		c.claims = append(c.claims, bridge.OpenClaim{Claim: k})
		c.next++
	}
	for _, p := range s.Passed {
		b.passed[p.Lane] = p.Row
	}
	return ""
}

func (b *box) ack(a bridge.Ack) string {
	c := b.conn(a.Conn)
	at := slices.IndexFunc(c.claims, func(k bridge.OpenClaim) bool { return k.Number == a.Number })
	if at < 0 {
		return fmt.Sprintf("acknowledgement of %d.%d, which is not open", a.Conn, a.Number)
	}
	k := c.claims[at]
	switch a.Kind {
	case bridge.AckReceived:
		c.claims[at].Received = true
		return ""
	case bridge.AckReturned:
		b.marked[k.Ref] = k.Marked
		delete(b.sent, k.Ref)
	case bridge.AckRefused:
		b.parked[k.Ref] = true
		b.settled[k.Ref] = true
	default:
		b.settled[k.Ref] = true
	}
	c.claims = slices.Delete(c.claims, at, at+1)
	return ""
}

func (b *box) lose(c *boxConn) {
	c.trying = false
	for i := range c.claims {
		c.claims[i].Received, c.claims[i].Marked = false, true
		b.must[c.claims[i].Ref] = b.must[c.claims[i].Ref] || b.sent[c.claims[i].Ref]
	}
}

func (b *box) isOpen(r bridge.Ref) bool {
	for _, c := range b.conns {
		if slices.ContainsFunc(c.claims, func(k bridge.OpenClaim) bool { return k.Ref == r }) {
			return true
		}
	}
	return false
}

func (b *box) restored(changed bool) bridge.Restored {
	r := bridge.Restored{Next: map[uint16]uint64{}, Trying: map[uint16]bool{}, Far: "here"}
	for id := range uint16(maxClients) {
		c := b.conns[id]
		if c == nil {
			continue
		}
		if changed {
			b.lose(c)
			c.trying = true
		}
		r.Next[id] = c.next
		if c.trying {
			r.Trying[id] = true
		}
		r.Claims = append(r.Claims, c.claims...)
	}
	for ref, marked := range b.marked {
		if marked {
			r.Marked = append(r.Marked, ref)
		}
	}
	for lane, row := range b.passed {
		r.Passed = append(r.Passed, bridge.Overtaking{Lane: lane, Row: row})
	}
	return r
}

func (b *box) bitmap(r bridge.Row) bridge.Bitmap {
	m := bridge.NewBitmap(r.Count)
	for i := range r.Count {
		if b.settled[bridge.Ref{Row: r.Number, Index: uint32(i)}] {
			m.Set(i)
		}
	}
	return m
}

func (b *box) finished(rows []bridge.Row) bool {
	for _, c := range b.conns {
		if len(c.claims) > 0 {
			return false
		}
	}
	for _, r := range rows {
		for i := range r.Count {
			if !b.settled[bridge.Ref{Row: r.Number, Index: uint32(i)}] {
				return false
			}
		}
	}
	return true
}

package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// replay applies a journal row to memory: when its commit is durable, and when the ledger is opened (rule 18). Log.mu is held.
func (o *Outbox) replay(number uint64, data []byte) error {
	if number != o.number+1 {
		return fmt.Errorf("journal of %s has %d after %d: %w", o.name, number, o.number, bridge.ErrCorrupt)
	}
	rec, err := readRecord(data)
	if err != nil {
		return fmt.Errorf("journal row %d of %s: %w", number, o.name, err)
	}
	o.number = number
	o.journal += len(data)
	if rec.setFar {
		o.setFar(rec.far)
		return nil
	}
	return o.apply(&rec.step)
}

// setFar notes whose sessions the connections speak to. Those at another far end are not ours, whatever a CONNACK there will say: trying stays
// set until a session that we began ourselves is noted (rule 14).
func (o *Outbox) setFar(far string) {
	if o.far != "" && o.far != far {
		for _, c := range o.conns {
			c.loseSession()
			c.trying = true
		}
	}
	o.far = far
}

func (o *Outbox) apply(s *bridge.Step) error {
	for _, a := range s.Acks {
		o.ack(a)
	}
	for _, n := range s.Notes {
		if n.Kind == bridge.NoteRemoved {
			delete(o.conns, n.Conn)
			continue
		}
		c := o.conn(n.Conn)
		c.trying = n.Kind == bridge.NoteTrying
		if n.Kind == bridge.NoteLost {
			c.loseSession()
		}
	}
	for _, c := range s.Claims {
		k := o.conn(c.Conn)
		if k.next != c.Number || !o.hasPlace(c.Ref) {
			return fmt.Errorf("journal row %d of %s claims message %d.%d as %d on connection %d, whose next is %d: %w",
				o.number, o.name, c.Row, c.Index, c.Number, c.Conn, k.next, bridge.ErrCorrupt)
		}
		k.claims = append(k.claims, claim{ref: c.Ref, open: true, marked: c.Marked || o.marked[c.Ref], late: c.Late})
		k.next++
		delete(o.marked, c.Ref)
		o.setClaimed(c.Ref, true)
	}
	o.overtake(s.Passed)
	return nil
}

// ack applies an acknowledgement; one of a claim that is not open changes nothing.
func (o *Outbox) ack(a bridge.Ack) {
	k := o.claim(a)
	if k == nil || a.Kind == bridge.AckNone {
		return
	}
	if a.Kind == bridge.AckReceived {
		k.received = true
		return
	}
	k.open = false
	o.setClaimed(k.ref, false)
	switch {
	case a.Kind != bridge.AckReturned:
		o.settle(k.ref)
	case k.marked:
		o.marked[k.ref] = true
	}
	o.conns[a.Conn].trim()
}

// claim returns the open claim that a speaks of, nil where there is none.
func (o *Outbox) claim(a bridge.Ack) *claim {
	c := o.conns[a.Conn]
	if c == nil || a.Number < c.low || a.Number >= c.next {
		return nil
	}
	if k := &c.claims[a.Number-c.low]; k.open {
		return k
	}
	return nil
}

func (o *Outbox) conn(id uint16) *conn {
	c := o.conns[id]
	if c == nil {
		c = new(conn)
		o.conns[id] = c
	}
	return c
}

// trim forgets ended claims below the lowest open one.
func (c *conn) trim() {
	n := 0
	for n < len(c.claims) && !c.claims[n].open {
		n++
	}
	c.low += uint64(n)
	if c.claims = c.claims[n:]; len(c.claims) == 0 {
		c.claims = nil
	}
}

// loseSession is what the end of a session at the far end means for the claims: nothing is known of what was open.
func (c *conn) loseSession() {
	for i := range c.claims {
		if c.claims[i].open {
			c.claims[i].received, c.claims[i].marked = false, true
		}
	}
}

func (o *Outbox) setClaimed(ref bridge.Ref, on bool) {
	sh := o.shares[ref.Row]
	if sh == nil {
		return // settled since, seen at Open only
	}
	if sh.claimed == nil {
		sh.claimed = bridge.NewBitmap(sh.row.count)
	}
	if on {
		sh.claimed.Set(int(ref.Index))
	} else {
		sh.claimed[ref.Index>>6] &^= 1 << (ref.Index & 63)
	}
}

// settle notes that the remote need not send a message any more. A row that is gone was settled before: at Open, the journal goes back
// further than the rows do.
func (o *Outbox) settle(ref bridge.Ref) {
	sh := o.shares[ref.Row]
	if sh == nil || sh.settled.Has(int(ref.Index)) {
		return
	}
	l, r := o.log, sh.row
	if sh.settled == nil {
		sh.settled = bridge.NewBitmap(r.count)
	}
	sh.settled.Set(int(ref.Index))
	sh.left--
	switch {
	case sh.left == 0:
		delete(o.shares, ref.Row)
		l.through(r)
	case sh.left < r.count/4 && !r.thin:
		r.thin = true
		l.thin = append(l.thin, r)
	}
}

func (o *Outbox) sortedMarked() []bridge.Ref {
	refs := slices.Collect(maps.Keys(o.marked))
	slices.SortFunc(refs, func(a, b bridge.Ref) int {
		return cmp.Or(cmp.Compare(a.Row, b.Row), cmp.Compare(a.Index, b.Index))
	})
	return refs
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

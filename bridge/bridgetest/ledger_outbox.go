package bridgetest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// Outbox is one remote's end of a fake ledger: a plain model of bridge.Outbox.
type Outbox struct {
	l       *Ledger
	remote  string
	settled map[bridge.Ref]bool
	marked  map[bridge.Ref]bool
	conns   map[uint16]*fakeConn
	passed  map[uint64]uint64 // by lane: the row that went before older ones
	far     string
	plan    []Fault
	unknown bool
}

type fakeConn struct {
	next   uint64
	trying bool
	claims []bridge.OpenClaim
}

func newOutbox(l *Ledger, remote string) *Outbox {
	return &Outbox{
		l: l, remote: remote,
		settled: make(map[bridge.Ref]bool), marked: make(map[bridge.Ref]bool), conns: make(map[uint16]*fakeConn),
		passed: make(map[uint64]uint64),
	}
}

// Plan sets the faults of the coming Commits, one each, in order; those after them work. Full and FailsStored count as Fails: a ledger that
// says failed has kept nothing of a step, else its numbers could not be claimed again.
func (o *Outbox) Plan(faults ...Fault) {
	o.l.mu.Lock()
	defer o.l.mu.Unlock()
	o.plan = append(o.plan, faults...)
}

// Restart does what a new start of the process does: the outbox takes commits again after ErrUnknown.
func (o *Outbox) Restart() {
	o.l.mu.Lock()
	defer o.l.mu.Unlock()
	o.unknown = false
}

// Restore implements bridge.Outbox.
func (o *Outbox) Restore(_ context.Context, far string) (bridge.Restored, error) {
	o.l.mu.Lock()
	defer o.l.mu.Unlock()
	r := bridge.Restored{Next: make(map[uint16]uint64), Trying: make(map[uint16]bool), Far: o.far}
	if o.far != "" && o.far != far {
		for _, c := range o.conns {
			c.lose()
			c.trying = true // the session there is not ours
		}
	}
	o.far = far
	var conns []uint16
	for id := range o.conns {
		conns = append(conns, id)
	}
	slices.Sort(conns)
	for _, id := range conns {
		c := o.conns[id]
		r.Claims = append(r.Claims, c.claims...)
		r.Next[id] = c.next
		if c.trying {
			r.Trying[id] = true
		}
	}
	for ref := range o.marked {
		r.Marked = append(r.Marked, ref)
	}
	slices.SortFunc(r.Marked, compareRefs)
	for _, lane := range slices.Sorted(maps.Keys(o.passed)) {
		if rows := o.unsettled(0, 1); len(rows) > 0 && rows[0].Number < o.passed[lane] {
			r.Passed = append(r.Passed, bridge.Overtaking{Lane: lane, Row: o.passed[lane]})
		}
	}
	return r, nil
}

// Next implements bridge.Outbox.
func (o *Outbox) Next(ctx context.Context, after uint64, max int) ([]bridge.Row, error) {
	for {
		rows, wake := o.open(after, max)
		if len(rows) > 0 {
			return rows, nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (o *Outbox) open(after uint64, max int) ([]bridge.Row, <-chan struct{}) {
	o.l.mu.Lock()
	defer o.l.mu.Unlock()
	return o.unsettled(after, max), o.l.wake
}

// unsettled is what Next gives without waiting; the ledger's mu is held.
func (o *Outbox) unsettled(after uint64, max int) (rows []bridge.Row) {
	for n := int(min(after, uint64(len(o.l.rows)))); n < len(o.l.rows) && len(rows) < max; n++ {
		if !slices.Contains(o.l.rows[n].remotes, o.remote) {
			continue
		}
		r := o.l.rows[n].Row
		done := 0
		for i := range r.Count {
			if !o.settled[bridge.Ref{Row: r.Number, Index: uint32(i)}] {
				continue
			}
			if r.Settled == nil {
				r.Settled = bridge.NewBitmap(r.Count)
			}
			r.Settled.Set(i)
			done++
		}
		if done < r.Count {
			rows = append(rows, r)
		}
	}
	return rows
}

// Messages implements bridge.Outbox.
func (o *Outbox) Messages(row uint64) ([]bridge.Message, error) {
	o.l.mu.Lock()
	defer o.l.mu.Unlock()
	if row == 0 || row > uint64(len(o.l.rows)) {
		return nil, fmt.Errorf("row %d of %d: %w", row, len(o.l.rows), bridge.ErrCorrupt)
	}
	return o.l.rows[row-1].messages, nil
}

// Commit implements bridge.Outbox.
func (o *Outbox) Commit(ctx context.Context, s *bridge.Step) error {
	o.l.mu.Lock()
	defer o.l.mu.Unlock()
	if o.unknown {
		return fmt.Errorf("commit to %s: %w", o.remote, bridge.ErrUnknown)
	}
	if err := o.check(s); err != nil {
		return fmt.Errorf("commit to %s: %w", o.remote, err)
	}
	f := Works
	if len(o.plan) > 0 {
		f, o.plan = o.plan[0], o.plan[1:]
	}
	if f == Hang || f == HangStored {
		o.unknown = true
		o.l.mu.Unlock()
		<-ctx.Done()
		o.l.mu.Lock()
	}
	switch f {
	case Works, UnknownStored, HangStored:
		o.apply(s)
	}
	switch f {
	case Works:
		return nil
	case Fails, FailsStored, Full:
		return ErrInjected
	}
	o.unknown = true
	return bridge.ErrUnknown
}

// check refuses what a correct pump never asks for.
func (o *Outbox) check(s *bridge.Step) error {
	next := make(map[uint16]uint64)
	mine := make(map[bridge.Ref]bool)
	for _, c := range s.Claims {
		want, ok := next[c.Conn]
		if !ok && o.conns[c.Conn] != nil {
			want = o.conns[c.Conn].next
		}
		next[c.Conn] = c.Number + 1
		row := int(c.Row) - 1
		switch {
		case c.Number != want:
			return fmt.Errorf("claim %d of connection %d, want %d: %w", c.Number, c.Conn, want, bridge.ErrRejected)
		case row < 0 || row >= len(o.l.rows) || int(c.Index) >= o.l.rows[row].Count || !slices.Contains(o.l.rows[row].remotes, o.remote):
			return fmt.Errorf("claim of message %d.%d, which is not there: %w", c.Row, c.Index, bridge.ErrRejected)
		case o.settled[c.Ref] || o.held(c.Ref, s.Acks) || mine[c.Ref]:
			return fmt.Errorf("claim of message %d.%d, which is settled or claimed: %w", c.Row, c.Index, bridge.ErrRejected)
		}
		mine[c.Ref] = true
	}
	for _, n := range s.Notes {
		if c := o.conns[n.Conn]; n.Kind == bridge.NoteRemoved && c != nil && len(c.claims) > 0 {
			return fmt.Errorf("remove connection %d with %d open claims: %w", n.Conn, len(c.claims), bridge.ErrRejected)
		}
	}
	return nil
}

// held reports whether a message has an open claim that acks do not give back.
func (o *Outbox) held(ref bridge.Ref, acks []bridge.Ack) bool {
	for id, c := range o.conns {
		for _, k := range c.claims {
			if k.Ref == ref {
				return !slices.Contains(acks, bridge.Ack{Conn: id, Number: k.Number, Kind: bridge.AckReturned})
			}
		}
	}
	return false
}

func (o *Outbox) apply(s *bridge.Step) {
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
			c.lose()
		}
	}
	for _, c := range s.Claims {
		c.Marked = c.Marked || o.marked[c.Ref]
		delete(o.marked, c.Ref)
		k := o.conn(c.Conn)
		k.claims = append(k.claims, bridge.OpenClaim{Claim: c})
		k.next = c.Number + 1
	}
	for _, p := range s.Passed {
		o.passed[p.Lane] = p.Row
	}
}

func (o *Outbox) ack(a bridge.Ack) {
	c := o.conn(a.Conn)
	at := slices.IndexFunc(c.claims, func(oc bridge.OpenClaim) bool { return oc.Number == a.Number })
	if at < 0 {
		return
	}
	ref := c.claims[at].Ref
	switch a.Kind {
	case bridge.AckNone:
		return
	case bridge.AckReceived:
		c.claims[at].Received = true
		return
	case bridge.AckReturned:
		if c.claims[at].Marked {
			o.marked[ref] = true
		}
	case bridge.AckRefused:
		m := o.l.rows[ref.Row-1].messages[ref.Index]
		o.l.parked = append(o.l.parked, bridge.Parking{Message: m, Module: o.remote, Reason: a.Reason})
		o.settled[ref] = true
	case bridge.AckDelivered:
		o.settled[ref] = true
	}
	c.claims = slices.Delete(c.claims, at, at+1)
}

func (o *Outbox) conn(id uint16) *fakeConn {
	if o.conns[id] == nil {
		o.conns[id] = new(fakeConn)
	}
	return o.conns[id]
}

// lose is what the end of a session at the far end means for its open claims.
func (c *fakeConn) lose() {
	c.trying = false
	for i := range c.claims {
		c.claims[i].Received, c.claims[i].Marked = false, true
	}
}

func compareRefs(a, b bridge.Ref) int {
	if a.Row != b.Row {
		return cmp.Compare(a.Row, b.Row)
	}
	return cmp.Compare(a.Index, b.Index)
}

package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// maxWindow is what a connection may have between its lowest open number and the next: packet identifiers come round (rule 11).
const maxWindow = 65_535

// Outbox is one remote's end of the ledger: a bridge.Outbox. Log.mu guards its fields; its one user is the remote's pump.
type Outbox struct {
	log    *Log
	id     uint32
	name   string
	shares map[uint64]*share // of the rows that it is not through with
	conns  map[uint16]*conn
	marked map[bridge.Ref]bool // unclaimed, sent before in a lost session
	passed map[uint64]uint64   // by lane: the row of a message that went before older ones
	far    string

	number  uint64 // of the last journal row
	base    uint64 // of the last journal row that the checkpoint contains
	journal int    // bytes of the journal rows after base
	unknown bool   // a commit has not reported: nothing more until the process starts anew
}

// share is what a remote has done of a row, which is live as long as a remote has a share of it.
type share struct {
	row     *row
	settled bridge.Bitmap // nil: none
	claimed bridge.Bitmap // open claims; nil: none
	left    int           // not settled
}

// conn is one connection's numbers: those from low to next are in claims, ended ones among them.
type conn struct {
	trying    bool
	low, next uint64
	claims    []claim // claims[i] has number low+i
}

type claim struct {
	ref                    bridge.Ref
	open, received, marked bool
	late                   bool
}

func newOutbox(l *Log, id uint32, name string) *Outbox {
	return &Outbox{
		log: l, id: id, name: name,
		shares: make(map[uint64]*share), conns: make(map[uint16]*conn), marked: make(map[bridge.Ref]bool),
		passed: make(map[uint64]uint64),
	}
}

// Outbox returns a remote's end of the ledger, nil for a remote that no pipeline has a route to.
func (l *Log) Outbox(remote string) *Outbox {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byName[remote]
}

// Restore implements bridge.Outbox. Under another far end the open claims stay open under their numbers, marked and without R, and every
// connection is trying: a session that is present there is not the one the claims were sent in.
func (o *Outbox) Restore(ctx context.Context, far string) (bridge.Restored, error) {
	o.log.mu.Lock()
	before := o.far
	o.log.mu.Unlock()
	if before != far {
		if err := o.submit(ctx, appendFar(nil, far), nil); err != nil {
			return bridge.Restored{}, fmt.Errorf("restore %s: %w", o.name, err)
		}
	}
	o.log.mu.Lock()
	defer o.log.mu.Unlock()
	r := bridge.Restored{Next: make(map[uint16]uint64), Trying: make(map[uint16]bool), Far: before}
	for _, id := range sortedKeys(o.conns) {
		c := o.conns[id]
		r.Next[id] = c.next
		if c.trying {
			r.Trying[id] = true
		}
		for i, k := range c.claims {
			if k.open {
				r.Claims = append(r.Claims, bridge.OpenClaim{
					Claim:    bridge.Claim{Ref: k.ref, Conn: id, Number: c.low + uint64(i), Marked: k.marked, Late: k.late},
					Received: k.received,
				})
			}
		}
	}
	r.Marked, r.Passed = o.sortedMarked(), o.stillPassed()
	return r, nil
}

// Next implements bridge.Outbox. It returns as soon as an Append for the remote is durable.
func (o *Outbox) Next(ctx context.Context, after uint64, max int) ([]bridge.Row, error) {
	for {
		rows, fresh := o.open(after, max)
		if len(rows) > 0 {
			return rows, nil
		}
		select {
		case <-fresh:
		case <-ctx.Done():
			return nil, fmt.Errorf("next of %s: %w", o.name, context.Cause(ctx))
		}
	}
}

func (o *Outbox) open(after uint64, max int) ([]bridge.Row, <-chan struct{}) {
	l := o.log
	l.mu.Lock()
	defer l.mu.Unlock()
	var rows []bridge.Row
	for at := l.rows.from(after + 1); at < len(l.rows.rows) && len(rows) < max; at++ {
		r := l.rows.rows[at]
		sh := o.shares[r.number]
		if sh == nil || r.stream == nil {
			continue
		}
		rows = append(rows, bridge.Row{
			Number: r.number, Pipeline: r.stream.pipeline, Stream: r.stream.name, Count: r.count, Bytes: r.bytes,
			Settled: slices.Clone(sh.settled), Appended: r.noted,
		})
	}
	return rows, l.fresh
}

// Messages implements bridge.Outbox. Messages that every remote has settled may be zero.
func (o *Outbox) Messages(number uint64) ([]bridge.Message, error) {
	ms, err := o.log.messages(number)
	if err != nil {
		return nil, fmt.Errorf("messages of row %d: %w", number, err)
	}
	return ms, nil
}

// Commit implements bridge.Outbox. A step that a correct pump cannot ask for is ErrRejected, and nothing of it is stored.
func (o *Outbox) Commit(ctx context.Context, s *bridge.Step) error {
	parked, err := o.prepare(s)
	if err == nil {
		err = o.submit(ctx, appendStep(make([]byte, 0, 64), s), parked)
	}
	if err != nil {
		return fmt.Errorf("commit to %s: %w", o.name, err)
	}
	return nil
}

// submit makes a journal row durable together with the messages it parks, and applies it.
func (o *Outbox) submit(ctx context.Context, data []byte, parked []refusedRow) error {
	l := o.log
	w := &write{small: true, patient: true, size: len(data)} // who sends has nobody waiting, and could not go on after an unknown outcome
	for i := range parked {
		w.size += len(parked[i].data)
	}
	w.put = func(t *tx) error { return o.put(t, data, parked) }
	w.end = func(err error) {
		if err == nil {
			err = o.replay(o.number+1, data)
		}
		if err != nil {
			l.note(err)
			return
		}
		for i := range parked {
			l.parked.add(len(parked[i].data))
			l.live += int64(len(parked[i].data))
		}
	}
	err := l.submit(ctx, w)
	if errors.Is(err, bridge.ErrUnknown) {
		l.mu.Lock()
		o.unknown = true
		l.mu.Unlock()
	}
	return err
}

func (o *Outbox) put(t *tx, data []byte, parked []refusedRow) error {
	if o.journal > o.log.limits.journal || o.number-o.base > o.log.limits.journalRows {
		if err := o.putCheckpoint(t); err != nil {
			return err
		}
	}
	number := o.number + 1
	if err := t.exec(sqlStep, int64(o.id), int64(number), int64(seal(data, uint64(o.id), number)), data); err != nil {
		return err
	}
	for i := range parked {
		if err := t.park(parked[i].stream, &parked[i].parkedRow); err != nil {
			return err
		}
	}
	return nil
}

// refusedRow is a message that its remote refused, ready to be parked.
type refusedRow struct {
	parkedRow
	stream uint32
}

// prepare checks a step, and reads the messages that it parks.
func (o *Outbox) prepare(s *bridge.Step) ([]refusedRow, error) {
	o.log.mu.Lock()
	err := o.check(s)
	refs := make([]bridge.Ref, 0, 4)
	var acks []bridge.Ack
	for _, a := range s.Acks {
		if k := o.claim(a); a.Kind == bridge.AckRefused && k != nil {
			refs, acks = append(refs, k.ref), append(acks, a)
		}
	}
	o.log.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var out []refusedRow
	for i, ref := range refs {
		r, err := o.refusedRow(ref, acks[i].Reason)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func (o *Outbox) refusedRow(ref bridge.Ref, reason string) (refusedRow, error) {
	o.log.mu.Lock()
	row := o.log.rows.get(ref.Row)
	o.log.mu.Unlock()
	if row == nil {
		return refusedRow{}, o.log.stop(fmt.Errorf("claimed row %d is gone: %w", ref.Row, bridge.ErrCorrupt))
	}
	ms, err := o.log.messages(ref.Row)
	if err != nil {
		return refusedRow{}, err
	}
	p := bridge.Parking{Message: ms[ref.Index], Module: o.name, Reason: reason}
	return refusedRow{parkedRow: newParkedRow(&p, time.Now().UnixMicro()), stream: row.stream.id}, nil
}

// place names a claim.
type place struct {
	conn   uint16
	number uint64
}

// endings is which claims a step ends, and how.
type endings map[place]bridge.AckKind

// check refuses a step that would contradict what is durable; Log.mu is held.
func (o *Outbox) check(s *bridge.Step) error {
	switch {
	case o.unknown:
		return bridge.ErrUnknown
	case len(s.Acks) > maxStep || len(s.Notes) > maxStep || len(s.Claims) > maxStep || len(s.Passed) > maxStep:
		return fmt.Errorf("more than %d parts in a step: %w", maxStep, bridge.ErrRejected)
	}
	ending := make(endings, len(s.Acks))
	for _, a := range s.Acks {
		if a.Kind > bridge.AckReturned {
			return fmt.Errorf("acknowledgement of kind %d: %w", a.Kind, bridge.ErrRejected)
		}
		if a.Kind >= bridge.AckDelivered {
			ending[place{a.Conn, a.Number}] = a.Kind
		}
	}
	for _, n := range s.Notes {
		if err := o.checkNote(n, ending); err != nil {
			return err
		}
	}
	return o.checkClaims(s.Claims, ending)
}

func (o *Outbox) checkNote(n bridge.Note, ending endings) error {
	if n.Kind == bridge.NoteNone || n.Kind > bridge.NoteRemoved {
		return fmt.Errorf("note of kind %d: %w", n.Kind, bridge.ErrRejected)
	}
	c := o.conns[n.Conn]
	if c == nil || n.Kind != bridge.NoteRemoved {
		return nil
	}
	for i := range c.claims {
		if c.claims[i].open && ending[place{n.Conn, c.low + uint64(i)}] == bridge.AckNone {
			return fmt.Errorf("connection %d is removed with number %d open: %w", n.Conn, c.low+uint64(i), bridge.ErrRejected)
		}
	}
	return nil
}

func (o *Outbox) checkClaims(cs []bridge.Claim, ending endings) error {
	type numbers struct{ next, low uint64 }
	of := make(map[uint16]numbers)
	mine := make(map[uint64]bridge.Bitmap) // by row: what this step claims
	for _, c := range cs {
		n, ok := of[c.Conn]
		if k := o.conns[c.Conn]; !ok && k != nil {
			n = numbers{k.next, k.lowAfter(c.Conn, ending)}
		}
		sh := o.shares[c.Row]
		switch {
		case c.Number != n.next:
			return fmt.Errorf("claim %d of connection %d, want %d: %w", c.Number, c.Conn, n.next, bridge.ErrRejected)
		case c.Number-n.low >= maxWindow:
			return fmt.Errorf("claim %d of connection %d while %d is open: %w", c.Number, c.Conn, n.low, bridge.ErrRejected)
		case sh == nil || int(c.Index) >= sh.row.count || sh.settled.Has(int(c.Index)):
			return fmt.Errorf("claim of message %d.%d, which is not there to be sent: %w", c.Row, c.Index, bridge.ErrRejected)
		case mine[c.Row].Has(int(c.Index)) || sh.claimed.Has(int(c.Index)) && !o.returned(c.Ref, ending):
			return fmt.Errorf("claim of message %d.%d, which is claimed: %w", c.Row, c.Index, bridge.ErrRejected)
		}
		if mine[c.Row] == nil {
			mine[c.Row] = bridge.NewBitmap(sh.row.count)
		}
		mine[c.Row].Set(int(c.Index))
		n.next++
		of[c.Conn] = n
	}
	return nil
}

// lowAfter is the lowest number that is open once those in ending are not.
func (c *conn) lowAfter(id uint16, ending endings) uint64 {
	for i := range c.claims {
		if n := c.low + uint64(i); c.claims[i].open && ending[place{id, n}] == bridge.AckNone {
			return n
		}
	}
	return c.next
}

// returned reports whether the same step gives a claimed message back.
func (o *Outbox) returned(ref bridge.Ref, ending endings) bool {
	for p, kind := range ending {
		if kind != bridge.AckReturned {
			continue
		}
		if k := o.claim(bridge.Ack{Conn: p.conn, Number: p.number}); k != nil && k.ref == ref {
			return true
		}
	}
	return false
}

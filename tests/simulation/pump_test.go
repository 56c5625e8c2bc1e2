package simulation

import (
	"slices"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// pump drives the step machine of production as bridge.Pump and mqtt.Remote do.
type pump struct {
	m      *session.Machine
	conns  int
	after  uint64       // last row offered
	phase  phase        // in place of after, where live messages go first
	limit  *tokens      // nil: none
	step   *bridge.Step // in the ledger's hands
	commit *write       // of step
}

// sends is what happened to messages over all lives, to tell a mark that is due from one that is not.
type sends struct {
	times   map[bridge.Ref]int  // published
	sent    map[bridge.Ref]bool // under the present claim
	must    map[bridge.Ref]bool // sent in a session that was lost: any later claim is marked
	may     map[bridge.Ref]bool // claimed in one: at QoS 2 nothing else is
	claimed map[bridge.Ref]bool // at any time
	open    map[claimName]bridge.Ref
	trying  map[uint16]bool     // connections whose last CONNECT has no noted answer
	newest  map[string]uint64   // by stream: newest row that was published
	late    map[bridge.Ref]bool // whether it was late, under the present claim
}

type claimName struct {
	conn   uint16
	number uint64
}

func newSends() sends {
	return sends{
		map[bridge.Ref]int{}, map[bridge.Ref]bool{}, map[bridge.Ref]bool{}, map[bridge.Ref]bool{}, map[bridge.Ref]bool{}, map[claimName]bridge.Ref{}, map[uint16]bool{},
		map[string]uint64{}, map[bridge.Ref]bool{},
	}
}

const maxClients = 3

// bootPump makes a machine from what the outbox remembers.
func (w *world) bootPump(first bool) pump {
	p := pump{conns: 1 + w.pick(maxClients)}
	if !first && p.conns != w.conns {
		w.fire("another number of clients")
	}
	w.conns = p.conns
	changed := !first && w.farChange && w.chance(2)
	if changed {
		w.fire("another far end")
		w.farEnd++
		w.lossy = true
		w.otherBroker()
		for _, ref := range w.sends.open {
			w.sends.must[ref] = w.sends.must[ref] || w.sends.sent[ref]
			w.sends.may[ref] = true
		}
	}
	o := w.disk.store.Outbox(remoteName)
	o.Restart()
	r, err := o.Restore(bg, string(rune('a'+w.farEnd)))
	if err != nil {
		w.failf("restore: %v", err)
	}
	if len(r.Trying) > 0 {
		w.fire("start with a CONNECT unanswered")
		w.lossy = true
	}
	c := session.Config{
		QoS: w.qos, Connections: p.conns, IDs: w.ids, Window: 1 + w.pick(6), Queue: 1 + w.pick(9), Claims: 1 + w.pick(4), Ahead: w.pick(4),
		Hold: w.hold, Clean: changed, Live: w.live,
	}
	if w.chance(2) {
		p.limit = new(tokens)
		c.Limit = p.limit
	}
	p.m = session.New(c)
	if err := p.m.Restore(r, func(r bridge.Ref) (session.Lane, error) { return w.laneOf(r.Row), nil }); err != nil {
		w.failf("restore: %v", err)
	}
	return p
}

func (w *world) laneOf(row uint64) session.Lane {
	return session.Lane{Hash: uint64(w.edge.entries[w.rows[row-1].stream].number), Ordering: w.ordering}
}

// offer is the pump reading the next row.
func (w *world) offer() bool {
	switch {
	case w.gate == nil:
		return false
	case w.live:
		return w.offerPhase(&w.gate.pump)
	case !w.gate.pump.m.Room():
		return false
	}
	p := &w.gate.pump
	rows, _ := w.disk.store.Outbox(remoteName).Next(ended, p.after, 1)
	if len(rows) == 0 {
		return false
	}
	r := rows[0]
	p.after = r.Number
	lane := w.laneOf(r.Number)
	p.m.Offer(&r, func(int) session.Lane { return lane })
	return true
}

// handIn gives the machine's next step to the ledger.
func (w *world) handIn() bool {
	if w.gate == nil || w.gate.pump.step != nil {
		return false
	}
	p := &w.gate.pump
	given := p.limit.given()
	if p.step = p.m.Step(); p.step == nil {
		return false
	}
	w.checkClaims(p, given)
	w.submitStep(p)
	return true
}

func (w *world) submitStep(p *pump) {
	step := cloneStep(p.step)
	p.commit = &write{what: "step", small: true, put: func() error { return w.putStep(step) }}
	w.disk.tail = append(w.disk.tail, p.commit)
}

func cloneStep(s *bridge.Step) *bridge.Step {
	return &bridge.Step{Acks: slices.Clone(s.Acks), Notes: slices.Clone(s.Notes), Claims: slices.Clone(s.Claims), Passed: slices.Clone(s.Passed)}
}

// putStep makes a step durable, and holds it to the rules that the ledger cannot know.
func (w *world) putStep(s *bridge.Step) error {
	for _, a := range s.Acks {
		name := claimName{a.Conn, a.Number}
		ref, ok := w.sends.open[name]
		if !ok {
			w.failf("acknowledgement of claim %d of connection %d, which is not open", a.Number, a.Conn)
		}
		switch a.Kind {
		case bridge.AckReceived:
			continue
		case bridge.AckReturned:
			delete(w.sends.sent, ref)
			delete(w.sends.late, ref)
		}
		delete(w.sends.open, name)
	}
	for _, n := range s.Notes {
		w.sends.trying[n.Conn] = n.Kind == bridge.NoteTrying
		if n.Kind != bridge.NoteLost {
			continue
		}
		for name, ref := range w.sends.open {
			if name.conn == n.Conn {
				w.sends.must[ref] = w.sends.must[ref] || w.sends.sent[ref]
				w.sends.may[ref] = true
			}
		}
	}
	for _, c := range s.Claims {
		low := c.Number
		for name := range w.sends.open {
			if name.conn == c.Conn {
				low = min(low, name.number)
			}
		}
		switch {
		case c.Number-low >= uint64(w.ids):
			w.failf("claim %d of connection %d: its identifier is in use", c.Number, c.Conn)
		case c.Marked && !w.sends.claimed[c.Ref]:
			w.failf("%v marked without a claim before", w.words(c.Ref))
		case w.sends.must[c.Ref] && !c.Marked:
			w.failf("%v was sent in a lost session: mark forgotten", w.words(c.Ref))
		}
		w.sends.claimed[c.Ref] = true
		w.sends.open[claimName{c.Conn, c.Number}] = c.Ref
	}
	return w.disk.store.Outbox(remoteName).Commit(bg, s)
}

// stepped tells the machine that its step is durable, or tries the same step again.
func (w *world) stepped() bool {
	if w.gate == nil || w.gate.pump.commit == nil || !w.gate.pump.commit.done {
		return false
	}
	p := &w.gate.pump
	if p.commit.err != nil {
		w.fire("step failed, tried again")
		w.submitStep(p)
		return true
	}
	p.step, p.commit = nil, nil
	p.m.Done()
	return true
}

// giveUp is the pump's deadline: the outcome of its commit is not known, and the process ends.
func (w *world) giveUp() bool {
	if w.gate == nil || w.gate.pump.commit == nil || !w.disk.hangs || !w.gate.pump.commit.taken || !w.chance(6) {
		return false
	}
	w.fire("process ended: outcome of a step unknown")
	w.crash()
	return true
}

func (w *world) dial() bool {
	if w.gate == nil {
		return false
	}
	id := w.pick(maxClients)
	c := &w.broker.clients[id]
	if c.up || !slices.Contains(w.gate.pump.m.Connections(), uint16(id)) {
		return false
	}
	*c = client{up: true, answered: true}
	w.gate.pump.m.Ready(uint16(id))
	return true
}

func (w *world) retry() bool {
	if w.gate == nil || w.gate.pump.m.Held() == 0 {
		return false
	}
	w.fire("lane held and tried again")
	w.gate.pump.m.Retry()
	return true
}

func (w *world) pumpLost(id int, blame bool) {
	if w.gate != nil {
		w.gate.pump.m.Lost(uint16(id), blame)
	}
}

// carry puts the machine's frames on the wire.
func (w *world) carry() {
	if w.gate == nil {
		return
	}
	m := w.gate.pump.m
	for id := range w.broker.clients {
		n, awaited := m.Flying(uint16(id))
		if awaited < 0 || awaited > n || w.qos < 2 && awaited != n {
			w.failf("connection %d: %d in flight, %d await the broker", id, n, awaited)
		}
	}
	for _, f := range m.Frames() {
		c := &w.broker.clients[f.Conn]
		switch {
		case f.Kind == session.Drop:
			w.fire("session distrusted")
			w.cutClient(int(f.Conn))
			continue
		case f.Kind == session.Erase:
			w.fire("removed client drained")
		case f.Kind == session.Connect:
			c.answered = false
			if f.Clean {
				w.fire("clean start")
			}
		}
		if f.Kind == session.Publish {
			w.checkLate(f)
		}
		if !c.up {
			continue
		}
		if f.Kind == session.Publish {
			w.published(f)
		}
		c.toBroker = append(c.toBroker, packet{kind: f.Kind, id: f.ID, ref: f.Ref, mark: f.Mark != 0, late: f.Late, clean: f.Clean})
	}
}

func (w *world) published(f session.Frame) {
	w.note("connection %d: PUBLISH %d %v mark %d", f.Conn, f.ID, w.words(f.Ref), f.Mark)
	if w.sends.open[claimName{f.Conn, f.Number}] != f.Ref {
		w.failf("%v sent before its claim is durable", w.words(f.Ref))
	}
	if f.Mark != 0 && w.qos == 2 && !w.sends.may[f.Ref] {
		w.failf("%v marked, and no session that had it was lost", w.words(f.Ref))
	}
	w.sends.times[f.Ref]++
	w.sends.sent[f.Ref] = true
	if f.Number >= uint64(w.ids) {
		w.fire("identifiers wrapped")
	}
}

// weRead is the pump taking an acknowledgement.
func (w *world) weRead() bool {
	id := w.pick(maxClients)
	c := &w.broker.clients[id]
	if w.gate == nil || len(c.toUs) == 0 {
		return false
	}
	m := w.gate.pump.m
	p := c.toUs[0]
	c.toUs = c.toUs[1:]
	switch {
	case p.ack != 0:
		if p.code == 0x92 {
			w.fire("0x92 to a PUBREL")
		}
		m.Packet(uint16(id), session.Packet{Kind: p.ack, ID: p.id, Code: p.code, Reason: "test"})
	case p.code >= 0x80:
		c.answered = true
		m.Rejected(uint16(id))
		w.cutClient(id)
	default:
		c.answered = true
		before, known := w.lives[id]
		w.lives[id] = w.broker.life
		if known && before != w.broker.life && p.present && !w.silent {
			w.fire("session of a broker that was started anew")
			m.Distrust(uint16(id))
			return true
		}
		w.cameBack()
		m.Accepted(uint16(id), p.present, p.window)
	}
	return true
}

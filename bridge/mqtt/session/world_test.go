package session_test

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// A world is a machine between a model outbox and a model broker. A seed makes every choice, so a seed is a schedule. Checked are: nothing
// lost, no double without a mark, no mark without a cause, order per stream, Receive Maximum, dense numbers, nothing stuck.

const streams, maxClients, maxTurns = 3, 3, 20000

// variant fixes a part of the world; what it leaves open the seed decides.
type variant struct {
	name      string
	qos       byte
	ordering  bridge.Ordering
	loses     bool // a killed broker forgets its sessions
	calm      bool // nothing breaks while a CONNECT is unanswered
	refuses   bool // the broker refuses some messages, for now or for good
	hold      bool
	poisons   bool // the broker ends the connection on one message
	farChange bool // a restart may find itself in front of another broker
	live      bool // new rows go before the backlog: see live_test.go
}

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

type brokerSession struct {
	exists  bool
	waiting map[uint16]packet // QoS 2, PUBREC said
}

type client struct {
	up       bool
	toBroker []packet
	toUs     []packet
	window   int
	busy     map[uint16]bool
	answered bool // no CONNECT is under way
}

type world struct {
	variant
	pick      func(int) int
	fired     map[string]int
	ids       int
	atPublish bool // hands on at PUBLISH, else at PUBREL
	says91    bool
	m         *session.Machine
	conns     int
	box       box
	rows      []bridge.Row // appended so far
	coming    []bridge.Row
	offered   int
	phase     phase
	tokens    *tokens // nil: no limit
	step      *bridge.Step
	clients   [maxClients]client
	sessions  [maxClients]brokerSession
	poison    bridge.Ref         // the broker ends the connection on it
	refusals  map[bridge.Ref]int // 1: once, for now; 2: for good
	published map[bridge.Ref]int
	out       []packet // handed on
	lossy     bool     // a session was lost, or had to be taken for lost
	faults    int
	fail      string
}

func newWorld(v variant, seed uint64, fired map[string]int) *world {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := &world{variant: v, pick: rng.IntN, fired: fired, refusals: map[bridge.Ref]int{}, published: map[bridge.Ref]int{}}
	w.ids, w.atPublish, w.says91, w.faults = 5+w.pick(3), w.pick(2) == 0, w.pick(2) == 0, w.pick(7)
	w.box = newBox(w.ids)
	w.phase.sent = map[string]uint64{}
	if w.pick(2) == 0 {
		w.tokens = new(tokens)
	}
	for n := range 5 + w.pick(6) {
		r := bridge.Row{Number: uint64(n + 1), Stream: string(rune('a' + w.pick(streams))), Count: 1 + w.pick(4)}
		w.coming = append(w.coming, r)
		if v.refuses && w.pick(4) == 0 {
			w.refusals[bridge.Ref{Row: r.Number, Index: uint32(w.pick(r.Count))}] = 1 + w.pick(2)
		}
	}
	if v.poisons {
		w.poison = bridge.Ref{Row: uint64(1 + w.pick(len(w.coming)))}
	}
	w.boot()
	return w
}

func (w *world) fire(what string) { w.fired[what]++ }

func (w *world) lane(row uint64) session.Lane {
	for _, r := range w.coming {
		if r.Number == row {
			return session.Lane{Hash: uint64(r.Stream[0] - 'a'), Ordering: w.ordering}
		}
	}
	panic("no such row")
}

// boot starts a machine from what the box remembers.
func (w *world) boot() {
	conns := 1 + w.pick(maxClients)
	if w.m != nil && conns != w.conns {
		w.fire("another number of clients")
	}
	w.conns, w.step, w.offered = conns, nil, 0
	w.phase.end()
	changed := w.m != nil && w.farChange && w.pick(2) == 0
	if changed {
		w.fire("another far end")
		w.lossy = true
		w.otherBroker()
	}
	r := w.box.restored(changed)
	if len(r.Trying) > 0 {
		w.fire("start with a CONNECT unanswered")
		w.lossy = true
	}
	c := session.Config{
		QoS: w.qos, Connections: conns, IDs: w.ids, Window: 1 + w.pick(6), Queue: 1 + w.pick(9), Claims: 1 + w.pick(4), Ahead: w.pick(4),
		Hold: w.hold, Clean: changed, Live: w.live,
	}
	if w.tokens != nil {
		c.Limit = w.tokens
	}
	w.m = session.New(c)
	if err := w.m.Restore(r, func(r bridge.Ref) (session.Lane, error) { return w.lane(r.Row), nil }); err != nil {
		w.fail = err.Error()
	}
}

// otherBroker is one whose sessions under our client ids have rests of somebody else's messages in them.
func (w *world) otherBroker() {
	for i := range w.sessions {
		w.sessions[i] = brokerSession{exists: w.pick(2) == 0, waiting: map[uint16]packet{}}
		for id := range w.ids {
			if w.sessions[i].exists && w.pick(2) == 0 {
				w.sessions[i].waiting[uint16(id+1)] = packet{}
			}
		}
	}
}

var acts = []func(*world) bool{
	(*world).append, (*world).offer, (*world).commit, (*world).done, (*world).dial, (*world).brokerReads, (*world).weRead, (*world).retry,
	(*world).brokerReads, (*world).weRead, (*world).fill,
}

// run plays one schedule and returns what failed.
func (w *world) run() string {
	slow := w.pick(2 * len(acts))
	for turn := 0; w.fail == "" && !w.finished(); turn++ {
		if turn > maxTurns {
			return "stuck"
		}
		if w.faults > 0 && w.pick(20) == 0 {
			w.fault()
			continue
		}
		first := w.pick(len(acts))
		for i := range acts {
			if a := (first + i) % len(acts); (a != slow || w.pick(8) == 0) && acts[a](w) {
				break
			}
		}
		w.carry()
	}
	if w.fail != "" {
		return w.fail
	}
	return w.verdict()
}

func (w *world) finished() bool {
	return len(w.rows) == len(w.coming) && (w.live || w.offered == len(w.rows)) && w.box.finished(w.rows) && w.m.Held() == 0
}

func (w *world) append() bool {
	if len(w.rows) == len(w.coming) {
		return false
	}
	w.rows = append(w.rows, w.coming[len(w.rows)])
	return true
}

func (w *world) offer() bool {
	if w.live {
		return w.offerPhase()
	}
	if w.offered == len(w.rows) || !w.m.Room() {
		return false
	}
	r := w.rows[w.offered]
	r.Settled = w.box.bitmap(r)
	w.m.Offer(&r, func(int) session.Lane { return w.lane(r.Number) })
	w.offered++
	return true
}

// fill is time passing at the limit.
func (w *world) fill() bool {
	if !w.m.Waits() {
		return false
	}
	w.fire("waited for the limit")
	*w.tokens = tokens(1 + w.pick(3))
	return true
}

func (w *world) commit() bool {
	if w.step != nil {
		return false
	}
	w.step = w.m.Step()
	return w.step != nil
}

func (w *world) done() bool {
	if w.step == nil {
		return false
	}
	if w.pick(10) == 0 {
		w.fire("commit failed, tried again")
		return true
	}
	if w.fail = w.box.apply(w.step); w.fail != "" {
		return true
	}
	w.step = nil
	w.m.Done()
	return true
}

func (w *world) dial() bool {
	id := w.pick(maxClients)
	if c := &w.clients[id]; c.up || !slices.Contains(w.m.Connections(), uint16(id)) {
		return false
	} else {
		*c = client{up: true, answered: true}
	}
	w.m.Ready(uint16(id))
	return true
}

func (w *world) retry() bool {
	if w.m.Held() == 0 {
		return false
	}
	w.fire("lane held and tried again")
	w.m.Retry()
	return true
}

// carry puts the machine's frames on the wire.
func (w *world) carry() {
	for id := range w.clients {
		n, awaited := w.m.Flying(uint16(id))
		if awaited < 0 || awaited > n || w.qos < 2 && awaited != n || n > 0 && w.finished() {
			w.fail = fmt.Sprintf("connection %d: %d in flight, %d await the broker", id, n, awaited)
			return
		}
	}
	for _, f := range w.m.Frames() {
		c := &w.clients[f.Conn]
		switch {
		case f.Kind == session.Drop:
			w.cut(int(f.Conn))
			continue
		case f.Kind == session.Erase:
			w.fire("removed client drained")
		case f.Kind == session.Connect:
			c.answered = false
			if f.Clean {
				w.fire("clean start")
			}
		case f.Kind == session.Publish && f.Mark != 0 && w.published[f.Ref] == 0:
			// Counted only: the mark says "perhaps", a claim of a lost session may never have been sent.
			w.fire("marked and never sent before")
		}
		if f.Kind == session.Publish {
			w.checkLate(f)
		}
		if !c.up {
			continue
		}
		if f.Kind == session.Publish {
			w.published[f.Ref]++
			w.box.sent[f.Ref] = true
			if f.Number >= uint64(w.ids) {
				w.fire("identifiers wrapped")
			}
		}
		c.toBroker = append(c.toBroker, packet{kind: f.Kind, id: f.ID, ref: f.Ref, mark: f.Mark != 0, late: f.Late, clean: f.Clean})
	}
}

func (w *world) weRead() bool {
	id := w.pick(maxClients)
	c := &w.clients[id]
	if len(c.toUs) == 0 {
		return false
	}
	p := c.toUs[0]
	c.toUs = c.toUs[1:]
	switch {
	case p.ack != 0:
		if p.code == 0x92 {
			w.fire("0x92 to a repeated PUBREL")
		}
		w.m.Packet(uint16(id), session.Packet{Kind: p.ack, ID: p.id, Code: p.code, Reason: "test"})
	case p.code >= 0x80:
		c.answered = true
		w.m.Rejected(uint16(id))
		w.cut(id)
	default:
		c.answered = true
		w.begin()
		w.m.Accepted(uint16(id), p.present, p.window)
	}
	return true
}

// cut ends a network connection; the broker may still read what was on its way.
func (w *world) cut(id int) {
	c := &w.clients[id]
	for n := w.pick(len(c.toBroker) + 1); n > 0 && len(c.toBroker) > 0; n-- {
		w.brokerTakes(id)
	}
	if c.up && !c.answered {
		w.fire("CONNECT unanswered")
		w.lossy = true
	}
	*c = client{answered: true}
	w.m.Lost(uint16(id), false)
}

// poisoned ends the connection as a broker does that cannot stand a message.
func (w *world) poisoned(id int) {
	w.fire("connection ended on a message")
	w.clients[id] = client{answered: true}
	w.m.Lost(uint16(id), true)
}

// connecting reports whether a CONNECT is noted or sent whose answer is not noted.
func (w *world) connecting() bool {
	if w.step != nil && len(w.step.Notes) > 0 {
		return true
	}
	for id := range w.clients {
		if c := w.box.conns[uint16(id)]; !w.clients[id].answered || c != nil && c.trying {
			return true
		}
	}
	return false
}

func (w *world) fault() {
	if w.calm && w.connecting() {
		return
	}
	w.faults--
	switch f := w.pick(5); f {
	case 0, 1:
		w.fire("crash")
		if w.step != nil {
			if w.pick(2) == 0 {
				w.fire("crash: step in flight is durable")
				w.fail = w.box.apply(w.step)
			} else {
				w.fire("crash: step in flight is gone")
			}
		}
		for id := range w.clients {
			w.cut(id)
		}
		w.boot()
	case 2, 3:
		w.fire("network cut")
		w.cut(w.pick(maxClients))
	case 4:
		for id := range w.clients {
			w.clients[id].toBroker = nil
			w.cut(id)
			if w.loses && w.sessions[id].exists {
				w.fire("session lost")
				w.lossy = true
				w.sessions[id] = brokerSession{}
			}
		}
	}
}

// verdict compares what was handed on with what was appended.
func (w *world) verdict() string {
	times := map[bridge.Ref]int{}
	last := map[string]bridge.Ref{}
	for _, p := range w.out {
		if times[p.ref]++; times[p.ref] > 1 {
			if !p.mark {
				return "unmarked double"
			}
			if !w.lossy && w.qos == 2 {
				return "double without a cause"
			}
			w.fire("marked double")
			continue
		}
		stream := w.coming[p.ref.Row-1].Stream
		if p.late {
			stream += " late" // they and the others each have an order
		}
		if l := last[stream]; w.ordering != bridge.Unordered && (l.Row > p.ref.Row || l.Row == p.ref.Row && l.Index > p.ref.Index) {
			return "order"
		}
		last[stream] = p.ref
	}
	for _, r := range w.coming {
		for i := range r.Count {
			if ref := (bridge.Ref{Row: r.Number, Index: uint32(i)}); times[ref] == 0 && !w.box.parked[ref] {
				return "lost"
			} else if ref == w.poison && w.box.parked[ref] {
				w.fire("poison parked")
			}
		}
	}
	return ""
}

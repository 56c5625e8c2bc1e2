package simulation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// gate is one life of the bridge: what its memory holds. The target's answers are those of the table in bridge/reduct.
type gate struct {
	w        *world
	ledger   ledger
	intake   *bridge.Intake
	pump     pump
	tasks    []*task
	running  *task
	courses  map[string]*course
	locks    map[string]bool    // streams that somebody delivers to or reconciles
	inside   map[string]bool    // streams that somebody is in the intake with
	accepted map[int]time.Time  // connections
	asked    map[int][]int64    // by connection: updates that were answered 404, to come whole
	applied  map[recordName]int // version of a record's labels, as the module saw it last
	hopeless map[int64]bool     // gaps that were looked for and cannot be made whole
	serving  []*request
	passing  bool
}

// boot starts the bridge.
func (w *world) boot(first bool) {
	w.note("START")
	g := &gate{
		w: w, courses: make(map[string]*course), locks: make(map[string]bool), inside: make(map[string]bool), accepted: make(map[int]time.Time),
		applied: make(map[recordName]int), asked: make(map[int][]int64), hopeless: make(map[int64]bool),
	}
	g.ledger = ledger{g}
	g.intake = &bridge.Intake{Pipeline: pipeline, Ledger: g.ledger, Chain: &guests{g, make(map[string]tally)}}
	g.pump = w.bootPump(first)
	w.gate = g
}

// dead: the process that this code belonged to is gone.
func (g *gate) dead() bool { return g.w.gate != g }

// serve is the target taking a request from the network.
func (w *world) serve() bool {
	g := w.gate
	s := w.edge.senders[w.pick(len(w.edge.senders))]
	if g == nil || s.batch == nil || s.batch.request == nil || s.batch.request.read || s.batch.request.status > 0 {
		return false
	}
	r := s.batch.request
	r.read = true
	if _, known := g.accepted[r.conn]; !known {
		g.accepted[r.conn] = w.now()
	}
	g.serving = append(g.serving, r)
	g.spawn(func() {
		status := g.target(r)
		g.serving = slices.DeleteFunc(g.serving, func(x *request) bool { return x == r })
		if !g.dead() {
			w.note("target: %d to connection %d", status, r.conn)
			r.status = status
		}
	})
	return true
}

func (g *gate) target(r *request) (status int) {
	switch {
	case r.garbled:
		return g.refuse(r)
	case r.patch:
		return g.update(r)
	}
	return g.take(r)
}

// take is a POST.
func (g *gate) take(r *request) int {
	asked := g.asked[r.conn]
	delete(g.asked, r.conn)
	if err := g.settle(r, hold.Batch{Times: timesOf(r.records), Updates: asked}); err != nil {
		return 503
	}
	defer g.unlock(r.stream)
	if err := g.deliver(r.stream, r.records); err != nil {
		return 503
	}
	return 200
}

// deliver is Intake.Deliver for whoever holds the stream.
func (g *gate) deliver(stream string, rs []bridge.Record) error {
	err := g.in(stream, func() error {
		return g.intake.Deliver(bg, &bridge.Batch{Stream: stream, Records: slices.Clone(rs)})
	})
	return err
}

// tick is the clock of the modules: what they hold back of a stream is asked for.
func (w *world) tick() bool {
	g := w.gate
	if g == nil || w.ticks == 0 || !w.chance(20) {
		return false
	}
	w.ticks--
	e := w.edge.list[w.pick(len(w.edge.list))]
	g.spawn(func() {
		err := g.in(e.stream, func() error { return g.intake.Flush(bg, e.stream, bridge.FlushTick) })
		if w.note("tick of %s: %v", e.stream, err); err == nil {
			w.fire("tick")
		}
	})
	return true
}

// in waits until nobody is in the intake with a stream: its lock would stop the whole simulation.
func (g *gate) in(stream string, f func() error) error {
	if !g.wait(func() bool { return !g.inside[stream] }) {
		return bridge.ErrRetry
	}
	g.inside[stream] = true
	defer func() { g.inside[stream] = false }()
	return f()
}

// update is a PATCH.
func (g *gate) update(r *request) int {
	var keys []bridge.Key
	for i := range r.records {
		keys = append(keys, bridge.Key{Time: r.records[i].Time, Revision: bridge.LabelHash(r.records[i].Labels)})
	}
	known := make([]bool, len(keys))
	err := g.in(r.stream, func() error { return g.intake.Update(bg, r.stream, keys, known) })
	if err != nil {
		return 503
	}
	r.refused = make(map[int64]bool)
	delete(g.asked, r.conn)
	for i, k := range keys {
		if r.refused[k.Time] = !known[i]; !known[i] {
			g.asked[r.conn] = append(g.asked[r.conn], k.Time)
		}
	}
	return 200
}

// refuse answers 422 once a gap says what is missing (rule 6).
func (g *gate) refuse(r *request) int {
	ts := timesOf(r.records)
	if err := g.ledger.noteGap(bridge.Gap{Stream: r.stream, From: ts[0], To: ts[len(ts)-1], Reason: "garbled"}); err != nil {
		return 503
	}
	g.w.fire("gap and 422")
	g.course(r.stream).hold.Noted()
	return 422
}

func (g *gate) lock(stream string) error {
	if !g.wait(func() bool { return !g.locks[stream] }) {
		return fmt.Errorf("wait for %s: %w", stream, bridge.ErrRetry)
	}
	g.locks[stream] = true
	return nil
}

func (g *gate) unlock(stream string) { g.locks[stream] = false }

var errEdge = errors.New("the edge store did not answer")

// ask is a query of the edge store: what it has of a stream between two times, a page of it.
func (g *gate) ask(stream string, in hold.Range) (ts []int64, more bool, err error) {
	if !g.waitLong(func() bool { return true }) {
		return nil, false, bridge.ErrClosed
	}
	if g.w.faults > 0 && g.w.chance(20) {
		g.w.faults--
		g.w.fire("query failed")
		return nil, false, errEdge
	}
	for _, r := range g.w.edge.entries[stream].records {
		if r.evicted || r.time < in.From || r.time > in.To {
			continue
		}
		if len(ts) == 3 {
			return ts, true, nil
		}
		ts = append(ts, r.time)
	}
	return ts, false, nil
}

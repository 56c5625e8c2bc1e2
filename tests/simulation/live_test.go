package simulation

import (
	"math"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// Where live messages go first, a pump has two readers of rows. A row is read some time before it is offered, so what is known of it is old by then.

// phase is what the readers have come to since the remote is back.
type phase struct {
	begun       bool   // else there was no connection yet: one reader reads all rows
	known       bool   // newest is
	newest      uint64 // rows up to it are the backlog
	back, front reader
	live        map[bridge.Ref]bool // offered as live; true: not claimed
}

type reader struct {
	after uint64 // last row read
	ended bool
	rows  []bridge.Row // read and not offered
}

// cameBack begins a phase with an accepted CONNECT, where no other connection is up.
func (w *world) cameBack() {
	p := &w.gate.pump
	if !w.live || p.m.Up() {
		return
	}
	if p.phase.begun {
		w.fire("phase after phase")
	}
	p.m.Anew()
	p.phase = phase{begun: true, live: make(map[bridge.Ref]bool)}
}

// offerPhase is one of the readers reading a row, or the pump taking one from it.
func (w *world) offerPhase(p *pump) bool {
	f := &p.phase
	switch {
	case !f.begun:
		f.newest = math.MaxUint64
	case !f.known:
		rows, _ := w.disk.store.Outbox(remoteName).Next(ended, 0, 1<<30)
		if f.known, f.newest = true, 0; len(rows) > 0 {
			f.newest = rows[len(rows)-1].Number
		}
		f.front.after = f.newest
		return true
	}
	switch w.pick(4) {
	case 0:
		return w.read(&f.back, f.newest)
	case 1:
		return f.begun && w.read(&f.front, math.MaxUint64)
	case 2:
		return p.m.Room() && w.take(p, &f.back, false)
	}
	if !p.m.LiveRoom() || !w.take(p, &f.front, true) {
		return false
	}
	if !p.m.Room() {
		w.fire("live row while the backlog fills its queue")
	}
	return true
}

// read reads the next row up to one, or the end of them.
func (w *world) read(r *reader, upTo uint64) bool {
	if len(r.rows) == 2 || r.ended {
		return false
	}
	rows, _ := w.disk.store.Outbox(remoteName).Next(ended, r.after, 1)
	switch {
	case len(rows) > 0 && rows[0].Number <= upTo:
		r.after = rows[0].Number
		r.rows = append(r.rows, rows[0])
	case upTo < math.MaxUint64:
		r.ended = true
		r.rows = append(r.rows, bridge.Row{Number: upTo})
	default:
		return false
	}
	return true
}

// take offers the first row of a reader.
func (w *world) take(p *pump, from *reader, live bool) bool {
	if len(from.rows) == 0 {
		return false
	}
	r := from.rows[0]
	from.rows = from.rows[1:]
	r.Live = live
	for i := range r.Count {
		if live && !r.Settled.Has(i) {
			p.phase.live[bridge.Ref{Row: r.Number, Index: uint32(i)}] = true
		}
	}
	p.m.Offer(&r, func(int) session.Lane { return w.laneOf(r.Number) })
	return true
}

// checkClaims: nothing of the backlog is claimed while a live message of its lane waits, and no more than the limit had given.
func (w *world) checkClaims(p *pump, given int) {
	f := &p.phase
	for _, a := range p.step.Acks {
		ref := w.sends.open[claimName{a.Conn, a.Number}]
		if _, live := f.live[ref]; live && a.Kind == bridge.AckReturned {
			f.live[ref] = true
		}
	}
	for _, c := range p.step.Claims {
		if _, live := f.live[c.Ref]; live {
			f.live[c.Ref] = false
			continue
		}
		if given--; given < 0 {
			w.failf("limit: %v claimed beyond it", w.words(c.Ref))
		}
		for ref, waits := range f.live {
			if waits && w.rows[ref.Row-1].stream == w.rows[c.Row-1].stream {
				w.failf("live: %v claimed while %v waits", w.words(c.Ref), w.words(ref))
			}
		}
	}
}

// checkLate: what goes out after a newer message of its stream says so, and nothing else does. A resend says what the first one said.
func (w *world) checkLate(f session.Frame) {
	s := &w.sends
	stream := w.rows[f.Row-1].stream
	late, again := s.late[f.Ref]
	if !again {
		late = s.newest[stream] > f.Row && w.ordering != bridge.Unordered
	}
	switch {
	case late && !f.Late:
		w.failf("late: %v goes out after row %d and does not say so", w.words(f.Ref), s.newest[stream])
	case f.Late && !late:
		w.failf("late: %v says so, and no newer one went before", w.words(f.Ref))
	case late && !again:
		w.fire("late")
	}
	s.late[f.Ref] = late
	s.newest[stream] = max(s.newest[stream], f.Row)
}

// tokens is a session.Limit that is open while it has some.
type tokens int

func (n *tokens) Open() bool      { return *n > 0 }
func (n *tokens) Take(bridge.Ref) { *n-- }

// given is how many messages may be claimed.
func (n *tokens) given() int {
	if n == nil {
		return math.MaxInt
	}
	return max(0, int(*n))
}

// fill is time passing at the limit.
func (w *world) fill() bool {
	if w.gate == nil || !w.gate.pump.m.Waits() {
		return false
	}
	w.fire("waited for the limit")
	*w.gate.pump.limit = tokens(1 + w.pick(3))
	return true
}

package simulation

import (
	"math"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// course is what the reconciler knows of a stream.
type course struct {
	hold  hold.Stream
	job   *job
	ahead int64
	known bool
}

// job is a settling that runs.
type job struct {
	hold.Batch
	accepted time.Time
	turn     hold.Settling
	done     bool
	err      error
}

func (g *gate) course(stream string) *course {
	c := g.courses[stream]
	if c == nil {
		c = new(course)
		g.courses[stream] = c
	}
	return c
}

// settle returns nil once a settling of the stream for r's connection has ended, and the stream is the caller's (rule 7).
func (g *gate) settle(r *request, b hold.Batch) error {
	c, accepted := g.course(r.stream), g.accepted[r.conn]
	for !c.hold.Passes(accepted) {
		if c.job == nil {
			j := &job{Batch: b, accepted: accepted, turn: c.hold.Begin(accepted)}
			c.job = j
			g.w.fire("held")
			g.spawn(func() { g.settleJob(r.stream, c, j) })
		}
		if g.dead() {
			return bridge.ErrClosed
		}
		j := c.job
		if j == nil {
			continue // it had ended before it waited for anything
		}
		if !g.wait(func() bool { return j.done }) {
			return bridge.ErrRetry
		}
		if j.err != nil {
			return j.err
		}
		if j.accepted.Equal(accepted) && slices.Equal(j.Times, b.Times) && c.hold.Fresh(j.turn) {
			break
		}
	}
	return g.lock(r.stream)
}

func (g *gate) settleJob(stream string, c *course, j *job) {
	complete, err := g.settleStream(stream, j.Batch)
	if g.dead() {
		return
	}
	c.job = nil
	if err == nil {
		c.hold.End(j.turn, complete)
	}
	j.err, j.done = err, true
}

func (g *gate) settleStream(stream string, b hold.Batch) (complete bool, err error) {
	if err := g.lock(stream); err != nil {
		return false, err
	}
	defer g.unlock(stream)
	facts := g.facts(stream)
	if err := g.closeGaps(stream, facts); err != nil {
		return false, err
	}
	ts, more, err := g.ask(stream, hold.Range{From: b.Last() + 1, To: math.MaxInt64})
	if err != nil {
		return false, err
	}
	beyond := hold.Beyond{Some: len(ts) > 0, More: more}
	if beyond.Some {
		beyond.Last = ts[len(ts)-1]
	}
	if more {
		g.backlog(stream, b)
	}
	walk := facts.Settle(b, beyond)
	if err := g.fetch(stream, walk.Before); err != nil {
		return false, err
	}
	other, err := g.others(stream, walk.Beside, b)
	if err == nil && other {
		err = g.fetch(stream, walk.Beside)
	}
	return walk.Complete, err
}

// backlog: a sender has much to send, and its log is not in the order of times where records were written late. Where it stands then says
// nothing of the records behind its first batch.
func (g *gate) backlog(stream string, b hold.Batch) {
	g.w.fire("settled with a backlog")
	for _, r := range g.w.edge.entries[stream].records {
		r.loose = r.loose || g.w.lates && r.time > b.Last()
	}
}

func (g *gate) facts(stream string) (f hold.Facts) {
	d := &g.w.disk
	f.Newest, f.Seen = d.newest[stream]
	f.Mark, f.Marked = d.marks[stream]
	f.Now = math.MaxInt64
	return f
}

func (g *gate) closeGaps(stream string, facts hold.Facts) error {
	for _, x := range g.ledger.gaps(stream) {
		gap := hold.Range{From: x.From, To: x.To}
		if err := g.fetch(stream, hold.BeforeGap(facts.From(), gap)); err != nil {
			return err
		}
		if err := g.fetch(stream, gap); err != nil {
			return err
		}
		if err := g.ledger.closeGap(x.ID); err != nil {
			return err
		}
	}
	return nil
}

// others reports whether anything is missing beside what somebody is about to deliver.
func (g *gate) others(stream string, in hold.Range, b hold.Batch) (bool, error) {
	for !in.Empty() {
		ts, more, err := g.ask(stream, in)
		if err != nil || len(ts) == 0 {
			return false, err
		}
		unseen := make([]bool, len(ts))
		if err := g.in(stream, func() error { return g.intake.Unseen(bg, stream, ts, unseen) }); err != nil {
			return false, err
		}
		for i, t := range ts {
			if unseen[i] && !b.Has(t) {
				return true, nil
			}
		}
		if !more {
			break
		}
		in.From = ts[len(ts)-1] + 1
	}
	return false, nil
}

func (g *gate) fetch(stream string, in hold.Range) error {
	for !in.Empty() {
		ts, more, err := g.ask(stream, in)
		if err != nil || len(ts) == 0 {
			return err
		}
		unseen := make([]bool, len(ts))
		if err := g.in(stream, func() error { return g.intake.Unseen(bg, stream, ts, unseen) }); err != nil {
			return err
		}
		var want []bridge.Record
		for i, t := range ts {
			if r := g.w.edge.entries[stream].find(t); unseen[i] && r != nil {
				want = append(want, bridge.Record{Time: t, Labels: r.labels()})
			}
		}
		if len(want) > 0 {
			g.w.note("reconciler: takes %s %v", stream, timesOf(want))
			g.w.fire("reconciled")
			if err := g.deliver(stream, want); err != nil {
				return err
			}
		}
		if !more {
			break
		}
		in.From = ts[len(ts)-1] + 1
	}
	return nil
}

// pass is the reconciler's interval.
func (w *world) pass() bool {
	g := w.gate
	if g == nil || g.passing || !w.chance(10) {
		return false
	}
	g.passing = true
	g.spawn(func() {
		for _, e := range w.edge.list {
			if err := g.passStream(e.stream); err != nil {
				w.note("reconciler: %s: %v", e.stream, err)
			}
		}
		g.passing = false
	})
	return true
}

func (g *gate) passStream(stream string) error {
	if err := g.lock(stream); err != nil {
		return err
	}
	defer g.unlock(stream)
	if err := g.closeGaps(stream, g.facts(stream)); err != nil {
		return err
	}
	e := g.w.edge.entries[stream]
	if len(e.records) == 0 {
		return nil
	}
	c := g.course(stream)
	latest := e.records[len(e.records)-1].time
	upTo := latest
	if c.known {
		upTo = min(upTo, max(g.w.disk.newest[stream], c.ahead))
	}
	if err := g.fetch(stream, hold.Range{To: upTo}); err != nil {
		return err
	}
	c.ahead, c.known = latest, true
	if upTo <= g.w.disk.marks[stream] {
		return nil
	}
	return g.ledger.setReconciled(stream, min(upTo, math.MaxInt64))
}

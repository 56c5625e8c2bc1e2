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
	ahead hold.Ahead
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
	if _, err := g.fetch(stream, walk.Before); err != nil {
		return false, err
	}
	other, err := g.others(stream, walk.Beside, b)
	if err == nil && other {
		_, err = g.fetch(stream, walk.Beside)
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
		if g.hopeless[x.ID] {
			continue
		}
		gap := hold.Range{From: x.From, To: x.To}
		if _, err := g.fetch(stream, hold.BeforeGap(facts.From(), gap)); err != nil {
			return err
		}
		found, err := g.fetch(stream, gap)
		if err != nil {
			return err
		}
		if err := g.endGap(stream, x.ID, hold.EndGap(gap, found, g.w.edge.entries[stream].extent().Oldest)); err != nil {
			return err
		}
	}
	return nil
}

// endGap notes what became of a gap that was looked for.
func (g *gate) endGap(stream string, id int64, end hold.Ending) error {
	if !end.Lost.Empty() {
		if err := g.ledger.lose(stream, end.Lost); err != nil {
			return err
		}
	}
	if !end.Open.Empty() {
		g.w.fire("gap that stays")
		g.hopeless[id] = true
		return nil
	}
	return g.ledger.closeGap(id)
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

// fetch compares a range with what was seen, page by page, and takes in what is missing.
func (g *gate) fetch(stream string, in hold.Range) (found hold.Found, err error) {
	for !in.Empty() {
		ts, more, err := g.ask(stream, in)
		if err != nil || len(ts) == 0 {
			return found, err
		}
		if found.Records == 0 {
			found.First = ts[0]
		}
		found.Records += len(ts)
		found.Last = ts[len(ts)-1]
		lacking, err := g.takeMissing(stream, ts)
		if found.Lacking += lacking; err != nil || !more {
			return found, err
		}
		in.From = found.Last + 1
	}
	return found, nil
}

// takeMissing fetches and delivers what of a page was not seen. What is evicted meanwhile is lost.
func (g *gate) takeMissing(stream string, ts []int64) (lacking int, err error) {
	unseen := make([]bool, len(ts))
	if err := g.in(stream, func() error { return g.intake.Unseen(bg, stream, ts, unseen) }); err != nil {
		return 0, err
	}
	g.waitLong(func() bool { return true }) // the query for the records themselves
	var want []bridge.Record
	for i, t := range ts {
		if !unseen[i] {
			continue
		}
		lacking++
		if r := g.w.edge.entries[stream].find(t); r != nil {
			want = append(want, bridge.Record{Time: t, Labels: r.labels()})
			continue
		}
		g.w.fire("evicted before it was fetched")
		if err := g.ledger.lose(stream, hold.Range{From: t, To: t}); err != nil {
			return lacking, err
		}
	}
	if len(want) == 0 {
		return lacking, nil
	}
	g.w.note("reconciler: takes %s %v", stream, timesOf(want))
	g.w.fire("reconciled")
	return lacking, g.deliver(stream, want)
}

// pass is the reconciler's interval.
func (w *world) pass() bool {
	g := w.gate
	if g == nil || g.passing || !w.chance(10) {
		return false
	}
	g.passing = true
	g.spawn(func() {
		has := make(map[string]hold.Extent)
		for _, e := range w.edge.list {
			has[e.stream] = e.extent()
		}
		for _, e := range w.edge.list {
			if err := g.passStream(e, has[e.stream]); err != nil {
				w.note("reconciler: %s: %v", e.stream, err)
			}
		}
		g.passing = false
	})
	return true
}

func (g *gate) passStream(e *entry, has hold.Extent) error {
	if err := g.lock(e.stream); err != nil {
		return err
	}
	defer g.unlock(e.stream)
	facts := g.facts(e.stream)
	if err := g.closeGaps(e.stream, facts); err != nil || !has.Some {
		return err
	}
	c := g.course(e.stream)
	p := facts.Pass(has, c.ahead, g.w.overlap)
	if err := g.overtaken(e.stream, p.Overtaken); err != nil {
		return err
	}
	found, err := g.fetch(e.stream, p.Compare)
	if err != nil {
		return err
	}
	if !p.Vouches(found, time.Duration(g.w.pick(2))*time.Hour) {
		if err := g.overtaken(e.stream, p.PassedBy(e.extent().Oldest, math.MaxInt64)); err != nil {
			return err
		}
	}
	c.ahead = hold.Ahead{Latest: has.Latest, Known: true}
	if upTo, moved := p.Mark(found); moved {
		return g.ledger.setReconciled(e.stream, upTo)
	}
	return nil
}

// overtaken notes what was evicted before it was compared.
func (g *gate) overtaken(stream string, lost hold.Range) error {
	if lost.Empty() {
		return nil
	}
	g.w.fire("evicted before it was compared")
	if err := g.ledger.lose(stream, lost); err != nil {
		return err
	}
	return g.ledger.setReconciled(stream, lost.To)
}

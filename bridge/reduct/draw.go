package reduct

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/reductstore/reduct-go/model"

	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// A stream that has no sender is read from its mark on, payloads at once: what is newer than the mark is not to be compared, it is new.

const (
	lookBackEvery = 10 * time.Second // at least between two looks at what was read before, and between two durable marks of a stream
	oneTurn       = 10 * time.Second // for which a stream is read while others wait
	stretch       = time.Second      // after which it is asked what was evicted meanwhile, so that a long read need not be doubted as a whole
)

// lookBack reports whether a pass that begins now looks back. What is late by less than overlap is then found: the pass looks back by overlap and the
// time since the one before.
func (r *Reconciler) lookBack(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.looked) < max(time.Duration(r.cfg.Overlap), lookBackEvery) {
		return false
	}
	r.looked = now
	return true
}

// pull reads one stream on from its mark.
func (x *round) pull(ctx context.Context, e *model.EntryInfo) error {
	stream := x.task.stream(e.Name)
	if !x.task.selects(e.Name) || e.RecordCount == 0 || !x.wanted(stream) {
		return nil
	}
	return x.paced(ctx, stream, func(c *course) error {
		facts, err := x.facts(stream, time.Now())
		if err != nil {
			return err
		}
		durable := facts.Mark
		if c.read.Known && c.read.Latest > facts.Mark {
			facts.Mark, facts.Marked = c.read.Latest, true
		}
		p := facts.Pull(hold.Extent{Oldest: e.OldestRecord, Latest: e.LatestRecord, Some: true},
			hold.Back{By: 2 * time.Duration(x.cfg.Overlap).Microseconds(), Some: x.back})
		if !p.Overtaken.Empty() {
			if err := x.overtaken(ctx, stream, p.Overtaken); err != nil {
				return err
			}
		}
		early := errandOf(e.Name, stream, p.Early)
		early.fresh = true
		for _, look := range []errand{errandOf(e.Name, stream, p.Again), early} {
			if look.from > look.upTo {
				continue
			}
			if _, err := x.fetch(ctx, x.task, look); err != nil {
				return err
			}
		}
		if !p.Next.Empty() {
			err := x.source.look(ctx, x.task.srcBucket, e.Name, p.Next.To)
			switch {
			case errors.Is(err, errWriting):
				p.Next.To-- // it is read when it is there, by a later pass: the mark stays before it
			case err != nil:
				return err
			}
		}
		if !p.Next.Empty() {
			d := draw{x: x, c: c, errand: errandOf(e.Name, stream, p.Next), pull: &p}
			if err := d.read(ctx); err != nil {
				return err
			}
		}
		c.ahead = hold.Ahead{Latest: e.LatestRecord, Known: true}
		if upTo, marked := p.Mark(); x.back && marked && upTo > durable {
			return x.keep(ctx, c, stream, upTo)
		}
		return nil
	})
}

// keep makes durable how far a stream was read.
func (r *Reconciler) keep(ctx context.Context, c *course, stream string, upTo int64) error {
	c.kept = time.Now()
	return r.mind.Marks.SetReconciled(ctx, stream, upTo)
}

// draw is one read of a stream. The caller holds the stream's lock.
type draw struct {
	errand
	x       *round
	c       *course
	pull    *hold.Pull
	found   hold.Found // since the mark
	answers int        // since the mark
}

// read reads to the end of the errand, or until the stream's turn is over.
func (d *draw) read(ctx context.Context) error {
	q := d.heads(d.x.task, longTTL) // it waits between pages, for its pace and for a full ledger
	q.Head = false
	c, err := d.x.source.open(ctx, d.x.task.srcBucket, d.entry, q)
	if err != nil {
		return err
	}
	began := time.Now()
	for since := began; ; {
		more, err := d.x.next(ctx, c, d.stream, func(h *head, body io.Reader) error { return d.take(ctx, h, body) })
		if err != nil {
			return err
		}
		if more {
			d.answers++
		}
		now := time.Now()
		over := !more || c.end
		turn := !over && d.x.turn > 0 && now.Sub(began) >= d.x.turn
		if over || turn || now.Sub(since) >= stretch {
			if err := d.reached(ctx, over); err != nil {
				return err
			}
			since = now
		}
		if turn {
			d.x.more.Store(true)
		}
		if over || turn {
			return nil
		}
	}
}

// take takes in what is new of an answer.
func (d *draw) take(ctx context.Context, h *head, body io.Reader) error {
	d.x.add(&d.found, h.items)
	runs, left, err := d.x.missing(ctx, d.errand, h.items)
	if err != nil {
		return err
	}
	before := d.found.Left
	d.found.Left += left
	if want := slices.Concat(runs...); len(want) > 0 {
		_, err = d.x.deliver(ctx, d.stream, want, page{h, body, &d.found})
	} else if _, err = io.Copy(io.Discard, body); err != nil { // so that the connection can be used again
		err = fmt.Errorf("skip %d records: %w", len(h.items), err)
	}
	d.x.tell(d.c, hold.Found{Records: len(h.items), Left: d.found.Left - before}, true)
	return err
}

// reached moves the mark to what was read; over: to the end of the errand.
func (d *draw) reached(ctx context.Context, over bool) error {
	upTo := d.found.Last
	if over && d.x.task.filter(d.entry) != nil && d.c.ahead.Known {
		// What the condition leaves out is not seen. It is up to what was there a pass ago: what is newest may be half written, and not shown yet.
		upTo = max(upTo, min(d.c.ahead.Latest, d.upTo))
	}
	if !d.pull.Sure(d.found, d.answers) {
		oldest, err := d.x.source.oldest(ctx, d.x.task.srcBucket, d.entry)
		if err != nil {
			return err
		}
		if lost := d.pull.PassedBy(oldest, upTo, time.Now().UnixMicro()); !lost.Empty() {
			if err := d.x.overtaken(ctx, d.stream, lost); err != nil {
				return err
			}
		}
	}
	d.found, d.answers = hold.Found{}, 0
	if !d.pull.Reach(upTo) {
		return nil
	}
	d.c.read = hold.Ahead{Latest: upTo, Known: true}
	if time.Since(d.c.kept) < lookBackEvery {
		return nil
	}
	return d.x.keep(ctx, d.c, d.stream, upTo)
}

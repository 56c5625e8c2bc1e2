package reduct

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/reductstore/reduct-go/model"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// Want is what somebody asks to be reconciled. Times are microseconds, both included.
type Want struct {
	Stream   string // pattern of a replication task, over bucket/entry or over the entry alone; empty = all
	Whole    bool   // everything in From..To; else what a pass looks at
	From, To int64  // To 0 is no end
}

func (w Want) wants(stream string) bool {
	entry := stream[len(bridge.Bucket(stream)):]
	return w.Stream == "" || matchEntry(stream, w.Stream) || len(entry) > 0 && matchEntry(entry[1:], w.Stream)
}

// Reconcile does a pass over the streams that are wanted, at once. Where all of them is wanted, it then compares everything that the edge store has up to
// the newest record seen: one by one what the ledger knows one by one, by number and hash the ranges of which it knows no more. It holds a stream
// for a page at a time: what it finds there is late in any case, so that no sender has to wait. The report is of what was done, after an error
// too. It may be called while passes run; calls at the same time are as good as one after the other.
func (r *Reconciler) Reconcile(ctx context.Context, w Want) (Report, error) {
	x := round{Reconciler: r, began: time.Now(), wanted: w.wants, back: true}
	err := x.pass(ctx)
	if w.Whole && !futile(err) && ctx.Err() == nil {
		x.recount()
		if w.To == 0 {
			w.To = math.MaxInt64
		}
		in := hold.Range{From: max(w.From, 0), To: w.To}
		err = errors.Join(err, x.each(ctx, func(ctx context.Context, e *model.EntryInfo) error { return x.whole(ctx, e, in) }))
	}
	rep := x.report(err)
	r.asked.Store(&rep.Summary)
	return rep, err
}

// whole compares an entry, and the attachments that belong to it.
func (x *round) whole(ctx context.Context, e *model.EntryInfo, in hold.Range) error {
	var errs []error
	if x.task.selects(e.Name) && x.wanted(x.task.stream(e.Name)) {
		errs = append(errs, x.compare(ctx, e.Name, in))
	}
	if meta := e.Name + "/" + metaEntry; x.task.selects(meta) && x.wanted(x.task.stream(meta)) {
		errs = append(errs, x.compare(ctx, meta, in))
	}
	return errors.Join(errs...)
}

// compare walks what the edge store has of an entry in a range.
func (x *round) compare(ctx context.Context, entry string, in hold.Range) error {
	began := time.Now()
	stream := x.task.stream(entry)
	x.count(stream, Counts{}, 0) // it was looked at, whatever is found
	facts, err := x.facts(stream, began)
	if err != nil || !facts.Seen {
		return err // nothing seen: the pass before has taken all there is, or the sender is about to bring it
	}
	known := rangesOf(x.mind.Marks.Closed(stream))
	in = known.widen(in)
	e := errandOf(entry, stream, hold.Range{From: max(in.From, facts.Since), To: min(in.To, facts.Newest)})
	if e.from > e.upTo {
		return nil // all of it is newer than what was seen
	}
	locked, err := x.walk(ctx, e, known.add)
	if err == nil {
		err = x.judge(ctx, e, known)
	}
	x.count(stream, Counts{}, time.Since(began)-locked)
	if err != nil {
		return fmt.Errorf("compare %s: %w", stream, err)
	}
	return nil
}

// walk shows every record of an errand to see, and takes in what is missing under the stream's lock, which it had for so long.
func (x *round) walk(ctx context.Context, e errand, see func(*item, bool)) (locked time.Duration, err error) {
	c, err := x.source.open(ctx, x.task.srcBucket, e.entry, e.heads(x.task, longTTL))
	for err == nil && !c.end {
		var got func(n int)
		if got, err = x.breathe(ctx, nil); err != nil {
			break
		}
		var more bool
		more, err = c.next(ctx, nil)
		if !more {
			got(0)
			break
		}
		items := c.page.items
		got(len(items))
		for i := range items {
			see(&items[i], x.takes(&items[i]))
		}
		err = x.paced(ctx, e.stream, func(at *course) error {
			began := time.Now()
			found := hold.Found{Records: len(items)}
			err := x.fill(ctx, x.task, e, items, &found)
			x.tell(at, found, false)
			locked += time.Since(began)
			return err
		})
	}
	return locked, err
}

// judge tells which of the closed ranges that were walked over are not as in the edge store.
func (x *round) judge(ctx context.Context, e errand, known *ranges) error {
	var n Counts
	var wrong []*closed
	for c := range known.touching(hold.Range{From: e.from, To: e.upTo}) {
		switch {
		case !c.Known || c.From < e.from || c.To > e.upTo: // before source.since, or where another pipeline has not seen so much yet
			n.Incomparable++
		case c.same():
			n.Ranges++
		default:
			wrong = append(wrong, c)
		}
	}
	// A range begins with a record that was taken. Where the store begins behind that, or lists that it does, it has evicted some of the range.
	oldest := known.first
	if len(wrong) > 0 && !isMeta(e.entry) { // attachments are not in the list
		listed, err := x.source.oldest(ctx, x.task.srcBucket, e.entry)
		if err != nil {
			return err
		}
		oldest = max(oldest, listed)
	}
	for _, c := range wrong {
		if c.From < oldest {
			n.Incomparable++
			continue
		}
		n.Ranges++
		n.Different++
		d := Difference{Pipeline: c.Pipeline, From: c.From, To: c.To, Store: c.there.n, Ledger: c.Times}
		if t, one := c.lacks(); one {
			there, err := x.has(ctx, e, t)
			if err != nil {
				return err
			}
			if there {
				d.Lacks = t
			}
		}
		x.differs(e.stream, d)
	}
	x.count(e.stream, n, 0)
	return nil
}

// has reports whether the edge store has a record at t.
func (x *round) has(ctx context.Context, e errand, t int64) (bool, error) {
	one := errandOf(e.entry, e.stream, hold.Range{From: t, To: t})
	c, err := x.source.open(ctx, x.task.srcBucket, e.entry, one.heads(x.task, shortTTL))
	if err != nil {
		return false, err
	}
	some, err := c.next(ctx, nil)
	return some && len(c.page.items) > 0, err
}

package reduct

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// errand is one comparison of a stream with its source.
type errand struct {
	entry, stream string
	from, upTo    int64 // both included
	bounded       bool  // upTo counts
	fresh         bool  // what it finds is new and was not missing: nobody else brings it
}

func errandOf(entry, stream string, of hold.Range) errand {
	return errand{entry: entry, stream: stream, from: of.From, upTo: of.To, bounded: true}
}

// heads is the query that an errand begins with.
func (e errand) heads(t *task, ttl int) query {
	q := query{Start: max(e.from, 0), When: t.filter(e.entry), Head: true, TTL: ttl}
	if e.bounded {
		q.Stop = after(e.upTo)
	}
	return q
}

const insistTime = 30 * time.Second // how long a full or paused pipeline is waited for

// add counts a page's records into what was found.
func (r *Reconciler) add(found *hold.Found, items []item) {
	if found.Records == 0 && len(items) > 0 {
		found.First = items[0].time
	}
	found.Records += len(items)
	now := time.Now().UnixMicro()
	for i := range items {
		if items[i].time <= now {
			found.Last = items[i].time
		}
	}
}

// fetch compares an entry with what was seen, page by page in ascending time, and takes in what is missing. The caller holds the
// stream's lock.
func (r *Reconciler) fetch(ctx context.Context, t *task, e errand) (found hold.Found, err error) {
	at, ttl := r.course(e.stream), 0
	if at.paced {
		ttl = longTTL
	}
	defer func() { r.tell(at, found, e.fresh) }()
	c, err := r.source.open(ctx, t.srcBucket, e.entry, e.heads(t, ttl))
	if err != nil {
		return found, err
	}
	for {
		more, err := r.next(ctx, c, e.stream, nil)
		if err != nil || !more {
			return found, err
		}
		r.add(&found, c.page.items)
		if err := r.fill(ctx, t, e, c.page.items, &found); err != nil {
			return found, err
		}
	}
}

// tell counts what was found by whoever holds the stream; see errand.fresh.
func (r *Reconciler) tell(at *course, found hold.Found, fresh bool) {
	if fresh {
		found.Lacking, found.Late = found.Lost, 0
	}
	at.found.add(found)
	r.mu.Lock()
	r.total.add(found)
	r.mu.Unlock()
}

// next is c.next at the pace of whoever holds the stream.
func (r *Reconciler) next(ctx context.Context, c *cursor, stream string, body func(*head, io.Reader) error) (bool, error) {
	at := r.course(stream)
	if c.end || !at.paced {
		return c.next(ctx, body)
	}
	got, err := r.breathe(ctx, at)
	if err != nil {
		return false, err
	}
	more, err := c.next(ctx, body)
	if more {
		got(len(c.page.items))
	} else {
		got(0)
	}
	return more, err
}

// fill takes in what is missing of a page's records.
func (r *Reconciler) fill(ctx context.Context, t *task, e errand, items []item, found *hold.Found) error {
	runs, left, err := r.missing(ctx, e, items)
	if err != nil {
		return err
	}
	found.Left += left
	for _, want := range runs {
		if err := r.fetchRun(ctx, t, e, want, found); err != nil {
			return err
		}
	}
	return nil
}

// missing returns which of a page's records are to be fetched, in pieces, and how many others are missing and cannot be.
func (r *Reconciler) missing(ctx context.Context, e errand, items []item) (runs [][]int64, others int, err error) {
	times, wanted, err := r.unseen(ctx, e.stream, items)
	if err != nil {
		return nil, 0, err
	}
	var left []aside
	for i := range items {
		it := &items[i]
		switch {
		case !wanted[i]:
			continue
		case it.garbled:
			left = append(left, aside{it.time, errHead})
		case it.size > r.maxRecord:
			left = append(left, oversized(it, bridge.Size(r.maxRecord)))
		default:
			continue
		}
		wanted[i] = false
	}
	return hold.Runs(times, wanted), len(left), r.setAside(ctx, e.stream, left)
}

// takes reports whether a record can be taken at all.
func (r *Reconciler) takes(it *item) bool { return !it.garbled && it.size <= r.maxRecord }

// unseen returns the times of a page's records, and for each whether some pipeline lacks it.
func (r *Reconciler) unseen(ctx context.Context, stream string, items []item) (times []int64, unseen []bool, err error) {
	times, unseen = make([]int64, len(items)), make([]bool, len(items))
	for i := range items {
		times[i] = items[i].time
	}
	if err := r.mind.Intake.Unseen(ctx, stream, times, unseen); err != nil {
		return nil, nil, fmt.Errorf("look up %d records: %w", len(times), err)
	}
	return times, unseen, nil
}

// some reports whether see says so of a page of an errand's heads. It asks for no more pages than that takes.
func (r *Reconciler) some(ctx context.Context, t *task, e errand, see func([]item) (bool, error)) (bool, error) {
	c, err := r.source.open(ctx, t.srcBucket, e.entry, e.heads(t, shortTTL))
	if err != nil {
		return false, err
	}
	for {
		more, err := c.next(ctx, nil)
		if err != nil || !more {
			return false, err
		}
		if yes, err := see(c.page.items); yes || err != nil {
			return yes, err
		}
	}
}

// others reports whether anything is missing that is not of a batch, which somebody is about to deliver. The caller holds the stream's lock.
func (r *Reconciler) others(ctx context.Context, t *task, e errand, b hold.Batch) (bool, error) {
	return r.some(ctx, t, e, func(items []item) (bool, error) {
		_, unseen, err := r.unseen(ctx, e.stream, items)
		if err != nil {
			return false, err
		}
		for i := range items {
			if it := &items[i]; unseen[i] && r.takes(it) && !b.Has(it.time) {
				return true, nil
			}
		}
		return false, nil
	})
}

// beyond looks at what the source has of an entry behind a time: one page of it.
func (r *Reconciler) beyond(ctx context.Context, t *task, entry string, last int64) (hold.Beyond, error) {
	if last == math.MaxInt64 {
		return hold.Beyond{}, nil
	}
	c, err := r.source.open(ctx, t.srcBucket, entry, query{Start: last + 1, When: t.filter(entry), Head: true, TTL: shortTTL})
	if err != nil {
		return hold.Beyond{}, err
	}
	some, err := c.next(ctx, nil)
	if err != nil || !some || len(c.page.items) == 0 {
		return hold.Beyond{}, err
	}
	return hold.Beyond{Last: c.page.items[len(c.page.items)-1].time, Some: true, More: !c.end}, nil
}

// fetchRun fetches the records of a run and delivers them. Those that are refused for good become gaps.
func (r *Reconciler) fetchRun(ctx context.Context, t *task, e errand, want []int64, found *hold.Found) error {
	q := query{Start: want[0], Stop: after(want[len(want)-1]), When: t.filter(e.entry)}
	c, err := r.source.open(ctx, t.srcBucket, e.entry, q)
	if err != nil {
		return err
	}
	fetched := found.Lacking
	var came []int64
	for more := true; more; {
		more, err = r.next(ctx, c, e.stream, func(h *head, body io.Reader) error {
			times, err := r.deliver(ctx, e.stream, want, page{h, body, found})
			came = append(came, times...)
			return err
		})
		if err != nil {
			return err
		}
	}
	bridge.CrashPoint("reconcile.fetched")
	if r.mind.Metrics != nil && !e.fresh {
		r.mind.Metrics.ReconcileMissing.At(r.mind.Name).Add(int64(found.Lacking - fetched))
	}
	if len(came) == len(want) {
		return nil
	}
	gone := slices.DeleteFunc(slices.Clone(want), func(t int64) bool {
		_, ok := slices.BinarySearch(came, t)
		return ok
	})
	if err := r.leftOut(ctx, t, e, gone); err != nil {
		return err
	}
	found.Lost += len(gone)
	found.Lacking += len(gone)
	return r.evicted(ctx, e.stream, gone)
}

// leftOut returns an error where the store still has one of the records that it did not send, as when a proxy before it has asked for a page twice. Only what
// it has not is evicted.
func (r *Reconciler) leftOut(ctx context.Context, t *task, e errand, gone []int64) error {
	_, err := r.some(ctx, t, errandOf(e.entry, e.stream, hold.Range{From: gone[0], To: gone[len(gone)-1]}), func(items []item) (bool, error) {
		for i := range items {
			if _, lacks := slices.BinarySearch(gone, items[i].time); lacks && r.takes(&items[i]) {
				return true, fmt.Errorf("edge store: it did not send the record of %s at %d, which it has", e.stream, items[i].time)
			}
		}
		return false, nil
	})
	return err
}

// page is one answer of the edge store on its way in, and where it is counted.
type page struct {
	head  *head
	body  io.Reader
	found *hold.Found
}

// deliver takes the wanted records of one page in and returns their times, those that were refused included.
func (r *Reconciler) deliver(ctx context.Context, stream string, want []int64, at page) (came []int64, err error) {
	l := lease{budget: r.budget}
	defer l.free()
	// A deadline, so that several pages that wait for each other's memory are parted.
	wait, cancel := context.WithTimeout(ctx, insistTime)
	defer cancel()
	p := payload{ctx: wait, lease: &l, maxBody: r.maxBody}
	rs, err := p.pick(at.body, at.head, func(it *item) bool {
		_, ok := slices.BinarySearch(want, it.time)
		return ok && r.takes(it)
	})
	if err != nil {
		return nil, fmt.Errorf("read %d records: %w", len(at.head.items), err)
	}
	if len(rs) == 0 {
		return nil, nil
	}
	newest, seen := r.mind.Marks.Newest(stream)
	wrong, err := sift(&bridge.Batch{Stream: stream, Records: rs}, func(b *bridge.Batch) error { return r.insist(ctx, b) })
	if err != nil {
		return nil, err
	}
	for i := range rs {
		came = append(came, rs[i].Time)
		switch {
		case slices.ContainsFunc(wrong, func(a aside) bool { return a.time == rs[i].Time }):
			at.found.Left++
		case seen && rs[i].Time < newest: // not by its flag: an Append that was tried again has flagged all but the last
			at.found.Late++
			at.found.Lacking++
		default:
			at.found.Lacking++
		}
	}
	return came, r.setAside(ctx, stream, wrong)
}

// after is where a query stops that ends with the record at t; 0, which is no stop, where no time is later.
func after(t int64) int64 {
	if t == math.MaxInt64 {
		return 0
	}
	return t + 1
}

// insist delivers a batch, waiting for a while where that may help.
func (r *Reconciler) insist(ctx context.Context, b *bridge.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, insistTime)
	defer cancel()
	return retry(ctx, ctx.Done(), func() error { return r.Take(ctx, r.mind.Intake, b) })
}

// retry calls f until it succeeds, fails for a reason that waiting does not cure, or ctx or stop ends.
func retry(ctx context.Context, stop <-chan struct{}, f func() error) error {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := f()
		if err == nil || !errors.Is(err, bridge.ErrFull) && !errors.Is(err, bridge.ErrUnknown) && !errors.Is(err, bridge.ErrRetry) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		case <-stop:
			return err
		}
	}
}

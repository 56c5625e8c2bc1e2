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
}

func errandOf(entry, stream string, of hold.Range) errand {
	return errand{entry: entry, stream: stream, from: of.From, upTo: of.To, bounded: true}
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
		if items[i].garbled || items[i].size > r.maxRecord {
			found.Left++
		}
	}
}

// fetch compares an entry with what was seen, page by page in ascending time, and takes in what is missing. The caller holds the
// stream's lock.
func (r *Reconciler) fetch(ctx context.Context, t *task, e errand) (found hold.Found, err error) {
	q := query{Start: max(e.from, 0), When: t.filter(e.entry), Head: true}
	if e.bounded {
		q.Stop = after(e.upTo)
	}
	c, err := r.source.open(ctx, t.srcBucket, e.entry, q)
	if err != nil {
		return found, err
	}
	for {
		more, err := c.next(ctx, nil)
		if err != nil || !more {
			return found, err
		}
		r.add(&found, c.page.items)
		runs, err := r.missing(ctx, e, c.page.items)
		if err != nil {
			return found, err
		}
		for _, want := range runs {
			found.Lacking += len(want)
			wrong, err := r.fetchRun(ctx, t, e, want)
			if found.Left += wrong; err != nil {
				return found, err
			}
		}
	}
}

// missing returns which of a page's records are to be fetched, in pieces.
func (r *Reconciler) missing(ctx context.Context, e errand, items []item) ([][]int64, error) {
	times, wanted, err := r.unseen(ctx, e.stream, items)
	if err != nil {
		return nil, err
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
	return hold.Runs(times, wanted), r.setAside(ctx, e.stream, left)
}

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

// others reports whether anything is missing that is not of a batch, which somebody is about to deliver. The caller holds the stream's lock.
func (r *Reconciler) others(ctx context.Context, t *task, e errand, b hold.Batch) (bool, error) {
	c, err := r.source.open(ctx, t.srcBucket, e.entry, query{Start: max(e.from, 0), Stop: after(e.upTo), When: t.filter(e.entry), Head: true, TTL: shortTTL})
	if err != nil {
		return false, err
	}
	for {
		more, err := c.next(ctx, nil)
		if err != nil || !more {
			return false, err
		}
		_, unseen, err := r.unseen(ctx, e.stream, c.page.items)
		if err != nil {
			return false, err
		}
		for i := range c.page.items {
			if it := &c.page.items[i]; unseen[i] && !it.garbled && it.size <= r.maxRecord && !b.Has(it.time) {
				return true, nil
			}
		}
	}
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

// fetchRun fetches the records of a run and delivers them. Those that are refused for good become gaps; wrong is how many.
func (r *Reconciler) fetchRun(ctx context.Context, t *task, e errand, want []int64) (wrong int, err error) {
	c, err := r.source.open(ctx, t.srcBucket, e.entry, query{Start: want[0], Stop: after(want[len(want)-1]), When: t.filter(e.entry)})
	if err != nil {
		return 0, err
	}
	got := 0
	for {
		more, err := c.next(ctx, func(h *head, body io.Reader) error {
			n, left, err := r.deliver(ctx, e.stream, want, h, body)
			if err != nil {
				return err
			}
			got, wrong = got+n, wrong+len(left)
			return r.setAside(ctx, e.stream, left)
		})
		if err != nil {
			return wrong, err
		}
		if !more {
			break
		}
	}
	if r.mind.Metrics != nil {
		r.mind.Metrics.ReconcileMissing.At(r.mind.Name).Add(int64(got - wrong))
	}
	if got < len(want) {
		return wrong, r.evicted(ctx, e.stream, want, len(want)-got)
	}
	return wrong, nil
}

// deliver takes the wanted records of one page in and returns how many there were, and which of them were refused.
func (r *Reconciler) deliver(ctx context.Context, stream string, want []int64, h *head, body io.Reader) (n int, wrong []aside, err error) {
	l := lease{budget: r.budget}
	defer l.free()
	// A deadline, so that several pages that wait for each other's memory are parted.
	wait, cancel := context.WithTimeout(ctx, insistTime)
	defer cancel()
	p := payload{ctx: wait, lease: &l, maxBody: r.maxBody}
	rs, err := p.pick(body, h, func(it *item) bool {
		_, ok := slices.BinarySearch(want, it.time)
		return ok && !it.garbled && it.size <= r.maxRecord
	})
	if err != nil {
		return 0, nil, fmt.Errorf("read %d records: %w", len(h.items), err)
	}
	if len(rs) == 0 {
		return 0, nil, nil
	}
	newest, seen := r.mind.Marks.Newest(stream)
	for i := range rs {
		if seen && rs[i].Time < newest {
			rs[i].Flags |= bridge.Late
		}
	}
	wrong, err = sift(&bridge.Batch{Stream: stream, Records: rs}, func(b *bridge.Batch) error { return r.insist(ctx, b) })
	return len(rs), wrong, err
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

// evicted notes what was in the edge store a moment ago and is not any more.
func (r *Reconciler) evicted(ctx context.Context, stream string, want []int64, n int) error {
	g := bridge.Gap{
		Stream: stream, From: want[0], To: want[len(want)-1], Noted: time.Now(),
		Reason: fmt.Sprintf("%d of %d records were evicted from the edge store before they were fetched", n, len(want)),
	}
	r.mind.Log.Warn("records evicted from the edge store before they were fetched", "stream", stream, "from", g.From, "to", g.To, "records", n)
	return noteGap(ctx, r.mind.Gaps, g)
}

// overtakenReason begins the reason of a gap that overtaken notes.
const overtakenReason = "evicted from the edge store before it was compared; what its sender had not delivered by then is lost"

// overtaken notes what the edge store's quota has passed over before it was compared: nobody can tell any more how much of it there was. A
// long outage does so again and again; its gap grows instead of becoming many. The mark moves behind it, so that it is said once.
func (r *Reconciler) overtaken(ctx context.Context, stream string, past hold.Range) error {
	open, err := r.mind.Gaps.OpenGaps()
	if err != nil {
		return fmt.Errorf("list gaps: %w", err)
	}
	g := bridge.Gap{Stream: stream, From: past.From, To: past.To, Noted: time.Now(), Reason: overtakenReason}
	var grown []int64
	for _, o := range open {
		if o.Stream == stream && o.Reason == overtakenReason && o.To == g.From-1 {
			g.From, g.Noted = o.From, o.Noted
			grown = append(grown, o.ID)
		}
	}
	if err := r.mind.Gaps.NoteGap(ctx, g); err != nil {
		return fmt.Errorf("note a gap of %s: %w", stream, err)
	}
	for _, id := range grown {
		if err := r.mind.Gaps.CloseGap(ctx, id); err != nil {
			return fmt.Errorf("close gap %d of %s: %w", id, stream, err)
		}
	}
	r.mind.Log.Warn("the edge store's quota has evicted records before they were compared", "stream", stream,
		"from", time.UnixMicro(g.From).UTC(), "to", time.UnixMicro(g.To).UTC())
	return r.mind.Marks.SetReconciled(ctx, stream, past.To)
}

package reduct

import (
	"context"
	"log/slog"
	"time"

	"github.com/reductstore/reduct-go/model"
)

// How often the edge store's bucket is looked at for the forecast: with each pass, within these bounds. The list of a bucket can be long.
const (
	minWatch = 2 * time.Second
	maxWatch = time.Minute
)

// Forecast is what the last look at the edge store says of its backlog; nil before there was one, and where the task's condition cannot be compared.
func (r *Reconciler) Forecast() *Forecast { return r.forecast.Load() }

// watch keeps the forecast until ctx ends. It is no part of a pass: a pass waits for a full ledger, and that is when the forecast matters.
func (r *Reconciler) watch(ctx context.Context) {
	var o outlook
	a := alarm{log: r.mind.Log.With("input", r.mind.Name), patience: max(2*time.Duration(r.cfg.Interval), minPatience)}
	tick := time.NewTicker(min(max(time.Duration(r.cfg.Interval), minWatch), maxWatch))
	defer tick.Stop()
	for {
		// Where the store does not answer, the forecast keeps its time, and the pass says why.
		if s, err := r.stock(ctx, time.Now()); err == nil {
			f := o.add(s)
			r.forecast.Store(&f)
			a.hear(f)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// stock looks at the bucket.
func (r *Reconciler) stock(ctx context.Context, now time.Time) (s stock, err error) {
	t, err := r.freshTask(ctx, now.Add(-maxWatch))
	if err != nil {
		return s, err
	}
	if err := t.comparable(); err != nil {
		return s, err
	}
	b, err := r.source.bucket(ctx, t.srcBucket)
	if err != nil {
		return s, err
	}
	s = stock{at: now, entries: make(map[string]holding, len(b.Entries))}
	if b.Settings.QuotaType == model.QuotaTypeFifo {
		s.quota = b.Settings.QuotaSize
	}
	for i := range b.Entries {
		e := &b.Entries[i]
		h := holding{
			size: e.Size, records: e.RecordCount, block: e.Size / max(e.BlockCount, 1), oldest: e.OldestRecord, latest: e.LatestRecord,
			ours: t.selects(e.Name),
		}
		if h.ours {
			facts, err := r.facts(t.stream(e.Name), now)
			if err != nil {
				return s, err
			}
			h.from = facts.From()
		}
		s.entries[e.Name] = h
	}
	return s, nil
}

// alarm says in the log that records are about to be lost, and that they are not any more.
type alarm struct {
	log      *slog.Logger
	patience time.Duration // for which something must have waited
	said     time.Time     // zero while nothing is wrong
}

const (
	alarmEvery  = 10 * time.Minute
	minPatience = 10 * time.Second
	nearLoss    = time.Hour
	farLoss     = 24 * time.Hour
)

// hear takes the next forecast.
func (a *alarm) hear(f Forecast) {
	switch {
	case f.Waited > a.patience && f.urgent():
		if a.said.IsZero() || f.At.Sub(a.said) >= alarmEvery {
			a.said = f.At
			a.log.Warn("records are about to be lost: "+f.String(), "oldest", time.UnixMicro(f.Oldest).UTC())
		}
	case !a.said.IsZero():
		a.said = time.Time{}
		a.log.Info("records are not about to be lost any more: " + f.String())
	}
}

// urgent reports whether somebody should act. While nothing is taken, and it was never seen how fast a backlog drains, every backlog would count as one that is
// evicted first, be that in a month.
func (f Forecast) urgent() bool {
	unknown := f.Stalled && f.Drained == Never
	return f.Evicted < nearLoss || f.Loses() && (!unknown || f.Evicted < farLoss)
}

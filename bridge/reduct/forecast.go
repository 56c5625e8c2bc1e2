package reduct

import (
	"fmt"
	"math"
	"time"
)

// The edge store's FIFO quota evicts the oldest records of the whole bucket. Whether records that were not taken yet will be among them can be told in
// advance: from what the bucket holds behind the oldest of them, how fast it is written, and how fast its backlog shrinks.
//
//	oldest           block of the oldest unsent              latest
//	  │   taken or not ours  │ ▼ behind: bytes                │
//	  ├──────────────────────┼───────────────────────────────┤      evicted when block + behind + written since = quota
//
// All of it is estimated: within an entry, records are taken to be spread evenly over its time, and of those that the task's condition would leave out
// the ones that were not compared yet count as unsent.

// Forecast is what is to be expected of an input's backlog at the edge store.
type Forecast struct {
	At      time.Time     // when the store was looked at
	Known   bool          // the rates are: it was looked at before, too
	Unsent  int64         // records that are to be sent and were not taken yet, about; 0 = nothing is at risk
	Oldest  int64         // time of the oldest of them, microseconds
	Waited  time.Duration // for which some of them have been there, at least
	Evicted time.Duration // until the quota takes the oldest; Never = it does not
	Drained time.Duration // until all of them are taken, as things go; Never = not at these rates
	Writes  float64       // bytes a second written into the bucket
	Drains  float64       // records a second taken; the best rate of late where nothing is taken now
	Stalled bool          // nothing is taken now
}

// Never is a duration that is not known to end.
const Never = time.Duration(math.MaxInt64)

// Loses reports whether records will be evicted before they are taken.
func (f Forecast) Loses() bool { return f.Unsent > 0 && f.Evicted < f.Drained }

func (f Forecast) String() string {
	if f.Unsent == 0 {
		return "nothing waits at the edge store"
	}
	s := fmt.Sprintf("about %d records wait at the edge store", f.Unsent)
	if !f.Known {
		return s
	}
	if f.Evicted == Never {
		s += ": nothing is about to be evicted"
	} else {
		s += ": the oldest is evicted in " + about(f.Evicted)
	}
	switch {
	case f.Stalled && f.Drained == Never:
		return s + ", and nothing is taken now"
	case f.Stalled:
		return s + ", nothing is taken now, draining would need " + about(f.Drained)
	case f.Drained == Never:
		return s + ", and they become more"
	}
	return s + ", draining needs " + about(f.Drained)
}

// about is a duration to two figures or so.
func about(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 10*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	case d >= time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

// stock is what the source's bucket holds at one moment.
type stock struct {
	at      time.Time
	quota   int64              // bytes; 0 = nothing is ever evicted
	entries map[string]holding // all of the bucket
}

// holding is what an entry holds.
type holding struct {
	size, records  int64
	block          int64 // bytes of a block: eviction takes whole ones
	oldest, latest int64 // microseconds
	ours           bool  // the task sends it
	from           int64 // of ours: the first time that was not taken yet; behind latest where all was
}

// waits reports whether there is something to be taken.
func (h holding) waits() bool { return h.ours && h.records > 0 && h.from <= h.latest }

// share is how much of the holding lies at or behind t, 0 to 1.
func (h holding) share(t int64) float64 {
	switch {
	case h.records == 0 || t > h.latest:
		return 0
	case t <= h.oldest || h.latest <= h.oldest:
		return 1
	}
	return float64(h.latest-t) / float64(h.latest-h.oldest)
}

// outlook makes forecasts from stocks. The zero value has seen none.
type outlook struct {
	last  stock
	marks map[string]mark // of the entries that are ours
	seen  time.Duration   // over which the rates were observed
	rates rates
	taken float64 // records a second, between the last two stocks
}

// mark is a time up to which everything was in the store at some moment.
type mark struct {
	at     time.Time
	latest int64
}

// rates are a second, smoothed over some minutes.
type rates struct {
	bytes   float64 // written into the bucket
	records float64 // written into the entries of the task
	drains  float64 // taken of those
	best    float64 // of drains, fading
}

const (
	smooth = 3 * time.Minute
	fade   = 24 * time.Hour
)

// add takes a stock and returns what follows. Stocks come in the order of their time.
func (o *outlook) add(s stock) Forecast {
	o.observe(s)
	f := Forecast{At: s.at, Known: o.seen > 0, Evicted: Never, Writes: o.rates.bytes, Drains: o.rates.drains}
	f.Waited = o.waited(s)
	o.last = s
	var unsent float64
	var block int64
	f.Oldest = math.MaxInt64
	for _, h := range s.entries {
		if !h.waits() {
			continue
		}
		unsent += max(1, float64(h.records)*h.share(h.from))
		if oldest := max(h.from, h.oldest); oldest < f.Oldest {
			f.Oldest, block = oldest, h.block
		}
	}
	if unsent == 0 {
		f.Oldest = 0
		return f
	}
	f.Unsent, f.Drained = int64(unsent), Never
	behind := float64(block)
	for _, h := range s.entries {
		behind += float64(h.size) * h.share(f.Oldest)
	}
	r := &o.rates
	if s.quota > 0 && r.bytes > 0 {
		f.Evicted = seconds((float64(s.quota) - behind) / r.bytes)
	}
	if o.seen > 0 && o.taken <= r.best/100 {
		f.Drains, f.Stalled = r.best, true
	}
	// While all is well what is taken is what is written, and the best rate is above that by noise only: it says nothing of how fast a backlog drains.
	if net := f.Drains - r.records; net > 0 && (!f.Stalled || net > r.records/10) {
		f.Drained = seconds(unsent / net)
	}
	return f
}

// observe compares a stock with the one before.
func (o *outlook) observe(s stock) {
	past := s.at.Sub(o.last.at)
	if o.last.at.IsZero() || past <= 0 {
		return
	}
	var bytes, records, taken float64
	for name, h := range s.entries {
		if h.records == 0 {
			continue
		}
		before := o.last.entries[name]
		fresh := 1.0
		if before.records > 0 {
			fresh = h.share(before.latest)
		}
		bytes += float64(h.size) * fresh
		if !h.ours {
			continue
		}
		records += float64(h.records) * fresh
		taken += float64(h.records) * max(0, h.share(before.from)-h.share(h.from)) // what was evicted is no part of either
	}
	o.seen = min(o.seen+past, smooth+past)
	weight := past.Seconds() / o.seen.Seconds()
	mix := func(old *float64, amount float64) { *old += weight * (amount/past.Seconds() - *old) }
	r := &o.rates
	mix(&r.bytes, bytes)
	mix(&r.records, records)
	mix(&r.drains, taken)
	r.best = max(r.drains, r.best*(1-past.Seconds()/(past+fade).Seconds()))
	o.taken = taken / past.Seconds()
}

// waited is for how long something that was not taken yet has been in the store. Where the entry's mark was passed, the time at which the first unsent
// record came is interpolated: a backlog of constant length must not look like a new one each time.
func (o *outlook) waited(s stock) (longest time.Duration) {
	marks := make(map[string]mark)
	for name, h := range s.entries {
		if !h.ours || h.records == 0 {
			continue
		}
		m, known := o.marks[name]
		switch {
		case !known || !h.waits():
			m = mark{s.at, h.latest}
		case h.from > m.latest:
			part := float64(h.from-m.latest) / float64(h.latest-m.latest)
			m = mark{m.at.Add(time.Duration(part * float64(s.at.Sub(m.at)))), h.from}
		}
		if marks[name] = m; h.waits() {
			longest = max(longest, s.at.Sub(m.at))
		}
	}
	o.marks = marks
	return longest
}

// seconds is a duration, at least 0 and at most Never.
func seconds(s float64) time.Duration {
	if s >= Never.Seconds() {
		return Never
	}
	return time.Duration(max(0, s) * float64(time.Second))
}

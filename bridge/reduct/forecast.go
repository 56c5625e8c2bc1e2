package reduct

import (
	"fmt"
	"math"
	"time"
)

// The edge store's FIFO quota evicts the oldest records of the whole bucket. Whether records that were not taken yet will be among them can be told in
// advance: from what the bucket holds behind the oldest of them, how fast it is written, and how fast its backlog shrinks.
//
//	oldest                 oldest unsent                     latest
//	  │   taken or not ours    │  behind: bytes               │
//	  ├────────────────────────┼──────────────────────────────┤      evicted when behind + written since = quota
//
// All of it is estimated: within an entry, records are taken to be spread evenly over its time.

// Forecast is what is to be expected of an input's backlog at the edge store.
type Forecast struct {
	Unsent  int64         // records that are to be sent and were not taken yet, about; 0 = nothing is at risk
	Oldest  int64         // time of the oldest of them, microseconds
	Evicted time.Duration // until the quota takes that one; never = Never
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
	switch {
	case f.Unsent == 0:
		return "nothing waits at the edge store"
	case f.Evicted == Never && f.Drained == Never:
		return fmt.Sprintf("about %d records wait at the edge store, nothing is taken, and nothing is about to be evicted", f.Unsent)
	case f.Evicted == Never:
		return fmt.Sprintf("about %d records wait at the edge store, draining needs %s; nothing is about to be evicted", f.Unsent, about(f.Drained))
	case f.Drained == Never:
		return fmt.Sprintf("about %d records wait at the edge store: the oldest is evicted in %s, and nothing is taken", f.Unsent, about(f.Evicted))
	case f.Stalled:
		return fmt.Sprintf("about %d records wait at the edge store: the oldest is evicted in %s, nothing is taken now, draining would need %s",
			f.Unsent, about(f.Evicted), about(f.Drained))
	}
	return fmt.Sprintf("about %d records wait at the edge store: the oldest is evicted in %s, draining needs %s",
		f.Unsent, about(f.Evicted), about(f.Drained))
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

// survey is one look at the source's bucket.
type survey struct {
	at      time.Time
	quota   int64 // bytes; 0 = nothing is ever evicted
	size    int64
	entries map[string]holding // all of the bucket
}

// holding is what an entry holds.
type holding struct {
	size, records  int64
	oldest, latest int64 // microseconds
	ours           bool  // the task sends it
	from           int64 // of ours: the first time that was not taken yet; behind latest where all was
}

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

// outlook makes forecasts from surveys. The zero value has seen none.
type outlook struct {
	last   survey
	unsent float64
	rates  rates
}

// rates are a second, smoothed over some minutes.
type rates struct {
	known   bool
	bytes   float64 // written into the bucket
	records float64 // written into the entries of the task
	drains  float64 // taken of those
	best    float64 // of drains, fading
}

const smooth = 3 * time.Minute

// add takes a survey and returns what follows. Surveys come in the order of their time.
func (o *outlook) add(s survey) Forecast {
	var unsent float64
	oldest := int64(math.MaxInt64)
	for _, h := range s.entries {
		if !h.ours || h.records == 0 || h.from > h.latest {
			continue
		}
		unsent += max(1, float64(h.records)*h.share(h.from))
		oldest = min(oldest, max(h.from, h.oldest))
	}
	o.observe(s, unsent)
	o.last, o.unsent = s, unsent
	if unsent == 0 {
		return Forecast{Evicted: Never, Writes: o.rates.bytes, Drains: o.rates.drains}
	}
	f := Forecast{Unsent: int64(unsent), Oldest: oldest, Evicted: Never, Drained: Never, Writes: o.rates.bytes}
	var behind float64
	for _, h := range s.entries {
		behind += float64(h.size) * h.share(oldest)
	}
	if s.quota > 0 && o.rates.bytes > 0 {
		f.Evicted = seconds((float64(s.quota) - behind) / o.rates.bytes)
	}
	f.Drains = o.rates.drains
	if o.rates.drains < o.rates.best/100 {
		f.Drains, f.Stalled = o.rates.best, true
	}
	if net := f.Drains - o.rates.records; net > 0 {
		f.Drained = seconds(unsent / net)
	}
	return f
}

// observe compares a survey with the one before.
func (o *outlook) observe(s survey, unsent float64) {
	past := s.at.Sub(o.last.at).Seconds()
	if o.last.at.IsZero() || past <= 0 {
		return
	}
	var bytes, records float64
	for name, h := range s.entries {
		before := o.last.entries[name]
		more := h.latest - before.latest
		if h.records == 0 || more <= 0 {
			continue
		}
		fresh := h.share(before.latest)
		if before.records == 0 {
			fresh = 1
		}
		bytes += float64(h.size) * fresh
		if h.ours {
			records += float64(h.records) * fresh
		}
	}
	now := rates{
		known: true, bytes: bytes / past, records: records / past, drains: max(0, (records-(unsent-o.unsent))/past),
	}
	weight := 1.0
	if o.rates.known {
		weight = past / (past + smooth.Seconds())
	}
	mix := func(old, new float64) float64 { return old + weight*(new-old) }
	r := &o.rates
	r.bytes, r.records, r.drains = mix(r.bytes, now.bytes), mix(r.records, now.records), mix(r.drains, now.drains)
	r.best = max(r.drains, r.best*(1-past/(past+24*3600)))
	r.known = true
}

// seconds is a duration, at least 0 and at most Never.
func seconds(s float64) time.Duration {
	if s >= Never.Seconds() {
		return Never
	}
	return time.Duration(max(0, s) * float64(time.Second))
}

package reduct

import (
	"math"
	"testing"
	"time"
)

// bucket is a site in which every second 10 records of 1 kB are written, and taken up to some time.
type bucket struct {
	quota         int64
	start, now    int64 // seconds
	taken         int64 // seconds; all before is taken
	others        int64 // bytes a second that no task sends
	retained      int64 // seconds that the quota has room for
	perSecond     int64
	recordsASecnd int64
}

func (b *bucket) stock() stock {
	oldest := max(b.start, b.now-b.retained)
	span := b.now - oldest
	s := stock{at: time.Unix(b.now, 0), quota: b.quota, entries: map[string]holding{
		"e": {size: span * b.perSecond, records: span * b.recordsASecnd, oldest: oldest * 1e6, latest: b.now * 1e6, ours: true, from: b.taken*1e6 + 1},
		"x": {size: span * b.others, records: span, oldest: oldest * 1e6, latest: b.now * 1e6},
	}}
	return s
}

func near(got, want float64) bool { return math.Abs(got-want) <= 0.1*math.Abs(want)+2 }

// TestForecast follows a site through an outage of its far end: rates are learnt while all is well, then nothing is taken any more, then the backlog drains.
func TestForecast(t *testing.T) {
	b := &bucket{start: 0, now: 1000, perSecond: 10_000, others: 10_000, recordsASecnd: 10}
	b.retained = 10 * 3600
	b.quota = b.retained * 20_000
	var o outlook
	minute := func(taken int64) Forecast {
		b.now += 60
		b.taken = min(b.now, b.taken+taken)
		return o.add(b.stock())
	}
	b.taken = b.now
	for range 30 {
		if f := minute(60); f.Unsent != 0 || f.Loses() {
			t.Fatalf("all is taken, the forecast is %+v: %v", f, f)
		}
	}
	var f Forecast
	for range 60 {
		f = minute(0)
	}
	// An hour of the backlog of 36,000 records is there, and the quota holds ten.
	if !near(float64(f.Unsent), 36_000) || !near(f.Evicted.Hours(), 9) || !f.Stalled || !f.Loses() {
		t.Errorf("after an hour: got %+v: %v; want 36,000 records, evicted in 9 h, stalled", f, f)
	}
	for range 20 {
		f = minute(4 * 60) // 40 records a second, of which 10 are new
	}
	left := float64(3600-20*180) * 10
	if !near(float64(f.Unsent), left) && f.Unsent > 1000 {
		t.Errorf("while it drains: %d records, want about %.0f", f.Unsent, left)
	}
	b.taken = b.now - 3600
	for range 10 {
		f = minute(4 * 60)
	}
	// 30 minutes of it have gone; what is left needs as long as it takes at 30 a second more than comes in.
	want := float64(b.now-b.taken) * 10 / 30
	if !near(f.Drained.Seconds(), want) || f.Stalled || f.Loses() {
		t.Errorf("while it drains: got %+v: %v, want drained in %.0f s", f, f, want)
	}
}

// TestForecastWithoutQuota: nothing is evicted, whatever waits.
func TestForecastWithoutQuota(t *testing.T) {
	b := &bucket{start: 0, now: 1000, perSecond: 10_000, recordsASecnd: 10, retained: 1 << 40, taken: 500}
	var o outlook
	o.add(b.stock())
	b.now += 60
	if f := o.add(b.stock()); f.Evicted != Never || f.Loses() && f.Drained != Never {
		t.Errorf("got %+v, want nothing evicted", f)
	}
}

func TestForecastWords(t *testing.T) {
	const five = "about 5 records wait at the edge store"
	for _, tt := range []struct {
		f    Forecast
		want string
	}{
		{Forecast{}, "nothing waits at the edge store"},
		{Forecast{Unsent: 5, Evicted: Never, Drained: Never}, five},
		{Forecast{Known: true, Unsent: 5, Evicted: 9*time.Hour + time.Minute, Drained: 3 * time.Hour},
			five + ": the oldest is evicted in 9.0 h, draining needs 3.0 h"},
		{Forecast{Known: true, Unsent: 5, Evicted: 90 * time.Second, Drained: 72 * time.Hour, Stalled: true},
			five + ": the oldest is evicted in 1 min, nothing is taken now, draining would need 3 days"},
		{Forecast{Known: true, Unsent: 5, Evicted: 5 * time.Second, Drained: Never, Stalled: true},
			five + ": the oldest is evicted in 5 s, and nothing is taken now"},
		{Forecast{Known: true, Unsent: 5, Evicted: 5 * time.Second, Drained: Never},
			five + ": the oldest is evicted in 5 s, and they become more"},
		{Forecast{Known: true, Unsent: 5, Evicted: Never, Drained: 20 * time.Hour},
			five + ": nothing is about to be evicted, draining needs 20 h"},
	} {
		if got := tt.f.String(); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}

// TestForecastBlock: eviction takes the whole block that the oldest unsent record is in, and what is older in it goes first.
func TestForecastBlock(t *testing.T) {
	var o outlook
	at := func(sec int64) stock {
		return stock{at: time.Unix(sec, 0), quota: 100_000, entries: map[string]holding{
			"e": {size: sec * 1000, records: sec, block: 10_000, latest: sec * 1e6, ours: true, from: 5e6},
		}}
	}
	o.add(at(10))
	// 15 kB lie behind the oldest, its block has 10 kB, and a second brings 1 kB.
	if f := o.add(at(20)); !near(f.Evicted.Seconds(), 75) {
		t.Errorf("got evicted in %v, want 75 s", f.Evicted)
	}
}

// TestForecastWaited: a backlog that stays as long as it is has waited as long as it is; one that moves with the writer has hardly waited.
func TestForecastWaited(t *testing.T) {
	for _, tt := range []struct {
		name      string
		behind    int64 // seconds by which what is taken lags
		low, high time.Duration
	}{
		{"nothing waits", -1, 0, 0},
		{"the tail", 2, 0, 3 * time.Second},
		{"ten minutes", 600, 590 * time.Second, 610 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var o outlook
			for now := int64(1000); now < 4000; now += 60 {
				b := &bucket{now: now, retained: 1 << 40, perSecond: 10, recordsASecnd: 10, taken: now - tt.behind}
				f := o.add(b.stock())
				if now > 2500 && (f.Waited < tt.low || f.Waited > tt.high) {
					t.Fatalf("at %d: waited %v, want %v to %v", now, f.Waited, tt.low, tt.high)
				}
			}
		})
	}
}

// TestForecastEvicts: what the quota takes was not taken here.
func TestForecastEvicts(t *testing.T) {
	b := &bucket{now: 1000, quota: 100 * 1000, retained: 100, perSecond: 1000, recordsASecnd: 10, taken: 800}
	var o outlook
	var f Forecast
	for range 10 {
		b.now += 10
		f = o.add(b.stock())
	}
	if f.Drains != 0 || !f.Stalled || f.Evicted != 0 || !f.Loses() || !near(float64(f.Unsent), 1000) {
		t.Errorf("got %+v: %v; want nothing drained, evicted now, 1000 unsent", f, f)
	}
}

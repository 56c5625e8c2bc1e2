package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge/admin"
	"github.com/sluicebridge/sluice/tests/real"
)

// While the far end is away and the ledger is full, log and status say when the edge store's FIFO will take the first record that waits. It does so then,
// give or take a factor of two, and the list of losses names what it took. The time is measured by what is written until then, at the rate of the forecast: a
// machine that is busy makes the writer slower than it was.
func TestForecast(t *testing.T) {
	s := newSite(t, options{
		open:   true,
		ledger: `quota = "1MiB"`,
		bucket: `{"quota_type":"FIFO","quota_size":4000000,"max_block_size":65536,"max_block_records":256}`,
	})
	s.sluice.Up()
	s.write(t, 0, 500)
	s.settled(t, time.Minute, 2000)
	s.sluice.Reconciled(t, time.Minute)
	if err := s.broker.Stop(); err != nil {
		t.Fatalf("stop broker: %v", err)
	}
	written, stop := s.writeSteadily(t, 500, 100, 200*time.Millisecond)
	seen, evicted := s.awaitEviction(t, written)
	if log := s.sluice.Tail(1 << 20); !strings.Contains(log, "records are about to be lost: about ") {
		t.Errorf("the log does not say so before:\n%s", s.sluice.Tail(2000))
	}
	judged, size := 0, s.recordSize(t)
	for _, f := range seen {
		came := float64(evicted.written-f.written) * float64(len(entries)) * size
		if came < 500_000 { // the blocks of four entries are half of that
			continue
		}
		judged++
		left := came / f.WriteBytesPerSecond
		t.Logf("%.1f s and %.0f kB before, %.1f s at %.0f bytes/s: %s", evicted.At.Sub(f.At).Seconds(), came/1000, left, f.WriteBytesPerSecond, f.Text)
		if f.EvictedInSeconds == nil || *f.EvictedInSeconds < left/2 || *f.EvictedInSeconds > 2*left || !f.Loses {
			t.Errorf("%.0f kB before the first record was evicted, %.1f s at that rate, the forecast is %+v", came/1000, left, f.Forecast)
		}
	}
	if judged < 3 {
		t.Fatalf("%d forecasts before the eviction, want 3 and more", judged)
	}
	stop()
	s.broker.Up()
	s.settled(t, 3*time.Minute, 2001)
	s.sluice.Reconciled(t, time.Minute)
	s.settled(t, time.Minute, 2001)
	gone := s.evicted(t, int(written()))
	if len(gone) == 0 {
		t.Fatal("nothing was lost")
	}
	named := s.named(t, gone)
	t.Logf("%d records evicted, in %d ranges that the bridge names", len(gone), named)
	real.Eventually(t, time.Minute, "the end of the alarm", func() (bool, string) {
		return strings.Contains(s.sluice.Tail(1<<20), "records are not about to be lost any more"), s.sluice.Tail(500)
	})
}

// writeSteadily writes step records of every entry each pause until stop is called; written tells how many records of each there are then.
func (s *site) writeSteadily(t *testing.T, from, step int, pause time.Duration) (written func() int64, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var n atomic.Int64
	n.Store(int64(from))
	go func() {
		defer close(done)
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for {
			at := int(n.Load())
			s.write(t, at, at+step)
			n.Store(int64(at + step))
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return n.Load, func() { cancel(); <-done }
}

// forecast is one, and how many records of each entry had been written then.
type forecast struct {
	admin.Forecast
	written int64
}

// awaitEviction waits until the store has evicted the oldest record that waits, and returns when, and the forecasts that were made since nothing was taken any
// more: their oldest is the same.
func (s *site) awaitEviction(t *testing.T, written func() int64) (seen []forecast, evicted forecast) {
	t.Helper()
	real.Eventually(t, 3*time.Minute, "the FIFO to evict what waits", func() (bool, string) {
		f := s.status(t).Inputs[0].Forecast
		if f == nil || f.UnsentRecords == 0 {
			return false, "nothing waits"
		}
		if len(seen) > 0 && !seen[len(seen)-1].Oldest.Equal(*f.Oldest) && s.oldest(t) <= seen[len(seen)-1].Oldest.UnixMicro() {
			seen = nil // something was taken
		}
		switch {
		case len(seen) == 0 && f.Stalled, len(seen) > 0 && f.At.After(seen[len(seen)-1].At):
			seen = append(seen, forecast{*f, written()})
		}
		if len(seen) == 0 || s.oldest(t) <= seen[0].Oldest.UnixMicro() {
			return false, f.Text
		}
		evicted = forecast{admin.Forecast{At: time.Now()}, written()}
		return true, ""
	})
	return seen, evicted
}

// oldest is the time of the oldest record in the store.
func (s *site) oldest(t *testing.T) int64 { return s.holding(t).Info.OldestRecord }

// recordSize is how much of the store's quota a record takes.
func (s *site) recordSize(t *testing.T) float64 {
	b := s.holding(t)
	records := int64(0)
	for _, e := range b.Entries {
		records += e.RecordCount
	}
	return float64(b.Info.Size) / float64(records)
}

// holding is what the store says of the bucket.
func (s *site) holding(t *testing.T) (b holding) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.store.Call(t, http.MethodGet, "/b/"+s.bucket, "")), &b); err != nil {
		t.Fatalf("read the bucket: %v", err)
	}
	return b
}

type holding struct {
	Info struct {
		Size         int64 `json:"size"`
		OldestRecord int64 `json:"oldest_record"`
	} `json:"info"`
	Entries []struct {
		RecordCount int64 `json:"record_count"`
	} `json:"entries"`
}

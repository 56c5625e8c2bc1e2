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
// give or take a factor of two, and the list of losses names what it took.
func TestForecast(t *testing.T) {
	s := newSite(t, options{
		open:   true,
		ledger: `quota = "1MiB"`,
		bucket: `{"quota_type":"FIFO","quota_size":4000000,"max_block_size":65536,"max_block_records":256}`,
	})
	s.sluice.Up()
	s.write(t, 0, 500)
	s.settled(t, time.Minute, 2000)
	s.reconciled(t)
	if err := s.broker.Stop(); err != nil {
		t.Fatalf("stop broker: %v", err)
	}
	written, stop := s.writeSteadily(t, 500, 100, 200*time.Millisecond)
	seen, evicted := s.awaitEviction(t)
	if log := s.sluice.Tail(1 << 20); !strings.Contains(log, "records are about to be lost: about ") {
		t.Errorf("the log does not say so before:\n%s", s.sluice.Tail(2000))
	}
	judged := 0
	for _, f := range seen {
		left := evicted.Sub(f.At).Seconds()
		if left < 5 {
			continue
		}
		judged++
		t.Logf("%4.1f s before: %s (%.0f bytes/s, waited %.0f s)", left, f.Text, f.WriteBytesPerSecond, f.WaitedSeconds)
		if f.EvictedInSeconds == nil || *f.EvictedInSeconds < left/2 || *f.EvictedInSeconds > 2*left || !f.Stalled || !f.Loses {
			t.Errorf("%.1f s before the first record was evicted the forecast is %+v", left, f)
		}
	}
	if judged < 3 {
		t.Fatalf("%d forecasts before the eviction, want 3 and more", judged)
	}
	stop()
	s.broker.Up()
	s.settled(t, 3*time.Minute, 2001)
	s.reconciled(t)
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

// awaitEviction waits until the store has evicted the oldest record that waits, and returns when, and the forecasts that were made since nothing was taken any
// more: their oldest is the same.
func (s *site) awaitEviction(t *testing.T) (seen []admin.Forecast, evicted time.Time) {
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
			seen = append(seen, *f)
		}
		if len(seen) == 0 || s.oldest(t) <= seen[0].Oldest.UnixMicro() {
			return false, f.Text
		}
		evicted = time.Now()
		return true, ""
	})
	return seen, evicted
}

// oldest is the time of the oldest record in the store.
func (s *site) oldest(t *testing.T) int64 {
	t.Helper()
	var b struct {
		Info struct {
			Oldest int64 `json:"oldest_record"`
		} `json:"info"`
	}
	if err := json.Unmarshal([]byte(s.store.Call(t, http.MethodGet, "/b/"+s.bucket, "")), &b); err != nil {
		t.Fatalf("read the bucket: %v", err)
	}
	return b.Info.Oldest
}

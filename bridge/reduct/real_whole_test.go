package reduct

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// counting counts the records of a store's answers while they come, and how far they were ahead of a rate at worst.
type counting struct {
	http.RoundTripper
	rate int

	mu     sync.Mutex
	began  time.Time // guarded by mu, as all below
	looked int
	page   int // of the largest
	ahead  int // most that was looked at beyond rate × time
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.RoundTripper.RoundTrip(r)
	if err != nil || !strings.Contains(r.URL.Path, "/batch") {
		return resp, err
	}
	n := 0
	for name := range resp.Header {
		if strings.HasPrefix(name, "X-Reduct-Time-") {
			n++
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked, c.page = c.looked+n, max(c.page, n)
	c.ahead = max(c.ahead, c.looked-int(time.Since(c.began).Seconds()*float64(c.rate)))
	return resp, nil
}

// 20,000 records in four entries, of which a target forgot some: no pass finds them, a whole reconcile finds exactly them, and at no moment has it looked
// at more than rate × time and one page.
func TestRealWhole(t *testing.T) {
	s := startStore(t)
	s.replicate("127.0.0.1:1", nil)
	const each = 5000
	entries := []string{"a", "b", "c", "d"}
	for _, entry := range entries {
		s.write(entry, 1, each)
	}
	for _, rate := range []int{0, 20_000, 5_000} {
		t.Run(fmt.Sprintf("rate %d", rate), func(t *testing.T) {
			r := newReal(t, s, func(cfg *Config) { cfg.Source.Rate, cfg.Source.Overlap = rate, 0 })
			holes := make(map[string][]int64)
			missing := 0
			for n, entry := range entries {
				var seen []int64
				for x := int64(1); x <= each; x++ {
					if x%int64(97*(n+1)) == 0 || x > 3000 && x < 3000+int64(50*n) {
						holes[entry] = append(holes[entry], x)
						continue
					}
					seen = append(seen, x)
				}
				missing += len(holes[entry])
				mustDeliver(t, r.intake, "dst/"+entry, seen...)
				if err := r.marks.SetReconciled(t.Context(), "dst/"+entry, each); err != nil {
					t.Fatal(err)
				}
			}
			rec := NewReconciler(r.cfg, Mind{Name: "edge", Intake: r.intake, Gaps: r.gaps, Marks: r.marks, Log: slog.New(slog.DiscardHandler)})
			defer rec.source.close()
			if err := rec.Pass(t.Context()); err != nil || rec.Finds().Total.Fetched != 0 {
				t.Fatalf("pass: got %+v %v, want nothing found", rec.Finds().Total, err)
			}
			wire := &counting{RoundTripper: rec.source.http.Transport, rate: rate, began: time.Now()}
			rec.source.http.Transport = wire
			got, err := rec.Reconcile(t.Context(), Want{Whole: true})
			want := Counts{Compared: len(entries) * each, Missing: missing, Fetched: missing, Late: missing}
			if err != nil || got.Counts != want {
				t.Errorf("got %+v %v, want %+v", got.Counts, err, want)
			}
			for _, entry := range entries {
				ts := r.intake.times("dst/" + entry)
				if found := ts[each-len(holes[entry]):]; !slices.Equal(found, holes[entry]) {
					t.Errorf("%s: got %v, want %v", entry, found, holes[entry])
				}
			}
			if rate > 0 && wire.ahead > wire.page {
				t.Errorf("%d records beyond rate × time, want at most a page of %d", wire.ahead, wire.page)
			}
			t.Logf("%d heads and payloads of %d records in %.2f s, %.0f records/s; most beyond rate × time: %d",
				wire.looked, want.Compared, got.Seconds, float64(wire.looked)/got.Seconds, wire.ahead)
		})
	}
}

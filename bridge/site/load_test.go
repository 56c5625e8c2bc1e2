package site

import (
	"slices"
	"testing"
	"time"
)

func TestLoadSendsEachRecordOnce(t *testing.T) {
	far := newTarget(t)
	far.script = append(far.script, status(503), status(500), refuseOdd)
	report, err := RunLoad(t.Context(), LoadConfig{
		Target: far.URL, Bucket: "far", Token: "secret", Rate: 10_000, Size: 10, Batch: 20, Connections: 2, Entries: 3,
		Duration: 200 * time.Millisecond, RetryAfter: time.Millisecond, Start: time.UnixMicro(1_700_000_000_000_000),
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.Kept != 1 || report.Forgotten != 30 {
		t.Errorf("kept %d and forgotten %d, want 1 and 30 (a batch and half of one)", report.Kept, report.Forgotten)
	}
	if report.Records < 500 || report.Records > 2100 || report.Bytes != 10*report.Records {
		t.Errorf("%d records of %d bytes in 200 ms at 10,000/s, want about 2,000 of 10", report.Records, report.Bytes)
	}
	if report.P50 <= 0 || report.P50 > report.P99 || report.P99 > report.Max || report.PerSecond() <= 0 {
		t.Errorf("latencies %v %v %v, rate %v, want ascending and positive", report.P50, report.P99, report.Max, report.PerSecond())
	}
	taken := int64(0)
	for _, entry := range []string{"load-0", "load-1", "load-2"} {
		got := far.took(entry)
		taken += int64(len(got))
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Errorf("%s: taken out of order or twice: %v", entry, got)
		}
	}
	if taken < report.Records { // a batch in flight at the end is not in the report
		t.Errorf("target has %d records, report says %d", taken, report.Records)
	}
}

func TestQuantiles(t *testing.T) {
	var s spans
	if got := s.quantile(0.5); got != 0 {
		t.Errorf("of nothing: %v, want 0", got)
	}
	for i := range 1000 {
		s.add(time.Duration(i+1) * time.Millisecond)
	}
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{{0.5, 500 * time.Millisecond}, {0.9, 900 * time.Millisecond}, {0.99, 990 * time.Millisecond}, {1, time.Second}} {
		if got := s.quantile(c.q); got < c.want || float64(got) > 1.05*float64(c.want) {
			t.Errorf("quantile %v: %v, want %v or up to 5%% above", c.q, got, c.want)
		}
	}
	s.add(100 * time.Hour)
	s.add(0)
	if s.quantile(1) != 100*time.Hour {
		t.Errorf("longest %v, want 100h", s.quantile(1))
	}
}

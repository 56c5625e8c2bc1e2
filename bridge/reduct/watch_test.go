package reduct

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestAlarm: what is said, when, and how often.
func TestAlarm(t *testing.T) {
	soon := Forecast{Known: true, Unsent: 5, Waited: time.Hour, Evicted: time.Minute, Drained: time.Second}
	slow := Forecast{Known: true, Unsent: 5, Waited: time.Hour, Evicted: 30 * time.Hour, Drained: 40 * time.Hour}
	fresh, early, stuck, never := soon, slow, slow, soon
	fresh.Waited = time.Second
	early.Drained = time.Hour
	stuck.Drained, stuck.Stalled = Never, true
	never.Evicted, never.Drained = Never, Never
	for _, tt := range []struct {
		name string
		f    []Forecast // one a minute
		want string     // levels that were logged
	}{
		{"evicted within the hour", []Forecast{soon}, "W"},
		{"evicted before it is drained", []Forecast{slow}, "W"},
		{"drained in time", []Forecast{early}, ""},
		{"has not waited", []Forecast{fresh}, ""},
		{"no quota", []Forecast{never}, ""},
		{"stalled, a day and more to go", []Forecast{stuck}, ""},
		{"over, and again", []Forecast{soon, soon, {}, {}, soon}, "WIW"},
		{"every ten minutes", []Forecast{soon, soon, soon, soon, soon, soon, soon, soon, soon, soon, soon, soon}, "WW"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			a := alarm{log: slog.New(slog.NewTextHandler(&out, nil)), patience: 2 * time.Minute}
			got := ""
			for i, f := range tt.f {
				out.Reset()
				f.At = time.Unix(int64(i)*60, 0)
				if a.hear(f); out.Len() > 0 {
					_, level, _ := strings.Cut(out.String(), "level=")
					got += level[:1]
				}
			}
			if got != tt.want {
				t.Errorf("logged %q, want %q", got, tt.want)
			}
		})
	}
}

// TestWatch: the store's answer and the ledger's marks become a stock.
func TestWatch(t *testing.T) {
	r := newRig(t, nil)
	r.edge.bucket = map[string]any{"quota_type": "FIFO", "quota_size": 1000}
	r.edge.settings["entries"] = []string{"e*"}
	r.edge.fill("e", 1, 100)
	r.edge.fill("e2", 1, 10)
	r.edge.fill("x", 50, 60)
	mustDeliver(t, r.intake, "dst/e", upTo(1, 40)...)
	s, err := r.stock(t.Context(), time.Now())
	if err != nil {
		t.Fatalf("stock: %v", err)
	}
	for name, want := range map[string]holding{
		"e":  {size: 292, records: 100, block: 146, oldest: 1, latest: 100, ours: true, from: 41},
		"e2": {size: 21, records: 10, block: 10, oldest: 1, latest: 10, ours: true},
		"x":  {size: 33, records: 11, block: 16, oldest: 50, latest: 60},
	} {
		if got := s.entries[name]; got != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, want)
		}
	}
	if s.quota != 1000 || len(s.entries) != 3 {
		t.Errorf("got quota %d and %d entries, want 1000 and 3", s.quota, len(s.entries))
	}
	r.edge.bucket["quota_type"] = "HARD" // refuses writes, evicts nothing
	if s, err = r.stock(t.Context(), time.Now()); err != nil || s.quota != 0 {
		t.Errorf("a HARD quota: got %d %v, want 0", s.quota, err)
	}
	r.edge.settings["when"] = `{"$limit":5}`
	r.remember(nil)
	if _, err = r.stock(t.Context(), time.Now()); err == nil {
		t.Error("a condition that cannot be compared: got a stock, want an error")
	}
}

// TestWatchRuns: Run keeps the forecast, while a pass waits as well.
func TestWatchRuns(t *testing.T) {
	r := newRig(t, nil)
	r.edge.fill("e", 1, 10)
	r.run(t)
	eventually(t, "a forecast", func() bool { return r.Forecast() != nil })
}

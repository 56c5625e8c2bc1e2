package site

import (
	"strings"
	"testing"
	"time"
)

func TestRunReplicates(t *testing.T) {
	far := newTarget(t)
	far.script = append(far.script, status(503))
	var last Progress
	err := Run(t.Context(), Config{
		Vibration: VibrationConfig{Seed: 1, Sensors: 3, Samples: 16, Interval: time.Second},
		Duration:  10 * time.Minute,
		Sender:    SenderConfig{Target: far.URL, Bucket: "far", RetryAfter: time.Microsecond, IdleWait: time.Microsecond},
		Progress:  func(p Progress) { last = p },
	})
	if err != nil {
		t.Fatal(err)
	}
	if !last.Done || last.Records != 1800 || last.Sender.Sent != 1800 || last.Sender.Kept == 0 {
		t.Errorf("progress %+v, want done with 1,800 records noted and sent", last)
	}
	for _, entry := range []string{"acc-1", "acc-2", "acc-3"} {
		if n := len(far.took(entry)); n != 600 {
			t.Errorf("%s: %d records arrived, want 600", entry, n)
		}
	}
}

// At a thousand times its own speed, a second of the site takes a millisecond.
func TestRunKeepsThePace(t *testing.T) {
	far := newTarget(t)
	began := time.Now()
	err := Run(t.Context(), Config{
		Vibration: VibrationConfig{Sensors: 1, Samples: 16, Interval: time.Second},
		Duration:  100 * time.Second, Pace: 1000,
		Sender: SenderConfig{Target: far.URL, Bucket: "far", IdleWait: time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("took %v, want 100ms at least", took)
	}
	if n := len(far.took("acc-1")); n != 100 {
		t.Errorf("%d records arrived, want 100", n)
	}
}

func TestRunLoads(t *testing.T) {
	far := newTarget(t)
	var last Progress
	err := Run(t.Context(), Config{
		Load:     LoadConfig{Target: far.URL, Bucket: "far", Duration: 20 * time.Millisecond},
		Progress: func(p Progress) { last = p },
	})
	if err != nil || last.Load.Records == 0 {
		t.Errorf("%v and %+v, want records", err, last.Load)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		cfg        Config
	}{
		{"nowhere to go", "exactly one", Config{}},
		{"two targets", "exactly one", Config{Into: "http://127.0.0.1:1", Sender: SenderConfig{Target: "http://127.0.0.1:1"}}},
		{"backwards", "pace: -1", Config{Into: "http://127.0.0.1:1", Pace: -1}},
		{"no store there", "open bucket vib", Config{Into: "http://127.0.0.1:1"}},
		{"target that is no URL", "target:", Config{Sender: SenderConfig{Target: "edge"}}},
		{"load of what is no URL", "target:", Config{Load: LoadConfig{Target: "edge"}}},
	} {
		if err := Run(t.Context(), c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}
}

package bridge_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

func TestDrainValidate(t *testing.T) {
	for _, tt := range []struct {
		name string
		d    bridge.Drain
		want string
	}{
		{"zero", bridge.Drain{}, ""},
		{"all", bridge.Drain{MaxRecordsPerS: 5, MaxBytesPerS: 5, RampUp: 5, Jitter: 5, Priority: bridge.LiveFirst}, ""},
		{"records", bridge.Drain{MaxRecordsPerS: -1}, "max_records_per_s: -1, want 0..1000000000"},
		{"bytes", bridge.Drain{MaxBytesPerS: 1<<50 + 1}, "max_bytes_per_s: 1125899906842625, want 0..1125899906842624"},
		{"ramp-up", bridge.Drain{RampUp: bridge.Duration(time.Second)}, "ramp_up: 1s, but there is no maximum to rise to"},
		{"long ramp-up", bridge.Drain{MaxBytesPerS: 1, RampUp: bridge.Duration(25 * time.Hour)}, "ramp_up: 25h0m0s, want 0s..24h0m0s"},
		{"jitter", bridge.Drain{Jitter: -1}, "jitter: -1ns, want 0s..24h0m0s"},
	} {
		err := tt.d.Validate("drain.")
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "drain."+tt.want)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestPriority(t *testing.T) {
	for _, p := range []bridge.Priority{bridge.InOrder, bridge.LiveFirst} {
		text, err := p.MarshalText()
		var got bridge.Priority
		if err != nil || got.UnmarshalText(text) != nil || got != p {
			t.Errorf("%d is written %q and read as %d", p, text, got)
		}
	}
	var p bridge.Priority
	if err := p.UnmarshalText([]byte("newest")); err == nil || !strings.Contains(err.Error(), "want order or live") {
		t.Errorf("newest: got %v", err)
	}
}

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// take takes messages of so many bytes as long as the limiter is open, and returns how many.
func take(l *bridge.Limiter, bytes int) (n int) {
	for l.Open() {
		l.Take(bytes)
		n++
	}
	return n
}

// TestLimiterGives follows a remote that takes all it gets: how many messages in the first 100 ms, the first second, ten seconds.
func TestLimiterGives(t *testing.T) {
	second := bridge.Duration(time.Second)
	for _, tt := range []struct {
		name  string
		d     bridge.Drain
		bytes int
		pause time.Duration
		want  [3]int
	}{
		{"500 records/s", bridge.Drain{MaxRecordsPerS: 500}, 1000, 0, [3]int{50, 500, 5000}},
		{"3 records/s", bridge.Drain{MaxRecordsPerS: 3}, 1000, 0, [3]int{0, 3, 30}},
		{"100 kB/s", bridge.Drain{MaxBytesPerS: 100_000}, 1000, 0, [3]int{10, 100, 1000}},
		{"both, bytes are less", bridge.Drain{MaxRecordsPerS: 500, MaxBytesPerS: 100_000}, 1000, 0, [3]int{10, 100, 1000}},
		{"both, records are less", bridge.Drain{MaxRecordsPerS: 50, MaxBytesPerS: 100_000}, 1000, 0, [3]int{4, 48, 498}},
		{"each larger than four seconds' worth", bridge.Drain{MaxBytesPerS: 1000}, 4000, 0, [3]int{1, 1, 3}},
		{"rising", bridge.Drain{MaxRecordsPerS: 100, RampUp: 10 * second}, 1, 0, [3]int{0, 10, 550}}, // 10 t + 4.5 t²
		{"risen", bridge.Drain{MaxRecordsPerS: 100, RampUp: second}, 1, 0, [3]int{0, 55, 954}},
		{"jitter", bridge.Drain{MaxRecordsPerS: 100, Jitter: 5 * second}, 1, time.Second, [3]int{0, 25, 921}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := bridge.NewLimiter(tt.d)
			l.Connected(noon, tt.pause)
			var got [3]int
			n := 0
			for now := noon; ; now = now.Add(time.Millisecond) {
				l.At(now)
				n += take(l, tt.bytes)
				for i, at := range []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second} {
					if now.Sub(noon) == at {
						got[i] = n
					}
				}
				if got[2] > 0 {
					break
				}
			}
			if got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// TestLimiterWait: who comes back when he was told to gets something, and has not come more than 20 times a second. A limiter without a maximum is
// open but for its pause.
func TestLimiterWait(t *testing.T) {
	for _, tt := range []struct {
		name        string
		d           bridge.Drain
		bytes       int
		pause       time.Duration
		least, most int // times that it was waited for in 10 s
	}{
		{"500 records/s", bridge.Drain{MaxRecordsPerS: 500}, 1, 0, 199, 201},
		{"3 records/s", bridge.Drain{MaxRecordsPerS: 3}, 1, 0, 29, 31},
		{"larger than four seconds' worth", bridge.Drain{MaxBytesPerS: 1000}, 4000, 0, 2, 4},
		{"rising", bridge.Drain{MaxRecordsPerS: 500, RampUp: bridge.Duration(10 * time.Second)}, 1, 0, 100, 120},
		{"only jitter", bridge.Drain{Jitter: 1}, 1, 3 * time.Second, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := bridge.NewLimiter(tt.d)
			l.Connected(noon, tt.pause)
			waits := 0
			for now := noon; now.Before(noon.Add(10 * time.Second)); {
				wait := l.Wait()
				if wait <= 0 {
					t.Fatalf("closed, but nothing to wait for after %v", now.Sub(noon))
				}
				waits++
				if l.At(now.Add(wait - time.Millisecond)); l.Open() && wait > time.Millisecond {
					t.Fatalf("open before the %v were over", wait)
				}
				now = now.Add(wait)
				if l.At(now); !l.Open() {
					t.Fatalf("still closed after the %v it asked for", wait)
				}
				for n := 0; l.Open() && n < 1e6; n++ {
					l.Take(tt.bytes)
				}
				if l.Open() { // for ever
					break
				}
			}
			if waits < tt.least || waits > tt.most {
				t.Errorf("waited %d times, want %d to %d", waits, tt.least, tt.most)
			}
		})
	}
}

// TestLimiterBounds plays far ends that take what they are given or nothing for a while, and connections that come and go: in no stretch of time is
// more taken than the maximum, a burst and the rest of one message (rule 19).
func TestLimiterBounds(t *testing.T) {
	type taking struct {
		at    time.Time
		bytes int
	}
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		d := bridge.Drain{MaxRecordsPerS: 1 + rng.IntN(300), MaxBytesPerS: bridge.Size(1 + rng.IntN(300_000))}
		d.RampUp = bridge.Duration(rng.Int64N(int64(3 * time.Second)))
		l := bridge.NewLimiter(d)
		var all []taking
		now, slow, largest := noon, false, 0
		for range 400 {
			now = now.Add(time.Duration(rng.Int64N(int64(100 * time.Millisecond))))
			if l.At(now); rng.IntN(50) == 0 {
				l.Connected(now, time.Duration(rng.Int64N(int64(time.Second))))
			}
			if rng.IntN(20) == 0 {
				slow = !slow
			}
			for l.Open() && !slow {
				bytes := rng.IntN(10_000)
				l.Take(bytes)
				all, largest = append(all, taking{now, bytes}), max(largest, bytes)
			}
		}
		for i := range all {
			bytes := 0
			for j := i; j < len(all); j++ {
				bytes += all[j].bytes
				seconds := all[j].at.Sub(all[i].at).Seconds()
				records, volume := float64(d.MaxRecordsPerS), float64(d.MaxBytesPerS)
				if most := seconds*records + max(2, records/4) + 1e-6; float64(j-i+1) > most {
					t.Fatalf("seed %d: %d records in %.3f s, want at most %.1f", seed, j-i+1, seconds, most)
				}
				if most := seconds*volume + max(2, volume/4) + float64(largest) + 1e-3; float64(bytes) > most {
					t.Fatalf("seed %d: %d B in %.3f s, want at most %.0f", seed, bytes, seconds, most)
				}
			}
		}
	}
}

func TestLimiterNote(t *testing.T) {
	ramp := bridge.Drain{MaxRecordsPerS: 500, RampUp: bridge.Duration(10 * time.Second)}
	for _, tt := range []struct {
		name  string
		d     bridge.Drain
		pause time.Duration
		at    time.Duration // of Wait; the note is asked for at once
		want  string
	}{
		{"records", bridge.Drain{MaxRecordsPerS: 500}, 0, 0, "drain limited to 500 records/s"},
		{"bytes", bridge.Drain{MaxBytesPerS: 2 << 20}, 0, 0, "drain limited to 2MiB/s"},
		{"both", bridge.Drain{MaxRecordsPerS: 500, MaxBytesPerS: 1000}, 0, 0, "drain limited to 500 records/s and 1000B/s"},
		{"rising", ramp, 0, 0, "ramping up, 50 of 500 records/s"},
		{"rising further", ramp, 0, 5 * time.Second, "ramping up, 275 of 500 records/s"},
		{"risen", ramp, 0, 10 * time.Second, "drain limited to 500 records/s"},
		{"jitter", ramp, time.Minute, 10 * time.Second, "the backlog waits 50s more (drain.jitter)"},
	} {
		l := bridge.NewLimiter(tt.d)
		l.Connected(noon, tt.pause)
		if got := l.Note(noon.Add(tt.at)); got != "" {
			t.Errorf("%s: nobody waits, got %q", tt.name, got)
		}
		l.At(noon.Add(tt.at))
		for take(l, 1); l.Open(); {
		}
		wait := l.Wait()
		if got := l.Note(noon.Add(tt.at)); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if got := l.Note(noon.Add(tt.at + wait + 2*time.Second)); got != "" {
			t.Errorf("%s: long after, got %q", tt.name, got)
		}
	}
}

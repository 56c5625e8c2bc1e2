package site

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// goertzel returns the amplitude of one frequency in a waveform.
func goertzel(wave []float64, hertz, rate float64) float64 {
	coeff := 2 * math.Cos(2*math.Pi*hertz/rate)
	var s1, s2 float64
	for i, x := range wave {
		window := 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(len(wave)))
		s1, s2 = x*window+coeff*s1-s2, s1
	}
	return 4 * math.Sqrt(max(s1*s1+s2*s2-coeff*s1*s2, 0)) / float64(len(wave))
}

func waveform(r *bridge.Record) []float64 {
	wave := make([]float64, len(r.Payload)/4)
	for i := range wave {
		wave[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(r.Payload[4*i:])))
	}
	return wave
}

func label(r *bridge.Record, name string) string {
	for _, l := range r.Labels {
		if string(l.Name) == name {
			return string(l.Value)
		}
	}
	return ""
}

// stableAt returns the first record of sensor 0, from i on, that was made at stable speed.
func stableAt(t *testing.T, v *Vibration, i int) *bridge.Record {
	t.Helper()
	for s := new(Sample); ; i++ {
		if r := v.Fill(s, 0, i); label(r, "stable") == "true" {
			return r
		}
		if v.Time(0, i) > v.cfg.Start.Add(100*time.Hour).UnixMicro() {
			t.Fatal("no stable record in 100 hours")
		}
	}
}

func TestSignalHasTheTones(t *testing.T) {
	v := NewVibration(VibrationConfig{Seed: 7, Samples: 16_384})
	r := stableAt(t, v, 1000)
	rpm, phase := v.Speed(r.Time)
	if phase != Stable {
		t.Fatalf("phase %d, want Stable", phase)
	}
	shaft, load, wear := rpm/60, (rpm/1500)*(rpm/1500), v.Fault(r.Time)
	wave := waveform(r)
	for _, c := range []struct {
		name        string
		hertz, want float64
	}{
		{"shaft", shaft, 0.5 * load},
		{"second harmonic", 2 * shaft, 0.2 * load},
		{"third harmonic", 3 * shaft, 0.08 * load},
		{"outer race", OuterRace * shaft, wear},
		{"nothing between", 1.5 * shaft, 0},
	} {
		if got := goertzel(wave, c.hertz, 25_600); math.Abs(got-c.want) > 0.01 {
			t.Errorf("%s at %.1f Hz: %.4f g, want %.4f", c.name, c.hertz, got, c.want)
		}
	}
}

func TestFaultGrowsSlowly(t *testing.T) {
	v := NewVibration(VibrationConfig{Seed: 7})
	amplitude := func(after time.Duration) float64 {
		r := stableAt(t, v, v.Until(after))
		rpm, _ := v.Speed(r.Time)
		return goertzel(waveform(r), OuterRace*rpm/60, 25_600)
	}
	first, day := amplitude(0), amplitude(24*time.Hour)
	if first > 0.05 || math.Abs(day-1.2) > 0.1 {
		t.Errorf("outer-race tone %.3f g at first and %.3f g after a day, want below 0.05 and about 1.2", first, day)
	}
}

// fingerprint is a hash over everything in some records.
func fingerprint(v *Vibration) uint64 {
	h := fnv.New64a()
	var s Sample
	for i := range 100 {
		for sensor := range 3 {
			r := v.Fill(&s, sensor, i)
			var key [16]byte
			binary.LittleEndian.PutUint64(key[:8], uint64(r.Time))
			binary.LittleEndian.PutUint64(key[8:], bridge.LabelHash(r.Labels))
			h.Write(key[:])
			h.Write(r.Payload)
		}
	}
	return h.Sum64()
}

func TestSameSeedSameSite(t *testing.T) {
	make := func(seed uint64) uint64 {
		return fingerprint(NewVibration(VibrationConfig{Seed: seed, Sensors: 3, Samples: 64}))
	}
	if a, b := make(1), make(1); a != b {
		t.Errorf("seed 1 twice: %x and %x, want the same", a, b)
	}
	if a, b := make(1), make(2); a == b {
		t.Errorf("seeds 1 and 2: both %x, want different sites", a)
	}
}

func TestReadMakesTheSameRecordAgain(t *testing.T) {
	v := NewVibration(VibrationConfig{Seed: 3, Sensors: 12, Samples: 16, Interval: 10 * time.Millisecond})
	var s Sample
	for i := range 500 {
		want := v.Fill(&s, 11, i)
		got, ok := v.Read("acc-12", want.Time)
		if !ok || string(got.Payload) != string(want.Payload) || bridge.LabelHash(got.Labels) != bridge.LabelHash(want.Labels) {
			t.Fatalf("record %d at %d: got %v %+v, want %+v", i, want.Time, ok, got, want)
		}
	}
	for _, c := range []struct {
		name, entry string
		time        int64
	}{
		{"no such entry", "acc-13", v.Time(11, 0)}, {"not padded", "acc-1", v.Time(0, 0)}, {"no such time", "acc-12", v.Time(11, 1) + 1},
		{"before the start", "acc-12", v.Time(11, 0) - 20_000}, {"no number", "noise", v.Time(0, 0)},
	} {
		if _, ok := v.Read(c.entry, c.time); ok {
			t.Errorf("%s: read a record, want none", c.name)
		}
	}
}

func TestSiteLooksLikeTheRealOne(t *testing.T) {
	v := NewVibration(VibrationConfig{Seed: 1, Samples: 4096})
	var s Sample
	phases, last := map[string]int{}, int64(0)
	for i := range v.Until(2 * time.Minute) {
		r := v.Fill(&s, 1, i)
		if r.Time <= last {
			t.Fatalf("record %d: time %d after %d, want ascending", i, r.Time, last)
		}
		last = r.Time
		if len(r.Payload) != 16<<10 {
			t.Fatalf("payload of %d bytes, want 16 KiB", len(r.Payload))
		}
		for j := 1; j < len(r.Labels); j++ {
			if string(r.Labels[j-1].Name) >= string(r.Labels[j].Name) {
				t.Fatalf("labels %s before %s, want sorted", r.Labels[j-1].Name, r.Labels[j].Name)
			}
		}
		producing := label(r, "prod_speed") != ""
		if producing != (label(r, "status") == "0") {
			t.Fatalf("status %q with prod_speed %q", label(r, "status"), label(r, "prod_speed"))
		}
		phases[label(r, "status")+label(r, "stable")]++
	}
	for _, want := range []string{"0true", "0false", "1false"} {
		if phases[want] < 10 {
			t.Errorf("status and stable %s: %d records in two minutes, want some; all: %v", want, phases[want], phases)
		}
	}
	if len(v.Fill(&s, 0, 30).Labels) != 13 {
		t.Errorf("%d labels, want 13", len(s.labels))
	}
}

func BenchmarkFill(b *testing.B) {
	v := NewVibration(VibrationConfig{})
	var s Sample
	b.SetBytes(16 << 10)
	for i := range b.N {
		v.Fill(&s, 0, i)
	}
}

package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/sluicebridge/sluice/runtime/abi"
	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

func configured(tb testing.TB, config string) *filter {
	tb.Helper()
	j, err := sluice.ParseJSON([]byte(config))
	if err != nil {
		tb.Fatal(err)
	}
	f := new(filter)
	if err := f.Init(j); err != nil {
		tb.Fatal(err)
	}
	return f
}

// record is what the host would send; labels are "name=value ...".
func record(labels string, payload []byte) sluice.Record {
	f := abi.Fields{Entry: []byte("acc-1"), Payload: payload, PayloadLen: len(payload)}
	for _, l := range strings.Fields(labels) {
		name, value, _ := strings.Cut(l, "=")
		f.Slots = append(f.Slots, []byte(name), []byte(value))
	}
	b := make([]byte, f.Size())
	n, err := abi.PutRecord(b, &f)
	if err != nil {
		panic(err)
	}
	return sluice.Record(b[:n])
}

// floats is a payload of float32.
func floats(values ...float64) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
	}
	return b
}

// process returns what became of a record: labels and payload of the output, "drop", or the text of a parked one.
func process(tb testing.TB, f *filter, r sluice.Record) (labels, payload string) {
	tb.Helper()
	out := new(sluice.Out)
	if v := f.Process(r, out); v == sluice.Drop(0) {
		return "drop", ""
	}
	e, _, err := abi.ReadEntry(out.Bytes())
	if err != nil {
		tb.Fatal(err)
	}
	if e.Verdict == abi.Park {
		return string(e.Body), ""
	}
	o, _, err := abi.ReadOutput(e.Body)
	if err != nil {
		tb.Fatal(err)
	}
	payload = "kept"
	for op := (abi.Op{}); o.Ops > 0; o.Ops-- {
		if err := o.Next(&op); err != nil {
			tb.Fatal(err)
		}
		switch op.Code {
		case abi.SetLabel:
			labels += string(op.Key) + "=" + string(op.Value) + " "
		case abi.SetPayload:
			payload = string(op.Value)
		}
	}
	return labels, payload
}

// Every feature, band and line is what numpy and scipy make of the same payload (testdata/reference.py).
func TestAgainstSciPy(t *testing.T) {
	var reference struct {
		Cases []struct {
			Name    string
			Config  map[string]any
			Payload []byte
			Want    map[string]float64
		}
	}
	b, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &reference); err != nil {
		t.Fatal(err)
	}
	if len(reference.Cases) < 6 {
		t.Fatalf("%d cases, want 6", len(reference.Cases))
	}
	for _, c := range reference.Cases {
		c.Config["features"] = features
		c.Config["digits"] = 17
		config, err := json.Marshal(c.Config)
		if err != nil {
			t.Fatal(err)
		}
		f := configured(t, string(config))
		for range 2 { // the second time the tables are there
			var got map[string]float64
			_, payload := process(t, f, record("", c.Payload))
			if err := json.Unmarshal([]byte(payload), &got); err != nil {
				t.Fatalf("%s: %s: %v", c.Name, payload, err)
			}
			for name, want := range c.Want {
				if v, is := got[name]; !is || math.Abs(v-want) > 1e-9*math.Abs(want) {
					t.Errorf("%s: %s is %v (there: %v), want %v", c.Name, name, v, is, want)
				}
			}
			if len(got) != len(c.Want) {
				t.Errorf("%s: %d values, want %d: %s", c.Name, len(got), len(c.Want), payload)
			}
		}
	}
}

// Orders of published bearings: 6205-2RS JEM SKF at the drive end and 6203-2RS JEM SKF at the fan end of Case Western Reserve University's test rig, whose
// tables give the ball's as twice the spin, as it touches both rings in a turn.
func TestBearings(t *testing.T) {
	for _, c := range []struct {
		config string
		want   [4]float64 // bpfo, bpfi, bsf, ftf
	}{
		{`{"balls":9,"ball":0.3126,"pitch":1.537}`, [4]float64{3.5848, 5.4152, 4.7135 / 2, 0.39828}},
		{`{"balls":8,"ball":0.2656,"pitch":1.122}`, [4]float64{3.0530, 4.9469, 3.9874 / 2, 0.3817}},
		{`{"balls":9,"ball":0.3126,"pitch":1.537,"bsf":4.7135}`, [4]float64{3.5848, 5.4152, 4.7135, 0.39828}},
	} {
		s := new(settings)
		if err := s.readBearing(sluice.JSON(`{"bearing":` + c.config + `}`)); err != nil || len(s.bearing) != 4 {
			t.Fatalf("%s: %v, %v", c.config, err, s.bearing)
		}
		for i, l := range s.bearing {
			if math.Abs(l.order-c.want[i]) > 6e-4*c.want[i] {
				t.Errorf("%s: %s is %v, want %v", c.config, l.name, l.order, c.want[i])
			}
		}
	}
}

func TestFilter(t *testing.T) {
	sine := make([]float64, 1000) // amplitude 2 at 50 Hz, modulated to 1 or 3 at 7 Hz
	for i := range sine {
		at := float64(i) / 1000
		sine[i] = (2 + math.Cos(2*math.Pi*7*at)) * math.Sin(2*math.Pi*50*at)
	}
	wave := floats(sine...)
	const bands = `"features":[],"digits":4,"window":"boxcar","bands":{"hum":[49.5,50.5],"all":[0,500]}`
	const line = `"features":[],"digits":4,"rate":1000,"bearing":{"bpfo":3.5},"tolerance":0.2`
	for _, c := range []struct {
		name, config, labels string
		payload              []byte
		want, wantPayload    string
	}{
		{"defaults", `{}`, "", floats(1, -1, 1, -1, 1, -1, 1, -3), "", `{"rms":1.41421,"peak":3,"crest":2.12132,"skewness":-0.660484,"kurtosis":2.26119}`},
		{"some, as labels", `{"labels":true,"payload":"keep","features":["peak","mean"],"prefix":"vib_","digits":3}`, "a=b", floats(1, -0.12345), "vib_peak=1 vib_mean=0.438 ", "kept"},
		{"labels and no payload", `{"labels":true,"payload":"none","features":["rms"]}`, "", floats(3), "rms=3 ", ""},
		{"labels and JSON", `{"labels":true,"features":["rms"]}`, "", floats(3), "rms=3 ", `{"rms":3}`},
		{"what cannot be had", `{"labels":true}`, "", floats(2, 2), "rms=2 peak=2 crest=1 ", `{"rms":2,"peak":2,"crest":1,"skewness":null,"kurtosis":null}`},
		{"not a number", `{"rate":10,"bands":{"x":[0,5]}}`, "", floats(2, math.NaN()), "", `{"rms":null,"peak":null,"crest":null,"skewness":null,"kurtosis":null,"energy_x":null}`},
		{"int16, scaled", `{"format":"i16","scale":0.5,"features":["peak","mean"]}`, "", []byte{2, 0, 0xfc, 0xff}, "", `{"peak":2,"mean":-0.5}`},
		{"int16, big-endian", `{"format":"i16","order":"big","features":["peak","mean"]}`, "", []byte{1, 2, 0xff, 0xfe}, "", `{"peak":258,"mean":128}`},
		{"rate of a label", `{` + bands + `,"rate_label":"hz"}`, "hz=1e3", wave, "", `{"energy_hum":2,"energy_all":2.25}`},
		{"rate of a label before the fixed one", `{` + bands + `,"rate_label":"hz","rate":7}`, "hz=1000", wave, "", `{"energy_hum":2,"energy_all":2.25}`},
		{"fixed rate where there is no label", `{` + bands + `,"rate_label":"hz","rate":1000}`, "", wave, "", `{"energy_hum":2,"energy_all":2.25}`},
		{"no rate", `{` + bands + `,"rate_label":"hz"}`, "", wave, "no sample rate: label hz", ""},
		{"a rate that is none", `{` + bands + `,"rate_label":"hz","rate":1000}`, "hz=fast", wave, "no sample rate: label hz", ""},
		{"no rate, dropped", `{` + bands + `,"rate_label":"hz","missing":"drop"}`, "", wave, "drop", ""},
		{"no rate, null", `{"features":["peak"],"bands":{"hum":[1,2],"all":[0,5]},"rate_label":"hz","missing":"null"}`, "", floats(1, 2), "", `{"peak":2,"energy_hum":null,"energy_all":null}`},
		{"a line of the envelope", `{` + line + `,"speed":120}`, "", wave, "", `{"bpfo":1,"bpfo_hz":7}`},
		{"its multiples", `{` + line + `,"speed":120,"harmonics":2,"window":"boxcar"}`, "", wave, "", `{"bpfo":1,"bpfo_hz":7,"bpfo_2":9.9e-08}`},
		{"speed of a label, in Hz", `{` + line + `,"speed_label":"f","speed_ratio":60}`, "f=2", wave, "", `{"bpfo":1,"bpfo_hz":7}`},
		{"no speed", `{` + line + `,"speed_label":"f"}`, "", wave, "no speed: label f", ""},
		{"standstill", `{` + line + `,"speed_label":"f"}`, "f=0", wave, "no speed: label f", ""},
		{"no speed, null", `{` + line + `,"speed_label":"f","missing":"null"}`, "", wave, "", `{"bpfo":null,"bpfo_hz":null}`},
		{"above half the rate", `{` + line + `,"speed":12000}`, "", wave, "", `{"bpfo":null,"bpfo_hz":null}`},
		{"no payload", `{}`, "", nil, "payload: 0 bytes, want numbers of 4 (f32)", ""},
		{"half a number", `{"format":"f64"}`, "", make([]byte, 12), "payload: 12 bytes, want numbers of 8 (f64)", ""},
		{"too long for a spectrum", `{"rate":1,"bands":{"x":[0,1]}}`, "", make([]byte, 4*131073), "payload: the tables for 131073 samples take 45 MiB, want at most tables = 8 (more needs more memory of the module; a power of two takes least)", ""},
		{"one sample", `{"rate":10,"bands":{"x":[0,5]},"speed":60,"bearing":{"bpfo":3}}`, "", floats(2), "",
			`{"rms":2,"peak":2,"crest":1,"skewness":null,"kurtosis":null,"energy_x":null,"bpfo":null,"bpfo_hz":null}`},
	} {
		labels, payload := process(t, configured(t, c.config), record(c.labels, c.payload))
		if c.name == "its multiples" { // of a pure modulation there are none: what float32 leaves of them
			payload = payload[:strings.LastIndex(payload, ":")] + ":9.9e-08}"
		}
		if labels != c.want || payload != c.wantPayload {
			t.Errorf("%s: %s%s, want %s%s", c.name, labels, payload, c.want, c.wantPayload)
		}
	}
}

// Records of many lengths, in any order, give what each gives alone: tables are kept by length, of some lengths.
func TestLengths(t *testing.T) {
	const config = `{"rate":1000,"bands":{"x":[10,200]},"speed":600,"bearing":{"bpfo":3.5},"digits":17,"tables":10}`
	f := configured(t, config)
	for i := range 60 {
		n := []int{512, 300, 20_000, 513, 16_384, 3}[i*i%7%6]
		values := make([]float64, n)
		for j := range values {
			values[j] = math.Sin(float64(j*j%1000 + i))
		}
		r := record("", floats(values...))
		_, got := process(t, f, r)
		if _, want := process(t, configured(t, config), r); got != want {
			t.Fatalf("record %d of %d samples: %s, want %s", i, n, got, want)
		}
		kept := 0
		for _, s := range f.analysis.spectra {
			kept += sizeOfSpectrum(s.n, true)
		}
		if kept > f.settings.tables || kept != f.analysis.kept {
			t.Fatalf("record %d: tables of %d bytes are kept, %d are known, want at most %d", i, kept, f.analysis.kept, f.settings.tables)
		}
	}
}

// What tables take is what was reckoned with.
func TestSizeOfSpectrum(t *testing.T) {
	for _, n := range []int{1, 2, 3, 512, 777, 1000, 4096, 20_000, 65_537} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		newSpectrum(n, true, true)
		runtime.ReadMemStats(&after)
		if got, most := int(after.TotalAlloc-before.TotalAlloc)+8*n, sizeOfSpectrum(n, true); got > most+most/8+10_000 || got < most/2-10_000 {
			t.Errorf("%d samples: %d bytes, reckoned %d", n, got, most)
		}
	}
}

func TestSettingsRefuse(t *testing.T) {
	for _, c := range []struct{ config, want string }{
		{`{"features":[]}`, "features: none, and no bands"}, {`{"features":["mode"]}`, `features: "mode", want some of mean rms`}, {`{"format":"u8"}`, "format: u8, want one of f32 f64 i16"},
		{`{"order":"middle"}`, "order: middle"}, {`{"window":"flat"}`, "window: flat"}, {`{"payload":"keep"}`, "payload: keep, want json, or labels = true"},
		{`{"bands":{"x":[1,2]}}`, "rate: missing"}, {`{"bands":{"x":[2,1]},"rate":5}`, "bands: x = [2,1], want"}, {`{"bands":{"x":[1]},"rate":5}`, "bands: x = [1]"},
		{`{"bands":{"x":["a",2]},"rate":5}`, "bands: x"}, {`{"bearing":{"bpfo":3},"rate":5}`, "speed: missing"}, {`{"bearing":{"bpfo":3},"speed":5}`, "rate: missing"},
		{`{"bearing":{"balls":9},"rate":5,"speed":5}`, "bearing: want balls, ball and pitch"}, {`{"bearing":{"balls":9,"ball":2,"pitch":1},"rate":5,"speed":5}`, "the last greater"},
		{`{"bearing":{"bpf":9}}`, "bearing: bpf = 9, want"}, {`{"bearing":{"bpfo":0}}`, "bearing: bpfo = 0"}, {`{"bearing":{"angle":90}}`, "bearing: angle = 90"},
		{`{"envelope_band":[5]}`, "envelope_band: [5]"}, {`{"digits":0}`, "digits: 0, want 1 to 17"}, {`{"rate":-1}`, "rate: -1"}, {`{"scale":0}`, "scale, speed_ratio: 0"},
		{`{"harmonics":11}`, "harmonics: 11, want 1 to 10"}, {`{"tolerance":"x"}`, `tolerance: "x"`}, {`{"missing":"pass"}`, "missing: pass"},
	} {
		j, err := sluice.ParseJSON([]byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readSettings(j); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.config, err, c.want)
		}
	}
}

func TestManifest(t *testing.T) {
	var m abi.Manifest
	meta, err := toml.Decode(manifest, &m)
	if err != nil || len(meta.Undecoded()) > 0 {
		t.Fatalf("%v, unknown keys %v", err, meta.Undecoded())
	}
	m.Normal()
	if bad := m.Validate(); bad != nil {
		t.Error(bad)
	}
}

// everything is a configuration with all that can be asked for.
const everything = `{"rate":25600,"bands":{"a":[10,1000],"b":[1000,10000]},"speed_label":"rpm","bearing":{"balls":9,"ball":0.3126,"pitch":1.537},"envelope_band":[2000,8000],"harmonics":3,"labels":true}`

func TestAllocatesNothing(t *testing.T) {
	f, out := configured(t, everything), new(sluice.Out)
	for _, n := range []int{4096, 1000, 777} {
		values := make([]float64, n)
		for i := range values {
			values[i] = math.Sin(float64(i))
		}
		r := record("rpm=1797", floats(values...))
		if n := testing.AllocsPerRun(20, func() { f.Process(r, out); out.Reset() }); n != 0 {
			t.Errorf("%d samples: %v allocations a record, want 0", len(values), n)
		}
	}
}

func BenchmarkProcess(b *testing.B) {
	for _, n := range []int{1000, 4096} {
		for _, c := range []struct{ name, config string }{{"moments", `{}`}, {"bands", `{"rate":25600,"bands":{"a":[10,1000]}}`}, {"all", everything}} {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				f, out, values := configured(b, c.config), new(sluice.Out), make([]float64, n)
				for i := range values {
					values[i] = math.Sin(float64(i))
				}
				r := record("rpm=1797", floats(values...))
				for b.Loop() {
					out.Reset()
					f.Process(r, out)
				}
			})
		}
	}
}

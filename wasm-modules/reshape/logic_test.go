package main

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	stdtime "time"

	"github.com/BurntSushi/toml"

	"github.com/sluicebridge/sluice/runtime/abi"
	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

const at = int64(1_767_225_600_037_511) // 2026-01-01T00:00:00.037511Z

// record has the labels "name=value name=value".
func record(labels string, payload []byte) sluice.Record {
	var slots [][]byte
	for _, l := range strings.Fields(labels) {
		name, value, _ := strings.Cut(l, "=")
		slots = append(slots, []byte(name), []byte(value))
	}
	f := abi.Fields{Time: at, Entry: []byte("acc-1"), ContentType: []byte("text/plain"), Slots: slots, Payload: payload, PayloadLen: len(payload)}
	b := make([]byte, f.Size())
	if _, err := abi.PutRecord(b, &f); err != nil {
		panic(err)
	}
	return sluice.Record(b)
}

// configured makes a filter of a configuration, given as pairs of key and value.
func configured(t *testing.T, pairs ...string) (*filter, error) {
	t.Helper()
	config := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		config[pairs[i]] = pairs[i+1]
		if pairs[i] == "scale" {
			config[pairs[i]] = json.Number(pairs[i+1])
		}
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	j, err := sluice.ParseJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	f := new(filter)
	return f, f.Init(j)
}

// answer runs a record and returns what became of it: "topic type payload", or the verdict and its text.
func answer(t *testing.T, f *filter, r sluice.Record) string {
	t.Helper()
	out := new(sluice.Out)
	out.Reset()
	if v := f.Process(r, out); v != 0 {
		short, err := abi.ParseReturned(int64(v))
		if err != nil {
			t.Fatal(err)
		}
		return short.Verdict.String()
	}
	e, _, err := abi.ReadEntry(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if e.Verdict != abi.Emit {
		return e.Verdict.String() + " " + string(e.Body)
	}
	o, _, err := abi.ReadOutput(e.Body)
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for b := o.Body; len(b) > 0; {
		var op abi.Op
		if op, b, err = abi.ReadOp(b); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, string(op.Value))
	}
	return strings.Join(parts, " ")
}

// waveform is a sine of amplitude 0.5 on a constant of 0.1, 64 values a turn.
func waveform(n int) []float32 {
	wave := make([]float32, n)
	for i := range wave {
		wave[i] = float32(0.1 + 0.5*math.Sin(2*math.Pi*float64(i)/64))
	}
	return wave
}

func f32(wave []float32) (b []byte) {
	for _, v := range wave {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func i16(wave []float32, scale float64) (b []byte) {
	for _, v := range wave {
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(math.Round(float64(v)/scale))))
	}
	return b
}

// Same topics, same format as before: what the far end has parsed for years, byte for byte, the space in it included.
func TestLegacyFormat(t *testing.T) {
	const (
		topic    = `{{label:device|raw}}/{{entry|raw}}/vibration`
		template = `{"deviceId": {{label:device}}, "sensor": {"name": {{entry}}, "axis": {{label:axis}}}, "ts": {{time|ms}}, "speed": {{label:rpm|0}}, ` +
			`"features": {"n": {{count}}, "rms": {{rms|4}}, "peak": {{peak|4}}, "crest": {{crest|3}}, "kurtosis": {{kurtosis|2}}}, "unit": "g"}`
		want = `press-7/acc-1/vibration application/json {"deviceId": "press-7", "sensor": {"name": "acc-1", "axis": "z"}, "ts": 1767225600037, "speed": 1500, ` +
			`"features": {"n": 4096, "rms": 0.3674, "peak": 0.6000, "crest": 1.633, "kurtosis": 1.50}, "unit": "g"}`
		labels = "axis=z device=press-7 rpm=1499.7 stable=true"
	)
	for _, c := range []struct {
		input   string
		payload []byte
	}{{"f32", f32(waveform(4096))}, {"i16", i16(waveform(4096), 0.0001)}} {
		f, err := configured(t, "input", c.input, "topic", topic, "template", template, "scale", "0.0001")
		if err != nil {
			t.Fatal(err)
		}
		if got := answer(t, f, record(labels, c.payload)); got != want {
			t.Errorf("%s:\n%s, want\n%s", c.input, got, want)
		}
	}
}

func TestShape(t *testing.T) {
	const (
		labels  = "device=press-7 rpm=1500.25 bad=x\" empty="
		payload = ` {"v":{"t":[1.50,{"x":"a\"b"}],"n":null},"s":"plain","i":7} `
	)
	for _, c := range []struct{ name, template, want string }{
		{"fields as they were", `{"a":{{field:v.t.0}},"b":{{field:v.t.1}},"c":{{field:s}},"d":{{field:v.n}}}`, `{"a":1.50,"b":{"x":"a\"b"},"c":"plain","d":null}`},
		{"fields formatted", `{{field:v.t.0|0}} {{field:i|2}} {{field:s|raw}} {{field:i|string}} {{field:s|string}} {{field:i|raw}}`, `2 7.00 plain "7" "plain" 7`},
		{"labels", `{{label:device}} {{label:rpm}} {{label:rpm|number}} {{label:rpm|1}} {{label:bad}} {{label:empty}} <{{label:empty|raw}}> {{label:device|string}}`,
			`"press-7" "1500.25" 1500.25 1500.2 "x\"" "" <> "press-7"`},
		{"times", `{{time}} {{time|ms}} {{time|s}} {{time|iso}}`, `1767225600037511 1767225600037 1767225600 "2026-01-01T00:00:00.037511Z"`},
		{"entry and type", `{{entry}} {{ type | raw }}`, `"acc-1" text/plain`},
		{"braces of JSON", `{"a":{"b":{{time|s}}}}`, `{"a":{"b":1767225600}}`},
		{"no placeholder", `{}`, `{}`},
	} {
		f, err := configured(t, "template", c.template, "content_type", "")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := answer(t, f, record(labels, []byte(payload))); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestMissing(t *testing.T) {
	for _, c := range []struct{ name, missing, template, topic, payload, want string }{
		{"label parks", "park", `{{label:x}}`, "", `{}`, "PARK no label x"},
		{"the first is named", "park", `{{field:a.b}}{{label:x}}`, "", `{}`, "PARK no field a.b"},
		{"no number", "park", `{{label:d|2}}`, "", `{}`, "PARK no label d"},
		{"no number as it is", "park", `{{label:d|number}}`, "", `{}`, "PARK no label d"},
		{"text field as number", "park", `{{field:a|2}}`, "", `{"a":"1"}`, "PARK no field a"},
		{"drop", "drop", `{{label:x}}`, "", `{}`, "DROP"},
		{"null", "null", `[{{label:x}},{{field:y}}]`, "", `{}`, "application/json [null,null]"},
		{"topic parks", "park", `{}`, "{{label:x|raw}}", `{}`, "PARK no label x"},
		{"topic cannot be null", "null", `{}`, "{{label:x|raw}}", `{}`, "PARK topic: no label x"},
		{"no JSON", "null", `{}`, "", `{"a":`, "PARK payload: no JSON at byte 5"},
		{"empty payload", "drop", `{}`, "", ``, "PARK payload: no JSON at byte 0"},
	} {
		f, err := configured(t, "template", c.template, "topic", c.topic, "missing", c.missing)
		if err != nil {
			t.Fatal(err)
		}
		if got := answer(t, f, record("d=press", []byte(c.payload))); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestWaveforms(t *testing.T) {
	for _, c := range []struct {
		name, input string
		payload     []byte
		want        string
	}{
		{"constant has no kurtosis", "f32", f32([]float32{2, 2}), "application/json [2,2.0,1,null]"},
		{"NaN", "f32", f32([]float32{1, float32(math.NaN())}), "application/json [null,null,null,null]"},
		{"half a value", "f32", []byte{1, 2, 3}, "PARK payload: 3 bytes, want float32 values of 4"},
		{"nothing", "f32", nil, "PARK payload: 0 bytes, want float32 values of 4"},
		{"half an int", "i16", []byte{1}, "PARK payload: 1 bytes, want int16 values of 2"},
		{"ints", "i16", []byte{0, 0x80, 0, 0x80}, "application/json [32768,32768.0,1,null]"},
	} {
		f, err := configured(t, "input", c.input, "template", `[{{peak}},{{rms|1}},{{crest}},{{kurtosis}}]`)
		if err != nil {
			t.Fatal(err)
		}
		if got := answer(t, f, record("", c.payload)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	f, err := configured(t, "input", "f32", "template", `{{time|s}}`)
	if err != nil {
		t.Fatal(err)
	}
	if got := answer(t, f, record("", []byte{1})); got != "application/json 1767225600" {
		t.Errorf("a waveform nobody looks at: %s", got)
	}
}

func TestShapeRefuses(t *testing.T) {
	for _, c := range []struct {
		pairs []string
		want  string
	}{
		{nil, "template: missing"},
		{[]string{"template", "{{label"}, "not closed"},
		{[]string{"template", "{{rpm}}"}, "{{rpm}}: want label:NAME"},
		{[]string{"template", "{{label}}"}, "take an argument"},
		{[]string{"template", "{{time:x}}"}, "take an argument"},
		{[]string{"template", "{{time|raw}}"}, "format raw does not fit"},
		{[]string{"template", "{{field:x|ms}}"}, "format ms does not fit"},
		{[]string{"template", "{{label:x|%d}}"}, "format %d does not fit"},
		{[]string{"template", "{{entry|2}}"}, "format 2 does not fit"},
		{[]string{"template", "{{field:x|number}}"}, "format number does not fit"},
		{[]string{"template", "{{rms}}"}, "template: rms needs input f32 or i16"},
		{[]string{"template", "{{field:x}}", "input", "f32"}, "template: field:x needs input json"},
		{[]string{"template", "{}", "topic", "{{x}}"}, "topic: {{x}}"},
		{[]string{"template", "{}", "input", "xml"}, "input: xml"},
		{[]string{"template", "{}", "missing", "x"}, "missing: x"},
		{[]string{"template", "{}", "scale", "0"}, "scale: 0"},
	} {
		if _, err := configured(t, c.pairs...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.pairs, err, c.want)
		}
	}
}

func TestCivilAgainstTheLibrary(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		us := rnd.Int64N(2*250e14) - 62_000_000_000e6/2
		want := stdtime.UnixMicro(us).UTC().Format(`"2006-01-02T15:04:05.000000Z"`)
		if got := string(appendTime(nil, us, iso)); got != want {
			t.Fatalf("%d: %s, want %s", us, got, want)
		}
	}
	if got := string(appendTime(nil, -1, millis)) + " " + string(appendTime(nil, -1, seconds)); got != "-1 -1" {
		t.Errorf("one microsecond before 1970: %s, want -1 -1", got)
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

func TestShapeAllocatesNothing(t *testing.T) {
	f, err := configured(t, "input", "f32", "topic", "{{label:device|raw}}", "template", `{"d":{{label:device}},"t":{{time|iso}},"rms":{{rms|4}},"k":{{kurtosis}}}`)
	if err != nil {
		t.Fatal(err)
	}
	r, out := record("device=press-7", f32(waveform(256))), new(sluice.Out)
	n := testing.AllocsPerRun(1000, func() {
		out.Reset()
		f.Process(r, out)
	})
	if n != 0 {
		t.Errorf("%v allocations a record, want 0", n)
	}
}

func BenchmarkFeatures16KiB(b *testing.B) {
	f := new(filter)
	if err := f.Init(sluice.JSON(`{"input":"f32","template":"{\"rms\":{{rms|4}},\"peak\":{{peak|4}},\"kurtosis\":{{kurtosis|4}}}"}`)); err != nil {
		b.Fatal(err)
	}
	r, out := record("device=press-7", f32(waveform(4096))), new(sluice.Out)
	b.SetBytes(16 << 10)
	for b.Loop() {
		out.Reset()
		f.Process(r, out)
	}
}

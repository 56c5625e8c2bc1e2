package guests

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/site"
	"github.com/sluicebridge/sluice/runtime/host"
)

// The first site's pipeline: only what was made at stable speed travels, under the labels and in the format that the cloud has always seen.
var pipeline = []guest{
	{"stable-speed", table{"min": 600.0, "window": "5s", "hold": "2s"}},
	{"label-remap", table{"rename": table{"prod_speed": "speed"}, "drop": []any{"seq", "status"}, "template": table{"channel": "{sensor}-{axis}"}}},
	{"reshape", table{"input": "f32", "topic": "{{label:device|raw}}/{{label:channel|raw}}",
		"template": `{"dev": {{label:device}}, "ts": {{time|ms}}, "speed": {{label:speed|1}}, "rms": {{rms|4}}, "kurtosis": {{kurtosis|2}}}`}},
}

const stream = "vib/acc-1"

// batches are so many minutes of one sensor of the site, 85 records a batch.
func batches(minutes int) (all [][]bridge.Record) {
	v := site.NewVibration(site.VibrationConfig{Seed: 1, Samples: 512})
	var rs []bridge.Record
	for i := range v.Until(time.Duration(minutes) * time.Minute) {
		rs = append(rs, *v.Fill(new(site.Sample), 0, i))
	}
	return slices.Collect(slices.Chunk(rs, 85))
}

// apply runs a batch that must succeed.
func apply(tb testing.TB, c *host.Chain, rs []bridge.Record) *bridge.Results {
	tb.Helper()
	out := new(bridge.Results)
	if err := c.Apply(context.Background(), stream, slices.Clone(rs), out); err != nil {
		tb.Fatal(err)
	}
	return out
}

// text is everything that left a chain, one message a line.
func text(out *bridge.Results) string {
	var b strings.Builder
	for _, m := range out.Messages {
		fmt.Fprintf(&b, "%s topic %s type %s", m.AppendID(nil, stream), m.Topic, m.ContentType)
		for _, l := range m.Labels {
			fmt.Fprintf(&b, " %s=%s", l.Name, l.Value)
		}
		fmt.Fprintf(&b, " payload %s\n", m.Payload)
	}
	for _, p := range out.Parked {
		fmt.Fprintf(&b, "parked %s by %s: %s\n", p.AppendID(nil, stream), p.Module, p.Reason)
	}
	return b.String()
}

func value(ls []bridge.Label, name string) string {
	for _, l := range ls {
		if string(l.Name) == name {
			return string(l.Value)
		}
	}
	return ""
}

func TestSiteOnePipeline(t *testing.T) {
	kept := new(states)
	c := shop.chain(t, kept, pipeline...)
	passed, dropped, unstable := 0, 0, 0
	for _, rs := range batches(3) {
		out := apply(t, c, rs)
		kept.commit(stream, out)
		next := 0
		for i, v := range out.Verdicts {
			if v.Kind != bridge.Passed {
				dropped++
				continue
			}
			if passed++; value(rs[i].Labels, "stable") != "true" {
				unstable++
			}
			check(t, &rs[i], &out.Messages[next])
			next++
		}
		if len(out.Parked) > 0 {
			t.Fatal(text(out))
		}
	}
	// The first record of a ramp may lie within the tolerance still: one in each of the three cycles.
	if passed < 50 || dropped < 50 || unstable > 3 {
		t.Errorf("%d passed, %d of them made at a speed that was not stable, %d dropped; want many, 3 at most, many", passed, unstable, dropped)
	}
}

// check compares one message with the record it was made of.
func check(t *testing.T, r *bridge.Record, m *bridge.Message) {
	t.Helper()
	var got struct {
		Dev      string
		TS       int64
		Speed    float64
		RMS      float64
		Kurtosis float64
	}
	if err := json.Unmarshal(m.Payload, &got); err != nil {
		t.Fatalf("payload %s: %v", m.Payload, err)
	}
	sum := 0.0
	for i := 0; i < len(r.Payload); i += 4 {
		bits := uint32(r.Payload[i]) | uint32(r.Payload[i+1])<<8 | uint32(r.Payload[i+2])<<16 | uint32(r.Payload[i+3])<<24
		sum += math.Pow(float64(math.Float32frombits(bits)), 2)
	}
	rms := math.Sqrt(sum / float64(len(r.Payload)/4))
	if got.Dev != "press-7" || got.TS != r.Time/1000 || math.Abs(got.RMS-rms) > 1e-4 || fmt.Sprintf("%.1f", got.Speed) != value(r.Labels, "prod_speed") {
		t.Fatalf("payload %s of %v, want rms %.4f", m.Payload, r.Labels, rms)
	}
	if string(m.Topic) != "press-7/acc-1-x" || string(m.ContentType) != "application/json" {
		t.Fatalf("topic %s and type %s", m.Topic, m.ContentType)
	}
	if value(m.Labels, "seq") != "" || value(m.Labels, "prod_speed") != "" || value(m.Labels, "speed") != value(r.Labels, "prod_speed") {
		t.Fatalf("labels %s, want speed in the place of prod_speed and no seq", m.Labels)
	}
}

// One legacy topic and payload, byte for byte, the space in it included: what the far end has parsed for years, out of the built module.
func TestLegacyFormat(t *testing.T) {
	const (
		topic    = `{{label:device|raw}}/{{entry|raw}}/vibration`
		template = `{"deviceId": {{label:device}}, "sensor": {"name": {{entry}}, "axis": {{label:axis}}}, "ts": {{time|ms}}, "speed": {{label:rpm|0}}, ` +
			`"features": {"n": {{count}}, "rms": {{rms|4}}, "peak": {{peak|4}}, "crest": {{crest|3}}, "kurtosis": {{kurtosis|2}}}, "unit": "g"}`
		want = `vib/acc-1@1767225600037511 topic press-7/acc-1/vibration type application/json axis=z device=press-7 rpm=1499.7 stable=true ` +
			`payload {"deviceId": "press-7", "sensor": {"name": "acc-1", "axis": "z"}, "ts": 1767225600037, "speed": 1500, ` +
			`"features": {"n": 4096, "rms": 0.3674, "peak": 0.6000, "crest": 1.633, "kurtosis": 1.50}, "unit": "g"}` + "\n"
	)
	wave := make([]byte, 0, 4*4096) // a sine of amplitude 0.5 on a constant of 0.1
	for i := range 4096 {
		wave = binary.LittleEndian.AppendUint32(wave, math.Float32bits(float32(0.1+0.5*math.Sin(2*math.Pi*float64(i)/64))))
	}
	c := shop.chain(t, new(states), guest{"reshape", table{"input": "f32", "topic": topic, "template": template}})
	out := apply(t, c, []bridge.Record{{Time: 1_767_225_600_037_511, ContentType: []byte("application/octet-stream"),
		Labels: labels("axis=z device=press-7 rpm=1499.7 stable=true"), Payload: wave}})
	if got := text(out); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
}

// The same for a payload of JSON, of a layout that changes from record to record: what a module knows of the last one changes nothing.
func TestLegacyFormatOfJSON(t *testing.T) {
	c := shop.chain(t, new(states), guest{"reshape", table{"missing": "null",
		"template": `{"seq":{{field:seq}},"rms":{{field:rms|4}},"peak":{{field:peak|1}},"n":{{field:v.n}},"time":{{time|ms}},"pad":{{field:pad}}}`}})
	pad := strings.Repeat("pad ", 40)
	var rs []bridge.Record
	want := ""
	for i, payload := range []struct{ in, out string }{
		{`{"seq":1,"rms":0.1234,"peak":1.5,"pad":"` + pad + `"}`, `{"seq":1,"rms":0.1234,"peak":1.5,"n":null,"time":0,"pad":"` + pad + `"}`},
		{`{"seq":12,"rms":0.12345,"peak":2,"pad":"` + pad + `"}`, `{"seq":12,"rms":0.1235,"peak":2.0,"n":null,"time":0,"pad":"` + pad + `"}`},
		{`{"seq":12,"rms":-1e-3,"peak":-2.25,"pad":"\u00e9` + pad + `"}`, `{"seq":12,"rms":-0.0010,"peak":-2.2,"n":null,"time":0,"pad":"\u00e9` + pad + `"}`},
		{`{"rms":7,"seq":12, "v":{"n":[]},"seq":13,"pad":""}`, `{"seq":12,"rms":7.0000,"peak":null,"n":[],"time":0,"pad":""}`},
		{` { "seq" : 12 , "peak" : 99999999999.25 } `, `{"seq":12,"rms":null,"peak":99999999999.2,"n":null,"time":0,"pad":null}`},
		{`{"seq":1,"rms":0.1234,"peak":1.5,"pad":"` + pad + `"}`, `{"seq":1,"rms":0.1234,"peak":1.5,"n":null,"time":0,"pad":"` + pad + `"}`},
	} {
		rs = append(rs, bridge.Record{Time: int64(i), Payload: []byte(payload.in)})
		want += fmt.Sprintf("vib/acc-1@%d topic  type application/json payload %s\n", i, payload.out)
	}
	if got := text(apply(t, c, rs)); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
}

// A restart between two batches, and a batch that was processed but never committed, change nothing (rule 4).
func TestRestartsChangeNothing(t *testing.T) {
	all := batches(3)
	want := ""
	kept := new(states)
	whole := shop.chain(t, kept, pipeline...)
	for _, rs := range all {
		out := apply(t, whole, rs)
		kept.commit(stream, out)
		want += text(out)
	}
	got := ""
	kept = new(states)
	for i, rs := range all {
		c := shop.chain(t, kept, pipeline...)
		if i%2 == 1 {
			apply(t, c, rs) // its Append failed
			c.Discard(stream)
		}
		out := apply(t, c, rs)
		kept.commit(stream, out)
		got += text(out)
	}
	if got != want || want == "" {
		t.Errorf("with restarts:\n%s\nwithout:\n%s", got, want)
	}
}

// What the manifest's slots do not hold, stable-speed asks the host for.
func TestStableSpeedAsksTheHost(t *testing.T) {
	record := func(i int, labels []bridge.Label, payload string) bridge.Record {
		return bridge.Record{Time: 1_700_000_000_000_000 + int64(i)*1_000_000, Labels: labels, Payload: []byte(payload)}
	}
	long := strings.Repeat("0", 70) + "1500" // longer than the module's first buffer
	for _, c := range []struct {
		name   string
		config table
		labels []bridge.Label
		body   string
		want   bridge.Kind
	}{
		{"a label of another name", table{"label": "drehzahl"}, []bridge.Label{{Name: []byte("drehzahl"), Value: []byte("1500")}}, "", bridge.Passed},
		{"a long label", table{"label": "drehzahl"}, []bridge.Label{{Name: []byte("drehzahl"), Value: []byte(long)}}, "", bridge.Passed},
		{"no such label", table{"label": "drehzahl"}, []bridge.Label{{Name: []byte("rpm"), Value: []byte("1500")}}, "", bridge.Dropped},
		{"a field of the payload", table{"field": "drive.0.rpm"}, nil, `{"drive":[{"rpm":1500}]}`, bridge.Passed},
		{"no such field", table{"field": "drive.rpm"}, nil, `{"drive":[]}`, bridge.Dropped},
		{"no JSON", table{"field": "drive.rpm"}, nil, `drive`, bridge.Dropped},
		{"no payload", table{"field": "drive.rpm"}, nil, ``, bridge.Dropped},
	} {
		c.config["window"], c.config["hold"] = "2s", "0s"
		chain := shop.chain(t, new(states), guest{"stable-speed", c.config})
		var rs []bridge.Record
		for i := range 5 {
			rs = append(rs, record(i, c.labels, c.body))
		}
		if out := apply(t, chain, rs); out.Verdicts[4].Kind != c.want {
			t.Errorf("%s: %v, want the last %d", c.name, out.Verdicts, c.want)
		}
	}
}

const remapSource = "../../wasm-modules/label-remap-c/main.c"

// remaps are configurations that both label-remaps get, and records that go through them.
var remaps = []table{
	{},
	{"rename": table{"rpm": "speed"}},
	{"rename": table{"rpm": "axis", "a\"b": "quote"}},
	{"drop": []any{"seq", "s*", "nothing"}},
	{"drop": []any{"*"}},
	{"set": table{"source": "edge", "n": 3, "live": true, "f": 1.5, "é\n\t\\\"": "€ \u0001 😀", "rpm": ""}},
	{"template": table{"channel": "<{device}-{axis}>", "gone": "{none}", "text": "text", "e": "{empty}{rpm}"}},
	{"allow": []any{"speed", "dev*"}, "rename": table{"rpm": "speed", "device": "dev"}, "template": table{"devices": "{device}"}},
	{"rename": table{}, "drop": []any{}, "set": table{}, "template": table{}, "allow": []any{}},
}

var remapRecords = []string{
	"axis=x device=press-7 rpm=1500 seq=7 stable=true empty=", "", "rpm=", "device=d", strings.Repeat("l=v s=x ", 200),
	"a\"b=1 é=ü s=" + strings.Repeat("long", 5000),
}

func labels(text string) (ls []bridge.Label) {
	for _, l := range strings.Fields(text) {
		name, value, _ := strings.Cut(l, "=")
		ls = append(ls, bridge.Label{Name: []byte(name), Value: []byte(value)})
	}
	return ls
}

func TestTheSameInGoAndC(t *testing.T) {
	shop.buildGuest(t, "label-remap-c", remapSource)
	for i, config := range remaps {
		var rs []bridge.Record
		for at, l := range remapRecords {
			rs = append(rs, bridge.Record{Time: int64(at), Labels: labels(l), Payload: []byte("payload")})
		}
		inGo := apply(t, shop.chain(t, new(states), guest{"label-remap", config}), rs)
		inC := apply(t, shop.chain(t, new(states), guest{"label-remap-c", config}), rs)
		if len(inGo.Messages) != len(rs) || len(inC.Messages) != len(rs) {
			t.Fatalf("config %d: %d messages in Go and %d in C, want %d", i, len(inGo.Messages), len(inC.Messages), len(rs))
		}
		for n := range rs {
			if a, b := fmt.Sprintf("%q", inGo.Messages[n].Labels), fmt.Sprintf("%q", inC.Messages[n].Labels); a != b {
				t.Errorf("config %d, record %d, Go:\n%.500s\nC:\n%.500s", i, n, a, b)
			}
		}
	}
}

// A module that is refused is refused when it is loaded, with its own words.
func TestRefusals(t *testing.T) {
	rt := shop.runtime(t)
	for _, c := range []struct {
		guest
		want string
	}{
		{guest{"stable-speed", table{"window": "soon"}}, `window: duration "soon"`},
		{guest{"stable-speed", table{"min": "fast"}}, "min"},
		{guest{"stable-speed", table{"colour": "red"}}, "colour"},
		{guest{"label-remap", table{"template": table{"a": "{b"}}}, "template.a: a brace that is not closed"},
		{guest{"reshape", table{}}, "template"},
		{guest{"reshape", table{"template": "{{rms}}"}}, "rms needs input f32 or i16"},
	} {
		if m, err := shop.load(rt, c.guest); err == nil || !strings.Contains(err.Error(), c.want) {
			if err == nil {
				m.Close()
			}
			t.Errorf("%s %v: %v, want %q", c.name, c.config, err, c.want)
		}
	}
}

func TestRefusalsOfC(t *testing.T) {
	shop.buildGuest(t, "label-remap-c", remapSource)
	rt := shop.runtime(t)
	many := table{}
	for i := range 257 {
		many[fmt.Sprint(i)] = "x"
	}
	for _, c := range []struct {
		config table
		want   string
	}{
		{table{"rename": table{"a": ""}}, "rename: want a name and a new name"},
		{table{"rename": table{"a": 1}}, "rename: want"},
		{table{"set": table{"a": []any{}}}, "set: want a text"},
		{table{"set": many}, "set: more than 256 labels"},
		{table{"template": table{"a": "{b"}}, "template: a brace"},
		{table{"template": table{"a": "x{}"}}, "template: a brace"},
		{table{"template": table{"a": strings.Repeat("{b}", 2000)}}, "template: too long"},
		{table{"drop": []any{1}}, "drop and allow: want names"},
		{table{"set": table{"a": strings.Repeat("x", 70_000)}}, "set: want"},
	} {
		if m, err := shop.load(rt, guest{"label-remap-c", c.config}); err == nil || !strings.Contains(err.Error(), c.want) {
			if err == nil {
				m.Close()
			}
			t.Errorf("%v: %v, want %q", c.config, err, c.want)
		}
	}
}

// A panic of a module in Go parks its record with the panic's own words, and the others pass.
func TestPanicParksOneRecord(t *testing.T) {
	c := shop.chain(t, new(states), guest{"broken", nil})
	out := apply(t, c, []bridge.Record{{Time: 1, Labels: labels("do=pass")}, {Time: 2, Labels: labels("do=panic")}, {Time: 3, Labels: labels("do=pass")}})
	if len(out.Messages) != 2 || len(out.Parked) != 1 || out.Parked[0].Time != 2 || !strings.Contains(out.Parked[0].Reason, "panic: at a loss") {
		t.Errorf("%s, want the second of three parked with panic: at a loss", text(out))
	}
}

// A Go module's garbage collector gets its turn: without that, a module like these dies of its memory limit after half a million records.
func TestManyRecordsInLittleMemory(t *testing.T) {
	config := table{"template": `{"a":{{field:a}},"n":{{label:n}}}`, "missing": "null"}
	c := shop.chain(t, new(states), guest{"reshape", config})
	rs := make([]bridge.Record, 1000)
	for i := range rs {
		rs[i] = bridge.Record{Time: int64(i), Payload: []byte(`{"a":"` + strings.Repeat("x", 100) + `"`)} // no JSON: parked with a text, which allocates
	}
	out := new(bridge.Results)
	for range 300 {
		out.Reset()
		if err := c.Apply(context.Background(), stream, rs, out); err != nil {
			t.Fatal(err)
		}
		if len(out.Parked) != len(rs) || !strings.Contains(out.Parked[0].Reason, "no JSON at byte") {
			t.Fatalf("%d of %d parked: %+v", len(out.Parked), len(rs), out.Parked[0].Reason)
		}
	}
}

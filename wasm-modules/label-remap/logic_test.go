package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/sluicebridge/sluice/runtime/abi"
	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// record has labels written as "name=value name=value".
func record(labels string) sluice.Record {
	var slots [][]byte
	for _, l := range strings.Fields(labels) {
		name, value, _ := strings.Cut(l, "=")
		slots = append(slots, []byte(name), []byte(value))
	}
	f := abi.Fields{Time: 1, Slots: slots}
	b := make([]byte, f.Size())
	if _, err := abi.PutRecord(b, &f); err != nil {
		panic(err)
	}
	return sluice.Record(b)
}

// labels plays the host: it applies an answer's changes to a record's labels.
func labels(t *testing.T, in string, out *sluice.Out) string {
	t.Helper()
	e, _, err := abi.ReadEntry(out.Bytes())
	if err != nil || e.Verdict != abi.Emit || e.Reason != 1 {
		t.Fatalf("%+v %v, want one output", e, err)
	}
	o, _, err := abi.ReadOutput(e.Body)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Fields(in)
	for b := o.Body; len(b) > 0; {
		var op abi.Op
		if op, b, err = abi.ReadOp(b); err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(all, func(l string) bool { return strings.HasPrefix(l, string(op.Key)+"=") })
		switch {
		case op.Code == abi.DeleteLabel:
			all = slices.Delete(all, at, at+1)
		case at < 0:
			all = append(all, string(op.Key)+"="+string(op.Value))
		default:
			all[at] = string(op.Key) + "=" + string(op.Value)
		}
	}
	return strings.Join(all, " ")
}

func TestRemap(t *testing.T) {
	const in = "axis=x device=press-7 rpm=1500 seq=7 tmp_a=1 tmp_b="
	for _, c := range []struct{ name, config, want string }{
		{"rename", `{"rename":{"rpm":"speed"}}`, "axis=x device=press-7 seq=7 tmp_a=1 tmp_b= speed=1500"},
		{"two exchange their names", `{"rename":{"rpm":"seq","seq":"rpm"},"drop":["tmp_*"]}`, "axis=x device=press-7 seq=1500 rpm=7"},
		{"rename to a name that is there: its place, the new value", `{"rename":{"rpm":"axis"}}`, "axis=1500 device=press-7 seq=7 tmp_a=1 tmp_b="},
		{"drop", `{"drop":["seq","tmp_*","none"]}`, "axis=x device=press-7 rpm=1500"},
		{"drop is by the old name", `{"drop":["rpm"],"rename":{"rpm":"speed","seq":"rpm"}}`, "axis=x device=press-7 tmp_a=1 tmp_b= rpm=7"},
		{"set", `{"drop":["t*"],"set":{"axis":"y","level":3,"live":true,"site":"a b"}}`, "axis=y device=press-7 rpm=1500 seq=7 level=3 live=true site=a b"},
		{"template", `{"allow":["channel"],"template":{"channel":"<{device}-{axis}>"}}`, "channel=<press-7-x>"},
		{"template of dropped and empty labels", `{"drop":["*"],"template":{"c":"{seq}/{tmp_b}"}}`, "c=7/"},
		{"template of a missing label is left out", `{"allow":["axis","c"],"template":{"c":"{device}-{none}"}}`, "axis=x"},
		{"template without labels", `{"drop":["*"],"template":{"c":"text"}}`, "c=text"},
		{"allow is by the new name", `{"rename":{"rpm":"speed"},"allow":["speed","rpm","dev*"]}`, "device=press-7 speed=1500"},
		{"drop all", `{"drop":["*"]}`, ""},
		{"escapes", `{"drop":["*"],"set":{"a\u00e9":"\"\\"}}`, `aé="\`},
	} {
		f, out := new(filter), new(sluice.Out)
		config, err := sluice.ParseJSON([]byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Init(config); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		out.Reset()
		f.Process(record(in), out)
		if got := labels(t, in, out); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestNothingToDo(t *testing.T) {
	for _, config := range []string{`{}`, `{"rename":{"x":"y"},"drop":["b*","aa"],"allow":["a"],"template":{"a":"{b}"}}`} {
		f := new(filter)
		if err := f.Init(sluice.JSON(config)); err != nil {
			t.Fatal(err)
		}
		if v := f.Process(record("a=1"), new(sluice.Out)); v != sluice.Pass {
			t.Errorf("%s: %#x, want PASS", config, int64(v))
		}
	}
}

func TestRulesRefuse(t *testing.T) {
	for _, c := range []struct{ config, want string }{
		{`{"rename":{"a":""}}`, "rename.a: want a new name"}, {`{"rename":{"a":1}}`, "rename.a"}, {`{"rename":{"":"a"}}`, "rename: a label without a name"},
		{`{"set":{"a":[]}}`, "set.a: want a text"}, {`{"set":{"a":null}}`, "set.a"}, {`{"template":{"a":""}}`, "template.a: want a text"},
		{`{"template":{"a":"{b"}}`, "template.a: a brace"}, {`{"template":{"a":"x{}"}}`, "template.a: a brace"}, {`{"template":{"a":1}}`, "template.a"},
		{`{"drop":[1]}`, "drop: 1, want a name"}, {`{"allow":[""]}`, `allow: "", want a name`},
	} {
		config, err := sluice.ParseJSON([]byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		if err := new(filter).Init(config); err == nil || !strings.Contains(err.Error(), c.want) {
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

const benchConfig = `{"rename":{"rpm":"speed"},"drop":["seq"],"set":{"source":"edge"},"template":{"channel":"{device}-{axis}"}}`

func TestRemapAllocatesNothing(t *testing.T) {
	f, out := new(filter), new(sluice.Out)
	if err := f.Init(sluice.JSON(benchConfig)); err != nil {
		t.Fatal(err)
	}
	r := record("axis=x device=press-7 line=2 prod_speed=180.0 rpm=1500.0 sensor=acc-1 seq=7 site=plant-1 stable=true status=0 unit=g")
	n := testing.AllocsPerRun(1000, func() {
		out.Reset()
		f.Process(r, out)
	})
	if n != 0 {
		t.Errorf("%v allocations a record, want 0", n)
	}
}

package reading

import (
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/runtime/abi"
	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// record is what the host would send of a record with these labels, as pairs.
func record(t *testing.T, payload string, pairs ...string) sluice.Record {
	t.Helper()
	f := abi.Fields{Payload: []byte(payload), PayloadLen: len(payload)}
	for _, p := range pairs {
		f.Slots = append(f.Slots, []byte(p))
	}
	b := make([]byte, f.Size())
	n, err := abi.PutRecord(b, &f)
	if err != nil {
		t.Fatal(err)
	}
	return sluice.Record(b[:n])
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		source, payload string
		labels          []string
		want            string // - where there is none
		text, json      string
	}{
		{"label:rpm", ``, []string{"axis", "x", "rpm", "1450"}, "1450", "1450", "1450"},
		{"label:rpm", ``, []string{"rpm", "+7"}, "+7", "+7", `"+7"`},
		{"label:rpm", ``, []string{"rpm", " 7"}, " 7", " 7", `" 7"`},
		{"label:site", ``, []string{"site", `no"rth`}, `no"rth`, `no"rth`, `"no\"rth"`},
		{"label:empty", ``, []string{"empty", ""}, "", "", `""`},
		{"label:gone", ``, []string{"site", "north"}, "-", "", ""},
		{"label:true", ``, []string{"true", "true"}, "true", "true", `"true"`},
		{"field:a.b", `{"a":{"b":1.50}}`, nil, "1.50", "1.50", "1.50"},
		{"field:id", `{"id":"g\u002d1"}`, nil, `"g\u002d1"`, "g-1", `"g\u002d1"`},
		{"field:on", `{"on":true}`, nil, "true", "true", "true"},
		{"field:gone", `{"on":true}`, nil, "-", "", ""},
		{"field:null", `{"null":null}`, nil, "-", "", ""},
	} {
		var r Reader
		i, err := r.Add(c.source)
		if err != nil {
			t.Fatal(err)
		}
		rec := record(t, c.payload, c.labels...)
		if err := r.Read(rec); err != nil {
			t.Fatalf("%s: %v", c.source, err)
		}
		v := r.Values[i]
		if v == nil || c.want == "-" {
			if v != nil || c.want != "-" {
				t.Errorf("%s of %v %s: %q, want %q", c.source, c.labels, c.payload, v, c.want)
			}
			continue
		}
		text, json := string(r.AppendText(nil, i, v)), string(r.AppendJSON(nil, i, v))
		if string(v) != c.want || text != c.text || json != c.json {
			t.Errorf("%s of %v %s: %s, text %s, JSON %s; want %s, %s, %s", c.source, c.labels, c.payload, v, text, json, c.want, c.text, c.json)
		}
	}
}

func TestRefuses(t *testing.T) {
	for _, text := range []string{"", "rpm", "label:", "field:", "Label:rpm"} {
		if _, err := new(Reader).Add(text); err == nil || !strings.Contains(err.Error(), "want label:NAME or field:PATH") {
			t.Errorf("%q: %v, want a refusal", text, err)
		}
	}
}

// A payload is looked at only where a field asks for it.
func TestPayloadThatIsNoJSON(t *testing.T) {
	var r Reader
	if _, err := r.Add("label:rpm"); err != nil {
		t.Fatal(err)
	}
	if err := r.Read(record(t, "waveform")); err != nil {
		t.Errorf("labels only: %v, want no look at the payload", err)
	}
	if _, err := r.Add("field:rpm"); err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{"waveform", ""} {
		if err := r.Read(record(t, payload)); err == nil || !strings.Contains(err.Error(), "payload: no JSON") {
			t.Errorf("payload %q: %v, want no JSON", payload, err)
		}
	}
}

func TestChoice(t *testing.T) {
	for _, c := range []struct{ config, want, fault string }{
		{`{}`, "json", ""}, {`{"output":"labels"}`, "labels", ""}, {`{"output":"xml"}`, "", "output: xml, want one of json labels"}, {`{"output":1}`, "", "output: , want one of"},
	} {
		got, err := Choice(sluice.JSON(c.config), "output", "json labels")
		if got != c.want || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %q, %v, want %q and %q", c.config, got, err, c.want, c.fault)
		}
	}
}

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/sluicebridge/sluice/runtime/abi"
	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// A full table's state fits what the host stores, twice: the windows of another configuration may be in it, too.
func TestStateIsBounded(t *testing.T) {
	for _, c := range []struct {
		fields           int
		window, lateness int64 // seconds
		rounds           int64
	}{{1, 60, 5, 6}, {4, 60, 5, 6}, {maxFields, 60, 5, 6}, {2, 1, 30, 100}, {1, 3600, 0, 4}} {
		text, labels := `"label:0|last,min"`, ""
		for i := range c.fields {
			if i > 0 {
				text += fmt.Sprintf(`,"label:%d"`, i)
			}
			labels += fmt.Sprintf(" %d=1.%s", i, strings.Repeat("0", maxLast-2))
		}
		f := configured(t, fmt.Sprintf(`{"key":"label:id","fields":[%s],"window":"%ds","lateness":"%ds","revise":"60s","idle":"0s"}`, text, c.window, c.lateness))
		largest := 0
		for i := range c.rounds {
			for k := range f.settings.limit {
				if v, _ := process(t, f, record(start+i*c.window*1e6, fmt.Sprintf("id=%0*d%s", maxKey, k, labels))); len(v) > 1 {
					t.Fatalf("%+v: key %d: %s", c, k, v)
				}
			}
			largest = max(largest, len(f.Save(nil)))
		}
		if limit := f.settings.limit; largest > maxState || limit < maxKeys && largest < maxState/3 {
			t.Errorf("%+v: %d keys took up to %d bytes, want at most %d and most of that", c, limit, largest, maxState)
		}
		if err := f.Load(f.Save(nil)); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// A changed configuration loses nothing of what was absorbed under the one before.
func TestStateOfAnotherConfiguration(t *testing.T) {
	const before = `{"key":"label:id","fields":["label:v|last,count","label:w"],"window":"10m","lateness":"0s","revise":"0s","output":"labels"}`
	f := configured(t, before)
	for second := int64(0); second < 600; second += 60 { // windows of ten minutes end at 420 and 1020
		process(t, f, record(start+second*1e6, fmt.Sprintf("id=a v=%d w=%d", second, second)))
	}
	state := f.Save(nil)
	for _, c := range []struct {
		name, config string
		want         []string // with records every minute for half an hour more
	}{
		{"the same", before, []string{"420 id=a v=960 v_count=10 w=540 revision=0 ", "1020 id=a v=1560 v_count=10 revision=0 ", "1620 id=a v=2160 v_count=10 revision=0 "}},
		{"other fields", `{"key":"label:id","fields":["label:x","label:v|count,max"],"window":"10m","lateness":"0s","revise":"0s","output":"labels"}`,
			[]string{"420 id=a v_count=10 v_max=960 revision=0 ", "1020 id=a v_count=10 v_max=1560 revision=0 ", "1620 id=a v_count=10 v_max=2160 revision=0 "}},
		{"a longer window", `{"key":"label:id","fields":["label:v|last,count"],"window":"15m","lateness":"0s","revise":"0s","output":"labels"}`,
			[]string{"420 id=a v=960 v_count=10 revision=0 ", "1020 id=a v=1860 v_count=15 revision=0 "}},
		{"a shorter window", `{"key":"label:id","fields":["label:v|last,count"],"window":"7m","lateness":"0s","revise":"0s","output":"labels"}`, nil},
	} {
		g, got, records := configured(t, c.config), []string(nil), 0
		if err := g.Load(state); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for second := int64(600); second <= 2400; second += 60 {
			_, outputs := process(t, g, record(start+second*1e6, fmt.Sprintf("id=a v=%d", second)))
			for _, o := range outputs {
				got = append(got, o.String())
				var n int
				if i := strings.Index(o.labels, "v_count="); i >= 0 {
					fmt.Sscanf(o.labels[i:], "v_count=%d", &n)
				}
				records += n
			}
			if err := g.Load(g.Save(nil)); err != nil {
				t.Fatalf("%s: its own state after second %d: %v", c.name, second, err)
			}
		}
		if c.want != nil && !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
		for _, w := range g.table.groups[0].windows {
			for i := range w.tallies {
				if g.settings.Sources[g.settings.fields[i].source].Name == "v" {
					records += int(w.tallies[i].count)
				}
			}
		}
		if want := 3 + 31; c.want == nil && records != want {
			t.Errorf("%s: %d records in all windows, want %d: %v", c.name, records, want, got)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	f := configured(t, lotConfig)
	process(t, f, record(start, "id=a v=1"))
	state := f.Save(nil)
	head := headSize + 8
	for n := 1; n < len(state); n++ {
		if err := f.Load(state[:n]); err == nil && n != head {
			t.Errorf("a state cut to %d of %d bytes was taken", n, len(state))
		}
	}
	if err := f.Load(append(slices.Clone(state), state[head:]...)); err == nil {
		t.Error("a key twice was taken")
	}
	if err := f.Load(nil); err != nil || len(f.table.groups) != 0 {
		t.Errorf("empty state: %v with %d keys, want none", err, len(f.table.groups))
	}
}

func FuzzLoad(f *testing.F) {
	g := configured(f, lotConfig)
	for _, r := range lot(1, 30) {
		g.Process(r.record, new(sluice.Out))
	}
	f.Add(g.Save(nil))
	f.Fuzz(func(t *testing.T, state []byte) {
		if g.Load(state) != nil || len(state) == 0 {
			return
		}
		saved := g.Save(nil)
		if err := g.Load(saved); err != nil {
			t.Fatalf("%q was taken, and its like %q is not: %v", state, saved, err)
		}
		if again := g.Save(nil); string(again) != string(saved) {
			t.Errorf("%q was taken as %q, and that as %q", state, saved, again)
		}
	})
}

func TestSettingsRefuse(t *testing.T) {
	for _, c := range []struct{ config, want string }{
		{`{}`, "fields: want 1 to 32"}, {`{"fields":["v"]}`, "fields: v, want label:NAME"}, {`{"fields":["label:v|sum"]}`, "label:v|sum, want last, min"},
		{`{"fields":["label:v","field:v"]}`, "two values are called v"}, {`{"fields":["label:v|last,last"]}`, "two values"}, {`{"fields":["label:revision"]}`, "two values"},
		{`{"fields":["label:v"],"key":"label:v"}`, "two values are called v"}, {`{"fields":["label:v"],"key":"v"}`, "key: v, want label:NAME"},
		{`{"fields":["label:v"],"window":"1"}`, "window: duration"}, {`{"fields":["label:v"],"window":"0s"}`, "window: too short"}, {`{"fields":["label:v"],"revise":"x"}`, "revise: duration"},
		{`{"fields":["label:v"],"idle":"1s"}`, "idle: shorter than lateness"}, {`{"fields":["label:v"],"window":"1ms","revise":"1h"}`, "window: lateness and revise keep 3605002 windows"},
		{`{"fields":["label:v"],"output":"xml"}`, "output: xml, want one of json labels"}, {`{"fields":["label:v"],"time":"now"}`, "time: now, want"},
		{`{"fields":["label:v"],"missing":"null"}`, "missing: null, want"}, {`{"fields":["label:v"],"alarm_field":"label:v"}`, "want alarm_below or alarm_above"},
		{`{"fields":["label:v"],"alarm_field":"label:w","alarm_below":1}`, "alarm_field: label:w, want one of fields"},
		{`{"fields":["label:v"],"alarm_field":"label:v","alarm_below":1,"alarm_of":"count"}`, "alarm_of: count, want"},
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
	if len(m.Reasons) != int(taken) {
		t.Errorf("%d reasons, want %d", len(m.Reasons), taken)
	}
}

package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/sluicebridge/sluice/runtime/abi"
	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// start is when the tests' first record was made.
const start = int64(1_700_000_000_000_000)

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

// record is what the host would send; labels are "name=value ...", payload what is JSON at the end of them.
func record(seconds float64, text string) sluice.Record {
	at := strings.IndexByte(text+"{", '{')
	f := abi.Fields{Time: start + int64(seconds*1e6), Entry: []byte("press"), Payload: []byte(text[at:]), PayloadLen: len(text) - at}
	for _, l := range strings.Fields(text[:at]) {
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

// letter of what became of a record: P(assed), u(nchanged), p(arked).
func letter(f *filter, r sluice.Record) byte {
	switch f.Process(r, new(sluice.Out)) {
	case sluice.Pass:
		return 'P'
	case sluice.Drop(unchanged):
		return 'u'
	}
	return 'p'
}

// Each text is a record, a second after the one before, or where it begins with @N at second N.
func TestNews(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	for _, c := range []struct {
		name, config string
		records      []string
		want         string
	}{
		{"a text, any change", `{"fields":["label:status"]}`, []string{"status=run", "status=run", "status=stop", "status=stop", "status=run"}, "PuPuP"},
		{"a number, any change", `{"fields":["label:t"]}`, []string{"t=1", "t=1.0", "t=1.00", "t=1.01"}, "PuuP"},
		{"within the deadband, which is about what was sent", `{"fields":["label:t|0.5"]}`, []string{"t=20", "t=20.3", "t=20.5", "t=20.6", "t=20.2"}, "PuuPu"},
		{"creeping", `{"fields":["label:t|1"]}`, []string{"t=0", "t=0.4", "t=0.8", "t=1.2", "t=1.6", "t=2.0", "t=2.4"}, "PuuPuuP"},
		{"a percentage", `{"fields":["label:t|10%"]}`, []string{"t=100", "t=110", "t=110.1", "t=100", "t=99"}, "PuPuP"},
		{"a percentage of a negative number, and of 0", `{"fields":["label:t|10%"]}`, []string{"t=-100", "t=-109", "t=0", "t=0", "t=0.01"}, "PuPuP"},
		{"a number that becomes a text, and back", `{"fields":["label:t|5"]}`, []string{"t=1", "t=err", "t=err", "t=1"}, "PPuP"},
		{"one of many fields", `{"fields":["label:a|1","field:b.c|1"]}`, []string{`a=1 {"b":{"c":5}}`, `a=1.5 {"b":{"c":6}}`, `a=1.5 {"b":{"c":6.1}}`, `a=2.1 {"b":{"c":6}}`},
			"PuPu"},
		{"a field that is not in every record", `{"fields":["label:a","label:b"]}`, []string{"a=1", "a=1 b=1", "b=1", "a=1", "b=2", "a=2 b=2"}, "PPuuPP"},
		{"none of the fields", `{"fields":["label:a"]}`, []string{"a=1", "b=1", "b=1", "a=1"}, "PPPu"},
		{"null is none", `{"fields":["field:a"]}`, []string{`{"a":1}`, `{"a":null}`, `{"a":1}`}, "PPu"},
		{"an empty label is a value", `{"fields":["label:a"]}`, []string{"a=", "a=", "a=0"}, "PuP"},
		{"no JSON", `{"fields":["field:a"]}`, []string{`{"a":1}`, `{"a":`, `{"a":1}`}, "Ppu"},
		{"objects are compared as they are written", `{"fields":["field:a"]}`, []string{`{"a":{"b":1}}`, `{"a":{"b":1}}`, `{"a":{"b":2}}`}, "PuP"},
		{"keys", `{"key":"label:id","fields":["label:t"]}`, []string{"id=a t=1", "id=b t=1", "id=a t=1", "id=b t=2", "id=a t=1", "t=1", "t=1"}, "PPuPuPu"},
		{"a key of the payload", `{"key":"field:id","fields":["field:t|1"]}`, []string{`{"id":7,"t":1}`, `{"id":"7","t":1}`, `{"id":7,"t":2}`, `{"id":7,"t":3}`}, "PPuP"},
		{"a long key is not compared", `{"key":"label:id","fields":["label:t"]}`, []string{"t=1 id=" + long, "t=1 id=" + long}, "PP"},
		{"a long text is not compared", `{"fields":["label:t"]}`, []string{"t=" + long, "t=" + long, "t=1", "t=1", "t=" + long}, "PPPuP"},
		{"silence", `{"fields":["label:t"],"max_silence":"3s"}`, []string{"t=1", "t=1", "t=1", "t=1", "t=1", "t=1", "t=1"}, "PuuPuuP"},
		{"silence is counted from what was sent", `{"fields":["label:t"],"max_silence":"3s"}`, []string{"t=1", "t=1", "t=2", "t=2", "t=2", "t=2"}, "PuPuuP"},
		{"silence of each key", `{"key":"label:id","fields":["label:t"],"max_silence":"3s"}`, []string{"id=a t=1", "id=b t=1", "@3 id=a t=1", "@3 id=b t=1", "@4 id=b t=1"}, "PPPuP"},
		{"silence passes the values, too", `{"fields":["label:t|1"],"max_silence":"2s"}`, []string{"t=1", "t=1.6", "t=1.8", "t=2.6", "@9 t=2.9"}, "PuPuP"},
		{"late passes and changes nothing", `{"fields":["label:t"]}`, []string{"t=1", "@10 t=2", "@5 t=2", "@6 t=1", "@11 t=2"}, "PPPPu"},
		{"late, but not before what was sent", `{"fields":["label:t"]}`, []string{"t=1", "@10 t=1", "@5 t=1", "@5 t=2", "@5 t=2"}, "PuuPu"},
	} {
		f := configured(t, c.config)
		got := ""
		for i, text := range c.records {
			at := float64(i)
			if text[0] == '@' {
				n, rest, _ := strings.Cut(text[1:], " ")
				at, _ = sluice.Float([]byte(n))
				text = rest
			}
			got += string(letter(f, record(at, text)))
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// The key that was silent the longest makes room for a new one: its next record passes, and no other's.
func TestMostKeys(t *testing.T) {
	f := configured(t, `{"key":"label:id","fields":["label:t"]}`)
	f.settings.limit = 3
	got := ""
	for i, id := range []string{"a", "b", "c", "a", "b", "c", "a", "d", "a", "c", "b"} { // b is silent the longest when d comes, then d
		got += string(letter(f, record(float64(i), "t=1 id="+id)))
	}
	if want := "PPPuuuuPuuP"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if n := len(f.table.entries); n != 3 || len(f.table.places) != 3 {
		t.Errorf("%d entries in %d places, want 3", n, len(f.table.places))
	}
}

// lot is a long stream of many keys, with repeats, late records and fields left out.
func lot(seed uint64, n int) (rs []sluice.Record) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	for i := range n {
		at := float64(i)
		if rnd.IntN(10) == 0 {
			at -= float64(rnd.IntN(20))
		}
		text := fmt.Sprintf("id=%d", rnd.IntN(6))
		if rnd.IntN(5) > 0 {
			text += fmt.Sprintf(" temp=%.1f", 20+rnd.Float64())
		}
		if rnd.IntN(3) == 0 {
			text += " status=" + []string{"run", "stop", "", strings.Repeat("long", 20)}[rnd.IntN(4)]
		}
		rs = append(rs, record(at, text))
	}
	return rs
}

// Wherever batches end and whoever processes the next one, the same records pass (rule 4): the state is saved and loaded at any of them.
func TestRestartAtAnyBatch(t *testing.T) {
	const config = `{"key":"label:id","fields":["label:temp|0.3","label:status"],"max_silence":"30s"}`
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		whole, parted := configured(t, config), configured(t, config)
		whole.settings.limit, parted.settings.limit = 5, 5
		for i, r := range lot(seed, 400) {
			if rnd.IntN(7) == 0 {
				state := parted.Save(nil)
				if rnd.IntN(2) == 0 {
					parted = configured(t, config)
					parted.settings.limit = 5
				}
				if err := parted.Load(state); err != nil {
					t.Fatalf("seed %d, record %d: %v", seed, i, err)
				}
				if again := parted.Save(nil); string(again) != string(state) {
					t.Fatalf("seed %d, record %d: state\n%q, loaded and saved\n%q", seed, i, state, again)
				}
			}
			if want, got := letter(whole, r), letter(parted, r); got != want {
				t.Fatalf("seed %d, record %d: %c, want %c", seed, i, got, want)
			}
		}
	}
}

// The largest state fits the host's limit.
func TestStateIsBounded(t *testing.T) {
	for _, fields := range []int{1, 5, maxFields} {
		config := `{"key":"label:id","fields":["label:0"`
		labels := ""
		for i := range fields {
			if i > 0 {
				config += fmt.Sprintf(`,"label:%d"`, i)
			}
			labels += fmt.Sprintf(" %d=%s", i, strings.Repeat("v", maxText))
		}
		f := configured(t, config+"]}")
		for i := range f.settings.limit + 10 {
			f.Process(record(float64(i), fmt.Sprintf("id=%0*d%s", maxText, i, labels)), new(sluice.Out))
		}
		state := f.Save(nil)
		if n := len(f.table.entries); n != f.settings.limit || len(state) > abi.MaxState {
			t.Errorf("%d fields: %d keys in %d bytes, want %d in at most %d", fields, n, len(state), f.settings.limit, abi.MaxState)
		}
		if err := f.Load(state); err != nil {
			t.Errorf("%d fields: %v", fields, err)
		}
	}
}

func TestStateOfOtherFields(t *testing.T) {
	f := configured(t, `{"fields":["label:t"]}`)
	f.Process(record(0, "t=1"), new(sluice.Out))
	state := f.Save(nil)
	for _, config := range []string{`{"fields":["label:u"]}`, `{"fields":["label:t","label:u"]}`, `{"fields":["label:t"],"key":"label:id"}`} {
		g := configured(t, config)
		if err := g.Load(state); err != nil || len(g.table.entries) != 0 {
			t.Errorf("%s: %v with %d keys, want it to begin anew", config, err, len(g.table.entries))
		}
	}
	g := configured(t, `{"fields":["label:t|5"],"max_silence":"1h"}`)
	if err := g.Load(state); err != nil || len(g.table.entries) != 1 {
		t.Errorf("another deadband: %v with %d keys, want it to go on", err, len(g.table.entries))
	}
}

func TestLoadRefuses(t *testing.T) {
	f := configured(t, `{"key":"label:id","fields":["label:t"]}`)
	f.Process(record(0, "t=1 id=a"), new(sluice.Out))
	state := f.Save(nil)
	for n := 1; n < len(state); n++ {
		if n != stateHead {
			if err := f.Load(state[:n]); err == nil {
				t.Errorf("a state cut to %d of %d bytes was taken", n, len(state))
			}
		}
	}
	if err := f.Load(append(state[:len(state):len(state)], state[stateHead:]...)); err == nil {
		t.Error("a key twice was taken")
	}
	if err := f.Load(nil); err != nil || len(f.table.entries) != 0 {
		t.Errorf("empty state: %v with %d keys, want none", err, len(f.table.entries))
	}
}

func FuzzLoad(f *testing.F) {
	g := configured(f, `{"key":"label:id","fields":["label:t","label:u"]}`)
	g.Process(record(0, "t=1 id=a"), new(sluice.Out))
	f.Add(g.Save(nil))
	f.Fuzz(func(t *testing.T, state []byte) {
		if g.Load(state) == nil && len(g.table.entries) > 0 {
			if again := g.Save(nil); string(again) != string(state) {
				t.Errorf("%q was taken as %q", state, again)
			}
		}
	})
}

func TestSettingsRefuse(t *testing.T) {
	for _, c := range []struct{ config, want string }{
		{`{}`, "fields: want 1 to 32"}, {`{"fields":[]}`, "fields: want 1 to 32"}, {`{"fields":["t"]}`, "fields: t, want label:NAME"},
		{`{"fields":["label:t|x"]}`, "fields: label:t|x, want a deadband"}, {`{"fields":["label:t|-1"]}`, "want a deadband"}, {`{"fields":["label:t|%"]}`, "want a deadband"},
		{`{"fields":["label:t"],"key":"id"}`, "key: id, want label:NAME"}, {`{"fields":["label:t"],"max_silence":"soon"}`, "max_silence: duration"},
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

func TestAllocatesNothing(t *testing.T) {
	f, out := configured(t, `{"key":"label:id","fields":["label:t|0.5","label:s"]}`), new(sluice.Out)
	rs := []sluice.Record{record(0, "id=a t=1 s=run"), record(1, "id=b t=5 s=run"), record(2, "id=a t=2 s=stop"), record(3, "id=c t=2.1 s=stop")}
	state := []byte(nil)
	n := testing.AllocsPerRun(1000, func() {
		for _, r := range rs {
			f.Process(r, out)
		}
		state = f.Save(state[:0])
		if err := f.Load(state); err != nil {
			t.Fatal(err)
		}
	})
	if n > 3 { // the map's keys are made again by Load, nothing else is
		t.Errorf("%v allocations for a batch of 4 records with 3 keys, want 3", n)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/runtime/abi"
	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// start is a full minute.
const start = int64(1_699_999_980_000_000)

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

// record is what the host would send; text is labels, "name=value ...", and a payload of JSON behind them.
func record(time int64, text string) sluice.Record {
	at := strings.IndexByte(text+"{", '{')
	f := abi.Fields{Time: time, Entry: []byte("plant"), Payload: []byte(text[at:]), PayloadLen: len(text) - at}
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

// output is one window as it was given out.
type output struct {
	time    int64
	labels  string
	payload string
}

func (o output) String() string {
	return fmt.Sprintf("%d %s%s", (o.time-start)/1e6, o.labels, o.payload)
}

// process returns what a record became: a(bsorbed), e(mitted), l(ate), n(o fields), m(issing key), or the text of a parked one.
func process(tb testing.TB, f *filter, r sluice.Record) (verdict string, outputs []output) {
	tb.Helper()
	out := new(sluice.Out)
	switch v := f.Process(r, out); v {
	case sluice.Absorb:
		return "a", nil
	case sluice.Drop(tooLate):
		return "l", nil
	case sluice.Drop(noFields):
		return "n", nil
	case sluice.Drop(missingKey):
		return "m", nil
	}
	e, outputs := emitted(tb, out, r.Time())
	if e.Verdict == abi.Park {
		return string(e.Body), nil
	}
	return "e", outputs
}

// emitted reads an answer in memory.
func emitted(tb testing.TB, out *sluice.Out, time int64) (e abi.Entry, outputs []output) {
	tb.Helper()
	e, rest, err := abi.ReadEntry(out.Bytes())
	if err != nil || len(rest) > 0 {
		tb.Fatalf("answer: %v, %d bytes behind it", err, len(rest))
	}
	for body := e.Body; e.Verdict == abi.Emit && len(body) > 0; {
		var o abi.Output
		if o, body, err = abi.ReadOutput(body); err != nil {
			tb.Fatal(err)
		}
		outputs = append(outputs, read(tb, o, time))
	}
	return e, outputs
}

func read(tb testing.TB, o abi.Output, time int64) output {
	tb.Helper()
	got, op := output{time: time}, abi.Op{}
	for range o.Ops {
		if err := o.Next(&op); err != nil {
			tb.Fatal(err)
		}
		switch op.Code {
		case abi.SetTime:
			got.time = op.Time()
		case abi.SetLabel:
			got.labels += string(op.Key) + "=" + string(op.Value) + " "
		case abi.SetPayload:
			got.payload = string(op.Value)
		}
	}
	return got
}

// Each text is a record behind its second: "61 id=a fuel=7". want is a verdict for each, and then what was given out, each with the second it is for.
func TestWindows(t *testing.T) {
	const config = `"output":"labels","window":"10s","lateness":"2s","revise":"5s"`
	const keyed = `{"key":"label:id","fields":["label:v|last,count"],"idle":"20s",` + config + `}`
	for _, c := range []struct {
		name, config string
		records      []string
		verdicts     string
		want         []string
	}{
		{"a window is given out when a record is lateness beyond its end", `{"fields":["label:v|last,min,max,mean,count"],` + config + `}`,
			[]string{"0 v=1", "5 v=4", "9 v=2.50", "10 v=9", "11 v=9", "12 v=9"}, "aaaaae",
			[]string{"0 v=2.50 v_min=1 v_max=4 v_mean=2.5 v_count=3 revision=0 "}},
		{"a late record before that is one of it", `{"fields":["label:v|last,count"],` + config + `}`, []string{"1 v=1", "11 v=2", "9 v=3", "12 v=4"}, "aaae",
			[]string{"0 v=3 v_count=2 revision=0 "}},
		{"the last is the youngest, and of two of one time the one that came later", `{"fields":["label:v"],` + config + `}`, []string{"5 v=1", "5 v=2", "3 v=3", "12 v=4"}, "aaae",
			[]string{"0 v=2 revision=0 "}},
		{"late records after that make one revision", `{"fields":["label:v|last,count"],` + config + `}`,
			[]string{"0 v=1", "12 v=2", "9 v=3", "8 v=4", "16 v=5", "17 v=6"}, "aeaaae", []string{"0 v=1 v_count=1 revision=0 ", "0 v=3 v_count=3 revision=1 "}},
		{"no revision without late records", `{"fields":["label:v"],` + config + `}`, []string{"0 v=1", "12 v=2", "17 v=3", "22 v=4"}, "aeae",
			[]string{"0 v=1 revision=0 ", "10 v=3 revision=0 "}},
		{"later than that is dropped", `{"fields":["label:v|count"],` + config + `}`, []string{"0 v=1", "17 v=2", "9 v=3", "10 v=4", "22 v=5"}, "aelae",
			[]string{"0 v_count=1 revision=0 ", "10 v_count=2 revision=0 "}},
		{"a late window that there was not yet", `{"fields":["label:v|count"],` + config + `}`, []string{"13 v=1", "9 v=2", "8 v=3", "17 v=4"}, "aeae",
			[]string{"0 v_count=1 revision=0 ", "0 v_count=2 revision=1 "}},
		{"a gap", `{"fields":["label:v"],` + config + `}`, []string{"0 v=1", "95 v=2", "200 v=3"}, "aee", []string{"0 v=1 revision=0 ", "90 v=2 revision=0 "}},
		{"windows of many ends at once, in their order", `{"fields":["label:v"],"window":"10s","lateness":"50s","revise":"0s","output":"labels"}`,
			[]string{"25 v=3", "15 v=2", "5 v=1", "100 v=4"}, "aaae", []string{"0 v=1 revision=0 ", "10 v=2 revision=0 ", "20 v=3 revision=0 "}},
		{"no lateness, no revision", `{"fields":["label:v"],"window":"10s","lateness":"0s","revise":"0s","output":"labels"}`, []string{"0 v=1", "10 v=2", "9 v=3"}, "ael",
			[]string{"0 v=1 revision=0 "}},
		{"keys have their own time", keyed, []string{"0 id=a v=1", "25 id=b v=2", "1 id=a v=3", "12 id=a v=4", "50 id=a v=5"}, "aaaee",
			[]string{"0 id=a v=3 v_count=2 revision=0 ", "10 id=a v=4 v_count=1 revision=0 ", "20 id=b v=2 v_count=1 revision=0 "}},
		{"a silent key's window is given out when it is idle", keyed, []string{"0 id=a v=1", "29 id=b v=2", "30 id=b v=3", "9 id=a v=4", "35 id=b v=5"}, "aaeae",
			[]string{"0 id=a v=1 v_count=1 revision=0 ", "0 id=a v=4 v_count=2 revision=1 ", "20 id=b v=2 v_count=1 revision=0 "}},
		{"never without idle", `{"key":"label:id","fields":["label:v"],"idle":"0s",` + config + `}`, []string{"0 id=a v=1", "5000 id=b v=2", "12 id=a v=3"}, "aae",
			[]string{"0 id=a v=1 revision=0 "}},
		{"a record before all that is idle", keyed, []string{"100 id=a v=1", "50 id=b v=2", "70 id=b v=2"}, "ale", []string{"70 id=b v=2 v_count=1 revision=0 "}},
		{"a field that is not in every record", `{"fields":["label:v|last,count","label:w|mean,count","label:s"],` + config + `}`, []string{"0 v=1", "1 w=2", "2 v=3 s=run", "12 v=1"}, "aaae",
			[]string{"0 v=3 v_count=2 w_mean=2 w_count=1 s=run revision=0 "}},
		{"values that are no numbers", `{"fields":["label:v|last,min,mean,count"],` + config + `}`, []string{"0 v=1", "1 v=off", "12 v=x", "22 v=1"}, "aaee",
			[]string{"0 v=off v_min=1 v_mean=1 v_count=2 revision=0 ", "10 v=x v_count=1 revision=0 "}},
		{"none of the fields: it counts as time", `{"fields":["label:v"],` + config + `}`, []string{"0 w=1", "1 v=1", "5 w=1", "12 w=1"}, "nane", []string{"0 v=1 revision=0 "}},
		{"JSON", `{"key":"field:id","fields":["field:fuel|last,min","field:state","label:site","field:gone|last,mean"],"window":"10s","lateness":"0s","alarm_field":"field:fuel","alarm_below":20}`,
			[]string{`0 site=north {"id":"g\"1","fuel":21.50}`, `1 site=7 {"id":"g\"1","fuel":19,"state":"run"}`, `10 {"id":"g\"1","fuel":50}`}, "aae",
			[]string{`0 id=g"1 {"id":"g\"1","start":1699999980000000,"end":1699999990000000,"fuel":19,"fuel_min":19,"state":"run","site":7,"gone":null,"gone_mean":null,"alarm":true,"revision":0}`}},
		{"alarm of the mean, above", `{"fields":["label:v|mean"],"alarm_field":"label:v","alarm_of":"mean","alarm_above":5,` + config + `}`,
			[]string{"0 v=4", "1 v=6", "12 v=6", "22 v=off", "32 v=1"}, "aaeee", []string{"0 v_mean=5 alarm=false revision=0 ", "10 v_mean=6 alarm=true revision=0 ", "20 revision=0 "}},
		{"no key", `{"key":"label:id","fields":["label:v"],` + config + `}`, []string{"0 v=1"}, "no label:id", nil},
		{"no key is dropped", `{"key":"label:id","fields":["label:v"],"missing":"drop",` + config + `}`, []string{"0 v=1"}, "m", nil},
		{"no JSON", `{"fields":["field:v"],` + config + `}`, []string{"0 {"}, "payload: no JSON at byte 1", nil},
		{"a long value", `{"fields":["label:v"],` + config + `}`, []string{"0 v=" + strings.Repeat("x", 33)}, "v: 33 bytes, at most 32 are kept", nil},
		{"a long key", `{"key":"label:id","fields":["label:v"],` + config + `}`, []string{"0 v=1 id=" + strings.Repeat("x", 65)}, "label:id: 65 bytes, at most 64 are kept", nil},
		{"the end as time", `{"time":"end","fields":["label:v"],` + config + `}`, []string{"0 v=1", "12 v=2"}, "ae", []string{"10 v=1 revision=0 "}},
		{"the record's time", `{"time":"record","fields":["label:v"],` + config + `}`, []string{"0 v=1", "12 v=2"}, "ae", []string{"12 v=1 revision=0 "}},
	} {
		f, verdicts, got := configured(t, c.config), "", []string(nil)
		for _, text := range c.records {
			second, rest, _ := strings.Cut(text, " ")
			at, _ := sluice.Float([]byte(second))
			v, outputs := process(t, f, record(start+int64(at*1e6), rest))
			verdicts += v
			for _, o := range outputs {
				got = append(got, o.String())
			}
		}
		if verdicts != c.verdicts || !slices.Equal(got, c.want) {
			t.Errorf("%s: %s\n%s\nwant %s\n%s", c.name, verdicts, strings.Join(got, "\n"), c.verdicts, strings.Join(c.want, "\n"))
		}
	}
}

// The windows are those that pandas makes of the same readings (testdata/reference.py).
func TestAgainstPandas(t *testing.T) {
	var reference struct {
		Rows, Windows []map[string]any
	}
	b, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &reference); err != nil {
		t.Fatal(err)
	}
	f := configured(t, `{"key":"field:key","fields":["field:fuel|last,min,max,mean,count","field:rpm|last,min,max,mean,count","field:state"],"window":"1m","lateness":"10s","revise":"0s"}`)
	got := make(map[string]map[string]any)
	take := func(r sluice.Record) {
		_, outputs := process(t, f, r)
		for _, o := range outputs {
			var w map[string]any
			if err := json.Unmarshal([]byte(o.payload), &w); err != nil {
				t.Fatalf("%s: %v", o.payload, err)
			}
			name := fmt.Sprint(w["key"], int64(w["start"].(float64)))
			if got[name] != nil || w["revision"] != 0.0 {
				t.Errorf("window %s twice, or revised: %v", name, w)
			}
			got[name] = w
		}
	}
	for _, row := range reference.Rows {
		payload, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		take(record(int64(row["time"].(float64)), string(payload)))
	}
	take(record(start+1e15, `{"key":"end","fuel":1}`)) // ends them all
	for _, want := range reference.Windows {
		name := fmt.Sprint(want["key"], int64(want["start"].(float64)))
		w := got[name]
		for field, value := range want {
			a, b := w[field], value
			x, number := a.(float64)
			y, _ := b.(float64)
			if a != b && !(number && math.Abs(x-y) <= 1e-12*math.Abs(y)) {
				t.Errorf("window %s: %s is %v, want %v", name, field, a, b)
			}
		}
		delete(got, name)
	}
	if len(got) > 0 || len(reference.Windows) < 40 {
		t.Errorf("windows that pandas has not: %v, of %d", got, len(reference.Windows))
	}
}

// sample is a record of lot as the model sees it.
type sample struct {
	time    int64
	key     string
	value   float64
	noValue bool
	record  sluice.Record
}

// lot is a long stream of keys that fall silent, lag and come back.
func lot(seed uint64, n int) (rs []sample) {
	rnd, at := rand.New(rand.NewPCG(seed, 0)), 0
	for range n {
		at += rnd.IntN(3)
		if rnd.IntN(100) == 0 {
			at += rnd.IntN(300)
		}
		r := sample{key: fmt.Sprint("k", rnd.IntN(1+at/100%7)), value: float64(rnd.IntN(1000)), noValue: rnd.IntN(20) == 0}
		r.time = start + int64(at-rnd.IntN(1+rnd.IntN(40)))*1e6
		text := fmt.Sprintf("id=%s v=%v", r.key, r.value)
		if r.noValue {
			text = "id=" + r.key
		}
		r.record = record(r.time, text)
		rs = append(rs, r)
	}
	return rs
}

const lotConfig = `{"key":"label:id","fields":["label:v|last,min,max,mean,count"],"window":"10s","lateness":"4s","revise":"15s","idle":"60s","output":"labels"}`

// Wherever batches end and whoever processes the next one, the same comes out (rule 4): the state is saved and loaded at any of them.
func TestRestartAtAnyBatch(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		whole, parted := configured(t, lotConfig), configured(t, lotConfig)
		whole.settings.limit, parted.settings.limit = 4, 4
		for i, r := range lot(seed, 1000) {
			if rnd.IntN(7) == 0 {
				state := parted.Save(nil)
				if rnd.IntN(2) == 0 {
					parted = configured(t, lotConfig)
					parted.settings.limit = 4
				}
				if err := parted.Load(state); err != nil {
					t.Fatalf("seed %d, record %d: %v", seed, i, err)
				}
				if again := parted.Save(nil); string(again) != string(state) {
					t.Fatalf("seed %d, record %d: state\n%q, loaded and saved\n%q", seed, i, state, again)
				}
			}
			want, wants := process(t, whole, r.record)
			got, gots := process(t, parted, r.record)
			if got != want || !slices.Equal(gots, wants) {
				t.Fatalf("seed %d, record %d: %s %v, want %s %v", seed, i, got, gots, want, wants)
			}
		}
	}
}

// What is given out is, each time, all that was taken of the window until then: nothing is lost, nothing counted twice, and no window is given out more
// than twice. The model keeps every reading.
func TestNothingIsLost(t *testing.T) {
	type window struct {
		values  []sample
		given   int
		pending bool // something was taken since it was given out
	}
	for seed := range uint64(50) {
		f, model := configured(t, lotConfig), make(map[string]*window)
		late, revised := 0, 0
		take := func(r sample) {
			// Taken before what it ends is given out, its own window perhaps among that.
			name := fmt.Sprint(r.key, " ", (r.time-start)/10e6)
			if r.time < start {
				name = fmt.Sprint(r.key, " ", (r.time-start-10e6+1)/10e6)
			}
			w := model[name]
			if w == nil {
				w = new(window)
				model[name] = w
			}
			before := *w
			if !r.noValue {
				w.values, w.pending = append(w.values, r), true
			}
			v, outputs := process(t, f, r.record)
			if v == "l" {
				*w = before
				late++
			}
			for _, o := range outputs {
				key, _, _ := strings.Cut(strings.TrimPrefix(o.labels, "id="), " ")
				at := (o.time - start) / 10e6
				w := model[fmt.Sprint(key, " ", at)]
				if want := expected(key, w.values, w.given); o.labels != want {
					t.Fatalf("seed %d, window %d: %s, want %s", seed, at, o.labels, want)
				}
				if w.given++; w.given > 2 || !w.pending {
					t.Fatalf("seed %d: window %s %d given out %d times, something new: %v", seed, key, at, w.given, w.pending)
				}
				if w.pending = false; w.given > 1 {
					revised++
				}
			}
		}
		for _, r := range lot(seed, 1000) {
			take(r)
		}
		take(sample{time: start + 1e12, key: "end", value: 1, record: record(start+1e12, "id=end v=1")})
		for name, w := range model {
			if w.pending && !strings.HasPrefix(name, "end") {
				t.Errorf("seed %d: window %s was never given out with all of its %d records", seed, name, len(w.values))
			}
		}
		if late == 0 || revised == 0 {
			t.Errorf("seed %d: %d records too late and %d windows revised, want some of each", seed, late, revised)
		}
	}
}

// expected is what a window of these readings says.
func expected(key string, rs []sample, revision int) string {
	last, low, high, sum := rs[0], rs[0].value, rs[0].value, 0.0
	for _, r := range rs {
		if r.time >= last.time {
			last = r
		}
		low, high, sum = min(low, r.value), max(high, r.value), sum+r.value
	}
	text := sluice.AppendFloat(nil, sum/float64(len(rs)), -1)
	return fmt.Sprintf("id=%s v=%v v_min=%v v_max=%v v_mean=%s v_count=%d revision=%d ", key, last.value, low, high, text, len(rs), revision)
}

// A tick and a shutdown end no window. Where the state is not handed over, all that is open is given out, once.
func TestBetween(t *testing.T) {
	f := configured(t, `{"key":"label:id","fields":["label:v|last,count"],"window":"10s","lateness":"0s","revise":"60s","output":"labels"}`)
	for _, r := range []string{"id=a v=1", "id=b v=2", "id=a v=3"} {
		process(t, f, record(start, r))
	}
	process(t, f, record(start+10e6, "id=a v=4")) // a's first window is given out
	process(t, f, record(start+1e6, "id=a v=5"))  // and changed since
	state := f.Save(nil)
	for _, why := range []sluice.Reason{sluice.Tick, sluice.Tick, sluice.Shutdown} {
		if v := f.Between(why, new(sluice.Out)); v != sluice.Pass || string(f.Save(nil)) != string(state) {
			t.Errorf("flush for reason %d: %#x, or another state", why, int64(v))
		}
	}
	out := new(sluice.Out)
	f.Between(sluice.Swap, out)
	_, outputs := emitted(t, out, start)
	want := []string{"0 id=a v=5 v_count=3 revision=1 ", "10 id=a v=4 v_count=1 revision=0 ", "0 id=b v=2 v_count=1 revision=0 "}
	got := []string(nil)
	for _, o := range outputs {
		got = append(got, o.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("at a swap:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if v := f.Between(sluice.Swap, new(sluice.Out)); v != sluice.Pass {
		t.Errorf("a second time: %#x, want nothing", int64(v))
	}
}

// More keys than fit are parked before they change anything, and fit again when others have gone.
func TestMostKeys(t *testing.T) {
	f := configured(t, `{"key":"label:id","fields":["label:v"],"window":"10s","lateness":"0s","revise":"0s","idle":"30s","output":"labels"}`)
	f.settings.limit = 2
	got := ""
	for _, r := range []struct {
		second int64
		text   string
	}{{0, "id=a v=1"}, {1, "id=b v=1"}, {2, "id=c v=1"}, {35, "id=b v=1"}, {36, "id=c v=1"}, {40, "id=b v=2"}, {41, "id=c v=2"}} {
		v, _ := process(t, f, record(start+r.second*1e6, r.text))
		got += v + ";"
	}
	if want := "a;a;label:id: more than 2 keys at once;e;label:id: more than 2 keys at once;e;a;"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAbsorbingAllocatesNothing(t *testing.T) {
	f, out := configured(t, `{"key":"field:id","fields":["field:fuel|last,min,max,mean,count","field:rpm","label:site"],"window":"1m","lateness":"0s"}`), new(sluice.Out)
	rs := []sluice.Record{record(start, `site=north {"id":"g-1","fuel":51.2,"rpm":1500}`), record(start+1, `site=north {"id":"g-2","fuel":51.3,"rpm":1501}`)}
	state := []byte(nil)
	n := testing.AllocsPerRun(1000, func() {
		for _, r := range rs {
			if f.Process(r, out) != sluice.Absorb {
				t.Fatal("want it absorbed")
			}
		}
		state = f.Save(state[:0])
	})
	if n != 0 {
		t.Errorf("%v allocations a batch of 2 records, want 0", n)
	}
}

func BenchmarkAbsorb(b *testing.B) {
	f, out := configured(b, `{"key":"field:id","fields":["field:fuel|last,min,max,mean","field:rpm"],"window":"1m"}`), new(sluice.Out)
	r := record(start, `{"id":"g-1","fuel":51.2,"rpm":1500}`)
	for b.Loop() {
		f.Process(r, out)
	}
}

package guests

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/golden"
	"github.com/sluicebridge/sluice/runtime/host"
)

// script loads a filter in JavaScript, named filter.js. Where the engine is not built the test is skipped, or fails under E2E=require.
func (w *workshop) script(tb testing.TB, rt *host.Runtime, text string, cfg host.Config) (*host.Module, error) {
	tb.Helper()
	cfg.Script = filepath.Join(tb.TempDir(), "filter.js")
	if err := os.WriteFile(cfg.Script, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return w.scriptFile(tb, rt, cfg)
}

func (w *workshop) scriptFile(tb testing.TB, rt *host.Runtime, cfg host.Config) (*host.Module, error) {
	tb.Helper()
	cfg.Path = "../../wasm-modules/dist/script-engine.wasm"
	if _, err := os.Stat(cfg.Path); err != nil {
		missing := tb.Skipf
		if os.Getenv("E2E") == "require" {
			missing = tb.Fatalf
		}
		missing("%v: make script-engine", err)
	}
	return rt.Load(context.Background(), "filter", cfg)
}

// scripted is a chain of one filter that must load.
func (w *workshop) scripted(tb testing.TB, rt *host.Runtime, states *states, text string, cfg host.Config) (*host.Chain, *host.Module, *bridge.Metrics) {
	tb.Helper()
	metrics := new(bridge.Metrics)
	m, err := w.script(tb, rt, text, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.Close)
	c, err := rt.Chain("p", []*host.Module{m}, states, metrics)
	if err != nil {
		tb.Fatal(err)
	}
	return c, m, metrics
}

// scriptConfig is the default with a budget that is the same on all machines.
func scriptConfig() host.Config {
	cfg := host.Default()
	cfg.BudgetUnits, cfg.Output = 2_000_000, 64<<10
	return cfg
}

// TestScriptAnswers: what a script sees of a record, and what becomes of what it returns.
func TestScriptAnswers(t *testing.T) {
	rt := shop.runtime(t)
	record := bridge.Record{Time: 1_767_225_600_123_456, ContentType: []byte("application/json"), Labels: labels("axis=x device=press-7 rpm=1450.5 ü=é"),
		Payload: []byte(`{"v": [1.5, {"deep": "yes"}] }`)}
	const head, as = "vib/acc-1@1767225600123456", " device=press-7 rpm=1450.5 ü=é"
	const payload = ` payload {"v": [1.5, {"deep": "yes"}] }`
	same := head + " topic  type application/json axis=x" + as + payload
	out := func(topic, kind, labels, payload string) string {
		return head + " topic " + topic + " type " + kind + " " + labels + " payload " + payload
	}
	changed := func(labels string) string {
		return out("", "application/json", labels, strings.TrimPrefix(payload, " payload "))
	}
	said := func(text string) string { return "parked " + head + " by filter: " + text }
	cases := []struct{ name, body, want string }{
		{"true", "true", same},
		{"false", "false", ""},
		{"empty list", "[]", ""},
		{"drop", "drop('slow')", ""},
		{"park", "park('for a person')", said("for a person")},
		{"empty patch", "({})", same},
		{"labels", "park([r.labels.axis, r.labels['device'], +r.labels.rpm + 1, r.labels.ü, r.labels.none, typeof r.labels.rpm].join())",
			said("x,press-7,1451.5,é,,string")},
		{"labels as an object", "park([Object.keys(r.labels), 'rpm' in r.labels, 'none' in r.labels, Object.hasOwn(r.labels, 'axis'), JSON.stringify({...r.labels})].join(' '))",
			said(`axis,device,rpm,ü true false true {"axis":"x","device":"press-7","rpm":"1450.5","ü":"é"}`)},
		{"no names of the language", "park(String(r.labels.constructor) + r.labels.toString + ('toString' in r.labels))", said("undefinedundefinedfalse")},
		{"for in", "{ let s = ''; for (const k in r.labels) s += k + '=' + r.labels[k] + ';'; return park(s) }", said("axis=x;device=press-7;rpm=1450.5;ü=é;")},
		{"destructured", "{ const { labels: { rpm, ...rest }, time } = r; return park(rpm + time + Object.keys(rest)) }", said("1450.51767225600123456axis,device,ü")},
		{"record", "park([r.entry, r.contentType, r.time, r.size, r.flags].join())", said("acc-1,application/json,1767225600123456,30,last_of_batch")},
		{"clock", "park(new Date().toISOString() + Date.now())", said("2026-01-01T00:00:00.123Z1767225600123")},
		{"text", "park(r.text())", said(`{"v": [1.5, {"deep": "yes"}] }`)},
		{"json", "park(r.json().v[1].deep)", said("yes")},
		{"bytes", "park([...r.bytes(1, 4)] + ' ' + r.bytes().length + ' ' + r.bytes(26) + ' ' + r.bytes(99).length)", said("34,118,34 30 125,93,32,125 0")},
		{"stats", "park(JSON.stringify(r.stats('i16').count))", said("15")},
		{"rename", "({ rename: { rpm: 'speed', none: 'nothing' } })", changed("axis=x device=press-7 speed=1450.5 ü=é")},
		{"set and delete", "({ labels: { rpm: 7, axis: null, none: null, left: undefined, ok: true, text: 'ä' } })", changed("device=press-7 rpm=7 ü=é ok=true text=ä")},
		{"rename before set", "({ labels: { speed: r.labels.rpm * 2 }, rename: { rpm: 'speed' } })", changed("axis=x device=press-7 speed=2901 ü=é")},
		{"topic and type", "({ topic: r.labels.axis + '/a', contentType: 'text/plain' })", out("x/a", "text/plain", "axis=x"+as, payload[9:])},
		{"payload text", "({ payload: 'grüße' })", out("", "application/json", "axis=x"+as, "grüße")},
		{"payload object", "({ payload: { a: [1, 2.5, null], b: 'ü' } })", out("", "application/json", "axis=x"+as, `{"a":[1,2.5,null],"b":"ü"}`)},
		{"payload object with its type", "({ payload: [1], contentType: 'x/y' })", out("", "x/y", "axis=x"+as, "[1]")},
		{"payload bytes", "({ payload: new Uint8Array([0, 65, 66, 67]).subarray(1) })", out("", "application/json", "axis=x"+as, "ABC")},
		{"payload buffer", "({ payload: new Uint8Array([65, 66]).buffer })", out("", "application/json", "axis=x"+as, "AB")},
		{"payload of words", "({ payload: new Uint16Array([0x4241]) })", out("", "application/json", "axis=x"+as, "AB")},
		{"no payload", "({ payload: null })", out("", "application/json", "axis=x"+as, "")},
		{"several", "[{ topic: 'a' }, true]", out("a", "application/json", "axis=x"+as, payload[9:]) + "\n" + strings.Replace(same, "456 ", "456#1 ", 1)},
		{"config", "park(config.name + config.list[1].deep)", said("n2")},
		{"promises", "{ let v = 1; Promise.resolve().then(() => { v = 2 }); return park('at once ' + v) }", said("at once 1")},
		{"regular expression", "park(String(/^press-(\\d+)$/.exec(r.labels.device)[1]))", said("7")},
	}
	cfg := scriptConfig()
	cfg.Config = table{"name": "n", "list": []any{int64(1), table{"deep": int64(2)}}}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			body := c.body
			if !strings.HasPrefix(body, "{") {
				body = "{ return " + body + " }"
			}
			chain, _, metrics := shop.scripted(t, rt, new(states), "export default function (r) "+body, cfg)
			for range 2 { // the second time everything is known already
				if got := strings.TrimSpace(text(apply(t, chain, []bridge.Record{record}))); got != strings.TrimSpace(c.want) {
					t.Fatalf("got\n%s, want\n%s", got, c.want)
				}
			}
			if n := metrics.ModuleTraps.At("filter").Load(); n != 0 {
				t.Errorf("%d traps", n)
			}
		})
	}
}

// TestHostileScripts: whatever a script does to one record, that record is parked once, with file and line, its neighbours pass, and the module
// goes on. What is bad at load never sees a record.
func TestHostileScripts(t *testing.T) {
	rt := shop.runtime(t)
	cases := []struct{ name, body, want string }{
		{"endless loop", "while (true) ;", "filter.js:1: budget used up here or in a loop below: "},
		{"endless loop that catches", "for (;;) try { while (true) ; } catch { } finally { }", "budget used up here or in a loop below: "},
		{"endless calls", "\nfor (;;) [1, 2, 3].map(x => x + 1)", "filter.js:3: budget used up here "},
		{"memory bomb of objects", "\nconst a = []; for (;;) a.push({ a })", "filter.js:1: budget used up here "},
		{"memory bomb of bytes", "\nconst a = []; for (;;) a.push(new Uint8Array(1 << 20))", "filter.js:3: out of memory: "},
		{"memory bomb of text", "\nlet s = 'x'; for (;;) s += s", "filter.js:3: InternalError: string too long"},
		{"huge text", "\n'x'.repeat(5e8)", "filter.js:3: out of memory: "},
		{"circles", "\nfor (let i = 0; ; i++) { const a = {}; a.a = a }", "filter.js:1: budget used up here "},
		{"catastrophic regular expression", "\n/(a+)+b/.test('a'.repeat(40))", "filter.js:3: budget used up here "},
		{"deep recursion", "\nconst f = x => f(x + 1) + 1; f(0)", "filter.js:3: RangeError: Maximum call stack size exceeded"},
		{"deep recursion through the language", "\nconst f = x => [x].map(f); f(0)", "RangeError: Maximum call stack size exceeded"},
		{"deep JSON", "\nJSON.parse('['.repeat(1e4))", "filter.js:3: RangeError: Maximum call stack size exceeded"},
		{"one long call", "\nnew Array(1e6).fill(1).indexOf(2) + 'x'.repeat(4e6).indexOf('xy')", "budget used up, within one call of a built-in function by filter.js ("},
		{"throw", "\nthrow new Error('no good')", "filter.js:3: Error: no good"},
		{"throw of a text", "\nthrow 'no good'", "filter.js:1: thrown: no good"},
		{"throw of null", "\nthrow null", "filter.js:1: "},
		{"an error that lies in wait", "\nthrow { toString() { for (;;) ; } }", "budget used up"},
		{"undefined property", "\nr.labels.none.length", "filter.js:3: TypeError: cannot read property 'length' of undefined"},
		{"unknown name", "\nnothing()", "filter.js:3: ReferenceError: nothing is not defined"},
		{"undeclared variable", "\nx = 1", "filter.js:3: ReferenceError: x is not defined"},
		{"text to be run", "\nnew Function('return 1 +')()", "filter.js:3: SyntaxError: "},
		{"payload that is not JSON", "\nr.json()", "filter.js:3: SyntaxError: "},
		{"no floats", "\nr.float32()", "filter.js:3: RangeError: payload of 3 bytes, want a multiple of 4 for float32"},
		{"writes labels", "\nr.labels.rpm = 1", "filter.js:3: TypeError: labels cannot be written to: return { labels: { name: value } }"},
		{"deletes labels", "\ndelete r.labels.rpm", "filter.js:3: TypeError: labels cannot be written to"},
		{"writes the record", "\nr.seen = true", "filter.js:3: TypeError: object is not extensible"},
		{"returns nothing", "\nreturn", "filter.js:1: TypeError: returned nothing, want true, false, an object or a list of objects"},
		{"returns a number", "\nreturn 1", "returned a number"},
		{"returns a promise", "\nreturn Promise.resolve(true)", "returned a promise: filters cannot wait"},
		{"returns a list of numbers", "\nreturn [1]", "returned a list with something that is neither true nor an object"},
		{"misspelt key", "\nreturn { label: {} }", "returned an object with the key label, want labels, rename, topic, contentType, payload, time"},
		{"label that is an object", "\nreturn { labels: { a: {} } }", "labels.a: want a text, a number, true or false, or null to delete it"},
		{"label that is too long", "\nreturn { labels: { a: 'x'.repeat(7e4) } }", "labels.a: want a name and a value of at most 65,535 bytes"},
		{"labels that are none", "\nreturn { labels: [] }", "labels: want an object"},
		{"time that is none", "\nreturn { time: 'now' }", "time: want a number of microseconds"},
		{"payload of circles", "\nconst a = {}; a.a = a; return { payload: a }", "TypeError: circular reference"},
		{"answer that is too long", "\nreturn { payload: 'x'.repeat(1e5) }", "answer of more than output = 65536 bytes"},
		{"too many outputs", "\nreturn new Array(70000).fill(true)", "returned 70000 outputs"},
		{"patch that throws", "\nreturn { get topic() { throw new Error('trap') } }", "filter.js:3: Error: trap"},
		{"promises without end", "\nconst f = () => Promise.resolve().then(f); f(); return true", "budget used up"},
		{"breaks the language", "\nArray.prototype.map = JSON.stringify = Object.prototype.toString = null; throw new Error('done')", "filter.js:3: Error: done"},
	}
	rs := []bridge.Record{
		{Time: 1, Labels: labels("n=0")}, {Time: 2, Labels: labels("bad=1"), Payload: []byte("not")}, {Time: 3, Labels: labels("n=2")},
	}
	for _, c := range cases {
		for _, state := range []string{"", "export const state = { n: 0 };"} {
			t.Run(c.name+" "+strings.Fields(state + " . stateless")[1], func(t *testing.T) {
				text := state + "export default r => {  if (!('bad' in r.labels)) return true;\n" + c.body + "\n}"
				chain, _, metrics := shop.scripted(t, rt, new(states), text, scriptConfig())
				for range 2 {
					out := apply(t, chain, rs)
					if len(out.Parked) != 1 || out.Parked[0].Time != 2 || !strings.Contains(out.Parked[0].Reason, c.want) || len(out.Messages) != 2 {
						t.Fatalf("got %v %+v, want the record at 2 parked with %q", out.Verdicts, out.Parked, c.want)
					}
				}
				if n := metrics.ModuleTraps.At("filter").Load(); n < 2 || n > 4 {
					t.Errorf("%d traps of 2 bad records, want one or two of each", n)
				}
			})
		}
	}
}

func TestRefusedScripts(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"syntax":              {"\n\nexport default r => {", "filter.js:3: SyntaxError: "},
		"endless":             {"\nlet i = 0; while (true) Math.abs(i)", "filter.js:1: budget used up here "},
		"memory":              {"\nconst a = []; while (true) a.push(new Uint8Array(1 << 20))", "filter.js:2: out of memory: "},
		"throw":               {"\nif (!config.min) throw new Error('config.min: missing')", "filter.js:2: Error: config.min: missing"},
		"import":              {"import fs from 'fs'", "could not load module 'fs'"},
		"await":               {"await new Promise(() => {})", "waits at its top level"},
		"awaited failure":     {"\nawait Promise.reject(new Error('later'))", "Error: later"},
		"no default":          {"export const x = 1", "want: export default function (r) { ... }"},
		"default of no kind":  {"export default 1", "want: export default function (r) { ... }"},
		"labels":              {"export const labels = 'rpm'; export default r => true", "labels: want a list of at most 1024 texts"},
		"label of no text":    {"export const labels = [1]; export default r => true", "labels: want a list of at most 1024 texts"},
		"star beside":         {"export const labels = ['*', 'a']; export default r => true", `manifest: labels: an empty name, or "*" beside others`},
		"reasons":             {"export const reasons = new Array(257).fill('x'); export default r => true", "reasons: want a list of at most 256 texts"},
		"state":               {"export const state = 1; export default r => true", "state: want an object"},
		"state of circles":    {"export const state = {}; state.a = state; export default r => true", "circular reference"},
		"version of a number": {"export const version = 1; export default r => true", "manifest: "},
		"no globals":          {"for (const n of ['fetch', 'process', 'require', 'std', 'os', 'setTimeout']) if (n in globalThis) throw new Error(n); throw new Error('none')", "Error: none"},
	}
	rt := shop.runtime(t)
	for name, c := range cases {
		m, err := shop.script(t, rt, c.text, scriptConfig())
		if err == nil {
			m.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// TestScriptManifest: a script says of itself what a module's section says.
func TestScriptManifest(t *testing.T) {
	rt := shop.runtime(t)
	_, m, _ := shop.scripted(t, rt, new(states), `
		export const name = "mine", version = "1.2.3", about = "says \"what\" it is", stateVersion = 4;
		export const labels = ["a", "b"], reasons = ["first", "second"];
		export let state = [];
		export default r => drop(r.labels.a);
	`, scriptConfig())
	want := abi.Manifest{ABI: 1, Name: "mine", Version: "1.2.3", About: `says "what" it is`, Labels: []string{"a", "b"}, Payload: abi.PayloadPull,
		OutputsMax: abi.MaxOutputs, State: abi.StateExplicit, StateVersion: 4, Reasons: []string{"first", "second"}}
	if got := m.Info().Manifest; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	c, _, metrics := shop.scripted(t, rt, new(states), `
		export const labels = ["a", "b"], reasons = ["first", "second"];
		export default r => Object.keys(r.labels).length === 2 ? drop(r.labels.a) : drop(String(r.labels.c));
	`, scriptConfig())
	rs := []bridge.Record{{Time: 1, Labels: labels("a=second b=1 c=2")}, {Time: 2, Labels: labels("a=second b=1 c=2")}, {Time: 3, Labels: labels("b=1 c=2")}}
	apply(t, c, rs)
	if second, other := metrics.ModuleDrops.At("filter/second").Load(), metrics.ModuleDrops.At("filter/other").Load(); second != 2 || other != 1 {
		t.Errorf("%d dropped as second, %d as other, want 2 and 1: labels that are not declared are not there", second, other)
	}
}

// TestScriptState: what a script keeps in state is the stream's, comes back with a new process, and is as it was before a batch that failed (rules 3 and 4).
func TestScriptState(t *testing.T) {
	rt := shop.runtime(t)
	const counting = `
		export let state = { n: 0, seen: [], deep: { a: { b: 1 } } };
		export default r => {
			state.n++;
			state.seen.push(r.labels.n);
			if (r.labels.n === "bad") throw new Error("half way");
			if (r.labels.n === "new") state = { ...state, fresh: true };
			return park(JSON.stringify(state));
		}`
	kept := new(states)
	reason := func(stream, n string) string {
		c, _, _ := shop.scripted(t, rt, kept, counting, scriptConfig())
		out := new(bridge.Results)
		rs := []bridge.Record{{Time: 1, Labels: labels("n=" + n)}, {Time: 2, Labels: labels("n=bad")}, {Time: 3, Labels: labels("n=" + n)}}
		if err := c.Apply(context.Background(), stream, rs, out); err != nil {
			t.Fatal(err)
		}
		kept.commit(stream, out)
		for _, p := range out.Parked {
			if p.Time == 2 && !strings.HasSuffix(p.Reason, "filter.js:6: Error: half way") {
				t.Errorf("the bad record: %s", p.Reason)
			}
		}
		last := slices.IndexFunc(out.Parked, func(p bridge.Parking) bool { return p.Time == 3 })
		return out.Parked[last].Reason
	}
	for _, step := range []struct{ stream, n, want string }{
		{"vib/a", "1", `{"n":2,"seen":["1","1"],"deep":{"a":{"b":1}}}`},
		{"vib/b", "7", `{"n":2,"seen":["7","7"],"deep":{"a":{"b":1}}}`},
		{"vib/a", "new", `{"n":4,"seen":["1","1","new","new"],"deep":{"a":{"b":1}},"fresh":true}`},
		{"vib/a", "2", `{"n":6,"seen":["1","1","new","new","2","2"],"deep":{"a":{"b":1}},"fresh":true}`},
		{"vib/b", "8", `{"n":4,"seen":["7","7","8","8"],"deep":{"a":{"b":1}}}`},
	} {
		if got := reason(step.stream, step.n); got != step.want {
			t.Errorf("%s %s: got %s, want %s", step.stream, step.n, got, step.want)
		}
	}
	c, _, _ := shop.scripted(t, rt, kept, `export let state = {}; export default r => { state = 1n; return true }`, scriptConfig())
	err := c.Apply(context.Background(), "vib/c", []bridge.Record{{Time: 1}}, new(bridge.Results))
	if err == nil || !strings.Contains(err.Error(), "sluice_save: failed with code 1") || !strings.Contains(err.Error(), "filter.js:1: TypeError") {
		t.Errorf("a state that JSON cannot hold: %v", err)
	}
}

// TestScriptThatLeaks: what a script holds on to ends with its instance; no record is lost to it.
func TestScriptThatLeaks(t *testing.T) {
	rt := shop.runtime(t)
	c, _, metrics := shop.scripted(t, rt, new(states), `const all = []; export default r => { all.push(new Uint8Array(1 << 18)); return true }`, scriptConfig())
	for range 3 {
		rs := make([]bridge.Record, 85)
		for i := range rs {
			rs[i].Time = int64(i)
		}
		if out := apply(t, c, rs); len(out.Messages) != len(rs) {
			t.Fatalf("%d messages of %d: %.300s", len(out.Messages), len(rs), text(out))
		}
	}
	if metrics.ModuleTraps.At("filter").Load() == 0 {
		t.Error("the memory never ran out")
	}
}

// TestScriptGarbage: circles are collected between records, however little each of them does.
func TestScriptGarbage(t *testing.T) {
	rt := shop.runtime(t)
	c, _, metrics := shop.scripted(t, rt, new(states), `export default r => { const a = { big: new Uint8Array(1 << 14) }; a.a = a; return true }`, scriptConfig())
	rs := make([]bridge.Record, 85)
	for range 50 {
		apply(t, c, rs)
	}
	if n := metrics.ModuleTraps.At("filter").Load(); n != 0 {
		t.Errorf("%d traps, want none: 68 MiB of garbage in 16", n)
	}
}

func TestScriptLogsAndCounts(t *testing.T) {
	rt := shop.runtime(t)
	_, m, _ := shop.scripted(t, rt, new(states), `export default r => {
		console.warn("rpm", r.labels.rpm, { a: [1] }, undefined, null); count("seen"); count("seen", 2); observe("rpm", +r.labels.rpm); return drop("unasked");
	}`, scriptConfig())
	c, err := rt.Chain("p", []*host.Module{m}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, c, []bridge.Record{{Time: 1, Labels: labels("rpm=1450")}})
	tallies := m.Tallies()
	if tallies["seen"].Sum != 3 || tallies["rpm"].High != 1450 || tallies["unasked"].Sum != 1 {
		t.Errorf("got %+v", tallies)
	}
	log, err := os.ReadFile(shop.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	if want := `level=WARN msg="module says" module=filter text="rpm 1450 {\"a\":[1]} undefined null"`; !strings.Contains(string(log), want) {
		t.Errorf("log of %d bytes has no %s\n%s", len(log), want, log[max(0, len(log)-600):])
	}
}

// TestScriptsAreDeterministic: the same record gives the same bytes on every instance, at every time.
func TestScriptsAreDeterministic(t *testing.T) {
	rt := shop.runtime(t)
	const random = `export default r => park([Math.random(), Math.random(), Date.now()].join())`
	rs := []bridge.Record{{Time: 5}, {Time: 6}, {Time: 5}}
	first, second := "", ""
	for _, to := range []*string{&first, &second} {
		c, _, _ := shop.scripted(t, rt, new(states), random, scriptConfig())
		out := apply(t, c, rs)
		*to = text(out)
		if out.Parked[0].Reason != out.Parked[2].Reason || out.Parked[0].Reason == out.Parked[1].Reason {
			t.Errorf("%s: want the first like the third, and not like the second", text(out))
		}
	}
	if first != second {
		t.Errorf("got %s and %s", first, second)
	}
}

func TestScriptAllocatesNothing(t *testing.T) {
	rt := shop.runtime(t)
	c, _, _ := shop.scripted(t, rt, new(states), `export default r => +r.labels.rpm > 1000 ? { rename: { rpm: "speed" }, labels: { n: r.labels.rpm }, payload: r.text() } : false`, scriptConfig())
	rs, out := benchBatch(manyLabels, 0), new(bridge.Results)
	perBatch := testing.AllocsPerRun(50, func() {
		out.Reset()
		if err := c.Apply(context.Background(), stream, rs, out); err != nil {
			t.Fatal(err)
		}
	})
	if perBatch > 5 {
		t.Errorf("%v allocations for a batch of %d records, want none for each", perBatch, len(rs))
	}
}

// TestScriptExamples runs the examples of the engine over their records.
func TestScriptExamples(t *testing.T) {
	scripts, err := filepath.Glob("../../wasm-modules/script-engine/examples/*.js")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("%d examples, %v", len(scripts), err)
	}
	for _, script := range scripts {
		t.Run(filepath.Base(script), func(t *testing.T) {
			f, err := golden.Load(strings.TrimSuffix(script, ".js") + ".toml")
			if err != nil {
				t.Fatal(err)
			}
			cfg, rt := scriptConfig(), shop.runtime(t)
			cfg.Script, cfg.Config = script, f.Config
			m, err := shop.scriptFile(t, rt, cfg)
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, f, rt, m)
		})
	}
}

package host

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
	"github.com/sluicebridge/sluice/runtime/host/sign"
)

// failing answers FAIL with a reason and a text.
func failing(g *guest, reason uint16, text string) []byte {
	return g.canned(built(func(b *abi.Builder) { b.Decide(abi.Fail, reason, []byte(text)) }))
}

// TestFail: a guest that says itself that it cannot do a record goes on, unless it says that it is broken. The record is decided by on_fault
// either way, and what it had changed in the state is undone.
func TestFail(t *testing.T) {
	cases := []struct {
		name, state string
		reason      uint16
		onFault     string
		want        string
		traps       int64
		same        bool // the instance goes on
	}{
		{"sound", "none", abi.FailSound, FaultPark, "passed parked passed m:@0,n=0 m:@2,n=2 p:a@1,n=1", 1, true},
		{"sound with a state", "explicit", abi.FailSound, FaultPark, "passed parked passed m:@0,n=0 m:@2,n=2 p:a@1,n=1", 1, true},
		{"broken", "none", abi.FailBroken, FaultPark, "passed parked passed m:@0,n=0 m:@2,n=2 p:a@1,n=1", 2, false},
		{"broken with a state", "explicit", abi.FailBroken, FaultPark, "passed parked passed m:@0,n=0 m:@2,n=2 p:a@1,n=1", 2, false},
		{"passes by", "none", abi.FailSound, FaultPass, "passed passed passed m:@0,n=0 m:@1,n=1 m:@2,n=2", 1, true},
		{"dropped", "none", abi.FailSound, FaultDrop, "passed dropped passed m:@0,n=0 m:@2,n=2", 1, true},
	}
	b := newBench(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g := newGuest(`state = "` + c.state + `"`)
			counted := asm.Code(count, pass)
			answers(g, counted, asm.Code(count, failing(g, c.reason, "filter.js:3: no rpm")), counted)
			g.stateful()
			cfg, metrics, kept := testConfig(), &bridge.Metrics{}, &memoryStates{}
			cfg.OnFault = c.onFault
			chain := b.chain(t, cfg, kept, metrics, g)
			first := chain.links[0].pool.idle[0]
			out := apply(t, chain, "b/e", records(3))
			kept.commit("b/e", out)
			if got := describe(out); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if len(out.Parked) > 0 && out.Parked[0].Reason != "filter.js:3: no rpm" {
				t.Errorf("parked for %q, want the guest's text alone", out.Parked[0].Reason)
			}
			if got := metrics.ModuleTraps.At("a").Load(); got != c.traps {
				t.Errorf("%d traps, want %d", got, c.traps)
			}
			if got := chain.links[0].pool.idle[0] == first; got != c.same {
				t.Errorf("the instance goes on: %v, want %v", got, c.same)
			}
			if got := kept.counter("b/e", "a"); c.state == "explicit" && got != 2 {
				t.Errorf("the state counted %d records, want the 2 that passed (rule 3)", got)
			}
		})
	}
}

func TestFailThatHolds(t *testing.T) {
	b, cfg, metrics := newBench(t), testConfig(), &bridge.Metrics{}
	cfg.OnFault = FaultHold
	g := newGuest("version = \"1\"")
	chain := b.chain(t, cfg, nil, metrics, answers(g, pass, failing(g, abi.FailSound, "filter.js:3: no rpm")))
	err := chain.Apply(context.Background(), "b/e", records(3), &bridge.Results{})
	if !errors.Is(err, bridge.ErrRetry) || !strings.Contains(err.Error(), "filter.js:3: no rpm") {
		t.Errorf("got %v, want bridge.ErrRetry with the guest's text", err)
	}
}

func TestFailIsRefusedWhereItMeansNothing(t *testing.T) {
	for name, answer := range map[string][]byte{
		"reason 2":  {byte(abi.Fail), 0, 2, 0, 0, 0, 0, 0},
		"verdict 7": {7, 0, 0, 0, 0, 0, 0, 0},
	} {
		if _, _, err := abi.ReadEntry(answer); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := abi.ParseReturned(abi.ShortAnswer(abi.Fail, 0)); err == nil {
		t.Error("short FAIL: taken, it has no text")
	}
}

// TestUnits: a guest learns what is left of its budget, what the host has charged included.
func TestUnits(t *testing.T) {
	b := newBench(t)
	g := newGuest("version = \"1\"")
	units := g.imports(abi.ImportUnits, ":I")
	label := asm.Int64(abi.ShortAnswer(abi.Drop, 0))
	// DROP where not more than 32 units and what entering process takes are gone at the first look.
	g.process(asm.Call(units), asm.Int64(100_000-callCost-8), asm.Op(0x55), asm.If(label, asm.Op(asm.Return)), pass) // 0x55 = i64.gt_s
	if got := describe(apply(t, b.chain(t, testConfig(), nil, nil, g), "b/e", records(1))); got != "dropped" {
		t.Errorf("%s, want the record dropped: almost the whole budget is left", got)
	}
}

// anEngine takes every script but an empty one, and describes itself by what the tests give it.
func anEngine(manifest string) *guest {
	g := newGuest("") // no section: it is asked
	g.Data(64, []byte("abi = 1\n"+manifest))
	g.Data(32, []byte("no text\x00"))
	g.Func(abi.ExportScript, []byte{asm.I32}, []byte{asm.I32}, 0, asm.Get(0), asm.Int(120), asm.Op(asm.I32LtU), asm.If(asm.Int(32), asm.Op(asm.Return)), asm.Int(0))
	g.Func(abi.ExportDescribe, nil, []byte{asm.I64}, 0, asm.Int64(abi.LongAnswer(64, uint32(8+len(manifest)))))
	g.process(pass)
	return g
}

func TestScripts(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.js", []byte("export default r => true; // long enough for the engine of this test to take it"))
	wasm := anEngine(`name = "mine"`).bytes()
	engine := file("engine.wasm", wasm)
	plain := file("plain.wasm", answers(newGuest("version = \"1\"")).bytes())
	cases := map[string]struct{ path, script, sum, want string }{
		"taken":            {engine, good, "", ""},
		"pinned":           {engine, good, hexSum(sha256.Sum256([]byte(string(wasm) + "export default r => true; // long enough for the engine of this test to take it"))), ""},
		"pinned, other":    {engine, good, strings.Repeat("ab", 32), "engine.wasm " + good + " is "},
		"no such script":   {engine, filepath.Join(dir, "none.js"), "", "script: stat "},
		"a directory":      {engine, dir, "", "script: " + dir + " is not a file of at most"},
		"too long":         {engine, file("long.js", make([]byte, maxScript+1)), "", "long.js has 1048577 bytes, want at most 1048576"},
		"not UTF-8":        {engine, file("latin.js", []byte("// caf\xe9")), "", "is not a text in UTF-8"},
		"zero byte":        {engine, file("zero.js", []byte("a\x00b")), "", "is not a text in UTF-8"},
		"refused":          {engine, file("empty.js", nil), "", "sluice_script: refused: no text"},
		"no engine":        {plain, good, "", "path: not an engine for scripts: export sluice_script is missing"},
		"engine alone":     {engine, "", "", "script: missing: path is an engine"},
		"engine not built": {"", good, "", "script: no engine: script-engine.wasm is neither beside "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Path, cfg.Script, cfg.SHA256 = c.path, c.script, c.sum
			m, err := b.Load(context.Background(), "s", cfg)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				if got := m.Info().Manifest.Name; got != "mine" {
					t.Errorf("manifest of %q, want the engine's answer", got)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if name == "engine not built" && !strings.Contains(err.Error(), "`make script-engine` builds it") {
				t.Errorf("%v does not name the command", err)
			}
		})
	}
}

// TestEngineThatCameAlong: beside the executable the engine is found without a path, and is as trusted as that. The script has to be signed.
func TestEngineThatCameAlong(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.Generate()
	if err != nil {
		t.Fatal(err)
	}
	dir, text := t.TempDir(), []byte("export default r => true; // long enough for the engine of this test to take it")
	signed, unsigned, keys := filepath.Join(dir, "a.js"), filepath.Join(dir, "b.js"), filepath.Join(dir, "site.pub")
	beside := filepath.Join(filepath.Dir(exe), engineFile)
	for path, b := range map[string][]byte{
		beside: anEngine(`name = "mine"`).bytes(), signed: text, unsigned: text, keys: []byte(key.Public().Text()),
		signed + SignatureSuffix: []byte(key.Sign(sha256.Sum256(text))),
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Remove(beside) })
	b := newBench(t)
	for script, want := range map[string]string{signed: "", unsigned: "trust: " + unsigned + ": not signed"} {
		cfg := testConfig()
		cfg.Script, cfg.Trust = script, keys
		m, err := b.Load(context.Background(), "s", cfg)
		if err == nil {
			m.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", script, err, want)
		}
	}
}

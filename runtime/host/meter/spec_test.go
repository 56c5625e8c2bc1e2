package meter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// script is one of the WebAssembly specification's test scripts, as wast2json writes it.
type script struct {
	Commands []command `json:"commands"`
}

type command struct {
	Type     string `json:"type"`
	Line     int    `json:"line"`
	Name     string `json:"name"`
	As       string `json:"as"`
	Filename string `json:"filename"`
	Action   action `json:"action"`
}

type action struct {
	Type   string  `json:"type"`
	Module string  `json:"module"`
	Field  string  `json:"field"`
	Args   []value `json:"args"`
}

type value struct {
	Type  string          `json:"type"`
	Lane  string          `json:"lane_type"`
	Value json.RawMessage `json:"value"`
}

// seen counts what was compared, so that a test that compares nothing fails.
type seen struct{ modules, refused, invalid, calls, traps int }

// TestSpec plays the specification's test scripts three times: with each module as it is, with units for as long as it likes, and with slices so small
// that nearly every loop and function calls the host. All three must give the same values and trap in the same places.
func TestSpec(t *testing.T) {
	dir := specDir(t)
	for _, version := range []struct {
		name  string
		least seen
	}{
		{"v1", seen{modules: 870, invalid: 1600, calls: 16_000, traps: 470}},
		{"v2", seen{modules: 1700, invalid: 2800, calls: 48_000, traps: 2400}},
	} {
		t.Run(version.name, func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join(dir, version.name, "testdata", "*.json"))
			more, _ := filepath.Glob(filepath.Join(dir, version.name, "testdata", "*", "*.json"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no scripts in %s: %v", dir, err)
			}
			var all seen
			for _, file := range append(files, more...) {
				play(t, dir, file, &all)
			}
			t.Logf("%+v", all)
			l := version.least
			if all.modules < l.modules || all.invalid < l.invalid || all.calls < l.calls || all.traps < l.traps {
				t.Errorf("compared %+v, want at least %+v", all, l)
			}
		})
	}
}

// specDir is where the version of wazero that go.mod names keeps the scripts.
func specDir(t *testing.T) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest")
}

func play(t *testing.T, dir, file string, all *seen) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s script
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	w := newWorlds(t, dir)
	defer w.close()
	for i, c := range s.Commands {
		at := fmt.Sprintf("%s:%d", filepath.Base(file), c.Line)
		switch c.Type {
		case "module", "assert_unlinkable", "assert_uninstantiable":
			w.instantiate(t, at, filepath.Join(filepath.Dir(file), c.Filename), c.Name, registered(s.Commands[i+1:], c.Name), all)
		case "assert_invalid", "assert_malformed":
			if strings.HasSuffix(c.Filename, ".wasm") {
				w.refuse(t, at, filepath.Join(filepath.Dir(file), c.Filename), all)
			}
		case "assert_return", "assert_trap", "assert_exhaustion", "action":
			w.act(t, at, &c.Action, all)
		}
	}
}

// registered is the name under which the script offers a module to those that follow it.
func registered(rest []command, name string) string {
	for _, c := range rest {
		switch {
		case c.Type == "register" && (c.Name == name || c.Name == ""):
			return c.As
		case c.Type == "module" && name == "":
			return ""
		}
	}
	return ""
}

// world is one of the three ways to run a script.
type world struct {
	name    string
	rt      wazero.Runtime
	rewrite func([]byte) ([]byte, error)
	last    api.Module
	named   map[string]api.Module
}

type worlds []*world

func newWorlds(t *testing.T, dir string) worlds {
	t.Helper()
	rewrite := func(o Options) func([]byte) ([]byte, error) {
		return func(b []byte) ([]byte, error) {
			out, err := Rewrite(b, o)
			if err != nil {
				return nil, err
			}
			return out.Wasm, nil
		}
	}
	ws := worlds{
		{name: "original", rewrite: func(b []byte) ([]byte, error) { return b, nil }},
		{name: "fuel", rewrite: rewrite(Options{Start: 1 << 60})},
		{name: "tick", rewrite: rewrite(Options{Start: 2})},
	}
	ctx := context.Background()
	host, err := os.ReadFile(filepath.Join(dir, "testdata", "spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ws {
		w.rt = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV2))
		w.named = make(map[string]api.Module)
		if _, err := w.rt.InstantiateWithConfig(ctx, host, wazero.NewModuleConfig()); err != nil {
			t.Fatal(err)
		}
		refill := api.GoModuleFunc(func(_ context.Context, mod api.Module, _ []uint64) {
			mod.ExportedGlobal("sluice.units").(api.MutableGlobal).Set(2)
		})
		b := w.rt.NewHostModuleBuilder(TickModule)
		b.NewFunctionBuilder().WithGoModuleFunction(refill, nil, nil).Export(TickName)
		if _, err := b.Instantiate(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return ws
}

func (ws worlds) close() {
	for _, w := range ws {
		w.rt.Close(context.Background())
	}
}

// instantiate makes a module in each world: in all of them or in none. What the rewriter refuses, such as table.grow, is left out in all.
func (ws worlds) instantiate(t *testing.T, at, file, name, as string, all *seen) {
	t.Helper()
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	forms := make([][]byte, len(ws))
	for i, w := range ws {
		w.last = nil
		if forms[i], err = w.rewrite(wasm); err != nil {
			all.refused++
			return
		}
	}
	errs := make([]error, len(ws))
	for i, w := range ws {
		w.last, errs[i] = w.rt.InstantiateWithConfig(context.Background(), forms[i], wazero.NewModuleConfig().WithName(as).WithStartFunctions())
		if name != "" {
			w.named[name] = w.last
		}
		if (errs[i] == nil) != (errs[0] == nil) {
			t.Errorf("%s: %s: %v, %s: %v", at, ws[0].name, errs[0], w.name, errs[i])
		}
	}
	all.modules++
}

// refuse: what is no valid module must not become one.
func (ws worlds) refuse(t *testing.T, at, file string, all *seen) {
	t.Helper()
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ws[0].rt.CompileModule(context.Background(), wasm); err == nil {
		return // wazero takes what the script calls malformed
	}
	all.invalid++
	for _, w := range ws[1:] {
		out, err := w.rewrite(wasm)
		if err == nil {
			_, err = w.rt.CompileModule(context.Background(), out)
		}
		if err == nil {
			t.Errorf("%s: an invalid module is valid with %s", at, w.name)
		}
	}
}

// act does the same in each world and compares.
func (ws worlds) act(t *testing.T, at string, a *action, all *seen) {
	t.Helper()
	var want []uint64
	var failed error
	for i, w := range ws {
		got, err := w.act(a)
		switch {
		case errors.Is(err, errNoModule):
			return
		case i == 0:
			want, failed = got, err
		case (err == nil) != (failed == nil) || !slices.Equal(got, want):
			t.Errorf("%s: %s(%v): %s gives %x, %v; %s gives %x, %v", at, a.Field, a.Args, ws[0].name, want, failed, w.name, got, err)
		}
	}
	all.calls++
	if failed != nil {
		all.traps++
	}
}

var errNoModule = errors.New("no such module")

func (w *world) act(a *action) ([]uint64, error) {
	mod := w.last
	if a.Module != "" {
		mod = w.named[a.Module]
	}
	if mod == nil {
		return nil, errNoModule
	}
	if a.Type == "get" {
		return []uint64{mod.ExportedGlobal(a.Field).Get()}, nil
	}
	var args []uint64
	for _, v := range a.Args {
		words, err := v.words()
		if err != nil {
			return nil, err
		}
		args = append(args, words...)
	}
	got, err := mod.ExportedFunction(a.Field).Call(context.Background(), args...)
	return got, err
}

// words is a value as wazero takes it.
func (v *value) words() ([]uint64, error) {
	if v.Type == "v128" {
		var lanes []string
		if err := json.Unmarshal(v.Value, &lanes); err != nil {
			return nil, err
		}
		return pack(lanes)
	}
	var s string
	if err := json.Unmarshal(v.Value, &s); err != nil {
		return nil, err
	}
	if s == "null" {
		return []uint64{0}, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if v.Type == "externref" {
		n++ // 0 is null
	}
	return []uint64{n}, err
}

// pack puts the lanes of a vector into its two words.
func pack(lanes []string) ([]uint64, error) {
	bits := 128 / len(lanes)
	words := make([]uint64, 2)
	for i, s := range lanes {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return nil, err
		}
		at := i * bits
		words[at/64] |= n << (at % 64)
	}
	return words, nil
}

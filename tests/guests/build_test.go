// Package guests runs the modules of wasm-modules, built as users get them, inside the real host.
package guests

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/host"
)

// workshop is a directory with the built modules and the host's compiled code; the tests of this package share it.
type workshop struct {
	dir string
	log *os.File
}

var shop = workshop{}

func TestMain(m *testing.M) {
	code, err := shop.open(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func (w *workshop) open(run func() int) (code int, err error) {
	if w.dir, err = os.MkdirTemp("", "guests"); err != nil {
		return 1, err
	}
	defer func() {
		if e := os.RemoveAll(w.dir); err == nil {
			err = e
		}
	}()
	if err := w.buildGo(modules+"stable-speed", modules+"label-remap", modules+"reshape", modules+"vibration-features", modules+"downsample", modules+"dedupe-change",
		modules+"sdk/go/sample", "./testdata/broken"); err != nil {
		return 1, err
	}
	if w.log, err = os.Create(filepath.Join(w.dir, "log")); err != nil {
		return 1, err
	}
	defer w.log.Close()
	return run(), nil
}

func (w *workshop) path(name string) string { return filepath.Join(w.dir, name+".wasm") }

// buildGo builds modules with Go alone, as modules.mk does.
func (w *workshop) buildGo(packages ...string) error {
	for _, name := range packages {
		cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", w.path(filepath.Base(name)), name)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

// toolchains are the make targets that build a module of one file, by the file's ending.
var toolchains = map[string]string{".c": "c-module", ".rs": "rust-module", ".ts": "as-module", ".zig": "zig-module"}

// buildGuest builds a module that is not in Go, with the flags of modules.mk. Where the toolchain is missing the test is skipped with the command
// that installs it, or fails under E2E=require.
func (w *workshop) buildGuest(tb testing.TB, name, source string) {
	tb.Helper()
	target := toolchains[filepath.Ext(source)]
	make := func(args ...string) ([]byte, error) {
		return exec.Command("make", append([]string{"-s", "--no-print-directory", "-C", "../.."}, args...)...).CombinedOutput()
	}
	if out, err := make(target + "-missing"); err != nil || len(out) > 0 {
		missing := tb.Skipf
		if os.Getenv("E2E") == "require" {
			missing = tb.Fatalf
		}
		missing("%s%v", out, err)
	}
	if _, err := os.Stat(w.path(name)); err == nil {
		return // for another test
	}
	source, err := filepath.Abs(source)
	if err != nil {
		tb.Fatal(err)
	}
	if out, err := make(target, "SRC="+source, "OUT="+w.path(name)); err != nil {
		tb.Fatalf("build %s: %v\n%s", name, err, out)
	}
}

// table is a module's [modules.NAME.config].
type table = map[string]any

// guest is a module to load: the name of its file and its config.
type guest struct {
	name   string
	config table
}

// runtime makes a host that shares compiled code with the package's other tests.
func (w *workshop) runtime(tb testing.TB) *host.Runtime {
	tb.Helper()
	rt, err := host.New(context.Background(), filepath.Join(w.dir, "cache"), slog.New(slog.NewTextHandler(w.log, nil)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := rt.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return rt
}

func (w *workshop) load(rt *host.Runtime, g guest) (*host.Module, error) {
	cfg := host.Default()
	cfg.Path, cfg.Config = w.path(g.name), g.config
	return rt.Load(context.Background(), g.name, cfg)
}

// chain loads modules and makes a chain of them, over the states that a test commits.
func (w *workshop) chain(tb testing.TB, states *states, guests ...guest) *host.Chain {
	tb.Helper()
	return w.counted(tb, states, nil, guests...)
}

// measured is chain with metrics of its own.
func (w *workshop) measured(tb testing.TB, guests ...guest) (*host.Chain, *bridge.Metrics) {
	tb.Helper()
	metrics := new(bridge.Metrics)
	return w.counted(tb, new(states), metrics, guests...), metrics
}

func (w *workshop) counted(tb testing.TB, states *states, metrics *bridge.Metrics, guests ...guest) *host.Chain {
	tb.Helper()
	rt := w.runtime(tb)
	var modules []*host.Module
	for _, g := range guests {
		m, err := w.load(rt, g)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(m.Close)
		modules = append(modules, m)
	}
	c, err := rt.Chain("p", modules, states, metrics)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// states is what a ledger has committed.
type states struct {
	kept map[string]bridge.State // by stream and module
}

func (s *states) State(_, stream, module string) (bridge.State, bool, error) {
	state, found := s.kept[stream+" "+module]
	return state, found, nil
}

// commit stores the states of a batch, as Append does.
func (s *states) commit(stream string, out *bridge.Results) {
	if s.kept == nil {
		s.kept = make(map[string]bridge.State)
	}
	for _, state := range out.States {
		state.Bytes = append([]byte(nil), state.Bytes...)
		s.kept[stream+" "+state.Module] = state
	}
}

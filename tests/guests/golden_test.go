package guests

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/golden"
	"github.com/sluicebridge/sluice/runtime/host"
)

// TestGolden runs every module over the records beside its source, each within its ceiling of fuel. What the two label-remaps should make of a record is
// written down once.
func TestGolden(t *testing.T) {
	const modules = "../../wasm-modules/"
	files, err := filepath.Glob(modules + "*/testdata/*.toml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		dir := filepath.Dir(filepath.Dir(file))
		names := []string{filepath.Base(dir)}
		if names[0] == "label-remap" {
			names = append(names, "label-remap-c")
		}
		for _, name := range names {
			t.Run(name+"/"+filepath.Base(file), func(t *testing.T) {
				shop.build(t, modules+name)
				shop.golden(t, name, file)
			})
		}
	}
}

// build builds the module in a directory.
func (w *workshop) build(t *testing.T, dir string) {
	if _, err := os.Stat(dir + "/main.c"); err == nil {
		w.buildGuest(t, filepath.Base(dir), dir+"/main.c")
	} else if err := w.buildGo(dir); err != nil {
		t.Fatal(err)
	}
}

// golden runs a built module over a file of records.
func (w *workshop) golden(t *testing.T, name, file string) {
	t.Helper()
	f, err := golden.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	cfg := host.Default()
	cfg.Path, cfg.Config, cfg.BudgetUnits = w.path(name), f.Config, golden.Units
	w.goldenWith(t, f, name, cfg)
	// Units are counted alike where time is the limit, and in whatever slices.
	cfg.BudgetUnits, cfg.Metering, cfg.Budget = 0, host.MeterTick, bridge.Duration(2*time.Second)
	w.goldenWith(t, f, name, cfg)
}

func (w *workshop) goldenWith(t *testing.T, f *golden.File, name string, cfg host.Config) {
	t.Helper()
	rt := w.runtime(t)
	m, err := rt.Load(context.Background(), name, cfg)
	if err != nil {
		t.Fatal(err)
	}
	checkGolden(t, f, rt, m)
}

// checkGolden runs a module, which it closes with the test, over a file of records.
func checkGolden(t *testing.T, f *golden.File, rt *host.Runtime, m *host.Module) {
	t.Helper()
	t.Cleanup(m.Close)
	r, err := f.Run(context.Background(), rt, m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Diffs) > 0 {
		t.Errorf("%s: %v", m.Name(), r)
	}
}

package guests

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sluicebridge/sluice/runtime/golden"
	"github.com/sluicebridge/sluice/runtime/host/meter"
)

const modules = "../../wasm-modules/"

// Every guest answers the same bytes as it is and metered in slices so small that it calls the host all the time: what it logs and keeps, too.
func TestMeteredGuestsAnswerTheSame(t *testing.T) {
	type metered struct{ name, source, records string }
	guests := []metered{{inGo, "", sdks + "conformance"}, {"label-remap-c", remapSource, modules + "label-remap/testdata"}}
	for _, name := range []string{"stable-speed", "label-remap", "reshape", "vibration-features", "downsample", "dedupe-change"} {
		guests = append(guests, metered{name, "", modules + name + "/testdata"})
	}
	for _, s := range samples {
		guests = append(guests, metered{s.name, s.source, sdks + "conformance"})
	}
	for _, g := range guests {
		t.Run(g.name, func(t *testing.T) {
			if g.source != "" {
				shop.buildGuest(t, g.name, g.source)
			}
			shop.meter(t, g.name, g.name+"-metered")
			files, err := filepath.Glob(g.records + "/*.toml")
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			answers := 0
			for _, path := range files {
				f, err := golden.Load(path)
				if err != nil {
					t.Fatal(err)
				}
				plain := transcript(t, g.name, set{f.Config, f.Batches()})
				sliced := transcript(t, g.name+"-metered", set{f.Config, f.Batches()})
				if answers += len(plain); !slices.Equal(plain, sliced) {
					t.Errorf("%s: metered:\n%.2000q\nas it is:\n%.2000q", filepath.Base(path), sliced, plain)
				}
			}
			if t.Logf("compared %d lines of %d files", answers, len(files)); answers < 5 {
				t.Errorf("compared %d lines, want more", answers)
			}
		})
	}
}

// meter makes the metered form of a module.
func (w *workshop) meter(t *testing.T, name, as string) {
	t.Helper()
	wasm, err := os.ReadFile(w.path(name))
	if err != nil {
		t.Fatal(err)
	}
	out, err := meter.Rewrite(wasm, meter.Options{Start: slice})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path(as), out.Wasm, 0o600); err != nil {
		t.Fatal(err)
	}
}

package crash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// workshop builds what the tests of this package run, each once.
type workshop struct {
	dir   string
	mu    sync.Mutex
	built map[string]error // by name; guarded by mu
}

var shop = workshop{built: make(map[string]error)}

// build makes a program or module by go build and returns its path.
func (w *workshop) build(t *testing.T, name string, env []string, args ...string) string {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	path := filepath.Join(w.dir, name)
	err, done := w.built[name]
	if !done {
		cmd := exec.Command("go", append([]string{"build", "-trimpath", "-o", path}, args...)...)
		cmd.Env = append(os.Environ(), env...)
		var out []byte
		if out, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
		w.built[name] = err
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// guest is the module that numbers records.
func (w *workshop) guest(t *testing.T) string {
	return w.build(t, "count.wasm", []string{"GOOS=wasip1", "GOARCH=wasm"}, "-buildmode=c-shared", "./testdata/count")
}

// window is the module that says how many there were, too.
func (w *workshop) window(t *testing.T) string {
	return w.build(t, "window.wasm", []string{"GOOS=wasip1", "GOARCH=wasm"}, "-buildmode=c-shared", "./testdata/window")
}

// dying is a bridge that has crash points.
func (w *workshop) dying(t *testing.T) string {
	return w.build(t, "sluice-crash", []string{"CGO_ENABLED=0"}, "-tags", "crashpoints", "../../cmd/sluice")
}

package ledger

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// TestViewReadOnly: who may not write to the directory can look all the same, at a ledger that is in use, one that was killed, and one that
// was closed.
func TestViewReadOnly(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, testConfig())
	mustAppend(t, l, passing("b/e", 10, 1, 2))
	killed := t.TempDir()
	for _, name := range []string{dbFile, dbFile + "-wal", dbFile + "-shm"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(killed, name), b, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	look := func(what, dir string) {
		t.Helper()
		readOnly(t, dir, func() {
			if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o640); err == nil {
				t.Fatal("the directory can be written to")
			}
			if n := mustCut(t, mustView(t, dir, everything), 2); n != 2 {
				t.Errorf("%s: %d records, want 2", what, n)
			}
		})
	}
	look("killed", killed)
	look("in use", dir)
	l.stop()
	look("closed", dir)
}

// readOnly calls f while this thread may not write to dir: as nobody where the test is root, who may write everywhere.
func readOnly(t *testing.T, dir string, f func()) {
	t.Helper()
	mode := os.FileMode(0o555)
	if os.Geteuid() == 0 {
		mode = 0o755
		if err := os.Chmod(filepath.Dir(dir), mode); err != nil { // which is only for its owner otherwise
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o755)
	if os.Geteuid() == 0 {
		const nobody = 65534
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := syscall.Setfsuid(nobody); err != nil {
			t.Fatal(err)
		}
		defer syscall.Setfsuid(0)
	}
	f()
}

package recorder

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSync: what is acknowledged is on the disk. Nothing that a process can see tells a write that was synced from one that was not, short of losing
// power: so the calls are watched, and what is in the file at each.
func TestSync(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	f := openTest(t, path)
	var sizes []int64
	var fails error
	disk := f.sync
	f.sync = func() error {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, info.Size())
		return errors.Join(disk(), fails)
	}
	f.newSession(time.Unix(1, 0))
	for n := range 3 {
		f.message(delivery(uint16(n+1), "s@1"))
		commit(t, f)
		if len(sizes) != n+1 || sizes[n] != f.size {
			t.Fatalf("after commit %d of a file of %d bytes: synced at %v", n+1, f.size, sizes)
		}
	}
	commit(t, f)
	if len(sizes) != 3 {
		t.Errorf("synced %d times, want 3: there was nothing to write", len(sizes))
	}
	if err := f.cut(f.size - 5); err != nil || len(sizes) != 4 || sizes[3] != f.size {
		t.Errorf("what was torn is cut off: got %v, synced at %v, want a file of %d bytes synced", err, sizes, f.size)
	}
	before := f.size
	f.message(delivery(4, "s@4"))
	fails = io.ErrShortWrite
	if err := f.commit(); !errors.Is(err, fails) || f.size != before {
		t.Errorf("a sync that fails: got %v and %d durable bytes, want %v and %d", err, f.size, fails, before)
	}
	f.Close()
	if err := disk(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("sync of the closed file: got %v, want %v: it is another's", err, os.ErrClosed)
	}
}

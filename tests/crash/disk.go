package crash

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
)

// disk is a file system of its own, on a device of its own, so that it can be filled and made to hang.
//
//	the machine's disk ── outer.img ═loop═▶ outer ── inner.img ═loop═▶ at
//
// Freezing outer makes the device below at hang: what is in memory can be read and written on, and an fsync does not end, as with a disk that
// does not answer. Freezing at is what backup software does to take a picture: every write stands still.
type disk struct {
	t         *testing.T
	outer, at string // where they are mounted
	filler    string
}

// newDisk makes and mounts one of so many MiB. It takes root, e2fsprogs and loop devices; where one is missing the test is skipped, or fails under
// E2E=require. A kernel that lets nobody mount, as in most containers, skips it in any case: there is nothing to install.
func newDisk(t *testing.T, size int64) *disk {
	t.Helper()
	mode := os.Getenv("E2E")
	if mode == "" {
		t.Skip("mounts a file system; run `make e2e`")
	}
	dir := t.TempDir()
	d := &disk{t: t, outer: filepath.Join(dir, "outer"), at: filepath.Join(dir, "at")}
	d.filler = filepath.Join(d.at, "filler")
	err := errors.New("only root can mount a file system")
	if os.Geteuid() == 0 {
		err = errors.Join(os.Mkdir(d.outer, 0o755), os.Mkdir(d.at, 0o755))
	}
	if err == nil {
		t.Cleanup(d.unmountLater())
		err = mount(filepath.Join(dir, "outer.img"), (size+size/8+16)<<20, d.outer)
	}
	if err == nil {
		err = mount(filepath.Join(d.outer, "inner.img"), size<<20, d.at)
	}
	if err != nil && (mode != "require" || denied.MatchString(err.Error())) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// denied is what mount says where the kernel does not let it.
var denied = regexp.MustCompile(`(?i)permission denied|not permitted|loop device`)

// unmountLater starts a process that thaws and unmounts when it is called, or when the test has ended in whatever way: a test that is killed would
// leave everybody who looks at the disk hanging.
func (d *disk) unmountLater() (now func()) {
	d.t.Helper()
	guard := exec.Command("sh", "-c", `cat
		for at in "$0" "$1"; do fsfreeze -u "$at"; done 2>/dev/null
		for at in "$1" "$0"; do mountpoint -q "$at" && { umount "$at" || umount -l "$at"; }; done`, d.outer, d.at)
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	ended, err := guard.StdinPipe()
	if err == nil {
		err = guard.Start()
	}
	if err != nil {
		d.t.Fatalf("guard of %s: %v", d.at, err)
	}
	return func() {
		_ = ended.Close()
		_ = guard.Wait()
	}
}

// mount makes a file system in a file of so many bytes. All its blocks are there before, so that the one below need not find room.
func mount(image string, size int64, at string) error {
	for _, command := range [][]string{
		{"fallocate", "-l", fmt.Sprint(size), image}, {"mkfs.ext4", "-q", "-m", "0", image}, {"mount", "-o", "loop", image, at},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", command, err, out)
		}
	}
	return nil
}

// fill takes all the room there is.
func (d *disk) fill() {
	d.t.Helper()
	f, err := os.Create(d.filler)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for len(block) > 0 {
		switch _, err := f.Write(block); {
		case errors.Is(err, syscall.ENOSPC):
			block = block[:len(block)/2] // the last bytes, too
		case err != nil:
			d.t.Fatal(err)
		}
	}
}

// clear gives the room back.
func (d *disk) clear() {
	d.t.Helper()
	if err := os.Remove(d.filler); err != nil {
		d.t.Fatal(err)
	}
}

// freeze makes what is mounted at a place stand still until thaw.
func (d *disk) freeze(at string) {
	d.t.Helper()
	if out, err := exec.Command("fsfreeze", "-f", at).CombinedOutput(); err != nil {
		d.t.Fatalf("freeze: %v: %s", err, out)
	}
}

// thaw is harmless where nothing is frozen.
func (d *disk) thaw(at string) { _ = exec.Command("fsfreeze", "-u", at).Run() }

package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"

	"github.com/sluicebridge/sluice/bridge"
)

// ballast is a file that takes room on the disk. On a full disk it is removed and the write-ahead log copied into its place: the log's file,
// which never shrinks, is then empty, and claims, acknowledgements and the deleting of settled rows, which is what makes room again, fit
// into it. Appends are refused until the ballast is back.
type ballast struct {
	path  string
	size  int64
	there bool
}

// restore makes the file where it is missing and twice its room is free: on the edge of a full disk it would come and go with every commit.
func (b *ballast) restore() error {
	if b.there {
		return nil
	}
	if st, err := os.Stat(b.path); err == nil && st.Size() == b.size {
		b.there = true
		return nil
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(b.path), &disk); err != nil {
		return fmt.Errorf("make ballast: %w", err)
	}
	if free := int64(disk.Bavail) * int64(disk.Bsize); free < 2*b.size {
		return fmt.Errorf("make ballast: %v are free, want %v: %w", bridge.Size(free), bridge.Size(2*b.size), bridge.ErrFull)
	}
	if err := b.write(); err != nil {
		return errors.Join(fmt.Errorf("make ballast: %w", err), os.Remove(b.path))
	}
	b.there = true
	return nil
}

func (b *ballast) write() error {
	f, err := os.Create(b.path)
	if err != nil {
		return err
	}
	block := make([]byte, 64<<10)
	noise := rand.NewChaCha8([32]byte{})
	for left := b.size; left > 0; left -= int64(len(block)) {
		noise.Read(block) // a file system that compresses would keep no room for zeros; never fails
		if _, err := f.Write(block[:min(left, int64(len(block)))]); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(f.Sync(), f.Close())
}

// remove gives the room to whoever writes next; an error where there was none.
func (b *ballast) remove() error {
	b.there = false
	return os.Remove(b.path)
}

// dropBallast gives the room of the ballast to the database; false where it is gone already.
func (l *Log) dropBallast() (bool, error) {
	if !l.ballast.there {
		return false, nil
	}
	l.mu.Lock()
	l.diskFull = true
	l.mu.Unlock()
	if err := l.ballast.remove(); err != nil {
		return false, nil // no room was made: the writes fail as they would without a ballast
	}
	bridge.CrashPoint("ledger.ballast.removed")
	return true, l.checkpointWAL()
}

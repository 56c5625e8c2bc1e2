package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
)

// ballast is a file that takes room on the disk. On a full disk it is removed, so that claims, acknowledgements and the deleting of settled
// rows, which is what makes room again, still fit. Appends are refused until it is back.
type ballast struct {
	path  string
	size  int64
	there bool
}

// restore makes the file where it is missing. It takes twice the room first: on the edge of a full disk the ballast would come
// and go with every commit.
func (b *ballast) restore() error {
	if b.there {
		return nil
	}
	if st, err := os.Stat(b.path); err == nil && st.Size() == b.size {
		b.there = true
		return nil
	}
	f, err := os.OpenFile(b.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return fmt.Errorf("make ballast: %w", err)
	}
	err = fill(f, b.size)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("make ballast: %w", err), os.Remove(b.path))
	}
	b.there = true
	return nil
}

func fill(f *os.File, size int64) error {
	block := make([]byte, 64<<10)
	noise := rand.NewChaCha8([32]byte{})
	for n := int64(0); n < 2*size; n += int64(len(block)) {
		noise.Read(block) // a file system that compresses would keep no room for zeros; never fails
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync()
}

// dropBallast gives the room of the ballast to the database; false where it is gone already.
func (l *Log) dropBallast() bool {
	if !l.ballast.there {
		return false
	}
	l.ballast.there = false
	l.mu.Lock()
	l.diskFull = true
	l.mu.Unlock()
	return os.Remove(l.ballast.path) == nil
}

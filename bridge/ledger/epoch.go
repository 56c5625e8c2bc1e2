package ledger

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sluicebridge/sluice/bridge"
)

// epoch tells one life of a ledger from another. The number rises at each Open, the id stays until a database is found that was put back from
// a copy. Both and the last row stand in the database and in a small file beside it, with which such a copy does not agree.
//
//	sluice-epoch 1\n
//	ID NUMBER ROW\n
type epoch struct {
	id       string
	number   uint64
	row      uint64
	restored string // why this is taken for an old copy; stays until ClearRestored
}

// Identity names the ledger, the same at every Open. It is another once an old copy was put in its place: what that copy claimed next was
// claimed before, for other messages.
func (l *Log) Identity() string { return l.epoch.id }

// Epoch names this opening of the ledger.
func (l *Log) Epoch() string { return fmt.Sprintf("%s-%d", l.epoch.id, l.epoch.number) }

// Restored says why the database is taken for an older copy of itself, "" where it is not. Until ClearRestored, the streams need a full
// reconcile: what was taken in after the copy was made is not known here.
func (l *Log) Restored() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch.restored
}

// ClearRestored notes that the full reconcile has been done.
func (l *Log) ClearRestored(ctx context.Context) error {
	w := &write{small: true}
	w.put = func(t *tx) error { return t.exec(sqlMeta, "restored", "") }
	w.end = func(err error) {
		if err == nil {
			l.epoch.restored = ""
		}
	}
	return l.submit(ctx, w)
}

// openEpoch compares database and file, and begins the next epoch: first in the database, then in the file. A file that stays behind says
// less, and nothing wrong; it is written again while the ledger runs.
func (l *Log) openEpoch() error {
	file, err := readEpoch(filepath.Join(l.dir, epochFile))
	if err != nil {
		return err
	}
	e := &l.epoch
	why := e.older(file, l.nextRow)
	if why != "" {
		e.restored = why
	}
	if e.id == "" || why != "" {
		var b [8]byte
		rand.Read(b[:]) // never fails
		e.id = hex.EncodeToString(b[:])
	}
	e.number = max(e.number, file.number) + 1
	for _, kv := range [][2]any{{"id", e.id}, {"epoch", int64(e.number)}, {"restored", e.restored}} {
		if err := l.tx.exec(sqlMeta, kv[0], kv[1]); err != nil {
			return err
		}
	}
	if err := l.noteEpoch(); err != nil {
		l.mu.Lock()
		l.note(err)
		l.mu.Unlock()
	}
	return nil
}

// older says why the database, whose last row is row, is taken for an old copy, "" where it is not.
func (e *epoch) older(file epoch, row uint64) string {
	switch {
	case file.id == "": // a new ledger, or one whose file was lost, which is no sign of an old database
		return ""
	case e.id == "":
		return "the database is gone"
	case file.id != e.id:
		return fmt.Sprintf("the database is of ledger %s, here was %s", e.id, file.id)
	case file.number > e.number:
		return fmt.Sprintf("the database is of epoch %d, here was %d", e.number, file.number)
	case file.row > row:
		return fmt.Sprintf("the database ends at row %d, here was %d", row, file.row)
	}
	return ""
}

// noteEpoch writes the file anew where the last row has moved.
func (l *Log) noteEpoch() error {
	l.mu.Lock()
	row := l.nextRow
	l.mu.Unlock()
	if row == l.epoch.row && row > 0 {
		return nil
	}
	bridge.CrashPoint("ledger.epoch")
	path := filepath.Join(l.dir, epochFile)
	text := fmt.Sprintf("sluice-epoch 1\n%s %d %d\n", l.epoch.id, l.epoch.number, row)
	if err := replaceFile(path, []byte(text)); err != nil {
		return fmt.Errorf("note epoch: %w", err)
	}
	l.epoch.row = row
	return nil
}

// replaceFile writes a file that is never seen half: a reader finds the old or the new one, after a power loss too.
func replaceFile(path string, text []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func readEpoch(path string) (epoch, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return epoch{}, nil
	}
	if err != nil {
		return epoch{}, err
	}
	var e epoch
	if _, err := fmt.Sscanf(string(text), "sluice-epoch 1\n%s %d %d\n", &e.id, &e.number, &e.row); err != nil {
		return epoch{}, fmt.Errorf("%s holds %q, want an epoch; remove it if it was edited: %w", path, text, err)
	}
	return e, nil
}

package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/ledger"
	"github.com/sluicebridge/sluice/tests/real"
)

// openClaims reads from a copy of the ledger that a killed bridge has left which messages were claimed and not ended.
func openClaims(t *testing.T, data string) map[string]bool {
	t.Helper()
	dir := t.TempDir()
	copyLedger(t, filepath.Join(data, "ledger"), dir)
	defer os.RemoveAll(dir)
	l, err := ledger.Open(t.Context(), dir, ledger.Default())
	if err != nil {
		t.Fatalf("read the ledger after a kill: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	claims, err := readClaims(ctx, l)
	stop()
	if err := errors.Join(err, <-ended, l.Close()); err != nil {
		t.Fatalf("read claims after a kill: %v", err)
	}
	return claims
}

// readClaims names the open claims of the remote.
func readClaims(ctx context.Context, l *ledger.Log) (map[string]bool, error) {
	claims := make(map[string]bool)
	out := l.Outbox("site")
	if out == nil {
		return claims, nil // killed before the first start had got that far
	}
	restored, err := out.Restore(ctx, "a test")
	if err != nil {
		return nil, err
	}
	for _, c := range restored.Claims {
		rows, err := out.Next(ctx, c.Row-1, 1)
		if err != nil {
			return nil, err
		}
		ms, err := out.Messages(c.Row)
		if err != nil {
			return nil, err
		}
		if rows[0].Number != c.Row || int(c.Index) >= len(ms) {
			return nil, fmt.Errorf("claim of message %d.%d: the row is %d and has %d: %w", c.Row, c.Index, rows[0].Number, len(ms), bridge.ErrCorrupt)
		}
		claims[string(ms[c.Index].AppendID(nil, rows[0].Stream))] = true
	}
	return claims, nil
}

// copyLedger copies the files of a ledger that nobody has open, but for its ballast.
func copyLedger(t *testing.T, from, to string) {
	t.Helper()
	for _, name := range []string{"ledger.db", "ledger.db-wal", "epoch"} {
		if err := copyFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("copy ledger: %v", err)
		}
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// tries is what was open at each kill.
type tries []map[string]bool

// explain fails the test for every copy of a message that no kill explains: after a kill what was open may go out again, once. It returns how many
// copies there were beside the first ones, and the most that one kill had open.
func (open tries) explain(t *testing.T, got []real.Received) (copies, most int) {
	t.Helper()
	allowed := make(map[string]int)
	for _, claims := range open {
		most = max(most, len(claims))
		for id := range claims {
			allowed[id]++
		}
	}
	seen := make(map[string]int)
	for i := range got {
		id := got[i].ID
		if seen[id]++; seen[id] == 1 {
			continue
		}
		if copies++; seen[id]-1 > allowed[id] {
			t.Errorf("copy %d of %s came, which was open at %d kills", seen[id], id, allowed[id])
		}
	}
	return copies, most
}

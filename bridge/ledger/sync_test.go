package ledger

import "testing"

// TestSync: the committer's connection waits for the disk at every commit (rule 1). Nothing that a process can see tells a commit without fsync from one
// with it, short of losing power: so the setting itself is read, on the very connection.
func TestSync(t *testing.T) {
	l := start(t, t.TempDir(), testConfig())
	for name, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "wal_autocheckpoint": "0"} {
		var got string
		if err := l.tx.conn.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("pragma %s: got %s, want %s", name, got, want)
		}
	}
}

package ledger

import "testing"

// TestNotes: a note is there after a new start, and is none of the ledger's own.
func TestNotes(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, testConfig())
	id := l.Identity()
	for _, n := range [][2]string{{"id", "mine"}, {"a", "1"}, {"a", "2"}} {
		if err := l.Note(t.Context(), n[0], n[1]); err != nil {
			t.Fatal(err)
		}
	}
	l.stop()
	l = start(t, dir, testConfig())
	for name, want := range map[string]string{"id": "mine", "a": "2", "b": ""} {
		if got := l.Noted(name); got != want {
			t.Errorf("note %s: got %q, want %q", name, got, want)
		}
	}
	if l.Identity() != id {
		t.Errorf("identity: got %s, want %s", l.Identity(), id)
	}
}

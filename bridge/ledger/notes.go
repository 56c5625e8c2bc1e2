package ledger

import (
	"context"
	"fmt"
)

// notePrefix tells a caller's notes from the ledger's own rows of meta.
const notePrefix = "note "

// Note keeps a small fact for its caller, in place of the one of that name before. Durable on return.
func (l *Log) Note(ctx context.Context, name, value string) error {
	w := &write{small: true, size: len(name) + len(value)}
	w.put = func(t *tx) error { return t.exec(sqlMeta, notePrefix+name, value) }
	w.end = func(err error) {
		if err == nil {
			l.notes[name] = value
		}
	}
	if err := l.submit(ctx, w); err != nil {
		return fmt.Errorf("note %s: %w", name, err)
	}
	return nil
}

// Noted returns what was noted last under a name, "" where nothing was.
func (l *Log) Noted(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.notes[name]
}

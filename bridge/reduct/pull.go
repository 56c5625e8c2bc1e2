package reduct

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// Pull is the [inputs.reduct.NAME] table: an input that asks a ReductStore for its records, for sites that do not want a replication task.
type Pull struct {
	URL       string          `toml:"url"`        // the store, such as http://127.0.0.1:8383
	Token     string          `toml:"token"`      // read access to the bucket
	TokenFile string          `toml:"token_file"` // file that holds the token
	Bucket    string          `toml:"bucket"`     // whose records are read; with the entry's name it makes the name of a stream
	Entries   []string        `toml:"entries"`    // patterns as in a replication task; none = all
	When      bridge.JSON     `toml:"when"`       // ReductStore's condition, as a table or as JSON; empty = every record
	Interval  bridge.Duration `toml:"interval"`   // time between two looks
	Overlap   bridge.Duration `toml:"overlap"`    // how late a record may be written, in record time, and is still found
	Since     string          `toml:"since"`      // RFC 3339; older records are not read; empty = all that the store has
	Timeout   bridge.Duration `toml:"timeout"`    // longest wait for an answer of the store
	Rate      int             `toml:"rate"`       // records a second that are read or compared; 0 = no bound
	Parallel  int             `toml:"parallel"`   // entries that are read at once
	MaxRecord bridge.Size     `toml:"max_record"` // a larger record is left in the store and noted as a gap
	MaxBody   bridge.Size     `toml:"max_body"`   // payloads of one answer of the store
	MaxMemory bridge.Size     `toml:"max_memory"` // payloads of all answers in progress
}

// DefaultPull returns the configuration that an empty table means.
func DefaultPull() Pull {
	d := Default()
	return Pull{
		Interval: bridge.Duration(time.Second), Overlap: d.Source.Overlap, Timeout: d.Source.Timeout, Parallel: d.Source.Parallel,
		MaxRecord: d.MaxRecord, MaxBody: d.MaxBody, MaxMemory: d.MaxMemory,
	}
}

// Validate reports everything that is wrong with c.
func (c *Pull) Validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	s := c.source()
	errs = append(errs, s.validate(""))
	bad(c.Bucket == "" || strings.ContainsAny(c.Bucket, "*/"), "bucket: %q, want the name of one", c.Bucket)
	bad(time.Duration(c.Overlap) < 0, "overlap: %v, want at least 0s", time.Duration(c.Overlap))
	bad(c.MaxRecord < 1, "max_record: %v, want at least 1B", c.MaxRecord)
	bad(c.MaxBody < c.MaxRecord, "max_body: %v, want at least max_record (%v)", c.MaxBody, c.MaxRecord)
	bad(c.MaxMemory < 2*c.MaxBody, "max_memory: %v, want at least twice max_body (%v)", c.MaxMemory, c.MaxBody)
	t, err := c.task()
	bad(err != nil, "when: %w", err)
	bad(err == nil && len(t.stateful) > 0, "when: %s: what it passes depends on the records before, and the store begins anew with each look",
		strings.Join(t.stateful, ", "))
	return errors.Join(errs...)
}

// source is what a reconciler is told of the store.
func (c *Pull) source() Source {
	return Source{
		URL: c.URL, Token: c.Token, TokenFile: c.TokenFile, Interval: c.Interval, Overlap: c.Overlap, Since: c.Since,
		Timeout: c.Timeout, Rate: c.Rate, Parallel: c.Parallel,
	}
}

// task is what a replication task would say that sent the same.
func (c *Pull) task() (*task, error) {
	t := &task{name: c.Bucket, srcBucket: c.Bucket, dstBucket: c.Bucket, entries: c.Entries}
	if c.When == "" {
		return t, nil
	}
	var err error
	t.raw = json.RawMessage(c.When)
	_, t.stateful, err = forQuery(t.raw)
	t.when = t.raw // directives that shape the answer are meant
	return t, err
}

// NewPuller returns the reconciler of an input that nobody sends to; cfg must have been validated.
func NewPuller(cfg Pull, m Mind) (*Reconciler, error) {
	t, err := cfg.task()
	if err != nil {
		return nil, err
	}
	if m.Log == nil {
		m.Log = slog.Default()
	}
	c := Config{MaxRecord: cfg.MaxRecord, MaxBody: cfg.MaxBody, MaxMemory: cfg.MaxMemory, Source: cfg.source()}
	r := NewReconciler(c, m)
	r.given = t
	return r, nil
}

package reduct

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/reductstore/reduct-go/model"
)

// Surprises says what a store makes of a condition that people do not expect; an error where it would refuse it.
type Surprises func(when []byte) ([]string, error)

// Inspect looks at what the edge store would do with this configuration, for `sluice check`: warnings are what would surprise, an
// error means that it could not be asked.
func Inspect(ctx context.Context, cfg Config, look Surprises) (warnings []string, err error) {
	if cfg.Source.URL == "" {
		return []string{"no source: records that the sender forgets (kill -9 of the bridge, a broken connection, an overrun replication log) " +
			"cannot be noticed, and order across a new connection is not promised"}, nil
	}
	s := newSource(cfg.Source)
	defer s.close()
	info, err := s.info(ctx)
	if err != nil {
		return nil, err
	}
	if olderThan(info.Version, 1, 19, 5) {
		warnings = append(warnings, "edge store "+info.Version+": before 1.19.5 its replication loses records by itself; upgrade it")
	}
	t, err := s.task(ctx, cfg.Source.Replication)
	if err != nil {
		return warnings, err
	}
	if cfg.Bucket != "*" && cfg.Bucket != t.dstBucket {
		warnings = append(warnings, fmt.Sprintf("task %s sends to bucket %s, but bucket = %q: its batches will be answered 503",
			t.name, t.dstBucket, cfg.Bucket))
	}
	if len(t.stateful) > 0 {
		warnings = append(warnings, fmt.Sprintf("task %s: %s depend on what was seen before, so what is forgotten can be "+
			"reported but not fetched; put them into the pipeline's own when", t.name, strings.Join(t.stateful, ", ")))
	}
	traps, err := t.traps(look)
	return append(warnings, traps...), err
}

// InspectPull is Inspect for a pull-only input.
func InspectPull(ctx context.Context, cfg Pull, look Surprises) (warnings []string, err error) {
	t, err := cfg.task()
	if err != nil {
		return nil, err
	}
	if warnings, err = t.traps(look); err != nil {
		return warnings, err
	}
	s := newSource(cfg.source())
	defer s.close()
	entries, err := s.entries(ctx, cfg.Bucket)
	if errors.Is(err, errNotFound) {
		return append(warnings, fmt.Sprintf("bucket %s is not there; it is waited for", cfg.Bucket)), nil
	}
	if err != nil {
		return warnings, err
	}
	for _, p := range t.entries {
		if name, excluded := strings.CutPrefix(p, "!"); !excluded && !slices.ContainsFunc(entries, func(e model.EntryInfo) bool { return matchEntry(e.Name, name) }) {
			warnings = append(warnings, fmt.Sprintf("entries: nothing in bucket %s is like %q", cfg.Bucket, p))
		}
	}
	return warnings, nil
}

// traps warns of what surprises in the task's condition.
func (t *task) traps(look Surprises) ([]string, error) {
	if t.raw == nil {
		return nil, nil
	}
	traps, err := look(t.raw)
	if err != nil {
		return nil, fmt.Errorf("task %s: when: %w", t.name, err)
	}
	for i := range traps {
		traps[i] = "when: " + traps[i]
	}
	return traps, nil
}

// olderThan compares a version such as 1.21.5; what cannot be read counts as new.
func olderThan(version string, want ...int) bool {
	for i, part := range strings.SplitN(version, ".", 3) {
		digits, _, _ := strings.Cut(part, "-")
		n, err := strconv.Atoi(digits)
		if err != nil || i >= len(want) || n > want[i] {
			return false
		}
		if n < want[i] {
			return true
		}
	}
	return false
}

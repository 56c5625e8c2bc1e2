package reduct

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/reductstore/reduct-go/model"
)

// Inspect looks at what the edge store would do with this configuration, for `sluice check`: warnings are what would surprise, an
// error means that it could not be asked.
func Inspect(ctx context.Context, cfg Config) (warnings []string, err error) {
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
	traps, err := t.traps()
	return append(warnings, traps...), err
}

// InspectPull is Inspect for a pull-only input.
func InspectPull(ctx context.Context, cfg Pull) (warnings []string, err error) {
	t, err := cfg.task()
	if err != nil {
		return nil, err
	}
	if warnings, err = t.traps(); err != nil {
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

// traps warns of comparisons in the task's condition that surprise.
func (t *task) traps() ([]string, error) {
	if t.raw == nil {
		return nil, nil
	}
	traps, err := typedTraps(t.raw)
	if err != nil {
		return nil, fmt.Errorf("task %s: when: %w", t.name, err)
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

// typedTraps finds comparisons with a label that can never be true: ReductStore reads a label as a boolean or a number where it looks
// like one, but a constant in quotes stays text; and a constant that looks like a duration becomes one, which a label never does.
func typedTraps(when json.RawMessage) ([]string, error) {
	var found []string
	err := walk(when, func(operator string, operands []json.RawMessage) {
		if !slices.Contains([]string{"$eq", "$in", "$gt", "$gte", "$lt", "$lte"}, operator) || !slices.ContainsFunc(operands, isLabel) {
			return
		}
		for _, raw := range operands {
			var text string
			if json.Unmarshal(raw, &text) != nil || isLabel(raw) {
				continue
			}
			switch {
			case looksTyped(text):
				found = append(found, fmt.Sprintf("when: %s with the text %q never matches, because labels that look like a boolean or "+
					"a number are one; write %s without quotes", operator, text, text))
			case looksLikeDuration(text):
				found = append(found, fmt.Sprintf("when: %s with %q never matches a label, because the server reads it as a duration", operator, text))
			}
		}
	})
	return found, err
}

// walk calls f for every operator of a condition with its operands, in both notations: {"&x": {"$eq": 1}} and {"$eq": ["&x", 1]}.
func walk(raw json.RawMessage, f func(operator string, operands []json.RawMessage)) error {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '{' {
		return nil
	}
	pairs, err := members(raw)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		var list []json.RawMessage
		if json.Unmarshal(p.value, &list) == nil {
			f(p.key, list)
			for _, v := range list {
				if err := walk(v, f); err != nil {
					return err
				}
			}
			continue
		}
		if !strings.HasPrefix(p.key, "$") {
			inner, err := members(p.value)
			if err != nil {
				continue // {"$has": "x"} and directives: nothing is compared
			}
			for _, q := range inner {
				operands := []json.RawMessage{json.RawMessage(strconv.Quote(p.key))}
				if json.Unmarshal(q.value, &list) != nil {
					list = []json.RawMessage{q.value}
				}
				f(q.key, append(operands, list...))
			}
		}
		if err := walk(p.value, f); err != nil {
			return err
		}
	}
	return nil
}

func isLabel(raw json.RawMessage) bool { return bytes.HasPrefix(bytes.TrimSpace(raw), []byte(`"&`)) }

// looksTyped is Value::parse of ReductStore's value.rs.
func looksTyped(s string) bool {
	if s == "true" || s == "false" {
		return true
	}
	_, err := strconv.ParseFloat(s, 64)
	return err == nil && !strings.ContainsAny(s, "xX_pP")
}

// looksLikeDuration is parse_duration of duration.rs: digits and a unit in any order, so that "s3" is three seconds.
func looksLikeDuration(s string) bool {
	parts := strings.Fields(s)
	for _, p := range parts {
		var number, unit []byte
		for _, c := range []byte(p) {
			if c >= '0' && c <= '9' || c == '.' || c == '-' {
				number = append(number, c)
			} else {
				unit = append(unit, c)
			}
		}
		units := []string{"us", "ms", "s", "m", "h", "d"}
		if _, err := strconv.ParseInt(string(number), 10, 64); err != nil || !slices.Contains(units, string(unit)) {
			return false
		}
	}
	return len(parts) > 0
}

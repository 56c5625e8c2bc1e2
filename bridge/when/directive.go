package when

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// padding is how many records, or how long in microseconds, around a hit go with it.
type padding struct {
	n    uint64
	time bool
}

// directives are what begins with # at the root.
type directives struct {
	before, after padding
	selected      []string // labels that stay; nil: all
	ignored       []string // how the store sends, which is not ours to say
}

// transport lists the directives that shape how a query answers, with what they take.
var transport = map[string]func(value) bool{
	"#batch_size": isSize, "#batch_metadata_size": isSize,
	"#batch_records": func(v value) bool { return v.kind == integer && v.n >= 0 },
	"#batch_timeout": isWait, "#record_timeout": isWait, "#io_timeout": isWait,
}

func isWait(v value) bool { return (v.kind == integer || v.kind == duration) && v.n >= 0 }

var size = regexp.MustCompile(`^(?i)(\d+\.?\d*|\.\d+)\s*([kmgtpe]i?b?|b)$`)

func isSize(v value) bool {
	switch v.kind {
	case integer:
		return v.n >= 0
	case text:
		_, err := strconv.ParseUint(strings.TrimPrefix(string(*v.s), "+"), 10, 64)
		return err == nil || size.Match(*v.s)
	}
	return false
}

// take reads one directive.
func (d *directives) take(m member) error {
	switch {
	case m.key == "#ext":
		return wrong(m.key, "extensions run in the store, not here")
	case m.key != "#ctx_before" && m.key != "#ctx_after" && m.key != "#select_labels" && transport[m.key] == nil:
		return wrong(m.key, "unknown directive")
	}
	vs, err := directiveValues(m)
	if err != nil {
		return err
	}
	if m.key == "#select_labels" {
		return d.selectLabels(m.key, vs)
	}
	if len(vs) != 1 {
		return wrong(m.key, "%d values, want one", len(vs))
	}
	if fits := transport[m.key]; fits != nil {
		if d.ignored = append(d.ignored, m.key); !fits(vs[0]) {
			return wrong(m.key, "%s is no value for it", appendText(nil, vs[0]))
		}
		return nil
	}
	n, ok := vs[0].asInt()
	if !ok || n < 0 {
		return wrong(m.key, "%s, want a number of records, or a duration, of 0 or more", appendText(nil, vs[0]))
	}
	p := padding{uint64(n), vs[0].kind == duration}
	if m.key == "#ctx_before" {
		d.before = p
	} else {
		d.after = p
	}
	return nil
}

func (d *directives) selectLabels(path string, vs []value) error {
	if len(vs) == 0 {
		return wrong(path, "no name")
	}
	for _, v := range vs {
		if v.kind != text {
			return wrong(path, "%s is no text: a name that reads as a duration (s3, 5m) cannot be selected", appendText(nil, v))
		}
		d.selected = append(d.selected, string(*v.s))
	}
	slices.Sort(d.selected)
	d.selected = slices.Compact(d.selected)
	return nil
}

// directiveValues reads one value or a list of them. An object is taken for its text, as the store does.
func directiveValues(m member) ([]value, error) {
	if !m.tree.isArray() {
		if m.tree.isObject() {
			return []value{textOf(string(m.tree.compact(nil)))}, nil
		}
		v, err := scalar(m.key, m.tree)
		return []value{v}, err
	}
	var all []value
	for i, item := range m.tree.items {
		v, err := scalar(fmt.Sprintf("%s[%d]", m.key, i), item)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func scalar(path string, t *tree) (value, error) {
	switch x := t.raw.(type) {
	case bool:
		return ofBool(x), nil
	case json.Number:
		v, err := number(x)
		if err != nil {
			return v, wrong(path, "%v", err)
		}
		return v, nil
	case string:
		if us, ok := parseDuration(x); ok {
			return value{kind: duration, n: us}, nil
		}
		return textOf(x), nil
	}
	return value{}, wrong(path, "want a text, a number, true or false")
}

// holds tells whether records that do not pass may still be asked for by a later hit.
func (p padding) holds() bool { return p.n > 0 }

// window is what is left of #ctx_after.
type window struct {
	left int64  // records; below 0: none
	last uint64 // time of the last hit
	hit  bool   // there was one
}

// passes notes whether the condition was met at a time, and tells whether the record goes out.
func (w *window) passes(after padding, met bool, now uint64) bool {
	if after.time {
		if met {
			w.last, w.hit = now, true
		}
		return w.hit && w.last+after.n >= now
	}
	if w.left > math.MinInt64 {
		w.left--
	}
	if met {
		w.left = int64(min(after.n, math.MaxInt64))
	}
	return w.left >= 0
}

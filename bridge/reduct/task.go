package reduct

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// task is a replication task of the edge store: what it sends, and under which names.
type task struct {
	name      string
	srcBucket string
	dstBucket string
	prefix    string          // ends with a slash, or is empty
	entries   []string        // patterns; none = all
	when      json.RawMessage // for queries: key order kept, directives taken out; nil = everything
	stateful  []string        // operators whose answer depends on the records before; queries cannot repeat them
	raw       json.RawMessage // when as it is
	read      time.Time       // just before it was asked for
}

// task reads a replication task. reduct-go's struct has no dst_prefix and loses the order of when, which decides what $limit and its
// like see.
func (s *source) task(ctx context.Context, name string) (*task, error) {
	var answer struct {
		Settings struct {
			SrcBucket string          `json:"src_bucket"`
			DstBucket string          `json:"dst_bucket"`
			DstPrefix string          `json:"dst_prefix"`
			Entries   []string        `json:"entries"`
			When      json.RawMessage `json:"when"`
		} `json:"settings"`
	}
	t := &task{name: name, read: time.Now()}
	if err := s.json(ctx, http.MethodGet, "/replications/"+url.PathEscape(name), nil, &answer); err != nil {
		return nil, fmt.Errorf("read replication task %s: %w", name, err)
	}
	set := &answer.Settings
	t.srcBucket, t.dstBucket, t.entries = set.SrcBucket, set.DstBucket, set.Entries
	if p := strings.Trim(set.DstPrefix, "/"); p != "" {
		t.prefix = p + "/"
	}
	if t.srcBucket == "" || t.dstBucket == "" {
		return nil, fmt.Errorf("read replication task %s: the answer names no buckets", name)
	}
	if len(set.When) > 0 && !bytes.Equal(set.When, []byte("null")) {
		t.raw = set.When
		var err error
		if t.when, t.stateful, err = forQuery(set.When); err != nil {
			return nil, fmt.Errorf("read replication task %s: when: %w", name, err)
		}
	}
	return t, nil
}

// comparable returns why nothing of the task's can be compared with the store; nil where it can.
func (t *task) comparable() error {
	if len(t.stateful) == 0 {
		return nil
	}
	return fmt.Errorf("the condition of replication task %s depends on what it saw before (%s): what it forgets cannot be fetched",
		t.name, strings.Join(t.stateful, " "))
}

// stream names an entry of the source as it arrives here.
func (t *task) stream(entry string) string {
	return t.dstBucket + "/" + t.prefix + strings.TrimLeft(entry, "/")
}

// entry is the reverse of stream; ok is false for a stream that the task does not send.
func (t *task) entry(stream string) (entry string, ok bool) {
	entry, ok = strings.CutPrefix(stream, t.dstBucket+"/"+t.prefix)
	return entry, ok && entry != "" && t.selects(entry)
}

// filter is the condition that applies to an entry: attachments pass unasked.
func (t *task) filter(entry string) json.RawMessage {
	if isMeta(entry) {
		return nil
	}
	return t.when
}

func isMeta(entry string) bool { return entry == metaEntry || strings.HasSuffix(entry, "/"+metaEntry) }

const metaEntry = "$meta"

// selects reports whether the task sends an entry, as transaction_filter.rs decides it: a pattern with ! in front excludes, and
// attachments go with the entry they belong to.
func (t *task) selects(entry string) bool {
	matches := func(p string) bool {
		parent, isMeta := strings.CutSuffix(entry, "/"+metaEntry)
		return matchEntry(entry, p) || isMeta && parent != "" && matchEntry(parent, p)
	}
	included, any := false, false
	for _, p := range t.entries {
		if len(p) > 1 && p[0] == '!' {
			if matches(p[1:]) {
				return false
			}
			continue
		}
		any = true
		included = included || matches(p)
	}
	return included || !any
}

// matchEntry is ReductStore's pattern.rs: * within a segment, ** for any number of segments; a lone * at the end of a pattern without
// slashes runs over slashes.
func matchEntry(entry, pattern string) bool {
	pattern = strings.TrimLeft(pattern, "/")
	if !strings.Contains(pattern, "*") {
		return entry == pattern
	}
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok && !strings.Contains(pattern, "/") {
		return strings.HasPrefix(entry, prefix)
	}
	return matchParts(strings.Split(entry, "/"), strings.Split(pattern, "/"))
}

func matchParts(entry, pattern []string) bool {
	switch {
	case len(pattern) == 0:
		return len(entry) == 0
	case pattern[0] == "**":
		return matchParts(entry, pattern[1:]) || len(entry) > 0 && matchParts(entry[1:], pattern)
	}
	return len(entry) > 0 && matchSegment(entry[0], pattern[0]) && matchParts(entry[1:], pattern[1:])
}

func matchSegment(s, pattern string) bool {
	parts := strings.Split(pattern, "*")
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for i, part := range parts[1:] {
		if part == "" {
			continue
		}
		if i == len(parts)-2 {
			return strings.HasSuffix(s, part)
		}
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s = s[at+len(part):]
	}
	return strings.HasSuffix(pattern, "*") || s == ""
}

// forQuery makes a replication's condition one that a query can be asked with. Directives go: replication ignores those that shape the
// answer (#select_labels would strip the records), and the context ones are stateful.
func forQuery(when json.RawMessage) (json.RawMessage, []string, error) {
	pairs, err := members(when)
	if err != nil {
		return nil, nil, err
	}
	var stateful []string
	out := []byte{'{'}
	for _, m := range pairs {
		if strings.HasPrefix(m.key, "#") {
			if strings.HasPrefix(m.key, "#ctx_") {
				stateful = append(stateful, m.key)
			}
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, m.name...), ':'), m.value...)
	}
	out = append(out, '}')
	if len(out) == 2 {
		out = nil
	}
	stateful, err = appendStateful(stateful, when)
	slices.Sort(stateful)
	return out, slices.Compact(stateful), err
}

// appendStateful collects the operators anywhere in a condition whose answer depends on what they saw before.
func appendStateful(found []string, when json.RawMessage) ([]string, error) {
	dec := json.NewDecoder(bytes.NewReader(when))
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("decode %.80q: %w", when, err)
		}
		switch op, _ := tok.(string); op {
		case "$each_n", "$each_t", "$gate", "$limit":
			found = append(found, op)
		}
	}
}

// pair is one member of a JSON object.
type pair struct {
	key         string
	name, value json.RawMessage // name is the key as it is written
}

// members takes a JSON object apart, in its order.
func members(raw json.RawMessage) ([]pair, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, fmt.Errorf("%.80q is not an object", raw)
	}
	var out []pair
	for dec.More() {
		from := dec.InputOffset()
		key, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("decode %.80q: %w", raw, err)
		}
		p := pair{key: key.(string), name: bytes.TrimLeft(raw[from:dec.InputOffset()], ", \t\r\n")}
		if err := dec.Decode(&p.value); err != nil {
			return nil, fmt.Errorf("decode %s: %w", p.key, err)
		}
		out = append(out, p)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("decode %.80q: %w", raw, err)
	}
	return out, nil
}

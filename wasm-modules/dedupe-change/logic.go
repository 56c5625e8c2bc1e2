package main

import (
	"errors"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// unchanged is why a record does not pass: the one of the manifest's reasons.
const unchanged uint16 = 0

// Bounds of what is remembered. A text or a key that is longer is not compared: its records pass.
const (
	maxText  = 64 // bytes
	maxKeys  = 4096
	maxState = 1 << 20 // the host's limit
)

// value is what was sent last of a field.
type value struct {
	known   bool // something was, and it could be kept
	numeric bool
	number  float64
	text    []byte // as it was written
}

func (v *value) set(text []byte) {
	if v.known = len(text) <= maxText; v.known {
		v.text = append(v.text[:0], text...)
		v.number, v.numeric = sluice.Float(text)
	}
}

// entry is what is known of a key.
type entry struct {
	key    []byte
	sent   int64 // time of the record that passed last
	seen   int64 // of the youngest record
	values []value
}

// table is what was sent of a stream's keys. Its zero value is empty.
type table struct {
	entries []entry
	places  map[string]int // of the entries
	last    int            // entry of the last record: the next one's is probably that one, or the one behind it
}

func (t *table) clear() {
	if t.places == nil {
		t.places = make(map[string]int)
	}
	clear(t.places)
	t.entries, t.last = t.entries[:0], 0
}

// news reports whether the record that was read is to pass, and takes it down if so. What cannot be judged passes: to send too much is the lesser harm.
func (t *table) news(s *settings, time int64) bool {
	var key []byte
	if s.key >= 0 {
		key = s.Values[s.key]
	}
	if len(key) > maxText {
		return true
	}
	e, isNew := t.entry(s, key, time)
	e.seen = max(e.seen, time)
	if time < e.sent { // what was sent before it is not known any more
		return true
	}
	if !isNew && (s.silence == 0 || time-e.sent < s.silence) && !changed(s, e) {
		return false
	}
	e.sent = time
	for i := range s.fields {
		if text := s.Values[s.fields[i].source]; text != nil {
			e.values[i].set(text)
		}
	}
	return true
}

// changed compares the fields that the record has with what was sent. One that has none of them says nothing that could be compared.
func changed(s *settings, e *entry) bool {
	some := false
	for i := range s.fields {
		text := s.Values[s.fields[i].source]
		if text == nil {
			continue
		}
		some = true
		v := &e.values[i]
		if v.known && sluice.Equal(v.text, text) {
			continue
		}
		if now, ok := sluice.Float(text); !ok || !v.known || !v.numeric || s.fields[i].apart(v.number, now) {
			return true
		}
	}
	return !some
}

// entry finds a key's entry, or begins one: in the place of the key that was silent the longest, where there are too many.
func (t *table) entry(s *settings, key []byte, time int64) (e *entry, isNew bool) {
	for _, at := range [...]int{t.last, t.last + 1} {
		if at < len(t.entries) && sluice.Equal(t.entries[at].key, key) {
			t.last = at
			return &t.entries[at], false
		}
	}
	at, known := t.places[string(key)]
	if !known {
		at = t.place(s.limit)
		t.entries[at].begin(key, time, len(s.fields))
		t.places[string(key)] = at
	}
	t.last = at
	return &t.entries[at], !known
}

// begin makes an entry that of a new key, in the memory of the old one.
func (e *entry) begin(key []byte, time int64, fields int) {
	e.key, e.sent, e.seen = append(e.key[:0], key...), time, time
	if e.values == nil {
		e.values = make([]value, fields)
	}
	for i := range e.values {
		e.values[i].known = false
	}
}

// place is the place of a new entry.
func (t *table) place(limit int) int {
	if n := len(t.entries); n < limit {
		if n < cap(t.entries) {
			t.entries = t.entries[:n+1]
		} else {
			t.entries = append(t.entries, entry{})
		}
		return n
	}
	oldest := 0
	for i := range t.entries {
		if t.entries[i].seen < t.entries[oldest].seen {
			oldest = i
		}
	}
	delete(t.places, string(t.entries[oldest].key))
	return oldest
}

// A state, little-endian:
//
//	 0        8
//	+--------+---------+-----                      layout: a hash of the configured key and fields
//	| layout | entry 0 | ...
//	+--------+---------+-----
//
//	 0      8      16       17
//	+------+------+--------+-----+----------+--------+-----
//	| sent | seen | length | key | length 0 | text 0 | ...    one text for each field; its length is one byte more than there are,
//	+------+------+--------+-----+----------+--------+-----   0 = there is none
//
// The manifest's state_version goes up with the layout.
const (
	stateHead = 8
	keyHead   = 17
)

func (t *table) save(dst []byte, s *settings) []byte {
	dst = sluice.AppendUint64(dst, s.layout)
	for i := range t.entries {
		e := &t.entries[i]
		dst = sluice.AppendUint64(sluice.AppendUint64(dst, uint64(e.sent)), uint64(e.seen))
		dst = append(append(dst, byte(len(e.key))), e.key...)
		for _, v := range e.values {
			if !v.known {
				dst = append(dst, 0)
				continue
			}
			dst = append(append(dst, byte(1+len(v.text))), v.text...)
		}
	}
	return dst
}

// load goes on from a saved state. One of other fields begins anew, and each key's next record passes: a changed configuration must not be
// able to stop a stream.
func (t *table) load(state []byte, s *settings) error {
	t.clear()
	if len(state) == 0 {
		return nil
	}
	broken := errors.New("a state of another layout")
	if len(state) < stateHead {
		return broken
	}
	if sluice.Uint64(state) != s.layout {
		return nil
	}
	for rest := state[stateHead:]; len(rest) > 0; {
		if len(rest) < keyHead {
			return broken
		}
		sent, seen := int64(sluice.Uint64(rest)), int64(sluice.Uint64(rest[8:]))
		key, after, ok := cut(rest[16:], 0)
		if _, known := t.places[string(key)]; !ok || known || len(t.entries) == s.limit {
			return broken
		}
		e, _ := t.entry(s, key, sent)
		e.seen = seen
		for i := range e.values {
			text, next, ok := cut(after, 1)
			if !ok {
				return broken
			}
			if text != nil {
				e.values[i].set(text)
			}
			after = next
		}
		rest = after
	}
	return nil
}

// cut takes a text behind its length, which is more than there are bytes by so much; less than that = none.
func cut(b []byte, more int) (text, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	n := int(b[0]) - more
	if n < 0 {
		return nil, b[1:], true
	}
	if n > maxText || n > len(b)-1 {
		return nil, nil, false
	}
	return b[1 : 1+n : 1+n], b[1+n:], true
}

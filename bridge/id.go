package bridge

import (
	"bytes"
	"cmp"
	"strconv"
)

// ID names a message within its stream: the record, and which output of it. Message.AppendID writes it.
type ID struct {
	Key
	Index uint16
}

// Compare orders by time, then revision, then index.
func (id ID) Compare(other ID) int {
	return cmp.Or(cmp.Compare(id.Time, other.Time), cmp.Compare(id.Revision, other.Revision), cmp.Compare(id.Index, other.Index))
}

// Append appends the identity as it travels.
func (id ID) Append(dst []byte, stream string) []byte {
	m := Message{Record: Record{Time: id.Time, Revision: id.Revision}, Index: id.Index}
	return m.AppendID(dst, stream)
}

// ID returns the message's identity. The time is the record's own, see AppendID.
func (m *Message) ID() ID { return ID{Key{m.Time - m.Shift, m.Revision}, m.Index} }

// ParseID reads what Message.AppendID writes, and nothing else: two texts are never one identity. stream is a view of text.
func ParseID(text []byte) (stream []byte, id ID, ok bool) {
	at := bytes.LastIndexByte(text, '@')
	if at <= 0 {
		return nil, id, false
	}
	stream, rest := text[:at], text[at+1:]
	rest, revision, updated := bytes.Cut(rest, []byte{'~'})
	rest, index, more := bytes.Cut(rest, []byte{'#'})
	if updated {
		id.Revision, ok = parseDigits(revision, 16)
		if !ok || id.Revision == 0 {
			return nil, id, false
		}
	}
	if more {
		n, ok := parseDigits(index, 10)
		if !ok || n == 0 || n > 1<<16-1 {
			return nil, id, false
		}
		id.Index = uint16(n)
	}
	digits, negative := bytes.CutPrefix(rest, []byte{'-'})
	t, ok := parseDigits(digits, 10)
	if !ok || t > 1<<63-1 || negative && t == 0 {
		return nil, id, false
	}
	if id.Time = int64(t); negative {
		id.Time = -id.Time
	}
	return stream, id, true
}

// parseDigits reads a number as strconv writes it.
func parseDigits(b []byte, base int) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 || b[0] == '0' && len(b) > 1 {
		return 0, false
	}
	for _, c := range b {
		if (c < '0' || c > '9') && (base == 10 || c < 'a' || c > 'f') {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(string(b), base, 64)
	return n, err == nil
}

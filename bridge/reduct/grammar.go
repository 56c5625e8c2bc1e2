package reduct

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// The head of a batch, as ReductStore's sender writes it (client_wrapper.rs, build_headers) and as its queries answer:
//
//	x-reduct-time-<µs>: <length>,<content type>[,<label>=<value>]…
//	  µs       decimal, the record's key
//	  length   decimal, bytes of the payload; 0 in a PATCH
//	  value    as it is, or "…" around a value that has a comma in it; nothing is escaped
//
// The lines come in any order, the payloads in ascending time, one after the other with nothing between.

// maxLabels bounds the memory that the labels of one head can take (48 bytes each).
const maxLabels = 1 << 16

const timePrefix = "x-reduct-time-"

var errHead = errors.New("malformed batch head")

// item is one line of a head. Its bytes are views into the header section.
type item struct {
	time        int64
	size        int64
	contentType []byte
	from, to    int  // its labels
	garbled     bool // content type or labels make no sense; there are no labels then
}

// head is a parsed batch head, its memory reused from request to request. Everything in it is a view into the header section
// that was parsed, valid as long as that is.
type head struct {
	items  []item // ascending in time
	labels []bridge.Label
	total  int64 // sum of the sizes
}

// parse reads a header section: lines that end in \r\n or \n. Lines of other names are skipped. It allocates nothing once its slices
// have grown.
func (h *head) parse(raw []byte) error {
	h.items, h.labels, h.total = h.items[:0], h.labels[:0], 0
	for len(raw) > 0 {
		var line []byte
		line, raw = cutLine(raw)
		if !isTimeLine(line) {
			continue
		}
		if len(raw) > 0 && (raw[0] == ' ' || raw[0] == '\t') {
			return fmt.Errorf("%w: a folded line", errHead)
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			return fmt.Errorf("%w: no colon", errHead)
		}
		if err := h.add(line[len(timePrefix):colon], line[colon+1:]); err != nil {
			return err
		}
		if it := &h.items[len(h.items)-1]; it.garbled {
			return fmt.Errorf("%w: record %d: content type or labels", errHead, it.time)
		}
	}
	return h.sort()
}

// add takes one record: the digits of its time, and the header's value. Where only what describes the record makes no sense, it is
// garbled and no error: the others can still be told apart.
func (h *head) add(digits, value []byte) error {
	t, ok := decimal(digits)
	if !ok {
		return fmt.Errorf("%w: time %.40q", errHead, digits)
	}
	value = bytes.TrimLeft(value, " \t")
	length, rest, described := bytes.Cut(value, []byte{','})
	size, ok := decimal(length)
	if !ok || h.total > math.MaxInt64-size {
		return fmt.Errorf("%w: record %d: length %.40q", errHead, t, length)
	}
	it := item{time: t, size: size, from: len(h.labels), garbled: !described}
	var labels []byte
	var labelled bool
	it.contentType, labels, labelled = bytes.Cut(rest, []byte{','})
	if labelled {
		if h.labels, ok = appendLabels(h.labels, labels); !ok {
			h.labels, it.garbled = h.labels[:it.from], true
		}
	}
	it.to = len(h.labels)
	h.total += size
	h.items = append(h.items, it)
	return nil
}

// sort puts the items in ascending time and refuses a time that comes twice.
func (h *head) sort() error {
	slices.SortFunc(h.items, func(a, b item) int { return cmp.Compare(a.time, b.time) })
	for i := 1; i < len(h.items); i++ {
		if h.items[i].time == h.items[i-1].time {
			return fmt.Errorf("%w: record %d twice", errHead, h.items[i].time)
		}
	}
	return nil
}

// span finds the first and last time in a head that may be malformed elsewhere, as much as can be told.
func span(raw []byte) (from, to int64, ok bool) {
	for len(raw) > 0 {
		var line []byte
		line, raw = cutLine(raw)
		if !isTimeLine(line) {
			continue
		}
		digits, _, _ := bytes.Cut(line[len(timePrefix):], []byte(":"))
		t, fine := decimal(digits)
		if !fine {
			return 0, 0, false
		}
		if !ok {
			from, to, ok = t, t, true
		}
		from, to = min(from, t), max(to, t)
	}
	return from, to, ok
}

// appendLabels reads name=value[,name=value]….
func appendLabels(labels []bridge.Label, b []byte) ([]bridge.Label, bool) {
	for {
		eq := nameLen(b)
		if eq <= 0 || len(labels) == maxLabels {
			return labels, false
		}
		l := bridge.Label{Name: b[:eq]}
		var rest []byte
		l.Value, rest = cutValue(b[eq+1:])
		labels = append(labels, l)
		if len(rest) == 0 {
			return labels, true
		}
		b = rest[1:] // the comma
	}
}

// cutValue takes one label value from b; rest is empty or begins with the comma after it.
//
// The sender puts quotes around a value that has a comma and writes every other as it is, quotes included, so "x" without a comma
// inside is a value of three bytes. The closing quote is the first one that the line's end or the next name= follows; a value that
// holds such a sequence itself cannot be told apart, here or in ReductStore.
func cutValue(b []byte) (value, rest []byte) {
	if len(b) > 0 && b[0] == '"' {
		for i := 1; i < len(b); i++ {
			if b[i] != '"' || i+1 < len(b) && (b[i+1] != ',' || nameLen(b[i+2:]) <= 0) {
				continue
			}
			if bytes.IndexByte(b[1:i], ',') < 0 {
				break
			}
			return b[1:i], b[i+1:]
		}
	}
	if comma := bytes.IndexByte(b, ','); comma >= 0 {
		return b[:comma], b[comma:]
	}
	return b, nil
}

// nameLen returns how long the label name at the head of b is, which = must follow; -1 where there is none.
func nameLen(b []byte) int {
	for i, c := range b {
		switch c {
		case '=':
			return i
		case ',', '"':
			return -1
		}
	}
	return -1
}

func cutLine(b []byte) (line, rest []byte) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return b, nil
	}
	line, rest = b[:end], b[end+1:]
	if end > 0 && line[end-1] == '\r' {
		line = line[:end-1]
	}
	return line, rest
}

// isTimeLine reports whether the line's name begins with timePrefix, in any case.
func isTimeLine(line []byte) bool {
	if len(line) < len(timePrefix) {
		return false
	}
	for i := range len(timePrefix) {
		c := line[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != timePrefix[i] {
			return false
		}
	}
	return true
}

// decimal reads 1 to 19 digits that fit an int64.
func decimal(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return int64(n), n <= math.MaxInt64
}

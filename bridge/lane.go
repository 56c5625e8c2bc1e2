package bridge

import (
	"fmt"
	"strings"
)

// Ordering says what keeps its order on the way out. The zero value keeps most.
type Ordering uint8

const (
	Strict    Ordering = iota // one unacknowledged message a lane: order holds even at receivers that reorder, and past refusals
	Pipelined                 // many unacknowledged a lane, for far ends that keep the order of a connection
	Unordered                 // no order is kept
)

var orderings = [...]string{Strict: "strict", Pipelined: "pipelined", Unordered: "none"}

// UnmarshalText reads strict, pipelined or none.
func (o *Ordering) UnmarshalText(text []byte) error {
	for i, name := range orderings {
		if string(text) == name {
			*o = Ordering(i)
			return nil
		}
	}
	return fmt.Errorf("ordering %q, want strict, pipelined or none", text)
}

// MarshalText writes what UnmarshalText reads.
func (o Ordering) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

func (o Ordering) String() string {
	if int(o) < len(orderings) {
		return orderings[o]
	}
	return fmt.Sprintf("Ordering(%d)", uint8(o))
}

// Lane says which messages of a pipeline keep their order among each other on the way out: those for which Template gives the same
// text. The zero Template stands for the whole stream.
type Lane struct {
	Ordering Ordering
	Template Template
}

// PerMessage reports whether messages of one row may be in different lanes.
func (l *Lane) PerMessage() bool { return l.Template.labels }

// Hash names a message's lane. It is the same in every process; two lanes that collide are one, which costs parallel work but no order.
// m may be nil unless PerMessage. A label that the message does not have counts as empty.
func (l *Lane) Hash(pipeline, stream string, m *Message) uint64 {
	h := hashString(hashStart, pipeline)
	if len(l.Template.parts) == 0 {
		return mix(hashString(h, stream))
	}
	for i := range l.Template.parts {
		switch p := &l.Template.parts[i]; p.place {
		case literal, placeTenant:
		case placeBucket:
			h = hashString(h, Bucket(stream))
		case placeEntry:
			h = hashString(h, Entry(stream))
		case placeLabel:
			v, _ := findLabel(m.Labels, p.text)
			h = hashString(h, v)
		}
	}
	return mix(h)
}

const hashStart = 14695981039346656037 // FNV-1a's

func hashString[T string | []byte](h uint64, s T) uint64 {
	const prime = 1099511628211
	h = (h ^ uint64(len(s))) * prime
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * prime
	}
	return h
}

// mix spreads h over all its bits (FNV leaves the low ones of similar names similar, and connections are chosen by remainder).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}

// Template is a text with places in braces: {bucket} {entry} {label:NAME} {tenant}. The zero Template is empty.
type Template struct {
	parts  []part
	labels bool
}

type part struct {
	place place
	text  string // the literal text, or the label's name
}

type place uint8

const (
	literal place = iota
	placeBucket
	placeEntry
	placeLabel
	placeTenant
)

// ParseTemplate compiles text.
func ParseTemplate(text string) (Template, error) {
	var t Template
	for rest := text; rest != ""; {
		before, after, found := strings.Cut(rest, "{")
		if strings.Contains(before, "}") {
			return Template{}, fmt.Errorf("template %q: } without {", text)
		}
		if before != "" {
			t.parts = append(t.parts, part{literal, before})
		}
		if !found {
			break
		}
		name, after, found := strings.Cut(after, "}")
		if !found {
			return Template{}, fmt.Errorf("template %q: { without }", text)
		}
		p, err := parsePlace(name)
		if err != nil {
			return Template{}, fmt.Errorf("template %q: %w", text, err)
		}
		t.labels = t.labels || p.place == placeLabel
		t.parts = append(t.parts, p)
		rest = after
	}
	return t, nil
}

func parsePlace(name string) (part, error) {
	switch name {
	case "bucket":
		return part{place: placeBucket}, nil
	case "entry":
		return part{place: placeEntry}, nil
	case "tenant":
		return part{place: placeTenant}, nil
	}
	if label, ok := strings.CutPrefix(name, "label:"); ok && label != "" {
		return part{placeLabel, label}, nil
	}
	return part{}, fmt.Errorf("unknown place {%s}, want {bucket} {entry} {label:NAME} {tenant}", name)
}

// Append adds the text for a message of stream to dst. A message without a label that is asked for is an error.
func (t *Template) Append(dst []byte, stream, tenant string, m *Message) ([]byte, error) {
	for i := range t.parts {
		switch p := &t.parts[i]; p.place {
		case literal:
			dst = append(dst, p.text...)
		case placeBucket:
			dst = append(dst, Bucket(stream)...)
		case placeEntry:
			dst = append(dst, Entry(stream)...)
		case placeTenant:
			dst = append(dst, tenant...)
		case placeLabel:
			v, ok := findLabel(m.Labels, p.text)
			if !ok {
				return dst, fmt.Errorf("no label %s", p.text)
			}
			dst = append(dst, v...)
		}
	}
	return dst, nil
}

func findLabel(labels []Label, name string) ([]byte, bool) {
	for i := range labels {
		if string(labels[i].Name) == name {
			return labels[i].Value, true
		}
	}
	return nil, false
}

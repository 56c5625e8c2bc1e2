package when

import (
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// expr is a compiled expression. ok is false where it has no value; why stands in env then.
type expr func(e *env) (v value, ok bool)

// env is what an evaluation works with. It serves one stream, so what it allocates once stays.
type env struct {
	labels []bridge.Label
	time   uint64 // of the record, microseconds
	cells  []cell // of the stateful operators
	places []int  // of each label that is asked for: where the record before had it
	arena  []byte // texts that were made for this record
	made   []*[]byte
	used   int // of made
	zones  map[string]*time.Location
	reason Reason
	at     string // path of what failed
}

// Bounds of an evaluation (rule 19 of INVARIANTS.md).
const (
	maxJoined = 1 << 20  // bytes of a text that $add makes
	keepArena = 64 << 10 // bytes that are kept for the next record
	maxZones  = 64       // time zones that labels name
)

// begin turns to another record.
func (e *env) begin(r *bridge.Record) {
	e.labels, e.time, e.reason, e.at, e.used = r.Labels, uint64(r.Time), Unmet, "", 0
	if e.arena = e.arena[:0]; cap(e.arena) > keepArena {
		e.arena = nil
	}
}

func (e *env) fail(why Reason, at string) (value, bool) {
	e.reason, e.at = why, at
	return value{}, false
}

// label returns a label's text. Names are told apart by bytes.
func (e *env) label(name string) (*[]byte, bool) {
	for i := range e.labels {
		if string(e.labels[i].Name) == name {
			return &e.labels[i].Value, true
		}
	}
	return nil, false
}

// labelAt is label for a name that the condition has, under a number of its own: neighbours are alike, so it mostly is where it was.
func (e *env) labelAt(own int, name string) (*[]byte, bool) {
	if at := e.places[own]; at < len(e.labels) && string(e.labels[at].Name) == name {
		return &e.labels[at].Value, true
	}
	for i := range e.labels {
		if string(e.labels[i].Name) == name {
			e.places[own] = i
			return &e.labels[i].Value, true
		}
	}
	return nil, false
}

// text returns what appendText writes, without a copy where it is text already.
func (e *env) text(v value) []byte {
	if v.kind == text {
		return *v.s
	}
	at := len(e.arena)
	e.arena = appendText(e.arena, v)
	return e.arena[at:len(e.arena):len(e.arena)]
}

// join returns both texts, one behind the other; ok is false where they are too long together.
func (e *env) join(a, b []byte) (v value, ok bool) {
	if len(a)+len(b) > maxJoined {
		return value{}, false
	}
	at := len(e.arena)
	e.arena = append(append(e.arena, a...), b...)
	return e.keep(e.arena[at:len(e.arena):len(e.arena)]), true
}

// keep makes a value of a text that lives until the next record.
func (e *env) keep(s []byte) value {
	if e.used == len(e.made) {
		e.made = append(e.made, new([]byte))
	}
	p := e.made[e.used]
	e.used++
	*p = s
	return ofText(p)
}

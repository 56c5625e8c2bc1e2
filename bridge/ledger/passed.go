package ledger

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// What went before older messages of its lane is written beside a step and at the end of a checkpoint, with numbers as in a batch row:
//
//	+----------+----------------------+
//	| passed n | n × lane 8 bytes, row |
//	+----------+----------------------+

func appendPassed(dst []byte, ps []bridge.Overtaking) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ps)))
	for _, p := range ps {
		dst = binary.LittleEndian.AppendUint64(dst, p.Lane)
		dst = binary.AppendUvarint(dst, p.Row)
	}
	return dst
}

func readPassed(r *reader) (ps []bridge.Overtaking) {
	for range r.count(9) {
		ps = append(ps, bridge.Overtaking{Lane: r.uint64(), Row: r.uvarint()})
	}
	return ps
}

// overtake notes what went before older messages of its lane.
func (o *Outbox) overtake(ps []bridge.Overtaking) {
	for _, p := range ps {
		o.passed[p.Lane] = p.Row
	}
}

// stillPassed forgets those behind which nothing waits any more, and returns the others by lane. Rows only get newer, so what is forgotten would
// never count again. As long as the oldest row waits the list has every lane in which something live went first, whatever it left behind.
func (o *Outbox) stillPassed() (ps []bridge.Overtaking) {
	if len(o.passed) == 0 {
		return nil
	}
	oldest := o.log.nextRow
	for number := range o.shares {
		oldest = min(oldest, number)
	}
	maps.DeleteFunc(o.passed, func(_, row uint64) bool { return row <= oldest })
	for _, lane := range slices.Sorted(maps.Keys(o.passed)) {
		ps = append(ps, bridge.Overtaking{Lane: lane, Row: o.passed[lane]})
	}
	return ps
}

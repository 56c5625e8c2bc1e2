package ledger

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// A row of a remote's journal is one atomic change of its outbox. Numbers as in a batch row.
//
//	step:
//	+------+------+--------+--------------------------------------------+---------+------------------+
//	| 0x01 | 0x01 | runs n | n × conn, number, count, kind (1), [reason]| notes n | n × conn, kind(1)|
//	+------+------+--------+-----------------------------------------------+------+------------------+
//	              | runs n | n × conn, number, row, index, count × 2 + marked |
//	              +--------+--------------------------------------------------+
//	(0x03 in place of the second 0x01: count × 4 + late × 2 + marked, and passed as in passed.go at the end; only where there is such a thing)
//
//	acknowledgements of consecutive numbers of one kind are a run, claims of consecutive messages under consecutive numbers too;
//	reason: of a refused one only, which is a run of its own
//
//	far end:
//	+------+------+----------+
//	| 0x01 | 0x02 | identity |
//	+------+------+----------+
//
// The CRC32C stands beside it in the row, over the data, then remote and number, 8 bytes each.
const journalVersion = 1

const (
	journalStep   = 1
	journalFar    = 2
	journalPassed = 3 // a step in which something went before older messages of its lane, or after newer ones
)

// maxStep bounds the acknowledgements, the notes and the claims of a step.
const maxStep = 1 << 18

// record is a journal row taken apart.
type record struct {
	step   bridge.Step
	far    string
	setFar bool
}

func appendStep(dst []byte, s *bridge.Step) []byte {
	kind := stepKind(s)
	dst = append(dst, journalVersion, kind)
	dst = appendAcks(dst, s.Acks)
	dst = binary.AppendUvarint(dst, uint64(len(s.Notes)))
	for _, n := range s.Notes {
		dst = binary.AppendUvarint(dst, uint64(n.Conn))
		dst = append(dst, byte(n.Kind))
	}
	dst = appendClaims(dst, s.Claims, kind)
	if kind == journalPassed {
		dst = appendPassed(dst, s.Passed)
	}
	return dst
}

func stepKind(s *bridge.Step) byte {
	if len(s.Passed) > 0 || slices.ContainsFunc(s.Claims, func(c bridge.Claim) bool { return c.Late }) {
		return journalPassed
	}
	return journalStep
}

func appendAcks(dst []byte, as []bridge.Ack) []byte {
	dst = binary.AppendUvarint(dst, uint64(countRuns(len(as), func(i int) bool { return followsAck(as[i-1], as[i]) })))
	for i := 0; i < len(as); {
		j := i + 1
		for j < len(as) && followsAck(as[j-1], as[j]) {
			j++
		}
		a := &as[i]
		dst = binary.AppendUvarint(dst, uint64(a.Conn))
		dst = binary.AppendUvarint(dst, a.Number)
		dst = binary.AppendUvarint(dst, uint64(j-i))
		dst = append(dst, byte(a.Kind))
		if a.Kind == bridge.AckRefused {
			dst = appendString(dst, a.Reason)
		}
		i = j
	}
	return dst
}

func followsAck(a, b bridge.Ack) bool {
	return b.Conn == a.Conn && b.Kind == a.Kind && b.Number == a.Number+1 && b.Kind != bridge.AckRefused
}

func appendClaims(dst []byte, cs []bridge.Claim, kind byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(countRuns(len(cs), func(i int) bool { return followsClaim(cs[i-1], cs[i]) })))
	for i := 0; i < len(cs); {
		j := i + 1
		for j < len(cs) && followsClaim(cs[j-1], cs[j]) {
			j++
		}
		c := &cs[i]
		dst = binary.AppendUvarint(dst, uint64(c.Conn))
		dst = binary.AppendUvarint(dst, c.Number)
		dst = binary.AppendUvarint(dst, c.Row)
		dst = binary.AppendUvarint(dst, uint64(c.Index))
		last := uint64(j - i)
		if kind == journalPassed {
			last = last<<1 | uint64(bit(c.Late, 1))
		}
		dst = binary.AppendUvarint(dst, last<<1|uint64(bit(c.Marked, 1)))
		i = j
	}
	return dst
}

func followsClaim(a, b bridge.Claim) bool {
	return b.Conn == a.Conn && b.Marked == a.Marked && b.Late == a.Late && b.Number == a.Number+1 && b.Row == a.Row && b.Index == a.Index+1
}

// countRuns returns the number of runs in n things, where follows(i) says that i goes on with the run of i-1.
func countRuns(n int, follows func(i int) bool) (runs int) {
	for i := range n {
		if i == 0 || !follows(i) {
			runs++
		}
	}
	return runs
}

func appendFar(dst []byte, far string) []byte {
	return appendString(append(dst, journalVersion, journalFar), far)
}

// readRecord takes a journal row apart.
func readRecord(data []byte) (record, error) {
	r := &reader{b: data}
	if v := r.byte(); r.err == nil && v != journalVersion {
		return record{}, fmt.Errorf("journal format %d, want %d: %w", v, journalVersion, bridge.ErrCorrupt)
	}
	var rec record
	switch kind := r.byte(); kind {
	case journalStep, journalPassed:
		readAcks(r, &rec.step)
		readNotes(r, &rec.step)
		readClaims(r, &rec.step, kind)
		if kind == journalPassed {
			rec.step.Passed = readPassed(r)
		}
	case journalFar:
		rec.setFar, rec.far = true, string(r.bytes())
	default:
		r.fail(fmt.Sprintf("journal row of kind %d", kind))
	}
	return rec, r.end()
}

func readAcks(r *reader, s *bridge.Step) {
	for range r.count(4) {
		a := bridge.Ack{Conn: uint16(r.uvarint()), Number: r.uvarint()}
		n := r.uvarint()
		a.Kind = bridge.AckKind(r.byte())
		if a.Kind == bridge.AckRefused {
			a.Reason = string(r.bytes())
		}
		if n > uint64(maxStep-len(s.Acks)) {
			r.fail("acknowledgements without number")
			return
		}
		s.Acks = slices.Grow(s.Acks, int(n))
		for range n {
			s.Acks = append(s.Acks, a)
			a.Number++
		}
	}
}

func readNotes(r *reader, s *bridge.Step) {
	for range r.count(2) {
		s.Notes = append(s.Notes, bridge.Note{Conn: uint16(r.uvarint()), Kind: bridge.NoteKind(r.byte())})
	}
}

func readClaims(r *reader, s *bridge.Step, kind byte) {
	for range r.count(5) {
		c := bridge.Claim{Conn: uint16(r.uvarint()), Number: r.uvarint()}
		c.Row, c.Index = r.uvarint(), uint32(r.uvarint())
		n := r.uvarint()
		c.Marked = n&1 != 0
		if n >>= 1; kind == journalPassed {
			c.Late = n&1 != 0
			n >>= 1
		}
		if n > uint64(maxStep-len(s.Claims)) {
			r.fail("claims without number")
			return
		}
		s.Claims = slices.Grow(s.Claims, int(n))
		for range n {
			s.Claims = append(s.Claims, c)
			c.Number++
			c.Index++
		}
	}
}

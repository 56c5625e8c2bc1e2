package ledger

import (
	"encoding/binary"
	"fmt"

	"github.com/sluicebridge/sluice/bridge"
)

// The data of a batch row, all numbers little-endian base 128 (uvarint; ± is zigzag) unless a width is given:
//
//	+------+----------+-------------------+-------------------+-----
//	| 0x01 | remotes n| n × remote id     | message           | …     until the end
//	+------+----------+-------------------+-------------------+-----
//
//	message:
//	+------+--------+------+-------+------------+---------+-----------+---------+----------------+----------+-----------------+---------+
//	| skip | ± time | bits | flags | [revision] | [index] | [± shift] | [topic] | [content type] | labels n | n × name, value | payload |
//	+------+--------+------+-------+------------+---------+-----------+---------+----------------+----------+-----------------+---------+
//	skip:    messages left out before this one: settled ones of a row that was rewritten small
//	time:    difference from the message before, the first from 0
//	bits:    1 revision (8 bytes) is there, 2 index, 4 topic, 8 content type, 32 shift; 16 content type is that of the message before
//	bytes are length-prefixed
//
// The CRC32C stands beside it in the row, over the data, then number, stream, count and noted, 8 bytes each.
const rowVersion = 1

const (
	hasRevision = 1 << iota
	hasIndex
	hasTopic
	hasType
	sameType
	hasShift
)

// maxCount bounds the messages and the keys of one row, and with them what a forged count can make a reader allocate.
const maxCount = 1 << 20

// appendRowHead starts the data of a row.
func appendRowHead(dst []byte, remotes []uint32) []byte {
	dst = append(dst, rowVersion)
	dst = binary.AppendUvarint(dst, uint64(len(remotes)))
	for _, id := range remotes {
		dst = binary.AppendUvarint(dst, uint64(id))
	}
	return dst
}

// appendMessage adds m, the message before it (nil for the first) and the number of those left out between them.
func appendMessage(dst []byte, m, before *bridge.Message, skip int) []byte {
	var bits byte
	var last int64
	if before != nil {
		last = before.Time
		if len(m.ContentType) > 0 && string(m.ContentType) == string(before.ContentType) {
			bits |= sameType
		}
	}
	if m.Revision != 0 {
		bits |= hasRevision
	}
	if m.Index != 0 {
		bits |= hasIndex
	}
	if m.Shift != 0 {
		bits |= hasShift
	}
	if len(m.Topic) > 0 {
		bits |= hasTopic
	}
	if len(m.ContentType) > 0 && bits&sameType == 0 {
		bits |= hasType
	}
	dst = binary.AppendUvarint(dst, uint64(skip))
	dst = binary.AppendVarint(dst, m.Time-last)
	dst = append(dst, bits)
	dst = binary.AppendUvarint(dst, uint64(m.Flags))
	if bits&hasRevision != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, m.Revision)
	}
	if bits&hasIndex != 0 {
		dst = binary.AppendUvarint(dst, uint64(m.Index))
	}
	if bits&hasShift != 0 {
		dst = binary.AppendVarint(dst, m.Shift)
	}
	if bits&hasTopic != 0 {
		dst = appendBytes(dst, m.Topic)
	}
	if bits&hasType != 0 {
		dst = appendBytes(dst, m.ContentType)
	}
	dst = binary.AppendUvarint(dst, uint64(len(m.Labels)))
	for _, l := range m.Labels {
		dst = appendBytes(dst, l.Name)
		dst = appendBytes(dst, l.Value)
	}
	return appendBytes(dst, m.Payload)
}

// rowSize is at least what a row of these messages takes, so that it is written into one allocation.
func rowSize(ms []bridge.Message, remotes int) int {
	n := 2 + 5*remotes
	for i := range ms {
		m := &ms[i]
		n += 50 + len(m.Topic) + len(m.ContentType) + uvarintLen(uint64(len(m.Payload))) + len(m.Payload)
		for _, l := range m.Labels {
			n += 6 + len(l.Name) + len(l.Value)
		}
	}
	return n
}

// readRowHead returns the remotes a row was appended for, and a reader of its messages.
func readRowHead(data []byte) ([]uint32, *reader, error) {
	r := &reader{b: data}
	if v := r.byte(); r.err == nil && v != rowVersion {
		return nil, nil, fmt.Errorf("row format %d, want %d: %w", v, rowVersion, bridge.ErrCorrupt)
	}
	n := r.count(1)
	remotes := make([]uint32, 0, n)
	for range n {
		remotes = append(remotes, uint32(r.uvarint()))
	}
	return remotes, r, r.err
}

// readRow returns the count messages of a row; those that were left out are zero. They are views of data.
func readRow(data []byte, count int) ([]bridge.Message, error) { return readMarked(data, count, nil) }

// readMarked is readRow, and sets the bits of the messages that were not left out; there may be nil.
func readMarked(data []byte, count int, there bridge.Bitmap) ([]bridge.Message, error) {
	_, r, err := readRowHead(data)
	if err != nil {
		return nil, err
	}
	if count < 0 || count > maxCount {
		return nil, fmt.Errorf("%d messages in a row: %w", count, bridge.ErrCorrupt)
	}
	// Counted first, so that all labels of a row are one allocation and none is moved by a later one.
	stored, labels, err := measureRow(*r)
	if err != nil {
		return nil, err
	}
	if stored > count {
		return nil, fmt.Errorf("%d messages in a row of %d: %w", stored, count, bridge.ErrCorrupt)
	}
	ms := make([]bridge.Message, count)
	space := make([]bridge.Label, 0, labels)
	var before *bridge.Message
	for at := -1; len(r.b) > 0; {
		skip := r.uvarint()
		if skip >= uint64(count-at-1) {
			r.fail("message beyond the count")
			break
		}
		at += 1 + int(skip)
		space = readMessage(r, &ms[at], before, space)
		if there != nil {
			there.Set(at)
		}
		before = &ms[at]
	}
	return ms, r.end()
}

// measureRow counts messages and labels.
func measureRow(r reader) (stored, labels int, err error) {
	for len(r.b) > 0 {
		r.uvarint()
		var m bridge.Message
		labels += readMessageHead(&r, &m, nil)
		r.bytes()
		stored++
	}
	return stored, labels, r.err
}

// readMessageHead reads all but the payload, skipping the labels, and returns their number.
func readMessageHead(r *reader, m, before *bridge.Message) int {
	readFixed(r, m, before)
	n := r.count(2)
	for range n {
		r.bytes()
		r.bytes()
	}
	return n
}

func readMessage(r *reader, m, before *bridge.Message, space []bridge.Label) []bridge.Label {
	readFixed(r, m, before)
	at := len(space)
	for range r.count(2) {
		space = append(space, bridge.Label{Name: r.bytes(), Value: r.bytes()})
	}
	if len(space) > at {
		m.Labels = space[at:len(space):len(space)]
	}
	m.Payload = r.bytes()
	return space
}

// readFixed reads what stands before the labels.
func readFixed(r *reader, m, before *bridge.Message) {
	m.Time = r.varint()
	if before != nil {
		m.Time += before.Time
	}
	bits := r.byte()
	m.Flags = bridge.Flags(r.uvarint())
	if bits&hasRevision != 0 {
		m.Revision = r.uint64()
	}
	if bits&hasIndex != 0 {
		m.Index = uint16(r.uvarint())
	}
	if bits&hasShift != 0 {
		m.Shift = r.varint()
	}
	if bits&hasTopic != 0 {
		m.Topic = r.bytes()
	}
	switch {
	case bits&hasType != 0:
		m.ContentType = r.bytes()
	case bits&sameType != 0 && before != nil:
		m.ContentType = before.ContentType
	}
}

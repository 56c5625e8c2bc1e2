package when

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/sluicebridge/sluice/bridge"
)

// What a condition remembers of a stream, stored with each batch as the state of "module" when. Numbers are little-endian base 128, ± zigzag,
// bytes length-prefixed.
//
//	+------+----------+-----------------------------------------------+----------------------------+---------------------+
//	| 0x01 | ± newest | cells n | n × flags, ± count, last, deadline  | window: hit, ± left, last  | held n | n × record |
//	+------+----------+-----------------------------------------------+----------------------------+---------------------+
//	record: | why | flags | ± time | revision 8 bytes | content type | labels n | n × name, value | payload |
//
// newest is the time of the newest record that was asked about. A state of another version, or of another condition, is not read.
const stateVersion = 1

// maxState bounds it (rule 19 of INVARIANTS.md), as that of a module. What is held gives way, the oldest first.
const maxState = 1 << 20

func (f *filter) appendState(dst []byte) []byte {
	dst = f.appendHead(dst)
	dst = binary.AppendUvarint(dst, uint64(f.held.len()))
	for i := range f.held.all() {
		dst = appendHeld(dst, &f.held.all()[i])
	}
	return dst
}

// appendHead writes all but the held records.
func (f *filter) appendHead(dst []byte) []byte {
	dst = append(dst, stateVersion)
	dst = binary.AppendVarint(dst, f.newest)
	dst = binary.AppendUvarint(dst, uint64(len(f.env.cells)))
	for _, c := range f.env.cells {
		dst = append(dst, byte(c.flags))
		dst = binary.AppendVarint(dst, c.count)
		dst = binary.AppendUvarint(dst, c.last)
		dst = binary.AppendUvarint(dst, c.deadline)
	}
	hit := byte(0)
	if f.window.hit {
		hit = 1
	}
	dst = append(dst, hit)
	dst = binary.AppendVarint(dst, f.window.left)
	return binary.AppendUvarint(dst, f.window.last)
}

func appendHeld(dst []byte, h *held) []byte {
	r := &h.record
	dst = binary.AppendUvarint(dst, uint64(h.why))
	dst = binary.AppendUvarint(dst, uint64(r.Flags))
	dst = binary.AppendVarint(dst, r.Time)
	dst = binary.LittleEndian.AppendUint64(dst, r.Revision)
	dst = appendBytes(dst, r.ContentType)
	dst = binary.AppendUvarint(dst, uint64(len(r.Labels)))
	for _, l := range r.Labels {
		dst = appendBytes(appendBytes(dst, l.Name), l.Value)
	}
	return appendBytes(dst, r.Payload)
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// size is at least what appendHeld writes.
func (h *held) size() int {
	const number = binary.MaxVarintLen32
	n := 2*number + binary.MaxVarintLen64 + 8 + 3*number + len(h.record.ContentType) + len(h.record.Payload)
	for _, l := range h.record.Labels {
		n += 2*number + len(l.Name) + len(l.Value)
	}
	return n
}

// readState puts what appendState wrote into f. The bytes are f's afterwards.
func (f *filter) readState(b []byte) error {
	r := reader{b: b}
	if v := r.byte(); v != stateVersion {
		return fmt.Errorf("format %d, want %d: %w", v, stateVersion, bridge.ErrCorrupt)
	}
	f.newest = r.varint()
	if n := r.uvarint(); n != uint64(len(f.env.cells)) {
		return fmt.Errorf("%d counters, want %d: %w", n, len(f.env.cells), bridge.ErrCorrupt)
	}
	for i := range f.env.cells {
		f.env.cells[i] = cell{flags: cellFlags(r.byte()) & allFlags, count: r.varint(), last: r.uvarint(), deadline: r.uvarint()}
	}
	f.window = window{hit: r.byte() != 0, left: r.varint(), last: r.uvarint()}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		h := r.held()
		f.held.push(h)
		f.held.bytes += h.size()
	}
	if r.bad || len(r.b) > 0 {
		return fmt.Errorf("%d bytes do not add up: %w", len(b), bridge.ErrCorrupt)
	}
	return nil
}

// reader takes a state apart. After an error everything is zero and bad is set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) held() held {
	h := held{at: -1, why: Reason(r.uvarint())}
	h.record.Flags = bridge.Flags(r.uvarint())
	h.record.Time = r.varint()
	if b := r.take(8); !r.bad {
		h.record.Revision = binary.LittleEndian.Uint64(b)
	}
	h.record.ContentType = r.bytes()
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		h.record.Labels = append(h.record.Labels, bridge.Label{Name: r.bytes(), Value: r.bytes()})
	}
	h.record.Payload = r.bytes()
	return h
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); !r.bad {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		n = math.MaxInt
	}
	r.take(uint64(n))
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		n = math.MaxInt
	}
	r.take(uint64(n))
	return v
}

func (r *reader) bytes() []byte { return r.take(r.uvarint()) }

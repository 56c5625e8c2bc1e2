package ledger

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/sluicebridge/sluice/bridge"
)

// castagnoli is the polynomial of CRC32C, for which processors have an instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal returns the CRC32C of data followed by the numbers that say which data it should be: a row that was swapped with another,
// whole and sound, is found as well.
func seal(data []byte, identity ...uint64) uint32 {
	return sealMore(crc32.Checksum(data, castagnoli), identity...)
}

// sealMore goes on with a seal.
func sealMore(sum uint32, identity ...uint64) uint32 {
	var b [8]byte
	for _, n := range identity {
		binary.LittleEndian.PutUint64(b[:], n)
		sum = crc32.Update(sum, castagnoli, b[:])
	}
	return sum
}

// reader takes a format apart. After the first thing that does not add up every method returns zero and err is set; it never
// allocates, so a wrong length costs nothing.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %w", what, bridge.ErrCorrupt)
	}
	r.b = nil
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("cut number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("cut number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number of things of at least size bytes each, which must fit into what is left.
func (r *reader) count(size int) int {
	v := r.uvarint()
	if v > uint64(len(r.b)/size) {
		r.fail("count beyond the end")
		return 0
	}
	return int(v)
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail("cut")
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uint64() uint64 {
	if len(r.b) < 8 {
		r.fail("cut number")
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

// bytes returns a view of a length-prefixed run; nil for an empty one.
func (r *reader) bytes() []byte {
	n := r.count(1)
	if n == 0 {
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// end reports what went wrong, left-over bytes included.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("left-over bytes")
	}
	return r.err
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// uvarintLen returns the bytes that binary.AppendUvarint writes, of at most what 64 bits take.
func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

package meter

import (
	"errors"
	"fmt"
)

var errShort = errors.New("ends too early")

// reader reads the binary format. After its first error it returns zeros; err is looked at once, at the end of what was being read.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("byte %#x: %w", r.at, err)
	}
	r.at = len(r.b)
}

func (r *reader) left() int { return len(r.b) - r.at }

func (r *reader) byte() byte {
	if r.at >= len(r.b) {
		r.fail(errShort)
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

// u32 reads an unsigned LEB128 number.
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7f) << shift
		if c&0x80 != 0 {
			continue
		}
		if v > 1<<32-1 {
			break
		}
		return uint32(v)
	}
	r.fail(errors.New("number is longer than 32 bits"))
	return 0
}

// count reads how many items follow, each of at least one byte.
func (r *reader) count() uint32 {
	n := r.u32()
	if int64(n) > int64(r.left()) {
		r.fail(errShort)
		return 0
	}
	return n
}

// skip passes over a LEB128 number of at most 64 bits, signed or not.
func (r *reader) skip() {
	for range 10 {
		if r.byte()&0x80 == 0 {
			return
		}
	}
	r.fail(errors.New("number is longer than 64 bits"))
}

// take returns the next n bytes, a view.
func (r *reader) take(n uint32) []byte {
	if int64(n) > int64(r.left()) {
		r.fail(errShort)
		return nil
	}
	r.at += int(n)
	return r.b[r.at-int(n) : r.at]
}

// rest returns all that is left, a view.
func (r *reader) rest() []byte { return r.take(uint32(r.left())) }

func (r *reader) name() string { return string(r.take(r.u32())) }

func appendName(dst []byte, name string) []byte {
	return append(appendU32(dst, uint32(len(name))), name...)
}

func appendU32(dst []byte, v uint32) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

func appendS64(dst []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(dst, c)
		}
		dst = append(dst, c|0x80)
	}
}

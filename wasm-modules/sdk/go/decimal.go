package sluice

import (
	"math"
	"math/bits"
	"strconv"
)

// whole10 is powers of ten.
var whole10 = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}

// AppendInt appends an integer.
func AppendInt(dst []byte, v int64) []byte {
	if v < 0 {
		return appendUint(append(dst, '-'), -uint64(v))
	}
	return appendUint(dst, uint64(v))
}

func appendUint(dst []byte, v uint64) []byte {
	at := len(dst)
	if v >= 1e16 || cap(dst)-at < 16 {
		return strconv.AppendUint(dst, v, 10)
	}
	to, high := dst[:at+16], v/1e8
	if high == 0 {
		w := digits8(v)
		zeros := bits.TrailingZeros64(w&^(ones*'0')|1<<56) >> 3
		putWord(to, at, w>>(8*zeros))
		return to[:at+8-zeros]
	}
	w := digits8(high)
	zeros := bits.TrailingZeros64(w&^(ones*'0')|1<<56) >> 3
	putWord(to, at, w>>(8*zeros))
	putWord(to, at+8-zeros, digits8(v-high*1e8))
	return to[:at+16-zeros]
}

// digits8 is the eight digits of a number below 10^8, the highest in the lowest byte: two halves, four pairs, eight digits, each split of all at once.
func digits8(v uint64) uint64 {
	x := v/1e4 | v%1e4<<32
	q := x * 10486 >> 20 & (0x7f<<32 | 0x7f)
	x = q | (x-q*100)<<16
	q = x * 103 >> 10 & (0x0f * (1<<48 | 1<<32 | 1<<16 | 1))
	x = q | (x-q*10)<<8
	return x | ones*'0'
}

// appendWord appends the n lowest bytes of a word.
func appendWord(dst []byte, w uint64, n int) []byte {
	from := len(dst)
	if cap(dst)-from < 8 {
		dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	putWord(dst[:from+8], from, w)
	return dst[:from+n]
}

// appendFixed appends scaled / 10^digits.
func appendFixed(dst []byte, scaled uint64, digits int) []byte {
	if digits == 0 {
		return appendUint(dst, scaled)
	}
	unit := whole10[digits]
	whole := scaled / unit
	if whole < 10 {
		dst = append(dst, byte('0'+whole), '.')
	} else {
		dst = append(appendUint(dst, whole), '.')
	}
	return appendWord(dst, digits8(scaled-whole*unit)>>(8*(8-digits)), digits)
}

// fixed is the magnitude of value times 10^digits, rounded to even: exact, and without a digit at a time as strconv has it. It takes magnitudes from
// 2^-75 to 2^33, and 0.
func fixed(value float64, digits int) (scaled uint64, ok bool) {
	b := math.Float64bits(value)
	shift := 1075 - int(b>>52&0x7ff) // magnitude = mantissa / 2^shift
	if shift < 20 || shift > 127 {
		return 0, b<<1 == 0
	}
	high, low := bits.Mul64(b&(1<<52-1)|1<<52, whole10[digits])
	rest := low << (64 - shift&63) // what is shifted out, from the top bit
	if shift >= 64 {
		shift -= 64
		sticky := rest
		rest = high<<(64-shift) | low>>shift
		if sticky != 0 {
			rest |= 1
		}
		scaled = high >> shift
	} else {
		scaled = high<<(64-shift) | low>>shift
	}
	if rest > 1<<63 || rest == 1<<63 && scaled&1 != 0 {
		scaled++
	}
	return scaled, true
}

package sluice

import "math/bits"

// Texts are looked at eight bytes at a time: in a Go module a call or a branch that is taken, each of them metered, costs far more than
// arithmetic. What is found in a word is a mask with the top bit of a byte set; the lowest of them is exact, those above it may be more
// than there are.
const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// special finds what cannot stand in a JSON string as it is: quotes, backslashes, control characters.
func special(x uint64) uint64 {
	quote, slash := x^ones*'"', x^ones*'\\'
	return ((x-ones*' ')&^x | (quote-ones)&^quote | (slash-ones)&^slash) & tops
}

// noDigits finds bytes other than 0 to 9, each of them.
func noDigits(x uint64) uint64 {
	x ^= ones * '0'
	return (x&^tops + ones*0x76 | x) & tops
}

// first is the place of the lowest byte found, 8 where there is none.
func first(found uint64) int { return bits.TrailingZeros64(found) >> 3 }

// tail is the bytes of b from at on, less than eight, with filler behind them.
func tail(b []byte, at int, filler byte) uint64 {
	n := len(b) - at
	x := uint64(0)
	switch {
	case n >= 4:
		x = half(b, at) | half(b, len(b)-4)<<(8*(n-4))
	case n > 0:
		x = uint64(b[at]) | uint64(b[at+n/2])<<(8*(n/2)) | uint64(b[len(b)-1])<<(8*(n-1))
	}
	return x | ones*uint64(filler)<<(8*n)
}

// Equal reports whether two short texts are the same.
func Equal(a, b []byte) bool {
	n := len(a)
	switch {
	case n != len(b):
		return false
	case n > 16:
		return string(a) == string(b)
	case n >= 8:
		return word(a, 0) == word(b, 0) && word(a, n-8) == word(b, n-8)
	case n >= 4:
		return half(a, 0) == half(b, 0) && half(a, n-4) == half(b, n-4)
	}
	return tail(a, 0, 0) == tail(b, 0, 0)
}

// Append is append for short texts.
func Append(dst, text []byte) []byte {
	from, n := len(dst), len(text)
	if n > 16 || cap(dst)-from < 16 {
		return append(dst, text...)
	}
	to := dst[:from+16]
	if n >= 8 {
		putWord(to, from, word(text, 0))
		putWord(to, from+n-8, word(text, n-8))
	} else {
		putWord(to, from, tail(text, 0, 0))
	}
	return to[:from+n]
}

// Piece is a short text that is appended often.
type Piece struct {
	text  []byte
	words [2]uint64
}

// NewPiece makes a Piece.
func NewPiece(text string) Piece {
	var b [16]byte
	copy(b[:], text)
	return Piece{[]byte(text), [2]uint64{word(b[:], 0), word(b[:], 8)}}
}

// AppendTo appends the piece.
func (p *Piece) AppendTo(dst []byte) []byte {
	at, n := len(dst), len(p.text)
	if n > 16 || cap(dst)-at < 16 {
		return append(dst, p.text...)
	}
	to := dst[:at+16]
	putWord(to, at, p.words[0])
	putWord(to, at+8, p.words[1])
	return to[:at+n]
}

package when

import (
	"bytes"
	"cmp"
	"math"
	"strconv"
)

// kind is the type of a value. A label has one too: it is read from its text on each use.
type kind uint8

const (
	boolean kind = iota // n is 0 or 1
	integer
	float
	text
	duration // n in microseconds; never of a label
)

// value is what an expression gives, small enough to stay in registers.
type value struct {
	kind kind
	n    int64   // of a float its bits
	s    *[]byte // of a text: a label's value, a constant, or one that env keeps until the next record
}

func ofBool(b bool) value {
	if b {
		return value{n: 1}
	}
	return value{}
}

func ofInt(n int64) value     { return value{kind: integer, n: n} }
func ofFloat(f float64) value { return value{kind: float, n: int64(math.Float64bits(f))} }
func ofText(s *[]byte) value  { return value{kind: text, s: s} }

// float is the number that a value of kind float is.
func (v value) float() float64 { return math.Float64frombits(uint64(v.n)) }

// truth is never an error: what is not zero and not empty is true, NaN among it.
func (v value) truth() bool {
	switch v.kind {
	case float:
		return v.float() != 0
	case text:
		return len(*v.s) > 0
	}
	return v.n != 0
}

// asInt reads a text that is a whole number as one; ok is false for any other text.
func (v value) asInt() (n int64, ok bool) {
	switch v.kind {
	case float:
		return saturate(v.float()), true
	case text:
		return parseInt(*v.s)
	}
	return v.n, true
}

// asFloat is asInt for numbers with a fraction.
func (v value) asFloat() (f float64, ok bool) {
	switch v.kind {
	case float:
		return v.float(), true
	case text:
		return parseFloat(*v.s)
	}
	return float64(v.n), true
}

// saturate is Rust's f as i64.
func saturate(f float64) int64 {
	switch {
	case f != f:
		return 0
	case f >= math.MaxInt64:
		return math.MaxInt64
	case f <= math.MinInt64:
		return math.MinInt64
	}
	return int64(f)
}

// unsigned is Rust's f as u64.
func unsigned(f float64) uint64 {
	switch {
	case !(f > 0):
		return 0
	case f >= math.MaxUint64:
		return math.MaxUint64
	}
	return uint64(f)
}

// equal compares numbers of any kind as numbers, and text with text. Text never equals a number.
func equal(a, b value) bool {
	order, ok := compare(a, b)
	return ok && order == 0
}

// compare is false for what has no order: text with anything else, and NaN.
func compare(a, b value) (order int, ok bool) {
	switch {
	case a.kind == text && b.kind == text:
		return bytes.Compare(*a.s, *b.s), true
	case a.kind == text || b.kind == text:
		return 0, false
	case a.kind == float || b.kind == float:
		x, _ := a.asFloat()
		y, _ := b.asFloat()
		return cmp.Compare(x, y), x == x && y == y
	}
	return cmp.Compare(a.n, b.n), true
}

// appendText writes a value as the store shows it to $contains, $exists, $ref and $cast: 1.0 is "1", and no number has an exponent.
func appendText(dst []byte, v value) []byte {
	switch v.kind {
	case boolean:
		return strconv.AppendBool(dst, v.n != 0)
	case integer:
		return strconv.AppendInt(dst, v.n, 10)
	case float:
		switch f := v.float(); {
		case f != f:
			return append(dst, "NaN"...)
		case math.IsInf(f, 1):
			return append(dst, "inf"...)
		case math.IsInf(f, -1):
			return append(dst, "-inf"...)
		default:
			return strconv.AppendFloat(dst, f, 'f', -1, 64)
		}
	case duration:
		return appendDuration(dst, v.n)
	}
	return append(dst, *v.s...)
}

// parseLabel reads a label's value: exactly true or false, a whole number, a number, else text. It allocates nothing.
func parseLabel(of *[]byte) value {
	s := *of
	if len(s) == 0 {
		return ofText(of)
	}
	switch c := s[0]; {
	case c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.':
	case c == 't' && string(s) == "true":
		return ofBool(true)
	case c == 'f' && string(s) == "false":
		return ofBool(false)
	case c != 'i' && c != 'I' && c != 'n' && c != 'N':
		return ofText(of)
	}
	if n, ok := parseInt(s); ok {
		return ofInt(n)
	}
	if f, ok := parseFloat(s); ok {
		return ofFloat(f)
	}
	return ofText(of)
}

// parseInt reads a whole number with an optional sign.
func parseInt(s []byte) (int64, bool) {
	digits, negative := s, false
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		digits, negative = s[1:], s[0] == '-'
	}
	if len(digits) == 0 {
		return 0, false
	}
	limit := uint64(math.MaxInt64)
	if negative {
		limit++
	}
	var n uint64
	for _, c := range digits {
		d := uint64(c - '0')
		if d > 9 || n > (limit-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	if negative {
		return -int64(n), true
	}
	return int64(n), true
}

// parseFloat reads a number as Rust does: no hex, no underscores; inf, infinity and nan in any case; too large is infinite.
func parseFloat(s []byte) (float64, bool) {
	if !isFloat(s) {
		return 0, false
	}
	f, _ := strconv.ParseFloat(string(s), 64) // the only error left is of range, and its value is the one to take
	return f, true
}

// isFloat looks at the bytes first: an error of strconv would cost more than all the rest.
func isFloat(s []byte) bool {
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		s = s[1:]
	}
	if len(s) > 0 && (s[0]|0x20 == 'i' || s[0]|0x20 == 'n') {
		return isWord(s, "inf") || isWord(s, "infinity") || isWord(s, "nan")
	}
	whole := countDigits(s)
	s = s[whole:]
	fraction := 0
	if len(s) > 0 && s[0] == '.' {
		fraction = countDigits(s[1:])
		s = s[1+fraction:]
	}
	if whole+fraction == 0 {
		return false
	}
	if len(s) > 0 && s[0]|0x20 == 'e' {
		if s = s[1:]; len(s) > 0 && (s[0] == '-' || s[0] == '+') {
			s = s[1:]
		}
		n := countDigits(s)
		return n > 0 && n == len(s)
	}
	return len(s) == 0
}

func isWord(s []byte, word string) bool {
	if len(s) != len(word) {
		return false
	}
	for i := range s {
		if s[i]|0x20 != word[i] {
			return false
		}
	}
	return true
}

func countDigits(s []byte) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

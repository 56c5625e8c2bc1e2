package sluice

import (
	"errors"
	"math"
	"strconv"
)

// Float reads a decimal number such as a label's value. It does not allocate.
func Float(text []byte) (value float64, ok bool) {
	digits, scale, at, negative := uint64(0), 0, 0, false
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		negative, at = text[0] == '-', 1
	}
	count, point := 0, false
	for ; at < len(text); at++ {
		c := text[at]
		switch {
		case c == '.' && !point:
			point = true
		case c >= '0' && c <= '9' && count < 15:
			digits = 10*digits + uint64(c-'0')
			count++
			if point {
				scale++
			}
		default: // an exponent, more digits than a float64 takes exactly, or no number
			return slowFloat(text)
		}
	}
	if count == 0 {
		return 0, false
	}
	value = float64(digits) / pow10[scale] // both exact, so the quotient is rounded once
	if negative {
		value = -value
	}
	return value, true
}

var pow10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

func slowFloat(text []byte) (float64, bool) {
	for _, c := range text { // only decimal numbers: no hex, no underscores, no words
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	if len(text) > 400 {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(text), 64)
	return v, err == nil && !math.IsInf(v, 0)
}

// AppendFloat appends a number with so many digits after the point, or the shortest that reads back as the same number for -1. What
// JSON has no number for becomes null.
func AppendFloat(dst []byte, value float64, digits int) []byte {
	if digits >= 0 && digits < len(whole10) {
		if scaled, ok := fixed(value, digits); ok {
			if math.Signbit(value) {
				dst = append(dst, '-')
			}
			return appendFixed(dst, scaled, digits)
		}
	}
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return append(dst, "null"...)
	}
	format := byte('f')
	if magnitude := math.Abs(value); digits < 0 && magnitude != 0 && (magnitude < 1e-6 || magnitude >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, value, format, digits, 64)
}

// Microseconds reads a duration such as "1m30s", "500ms" or "2.5s".
func Microseconds(text string) (int64, error) {
	total, rest := 0.0, text
	for rest != "" {
		n := 0
		for n < len(rest) && (rest[n] == '.' || rest[n] >= '0' && rest[n] <= '9') {
			n++
		}
		value, ok := Float([]byte(rest[:n]))
		size, length := unit(rest[n:])
		if !ok || length == 0 {
			break
		}
		total, rest = total+value*size, rest[n+length:]
	}
	if text == "" || rest != "" || total > 1e18 {
		return 0, errors.New("duration " + strconv.Quote(text) + ", want a number with a unit such as 5s")
	}
	return int64(total), nil
}

// unit returns how many microseconds the unit that text begins with has, and its length.
func unit(text string) (microseconds float64, length int) {
	n := 0
	for n < len(text) && text[n] >= 'a' && text[n] <= 'z' {
		n++
	}
	switch text[:n] {
	case "us":
		return 1, n
	case "ms":
		return 1e3, n
	case "s":
		return 1e6, n
	case "m":
		return 60e6, n
	case "h":
		return 3600e6, n
	}
	return 0, 0
}

// AppendUint64 and Uint64 are for states: little-endian, as the rest of the border is.
func AppendUint64(dst []byte, v uint64) []byte {
	return append(dst, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
}

// Uint64 reads the first 8 bytes of b.
func Uint64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

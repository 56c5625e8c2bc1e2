package sluice

import (
	"strconv"
	"unicode/utf8"
)

// Writer appends one JSON object to a buffer that it keeps. The zero value is ready; Reset begins the next one. Keys are written as they come,
// in their order.
//
//	w.Reset()
//	w.Text("device", device)
//	w.Float("rms", rms, 4)
//	out.SetPayload(w.Bytes())
type Writer struct {
	buf []byte
}

// Reset begins an object.
func (w *Writer) Reset() { w.buf = append(w.buf[:0], '{') }

// Text writes a member that is a string.
func (w *Writer) Text(key string, value []byte) {
	w.key(key)
	w.buf = AppendString(w.buf, value)
}

// Float writes a member that is a number, with so many digits after the point, or the shortest for -1.
func (w *Writer) Float(key string, value float64, digits int) {
	w.key(key)
	w.buf = AppendFloat(w.buf, value, digits)
}

// Int writes a member that is an integer.
func (w *Writer) Int(key string, value int64) {
	w.key(key)
	w.buf = AppendInt(w.buf, value)
}

// Bool writes a member that is true or false.
func (w *Writer) Bool(key string, value bool) {
	w.key(key)
	w.buf = strconv.AppendBool(w.buf, value)
}

// Raw writes a member whose value is JSON already.
func (w *Writer) Raw(key string, value []byte) {
	w.key(key)
	w.buf = append(w.buf, value...)
}

func (w *Writer) key(key string) {
	if len(w.buf) > 1 {
		w.buf = append(w.buf, ',')
	}
	w.buf = append(appendString(w.buf, key), ':')
}

// Bytes returns the finished object, valid until Reset.
func (w *Writer) Bytes() []byte {
	w.buf = append(w.buf, '}')
	return w.buf
}

// AppendString appends a JSON string. Bytes that are no UTF-8 become the replacement character: labels are bytes, JSON is not.
func AppendString(dst, value []byte) []byte {
	if !clean(value) {
		return appendString(dst, value)
	}
	return append(Append(append(dst, '"'), value), '"')
}

// clean reports whether a text can stand in a JSON string as it is, of ASCII only.
func clean(value []byte) bool {
	at := 0
	for ; at+8 <= len(value); at += 8 {
		if x := word(value, at); (special(x)|x)&tops != 0 {
			return false
		}
	}
	x := tail(value, at, 'x')
	return (special(x)|x)&tops == 0
}

func appendString[T string | []byte](dst []byte, value T) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(value); {
		c := value[i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(string(value[i:min(i+utf8.UTFMax, len(value))]))
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= 0x20:
			dst = append(dst, c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		}
		i++
	}
	return append(dst, '"')
}

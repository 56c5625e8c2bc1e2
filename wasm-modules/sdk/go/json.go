package sluice

import (
	"errors"
	"strconv"
	"unicode/utf8"
)

// JSON is one valid JSON value, as it was written: a view, without the space around it. nil stands for a value that is not there, and
// all methods take it.
type JSON []byte

// maxDepth bounds how deep values may lie in one another: checking one takes a stack frame each.
const maxDepth = 64

// ParseJSON checks a text and returns its value. It does not copy and, for a valid text, does not allocate.
func ParseJSON(text []byte) (JSON, error) {
	s := scanner{text: text}
	s.space()
	from := s.at
	ok := s.value()
	to := s.at
	if s.space(); !ok || s.at < len(text) {
		return nil, errors.New("no JSON at byte " + strconv.Itoa(s.at))
	}
	return JSON(text[from:to:to]), nil
}

// Kind is the value's first byte, with '0' for all numbers, and 0 where there is no value.
func (j JSON) Kind() byte {
	switch {
	case len(j) == 0:
		return 0
	case j[0] == '-' || j[0] >= '0' && j[0] <= '9':
		return '0'
	}
	return j[0]
}

// Get returns a member of an object.
func (j JSON) Get(name string) JSON {
	var found JSON
	j.Members(func(key, value JSON) bool {
		if key.is(name) {
			found = value
		}
		return found == nil
	})
	return found
}

// Path follows names, and numbers for places in an array, that are joined by dots: "values.0.rms".
func (j JSON) Path(path string) JSON {
	for j != nil && path != "" {
		name := path
		path = ""
		for i := range len(name) {
			if name[i] == '.' {
				name, path = name[:i], name[i+1:]
				break
			}
		}
		if j.Kind() == '[' {
			j = j.element(name)
		} else {
			j = j.Get(name)
		}
	}
	return j
}

func (j JSON) element(number string) JSON {
	n, err := strconv.Atoi(number)
	if err != nil {
		return nil
	}
	var found JSON
	j.Elements(func(value JSON) bool {
		if n == 0 {
			found = value
		}
		n--
		return n >= 0
	})
	return found
}

// Members calls yield for each member of an object, until it returns false. Keys are JSON strings.
func (j JSON) Members(yield func(key, value JSON) bool) {
	if j.Kind() != '{' {
		return
	}
	s := scanner{text: j, at: 1}
	for s.space(); s.text[s.at] != '}'; s.next() {
		key := s.take()
		s.space()
		s.at++ // the colon
		s.space()
		if !yield(key, s.take()) {
			return
		}
	}
}

// Elements calls yield for each element of an array, until it returns false.
func (j JSON) Elements(yield func(value JSON) bool) {
	if j.Kind() != '[' {
		return
	}
	s := scanner{text: j, at: 1}
	for s.space(); s.text[s.at] != ']'; s.next() {
		if !yield(s.take()) {
			return
		}
	}
}

// take returns the value that begins here. The text was checked before.
func (s *scanner) take() JSON {
	from := s.at
	s.value()
	return JSON(s.text[from:s.at:s.at])
}

// next goes on behind a value: to the next one, or to the end of what holds it.
func (s *scanner) next() {
	s.space()
	if s.text[s.at] == ',' {
		s.at++
		s.space()
	}
}

// is reports whether a string says name.
func (j JSON) is(name string) bool {
	if len(j) == len(name)+2 && string(j[1:len(j)-1]) == name {
		return true
	}
	for _, c := range j {
		if c == '\\' {
			return j.Text() == name
		}
	}
	return false
}

// Float returns a number.
func (j JSON) Float() (value float64, ok bool) {
	if j.Kind() != '0' {
		return 0, false
	}
	return Float(j)
}

// Text returns what a string says, and "" for anything else.
func (j JSON) Text() string { return string(j.AppendText(nil)) }

// AppendText appends what a string says.
func (j JSON) AppendText(dst []byte) []byte {
	if j.Kind() != '"' {
		return dst
	}
	for i := 1; i < len(j)-1; i++ {
		if j[i] != '\\' {
			dst = append(dst, j[i])
			continue
		}
		i++
		switch j[i] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, n := j.rune(i - 1)
			dst = utf8.AppendRune(dst, r)
			i += n - 2
		default:
			dst = append(dst, j[i])
		}
	}
	return dst
}

// rune reads the escape \uXXXX at i, or a pair of them, and returns how many bytes it took.
func (j JSON) rune(i int) (r rune, n int) {
	r = hex4(j[i+2:])
	if r < 0xD800 || r > 0xDFFF {
		return r, 6
	}
	if r < 0xDC00 && len(j) > i+12 && j[i+6] == '\\' && j[i+7] == 'u' {
		if low := hex4(j[i+8:]); low >= 0xDC00 && low <= 0xDFFF {
			return 0x10000 + (r-0xD800)<<10 + low - 0xDC00, 12
		}
	}
	return utf8.RuneError, 6
}

func hex4(b []byte) rune {
	r := rune(0)
	for _, c := range b[:4] {
		r = r<<4 | rune(hexDigit(c))
	}
	return r
}

// hexDigit is the value of a digit, -1 for another byte.
func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

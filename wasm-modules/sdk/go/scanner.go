package sluice

// scanner walks over a JSON text (RFC 8259).
type scanner struct {
	text  []byte
	at    int
	depth int
}

func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// value goes behind the value that begins here; false: there is none, and at is near where.
func (s *scanner) value() bool {
	switch c := s.peek(); c {
	case '{', '[':
		return s.list(c, c+2) // '}' and ']' are two behind
	case '"':
		return s.string()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

// list goes behind an object or an array.
func (s *scanner) list(open, end byte) bool {
	if s.depth++; s.depth > maxDepth {
		return false
	}
	s.at++
	if s.space(); s.peek() == end {
		s.at++
		s.depth--
		return true
	}
	for {
		if open == '{' && !s.key() || !s.value() {
			return false
		}
		s.space()
		switch s.peek() {
		case end:
			s.at++
			s.depth--
			return true
		case ',':
			s.at++
			s.space()
		default:
			return false
		}
	}
}

func (s *scanner) key() bool {
	if s.peek() != '"' || !s.string() {
		return false
	}
	if s.space(); s.peek() != ':' {
		return false
	}
	s.at++
	s.space()
	return true
}

// string goes behind a string.
func (s *scanner) string() bool {
	for s.at++; ; s.at++ {
		if s.plain(); s.at >= len(s.text) {
			return false
		}
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return true
		case c != '\\' || !s.escape():
			return false
		}
	}
}

// plain goes to the next byte that is special in a string.
func (s *scanner) plain() {
	text, at := s.text, s.at
	for at+8 <= len(text) {
		n := first(special(word(text, at)))
		if at += n; n < 8 {
			s.at = at
			return
		}
	}
	s.at = min(at+first(special(tail(text, at, 'x'))), len(text))
}

// escape goes to the last byte of an escape.
func (s *scanner) escape() bool {
	s.at++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			s.at++
			if hexDigit(s.peek()) < 0 {
				return false
			}
		}
		return true
	}
	return false
}

func (s *scanner) word(word string) bool {
	if len(s.text)-s.at < len(word) || string(s.text[s.at:s.at+len(word)]) != word {
		return false
	}
	s.at += len(word)
	return true
}

func (s *scanner) number() bool {
	if s.peek() == '-' {
		s.at++
	}
	if s.peek() == '0' {
		s.at++
	} else if !s.digits() {
		return false
	}
	if s.peek() == '.' {
		if s.at++; !s.digits() {
			return false
		}
	}
	if s.peek()|0x20 == 'e' {
		if s.at++; s.peek() == '+' || s.peek() == '-' {
			s.at++
		}
		return s.digits()
	}
	return true
}

func (s *scanner) digits() bool {
	text, from := s.text, s.at
	at := from
	for at+8 <= len(text) {
		n := first(noDigits(word(text, at)))
		if at += n; n < 8 {
			s.at = at
			return at > from
		}
	}
	s.at = at + first(noDigits(tail(text, at, 'x')))
	return s.at > from
}

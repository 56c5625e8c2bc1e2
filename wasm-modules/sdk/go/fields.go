package sluice

import "unsafe"

// Fields finds many fields of a JSON text while it is checked, once and not again for each of them. What one record's members were called, the next
// one's probably are: a member that stands where it stood before is known by a comparison of its name.
//
//	fields := sluice.NewFields("seq", "drive.rpm")  // once
//	err := fields.Parse(r.Payload())                // for each record
//	rpm, ok := fields.Value(1).Float()
type Fields struct {
	paths []path
	text  []byte
	spans []span // of each path
	known []member
	last  member // one whose name is not remembered
}

// span is where in the text a value lies; to 0 = it has none.
type span struct {
	from, to int
	taken    bool // a member of the path's name was there, whatever became of the rest of the path
}

// path is a name and what follows it; dots in what follows are for JSON.Path.
type path struct {
	name, rest, whole string
}

// member is a name as it was written, with its quotes and the colon, and the first of the paths that begin with it: -1 = none does.
type member struct {
	words, masks [2]uint64 // the first bytes of name and colon, and which of them count
	length       int
	path         int
	more         bool // other paths begin with it, too
	plain        bool // the one path is nothing but its name
}

const (
	maxKnown = 64 // members of an object whose names are kept
	maxToken = 16 // bytes of such a name with its colon
)

// NewFields makes a finder of paths, as JSON.Path takes them, none of them empty.
func NewFields(paths ...string) *Fields {
	f := &Fields{spans: make([]span, len(paths))}
	for _, p := range paths {
		name, rest := cutDot(p)
		f.paths = append(f.paths, path{name, rest, p})
	}
	return f
}

func cutDot(p string) (name, rest string) {
	for i := range len(p) {
		if p[i] == '.' {
			return p[:i], p[i+1:]
		}
	}
	return p, ""
}

// Value is what Parse found under the path of that number: a view of the text, nil where it has no such field.
func (f *Fields) Value(i int) JSON {
	v := f.spans[i]
	if v.to == 0 {
		return nil
	}
	return JSON(f.text[v.from:v.to:v.to])
}

// AppendTo appends a value as it was written; nothing where there is none.
func (f *Fields) AppendTo(dst []byte, i int) []byte {
	v := f.spans[i]
	n, at := v.to-v.from, len(dst)
	if n > 16 || v.from+16 > len(f.text) || at+16 > cap(dst) {
		return append(dst, f.text[v.from:v.to]...)
	}
	to := dst[:at+16]
	putWord(to, at, word(f.text, v.from))
	putWord(to, at+8, word(f.text, v.from+8))
	return to[:at+n]
}

// AppendFloat appends a number with so many digits after the point; nothing where the value is none. A number that has as many already, which
// is what a sender's own format makes likely, is copied.
func (f *Fields) AppendFloat(dst []byte, i, digits int) []byte {
	v := f.spans[i]
	if n := v.to - v.from; n > digits && n <= 8 && digits >= 0 && v.from+8 <= len(f.text) {
		x := word(f.text, v.from)
		others := noDigits(x) & (1<<(8*n) - 1)
		if x&0xff == '-' {
			others &^= 0x80
		}
		point := uint64(0)
		if digits > 0 {
			point = 0x80 << (8 * (n - 1 - digits))
		}
		if others == point && (digits == 0 || f.text[v.to-1-digits] == '.') {
			return f.AppendTo(dst, i)
		}
	}
	if value, ok := f.Value(i).Float(); ok {
		return AppendFloat(dst, value, digits)
	}
	return dst
}

// Parse checks a text as ParseJSON does and finds the fields. What it found before is forgotten.
func (f *Fields) Parse(text []byte) error {
	f.text = text
	for i := range f.spans {
		f.spans[i] = span{}
	}
	at, n := 1, 0
	if len(text) > 0 && text[0] == '{' {
		if at, n = f.quick(text); n > 0 && at == len(text) {
			return nil
		}
	}
	s := scanner{text: text, depth: 1, at: at}
	if n > 0 || s.object() {
		if s.at = f.members(&s, n); s.at > 0 {
			if s.space(); s.at == len(text) {
				return nil
			}
		}
	}
	return f.other(text)
}

// object goes to the first name of an object that is not empty; false: it is something else.
func (s *scanner) object() bool {
	s.at = 0
	if s.space(); s.peek() != '{' {
		return false
	}
	s.at++
	s.space()
	return s.peek() != '}'
}

// quick reads members that are called as those of the last record were, with values of digits or texts without escapes and no space between, as
// programs write them. It stops at the first other one, member n at byte at, or at the end of the text, which is then checked.
func (f *Fields) quick(text []byte) (at, n int) {
	for at = 1; n < len(f.known) && at+maxToken+8 <= len(text); n++ {
		m := &f.known[n]
		if (word(text, at)^m.words[0])&m.masks[0]|(word(text, at+8)^m.words[1])&m.masks[1] != 0 {
			break
		}
		from, end := at+m.length, 0
		if text[from] == '"' {
			end = quickText(text, from+1)
		} else {
			end = quickNumber(text, from)
		}
		if end >= len(text) {
			break
		}
		if c := text[end]; c == ',' && end+1 < len(text) { // a text cut behind a comma has not ended well
			at = end + 1
		} else if c == '}' && end+1 == len(text) {
			at = end + 1
		} else {
			break
		}
		if m.path < 0 {
			continue
		}
		if v := &f.spans[m.path]; m.plain && !v.taken {
			*v = span{from, end, true}
		} else {
			f.found(m, JSON(text[from:end]))
		}
	}
	return at, n
}

// quickText goes behind a string without escapes whose quote was read; len(text), which is 16 at the least: it is another.
func quickText(text []byte, at int) int {
	for at+16 <= len(text) {
		if found := special(word(text, at)); found != 0 {
			at += first(found)
			break
		}
		if found := special(word(text, at+8)); found != 0 {
			at += 8 + first(found)
			break
		}
		at += 16
	}
	if left := len(text) - at; left < 16 { // what the words below bring in from behind the text is zeros, which are special
		found := uint64(0)
		if left >= 8 {
			if found = special(word(text, at)); found == 0 {
				at, left = at+8, left-8
			}
		}
		if found == 0 {
			found = special(word(text, len(text)-8) >> (8 * (8 - left)))
		}
		at += first(found)
	}
	if at < len(text) && text[at] == '"' {
		return at + 1
	}
	return len(text)
}

// quickNumber goes behind a number of up to seven bytes without sign and exponent; len(text): it is another.
func quickNumber(text []byte, at int) int {
	x := word(text, at)
	others := noDigits(x)
	n := first(others)
	if x>>(8*n&63)&0xff == '.' && n > 0 {
		whole := n
		if n = first(others & (others - 1)); n == whole+1 {
			n = 8
		}
		others &= others - 1
		if x&0xff == '0' && whole > 1 {
			n = 8
		}
	} else if n == 0 || x&0xff == '0' && n > 1 {
		n = 8
	}
	if n == 8 || x>>(8*n&63)&0xdf == 'E' {
		return len(text)
	}
	return at + n
}

// other finds the fields of what is no object, or no JSON: the error names the byte where it ends to be.
func (f *Fields) other(text []byte) error {
	value, err := ParseJSON(text)
	for i := range f.spans {
		f.spans[i] = span{}
		f.note(i, value.Path(f.paths[i].whole))
	}
	return err
}

// note keeps where in the text a value lies.
func (f *Fields) note(i int, value JSON) {
	if len(value) > 0 {
		from := int(uintptr(unsafe.Pointer(&value[0])) - uintptr(unsafe.Pointer(&f.text[0])))
		f.spans[i].from, f.spans[i].to = from, from+len(value)
	}
}

// members goes behind an object of which n members were read; 0: it is none.
func (f *Fields) members(s *scanner, n int) int {
	for ; ; n++ {
		m := f.name(s, n)
		if m == nil {
			return 0
		}
		s.space()
		from := s.at
		if !s.value() {
			return 0
		}
		if m.path >= 0 {
			f.found(m, JSON(s.text[from:s.at]))
		}
		if s.space(); s.peek() == '}' {
			return s.at + 1
		} else if s.peek() != ',' {
			return 0
		}
		s.at++
		s.space()
	}
}

// name goes behind a name and its colon; nil: there is none. It is remembered as that of member n.
func (f *Fields) name(s *scanner, n int) *member {
	from := s.at
	if s.peek() != '"' || !s.string() {
		return nil
	}
	key := JSON(s.text[from:s.at])
	if s.space(); s.peek() != ':' {
		return nil
	}
	s.at++
	if n == len(f.known) && n < maxKnown {
		f.known = append(f.known, member{})
	}
	m := &f.last
	if n < len(f.known) && len(key) < maxToken {
		m = &f.known[n]
	}
	*m = member{path: -1, length: len(key) + 1}
	for i := len(f.paths) - 1; i >= 0; i-- {
		if key.is(f.paths[i].name) {
			m.more = m.path >= 0
			m.path = i
		}
	}
	m.plain = m.path >= 0 && !m.more && f.paths[m.path].rest == ""
	if m != &f.last {
		m.remember(key)
	}
	return m
}

// remember keeps how a name and its colon are written.
func (m *member) remember(key JSON) {
	var token [maxToken]byte
	token[copy(token[:], key)] = ':'
	for i := range m.words {
		m.words[i] = word(token[:], 8*i)
		if n := m.length - 8*i; n > 0 {
			m.masks[i] = ^uint64(0) >> (64 - 8*min(n, 8))
		}
	}
}

// found notes a member's value under the paths that begin with its name.
func (f *Fields) found(m *member, value JSON) {
	f.take(m.path, value)
	for i := m.path + 1; m.more && i < len(f.paths); i++ {
		if f.paths[i].name == f.paths[m.path].name {
			f.take(i, value)
		}
	}
}

// take notes the value of path i. Of members with one name the first counts.
func (f *Fields) take(i int, value JSON) {
	if f.spans[i].taken {
		return
	}
	f.spans[i].taken = true
	if rest := f.paths[i].rest; rest != "" {
		value = value.Path(rest)
	}
	f.note(i, value)
}

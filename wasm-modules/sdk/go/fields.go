package sluice

// Fields finds many fields of a JSON text while it is checked, once and not again for each of them. What one record's members were called, the next
// one's probably are: a member that stands where it stood before is known by a comparison of its name.
//
//	fields := sluice.NewFields("seq", "drive.rpm")  // once
//	err := fields.Parse(r.Payload())                // for each record
//	rpm, ok := fields.Value(1).Float()
type Fields struct {
	paths  []path
	values []JSON
	taken  []bool // of each path: a member of its name was there
	known  []member
}

// path is a name and what follows it; dots in what follows are for JSON.Path.
type path struct {
	name, rest, whole string
}

// member is a name as it was written, with its quotes and the colon, and the first of the paths that begin with it: -1 = none does.
type member struct {
	token []byte
	path  int
	more  bool // other paths begin with it, too
}

const (
	maxKnown = 64 // members of an object whose names are kept
	maxToken = 64 // bytes of such a name
)

// NewFields makes a finder of paths, as JSON.Path takes them, none of them empty.
func NewFields(paths ...string) *Fields {
	f := &Fields{values: make([]JSON, len(paths)), taken: make([]bool, len(paths))}
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
func (f *Fields) Value(i int) JSON { return f.values[i] }

// Parse checks a text as ParseJSON does and finds the fields. What it found before is forgotten.
func (f *Fields) Parse(text []byte) error {
	for i := range f.values {
		f.values[i], f.taken[i] = nil, false
	}
	s := scanner{text: text, depth: 1}
	if s.space(); s.peek() == '{' {
		s.at++
		if f.members(&s) {
			if s.space(); s.at == len(text) {
				return nil
			}
		}
	}
	value, err := ParseJSON(text) // no object, or no JSON: with the byte where it ends to be
	for i := range f.values {
		f.values[i] = value.Path(f.paths[i].whole)
	}
	return err
}

// members goes behind an object whose brace was read.
func (f *Fields) members(s *scanner) bool {
	if s.space(); s.peek() == '}' {
		s.at++
		return true
	}
	for n := 0; ; n++ {
		path, more, ok := f.name(s, n)
		if s.space(); !ok {
			return false
		}
		from := s.at
		if !s.value() {
			return false
		}
		if path >= 0 {
			f.found(path, more, s.text[from:s.at:s.at])
		}
		if s.peek() != ',' {
			if s.space(); s.peek() == '}' {
				s.at++
				return true
			} else if s.peek() != ',' {
				return false
			}
		}
		s.at++
		s.space()
	}
}

// name goes behind the name and the colon of member n and returns the first path that begins with it.
func (f *Fields) name(s *scanner, n int) (path int, more, ok bool) {
	if n < len(f.known) {
		if m := &f.known[n]; begins(s.text[s.at:], m.token) {
			s.at += len(m.token)
			return m.path, m.more, true
		}
	}
	from := s.at
	if s.peek() != '"' || !s.string() {
		return -1, false, false
	}
	m := member{path: -1}
	key := JSON(s.text[from:s.at])
	for i := range f.paths {
		if key.is(f.paths[i].name) {
			m.more = m.path >= 0
			if m.path < 0 {
				m.path = i
			}
		}
	}
	if s.space(); s.peek() != ':' {
		return -1, false, false
	}
	s.at++
	f.keep(n, m, key)
	return m.path, m.more, true
}

// keep remembers what member n was called.
func (f *Fields) keep(n int, m member, key JSON) {
	if n == len(f.known) && n < maxKnown {
		f.known = append(f.known, member{})
	}
	if n < len(f.known) && len(key) <= maxToken {
		m.token = append(append(f.known[n].token[:0], key...), ':')
		f.known[n] = m
	}
}

// begins reports whether text begins with token, which is three bytes or more.
func begins(text, token []byte) bool {
	n := len(token)
	switch {
	case len(text) < n:
		return false
	case n > 16:
		return string(text[:n]) == string(token)
	case n >= 8:
		return word(text, 0) == word(token, 0) && word(text, n-8) == word(token, n-8)
	case n >= 4:
		return half(text, 0) == half(token, 0) && half(text, n-4) == half(token, n-4)
	}
	return text[0] == token[0] && text[1] == token[1] && text[2] == token[2]
}

// found notes a member's value under the paths that begin with its name.
func (f *Fields) found(i int, more bool, value JSON) {
	f.take(i, value)
	for j := i + 1; more && j < len(f.paths); j++ {
		if f.paths[j].name == f.paths[i].name {
			f.take(j, value)
		}
	}
}

// take notes the value of path i. Of members with one name the first counts.
func (f *Fields) take(i int, value JSON) {
	if f.taken[i] {
		return
	}
	f.taken[i] = true
	if rest := f.paths[i].rest; rest != "" {
		value = value.Path(rest)
	}
	f.values[i] = value
}

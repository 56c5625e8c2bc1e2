package config

import (
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// The toml library tells positions only in its own errors, so the lines of keys are found here. The text was parsed without an error
// before: the scanner need not judge it, only walk it. FuzzConfig holds its keys against the library's.

// Lines returns the line of every key and table of a valid document, under its path as in Problem.Key.
func Lines(text string) map[string]int {
	s := newScanner(text)
	s.document()
	return s.found
}

// scanner walks a valid TOML document. A table or value has a path (with indexes, for found) and a name (without, for keys).
type scanner struct {
	text   string
	at     int
	line   int            // of at, from 1
	found  map[string]int // path -> line
	order  map[string]int // path -> how many were found before it
	arrays map[string]int // path of an array of tables -> index of its last table
	keys   [][]string     // every key and header in order, as the library lists them
}

func newScanner(text string) *scanner {
	return &scanner{text: text, line: 1, found: make(map[string]int), order: make(map[string]int), arrays: make(map[string]int)}
}

func (s *scanner) document() {
	var path string
	var name []string
	for {
		s.space(true)
		switch {
		case s.at >= len(s.text):
			return
		case s.has("[["):
			s.skip(2)
			path, name = s.header(true)
		case s.has("["):
			s.skip(1)
			path, name = s.header(false)
		default:
			s.pair(path, name)
		}
	}
}

// header reads a table's name and its closing brackets.
func (s *scanner) header(array bool) (path string, name []string) {
	line := s.line
	name = s.dotted()
	s.keys = append(s.keys, name)
	for i, part := range name {
		path = joinPath(path, part)
		last, known := s.arrays[path]
		if array && i == len(name)-1 {
			if known {
				last++
			}
			s.arrays[path], known = last, true
		}
		s.note(path, line)
		if known {
			path = indexPath(path, last)
			s.note(path, line)
		}
	}
	for s.has("]") {
		s.skip(1)
	}
	return path, name
}

// pair reads key = value in the table path.
func (s *scanner) pair(path string, name []string) {
	line := s.line
	parts := s.dotted()
	for _, part := range parts {
		path = joinPath(path, part)
		s.note(path, line)
	}
	name = append(name[:len(name):len(name)], parts...)
	s.keys = append(s.keys, name)
	if !s.has("=") {
		s.at = len(s.text)
		return
	}
	s.skip(1)
	s.space(false)
	s.value(path, name)
}

func (s *scanner) value(path string, name []string) {
	switch {
	case s.has(`"`), s.has(`'`):
		s.quoted()
	case s.has("["):
		i := 0
		s.list("]", func() {
			at := indexPath(path, i)
			s.note(at, s.line)
			s.value(at, name)
			i++
		})
	case s.has("{"):
		s.list("}", func() { s.pair(path, name) })
	default:
		n := strings.IndexAny(s.text[s.at:], ",]}#\r\n")
		if n <= 0 {
			n = len(s.text) - s.at
		}
		s.skip(n)
	}
}

// list reads an array or an inline table, from its opening bracket to its closing one.
func (s *scanner) list(end string, item func()) {
	s.skip(1)
	for {
		s.space(true)
		switch {
		case s.at >= len(s.text):
			return
		case s.has(end):
			s.skip(1)
			return
		case s.has(","):
			s.skip(1)
		default:
			item()
		}
	}
}

// dotted reads a key such as a."b.c".d and the space after it.
func (s *scanner) dotted() []string {
	var parts []string
	for {
		s.space(false)
		if s.has(`"`) || s.has(`'`) {
			parts = append(parts, unquote(s.quoted()))
		} else {
			n := len(s.text) - s.at
			if i := strings.IndexAny(s.text[s.at:], ".=] \t\r\n"); i >= 0 {
				n = i
			}
			parts = append(parts, s.text[s.at:s.at+n])
			s.skip(n)
		}
		s.space(false)
		if !s.has(".") {
			return parts
		}
		s.skip(1)
	}
}

// quoted reads a string of any of the four kinds and returns it with its quotes.
func (s *scanner) quoted() string {
	quote := s.text[s.at : s.at+1]
	start := s.at
	if triple := strings.Repeat(quote, 3); s.has(triple) {
		s.skip(3)
		s.until(triple, quote == `"`)
		for range 2 { // up to two more quotes belong to the text
			if s.has(quote) {
				s.skip(1)
			}
		}
	} else {
		s.skip(1)
		s.until(quote, quote == `"`)
	}
	return s.text[start:s.at]
}

// until skips to behind the next end; a backslash hides what follows it if escapes is set.
func (s *scanner) until(end string, escapes bool) {
	for s.at < len(s.text) {
		switch {
		case escapes && s.has(`\`):
			s.skip(min(2, len(s.text)-s.at))
		case s.has(end):
			s.skip(len(end))
			return
		default:
			s.skip(1)
		}
	}
}

// space skips blanks, and with lines set also ends of lines and comments.
func (s *scanner) space(lines bool) {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == ' ' || c == '\t' || lines && (c == '\n' || c == '\r'):
			s.skip(1)
		case c == '#' && lines:
			n := strings.IndexByte(s.text[s.at:], '\n')
			if n < 0 {
				n = len(s.text) - s.at
			}
			s.skip(n)
		default:
			return
		}
	}
}

func (s *scanner) has(prefix string) bool { return strings.HasPrefix(s.text[s.at:], prefix) }

func (s *scanner) skip(n int) {
	s.line += strings.Count(s.text[s.at:s.at+n], "\n")
	s.at += n
}

// note keeps the first line of a path: where a table was opened, not where it was added to.
func (s *scanner) note(path string, line int) {
	if _, ok := s.found[path]; !ok {
		s.found[path], s.order[path] = line, len(s.order)
	}
}

// unquote lets the library read a quoted key, so that escapes mean the same here.
func unquote(quoted string) string {
	var one struct{ K string }
	if _, err := toml.Decode("K="+quoted, &one); err != nil {
		return quoted
	}
	return one.K
}

// joinPath appends a key to a path, quoted as TOML wants it.
func joinPath(path, key string) string {
	key = toml.Key{key}.String()
	if path == "" {
		return key
	}
	return path + "." + key
}

func indexPath(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// LineOf returns the line of a key in a file, or that of the nearest table above it; 0 where the file cannot be read. It is for errors that
// are found only after Load.
func LineOf(path, key string) int {
	text, err := readFile(path)
	if err != nil {
		return 0
	}
	d := decoder{lines: Lines(strings.TrimPrefix(text, "\ufeff"))}
	return d.line(key)
}

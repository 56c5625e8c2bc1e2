package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFile bounds the file and each secret's file; a real one has some KiB.
const maxFile = 1 << 20

// Options say what Load cannot see in the struct. The zero value is usable.
type Options struct {
	// Defaults are functions such as mqtt.Default, func() T: what a T that appears in a map, a list or behind a pointer starts from.
	Defaults []any
	// Later names keys that a later version will know, "*" for any one name ("remotes.*.topic"). They are refused as not available.
	Later []string
	// Getenv looks up ${VAR}; nil: os.LookupEnv.
	Getenv func(string) (string, bool)
	// Verbatim leaves ${ in texts as it is: for files that hold data.
	Verbatim bool
}

// Problem is one thing that is wrong with a file.
type Problem struct {
	File string
	Line int    // from 1; 0: not known
	Key  string // dotted, as in the file; empty: the file as a whole
	Text string
}

// Error is FILE:LINE: KEY: TEXT.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Key != "" {
		b.WriteString(": " + p.Key)
	}
	b.WriteString(": " + p.Text)
	return b.String()
}

// Problems is all that is wrong with a file, by line.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Load decodes the file into the struct that dst points to, on top of what it holds. An error is always Problems; dst is then
// partly filled and not to be used.
func Load(path string, dst any, o Options) error {
	text, err := readFile(path)
	if err != nil {
		return Problems{{File: path, Text: err.Error()}}
	}
	return Decode(path, text, dst, o)
}

// Decode is Load for a text that was read already; file is its name in errors.
func Decode(file, text string, dst any, o Options) error {
	text = strings.TrimPrefix(text, "\ufeff")
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		return Problems{syntax(file, err)}
	}
	if o.Getenv == nil {
		o.Getenv = os.LookupEnv
	}
	places := newScanner(text)
	places.document()
	d := &decoder{file: file, lines: places.found, order: places.order, options: o, defaults: make(map[reflect.Type]reflect.Value)}
	for _, f := range o.Defaults {
		v := reflect.ValueOf(f)
		d.defaults[v.Type().Out(0)] = v
	}
	root := reflect.ValueOf(dst).Elem()
	d.table(tree, root, nil)
	d.validate(root)
	if len(d.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int { return a.Line - b.Line })
	return d.problems
}

// syntax turns an error of the toml library into a Problem with its line.
func syntax(file string, err error) Problem {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return Problem{File: file, Text: strings.TrimPrefix(err.Error(), "toml: ")}
	}
	return Problem{File: file, Line: pe.Position.Line, Key: pe.LastKey, Text: pe.Message}
}

func readFile(path string) (string, error) { return ReadFile(path, maxFile) }

// ReadFile reads a text file of at most that many bytes.
func ReadFile(path string, most int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(b)) > most {
		return "", fmt.Errorf("read %s: more than %d bytes", path, most)
	}
	return string(b), nil
}

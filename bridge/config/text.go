package config

import (
	"reflect"
	"regexp"
	"strings"
)

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces ${VAR} and ${VAR:-default} in a string value, once: what a variable holds is not looked into. As in a shell, the default
// also stands in for an empty variable. $${ is a literal ${.
func (d *decoder) expand(text string, a at) string {
	if d.options.Verbatim {
		return text
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if literal, ok := strings.CutSuffix(before, "$"); ok && found {
			b.WriteString(literal + "${")
			text = rest
			continue
		}
		b.WriteString(before)
		if !found {
			return b.String()
		}
		inner, after, closed := strings.Cut(rest, "}")
		name, fallback, hasDefault := strings.Cut(inner, ":-")
		if !closed || !variable.MatchString(name) {
			d.problem(a, "${ without a variable's name and }; a literal ${ is written $${")
			return ""
		}
		value, ok := d.options.Getenv(name)
		switch {
		case hasDefault && value == "":
			value = fallback
		case !ok && !hasDefault:
			d.problem(a, "environment variable %s is not set and has no default (${%s:-default})", name, name)
		}
		b.WriteString(value)
		text = after
	}
}

// expandAll expands every string inside a value that has no type of its own, such as a module's table.
func (d *decoder) expandAll(v any, a at) any {
	switch v := v.(type) {
	case string:
		return d.expand(v, a)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = d.expandAll(v[i], a)
		}
		return out
	case []map[string]any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = d.expandAll(v[i], a)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name := range v {
			out[name] = d.expandAll(v[name], a.add(name))
		}
		return out
	default:
		return v
	}
}

// IsSecret reports whether the value of a key, or of a path, must not be shown: its last word is token, password or secret.
func IsSecret(key string) bool {
	switch key[strings.LastIndexAny(key, "_-.")+1:] {
	case "token", "password", "secret":
		return true
	}
	return false
}

// secretFile handles NAME_file beside a secret NAME: the value is the file's content without its last newline. false: name is no such
// key. A struct with a field for NAME_file is not meant here: it reads the file itself, perhaps again and again.
func (d *decoder) secretFile(table map[string]any, name string, dst reflect.Value, a at) bool {
	secret, ok := strings.CutSuffix(name, "_file")
	if !ok || !IsSecret(secret) {
		return false
	}
	for _, f := range fieldsOf(dst.Type()) {
		if f.name != secret || f.typ.Kind() != reflect.String {
			continue
		}
		d.readSecret(table, name, dst.FieldByIndex(f.index), a)
		return true
	}
	return false
}

func (d *decoder) readSecret(table map[string]any, name string, dst reflect.Value, a at) {
	here := a.add(name)
	secret := strings.TrimSuffix(name, "_file")
	if _, both := table[secret]; both {
		d.problem(here, "%s is given too, want only one of them", secret)
		return
	}
	path, ok := table[name].(string)
	if !ok {
		d.problem(here, "%s, want a file's path in quotes", show(table[name]))
		return
	}
	if path = d.expand(path, here); path == "" {
		d.problem(here, "empty, want a file's path")
		return
	}
	text, err := ReadSecret(path)
	if err != nil {
		d.problem(here, "%v", err)
		return
	}
	dst.SetString(text)
}

// ReadSecret reads a file that holds a secret, without its last newline.
func ReadSecret(path string) (string, error) {
	text, err := readFile(path)
	return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"), err
}

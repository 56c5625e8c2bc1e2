package main

import (
	"errors"
	"strings"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// pair is a new name for an old one, or a value for a name.
type pair struct {
	name, to []byte
}

// pattern is a name, or what a name begins with.
type pattern struct {
	text string
	wild bool
}

// part is text of a template, or the label that comes next.
type part struct {
	text  []byte
	label bool
}

// template composes the value of a label.
type template struct {
	name  []byte
	parts []part
}

// rules are the configuration, ready for use: slices, because a site has a dozen labels and a map costs a Go module more than looking at all.
type rules struct {
	rename      []pair
	drop, allow []pattern
	set         []pair
	templates   []template
	moved       []move // labels of this record that are renamed
	value       []byte // of the template that is being composed
}

// move is a label, by the slot of its value, and the rule that renames it.
type move struct {
	slot, rule int
}

func readRules(config sluice.JSON) (*rules, error) {
	r := new(rules)
	err := errors.Join(
		table(config, "rename", func(name, value sluice.JSON) error {
			if value.Kind() != '"' || value.Text() == "" {
				return errors.New("want a new name")
			}
			r.rename = append(r.rename, pair{name.AppendText(nil), value.AppendText(nil)})
			return nil
		}),
		table(config, "set", func(name, value sluice.JSON) error {
			text, err := constant(value)
			r.set = append(r.set, pair{name.AppendText(nil), text})
			return err
		}),
		table(config, "template", func(name, value sluice.JSON) error {
			parts, err := readTemplate(value.Text())
			r.templates = append(r.templates, template{name.AppendText(nil), parts})
			return err
		}),
		names(config, "drop", &r.drop),
		names(config, "allow", &r.allow),
	)
	return r, err
}

// table calls each for every member of a table of the configuration.
func table(config sluice.JSON, key string, each func(name, value sluice.JSON) error) error {
	var err error
	config.Get(key).Members(func(name, value sluice.JSON) bool {
		if name.Text() == "" {
			err = errors.New(key + ": a label without a name")
		} else if err = each(name, value); err != nil {
			err = errors.New(key + "." + name.Text() + ": " + err.Error())
		}
		return err == nil
	})
	return err
}

func names(config sluice.JSON, key string, into *[]pattern) error {
	var err error
	config.Get(key).Elements(func(value sluice.JSON) bool {
		if value.Kind() != '"' || value.Text() == "" {
			err = errors.New(key + ": " + string(value) + ", want a name")
			return false
		}
		begin, wild := strings.CutSuffix(value.Text(), "*")
		*into = append(*into, pattern{begin, wild})
		return true
	})
	return err
}

// constant is a text, or a number or truth value as it is written.
func constant(value sluice.JSON) ([]byte, error) {
	switch value.Kind() {
	case '"':
		return value.AppendText(nil), nil
	case '0', 't', 'f':
		return value, nil
	}
	return nil, errors.New("want a text, a number, true or false")
}

// readTemplate cuts "{device}-{axis}" into its parts.
func readTemplate(text string) ([]part, error) {
	if text == "" {
		return nil, errors.New("want a text with labels in braces")
	}
	var parts []part
	for text != "" {
		before, rest, braced := strings.Cut(text, "{")
		if before != "" {
			parts = append(parts, part{text: []byte(before)})
		}
		if !braced {
			break
		}
		label, after, closed := strings.Cut(rest, "}")
		if !closed || label == "" {
			return nil, errors.New("a brace that is not closed, or nothing in it")
		}
		parts = append(parts, part{text: []byte(label), label: true})
		text = after
	}
	return parts, nil
}

// matches reports whether a name is one of the patterns.
func matches(patterns []pattern, name []byte) bool {
	for i := range patterns {
		p := &patterns[i]
		if n := len(p.text); len(name) == n || p.wild && len(name) > n {
			if n == 0 || name[0] == p.text[0] && string(name[:n]) == p.text {
				return true
			}
		}
	}
	return false
}

// apply says what changes: labels that go, then those that come. In this order two labels can exchange their names.
func (r *rules) apply(rec sluice.Record, out *sluice.Out) {
	r.moved = r.moved[:0]
	for i := 0; i+1 < rec.Slots(); i += 2 {
		name := rec.Slot(i)
		to, dropped := r.renamed(name), matches(r.drop, name)
		if to >= 0 && !dropped {
			r.moved = append(r.moved, move{slot: i + 1, rule: to})
		}
		if to >= 0 || dropped || len(r.allow) > 0 && !matches(r.allow, name) {
			out.DeleteLabel(name)
		}
	}
	for _, m := range r.moved {
		r.put(out, r.rename[m.rule].to, rec.Slot(m.slot))
	}
	for i := range r.set {
		r.put(out, r.set[i].name, r.set[i].to)
	}
	for i := range r.templates {
		if r.compose(r.templates[i].parts, rec) {
			r.put(out, r.templates[i].name, r.value)
		}
	}
}

func (r *rules) put(out *sluice.Out, name, value []byte) {
	if len(r.allow) == 0 || matches(r.allow, name) {
		out.SetLabel(name, value)
	}
}

// renamed returns the rule that renames a label, -1 where it keeps its name.
func (r *rules) renamed(name []byte) int {
	for i := range r.rename {
		if same(r.rename[i].name, name) {
			return i
		}
	}
	return -1
}

// same compares two names. Most differ in their length or at their end, which spares a Go module's costly call.
func same(a, b []byte) bool {
	n := len(a)
	return n == len(b) && n > 0 && a[n-1] == b[n-1] && string(a) == string(b)
}

// compose makes r.value of a template; false where the record lacks one of its labels.
func (r *rules) compose(parts []part, rec sluice.Record) bool {
	r.value = r.value[:0]
	for i := range parts {
		text := parts[i].text
		if parts[i].label {
			if text = labelOf(rec, text); text == nil {
				return false
			}
		}
		r.value = append(r.value, text...)
	}
	return true
}

// labelOf finds a label among the pairs of slots: nil where there is none.
func labelOf(rec sluice.Record, name []byte) []byte {
	for i := 0; i+1 < rec.Slots(); i += 2 {
		if same(rec.Slot(i), name) {
			return rec.Slot(i + 1)
		}
	}
	return nil
}

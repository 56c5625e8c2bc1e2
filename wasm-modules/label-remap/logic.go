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

// part is text of a template, or, where that is nil, a label.
type part struct {
	text  []byte
	label sluice.Name
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
	every       bool      // any label may be touched: there is a list of those allowed, or a pattern
	marks       [4]uint64 // a bit for each mark of a name that rename and drop have
	moved       []move    // labels of this record that are renamed
	value       []byte    // of the template that is being composed
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
	r.every = len(r.allow) > 0
	for _, p := range r.rename {
		r.mark(p.name)
	}
	for _, p := range r.drop {
		r.every = r.every || p.wild
		r.mark([]byte(p.text))
	}
	return r, err
}

// mark notes a name, so that most others need not be compared with it.
func (r *rules) mark(name []byte) {
	if len(name) > 0 {
		m := markOf(name[0], name[len(name)-1], len(name))
		r.marks[m>>6] |= 1 << (m & 63)
	}
}

// markOf is a number from 0 to 255 made of a name's ends and length.
func markOf(first, last byte, length int) uint { return uint(first^last<<3^byte(length)<<5) & 255 }

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
		parts = append(parts, part{label: sluice.NewName(label)})
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
	for i, n := 0, rec.Slots(); i+1 < n; i += 2 {
		from, to := rec.Range(i)
		if !r.every {
			if from == to {
				continue
			}
			if m := markOf(rec[from], rec[to-1], to-from); r.marks[m>>6]>>(m&63)&1 == 0 {
				continue
			}
		}
		r.leave(rec[from:to], i+1, out)
	}
	for _, m := range r.moved {
		from, to := rec.Range(m.slot)
		r.put(out, r.rename[m.rule].to, rec[from:to])
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

// leave deletes a label that does not stay, and notes it where it comes again under another name. Its value is in that slot.
func (r *rules) leave(name []byte, slot int, out *sluice.Out) {
	to, dropped := r.renamed(name), len(r.drop) > 0 && matches(r.drop, name)
	if to >= 0 && !dropped {
		r.moved = append(r.moved, move{slot: slot, rule: to})
	}
	if to >= 0 || dropped || len(r.allow) > 0 && !matches(r.allow, name) {
		out.DeleteLabel(name)
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
		if sluice.Equal(r.rename[i].name, name) {
			return i
		}
	}
	return -1
}

// compose makes r.value of a template; false where the record lacks one of its labels.
func (r *rules) compose(parts []part, rec sluice.Record) bool {
	r.value = r.value[:0]
	for i := range parts {
		text := parts[i].text
		if text == nil {
			if text = parts[i].label.In(rec); text == nil {
				return false
			}
		}
		r.value = sluice.Append(r.value, text)
	}
	return true
}

// Package reading finds in a record what a module's configuration names: label:NAME, a label, or field:PATH, a field of the JSON payload.
// Modules that compare or gather values share it, so that they mean the same by the same words.
package reading

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// Source is one label or one field of the payload.
type Source struct {
	Name  string // of the label, or the path of the field
	label sluice.Name
	field int // its number among the fields; -1 = it is a label
}

// Reader reads its sources from one record after another. The zero value has none; Add all of them before the first Read.
type Reader struct {
	Sources []Source
	// Values are what the record that was read has of each source, as it was written: a label's text, or a JSON value. nil where it has none, or null.
	// They are views, valid as long as the record.
	Values [][]byte
	paths  []string
	fields *sluice.Fields
	buf    []byte
}

// Add takes one more source, and returns its number. Text is label:NAME or field:PATH, as in reshape's placeholders.
func (r *Reader) Add(text string) (number int, err error) {
	s := Source{field: -1}
	if name, is := strings.CutPrefix(text, "label:"); is {
		s.Name, s.label = name, sluice.NewName(name)
	} else if path, is := strings.CutPrefix(text, "field:"); is {
		s.Name, s.field = path, len(r.paths)
		r.paths = append(r.paths, path)
		r.fields = sluice.NewFields(r.paths...)
	}
	if s.Name == "" {
		return 0, errors.New(text + ", want label:NAME or field:PATH")
	}
	r.Sources, r.Values = append(r.Sources, s), append(r.Values, nil)
	return len(r.Sources) - 1, nil
}

// Read takes the values from a record. Its payload is looked at only where a source is a field. An error is for people: the payload is no JSON.
func (r *Reader) Read(record sluice.Record) error {
	if r.fields != nil {
		payload := record.Payload()
		if payload == nil {
			r.buf = sluice.Pull(record, r.buf)
			payload = r.buf
		}
		if err := r.fields.Parse(payload); err != nil {
			return errors.New("payload: " + err.Error())
		}
	}
	for i := range r.Sources {
		s := &r.Sources[i]
		if s.field < 0 {
			r.Values[i] = s.label.In(record)
		} else if v := r.fields.Value(s.field); len(v) > 0 && v[0] != 'n' {
			r.Values[i] = v
		} else {
			r.Values[i] = nil
		}
	}
	return nil
}

// Choice is the value of a key of the configuration that takes one of a few words, the first of them where it is not set.
func Choice(config sluice.JSON, key, choices string) (string, error) {
	words := strings.Fields(choices)
	value := words[0]
	if v := config.Get(key); v != nil {
		value = v.Text()
	}
	if !slices.Contains(words, value) {
		return "", errors.New(key + ": " + value + ", want one of " + choices)
	}
	return value, nil
}

// AppendText appends a value of source i as a label holds it: a JSON string without its quotes, all else as it was written.
func (r *Reader) AppendText(dst []byte, i int, value []byte) []byte {
	if j := sluice.JSON(value); r.Sources[i].field >= 0 && j.Kind() == '"' {
		return j.AppendText(dst)
	}
	return append(dst, value...)
}

// AppendJSON appends a value of source i as JSON: a label that JSON has a number for as that number, every other as a string.
func (r *Reader) AppendJSON(dst []byte, i int, value []byte) []byte {
	if r.Sources[i].field >= 0 {
		return append(dst, value...)
	}
	if j, err := sluice.ParseJSON(value); err == nil && j.Kind() == '0' && bytes.Equal(j, value) {
		return append(dst, value...)
	}
	return sluice.AppendString(dst, value)
}

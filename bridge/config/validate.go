package config

import (
	"reflect"
	"regexp"
	"slices"
)

type validator interface{ Validate() error }

// keyed is a message of a Validate: the key's path below the validated struct, then what is wrong.
var keyed = regexp.MustCompile(`(?s)^([A-Za-z_][A-Za-z0-9_."\[\]-]*): (.*)$`)

// validate asks every struct with a Validate, outermost first; what lies below it is its own business. The root is the exception: it is
// asked last, for what no package can know.
func (d *decoder) validate(root reflect.Value) {
	d.decoded = len(d.problems)
	for _, f := range fieldsOf(root.Type()) {
		d.validateBelow(root.FieldByIndex(f.index), at{f.name})
	}
	if v, ok := root.Addr().Interface().(validator); ok {
		d.add(v.Validate(), nil)
	}
}

func (d *decoder) validateBelow(v reflect.Value, a at) {
	if !v.CanAddr() {
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		v = c
	}
	if x, ok := v.Addr().Interface().(validator); ok && v.Kind() == reflect.Struct {
		d.add(x.Validate(), a)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			d.validateBelow(v.FieldByIndex(f.index), a.add(f.name))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			d.validateBelow(v.Elem(), a)
		}
	case reflect.Map:
		for name, item := range v.Seq2() {
			d.validateBelow(item, a.add(name.String()))
		}
	case reflect.Slice:
		for i := range v.Len() {
			d.validateBelow(v.Index(i), a.add(indexPath("", i)))
		}
	}
}

// add takes an error of a Validate apart. A key that could not be decoded still holds its default; what is said of that default is
// left out.
func (d *decoder) add(err error, a at) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			d.add(e, a)
		}
		return
	}
	key, text := a.String(), err.Error()
	if m := keyed.FindStringSubmatch(text); m != nil {
		text = m[2]
		if key != "" {
			key += "."
		}
		key += m[1]
	}
	if !slices.ContainsFunc(d.problems[:d.decoded], func(p Problem) bool { return p.Key == key }) {
		d.problems = append(d.problems, Problem{File: d.file, Line: d.line(key), Key: key, Text: text})
	}
}

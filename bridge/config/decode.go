package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// decoder carries what one Decode needs from function to function.
type decoder struct {
	file     string
	lines    map[string]int
	order    map[string]int // of paths in the file
	options  Options
	defaults map[reflect.Type]reflect.Value // T -> func() T
	problems Problems
	decoded  int // how many problems there were when validation began
}

// at is where in the file the decoder stands: the keys above, outermost first; indexes are keys such as "[0]".
type at []string

func (a at) add(key string) at { return append(a[:len(a):len(a)], key) }

func (a at) String() string {
	path := ""
	for _, key := range a {
		if strings.HasPrefix(key, "[") {
			path += key
		} else {
			path = joinPath(path, key)
		}
	}
	return path
}

// matches reports whether a is what a pattern such as "remotes.*.topic" names.
func (a at) matches(pattern string) bool {
	return slices.EqualFunc(a, strings.Split(pattern, "."), func(key, want string) bool { return want == "*" || want == key })
}

func (d *decoder) problem(a at, format string, args ...any) {
	key := a.String()
	d.problems = append(d.problems, Problem{File: d.file, Line: d.line(key), Key: key, Text: fmt.Sprintf(format, args...)})
}

// line returns the line of a key, or of the nearest table above it that the file has.
func (d *decoder) line(path string) int {
	for path != "" {
		if n, ok := d.lines[path]; ok {
			return n
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0
}

// value decodes one value of the tree into dst, which can be set.
func (d *decoder) value(v any, dst reflect.Value, a at) {
	switch t := dst.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		d.unmarshal(v, t, a)
		return
	case *bridge.JSON:
		d.json(v, t, a)
		return
	}
	switch dst.Kind() {
	case reflect.Struct:
		d.table(v, dst, a)
	case reflect.Map:
		d.mapping(v, dst, a)
	case reflect.Slice:
		d.slice(v, dst, a)
	case reflect.Pointer:
		p := d.fresh(dst.Type().Elem())
		d.value(v, p, a)
		dst.Set(p.Addr())
	case reflect.Interface:
		dst.Set(reflect.ValueOf(d.expandAll(v, a)))
	default:
		d.scalar(v, dst, a)
	}
}

func (d *decoder) scalar(v any, dst reflect.Value, a at) {
	switch v := v.(type) {
	case string:
		if dst.Kind() == reflect.String {
			dst.SetString(d.expand(v, a))
			return
		}
	case bool:
		if dst.Kind() == reflect.Bool {
			dst.SetBool(v)
			return
		}
	case int64:
		d.number(v, dst, a)
		return
	case float64:
		if dst.CanFloat() && !math.IsNaN(v) {
			dst.SetFloat(v)
			return
		}
	}
	d.problem(a, "%s, want %s", show(v), kindName(dst.Kind()))
}

func (d *decoder) number(n int64, dst reflect.Value, a at) {
	switch {
	case dst.CanInt() && !dst.OverflowInt(n):
		dst.SetInt(n)
	case dst.CanUint() && n >= 0 && !dst.OverflowUint(uint64(n)):
		dst.SetUint(uint64(n))
	case dst.CanFloat():
		dst.SetFloat(float64(n))
	case dst.CanInt() || dst.CanUint():
		d.problem(a, "%d is out of range", n)
	default:
		d.problem(a, "%d, want %s", n, kindName(dst.Kind()))
	}
}

// unmarshal hands text to a type with a unit. A bare number has none and is refused, even 0: whoever writes 5 means seconds or bytes, and
// nobody knows which.
func (d *decoder) unmarshal(v any, dst encoding.TextUnmarshaler, a at) {
	text, ok := v.(string)
	if ok {
		text = d.expand(text, a)
	} else {
		text = fmt.Sprint(v)
	}
	if err := dst.UnmarshalText([]byte(text)); err != nil {
		d.problem(a, "%v", err)
	} else if !ok {
		d.problem(a, "%s, want text in quotes", show(v))
	}
}

func (d *decoder) slice(v any, dst reflect.Value, a at) {
	var items []any
	switch v := v.(type) {
	case []any:
		items = v
	case []map[string]any:
		for _, m := range v {
			items = append(items, m)
		}
	default:
		d.problem(a, "%s, want a list", show(v))
		return
	}
	out := reflect.MakeSlice(dst.Type(), len(items), len(items))
	for i, item := range items {
		out.Index(i).Set(d.fresh(dst.Type().Elem()))
		d.value(item, out.Index(i), a.add(fmt.Sprintf("[%d]", i)))
	}
	dst.Set(out)
}

func (d *decoder) mapping(v any, dst reflect.Value, a at) {
	m, ok := v.(map[string]any)
	if !ok {
		d.problem(a, "%s, want a table", show(v))
		return
	}
	if dst.IsNil() {
		dst.Set(reflect.MakeMapWithSize(dst.Type(), len(m)))
	}
	for _, name := range sortedKeys(m) {
		item := d.fresh(dst.Type().Elem())
		d.value(m[name], item, a.add(name))
		dst.SetMapIndex(reflect.ValueOf(name).Convert(dst.Type().Key()), item)
	}
}

// table decodes into a struct. Names are compared exactly: Bucket is not bucket.
func (d *decoder) table(v any, dst reflect.Value, a at) {
	m, ok := v.(map[string]any)
	if !ok {
		d.problem(a, "%s, want a table", show(v))
		return
	}
	fields := fieldsOf(dst.Type())
	for _, name := range sortedKeys(m) {
		here := a.add(name)
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		switch {
		case slices.ContainsFunc(d.options.Later, here.matches):
			d.problem(here, "not available in this version")
		case i >= 0:
			d.value(m[name], dst.FieldByIndex(fields[i].index), here)
		case !d.secretFile(m, name, dst, a):
			d.problem(here, "unknown key%s", didYouMean(name, fields, a))
		}
	}
}

// fresh returns a settable T with its defaults.
func (d *decoder) fresh(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	if f, ok := d.defaults[t]; ok {
		v.Set(f.Call(nil)[0])
	}
	return v
}

// field is a field of a struct that the file can name.
type field struct {
	name  string
	index []int
	typ   reflect.Type
}

// fieldsOf lists the fields with a toml tag, those of embedded structs among them.
func fieldsOf(t reflect.Type) []field {
	var fs []field
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if f.IsExported() && name != "" && name != "-" {
			fs = append(fs, field{name, f.Index, f.Type})
		}
	}
	return fs
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// show writes a value as the file has it, shortened; secrets are texts and never shown.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return "text"
	case bool, int64, float64, time.Time:
		return fmt.Sprint(v)
	case map[string]any:
		return "a table"
	default:
		return "a list"
	}
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "text in quotes"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}

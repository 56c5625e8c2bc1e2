package config

import (
	"encoding"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/sluicebridge/sluice/bridge"
)

// Schema describes the file as a JSON schema (2020-12), made from the struct, its values as defaults and Options.Defaults. about holds
// descriptions by path, "*" for any one name.
func Schema(dst any, o Options, about map[string]string) map[string]any {
	d := &decoder{options: o, defaults: make(map[reflect.Type]reflect.Value)}
	for _, f := range o.Defaults {
		v := reflect.ValueOf(f)
		d.defaults[v.Type().Out(0)] = v
	}
	s := d.schema(reflect.ValueOf(dst).Elem(), nil, about)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	return s
}

// schema describes one value; v holds its default.
func (d *decoder) schema(v reflect.Value, a at, about map[string]string) map[string]any {
	s := make(map[string]any)
	if text := about[strings.Join(a, ".")]; text != "" {
		s["description"] = text
	}
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		maps.Copy(s, textSchema(v))
		return s
	}
	if v.Type() == reflect.TypeFor[bridge.JSON]() {
		s["type"] = []string{"object", "string"}
		return s
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structSchema(s, v, a, about)
	case reflect.Map:
		s["type"] = "object"
		s["additionalProperties"] = d.schema(d.fresh(v.Type().Elem()), a.add("*"), about)
	case reflect.Slice:
		s["type"] = "array"
		s["items"] = d.schema(d.fresh(v.Type().Elem()), a.add("[*]"), about)
	case reflect.Pointer:
		return d.schema(d.fresh(v.Type().Elem()), a, about)
	case reflect.Interface: // any value
	default:
		s["type"], s["default"] = scalarType(v.Kind()), v.Interface()
		if v.CanUint() {
			s["minimum"] = 0
		}
	}
	return s
}

func (d *decoder) structSchema(s map[string]any, v reflect.Value, a at, about map[string]string) {
	properties := make(map[string]any)
	for _, f := range fieldsOf(v.Type()) {
		here := a.add(f.name)
		if slices.ContainsFunc(d.options.Later, here.matches) {
			continue
		}
		properties[f.name] = d.schema(v.FieldByIndex(f.index), here, about)
		if f.typ.Kind() == reflect.String && IsSecret(f.name) {
			properties[f.name+"_file"] = map[string]any{"type": "string", "description": "File that holds " + f.name + "."}
		}
	}
	s["type"], s["properties"], s["additionalProperties"] = "object", properties, false
}

// textSchema describes what is written as text with a unit.
func textSchema(v reflect.Value) map[string]any {
	s := map[string]any{"type": "string"}
	switch x := v.Interface().(type) {
	case bridge.Size:
		s["default"], s["examples"] = x.String(), []string{"8MiB", "2176B"}
	case bridge.Duration:
		s["default"], s["examples"] = plain(v, ""), []string{"5s", "1m30s"}
	}
	return s
}

func scalarType(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float32, reflect.Float64:
		return "number"
	default:
		return "integer"
	}
}

package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/sluicebridge/sluice/bridge"
)

// json decodes a table, or text that is JSON, into JSON.
func (d *decoder) json(v any, dst *bridge.JSON, a at) {
	switch x := v.(type) {
	case string:
		var b bytes.Buffer
		text := d.expand(x, a)
		if text == "" {
			*dst = ""
			return
		}
		if err := json.Compact(&b, []byte(text)); err != nil {
			d.problem(a, "is not JSON: %v", err)
			return
		}
		*dst = bridge.JSON(b.String())
	case map[string]any:
		if b, ok := d.appendJSON(nil, v, a); ok {
			*dst = bridge.JSON(b)
		}
	default:
		d.problem(a, "%s, want a table, or JSON in quotes", show(v))
	}
}

// appendJSON writes a value of the file as JSON, members in the order of the file. A float stays one: 1.0 is not 1.
func (d *decoder) appendJSON(dst []byte, v any, a at) (_ []byte, ok bool) {
	switch v := v.(type) {
	case map[string]any:
		return d.appendObject(dst, v, a)
	case []map[string]any:
		items := make([]any, len(v))
		for i := range v {
			items[i] = v[i]
		}
		return d.appendJSON(dst, items, a)
	case []any:
		dst = append(dst, '[')
		for i, item := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, ok = d.appendJSON(dst, item, a.add(fmt.Sprintf("[%d]", i))); !ok {
				return dst, false
			}
		}
		return append(dst, ']'), true
	case string:
		return bridge.AppendJSON(dst, d.expand(v, a)), true
	case bool:
		return strconv.AppendBool(dst, v), true
	case int64:
		return strconv.AppendInt(dst, v, 10), true
	case float64:
		if !math.IsInf(v, 0) && !math.IsNaN(v) {
			before := len(dst)
			if dst = strconv.AppendFloat(dst, v, 'g', -1, 64); !bytes.ContainsAny(dst[before:], ".e") {
				dst = append(dst, ".0"...)
			}
			return dst, true
		}
	}
	d.problem(a, "%s, which JSON does not have", show(v))
	return dst, false
}

func (d *decoder) appendObject(dst []byte, m map[string]any, a at) (_ []byte, ok bool) {
	keys := sortedKeys(m)
	slices.SortStableFunc(keys, func(x, y string) int { return d.order[a.add(x).String()] - d.order[a.add(y).String()] })
	dst = append(dst, '{')
	for i, key := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(bridge.AppendJSON(dst, key), ':')
		if dst, ok = d.appendJSON(dst, m[key], a.add(key)); !ok {
			return dst, false
		}
	}
	return append(dst, '}'), true
}

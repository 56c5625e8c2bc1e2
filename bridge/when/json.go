package when

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/sluicebridge/sluice/bridge"
)

// Bounds of a condition's text (rule 19 of INVARIANTS.md). The store's own parser ends at a depth of 127.
const (
	maxDepth = 100
	maxText  = 64 << 10
)

// tree is a JSON value whose members keep their order: what comes first is asked first.
type tree struct {
	raw     any // bool, json.Number, string, or nil for null; of an object or array "{" or "["
	members []member
	items   []*tree
}

type member struct {
	key  string
	tree *tree
}

const (
	objectMark json.Delim = '{'
	arrayMark  json.Delim = '['
)

func (t *tree) isObject() bool { return t.raw == objectMark }
func (t *tree) isArray() bool  { return t.raw == arrayMark }

// readTree reads one JSON value and nothing behind it.
func readTree(b []byte) (*tree, error) {
	if len(b) > maxText {
		return nil, fmt.Errorf("%d bytes, want at most %d", len(b), maxText)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	t, err := readValue(dec, 0)
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not JSON: something follows the value")
	}
	return t, nil
}

func readValue(dec *json.Decoder, depth int) (*tree, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	tok, err := dec.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	t := &tree{raw: tok}
	switch tok {
	case arrayMark:
		for dec.More() {
			item, err := readValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			t.items = append(t.items, item)
		}
	case objectMark:
		places := make(map[string]int)
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			of, err := readValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			m := member{key.(string), of}
			if at, twice := places[m.key]; twice { // the last one counts, at the place of the first
				t.members[at] = m
				continue
			}
			places[m.key] = len(t.members)
			t.members = append(t.members, m)
		}
	default:
		return t, nil
	}
	_, err = dec.Token()
	return t, err
}

// number returns a JSON number: whole where it is written so and fits, else with a fraction. The store's reader makes "-0" a float, and cannot take whole
// numbers between 2^63 and 2^64.
func number(n json.Number) (value, error) {
	s := n.String()
	if !strings.ContainsAny(s, ".eE") && s != "-0" {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return ofInt(i), nil
		}
		if _, err := strconv.ParseUint(s, 10, 64); err == nil {
			return value{}, fmt.Errorf("%s is too large, want at most 9223372036854775807", s)
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return value{}, fmt.Errorf("%s is too large", s)
	}
	return ofFloat(f), nil
}

// compact writes the tree as JSON without spaces: what tells one condition from another.
func (t *tree) compact(dst []byte) []byte {
	switch {
	case t.isObject():
		dst = append(dst, '{')
		for i, m := range t.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(bridge.AppendJSON(dst, m.key), ':')
			dst = m.tree.compact(dst)
		}
		return append(dst, '}')
	case t.isArray():
		dst = append(dst, '[')
		for i, item := range t.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = item.compact(dst)
		}
		return append(dst, ']')
	}
	switch x := t.raw.(type) {
	case string:
		return bridge.AppendJSON(dst, x)
	case json.Number:
		return append(dst, x...)
	case bool:
		return strconv.AppendBool(dst, x)
	}
	return append(dst, "null"...)
}

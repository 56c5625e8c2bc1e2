package when

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// node is a part of a condition: what it compiles to, and what traps looks at.
type node struct {
	path string
	eval expr
	op   string // operator; empty for a label or a constant
	args []*node

	label    string // &label
	constant *value
	written  string // a constant text as it stands in the condition
	object   bool   // an operator that was written {left: {op: right}}
}

// compiler collects what is found on the way.
type compiler struct {
	cells  int // of stateful operators so far
	labels int // that were asked for so far
}

// wrong is an error at a place in the condition.
func wrong(path, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if path == "" {
		return fmt.Errorf("%s", text)
	}
	return fmt.Errorf("at %s: %s", path, text)
}

func below(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// any compiles a value. An object of several members is several operands, an empty one none.
func (c *compiler) any(path string, t *tree) ([]*node, error) {
	switch x := t.raw.(type) {
	case bool:
		return one(constant(path, ofBool(x)))
	case json.Number:
		v, err := number(x)
		if err != nil {
			return nil, wrong(path, "%v", err)
		}
		return one(constant(path, v))
	case string:
		n, err := c.literal(path, x)
		return []*node{n}, err
	case nil:
		return nil, wrong(path, "null is no operand")
	}
	if t.isArray() {
		return nil, wrong(path, "a list is no operand; it stands behind an operator, as in {\"$in\": [\"&x\", 1, 2]}")
	}
	return c.object(path, t)
}

func one(n *node) ([]*node, error) { return []*node{n}, nil }

func (c *compiler) object(path string, t *tree) ([]*node, error) {
	var all []*node
	for _, m := range t.members {
		n, err := c.member(below(path, m.key), m)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

// member compiles {"$op": [...]}, {"left": {"$op": right}} or {"$op": operand}.
func (c *compiler) member(path string, m member) (*node, error) {
	if m.tree.isObject() {
		return c.comparison(path, m)
	}
	var args []*node
	var err error
	if m.tree.isArray() {
		for i, item := range m.tree.items {
			more, err := c.any(fmt.Sprintf("%s[%d]", path, i), item)
			if err != nil {
				return nil, err
			}
			args = append(args, more...)
		}
	} else if args, err = c.any(path, m.tree); err != nil {
		return nil, err
	}
	return c.operator(path, m.key, args)
}

// comparison compiles {"left": {"$op": right}}.
func (c *compiler) comparison(path string, m member) (*node, error) {
	left, err := c.literal(path, m.key)
	if err != nil {
		return nil, err
	}
	if n := len(m.tree.members); n != 1 {
		return nil, wrong(path, "%d operators, want exactly one; several conditions on one label are written {\"$and\": [...]}", n)
	}
	inner := m.tree.members[0]
	path = below(path, inner.key)
	right, err := c.any(path, inner.tree)
	if err != nil {
		return nil, err
	}
	n, err := c.operator(path, inner.key, append([]*node{left}, right...))
	if err != nil {
		return nil, err
	}
	n.object = true
	return n, nil
}

// literal compiles a text: a label, an operator without operands, a duration, or text.
func (c *compiler) literal(path, s string) (*node, error) {
	if name, ok := strings.CutPrefix(s, "&"); ok {
		return c.reference(path, name), nil
	}
	if _, ok := strings.CutPrefix(s, "@"); ok { // what an extension has computed; there is none here
		return &node{path: path, written: s, eval: func(e *env) (value, bool) { return e.fail(Absent, path) }}, nil
	}
	n := constant(path, textOf(s))
	if rest, ok := strings.CutPrefix(s, "$$"); ok {
		n = constant(path, textOf("$"+rest))
	} else if strings.HasPrefix(s, "$") {
		op, err := c.operator(path, s, nil)
		if err != nil {
			return nil, wrong(path, "%q is no operator that stands alone; text that begins with $ is written $$", s)
		}
		return op, nil
	} else if us, ok := parseDuration(s); ok {
		n = constant(path, value{kind: duration, n: us})
	}
	n.written = s
	return n, nil
}

func textOf(s string) value {
	b := []byte(s)
	return ofText(&b)
}

func constant(path string, v value) *node {
	return &node{path: path, constant: &v, eval: func(*env) (value, bool) { return v, true }}
}

func (c *compiler) reference(path, name string) *node {
	own := c.ask()
	return &node{path: path, label: name, eval: func(e *env) (value, bool) {
		s, found := e.labelAt(own, name)
		if !found {
			return e.fail(Absent, path)
		}
		return parseLabel(s), true
	}}
}

// ask gives a label its place in every stream's env.
func (c *compiler) ask() int {
	c.labels++
	return c.labels - 1
}

func (c *compiler) operator(path, name string, args []*node) (*node, error) {
	if !strings.HasPrefix(name, "$") {
		return nil, wrong(path, "%q is no operator: those begin with $, and a label is compared as in {\"&x\": {\"$eq\": 1}}", name)
	}
	op, known := operators[name]
	if !known {
		return nil, wrong(path, "unknown operator %s", name)
	}
	if len(args) < op.min || op.max >= 0 && len(args) > op.max {
		return nil, wrong(path, "%s has %d operands, want %s", name, len(args), op.wants())
	}
	n := &node{path: path, op: name, args: args}
	n.eval = op.build(c, n)
	return n, nil
}

// walk calls f for n and all below it.
func (n *node) walk(f func(*node)) {
	f(n)
	for _, a := range n.args {
		a.walk(f)
	}
}

// evals returns the operands, which an operator's closure keeps.
func (n *node) evals() []expr {
	all := make([]expr, len(n.args))
	for i, a := range n.args {
		all[i] = a.eval
	}
	return all
}

func (n *node) is(ops ...string) bool { return slices.Contains(ops, n.op) }

package when

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Name stands for a pipeline's condition where a module's name would: in the ledger's states and in parked records. No module may be
// called so.
const Name = "when"

// Condition is a compiled condition. It does not change, and serves any number of streams at once.
type Condition struct {
	directives
	text  string
	sha   string
	nodes []*node
	root  []expr
	uses  compiler // how many cells and places an env needs
}

// Parse compiles a condition: JSON as a ReductStore query takes it. What the store refuses is refused; the error names the place. Beyond
// that, #ext is refused, and what is nested deeper than 100 or longer than 64 KiB.
func Parse(text []byte) (*Condition, error) {
	t, err := readTree(text)
	if err != nil {
		return nil, err
	}
	c := &Condition{text: string(t.compact(nil))}
	sum := sha256.Sum256([]byte(c.text))
	c.sha = hex.EncodeToString(sum[:])
	if t, err = c.directives.takeAll(t); err != nil {
		return nil, err
	}
	if c.nodes, err = c.uses.any("", t); err != nil {
		return nil, err
	}
	for _, n := range c.nodes {
		c.root = append(c.root, n.eval)
	}
	return c, nil
}

// takeAll reads the directives of a root and returns what is left of it.
func (d *directives) takeAll(t *tree) (*tree, error) {
	if !t.isObject() {
		return t, nil
	}
	left := &tree{raw: objectMark}
	for _, m := range t.members {
		if !strings.HasPrefix(m.key, "#") {
			left.members = append(left.members, m)
			continue
		}
		if err := d.take(m); err != nil {
			return nil, err
		}
	}
	return left, nil
}

// String is the condition as JSON without spaces, its order kept.
func (c *Condition) String() string { return c.text }

// SHA256 tells conditions apart, in hex: a state that another one has left is not taken up.
func (c *Condition) SHA256() string { return c.sha }

// Stateful tells whether what passes depends on the records before.
func (c *Condition) Stateful() bool { return c.uses.cells > 0 || c.before.holds() || c.after.holds() }

// met asks the condition. ok is false where it has no answer; the reason stands in e.
func (c *Condition) met(e *env) (met, ok bool) {
	for _, x := range c.root {
		v, ok := x(e)
		if !ok {
			return false, false
		}
		if !v.truth() {
			return false, true
		}
	}
	return true, true
}

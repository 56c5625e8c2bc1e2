package when

import (
	"fmt"
	"strings"
)

// Warnings says what surprises people about the condition: it is one that the store takes, and means something else than it seems to.
func (c *Condition) Warnings() []string {
	var w warnings
	for i, n := range c.nodes {
		n.walk(w.look)
		if i < len(c.nodes)-1 && n.is("$limit", "$each_n", "$each_t") {
			w.add(n, "%s counts records that what stands behind it leaves out; put it last", n.op)
		}
	}
	for _, key := range c.ignored {
		w = append(w, fmt.Sprintf("%s says how a store answers a query; it changes nothing here", key))
	}
	return w
}

type warnings []string

func (w *warnings) add(n *node, format string, args ...any) {
	*w = append(*w, wrong(n.path, format, args...).Error())
}

// look warns of one node.
func (w *warnings) look(n *node) {
	if strings.HasPrefix(n.written, "@") {
		w.add(n, "%s is computed by an extension of the store; here it is never there, and the record never passes", n.written)
	}
	if n.object && n.args[0].op != "" && n.args[0].op[0] == '$' && !n.args[0].is("$timestamp", "$id") {
		left := n.args[0].op
		w.add(n, "{%q: {%q: …}} compares with what %s of nothing is; write {%q: [{%q: […]}]}", left, n.op, left, left, n.op)
	}
	switch {
	case n.is("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin"):
		w.compared(n)
	case n.is("$or", "$any_of"):
		w.missing(n)
	case n.is("$exists", "$has"):
		for _, a := range n.args {
			if a.label != "" {
				w.add(a, "%s looks for a label that is named by the value of %s; the name is written without &", n.op, a.label)
			}
		}
	case n.is("$cast"):
		if to := n.args[1]; to.constant != nil {
			if _, why := castTo(&env{}, value{}, string(appendText(nil, *to.constant))); why == NoResult {
				w.add(n, "there is no type %s, so no record ever passes; want bool, int, float, string or duration", appendText(nil, *to.constant))
			}
		}
	case len(n.args) == 2 && n.is("$second", "$minute", "$hour", "$day", "$month", "$year", "$weekday"):
		if zone := n.args[1].constant; zone != nil && (zone.kind != text || findZone(string(*zone.s)) == nil) {
			w.add(n, "%s is no time zone, so no record ever passes; want one such as Europe/Berlin", appendText(nil, *zone))
		}
	}
}

// compared warns of a constant that a label is never equal to: labels that look like a number or a boolean are one, but text in quotes stays text,
// unless it looks like a duration, which a label never is.
func (w *warnings) compared(n *node) {
	labels := false
	for _, a := range n.args {
		labels = labels || a.label != "" || a.is("$ref")
	}
	if !labels {
		return
	}
	for _, a := range n.args {
		if a.constant == nil || a.written == "" {
			continue
		}
		what := "never matches"
		if n.is("$ne", "$nin") {
			what = "always passes"
		}
		switch {
		case a.constant.kind == duration:
			w.add(n, "%q is read as a duration, the number %d; a label with that text never equals it", a.written, a.constant.n)
		case parseLabel(a.constant.s).kind != text:
			w.add(n, "the text %q %s, because labels that look like a boolean or a number are one; write %s without quotes",
				a.written, what, *a.constant.s)
		}
	}
}

// missing warns of alternatives that ask for different labels: where the first of them is not there, the others are not looked at.
func (w *warnings) missing(n *node) {
	first, more, guarded := "", false, false
	n.walk(func(x *node) {
		guarded = guarded || x.is("$exists", "$has")
		if first == "" {
			first = x.label
		}
		more = more || x.label != "" && x.label != first
	})
	if more && !guarded {
		w.add(n, "a record without label %s does not pass at all, whatever else is offered; ask {\"$has\": %q} first", first, first)
	}
}

package when

import (
	"bytes"
	"fmt"
)

// operator says how many operands there may be (max -1: any number), and compiles.
type operator struct {
	min, max int
	build    func(c *compiler, n *node) expr
}

func (o operator) wants() string {
	switch {
	case o.min == o.max:
		return fmt.Sprintf("exactly %d", o.min)
	case o.max < 0:
		return fmt.Sprintf("at least %d", o.min)
	}
	return fmt.Sprintf("%d to %d", o.min, o.max)
}

var operators = map[string]operator{
	"$and": {0, -1, allOf}, "$all_of": {0, -1, allOf},
	"$or": {0, -1, anyOf}, "$any_of": {0, -1, anyOf},
	"$not": {0, -1, noneOf}, "$none_of": {0, -1, noneOf},
	"$xor": {0, -1, oneOf}, "$one_of": {0, -1, oneOf},
	"$in": {2, -1, in(true)}, "$nin": {2, -1, in(false)},

	"$eq":  {2, 2, compared(func(order int, ok bool) bool { return ok && order == 0 })},
	"$ne":  {2, 2, compared(func(order int, ok bool) bool { return !ok || order != 0 })},
	"$gt":  {2, 2, compared(func(order int, ok bool) bool { return ok && order > 0 })},
	"$gte": {2, 2, compared(func(order int, ok bool) bool { return ok && order >= 0 })},
	"$lt":  {2, 2, compared(func(order int, ok bool) bool { return ok && order < 0 })},
	"$lte": {2, 2, compared(func(order int, ok bool) bool { return ok && order <= 0 })},

	"$add": {0, -1, folded(add)}, "$mult": {0, -1, folded(mult)},
	"$sub": {2, 2, folded(sub)}, "$div": {2, 2, folded(div)}, "$div_num": {2, 2, folded(divNum)}, "$rem": {2, 2, folded(rem)},
	"$abs": {1, 1, absolute},

	"$contains": {2, 2, texts(bytes.Contains)}, "$starts_with": {2, 2, texts(bytes.HasPrefix)}, "$ends_with": {2, 2, texts(bytes.HasSuffix)},

	"$exists": {1, -1, exists}, "$has": {1, -1, exists}, "$ref": {1, 1, ref}, "$cast": {2, 2, cast},
	"$timestamp": {0, 0, timestamp}, "$id": {0, 0, timestamp},

	"$second": {1, 2, dated(second)}, "$minute": {1, 2, dated(minute)}, "$hour": {1, 2, dated(hour)}, "$day": {1, 2, dated(day)},
	"$month": {1, 2, dated(month)}, "$year": {1, 2, dated(year)}, "$weekday": {1, 2, dated(weekday)},

	"$each_n": {1, 1, eachN}, "$each_t": {1, 1, eachT}, "$limit": {1, 1, limit}, "$gate": {2, 2, gate},
}

// until asks one operand after the other and stops at the first whose truth is stop: those behind it do not even count.
func until(stop, found bool) func(*compiler, *node) expr {
	return func(_ *compiler, n *node) expr {
		args := n.evals()
		return func(e *env) (value, bool) {
			for _, arg := range args {
				v, ok := arg(e)
				if !ok {
					return v, false
				}
				if v.truth() == stop {
					return ofBool(found), true
				}
			}
			return ofBool(!found), true
		}
	}
}

func allOf(c *compiler, n *node) expr  { return until(false, false)(c, n) }
func anyOf(c *compiler, n *node) expr  { return until(true, true)(c, n) }
func noneOf(c *compiler, n *node) expr { return until(true, false)(c, n) }

func oneOf(_ *compiler, n *node) expr {
	args := n.evals()
	return func(e *env) (value, bool) {
		count := 0
		for _, arg := range args {
			v, ok := arg(e)
			if !ok {
				return v, false
			}
			if v.truth() {
				count++
			}
		}
		return ofBool(count == 1), true
	}
}

func in(found bool) func(*compiler, *node) expr {
	return func(_ *compiler, n *node) expr {
		args := n.evals()
		return func(e *env) (value, bool) {
			x, ok := args[0](e)
			if !ok {
				return x, false
			}
			for _, arg := range args[1:] {
				v, ok := arg(e)
				if !ok {
					return v, false
				}
				if equal(v, x) {
					return ofBool(found), true
				}
			}
			return ofBool(!found), true
		}
	}
}

func compared(holds func(order int, ok bool) bool) func(*compiler, *node) expr {
	return func(_ *compiler, n *node) expr {
		left, right := n.args[0].eval, n.args[1].eval
		if c := n.args[1].constant; c != nil {
			b := *c
			return func(e *env) (value, bool) {
				a, ok := left(e)
				return ofBool(ok && holds(compare(a, b))), ok
			}
		}
		return func(e *env) (value, bool) {
			a, ok := left(e)
			if !ok {
				return a, false
			}
			b, ok := right(e)
			if !ok {
				return b, false
			}
			return ofBool(holds(compare(a, b))), true
		}
	}
}

// folded goes from the left. One operand is itself, none is 0.
func folded(f func(e *env, a, b value) (value, bool)) func(*compiler, *node) expr {
	return func(_ *compiler, n *node) expr {
		args, path := n.evals(), n.path
		return func(e *env) (value, bool) {
			sum := ofInt(0)
			for i, arg := range args {
				v, ok := arg(e)
				if !ok {
					return v, false
				}
				if i == 0 {
					sum = v
					continue
				}
				a := sum
				if sum, ok = f(e, a, v); !ok {
					return e.fail(why(a, v), path)
				}
			}
			return sum, true
		}
	}
}

// why arithmetic has no result.
func why(a, b value) Reason {
	if a.kind == text || b.kind == text {
		return Mistyped
	}
	return NoResult
}

func absolute(_ *compiler, n *node) expr {
	arg, path := n.args[0].eval, n.path
	return func(e *env) (value, bool) {
		v, ok := arg(e)
		if !ok {
			return v, false
		}
		if v, ok = abs(v); !ok {
			return e.fail(Mistyped, path)
		}
		return v, true
	}
}

func texts(holds func(a, b []byte) bool) func(*compiler, *node) expr {
	return func(_ *compiler, n *node) expr {
		left, right := n.args[0].eval, n.args[1].eval
		return func(e *env) (value, bool) {
			a, ok := left(e)
			if !ok {
				return a, false
			}
			b, ok := right(e)
			if !ok {
				return b, false
			}
			return ofBool(holds(e.text(a), e.text(b))), true
		}
	}
}

// exists takes what its operands say for names of labels.
func exists(c *compiler, n *node) expr {
	if len(n.args) == 1 && n.args[0].constant != nil {
		own, name := c.ask(), string(appendText(nil, *n.args[0].constant))
		return func(e *env) (value, bool) {
			_, found := e.labelAt(own, name)
			return ofBool(found), true
		}
	}
	args := n.evals()
	return func(e *env) (value, bool) {
		for _, arg := range args {
			v, ok := arg(e)
			if !ok {
				return v, false
			}
			if _, found := e.label(string(e.text(v))); !found {
				return ofBool(false), true
			}
		}
		return ofBool(true), true
	}
}

func ref(_ *compiler, n *node) expr {
	arg, path := n.args[0].eval, n.path
	return func(e *env) (value, bool) {
		v, ok := arg(e)
		if !ok {
			return v, false
		}
		s, found := e.label(string(e.text(v)))
		if !found {
			return e.fail(Absent, path)
		}
		return parseLabel(s), true
	}
}

func cast(_ *compiler, n *node) expr {
	arg, to, path := n.args[0].eval, n.args[1].eval, n.path
	return func(e *env) (value, bool) {
		v, ok := arg(e)
		if !ok {
			return v, false
		}
		t, ok := to(e)
		if !ok {
			return t, false
		}
		v, why := castTo(e, v, string(e.text(t)))
		if why != Unmet {
			return e.fail(why, path)
		}
		return v, true
	}
}

// castTo returns Unmet, the zero Reason, with what it could make.
func castTo(e *env, v value, to string) (value, Reason) {
	ok := true
	switch to {
	case "bool":
		v = ofBool(v.truth())
	case "int":
		v.n, ok = v.asInt()
		v = ofInt(v.n)
	case "float":
		var f float64
		f, ok = v.asFloat()
		v = ofFloat(f)
	case "string":
		v = e.keep(e.text(v))
	case "duration":
		v.n, ok = v.asInt()
		v = value{kind: duration, n: v.n}
	default:
		return v, NoResult
	}
	if !ok {
		return v, Mistyped
	}
	return v, Unmet
}

func timestamp(*compiler, *node) expr {
	return func(e *env) (value, bool) { return ofInt(int64(e.time)), true }
}

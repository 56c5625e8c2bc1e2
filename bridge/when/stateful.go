package when

// cell is what one stateful operator remembers of a stream.
type cell struct {
	count    int64  // evaluations: $each_n, $limit
	last     uint64 // time of the record before ($gate), or from which $each_t counts
	deadline uint64 // $gate: when the window ends
	flags    cellFlags
}

type cellFlags uint8

const (
	marked   cellFlags = 1 << iota // last is set
	open                           // deadline is set
	before                         // $gate: its input was true the last time
	shut                           // $gate: the window has run out, and the input was not false since
	allFlags = marked | open | before | shut
)

func (c *cell) has(f cellFlags) bool { return c.flags&f != 0 }

func (c *cell) set(f cellFlags, on bool) {
	if c.flags &^= f; on {
		c.flags |= f
	}
}

// own gives an operator a cell; it is the same one in every stream's env.
func (c *compiler) own() int {
	c.cells++
	return c.cells - 1
}

// eachN counts before it looks at its operand: a record for which that fails counts too.
func eachN(c *compiler, n *node) expr {
	arg, path, own := n.args[0].eval, n.path, c.own()
	return func(e *env) (value, bool) {
		x := &e.cells[own]
		x.count++
		of, ok := wholeOf(e, arg, path)
		if !ok {
			return value{}, false
		}
		if of == 0 {
			return e.fail(NoResult, path)
		}
		return ofBool(x.count%of == 0), true
	}
}

func limit(c *compiler, n *node) expr {
	arg, path, own := n.args[0].eval, n.path, c.own()
	return func(e *env) (value, bool) {
		x := &e.cells[own]
		x.count++
		most, ok := wholeOf(e, arg, path)
		if !ok {
			return value{}, false
		}
		if x.count > most {
			return e.fail(Ended, path)
		}
		return ofBool(true), true
	}
}

func wholeOf(e *env, arg expr, path string) (int64, bool) {
	v, ok := arg(e)
	if !ok {
		return 0, false
	}
	n, ok := v.asInt()
	if !ok {
		e.fail(Mistyped, path)
	}
	return n, ok
}

// eachT's operand is a duration, or a number of seconds. It goes through seconds in either case, as the store's does: rounding included.
func eachT(c *compiler, n *node) expr {
	arg, path, own := n.args[0].eval, n.path, c.own()
	return func(e *env) (value, bool) {
		x := &e.cells[own]
		if !x.has(marked) {
			x.last = e.time
			x.set(marked, true)
		}
		v, ok := arg(e)
		if !ok {
			return v, false
		}
		seconds, ok := v.asFloat()
		if !ok {
			return e.fail(Mistyped, path)
		}
		if v.kind == duration {
			seconds /= 1e6
		}
		if e.time < x.last { // time went back: the count begins anew
			x.last = e.time
			return ofBool(false), true
		}
		due := e.time-x.last >= unsigned(seconds*1e6)
		if due {
			x.last = e.time
		}
		return ofBool(due), true
	}
}

// gate lets its input through for a while after it has become true.
//
//	input  ___-----------___-----
//	gate   ___-----_________-----
//	          ◀ d ▶
func gate(c *compiler, n *node) expr {
	for_, input, path, own := n.args[0].eval, n.args[1].eval, n.path, c.own()
	return func(e *env) (value, bool) {
		x := &e.cells[own]
		if x.has(marked) && e.time < x.last {
			x.flags = 0
		}
		x.last = e.time
		x.set(marked, true)
		d, ok := for_(e)
		if !ok {
			return d, false
		}
		window, ok := windowOf(d)
		if !ok {
			return e.fail(Mistyped, path)
		}
		in, ok := input(e)
		if !ok {
			return in, false
		}
		return ofBool(x.pass(e.time, window, in.truth())), true
	}
}

func windowOf(v value) (us uint64, ok bool) {
	if v.kind == duration {
		return uint64(max(v.n, 0)), true
	}
	seconds, ok := v.asFloat()
	return uint64(max(saturate(seconds*1e6), 0)), ok
}

func (c *cell) pass(now, window uint64, in bool) bool {
	if c.has(open) && now >= c.deadline {
		c.set(open, false)
		c.set(shut, true)
	}
	if c.has(shut) {
		c.set(shut, in)
		c.set(before, in)
		return false
	}
	if in && !c.has(open) && !c.has(before) {
		if c.deadline = now + window; c.deadline < now {
			c.deadline = 1<<64 - 1
		}
		c.set(open, true)
	}
	c.set(before, in)
	return in && c.has(open) && now < c.deadline
}

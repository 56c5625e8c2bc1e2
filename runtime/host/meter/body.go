package meter

import (
	"errors"
	"fmt"
)

const (
	bulkShift = 3  // bulk memory operations cost a unit for 8 bytes
	growCost  = 64 // of memory.grow: a call of the runtime
	sizeShift = 12 // a function costs one unit more for each 4 KiB of code: straight-line code takes time too
	maxLocals = 50_000
)

// codeSection meters every body.
func (w *rewriter) codeSection(body []byte) ([]byte, error) {
	r := &reader{b: body}
	n := r.u32()
	if r.err == nil && int(n) != len(w.functions) {
		return nil, fmt.Errorf("%d bodies for %d functions", n, len(w.functions))
	}
	out := appendU32(make([]byte, 0, len(body)+len(body)/8), n)
	var scratch []byte
	for i := range w.functions {
		b := r.take(r.u32())
		if r.err != nil {
			return nil, r.err
		}
		var err error
		if scratch, err = w.body(scratch[:0], b, w.functions[i]); err != nil {
			return nil, fmt.Errorf("body %d: %w", i, err)
		}
		out = append(appendU32(out, uint32(len(scratch))), scratch...)
	}
	return out, r.err
}

// body appends one metered function body.
func (w *rewriter) body(out, body []byte, typ uint32) ([]byte, error) {
	if int64(typ) >= int64(len(w.params)) {
		return nil, fmt.Errorf("type %d does not exist", typ)
	}
	r := &reader{b: body}
	groups := r.u32()
	first := r.at
	locals := uint64(w.params[typ])
	for i := uint32(0); i < groups && r.err == nil; i++ {
		locals += uint64(r.u32())
		valueTypes(r, 1)
	}
	if r.err != nil {
		return nil, r.err
	}
	if locals > maxLocals {
		return nil, fmt.Errorf("%d locals, want at most %d", locals, maxLocals)
	}
	begin := r.at
	c := &charger{counter: w.globals, left: uint32(locals), temp: uint32(locals) + 1, cost: 1 + int64(len(body)>>sizeShift)}
	if err := c.instructions(w, r); err != nil {
		return nil, err
	}
	groups++
	if c.tempUsed {
		groups++
	}
	out = append(appendU32(out, groups), body[first:begin]...)
	out = append(out, 1, 0x7e) // one i64
	if c.tempUsed {
		out = append(out, 1, 0x7f) // one i32
	}
	return append(out, w.code...), nil
}

// charger meters the instructions of one body.
type charger struct {
	counter  uint32 // index of the counter among the globals
	left     uint32 // index of a local of our own, an i64: the counter as it was just set
	temp     uint32 // index of another, an i32
	tempUsed bool
	cost     int64 // of an entry or a turn
}

// instructions copies the rest of r into w.code with charges put in.
func (c *charger) instructions(w *rewriter, r *reader) error {
	w.code = w.code[:0]
	copied := r.at
	depth := 1
	entered := false // the entry was charged; where a function begins with a loop, as those of Go do, by the loop's first turn
	for depth > 0 && r.err == nil {
		begin := r.at
		code, f := w.ops.next(r)
		if r.err != nil {
			break
		}
		if !entered && !prologue(code) {
			if f != loop {
				w.code = c.charge(append(w.code, r.b[copied:begin]...), c.cost)
				copied = begin
			}
			entered = true
		}
		switch f {
		case unknown:
			return fmt.Errorf("byte %#x: unknown opcode %#x", begin, code)
		case refused:
			return refuse(begin, code)
		case block, loop:
			depth++
		case end:
			depth--
		case grow:
			w.code = c.charge(append(w.code, r.b[copied:begin]...), growCost)
			copied = begin
		case bulk1, bulk2, bulkT1, bulkT2:
			w.code = c.chargeLength(append(w.code, r.b[copied:begin]...), f)
			copied = begin
		}
		c.immediates(r, f)
		if f == loop {
			w.code = c.charge(append(w.code, r.b[copied:r.at]...), c.cost)
			copied = r.at
		}
	}
	if r.err == nil && r.left() > 0 {
		r.fail(errors.New("code after the function's end"))
	}
	w.code = append(w.code, r.b[copied:]...)
	return r.err
}

// prologue tells of what may stand between a function's entry and its first loop without being work: block, locals, globals, constants. None of
// them can leave, and code that is long is charged for its length.
func prologue(code uint32) bool {
	return code == 0x02 || code >= 0x20 && code <= 0x24 || code >= 0x41 && code <= 0x44
}

func refuse(at int, code uint32) error {
	for _, f := range features {
		if f.lo <= code && code <= f.hi {
			return fmt.Errorf("byte %#x: %s is not supported: %s", at, f.name, f.advice)
		}
	}
	return fmt.Errorf("byte %#x: opcode %#x is not supported", at, code)
}

// immediates passes over what follows an opcode.
func (c *charger) immediates(r *reader, f form) {
	switch f {
	case block, loop:
		if r.at < len(r.b) && (r.b[r.at] == 0x63 || r.b[r.at] == 0x64) {
			r.fail(errTypes) // a block type of two bytes
		}
		r.skip()
	case index, grow, bulk1, bulkT1:
		r.skip()
	case index2, bulk2, bulkT2:
		r.skip()
		r.skip()
	case global:
		if i := r.u32(); i >= c.counter && r.err == nil {
			// The module would read or set our counter.
			r.fail(fmt.Errorf("global %d does not exist", i))
		}
	case table:
		for n := uint64(r.u32()) + 1; n > 0 && r.err == nil; n-- {
			r.u32()
		}
	case types:
		valueTypes(r, r.u32())
	case memory, lane:
		if r.u32()&0x40 != 0 {
			r.fail(errors.New("multiple memories are not supported"))
		}
		r.u32()
		if f == lane {
			r.byte()
		}
	case bytes1:
		r.byte()
	case bytes4:
		r.take(4)
	case bytes8:
		r.take(8)
	case bytes16:
		r.take(16)
	}
}

// charge takes n units off the counter and traps below zero. It leaves the operand stack as it is.
func (c *charger) charge(out []byte, n int64) []byte {
	out = appendU32(append(out, 0x23), c.counter)       // global.get
	out = append(appendS64(append(out, 0x42), n), 0x7d) // i64.const n, i64.sub
	return c.settle(out)
}

// chargeLength takes off what a bulk operation will cost, by the length on top of the stack, which stays there.
func (c *charger) chargeLength(out []byte, f form) []byte {
	c.tempUsed = true
	shift := byte(bulkShift)
	if f == bulkT1 || f == bulkT2 {
		shift = 0
	}
	out = appendU32(append(out, 0x22), c.temp)       // local.tee
	out = appendU32(append(out, 0x23), c.counter)    // global.get
	out = appendU32(append(out, 0x20), c.temp)       // local.get
	out = append(out, 0xad, 0x42, shift, 0x88, 0x7d) // i64.extend_i32_u, i64.const, i64.shr_u, i64.sub
	return c.settle(out)
}

// settle stores the counter and ends the call below zero.
func (c *charger) settle(out []byte) []byte {
	out = appendU32(append(out, 0x22), c.left)                   // local.tee
	out = appendU32(append(out, 0x24), c.counter)                // global.set
	out = appendU32(append(out, 0x20), c.left)                   // local.get
	return append(out, 0x42, 0x00, 0x53, 0x04, 0x40, 0x00, 0x0b) // i64.const 0, i64.lt_s, if, unreachable, end
}

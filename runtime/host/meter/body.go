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

// What charges are made of. Numbers are i64.
const (
	opIf, opEnd, opBranchIf, opCall, void = 0x04, 0x0b, 0x0d, 0x10, 0x40
	opLocalGet, opLocalTee                = 0x20, 0x22
	opGlobalGet, opGlobalSet              = 0x23, 0x24
	opConst, opLess, opAdd, opSub         = 0x42, 0x53, 0x7c, 0x7d
	opShiftU, opExtendU                   = 0x88, 0xad
)

// codeSection meters every body.
func (w *rewriter) codeSection(r *reader) []byte {
	n := r.u32()
	if r.err == nil && int(n) != len(w.functions) {
		r.fail(fmt.Errorf("%d bodies for %d functions", n, len(w.functions)))
	}
	out := appendU32(make([]byte, 0, len(r.b)+len(r.b)/8), n)
	var scratch []byte
	for i := 0; i < len(w.functions) && r.err == nil; i++ {
		b := r.take(r.u32())
		if r.err != nil {
			break
		}
		var err error
		if scratch, err = w.body(scratch[:0], b, w.functions[i]); err != nil {
			r.err = fmt.Errorf("body %d: %w", i, err)
		}
		out = append(appendU32(out, uint32(len(scratch))), scratch...)
	}
	return out
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
	if w.locals += locals; w.locals > maxAllLocals {
		return nil, fmt.Errorf("%d locals up to here, want at most %d", w.locals, maxAllLocals)
	}
	begin := r.at
	c := &charger{
		rewriter: w, r: r, out: w.code[:0], copied: begin,
		left: uint32(locals), temp: uint32(locals) + 1, cost: 1 + int64(len(body)>>sizeShift),
	}
	err := c.instructions()
	w.code = c.out
	if err != nil {
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
	return append(out, c.out...), nil
}

// charger meters the instructions of one body.
type charger struct {
	*rewriter
	r        *reader
	out      []byte
	copied   int    // bytes of r that out has
	left     uint32 // index of a local of our own, an i64: the counter as it was just set
	temp     uint32 // index of another, an i32
	tempUsed bool
	cost     int64 // of an entry or a turn
	frames   []frame
}

// frame is an open block, loop, if, or the function itself.
type frame struct {
	loop  bool
	loops uint32 // among the frames up to this one
}

// instructions copies the rest of c.r with charges put in.
func (c *charger) instructions() error {
	r := c.r
	c.frames = append(c.frames, frame{})
	entered := false // the entry was charged; where a function begins with a loop, as those of Go do, by the loop's first turn
	for len(c.frames) > 0 && r.err == nil {
		begin := r.at
		code, f := c.ops.next(r)
		if r.err != nil {
			break
		}
		if !entered && !prologue(code) {
			if f != loop {
				c.flush(begin)
				c.charge(c.cost)
			}
			entered = true
		}
		if err := c.instruction(begin, code, f); err != nil {
			return err
		}
	}
	if r.err == nil && r.left() > 0 {
		r.fail(errors.New("code after the function's end"))
	}
	c.flush(len(r.b))
	return r.err
}

// instruction meters one, whose opcode has been read.
func (c *charger) instruction(begin int, code uint32, f form) error {
	r := c.r
	switch f {
	case unknown:
		return fmt.Errorf("byte %#x: unknown opcode %#x", begin, code)
	case refused:
		return refuse(begin, code)
	case block:
		c.blockType()
		c.open(false)
	case loop:
		c.blockType()
		c.loop(begin)
	case end:
		c.end()
	case branch:
		c.flush(r.at)
		c.target()
	case table:
		c.flush(r.at)
		n := r.count()
		c.out = appendU32(c.out, n)
		for n := uint64(n) + 1; n > 0 && r.err == nil; n-- {
			c.target()
		}
	case function:
		c.flush(r.at)
		c.out = appendU32(c.out, c.shifted(r.u32()))
		c.copied = r.at
	case indirect:
		c.typeIndex(r)
		r.skip()
	case local:
		if i := r.u32(); i >= c.left && r.err == nil {
			r.fail(fmt.Errorf("local %d does not exist", i)) // but for one of ours
		}
	case grow:
		c.flush(begin)
		c.charge(growCost)
		r.skip()
	case bulk1, bulk2, bulkT1, bulkT2:
		c.flush(begin)
		c.chargeLength(f)
		immediates(r, f, c.globals)
	default:
		immediates(r, f, c.globals)
	}
	return nil
}

// flush copies what was read up to a byte.
func (c *charger) flush(to int) {
	c.out = append(c.out, c.r.b[c.copied:to]...)
	c.copied = to
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

func (c *charger) open(loop bool) {
	f := frame{loop: loop, loops: c.frames[len(c.frames)-1].loops}
	if loop {
		f.loops++
	}
	c.frames = append(c.frames, f)
}

func (c *charger) end() {
	last := len(c.frames) - 1
	if c.frames[last].loop {
		c.flush(c.r.at)
		c.out = append(c.out, opEnd) // of the inner loop; what follows is of the outer one
	}
	c.frames = c.frames[:last]
}

// loop charges a turn. The loop becomes two, one in the other: the inner one has the body and leaves, below zero, to the head of the outer one,
// where the call is. A call in the loop itself, though it hardly ever happens, would keep the compiler from holding the loop's values in
// registers: a tight loop took 1.7 times as long.
//
//	loop T                             block types T are the same, parameters of a loop stay on the stack
//	  counter < 0, if
//	    call tick
//	    counter += cost                the turn that could not be paid for comes again
//	  end
//	  loop T
//	    counter -= cost, < 0, br_if 1
//	    body
//	  end
//	end
func (c *charger) loop(begin int) {
	typ := c.r.b[begin:c.r.at]
	c.flush(c.r.at)
	c.open(true)
	c.get(opGlobalGet, c.globals)
	c.out = append(c.out, opConst, 0, opLess, opIf, void)
	c.get(opCall, c.tick)
	c.get(opGlobalGet, c.globals)
	c.out = append(appendS64(append(c.out, opConst), c.cost), opAdd)
	c.get(opGlobalSet, c.globals)
	c.out = append(append(c.out, opEnd), typ...)
	c.take(c.cost)
	c.out = append(c.out, opBranchIf, 1)
}

// target copies the depth of a label, which lies deeper by one for each loop that has become two on the way there.
func (c *charger) target() {
	depth := c.r.u32()
	n := uint32(len(c.frames))
	if depth >= n {
		c.r.fail(fmt.Errorf("label %d does not exist", depth)) // with the loops that have become two it might
		return
	}
	depth += c.frames[n-1].loops - c.frames[n-1-depth].loops
	c.out = appendU32(c.out, depth)
	c.copied = c.r.at
}

// blockType passes over a value type, none, or the index of a type.
func (c *charger) blockType() {
	r := c.r
	switch next := r.byte(); {
	case next == 0x63 || next == 0x64:
		r.fail(errTypes)
	case next < 0x40 || next >= 0x80:
		r.at--
		c.typeIndex(r)
	}
}

// immediates passes over what follows an opcode. globals is how many there are.
func immediates(r *reader, f form, globals uint32) {
	switch f {
	case index, bulk1, bulkT1:
		r.skip()
	case index2, bulk2, bulkT2:
		r.skip()
		r.skip()
	case global:
		if i := r.u32(); i >= globals && r.err == nil {
			// The module would read or set our counter.
			r.fail(fmt.Errorf("global %d does not exist", i))
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

// get appends an instruction with an index.
func (c *charger) get(op byte, i uint32) { c.out = appendU32(append(c.out, op), i) }

// charge takes n units off the counter. It leaves the operand stack as it is.
func (c *charger) charge(n int64) {
	c.take(n)
	c.settle()
}

// chargeLength takes off what a bulk operation will cost, by the length on top of the stack, which stays there.
func (c *charger) chargeLength(f form) {
	c.tempUsed = true
	shift := byte(bulkShift)
	if f == bulkT1 || f == bulkT2 {
		shift = 0
	}
	c.get(opLocalTee, c.temp)
	c.get(opGlobalGet, c.globals)
	c.get(opLocalGet, c.temp)
	c.out = append(c.out, opExtendU, opConst, shift, opShiftU, opSub)
	c.below()
	c.settle()
}

// take takes n units off and leaves on the stack whether the counter is below zero.
func (c *charger) take(n int64) {
	c.get(opGlobalGet, c.globals)
	c.out = append(appendS64(append(c.out, opConst), n), opSub)
	c.below()
}

// below stores the counter and compares it.
func (c *charger) below() {
	c.get(opLocalTee, c.left)
	c.get(opGlobalSet, c.globals)
	c.get(opLocalGet, c.left)
	c.out = append(c.out, opConst, 0, opLess)
}

// settle asks the host for more where the counter is below zero.
func (c *charger) settle() {
	c.out = append(c.out, opIf, void)
	c.get(opCall, c.tick)
	c.out = append(c.out, opEnd)
}

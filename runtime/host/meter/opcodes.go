package meter

// form is what follows an opcode.
type form uint8

const (
	unknown  form = iota // zero value: not an opcode we know; guessing would desynchronize the reader
	plain                // nothing
	block                // block type
	loop                 // block type; a turn is charged
	end                  // nothing; the last one closes the function
	index                // one LEB128 number
	local                // index of a local
	branch               // depth of a label
	indirect             // index of a type, then of a table
	function             // index of a function
	index2               // two
	global               // index of a global
	table                // br_table: vector of labels' depths and a default
	types                // select: vector of types
	memory               // alignment and offset
	lane                 // alignment, offset and a lane
	bytes1               // that many bytes
	bytes4
	bytes8
	bytes16
	grow   // memory.grow: charged, then an index
	bulk1  // one index; the length on the stack is charged in units of 8 bytes
	bulk2  // two indices; the same
	bulkT2 // two indices; the length on the stack is charged one by one: table elements
	bulkT1
	prefixFC
	prefixFD
	refused // belongs to a feature in features
)

// span gives the opcodes lo to hi one form.
type span struct {
	lo, hi uint32
	form   form
}

var baseOps = []span{
	{0x00, 0x01, plain}, {0x02, 0x02, block}, {0x03, 0x03, loop}, {0x04, 0x04, block}, {0x05, 0x05, plain},
	{0x06, 0x0a, refused}, {0x0b, 0x0b, end}, {0x0c, 0x0d, branch}, {0x0e, 0x0e, table}, {0x0f, 0x0f, plain},
	{0x10, 0x10, function}, {0x11, 0x11, indirect}, {0x12, 0x15, refused}, {0x18, 0x19, refused}, {0x1a, 0x1b, plain}, {0x1c, 0x1c, types},
	{0x1f, 0x1f, refused}, {0x20, 0x22, local}, {0x23, 0x24, global}, {0x25, 0x26, index}, {0x28, 0x3e, memory},
	{0x3f, 0x3f, index}, {0x40, 0x40, grow}, {0x41, 0x42, index}, {0x43, 0x43, bytes4}, {0x44, 0x44, bytes8}, {0x45, 0xc4, plain},
	{0xd0, 0xd0, index}, {0xd1, 0xd1, plain}, {0xd2, 0xd2, function}, {0xd3, 0xd6, refused},
	{0xfb, 0xfb, refused}, {0xfc, 0xfc, prefixFC}, {0xfd, 0xfd, prefixFD}, {0xfe, 0xfe, refused},
}

// Saturating conversions, bulk memory and tables. table.grow (15) is refused: a table is memory that no limit counts.
var fcOps = []span{
	{0, 7, plain}, {8, 8, bulk2}, {9, 9, index}, {10, 10, bulk2}, {11, 11, bulk1}, {12, 12, bulkT2}, {13, 13, index},
	{14, 14, bulkT2}, {15, 15, refused}, {16, 16, index}, {17, 17, bulkT1},
}

var fdOps = []span{
	{0, 11, memory}, {12, 13, bytes16}, {14, 20, plain}, {21, 34, bytes1}, {35, 83, plain}, {84, 91, lane}, {92, 93, memory},
	{94, 255, plain}, {256, 0x1ff, refused},
}

// feature names what a refused opcode belongs to, and what to do about it. Opcodes behind a prefix are prefix<<16 + number.
type feature struct {
	lo, hi       uint32
	name, advice string
}

var features = []feature{
	{0x06, 0x0a, "exception handling", "build with -fno-exceptions, or panic=abort"},
	{0x18, 0x19, "exception handling", "build with -fno-exceptions, or panic=abort"},
	{0x1f, 0x1f, "exception handling", "build with -fno-exceptions, or panic=abort"},
	{0x12, 0x13, "tail calls", "build with -mno-tail-call"},
	{0x14, 0x15, "typed function references", "build for the baseline of WebAssembly 2.0"},
	{0xd3, 0xd6, "typed function references", "build for the baseline of WebAssembly 2.0"},
	{0xfb, 0xfb, "garbage-collected references", "use a language that brings its own memory management"},
	{0xfe, 0xfe, "threads (atomic operations)", "build without -pthread and -matomics"},
	{0xfc<<16 + 15, 0xfc<<16 + 15, "table.grow", "a table that grows escapes the memory limit"},
	{0xfd<<16 + 256, 0xfd<<16 + 0x1ff, "relaxed SIMD", "its results differ between machines; build without -mrelaxed-simd"},
}

// opcodes is the tables spread out, for one look-up an instruction.
type opcodes struct {
	base [256]form
	fc   [32]form
	fd   [512]form
}

func newOpcodes() *opcodes {
	var o opcodes
	spread(o.base[:], baseOps)
	spread(o.fc[:], fcOps)
	spread(o.fd[:], fdOps)
	return &o
}

func spread(to []form, spans []span) {
	for _, s := range spans {
		for op := s.lo; op <= s.hi; op++ {
			to[op] = s.form
		}
	}
}

// next reads an opcode. code is prefix<<16 + number for those behind a prefix.
func (o *opcodes) next(r *reader) (code uint32, f form) {
	code = uint32(r.byte())
	f = o.base[code]
	switch f {
	case prefixFC:
		return prefixed(r, code, o.fc[:])
	case prefixFD:
		return prefixed(r, code, o.fd[:])
	}
	return code, f
}

func prefixed(r *reader, prefix uint32, forms []form) (uint32, form) {
	n := r.u32()
	code := prefix<<16 + n&0xffff
	if n >= uint32(len(forms)) {
		return code, unknown
	}
	return code, forms[n]
}

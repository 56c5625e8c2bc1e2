// Package asm puts small WebAssembly modules together, byte by byte, for the tests of the host and its meter: guests that no compiler
// would make.
package asm

// Value types.
const (
	I32 byte = 0x7f
	I64 byte = 0x7e
	F64 byte = 0x7c
)

// Instructions without immediates, and Void, the block type of a block without a result.
const (
	Unreachable byte = 0x00
	Else        byte = 0x05
	End         byte = 0x0b
	Return      byte = 0x0f
	Drop        byte = 0x1a
	I32Eqz      byte = 0x45
	I32Eq       byte = 0x46
	I32LtU      byte = 0x49
	I32Add      byte = 0x6a
	I32Sub      byte = 0x6b
	I64Add      byte = 0x7c
	I64Or       byte = 0x84
	I64Shl      byte = 0x86
	I64ExtendU  byte = 0xad
	Void        byte = 0x40
)

// Module collects the parts of a module. The zero value is an empty one.
type Module struct {
	types, imports, functions, exports, globals, codes, datas [][]byte
	tables, memories                                          [][]byte
	customs                                                   []byte
	imported                                                  uint32
	start                                                     []byte
}

// Type adds a function type and returns its index.
func (m *Module) Type(params, results []byte) uint32 {
	t := append([]byte{0x60}, vec(params)...)
	m.types = append(m.types, append(t, vec(results)...))
	return uint32(len(m.types) - 1)
}

// Import imports a function and returns its index. All imports come before the first Func.
func (m *Module) Import(module, name string, params, results []byte) uint32 {
	b := append(vec([]byte(module)), vec([]byte(name))...)
	m.imports = append(m.imports, append(append(b, 0), Uint(m.Type(params, results))...))
	m.imported++
	return m.imported - 1
}

// Func adds a function with some i32 locals and returns its index. name is its export, empty = none. The final End is added.
func (m *Module) Func(name string, params, results []byte, locals uint32, code ...[]byte) uint32 {
	m.functions = append(m.functions, Uint(m.Type(params, results)))
	body := []byte{0}
	if locals > 0 {
		body = append(append([]byte{1}, Uint(locals)...), I32)
	}
	for _, c := range code {
		body = append(body, c...)
	}
	m.codes = append(m.codes, vec(append(body, End)))
	i := m.imported + uint32(len(m.functions)-1)
	if name != "" {
		m.Export(name, 0, i)
	}
	return i
}

// Export exports item i of a kind: 0 function, 1 table, 2 memory, 3 global.
func (m *Module) Export(name string, kind byte, i uint32) {
	m.exports = append(m.exports, append(append(vec([]byte(name)), kind), Uint(i)...))
}

// Memory adds a memory of some pages and exports it under that name.
func (m *Module) Memory(name string, pages uint32) {
	m.memories = append(m.memories, append([]byte{0}, Uint(pages)...))
	m.Export(name, 2, 0)
}

// RawMemory and RawTable add an entry as it is, wrong ones included.
func (m *Module) RawMemory(b ...byte) { m.memories = append(m.memories, b) }

// RawTable adds a table.
func (m *Module) RawTable(b ...byte) { m.tables = append(m.tables, b) }

// Global adds a mutable i64 and returns its index.
func (m *Module) Global(v int64) uint32 {
	m.globals = append(m.globals, append(append([]byte{I64, 1}, Int64(v)...), End))
	return uint32(len(m.globals) - 1)
}

// Data puts b at an address when an instance begins.
func (m *Module) Data(address int32, b []byte) {
	d := append(append([]byte{0}, Int(address)...), End)
	m.datas = append(m.datas, append(d, vec(b)...))
}

// Start makes function i the start function.
func (m *Module) Start(i uint32) { m.start = Uint(i) }

// Custom adds a custom section at the end.
func (m *Module) Custom(name string, body []byte) {
	m.customs = append(m.customs, Section(0, append(vec([]byte(name)), body...))...)
}

// Bytes is the module.
func (m *Module) Bytes() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range []struct {
		id    byte
		items [][]byte
	}{{1, m.types}, {2, m.imports}, {3, m.functions}, {4, m.tables}, {5, m.memories}, {6, m.globals}, {7, m.exports}} {
		out = append(out, vector(s.id, s.items)...)
	}
	if m.start != nil {
		out = append(out, Section(8, m.start)...)
	}
	out = append(out, vector(10, m.codes)...)
	out = append(out, vector(11, m.datas)...)
	return append(out, m.customs...)
}

// Section is one section with its head.
func Section(id byte, body []byte) []byte { return append([]byte{id}, vec(body)...) }

func vector(id byte, items [][]byte) []byte {
	if len(items) == 0 {
		return nil
	}
	body := Uint(uint32(len(items)))
	for _, i := range items {
		body = append(body, i...)
	}
	return Section(id, body)
}

// vec puts its length before b.
func vec(b []byte) []byte { return append(Uint(uint32(len(b))), b...) }

// Code joins instructions.
func Code(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// Op is instructions as bytes.
func Op(b ...byte) []byte { return b }

// Int is i32.const v.
func Int(v int32) []byte { return append([]byte{0x41}, signed(int64(v))...) }

// Int64 is i64.const v.
func Int64(v int64) []byte { return append([]byte{0x42}, signed(v)...) }

// Get is local.get.
func Get(i uint32) []byte { return append([]byte{0x20}, Uint(i)...) }

// Set is local.set.
func Set(i uint32) []byte { return append([]byte{0x21}, Uint(i)...) }

// Call is call.
func Call(i uint32) []byte { return append([]byte{0x10}, Uint(i)...) }

// Br is br.
func Br(depth uint32) []byte { return append([]byte{0x0c}, Uint(depth)...) }

// BrIf is br_if.
func BrIf(depth uint32) []byte { return append([]byte{0x0d}, Uint(depth)...) }

// GlobalGet is global.get.
func GlobalGet(i uint32) []byte { return append([]byte{0x23}, Uint(i)...) }

// GlobalSet is global.set.
func GlobalSet(i uint32) []byte { return append([]byte{0x24}, Uint(i)...) }

// Loop is a loop without a result.
func Loop(body ...[]byte) []byte { return append(append([]byte{0x03, Void}, Code(body...)...), End) }

// Block is a block without a result.
func Block(body ...[]byte) []byte { return append(append([]byte{0x02, Void}, Code(body...)...), End) }

// If is an if without a result.
func If(body ...[]byte) []byte { return append(append([]byte{0x04, Void}, Code(body...)...), End) }

// Load is i32.load at the address on the stack plus off; Store is i32.store.
func Load(off uint32) []byte { return append([]byte{0x28, 0}, Uint(off)...) }

// Store is i32.store.
func Store(off uint32) []byte { return append([]byte{0x36, 0}, Uint(off)...) }

// Uint is v in LEB128.
func Uint(v uint32) []byte {
	var out []byte
	for v >= 0x80 {
		out = append(out, byte(v)|0x80)
		v >>= 7
	}
	return append(out, byte(v))
}

func signed(v int64) []byte {
	var out []byte
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(out, c)
		}
		out = append(out, c|0x80)
	}
}

// Package hostile makes guests that do harm, for the tests of the host and for the benchmark of what runs beside them.
package hostile

import (
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
)

// Every is how often a guest does its harm: at the records whose time, by Every, leaves 3. It passes the rest.
const Every = 7

// Bad tells whether the record of a time is one that the guests do their harm at.
func Bad(time int64) bool { return time%Every == 3 }

// Addresses in the memory of a guest, which begins with 4 pages.
const (
	stateAt  = 64
	answerAt = 1 << 12
	bufferAt = 1 << 16
	pages    = 4
)

// MaxOutput is the limit of an answer that the guests go beyond.
const MaxOutput = 4096

// Guest is one that does harm.
type Guest struct {
	Name string
	Why  string // a regular expression: of why its bad records are parked
	// Passes: it keeps within its limits, however it tries. None of its records is parked.
	Passes bool
	wasm   func(*maker) []byte // the harm; leaves an i64
}

// Guests are those that can be loaded.
func Guests() []Guest {
	return []Guest{
		{Name: "endless loop", Why: "sluice_process: budget used up", wasm: only(asm.Loop(asm.Br(0)))},
		{Name: "endless calls of the host", Why: "sluice_process: budget used up", wasm: func(m *maker) []byte {
			return asm.Code(asm.Loop(asm.Call(m.now), asm.Op(asm.Drop), asm.Br(0)), pass)
		}},
		{Name: "allocation bomb", Why: "unreachable", wasm: only(asm.Loop(grow, asm.Br(0)))},
		{Name: "endless growth", Why: "budget used up", wasm: only(asm.Loop(asm.Int(1), asm.Op(0x40, 0, asm.Drop), asm.Br(0)))},
		{Name: "growth up to the limit", Passes: true, wasm: only(asm.Int(11), asm.Op(0x40, 0, asm.Drop))},
		{Name: "recursion", Why: "budget used up|stack overflow", wasm: func(m *maker) []byte { return asm.Code(asm.Call(m.recurse), pass) }},
		{Name: "trap", Why: "unreachable", wasm: only(asm.Op(asm.Unreachable))},
		{Name: "load outside", Why: "out of bounds memory access", wasm: only(asm.Int(-1), asm.Load(0), asm.Op(asm.Drop))},
		{Name: "answer outside", Why: "an answer of 10 bytes at 0x20000000 lies outside the memory of 262144", wasm: value(abi.LongAnswer(1<<29, 10))},
		{Name: "answer too large", Why: "an answer of 4097 bytes, want at most 4096", wasm: value(abi.LongAnswer(0, MaxOutput+1))},
		{Name: "more outputs than its manifest says", Why: "3 outputs of one record, the manifest says at most 2", wasm: func(*maker) []byte {
			return asm.Int64(abi.LongAnswer(answerAt, uint32(len(threeOutputs()))))
		}},
		{Name: "log flood", Passes: true, wasm: func(m *maker) []byte { return asm.Code(m.times(40, m.line), pass) }},
		{Name: "endless log flood", Why: "budget used up", wasm: func(m *maker) []byte { return asm.Code(asm.Loop(m.line, asm.Br(0)), pass) }},
	}
}

// grow takes one more page and touches it, and traps where there is none: as an allocator does.
var grow = asm.Code(
	asm.Int(1), asm.Op(0x40, 0), asm.Op(0x22, 2), asm.Int(-1), asm.Op(asm.I32Eq), asm.If(asm.Op(asm.Unreachable)), // 0x22 = local.tee
	asm.Get(2), asm.Int(16), asm.Op(0x74), asm.Int(1), asm.Store(0), // 0x74 = i32.shl
)

var pass = asm.Int64(abi.ShortAnswer(abi.Pass, 0))

func only(code ...[]byte) func(*maker) []byte {
	return func(*maker) []byte { return asm.Code(append(code, pass)...) }
}

func value(v int64) func(*maker) []byte { return func(*maker) []byte { return asm.Int64(v) } }

// threeOutputs is an answer of three outputs, each the record as it is.
func threeOutputs() []byte {
	var b abi.Builder
	b.Reset()
	for range 3 {
		b.Output()
	}
	return b.Bytes()
}

// maker is a module in the making, with what the harm may call.
type maker struct {
	asm.Module
	now, log, recurse uint32
	line              []byte // logs a line
}

// times runs code that often; local 2 counts.
func (m *maker) times(n int32, code []byte) []byte {
	return asm.Code(asm.Int(n), asm.Set(2), asm.Loop(
		code, asm.Get(2), asm.Int(1), asm.Op(asm.I32Sub), asm.Op(0x22, 2), asm.BrIf(0),
	))
}

// Wasm is the module. Where it counts it keeps an i32 as its state, to which every record that it does not fail at adds 1.
func (g *Guest) Wasm(counts bool) []byte {
	m := &maker{}
	i32 := []byte{asm.I32}
	m.now = m.Import(abi.ImportModule, abi.ImportNow, nil, []byte{asm.I64})
	m.log = m.Import(abi.ImportModule, abi.ImportLog, []byte{asm.I32, asm.I32, asm.I32}, nil)
	m.line = asm.Code(asm.Int(1), asm.Int(answerAt), asm.Int(200), asm.Call(m.log))
	m.recurse = 2
	m.Func("", nil, nil, 0, asm.Call(m.recurse))
	m.Memory(abi.ExportMemory, pages)
	m.Data(answerAt, threeOutputs())
	m.Func(abi.ExportVersion, nil, nil, 0)
	m.Func(abi.ExportIn, i32, i32, 0, asm.Int(bufferAt))
	bad := asm.Code(asm.Int(bufferAt), asm.Load(8), asm.Int(Every), asm.Op(0x70), asm.Int(3), asm.Op(asm.I32Eq)) // 0x70 = i32.rem_u
	count := asm.Code(asm.Int(stateAt), asm.Int(stateAt), asm.Load(0), asm.Int(1), asm.Op(asm.I32Add), asm.Store(0))
	m.Func(abi.ExportProcess, []byte{asm.I32, asm.I32}, []byte{asm.I64}, 1, count, bad, asm.If(g.wasm(m), asm.Op(asm.Return)), pass)
	manifest := "abi = 1\nname = \"hostile\"\noutputs_max = 2\n"
	if counts {
		manifest += "state = \"explicit\"\n"
		m.Func(abi.ExportSave, nil, []byte{asm.I64}, 0, asm.Int64(abi.LongAnswer(stateAt, 4)))
		m.Func(abi.ExportLoad, i32, i32, 0,
			asm.Int(stateAt), asm.Int(0), asm.Store(0),
			asm.Get(0), asm.If(asm.Int(stateAt), asm.Int(bufferAt), asm.Load(0), asm.Store(0)), asm.Int(0))
	}
	m.Custom(abi.ManifestSection, []byte(manifest))
	return m.Bytes()
}

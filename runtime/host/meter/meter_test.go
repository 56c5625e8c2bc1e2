package meter

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/runtime/host/asm"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

const start = 1 << 40

var errBelow = errors.New("below zero")

// newRuntime is a runtime whose tick ends the call.
func newRuntime(tb testing.TB) wazero.Runtime {
	tb.Helper()
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2))
	tb.Cleanup(func() { rt.Close(ctx) })
	addTick(tb, rt, func(api.MutableGlobal) { panic(errBelow) })
	return rt
}

// addTick gives a runtime a tick that does something with the caller's counter.
func addTick(tb testing.TB, rt wazero.Runtime, do func(api.MutableGlobal)) {
	tb.Helper()
	call := api.GoModuleFunc(func(_ context.Context, mod api.Module, _ []uint64) {
		do(mod.ExportedGlobal("sluice.units").(api.MutableGlobal))
	})
	b := rt.NewHostModuleBuilder(TickModule).NewFunctionBuilder().WithGoModuleFunction(call, nil, nil).Export(TickName)
	if _, err := b.Instantiate(context.Background()); err != nil {
		tb.Fatal(err)
	}
}

// run meters a module, instantiates it and returns what calls need.
func run(t *testing.T, m *asm.Module, o Options) (api.Module, api.MutableGlobal) {
	t.Helper()
	if o.Start == 0 {
		o.Start = start
	}
	out, err := Rewrite(m.Bytes(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	rt := newRuntime(t)
	mod, err := rt.Instantiate(ctx, out.Wasm)
	if err != nil {
		t.Fatal(err)
	}
	return mod, mod.ExportedGlobal(out.Counter).(api.MutableGlobal)
}

// spin turns a loop as often as its parameter says.
func spin(m *asm.Module, name string) uint32 {
	return m.Func(name, []byte{asm.I32}, nil, 0, asm.Loop(
		asm.Get(0), asm.Int(1), asm.Op(asm.I32Sub), asm.Set(0),
		asm.Get(0), asm.BrIf(0),
	))
}

// bulk runs memory.fill over its parameter's number of bytes.
func bulk(m *asm.Module) {
	m.Memory("memory", 16)
	m.Func("fill", []byte{asm.I32}, nil, 0, asm.Int(0), asm.Int(7), asm.Get(0), asm.Op(0xfc, 11, 0))
}

func TestUnitsCharged(t *testing.T) {
	cases := []struct {
		name  string
		build func(*asm.Module)
		call  string
		args  []uint64
		want  int64
	}{
		{"entry", func(m *asm.Module) { m.Func("f", nil, nil, 0) }, "f", nil, 1},
		{"call", func(m *asm.Module) { f := m.Func("", nil, nil, 0); m.Func("f", nil, nil, 0, asm.Call(f), asm.Call(f)) }, "f", nil, 3},
		{"loop", func(m *asm.Module) { spin(m, "f") }, "f", []uint64{10}, 10}, // the entry is the first turn
		{"loop behind something", func(m *asm.Module) { m.Func("f", nil, nil, 0, []byte{0x01}, asm.Loop()) }, "f", nil, 2},
		{"loop in blocks", func(m *asm.Module) { m.Func("f", nil, nil, 0, asm.Block(asm.Block(asm.Loop()))) }, "f", nil, 1},
		{"block, then a loop", func(m *asm.Module) { m.Func("f", nil, nil, 0, asm.Block(), asm.Loop()) }, "f", nil, 2},
		{"fill", bulk, "fill", []uint64{800}, 101},
		{"fill of nothing", bulk, "fill", []uint64{0}, 1},
		{"grow", func(m *asm.Module) {
			m.Memory("memory", 1)
			m.Func("f", nil, nil, 0, asm.Int(1), asm.Op(0x40, 0, asm.Drop))
		}, "f", nil, 65},
		{"loop with a value", func(m *asm.Module) {
			typ := m.Type([]byte{asm.I32}, []byte{asm.I32})
			m.Func("f", nil, nil, 0, asm.Int(5), asm.Op(0x03, byte(typ)), asm.Op(asm.End, asm.Drop))
		}, "f", nil, 1},
		{"long body", func(m *asm.Module) { m.Func("f", nil, nil, 0, bytes.Repeat([]byte{0x01}, 9000)) }, "f", nil, 3},
		{"br_table and select", func(m *asm.Module) {
			m.Func("f", nil, nil, 0, asm.Block(asm.Int(0), asm.Op(0x0e, 1, 0, 0)), asm.Int(1), asm.Int(2), asm.Int(3),
				asm.Op(0x1c, 1, asm.I32), asm.Op(asm.Drop))
		}, "f", nil, 1},
		{"SIMD", func(m *asm.Module) {
			m.Memory("memory", 1)
			code := append(asm.Op(0xfd, 12), bytes.Repeat([]byte{0x0b}, 16)...)                 // v128.const of bytes that look like end
			m.Func("f", nil, nil, 0, code, code, append(asm.Op(0xfd, 13), make([]byte, 16)...), // shuffle
				asm.Op(0xfd, 21, 3, asm.Drop),                                 // extract_lane
				asm.Int(0), code, asm.Op(0xfd, 84, 0, 0, 5), asm.Op(asm.Drop), // load8_lane
				asm.Int(0), asm.Op(0xfd, 92, 0, 0), asm.Op(asm.Drop)) // load32_zero
		}, "f", nil, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var m asm.Module
			c.build(&m)
			mod, counter := run(t, &m, Options{})
			if _, err := mod.ExportedFunction(c.call).Call(context.Background(), c.args...); err != nil {
				t.Fatal(err)
			}
			if got := start - int64(counter.Get()); got != c.want {
				t.Errorf("charged %d, want %d", got, c.want)
			}
		})
	}
}

func TestBelowZeroTicks(t *testing.T) {
	var m asm.Module
	m.Memory("memory", 16)
	spin(&m, "spin")
	m.Func("forever", nil, nil, 0, asm.Loop(asm.Br(0)))
	m.Func("recurse", nil, nil, 0, asm.Call(2))
	m.Func("fill", nil, nil, 0, asm.Int(0), asm.Int(7), asm.Int(1<<20), asm.Op(0xfc, 11, 0))
	mod, counter := run(t, &m, Options{})
	for _, name := range []string{"spin", "forever", "recurse", "fill"} {
		counter.Set(1000)
		_, err := mod.ExportedFunction(name).Call(context.Background(), 5000)
		if name != "spin" {
			counter.Set(1000)
			_, err = mod.ExportedFunction(name).Call(context.Background())
		}
		if !errors.Is(err, errBelow) || int64(counter.Get()) >= 0 {
			t.Errorf("%s: got %v with %d units left, want a tick below zero", name, err, int64(counter.Get()))
		}
	}
	counter.Set(5)
	if _, err := mod.ExportedFunction("spin").Call(context.Background(), 5); err != nil || counter.Get() != 0 {
		t.Errorf("exactly enough: got %v with %d units left", err, int64(counter.Get()))
	}
}

func TestStartSectionHasABudget(t *testing.T) {
	var m asm.Module
	m.Start(m.Func("", nil, nil, 0, asm.Loop(asm.Br(0))))
	out, err := Rewrite(m.Bytes(), Options{Start: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newRuntime(t).Instantiate(context.Background(), out.Wasm); !errors.Is(err, errBelow) {
		t.Errorf("got %v, want a tick", err)
	}
}

func TestGlobalsKeepTheirIndices(t *testing.T) {
	var m asm.Module
	a, b := m.Global(5), m.Global(6)
	m.Func("f", nil, []byte{asm.I64}, 0, asm.GlobalGet(a), asm.GlobalGet(b), asm.Op(asm.I64Add))
	m.Export("sluice.units", 3, a)
	mod, counter := run(t, &m, Options{})
	got, err := mod.ExportedFunction("f").Call(context.Background())
	if err != nil || got[0] != 11 {
		t.Errorf("got %v %v, want 11", got, err)
	}
	if counter.Get() != start-1 {
		t.Errorf("the name of the counter is taken: got %d, want another name", counter.Get())
	}
}

func TestMemoryLimit(t *testing.T) {
	var m asm.Module
	m.Memory("memory", 2)
	m.Func("grow", []byte{asm.I32}, []byte{asm.I32}, 0, asm.Get(0), asm.Op(0x40, 0))
	mod, _ := run(t, &m, Options{MaxPages: 4})
	grow := mod.ExportedFunction("grow")
	for _, c := range []struct{ pages, want uint64 }{{2, 2}, {1, 1<<32 - 1}} {
		if got, err := grow.Call(context.Background(), c.pages); err != nil || got[0] != c.want {
			t.Errorf("grow by %d: got %v %v, want %d", c.pages, got, err, c.want)
		}
	}
	_, err := Rewrite(m.Bytes(), Options{MaxPages: 1})
	if err == nil || err.Error() != "memory section: the module begins with 128 KiB, its limit is 64 KiB" {
		t.Errorf("got %v", err)
	}
}

func TestCustomSectionsAreKept(t *testing.T) {
	var m asm.Module
	m.Func("f", nil, nil, 0)
	m.Custom("name", []byte{1, 4, 1, 0, 1, 'f'})
	m.Custom("sluice.manifest", []byte("abi = 1"))
	out, err := Rewrite(m.Bytes(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"name": "\x01\x04\x01\x01\x01f" /* behind tick */, "sluice.manifest": "abi = 1", "none": ""} {
		if got, err := Custom(out.Wasm, name); err != nil || string(got) != want {
			t.Errorf("%s: got %q %v, want %q", name, got, err, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	code := func(ops ...byte) []byte {
		var m asm.Module
		m.Func("f", nil, nil, 0, ops)
		return m.Bytes()
	}
	raw := func(sections ...[]byte) []byte {
		return asm.Code(append([][]byte{[]byte("\x00asm\x01\x00\x00\x00")}, sections...)...)
	}
	memory := func(b ...byte) []byte {
		var m asm.Module
		m.RawMemory(b...)
		return m.Bytes()
	}
	tab := func(b ...byte) []byte {
		var m asm.Module
		m.RawTable(b...)
		return m.Bytes()
	}
	cases := map[string]struct {
		wasm []byte
		want string
	}{
		"nothing":           {nil, "not a WebAssembly module"},
		"text":              {[]byte("(module) ; text"), "not a WebAssembly module"},
		"component":         {[]byte("\x00asm\x0d\x00\x01\x00"), "component, want a core module: build for"},
		"version":           {[]byte("\x00asm\x02\x00\x00\x00"), "version 02 00 00 00"},
		"cut":               {raw([]byte{1, 9, 0}), "ends too early"},
		"unknown section":   {raw(asm.Section(77, nil)), "section 77"},
		"order":             {raw(asm.Section(3, []byte{0}), asm.Section(1, []byte{0})), "type section at byte 0xb is out of order"},
		"twice":             {raw(asm.Section(1, []byte{0}), asm.Section(1, []byte{0})), "out of order"},
		"tags":              {raw(asm.Section(13, []byte{0})), "exception handling"},
		"GC types":          {raw(asm.Section(1, []byte{1, 0x5f, 0})), "garbage-collected"},
		"typed references":  {raw(asm.Section(1, []byte{1, 0x60, 1, 0x63, 0})), "typed function references"},
		"import of a tag":   {raw(asm.Section(2, []byte{1, 0, 0, 4, 0, 0})), "exception handling"},
		"atomics":           {code(0xfe, 0x10), "threads (atomic operations) is not supported: build without -pthread"},
		"exceptions":        {code(0x06, asm.Void), "-fno-exceptions"},
		"tail call":         {code(0x12, 0), "-mno-tail-call"},
		"call_ref":          {code(0x14, 0), "typed function references"},
		"GC":                {code(0xfb, 0), "garbage-collected"},
		"relaxed SIMD":      {code(0xfd, 0x80, 0x02), "relaxed SIMD"},
		"table.grow":        {code(0xfc, 15, 0), "table.grow"},
		"unknown opcode":    {code(0xff), "unknown opcode 0xff"},
		"unknown fc":        {code(0xfc, 31), "unknown opcode 0xfc001f"},
		"unknown fd":        {code(0xfd, 0x80, 0x40), "unknown opcode 0xfd2000"},
		"many memories":     {code(0x28, 0x42, 0, 0), "multiple memories"},
		"our counter":       {code(0x42, 0, 0x24, 0), "global 0 does not exist"},
		"code after end":    {code(asm.End), "code after the function's end"},
		"memory64":          {memory(4, 1), "memory64"},
		"shared memory":     {memory(3, 1, 1), "threads (shared memory)"},
		"page size":         {memory(8, 1, 1), "custom page sizes"},
		"huge table":        {tab(0x70, 0, 0xff, 0xff, 0xff, 0x7f), "want at most 1048576"},
		"table of typed":    {tab(0x63, 0, 0, 1), "typed function references"},
		"bodies missing":    {raw(asm.Section(1, []byte{1, 0x60, 0, 0}), asm.Section(3, []byte{1, 0}), asm.Section(10, []byte{0})), "0 bodies for 1"},
		"type missing":      {raw(asm.Section(3, []byte{1, 0}), asm.Section(10, []byte{1, 2, 0, asm.End})), "type 0 does not exist"},
		"too many locals":   {raw(asm.Section(1, []byte{1, 0x60, 0, 0}), asm.Section(3, []byte{1, 0}), asm.Section(10, []byte{1, 7, 1, 0xff, 0xff, 0xff, 0x7f, asm.I32, asm.End})), "locals"},
		"endless number":    {raw(asm.Section(1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})), "longer than 32 bits"},
		"tables in sum":     {raw(asm.Section(4, []byte{2, 0x70, 0, 0x80, 0x80, 0x21, 0x70, 0, 0x80, 0x80, 0x21})), "tables of 1081344 elements"},
		"our type":          {code(0x02, 1, asm.End), "type 1 does not exist"},
		"our local":         {code(0x20, 0, asm.Drop), "local 0 does not exist"},
		"our function":      {raw(asm.Section(1, []byte{1, 0x60, 0, 0}), asm.Section(2, asm.Code([]byte{1, 12}, []byte("sluice.meter"), []byte{4}, []byte("tick"), []byte{0, 0}))), "sluice.meter.tick is not for modules to import"},
		"items not there":   {raw(asm.Section(11, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0})), "data section: byte 0x5: ends too early"},
		"data not there":    {raw(asm.Section(11, []byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0})), "data section"},
		"too many items":    {raw(asm.Section(3, asm.Code(asm.Uint(100_001), make([]byte, 100_001)))), "100001 items, want at most 100000"},
		"globals by number": {raw(asm.Section(6, []byte{0xff, 0xff, 0xff, 0xff, 0x0f})), "global section"},
	}
	for name, c := range cases {
		_, err := Rewrite(c.wasm, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	var m asm.Module
	m.Export("mine", 3, 0)
	if _, err := Rewrite(m.Bytes(), Options{}); err == nil || !strings.Contains(err.Error(), `export "mine": global 0 does not exist`) {
		t.Errorf("export of our counter: got %v", err)
	}
}

// FuzzRewrite: whatever comes in, no panic; what wazero takes before, it takes after, and what it refuses stays refused: our own locals, types and
// functions must not make good what a module lacks.
func FuzzRewrite(f *testing.F) {
	var m asm.Module
	bulk(&m)
	spin(&m, "spin")
	f.Add(m.Bytes())
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	f.Cleanup(func() { rt.Close(ctx) })
	f.Fuzz(func(t *testing.T, wasm []byte) {
		out, err := Rewrite(wasm, Options{Start: start})
		if err != nil {
			return
		}
		before, was := rt.CompileModule(ctx, wasm)
		if was == nil {
			defer before.Close(ctx)
		}
		after, is := rt.CompileModule(ctx, out.Wasm)
		if is == nil {
			defer after.Close(ctx)
		}
		if was != nil && strings.Contains(was.Error(), "custom section") {
			return // names that are not well written may be after
		}
		if (was == nil) != (is == nil) {
			t.Fatalf("before: %v, after: %v", was, is)
		}
	})
}

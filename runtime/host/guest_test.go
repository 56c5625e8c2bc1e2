package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
)

// Addresses in the memory of a hand-made guest.
const (
	bufferAt = 1 << 16 // the input buffer, up to the end of memory
	answerAt = 1 << 12 // canned answers, one behind the other
	stateAt  = 64      // a counter, its state
)

// guest is a module in the making: two pages, and what every guest must have.
type guest struct {
	asm.Module
	manifest string
	at       int32 // where the next canned answer goes
}

func newGuest(manifest string) *guest {
	g := &guest{manifest: manifest, at: answerAt}
	return g
}

// imports declares a function of sluice1; all come before the first function.
func (g *guest) imports(name, signature string) uint32 {
	f := hostFunction{signature: signature}
	params, results := f.types()
	return g.Import(abi.ImportModule, name, params, results)
}

// canned puts an answer into memory and returns the code that answers it.
func (g *guest) canned(b []byte) []byte {
	at := g.at
	g.Data(at, b)
	g.at += int32(len(b)+15) &^ 15
	return asm.Int64(abi.LongAnswer(uint32(at), uint32(len(b))))
}

// process is the body of sluice_process: parameters n and len, one local more; it leaves an i64.
func (g *guest) process(code ...[]byte) {
	g.Func(abi.ExportProcess, []byte{asm.I32, asm.I32}, []byte{asm.I64}, 1, code...)
}

// stateful makes the guest keep an i32 at stateAt.
func (g *guest) stateful() {
	g.Func(abi.ExportSave, nil, []byte{asm.I64}, 0, asm.Int64(abi.LongAnswer(stateAt, 4)))
	g.Func(abi.ExportLoad, []byte{asm.I32}, []byte{asm.I32}, 0,
		asm.Int(stateAt), asm.Int(0), asm.Store(0),
		asm.Get(0), asm.If(asm.Int(stateAt), asm.Int(bufferAt), asm.Load(0), asm.Store(0)),
		asm.Int(0))
}

// count adds 1 to the state.
var count = asm.Code(asm.Int(stateAt), asm.Int(stateAt), asm.Load(0), asm.Int(1), asm.Op(asm.I32Add), asm.Store(0))

func (g *guest) bytes() []byte {
	g.Memory(abi.ExportMemory, 4)
	g.Func(abi.ExportVersion, nil, nil, 0)
	g.Func(abi.ExportIn, []byte{asm.I32}, []byte{asm.I32}, 0, asm.Int(bufferAt))
	if g.manifest != "" {
		g.Custom(abi.ManifestSection, []byte("abi = 1\nname = \"guest\"\n"+g.manifest))
	}
	return g.Bytes()
}

var pass = asm.Int64(abi.ShortAnswer(abi.Pass, 0))

// logs collects what is logged; it may be written to concurrently.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// bench is a runtime with what tests look at.
type bench struct {
	*Runtime
	logs *logs
	dir  string
}

func newBench(tb testing.TB) *bench {
	tb.Helper()
	l := &logs{}
	dir := tb.TempDir()
	rt, err := New(context.Background(), filepath.Join(dir, "cache"), slog.New(slog.NewTextHandler(l, nil)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := rt.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return &bench{rt, l, dir}
}

func testConfig() Config {
	cfg := Default()
	cfg.Memory, cfg.BudgetUnits = 1<<20, 100_000
	return cfg
}

// try loads a module from bytes.
func (b *bench) try(tb testing.TB, name string, wasm []byte, cfg Config) (*Module, error) {
	tb.Helper()
	cfg.Path = filepath.Join(b.dir, name+".wasm")
	if err := os.WriteFile(cfg.Path, wasm, 0o600); err != nil {
		tb.Fatal(err)
	}
	return b.Load(context.Background(), name, cfg)
}

func (b *bench) load(tb testing.TB, name string, wasm []byte, cfg Config) *Module {
	tb.Helper()
	m, err := b.try(tb, name, wasm, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// chain is a chain of guests named a, b, c ...
func (b *bench) chain(tb testing.TB, cfg Config, states bridge.States, metrics *bridge.Metrics, guests ...*guest) *Chain {
	tb.Helper()
	var ms []*Module
	for i, g := range guests {
		ms = append(ms, b.load(tb, string(rune('a'+i)), g.bytes(), cfg))
	}
	c, err := b.Chain("p", ms, states, metrics)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// memoryStates is the committed states of a ledger.
type memoryStates struct {
	states map[string]bridge.State // by stream and module
	loads  int
}

func (m *memoryStates) State(_, stream, module string) (bridge.State, bool, error) {
	m.loads++
	s, found := m.states[stream+" "+module]
	return s, found, nil
}

// commit stores the states of a batch, as Append does.
func (m *memoryStates) commit(stream string, out *bridge.Results) {
	if m.states == nil {
		m.states = make(map[string]bridge.State)
	}
	for _, s := range out.States {
		s.Bytes = bytes.Clone(s.Bytes)
		m.states[stream+" "+s.Module] = s
	}
}

func (m *memoryStates) counter(stream, module string) int {
	b := m.states[stream+" "+module].Bytes
	if len(b) != 4 {
		return -1
	}
	return int(binary.LittleEndian.Uint32(b))
}

func labels(kv ...string) (out []bridge.Label) {
	for i := 0; i < len(kv); i += 2 {
		out = append(out, bridge.Label{Name: []byte(kv[i]), Value: []byte(kv[i+1])})
	}
	return out
}

// records are n records at the times 0, 1, 2 ...; their labels say which.
func records(n int) (rs []bridge.Record) {
	for i := range n {
		rs = append(rs, bridge.Record{Time: int64(i), Labels: labels("n", string(rune('0'+i))), Payload: []byte{byte(i), 1, 2, 3}})
	}
	return rs
}

// describe writes results so that a test can name them in one line.
func describe(out *bridge.Results) string {
	var parts []string
	for _, v := range out.Verdicts {
		parts = append(parts, []string{"undecided", "passed", "dropped", "absorbed", "parked"}[v.Kind])
	}
	for _, m := range out.Messages {
		parts = append(parts, "m:"+string(m.AppendID(nil, ""))+text(m.Labels))
	}
	for _, p := range out.Parked {
		parts = append(parts, "p:"+p.Module+string(p.AppendID(nil, ""))+text(p.Labels))
	}
	return strings.Join(parts, " ")
}

func text(ls []bridge.Label) (s string) {
	for _, l := range ls {
		s += "," + string(l.Name) + "=" + string(l.Value)
	}
	return s
}

// apply runs a batch that must succeed.
func apply(tb testing.TB, c *Chain, stream string, rs []bridge.Record) *bridge.Results {
	tb.Helper()
	out := &bridge.Results{}
	if err := c.Apply(context.Background(), stream, slices.Clone(rs), out); err != nil {
		tb.Fatal(err)
	}
	return out
}

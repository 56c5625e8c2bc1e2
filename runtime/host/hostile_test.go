package host

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
	"github.com/sluicebridge/sluice/tests/hostile"
)

// TestHostile: whatever a guest does, each bad record is parked once with a reason that says why, the good ones pass in their order, its
// memory keeps its limit, its state counts what passed, and the next batch is none the wiser. That holds for both kinds of metering.
func TestHostile(t *testing.T) {
	b := newBench(t)
	for _, metering := range []string{MeterFuel, MeterTick} {
		for _, counts := range []bool{false, true} {
			for _, g := range hostile.Guests() {
				t.Run(strings.Join([]string{g.Name, metering, map[bool]string{false: "no state", true: "counting"}[counts]}, ", "), func(t *testing.T) {
					h := &hostileRun{bench: b, states: &memoryStates{}, metrics: &bridge.Metrics{}}
					h.chain(t, &g, counts, metering)
					want := 0
					for range 2 {
						want += h.batch(t, &g)
						if got := h.states.counter("b/e", "a"); counts && got != want {
							t.Errorf("counted %d, want the %d that passed (rule 3)", got, want)
						}
					}
				})
			}
		}
	}
}

// hostileRun is a chain of one guest that does harm.
type hostileRun struct {
	*bench
	states  *memoryStates
	metrics *bridge.Metrics
	c       *Chain
	most    int64 // memory after any call
}

func (h *hostileRun) chain(t *testing.T, g *hostile.Guest, counts bool, metering string) {
	t.Helper()
	cfg := testConfig()
	cfg.Output, cfg.Metering = hostile.MaxOutput, metering
	if metering == MeterTick {
		cfg.BudgetUnits, cfg.Budget = 0, bridge.Duration(2*time.Second) // which only what never ends takes, on the busiest machine
		if strings.Contains(g.Why, "budget") {
			cfg.Budget = bridge.Duration(time.Millisecond)
		}
	}
	var err error
	if h.c, err = h.Chain("p", []*Module{h.load(t, "a", g.Wasm(counts), cfg)}, h.states, h.metrics); err != nil {
		t.Fatal(err)
	}
	h.c.Watch(h)
}

// Called implements Watch: memory counts in the calls that fail, too, whose instances are gone afterwards.
func (h *hostileRun) Called(c Call) { h.most = max(h.most, c.Memory) }

// Said implements Watch.
func (h *hostileRun) Said(int32, []byte) {}

// batch takes records through the guest, checks what became of them and returns how many passed.
func (h *hostileRun) batch(t *testing.T, g *hostile.Guest) (passed int) {
	t.Helper()
	const n = 2 * hostile.Every
	traps := h.metrics.ModuleTraps.At("a").Load()
	lines, second := strings.Count(h.logs.String(), "module says"), time.Now().Unix()
	out := apply(t, h.c, "b/e", records(n))
	var good, bad []int64
	for i := range int64(n) {
		kind := bridge.Passed
		if hostile.Bad(i) && !g.Passes {
			bad, kind = append(bad, i), bridge.Parked
		} else {
			good = append(good, i)
		}
		if got := out.Verdicts[i].Kind; got != kind {
			t.Errorf("record %d: got verdict %d, want %d", i, got, kind)
		}
	}
	var sent, parked []int64
	for _, m := range out.Messages {
		sent = append(sent, m.Time)
	}
	why := regexp.MustCompile(g.Why)
	for _, p := range out.Parked {
		parked = append(parked, p.Time)
		if !why.MatchString(p.Reason) || len(p.Reason) > 5000 {
			t.Errorf("record %d: parked for %q, want %q", p.Time, p.Reason, g.Why)
		}
	}
	if !slices.Equal(sent, good) || !slices.Equal(parked, bad) {
		t.Errorf("got messages %d and parked %d, want %d and %d", sent, parked, good, bad)
	}
	if got := int(h.metrics.ModuleTraps.At("a").Load() - traps); got != 2*len(bad) {
		t.Errorf("got %d traps, want %d: the first and the second try of each", got, 2*len(bad))
	}
	seconds := int(time.Now().Unix()-second) + 1
	if got := strings.Count(h.logs.String(), "module says") - lines; got > linesPerSecond*seconds {
		t.Errorf("%d lines in the log, want at most %d in %d seconds (rule 19)", got, linesPerSecond*seconds, seconds)
	}
	h.bounded(t)
	h.states.commit("b/e", out)
	return len(good)
}

// bounded checks what the guest's instances hold (rule 19).
func (h *hostileRun) bounded(t *testing.T) {
	t.Helper()
	l := h.c.links[0]
	if l.pool.alive != 1 {
		t.Errorf("%d instances are alive, want 1", l.pool.alive)
	}
	if h.most > int64(l.cfg.Memory) {
		t.Errorf("an instance had %d bytes, its limit is %s", h.most, l.cfg.Memory)
	}
}

// TestHostileRefused: what cannot be run is refused, with a text that says why.
func TestHostileRefused(t *testing.T) {
	module := func(manifest string, more func(*guest)) []byte {
		g := newGuest(manifest)
		more(g)
		return g.bytes()
	}
	process := func(g *guest) { g.process(pass) }
	whole := module("version = \"1\"", process)
	cases := []struct {
		name string
		wasm []byte
		want string
	}{
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), "build for wasm32-unknown-unknown"},
		{"cut in a section's head", []byte("\x00asm\x01\x00\x00\x00\x01\x01"), "sections: byte 0xa: ends too early"},
		{"more segments than bytes", append([]byte("\x00asm\x01\x00\x00\x00"), asm.Section(11, asm.Uint(1<<32-1))...), "ends too early"},
		{"a segment longer than the file", append([]byte("\x00asm\x01\x00\x00\x00"), asm.Section(11, append([]byte{1, 1}, asm.Uint(1<<32-1)...))...), "ends too early"},
		{"cut in its manifest", whole[:len(whole)-5], "ends too early"},
		{"process of another type", module("version = \"1\"", func(g *guest) { g.Func(abi.ExportProcess, []byte{asm.I32}, nil, 0) }),
			"export sluice_process: is (i32) -> (), want (i32, i32) -> (i64)"},
		{"flush of another type", module("version = \"1\"", func(g *guest) { process(g); g.Func(abi.ExportFlush, nil, nil, 0) }),
			"export sluice_flush: is () -> (), want (i32) -> (i64)"},
		{"process is no function", module("version = \"1\"", func(g *guest) { g.Export(abi.ExportProcess, 2, 0) }), "export sluice_process: missing"},
		{"manifest of a state that is not there", module("state = \"explicit\"", process), `export sluice_save: missing, the manifest says state = "explicit"`},
		{"manifest of a flush that is not there", module("state = \"explicit\"\ntick = \"1s\"", func(g *guest) { process(g); g.stateful() }), `export sluice_flush: missing, the manifest says tick = "1s"`},
		{"manifest of another ABI", module("abi = 2", process), "manifest: "},
	}
	b := newBench(t)
	for _, c := range cases {
		if _, err := b.try(t, "bad", c.wasm, testConfig()); err == nil || !strings.HasPrefix(err.Error(), "module bad: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	for n := range whole {
		if _, err := b.try(t, "bad", whole[:n], testConfig()); err == nil {
			t.Errorf("a module cut after %d of %d bytes was loaded", n, len(whole))
		}
	}
}

// TestHostileState: a state that outgrows its limit is no record's fault. The stream waits and says why, its committed state stays, and
// other streams go on (rules 3 and 20).
func TestHostileState(t *testing.T) {
	const part, buffer = 100_000, 20 * pageSize
	m := &asm.Module{}
	i32 := []byte{asm.I32}
	m.Memory(abi.ExportMemory, 40)
	m.Func(abi.ExportVersion, nil, nil, 0)
	m.Func(abi.ExportIn, i32, i32, 0, asm.Int(buffer))
	m.Func(abi.ExportProcess, []byte{asm.I32, asm.I32}, []byte{asm.I64}, 0, count, pass)
	m.Func(abi.ExportSave, nil, []byte{asm.I64}, 0, asm.Int(stateAt), asm.Load(0), asm.Int(part), asm.Op(0x6c), asm.Op(asm.I64ExtendU), // 0x6c = i32.mul
		asm.Int64(abi.LongAnswer(stateAt, 0)), asm.Op(asm.I64Or))
	m.Func(abi.ExportLoad, i32, i32, 0,
		asm.Int(stateAt), asm.Int(0), asm.Store(0), asm.Get(0), asm.If(asm.Int(stateAt), asm.Int(buffer), asm.Load(0), asm.Store(0)), asm.Int(0))
	m.Custom(abi.ManifestSection, []byte("abi = 1\nname = \"grows\"\nstate = \"explicit\""))
	b, states := newBench(t), &memoryStates{}
	cfg := testConfig()
	cfg.Memory = 4 << 20
	c, err := b.Chain("p", []*Module{b.load(t, "a", m.Bytes(), cfg)}, states, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		states.commit("b/e", apply(t, c, "b/e", records(5)))
	}
	for range 2 { // coming again does not help, nor harm
		err := c.Apply(context.Background(), "b/e", records(5), &bridge.Results{})
		if want := "an answer of 1500000 bytes, want at most 1048576"; !errors.Is(err, bridge.ErrRetry) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if got := len(states.states["b/e a"].Bytes); got != 10*part {
		t.Errorf("the committed state has %d bytes, want %d", got, 10*part)
	}
	if said := c.links[0].LastError(); !strings.HasPrefix(said, "b/e: sluice_save: ") {
		t.Errorf("got last error %q", said)
	}
	if got := describe(apply(t, c, "b/other", records(1))); got != "passed m:@0,n=0" {
		t.Errorf("another stream: got %s", got)
	}
}

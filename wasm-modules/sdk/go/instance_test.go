package sluice

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"unsafe"

	"github.com/sluicebridge/sluice/runtime/abi"
)

// example is the filter of ABI.md's example.
type example struct {
	parked, dropped bool
	config          string
	total           uint64
}

func (e *example) Init(config JSON) error {
	if config.Get("bad") != nil {
		return errors.New("bad: not wanted")
	}
	e.config = config.Get("label").Text()
	return nil
}

func (e *example) Process(r Record, out *Out) Verdict {
	e.total++
	switch {
	case e.parked:
		return out.Park("bad rpm")
	case e.dropped:
		return Drop(0)
	}
	out.Output()
	out.SetLabel([]byte("speed"), r.Slot(0))
	out.DeleteLabel([]byte("rpm"))
	out.SetTopic(r.Entry())
	var w Writer
	w.Reset()
	w.Float("rms", 0.5, -1)
	out.SetPayload(w.Bytes())
	return out.Emit()
}

func (e *example) Save(dst []byte) []byte { return AppendUint64(dst, e.total) }

func (e *example) Load(state []byte) error {
	switch len(state) {
	case 0:
		e.total = 0
	case 8:
		e.total = Uint64(state)
	default:
		return errors.New("state of another length")
	}
	return nil
}

// hexBlocks returns the bytes that ABI.md shows, block by block.
func hexBlocks(t *testing.T) [][]byte {
	t.Helper()
	page, err := os.ReadFile("../../../runtime/abi/ABI.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks [][]byte
	for _, m := range regexp.MustCompile("(?s)```hex\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		digits := regexp.MustCompile(`;.*`).ReplaceAllString(m[1], "")
		b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, b)
	}
	if len(blocks) != 3 {
		t.Fatalf("%d hex blocks in ABI.md, want 3: record, answer, parked", len(blocks))
	}
	return blocks
}

// The SDK answers ABI.md's example with ABI.md's bytes.
func TestExampleOfTheABI(t *testing.T) {
	blocks := hexBlocks(t)
	for _, c := range []struct {
		name   string
		filter example
		want   Verdict
		bytes  []byte
	}{
		{"emit", example{}, inMemory, blocks[1]},
		{"drop", example{dropped: true}, 0x4002000000000000, nil},
		{"park", example{parked: true}, inMemory, blocks[2]},
	} {
		g := &instance{filter: &c.filter}
		copy(g.input(len(blocks[0])), blocks[0])
		if v := g.process(len(blocks[0])); v != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, int64(v), int64(c.want))
		}
		if c.bytes != nil && !bytes.Equal(g.out.Bytes(), c.bytes) {
			t.Errorf("%s:\n%x, want\n%x", c.name, g.out.Bytes(), c.bytes)
		}
	}
}

func TestShortAnswers(t *testing.T) {
	for _, c := range []struct {
		name string
		v    Verdict
		want abi.Returned
	}{
		{"pass", Pass, abi.Returned{Short: true}},
		{"absorb", Absorb, abi.Returned{Short: true, Verdict: abi.Absorb}},
		{"retry", Retry, abi.Returned{Short: true, Verdict: abi.Retry}},
		{"drop", Drop(3), abi.Returned{Short: true, Verdict: abi.Drop, Reason: 3}},
		{"keep", Keep(5), abi.Returned{Short: true, Verdict: abi.Emit, Mask: 5}},
		{"emit without outputs", new(Out).Emit(), abi.Returned{Short: true}},
	} {
		if got, err := abi.ParseReturned(int64(c.v)); err != nil || got != c.want {
			t.Errorf("%s: %+v %v, want %+v", c.name, got, err, c.want)
		}
	}
	var out Out
	if v := out.RetryBecause("later"); v != inMemory || string(out.Bytes()[8:]) != "later" {
		t.Errorf("retry with a text: %#x %q", int64(v), out.Bytes())
	}
}

// call runs one life of a module: config, state, a record.
func (g *instance) call(config, state string) (refused, loaded string) {
	copy(g.input(len(config)), config)
	refused = g.init(len(config))
	copy(g.input(len(state)+1), state)
	return refused, g.load(len(state))
}

func TestInitLoadSave(t *testing.T) {
	for _, c := range []struct{ name, config, state, refused, loaded string }{
		{"fresh", `{"label":"rpm"}`, "", "", ""},
		{"goes on", `{"label":"rpm"}`, "\x05\x00\x00\x00\x00\x00\x00\x00", "", ""},
		{"refused config", `{"bad":1}`, "", "bad: not wanted", ""},
		{"no JSON", `{"bad":`, "", "no JSON at byte 7", ""},
		{"refused state", `{}`, "x", "", "state of another length"},
	} {
		g := &instance{filter: new(example)}
		if refused, loaded := g.call(c.config, c.state); refused != c.refused || loaded != c.loaded {
			t.Errorf("%s: %q %q, want %q %q", c.name, refused, loaded, c.refused, c.loaded)
		}
		if saved, ok := g.save(); c.loaded == "" && (!ok || len(saved) != 8 || c.state != "" && string(saved) != c.state) {
			t.Errorf("%s: saved %x %v, want %x", c.name, saved, ok, c.state)
		}
	}
}

// broken panics wherever it is called.
type broken struct{ with any }

func (b broken) Init(JSON) error              { panic(b.with) }
func (b broken) Process(Record, *Out) Verdict { panic(b.with) }

// last says at the end of a batch how many records it had.
type last struct{ example }

func (l *last) Flush(out *Out) Verdict {
	if l.total == 0 {
		return Pass
	}
	out.SetPayload(AppendInt(nil, int64(l.total)))
	return out.Emit()
}

func TestFlush(t *testing.T) {
	if v := (&instance{filter: new(example)}).flush(abi.FlushBatch); v != Pass {
		t.Errorf("of a filter that says nothing: %#x, want PASS", int64(v))
	}
	g := &instance{filter: new(last)}
	if v := g.flush(abi.FlushBatch); v != Pass {
		t.Errorf("without records: %#x, want PASS", int64(v))
	}
	g.filter.(*last).total = 7
	if v, answer := g.flush(abi.FlushBatch), string(g.out.Bytes()); v != inMemory || !strings.HasSuffix(answer, "7") {
		t.Errorf("%#x %q, want an output with the payload 7", int64(v), answer)
	}
}

func TestPanicsRefuse(t *testing.T) {
	for _, c := range []struct {
		name string
		with any
		want string
	}{
		{"text", "at a loss", "panic: at a loss"},
		{"error", errors.New("no rpm"), "panic: no rpm"},
		{"something", 7, "panic: of a type without text"},
	} {
		g := &instance{filter: broken{c.with}}
		copy(g.input(2), "{}")
		if got := g.init(2); got != c.want {
			t.Errorf("%s: init refused with %q, want %q", c.name, got, c.want)
		}
		if got := g.load(0); got != "this module has no state" {
			t.Errorf("%s: load %q", c.name, got)
		}
		if _, ok := g.save(); ok {
			t.Errorf("%s: saved a state that is not there", c.name)
		}
	}
	if text := string((&instance{}).keep("no")); text != "no\x00" {
		t.Errorf("refusal kept as %q, want it zero-terminated", text)
	}
}

func TestInputIsAligned(t *testing.T) {
	g := new(instance)
	for _, size := range []int{1, 16, 17, 1000, 100_001} {
		if b := g.input(size); len(b) < size || uintptr(unsafe.Pointer(&b[0]))%16 != 0 {
			t.Errorf("input of %d: %d bytes at %p", size, len(b), &b[0])
		}
	}
}

func TestProcessAllocatesNothing(t *testing.T) {
	record := hexBlocks(t)[0]
	g := &instance{filter: &example{dropped: true}}
	copy(g.input(len(record)), record)
	if n := testing.AllocsPerRun(5000, func() { g.process(len(record)) }); n != 0 {
		t.Errorf("%v allocations a record, want 0", n)
	}
}

package sluice

import (
	"errors"
	"runtime"
	"unsafe"

	"github.com/sluicebridge/sluice/runtime/abi"
)

// yieldEvery: a module is only ever called, so its garbage collector's goroutine gets no turn unless it is given one. Without it a
// module that allocates died under a limit of 32 MiB after 320,000 records; with it, it stayed at 10.
const yieldEvery = 1024

// instance is the module inside one WebAssembly instance.
type instance struct {
	manifest string
	filter   Filter
	in       []byte // the input buffer, 16-aligned
	out      Out
	state    []byte
	text     []byte // zero-terminated; of the last refusal
	calls    uint32
}

// guest is the one module of this program. An export has no receiver: what it works on cannot be but global.
var guest = instance{}

// Register makes f the module of this program. It is called once, by the initialisation of a package variable.
func Register(manifest string, f Filter) Filter {
	guest.register(manifest, f)
	return f
}

func (g *instance) register(manifest string, f Filter) {
	g.manifest, g.filter = manifest, f
}

// input returns a buffer of size bytes for the host to write into.
func (g *instance) input(size int) []byte {
	if size > len(g.in) {
		raw := make([]byte, size+15)
		skip := -uintptr(unsafe.Pointer(&raw[0])) & 15
		g.in = raw[skip : int(skip)+size]
	}
	return g.in
}

// init hands the configuration over; the result is empty where it was taken.
func (g *instance) init(length int) (refusal string) {
	defer g.caught(&refusal)
	config, err := ParseJSON(append([]byte(nil), g.in[:length]...)) // the filter may keep views of it
	if err == nil {
		err = g.filter.Init(config)
	}
	return textOf(err)
}

// load hands a state over.
func (g *instance) load(length int) (refusal string) {
	defer g.caught(&refusal)
	f, ok := g.filter.(Stateful)
	if !ok {
		return textOf(errors.New("this module has no state"))
	}
	return textOf(f.Load(g.in[:length]))
}

// save returns the state, false where there is none to save.
func (g *instance) save() (state []byte, ok bool) {
	f, is := g.filter.(Stateful)
	if !is {
		return nil, false
	}
	g.state = f.Save(g.state[:0])
	return g.state, true
}

// process decides on the record in the input buffer. An answer in memory is in g.out. A panic is not caught, which would cost each record a tenth
// of a microsecond: Go prints it, with where it was, and ends; the host shows what was printed and throws the instance away.
func (g *instance) process(length int) Verdict {
	if g.calls++; g.calls%yieldEvery == 0 {
		runtime.Gosched()
	}
	g.out.Reset()
	return g.filter.Process(Record(g.in[:length]), &g.out)
}

// flush ends a batch, or asks between two.
func (g *instance) flush(why int32) Verdict {
	g.out.Reset()
	if why == abi.FlushBatch {
		if f, is := g.filter.(Flusher); is {
			return f.Flush(&g.out)
		}
		return Pass
	}
	if f, is := g.filter.(Ticker); is {
		return f.Between(Reason(why), &g.out)
	}
	return Pass
}

func (g *instance) caught(refusal *string) {
	if p := recover(); p != nil {
		*refusal = "panic: " + panicText(p)
	}
}

func panicText(p any) string {
	switch p := p.(type) {
	case error:
		return p.Error()
	case string:
		return p
	}
	return "of a type without text"
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	if text := err.Error(); text != "" {
		return text
	}
	return "refused"
}

// keep holds a refusal's text, zero-terminated, until the next one.
func (g *instance) keep(text string) []byte {
	g.text = append(append(g.text[:0], text...), 0)
	return g.text
}

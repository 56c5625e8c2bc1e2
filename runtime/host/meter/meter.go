// Package meter rewrites a WebAssembly module so that no call of it can run for ever: a counter of units in a global of its own is charged
// at every function entry and every turn of a loop, and below zero a function of the host is called, which fills it up or ends the call. The host
// sets the counter before each call, too.
//
// A guest in an endless loop would otherwise freeze the whole Go process: compiled code has no preemption point, and the next garbage
// collection waits for it with the world stopped. What is charged depends on the module and its input alone, so a record that exhausts a
// budget does so on every machine and again on replay.
//
// The rewriter knows every opcode it passes over by its table; what it does not know it refuses, for a wrong guess would leave code
// unmetered. It reads hostile input and must not panic; wazero validates what comes out.
package meter

import (
	"errors"
	"fmt"
	"slices"
)

// Revision changes whenever the same input gives other output: part of the key of whoever caches it.
const Revision = 4

// The function of the host, without parameters and results: it is called with the counter below zero and returns with zero or more, or not at all.
const (
	TickModule = "sluice.meter"
	TickName   = "tick"
)

// Options of Rewrite.
type Options struct {
	Start    int64  // units of the counter at instantiation: what the start section may use
	MaxPages uint32 // most pages of 64 KiB the memory may grow to; 0 = as the module says
}

// Output is a metered module.
type Output struct {
	Wasm    []byte
	Counter string // name of the exported mutable i64 with the units left
}

const (
	sectionCustom, sectionType, sectionImport, sectionFunction = 0, 1, 2, 3
	sectionTable, sectionMemory, sectionGlobal, sectionExport  = 4, 5, 6, 7
	sectionStart, sectionElement, sectionCode                  = 8, 9, 10
	sectionData, sectionDataCount, sectionTag                  = 11, 12, 13

	maxItems     = 100_000 // of one section: a Go guest has 10,000 functions
	maxElements  = 1 << 20 // that all tables together may begin with
	maxAllLocals = 1 << 24 // of all functions: the compiler lists them one by one
)

// order is the place of each section among the others.
var order = [...]int{0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 11, 6}

type section struct {
	id   byte
	body []byte // after the name, for a custom section
	name string // of a custom section
}

// rewriter holds what one section tells the others.
type rewriter struct {
	Options
	ops       *opcodes
	tick      uint32   // index of the host's function: behind all other imported ones; every function with a body moves one further
	params    []uint32 // of each type
	functions []uint32 // type of each function with a body
	globals   uint32   // without the counter, which gets this index
	elements  uint64   // of all tables
	locals    uint64   // of all functions
	exports   map[string]bool
	code      []byte // scratch: a body's instructions
}

// Rewrite meters a core module. The bytes of wasm are only read. Errors name the feature or the section at fault.
func Rewrite(wasm []byte, o Options) (*Output, error) {
	sections, err := split(wasm)
	if err != nil {
		return nil, err
	}
	w := &rewriter{Options: o, ops: newOpcodes(), exports: make(map[string]bool)}
	for _, s := range sections {
		if err := w.learn(s); err != nil {
			return nil, fmt.Errorf("%s section: %w", s.title(), err)
		}
	}
	counter := w.counterName()
	out := append(make([]byte, 0, len(wasm)+len(wasm)/8+64), wasm[:8]...)
	for _, s := range w.complete(sections) {
		body, err := w.rewrite(s, counter)
		if err != nil {
			return nil, fmt.Errorf("%s section: %w", s.title(), err)
		}
		if s.id == sectionCustom {
			body = append(appendName(nil, s.name), body...)
		}
		out = appendSection(out, s.id, body)
	}
	return &Output{Wasm: out, Counter: counter}, nil
}

// complete puts an empty section wherever one is missing that gets something added.
func (w *rewriter) complete(sections []section) []section {
	for _, id := range []byte{sectionType, sectionImport, sectionGlobal, sectionExport} {
		if slices.ContainsFunc(sections, func(s section) bool { return s.id == id }) {
			continue
		}
		at := slices.IndexFunc(sections, func(s section) bool { return order[s.id] > order[id] })
		if at < 0 {
			at = len(sections)
		}
		sections = slices.Insert(sections, at, section{id: id, body: []byte{0}})
	}
	return sections
}

// Custom returns the body of a module's first custom section of that name, nil if it has none.
func Custom(wasm []byte, name string) ([]byte, error) {
	sections, err := split(wasm)
	if err != nil {
		return nil, err
	}
	for _, s := range sections {
		if s.id == sectionCustom && s.name == name {
			return s.body, nil
		}
	}
	return nil, nil
}

// split cuts a module into its sections and checks their order.
func split(wasm []byte) ([]section, error) {
	if err := checkHead(wasm); err != nil {
		return nil, err
	}
	var sections []section
	r := &reader{b: wasm, at: 8}
	last := 0
	for r.left() > 0 && r.err == nil {
		begin := r.at
		s := section{id: r.byte()}
		s.body = r.take(r.u32())
		if s.id == sectionCustom {
			c := &reader{b: s.body}
			s.name = c.name()
			if c.err != nil {
				return nil, fmt.Errorf("custom section at byte %#x: name: %w", begin, c.err)
			}
			s.body = s.body[c.at:]
		} else if int(s.id) >= len(order) {
			return nil, fmt.Errorf("section %d at byte %#x is unknown", s.id, begin)
		} else if order[s.id] <= last {
			return nil, fmt.Errorf("%s section at byte %#x is out of order", s.title(), begin)
		} else {
			last = order[s.id]
		}
		sections = append(sections, s)
	}
	if r.err != nil {
		return nil, fmt.Errorf("sections: %w", r.err)
	}
	return sections, nil
}

func checkHead(wasm []byte) error {
	switch {
	case len(wasm) < 8 || string(wasm[:4]) != "\x00asm":
		return errors.New("not a WebAssembly module: it does not begin with \\0asm")
	case string(wasm[4:8]) == "\x0d\x00\x01\x00":
		return errors.New("a WebAssembly component, want a core module: build for wasm32-unknown-unknown or wasip1, not wasip2 or componentize")
	case string(wasm[4:8]) != "\x01\x00\x00\x00":
		return fmt.Errorf("WebAssembly version % x, want 01 00 00 00", wasm[4:8])
	}
	return nil
}

func (s *section) title() string {
	names := [...]string{"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code", "data",
		"data count", "tag"}
	return names[s.id]
}

func appendSection(dst []byte, id byte, body []byte) []byte {
	dst = appendU32(append(dst, id), uint32(len(body)))
	return append(dst, body...)
}

// counterName is the first free name for the counter's export.
func (w *rewriter) counterName() string {
	name := "sluice.units"
	for w.exports[name] {
		name += "_"
	}
	return name
}

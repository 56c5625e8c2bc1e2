package meter

import (
	"errors"
	"fmt"
)

var (
	errTypes   = errors.New("typed function references are not supported: build for the baseline of WebAssembly 2.0")
	errGC      = errors.New("garbage-collected references are not supported: use a language that brings its own memory management")
	errTags    = errors.New("exception handling is not supported: build with -fno-exceptions, or panic=abort")
	errMemory  = errors.New("memory64 is not supported: build for wasm32")
	errThreads = errors.New("threads (shared memory) are not supported: build without -pthread and -matomics")
)

// learn takes from a section what others are rewritten by, and refuses what is not supported. It also refuses numbers that lie about what
// follows: the compiler would allocate for them.
func (w *rewriter) learn(s section) error {
	r := &reader{b: s.body}
	switch s.id {
	case sectionCustom, sectionStart, sectionDataCount:
		return nil
	case sectionTag:
		return errTags
	}
	n := r.count()
	if n > maxItems {
		return fmt.Errorf("%d items, want at most %d", n, maxItems)
	}
	if s.id == sectionGlobal {
		w.globals += n
		return r.err
	}
	for ; n > 0 && r.err == nil; n-- {
		w.learnItem(r, s.id)
	}
	return r.err
}

func (w *rewriter) learnItem(r *reader, section byte) {
	switch section {
	case sectionType:
		w.learnType(r)
	case sectionImport:
		w.learnImport(r)
	case sectionFunction:
		w.functions = append(w.functions, r.u32())
	case sectionTable:
		w.learnTable(r)
	case sectionExport:
		w.learnExport(r)
	case sectionData:
		w.learnData(r)
	}
}

func (w *rewriter) learnType(r *reader) {
	if form := r.byte(); form != 0x60 && r.err == nil {
		r.fail(errGC)
	}
	params := r.u32()
	valueTypes(r, params)
	valueTypes(r, r.u32())
	w.params = append(w.params, params)
}

// learnData checks a segment: where it goes, and that its bytes are there.
func (w *rewriter) learnData(r *reader) {
	kind := r.u32() // 0 = active, 1 = passive, 2 = active with the number of a memory
	if kind == 2 {
		r.u32()
	}
	if kind != 1 {
		w.constant(r, nil)
	}
	r.take(r.u32())
}

// typeIndex passes over the index of a type. One that is too high by one would be that of tick.
func (w *rewriter) typeIndex(r *reader) {
	if i := r.u32(); int64(i) >= int64(len(w.params)) && r.err == nil {
		r.fail(fmt.Errorf("type %d does not exist", i))
	}
}

// valueTypes passes over n types of one byte each.
func valueTypes(r *reader, n uint32) {
	for _, t := range r.take(n) {
		if t == 0x63 || t == 0x64 {
			r.fail(errTypes)
		}
	}
}

func (w *rewriter) learnImport(r *reader) {
	module, name := r.name(), r.name()
	switch kind := r.byte(); kind {
	case 0:
		if module == TickModule && r.err == nil {
			r.fail(fmt.Errorf("%s.%s is not for modules to import", module, name))
		}
		w.typeIndex(r)
		w.tick++
	case 1:
		w.learnTable(r)
	case 2:
		limits(r)
	case 3:
		valueTypes(r, 1)
		r.byte()
		w.globals++
	case 4:
		r.fail(errTags)
	default:
		r.fail(fmt.Errorf("import of unknown kind %d", kind))
	}
}

func (w *rewriter) learnExport(r *reader) {
	name := r.name()
	kind, i := r.byte(), r.u32()
	if kind == 3 && i >= w.globals {
		// It would name our counter, which a guest must not.
		r.fail(fmt.Errorf("export %q: global %d does not exist", name, i))
	}
	w.exports[name] = true
}

func (w *rewriter) learnTable(r *reader) {
	switch t := r.byte(); t {
	case 0x40, 0x63, 0x64:
		r.fail(errTypes)
		return
	}
	flag, least, _ := limits(r)
	w.elements += uint64(least)
	if r.err == nil && (flag > 1 || w.elements > maxElements) {
		r.fail(fmt.Errorf("tables of %d elements (flags %d), want at most %d", w.elements, flag, maxElements))
	}
}

// limits reads the limits of a memory or a table.
func limits(r *reader) (flag byte, least, most uint32) {
	flag = r.byte()
	switch {
	case r.err != nil:
	case flag&4 != 0:
		r.fail(errMemory)
	case flag&2 != 0:
		r.fail(errThreads)
	case flag > 1:
		r.fail(errors.New("custom page sizes are not supported"))
	}
	least = r.u32()
	if flag&1 != 0 {
		most = r.u32()
	}
	return flag, least, most
}

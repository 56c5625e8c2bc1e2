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

// learn takes from a section what others are rewritten by, and refuses what is not supported.
func (w *rewriter) learn(s section) error {
	r := &reader{b: s.body}
	switch s.id {
	case sectionType:
		w.learnTypes(r)
	case sectionImport:
		w.learnImports(r)
	case sectionFunction:
		for n := r.u32(); n > 0 && r.err == nil; n-- {
			w.functions = append(w.functions, r.u32())
		}
	case sectionTable:
		for n := r.u32(); n > 0 && r.err == nil; n-- {
			learnTable(r)
		}
	case sectionGlobal:
		n := r.u32()
		if int64(n) > int64(len(s.body)) {
			r.fail(errShort)
		}
		w.globals += n
	case sectionExport:
		w.learnExports(r)
	case sectionTag:
		return errTags
	}
	return r.err
}

func (w *rewriter) learnTypes(r *reader) {
	for n := r.u32(); n > 0 && r.err == nil; n-- {
		switch form := r.byte(); {
		case r.err != nil:
			return
		case form != 0x60:
			r.fail(errGC)
			return
		}
		params := r.u32()
		valueTypes(r, params)
		valueTypes(r, r.u32())
		w.params = append(w.params, params)
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

func (w *rewriter) learnImports(r *reader) {
	for n := r.u32(); n > 0 && r.err == nil; n-- {
		f := Function{r.name(), r.name()}
		switch kind := r.byte(); kind {
		case 0:
			if f == w.Tick && r.err == nil {
				r.fail(fmt.Errorf("%s.%s is not for modules to import", f.Module, f.Name))
			}
			if i := r.u32(); r.err == nil && int64(i) >= int64(len(w.params)) {
				r.fail(fmt.Errorf("type %d does not exist", i))
			}
			w.tick++
		case 1:
			learnTable(r)
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
}

func (w *rewriter) learnExports(r *reader) {
	for n := r.u32(); n > 0 && r.err == nil; n-- {
		name := r.name()
		kind, i := r.byte(), r.u32()
		if kind == 3 && i >= w.globals {
			// It would name our counter, which a guest must not.
			r.fail(fmt.Errorf("export %q: global %d does not exist", name, i))
		}
		w.exports[name] = true
	}
}

func learnTable(r *reader) {
	switch t := r.byte(); t {
	case 0x40, 0x63, 0x64:
		r.fail(errTypes)
		return
	}
	flag, least, _ := limits(r)
	if r.err == nil && (flag > 1 || least > maxTable) {
		r.fail(fmt.Errorf("a table of %d elements (flags %d), want at most %d", least, flag, maxTable))
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

package meter

import (
	"errors"
	"fmt"
)

// rewrite returns the body of a section, changed where it must be. counter is the name of the counter's export.
func (w *rewriter) rewrite(s section, counter string) ([]byte, error) {
	r := &reader{b: s.body}
	var out []byte
	switch s.id {
	case sectionMemory:
		out = w.memorySection(r)
	case sectionCode:
		out = w.codeSection(r)
	case sectionGlobal:
		out = w.globalSection(r)
	case sectionExport:
		out = w.exportSection(r, counter)
	case sectionType:
		out = append(append(appendU32(nil, r.u32()+1), r.rest()...), 0x60, 0, 0) // of tick
	case sectionImport:
		out = append(appendU32(nil, r.u32()+1), r.rest()...)
		out = append(appendName(appendName(out, TickModule), TickName), 0)
		out = appendU32(out, uint32(len(w.params)))
	case sectionStart:
		out = append(appendU32(nil, w.shifted(r.u32())), r.rest()...)
	case sectionElement:
		out = w.elementSection(r)
	case sectionCustom:
		if s.name == "name" {
			return w.nameSection(r), nil
		}
		return s.body, nil
	default:
		return s.body, nil
	}
	if r.left() > 0 {
		r.fail(errors.New("bytes after the section's end"))
	}
	return out, r.err
}

// shifted is the index of a function, now that there is one import more.
func (w *rewriter) shifted(i uint32) uint32 {
	if i >= w.tick {
		i++
	}
	return i
}

// globalSection adds the counter as the last global.
func (w *rewriter) globalSection(r *reader) []byte {
	n := r.u32()
	out := appendU32(make([]byte, 0, len(r.b)+16), n+1)
	for ; n > 0 && r.err == nil; n-- {
		out = append(out, r.take(2)...) // type, mutability
		out = w.constant(r, out)
	}
	out = append(out, 0x7e, 0x01, 0x42) // mutable i64, i64.const
	return append(appendS64(out, w.Start), opEnd)
}

// exportSection adds the counter's export.
func (w *rewriter) exportSection(r *reader, counter string) []byte {
	n := r.u32()
	out := appendU32(make([]byte, 0, len(r.b)+32), n+1)
	for ; n > 0 && r.err == nil; n-- {
		out = appendName(out, r.name())
		kind, i := r.byte(), r.u32()
		if kind == 0 {
			i = w.shifted(i)
		}
		out = appendU32(append(out, kind), i)
	}
	return appendU32(append(appendName(out, counter), 3), w.globals)
}

// elementSection moves the functions that tables begin with. The bits of a segment's kind: 0 = not active, 1 = with the number of a table, or declared
// only, 2 = expressions in the place of indices.
func (w *rewriter) elementSection(r *reader) []byte {
	n := r.u32()
	out := appendU32(make([]byte, 0, len(r.b)+len(r.b)/8), n)
	for ; n > 0 && r.err == nil; n-- {
		kind := r.u32()
		if kind > 7 {
			r.fail(fmt.Errorf("segment of unknown kind %d", kind))
			return nil
		}
		out = appendU32(out, kind)
		if kind&1 == 0 {
			if kind&2 != 0 {
				out = appendU32(out, r.u32()) // table
			}
			out = w.constant(r, out)
		}
		if kind&3 != 0 {
			t := r.byte() // of the elements
			if t == 0x63 || t == 0x64 {
				r.fail(errTypes)
			}
			out = append(out, t)
		}
		items := r.count()
		out = appendU32(out, items)
		for ; items > 0 && r.err == nil; items-- {
			if kind&4 != 0 {
				out = w.constant(r, out)
			} else {
				out = appendU32(out, w.shifted(r.u32()))
			}
		}
	}
	return out
}

// constant copies a constant expression.
func (w *rewriter) constant(r *reader, out []byte) []byte {
	for r.err == nil {
		begin := r.at
		code, f := w.ops.next(r)
		switch f {
		case end:
			return append(out, r.b[begin:r.at]...)
		case function:
			out = appendU32(append(out, byte(code)), w.shifted(r.u32()))
			continue
		case index, plain, global, bytes4, bytes8, bytes16:
			immediates(r, f, w.globals)
		default:
			r.fail(fmt.Errorf("opcode %#x in a constant expression", code))
		}
		out = append(out, r.b[begin:r.at]...)
	}
	return out
}

const nameOfModule, namesOfFunctions, namesOfLocals = 0, 1, 2

// nameSection moves the functions that have names, or have locals with names. It leaves out what it cannot read to the last byte, and all that
// follows: names are for people, and a wrong one is no reason to refuse a module or to make the compiler stumble.
func (w *rewriter) nameSection(r *reader) []byte {
	out := make([]byte, 0, len(r.b)+len(r.b)/8)
	for r.left() > 0 {
		id := r.byte()
		part := &reader{b: r.take(r.u32())}
		body := part.b
		switch id {
		case nameOfModule:
			part.name()
		case namesOfFunctions, namesOfLocals:
			body = w.names(part, id)
		default:
			part.rest()
		}
		if r.err != nil || part.err != nil || part.left() > 0 {
			break
		}
		out = appendSection(out, id, body)
	}
	return out
}

func (w *rewriter) names(r *reader, id byte) []byte {
	n := r.count()
	out := appendU32(nil, n)
	for ; n > 0 && r.err == nil; n-- {
		out = appendU32(out, w.shifted(r.u32()))
		if id == namesOfFunctions {
			out = appendName(out, r.name())
			continue
		}
		locals := r.count()
		out = appendU32(out, locals)
		for ; locals > 0 && r.err == nil; locals-- {
			out = appendName(appendU32(out, r.u32()), r.name())
		}
	}
	return out
}

// memorySection makes MaxPages the most that the memory may grow to.
func (w *rewriter) memorySection(r *reader) []byte {
	n := r.u32()
	if n == 0 {
		return []byte{0}
	}
	if n != 1 {
		r.fail(fmt.Errorf("%d memories, want at most 1", n))
	}
	flag, least, most := limits(r)
	if w.MaxPages > 0 && least > w.MaxPages && r.err == nil {
		r.err = fmt.Errorf("the module begins with %d KiB, its limit is %d KiB", uint64(least)*64, uint64(w.MaxPages)*64)
	}
	if w.MaxPages > 0 && (flag&1 == 0 || most > w.MaxPages) {
		flag, most = flag|1, w.MaxPages
	}
	out := appendU32([]byte{1, flag}, least)
	if flag&1 != 0 {
		out = appendU32(out, most)
	}
	return out
}

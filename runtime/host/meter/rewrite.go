package meter

import "fmt"

// rewrite returns the body of a section, changed where it must be. counter is the name of the counter's export.
func (w *rewriter) rewrite(s section, counter string) ([]byte, error) {
	r := &reader{b: s.body}
	var out []byte
	switch s.id {
	case sectionMemory:
		return w.memorySection(s.body)
	case sectionCode:
		return w.codeSection(s.body)
	case sectionGlobal:
		out = w.globalSection(r)
	case sectionExport:
		out = w.exportSection(r, counter)
	case sectionType, sectionImport, sectionStart, sectionElement, sectionCustom:
		if !w.ticks {
			return s.body, nil
		}
		out = w.shiftSection(r, s)
	default:
		return s.body, nil
	}
	if r.left() > 0 && s.id != sectionCustom {
		r.fail(fmt.Errorf("%d bytes follow the last of its things", r.left()))
	}
	return out, r.err
}

// shiftSection changes what the import of Tick changes: it adds it, and moves the indices of the functions behind it.
func (w *rewriter) shiftSection(r *reader, s section) []byte {
	switch {
	case s.id == sectionType:
		n := r.u32()
		return append(append(appendU32(nil, n+1), r.rest()...), 0x60, 0, 0)
	case s.id == sectionImport:
		n := r.u32()
		out := append(appendU32(nil, n+1), r.rest()...)
		out = append(appendName(appendName(out, w.Tick.Module), w.Tick.Name), 0)
		return appendU32(out, uint32(len(w.params)))
	case s.id == sectionStart:
		return append(appendU32(nil, w.shifted(r.u32())), r.rest()...)
	case s.id == sectionElement:
		return w.elementSection(r)
	case s.name == "name":
		return w.nameSection(r)
	}
	return s.body
}

// shifted is the index of a function beside an import more.
func (w *rewriter) shifted(i uint32) uint32 {
	if w.ticks && i >= w.tick {
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
	return append(appendS64(out, w.Start), 0x0b)
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
		items := r.u32()
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

// nameSection moves the functions that have names, or have locals with names. What it cannot read it leaves out: names are for people, and no reason
// to refuse a module.
func (w *rewriter) nameSection(r *reader) []byte {
	const ofFunctions, ofLocals = 1, 2
	var out []byte
	for r.left() > 0 {
		id := r.byte()
		part := &reader{b: r.take(r.u32())}
		body := part.b
		if id == ofFunctions || id == ofLocals {
			n := part.u32()
			body = appendU32(nil, n)
			for ; n > 0 && part.err == nil; n-- {
				body = appendU32(body, w.shifted(part.u32()))
				locals := uint32(0)
				if id == ofLocals {
					locals = part.u32()
					body = appendU32(body, locals)
				} else {
					body = appendName(body, part.name())
				}
				for ; locals > 0 && part.err == nil; locals-- {
					body = appendName(appendU32(body, part.u32()), part.name())
				}
			}
		}
		if r.err != nil || part.err != nil {
			break
		}
		out = appendSection(out, id, body)
	}
	r.err = nil
	return out
}

// memorySection makes MaxPages the most that the memory may grow to.
func (w *rewriter) memorySection(body []byte) ([]byte, error) {
	r := &reader{b: body}
	if n := r.u32(); n != 1 {
		return nil, fmt.Errorf("%d memories, want 1", n)
	}
	flag, least, most := limits(r)
	if r.err != nil {
		return nil, r.err
	}
	if w.MaxPages > 0 && least > w.MaxPages {
		return nil, fmt.Errorf("the module begins with %d KiB, its limit is %d KiB", uint64(least)*64, uint64(w.MaxPages)*64)
	}
	if w.MaxPages > 0 && (flag&1 == 0 || most > w.MaxPages) {
		flag, most = flag|1, w.MaxPages
	}
	out := appendU32([]byte{1, flag}, least)
	if flag&1 != 0 {
		out = appendU32(out, most)
	}
	return out, nil
}

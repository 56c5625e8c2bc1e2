package main

import (
	"math"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// printer writes windows as outputs of the record that ended them.
type printer struct {
	out    *sluice.Out
	writer sluice.Writer
	buf    []byte
}

// print gives a window out. It is made anew from the record, whose labels may be another key's.
func (p *printer) print(s *settings, g *group, w *window) {
	p.out.Output()
	p.out.ClearLabels()
	if s.key >= 0 {
		p.buf = s.AppendText(p.buf[:0], s.key, g.key)
		p.label(s.Sources[s.key].Name, p.buf)
	}
	switch s.time {
	case "start":
		p.out.SetTime(w.start)
	case "end":
		p.out.SetTime(w.end)
	}
	if s.labels {
		p.labels(s, w)
	} else {
		p.json(s, g, w)
	}
}

// revision counts how often a window was given out before.
func (w *window) revision() float64 {
	if w.given {
		return 1
	}
	return 0
}

func (p *printer) label(name string, value []byte) { p.out.SetLabel([]byte(name), value) }

func (p *printer) labels(s *settings, w *window) {
	for i := range s.fields {
		t := &w.tallies[i]
		for _, pr := range s.fields[i].prints {
			p.buf = p.buf[:0]
			if pr.stat == last && t.count > 0 {
				p.buf = s.AppendText(p.buf, s.fields[i].source, t.last)
			} else if v := t.value(pr.stat); pr.stat != last && !math.IsNaN(v) {
				p.buf = sluice.AppendFloat(p.buf, v, -1)
			} else {
				continue
			}
			p.label(pr.name, p.buf)
		}
	}
	if a := s.alarm.text(w); a != "null" && a != "" {
		p.label("alarm", []byte(a))
	}
	p.label("revision", sluice.AppendFloat(p.buf[:0], w.revision(), 0))
	p.out.SetType(nil)
	p.out.SetPayload(nil)
}

func (p *printer) json(s *settings, g *group, w *window) {
	o := &p.writer
	o.Reset()
	if s.key >= 0 {
		p.buf = s.AppendJSON(p.buf[:0], s.key, g.key)
		o.Raw(s.Sources[s.key].Name, p.buf)
	}
	p.buf = sluice.AppendInt(p.buf[:0], w.start)
	o.Raw("start", p.buf)
	p.buf = sluice.AppendInt(p.buf[:0], w.end)
	o.Raw("end", p.buf)
	for i := range s.fields {
		t := &w.tallies[i]
		for _, pr := range s.fields[i].prints {
			if pr.stat != last || t.count == 0 {
				o.Float(pr.name, t.value(pr.stat), -1)
				continue
			}
			p.buf = s.AppendJSON(p.buf[:0], s.fields[i].source, t.last)
			o.Raw(pr.name, p.buf)
		}
	}
	if a := s.alarm.text(w); a != "" {
		o.Raw("alarm", []byte(a))
	}
	o.Float("revision", w.revision(), 0)
	p.out.SetType([]byte("application/json"))
	p.out.SetPayload(o.Bytes())
}

// text is what becomes of an alarm in a window: true, false, null where the field had no number, empty where none is configured.
func (a *alarm) text(w *window) string {
	if a.field < 0 {
		return ""
	}
	v := w.tallies[a.field].value(a.of)
	switch {
	case math.IsNaN(v):
		return "null"
	case v < a.below || v > a.above:
		return "true"
	}
	return "false"
}

package main

import (
	"errors"
	"strconv"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// shape is the configuration, ready for use.
type shape struct {
	input       string
	payload     []part
	topic       []part
	contentType []byte
	scale       float64
	missing     string
	features    bool // some part needs the waveform's
	fields      *sluice.Fields
}

func readShape(config sluice.JSON) (*shape, error) {
	s := &shape{
		input: textOr(config, "input", "json"), missing: textOr(config, "missing", "park"), scale: 1,
		contentType: []byte(textOr(config, "content_type", "application/json")),
	}
	var bad []error
	if s.input != "json" && s.input != "f32" && s.input != "i16" {
		bad = append(bad, errors.New("input: "+s.input+", want json, f32 or i16"))
	}
	if s.missing != "park" && s.missing != "drop" && s.missing != "null" {
		bad = append(bad, errors.New("missing: "+s.missing+", want park, drop or null"))
	}
	if v := config.Get("scale"); v != nil {
		var ok bool
		if s.scale, ok = v.Float(); !ok || s.scale == 0 {
			bad = append(bad, errors.New("scale: "+string(v)+", want a number other than 0"))
		}
	}
	for _, t := range []struct {
		key  string
		into *[]part
	}{{"template", &s.payload}, {"topic", &s.topic}} {
		parts, err := readTemplate(config.Get(t.key).Text())
		if err != nil {
			bad = append(bad, errors.New(t.key+": "+err.Error()))
		}
		*t.into = parts
		bad = append(bad, s.check(t.key, parts)...)
	}
	if len(s.payload) == 0 && len(bad) == 0 {
		bad = append(bad, errors.New("template: missing"))
	}
	s.fields = sluice.NewFields(numbered(s.topic, numbered(s.payload, nil))...)
	return s, errors.Join(bad...)
}

// numbered gives each field of a template its number among all fields.
func numbered(parts []part, paths []string) []string {
	for i := range parts {
		if p := &parts[i]; p.kind == field {
			p.number = len(paths)
			paths = append(paths, p.text)
		}
	}
	return paths
}

func textOr(config sluice.JSON, key, without string) string {
	if v := config.Get(key); v != nil {
		return v.Text()
	}
	return without
}

// check says which parts do not go with the input.
func (s *shape) check(key string, parts []part) (bad []error) {
	for _, p := range parts {
		switch {
		case p.kind == field && s.input != "json":
			bad = append(bad, errors.New(key+": field:"+p.text+" needs input json"))
		case p.kind >= count && s.input == "json":
			bad = append(bad, errors.New(key+": "+kinds[p.kind]+" needs input f32 or i16"))
		}
		s.features = s.features || p.kind >= count
	}
	return bad
}

// source is what the parts of one record are taken from.
type source struct {
	record   sluice.Record
	fields   *sluice.Fields
	features sluice.Features
	lacks    *part // the first part that was not there
}

// missing names the first part that was not there.
func (src *source) missing() string { return kinds[src.lacks.kind] + " " + src.lacks.text }

// read prepares a record; an error is for people, the record is to be parked.
func (s *shape) read(r sluice.Record, src *source) error {
	src.record, src.fields, src.lacks = r, s.fields, nil
	switch {
	case s.input == "json":
		if err := s.fields.Parse(r.Payload()); err != nil {
			return errors.New("payload: " + err.Error())
		}
	case s.features && s.input == "f32":
		if n := len(r.Payload()); n == 0 || n%4 != 0 {
			return errors.New("payload: " + strconv.Itoa(n) + " bytes, want float32 values of 4")
		}
		src.features = sluice.FeaturesF32(sluice.F32(r.Payload()))
	case s.features:
		if n := len(r.Payload()); n == 0 || n%2 != 0 {
			return errors.New("payload: " + strconv.Itoa(n) + " bytes, want int16 values of 2")
		}
		src.features = sluice.FeaturesI16(sluice.I16(r.Payload()), s.scale)
	}
	return nil
}

// write appends what a template makes of a record. What is not there is noted in src.lacks and written as null.
func (src *source) write(dst []byte, parts []part) []byte {
	for i := range parts {
		p := &parts[i]
		dst = p.before.AppendTo(dst)
		if p.kind == literal {
			continue
		}
		before := len(dst)
		switch { // the usual ones without a call more
		case p.kind == field && p.format == plain:
			dst = src.fields.AppendTo(dst, p.number)
		case p.kind == field && p.format == digits:
			dst = src.fields.AppendFloat(dst, p.number, p.digits)
		case p.kind > count:
			dst = sluice.AppendFloat(dst, src.feature(p.kind), p.digits)
		default:
			dst = src.part(dst, p)
		}
		if len(dst) == before && (p.format != raw || !src.has(p)) {
			if src.lacks == nil {
				src.lacks = p
			}
			dst = append(dst, "null"...)
		}
	}
	return dst
}

// part appends a placeholder's value, and nothing where there is none.
func (src *source) part(dst []byte, p *part) []byte {
	switch p.kind {
	case label:
		return appendText(dst, p.label.In(src.record), p)
	case field:
		return appendField(dst, src.fields.Value(p.number), p)
	case time:
		return appendTime(dst, src.record.Time(), p.format)
	case entry:
		return appendText(dst, present(src.record.Entry()), p)
	case contentType:
		return appendText(dst, present(src.record.ContentType()), p)
	}
	return sluice.AppendInt(dst, int64(src.features.Count))
}

// has reports whether an empty text is there at all.
func (src *source) has(p *part) bool {
	switch p.kind {
	case label:
		return p.label.In(src.record) != nil
	case field:
		return src.fields.Value(p.number).Kind() == '"'
	}
	return true
}

// present makes an absent text an empty one: an entry and a content type are always there.
func present(text []byte) []byte {
	if text == nil {
		return []byte{}
	}
	return text
}

func (src *source) feature(k kind) float64 {
	switch k {
	case mean:
		return src.features.Mean
	case rms:
		return src.features.RMS
	case peak:
		return src.features.Peak
	case crest:
		return src.features.Crest
	}
	return src.features.Kurtosis
}

// appendText appends a label, an entry or a content type; nothing where it is nil or not what the format asks for.
func appendText(dst, text []byte, p *part) []byte {
	switch {
	case text == nil:
		return dst
	case p.format == raw:
		return sluice.Append(dst, text)
	case p.format == number:
		if j, err := sluice.ParseJSON(text); err != nil || j.Kind() != '0' {
			return dst
		}
		return sluice.Append(dst, text)
	case p.format == digits:
		if v, ok := sluice.Float(text); ok {
			return sluice.AppendFloat(dst, v, p.digits)
		}
		return dst
	}
	return sluice.AppendString(dst, text)
}

// appendField appends a value of the payload as a text.
func appendField(dst []byte, value sluice.JSON, p *part) []byte {
	text := value.Kind() == '"'
	switch {
	case p.format == raw && text:
		return value.AppendText(dst)
	case p.format == quoted && !text && value != nil:
		return sluice.AppendString(dst, value)
	}
	return append(dst, value...)
}

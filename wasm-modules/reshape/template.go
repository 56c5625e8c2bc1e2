package main

import (
	"errors"
	"strings"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// kind is what a part of a template stands for.
type kind uint8

const (
	literal kind = iota
	label
	field
	time
	entry
	contentType
	count // the first of the features
	mean
	rms
	peak
	crest
	kurtosis
)

var kinds = [...]string{label: "label", field: "field", time: "time", entry: "entry", contentType: "type",
	count: "count", mean: "mean", rms: "rms", peak: "peak", crest: "crest", kurtosis: "kurtosis"}

// format is how a part is written.
type format uint8

const (
	plain  format = iota // JSON: texts in quotes, fields as they were
	digits               // a number with so many digits after the point
	number               // a text that is a JSON number, as it is
	raw                  // a text without quotes
	quoted               // a text with quotes, whatever it was
	millis               // time: milliseconds, seconds, RFC 3339
	seconds
	iso
)

var formats = [...]string{number: "number", raw: "raw", quoted: "string", millis: "ms", seconds: "s", iso: "iso"}

// part is a placeholder of a template and the text in front of it; the last may be text only.
type part struct {
	kind   kind
	text   string       // the argument: a name or a path
	label  sluice.Name  // of a label
	before sluice.Piece // text in front of it
	number int          // of a field among all fields
	format format
	digits int // of digits; -1 for the shortest
}

// readTemplate cuts `{"d":{{label:device}},"v":{{rms|3}}}` into its parts.
func readTemplate(text string) ([]part, error) {
	var parts []part
	for text != "" {
		before, rest, open := strings.Cut(text, "{{")
		if !open {
			return append(parts, part{before: sluice.NewPiece(before)}), nil
		}
		inside, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return nil, errors.New("{{" + inside + ": not closed by }}")
		}
		p, err := readPlaceholder(inside)
		if err != nil {
			return nil, errors.New("{{" + inside + "}}: " + err.Error())
		}
		p.before = sluice.NewPiece(before)
		parts = append(parts, p)
		text = after
	}
	return parts, nil
}

// readPlaceholder reads `kind:argument|format`.
func readPlaceholder(inside string) (part, error) {
	what, how, formatted := strings.Cut(inside, "|")
	name, argument, _ := strings.Cut(strings.TrimSpace(what), ":")
	p := part{text: argument, label: sluice.NewName(argument), digits: -1}
	for k, n := range kinds {
		if n != "" && n == name {
			p.kind = kind(k)
		}
	}
	switch {
	case p.kind == literal:
		return p, errors.New("want label:NAME, field:PATH, time, entry, type, count, mean, rms, peak, crest or kurtosis")
	case (argument != "") != (p.kind == label || p.kind == field):
		return p, errors.New("label and field take an argument, the others none")
	case !formatted:
		return p, nil
	}
	return p, p.readFormat(strings.TrimSpace(how))
}

func (p *part) readFormat(how string) error {
	for f, n := range formats {
		if n != "" && n == how {
			p.format = format(f)
		}
	}
	if len(how) == 1 && how[0] >= '0' && how[0] <= '9' {
		p.format, p.digits = digits, int(how[0]-'0')
	}
	fits := false
	switch p.format {
	case digits:
		fits = p.kind == label || p.kind == field || p.kind >= count
	case number:
		fits = p.kind == label
	case raw, quoted:
		fits = p.kind == label || p.kind == field || p.kind == entry || p.kind == contentType
	case millis, seconds, iso:
		fits = p.kind == time
	}
	if !fits {
		return errors.New("format " + how + " does not fit")
	}
	return nil
}

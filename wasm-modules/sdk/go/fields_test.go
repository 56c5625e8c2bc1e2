package sluice

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// jsonWriter makes texts that look like a sender's, and some that only nearly do.
type jsonWriter struct{ *rand.Rand }

func (w jsonWriter) of(choices ...string) string { return choices[w.IntN(len(choices))] }

// space is rarely there.
func (w jsonWriter) space() string { return w.of("", "", "", "", "", "", "", " ") }

func (w jsonWriter) value(depth int) string {
	switch n := w.IntN(8); {
	case n == 0:
		return strconv.Itoa(w.IntN(1 << w.IntN(40)))
	case n == 1:
		return strconv.FormatFloat(w.NormFloat64()*1000, 'f', w.IntN(5), 64)
	case n == 2:
		return w.of("true", "false", "null", "-0", "0.0", "1e5", "1E-3", "-1.5e+2", "1234567.", "01", "1.", "-", ".5", "00.1", "9999999")
	case n == 3 && depth < 3:
		return w.object(depth + 1)
	case n == 4:
		return "[" + w.value(depth+1) + "]"
	case n == 5:
		b := make([]byte, w.IntN(24))
		for i := range b {
			b[i] = "abc \"\\\x1f\x7fe/unt0z"[w.IntN(15)]
		}
		return `"` + string(b) + `"`
	}
	return `"` + "plain text here, with more"[:w.IntN(26)] + `"`
}

func (w jsonWriter) object(depth int) string {
	var members []string
	for range w.IntN(6) {
		name := w.of("a", "seq", "drive", "rpm", "temperature", "very_long_name_x", "exactly14chars", "exactly13char", "x.y", `\u0061`, "")
		members = append(members, w.space()+`"`+name+`"`+w.space()+":"+w.space()+w.value(depth))
	}
	return "{" + strings.Join(members, ",") + w.space() + "}"
}

// mutate changes a byte of a text, or cuts it.
func (w jsonWriter) mutate(text string) string {
	at := w.IntN(len(text))
	if w.IntN(4) == 0 {
		return text[:at]
	}
	return text[:at] + w.of(`"`, `\`, ",", ":", "{", "}", "[", "]", "0", "e", ".", "-", " ", "\x01") + text[at+1:]
}

// TestFieldsAgainstTheLibrary: whatever text follows whatever other, Parse takes what JSON is, nothing else, and finds what ParseJSON finds.
func TestFieldsAgainstTheLibrary(t *testing.T) {
	w := jsonWriter{rand.New(rand.NewPCG(1, 2))}
	f := NewFields("a", "seq", "drive.rpm", "drive", "rpm", "temperature", "very_long_name_x", "exactly14chars", "a.a", "exactly13char")
	recent := []string{"{", `{"seq":123,"drive":1234567,`, `{"a":"a text that is long enough for words",`}
	check := func(text string) {
		err := f.Parse([]byte(text))
		if want := json.Valid([]byte(text)); (err == nil) != want {
			t.Fatalf("%q: %v, valid is %v", text, err, want)
		}
		if err != nil {
			return
		}
		whole := JSON(text)
		for i, p := range f.paths {
			if got, want := f.Value(i), whole.Path(p.whole); string(got) != string(want) || (got == nil) != (want == nil) {
				t.Fatalf("%q: field %s is %q, want %q", text, p.whole, got, want)
			}
		}
	}
	for i := range 100_000 {
		text := w.object(0)
		if i%3 > 0 { // senders repeat themselves: the names are known then
			text = recent[w.IntN(len(recent))]
			check(text)
			if w.IntN(2) == 0 {
				text = w.mutate(text)
			}
		} else if len(recent) < 200 {
			recent = append(recent, text)
		} else {
			recent[w.IntN(len(recent))] = text
		}
		check(text)
		for _, cut := range []string{text + ",", text[:max(len(text)-1, 0)] + ","} {
			check(cut)
		}
	}
}

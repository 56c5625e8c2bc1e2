package golden

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sluicebridge/sluice/bridge"
)

// Update returns the file's text with what came out in the place of what was wanted, for every record whose report has a difference and
// every one without a want. All else stays as it is written, comments included, but for those within a want that is replaced.
func (f *File) Update(r *Report) (text string, changed bool, err error) {
	differ := make(map[int]bool)
	for _, d := range r.Diffs {
		differ[d.Record-1] = true
	}
	lines := strings.SplitAfter(f.text, "\n")
	for i := len(f.Records) - 1; i >= 0; i-- { // from the end: lines before keep their numbers
		rec := f.Records[i]
		if rec.Want != nil && !differ[i] {
			continue
		}
		from, to, err := f.span(i, lines)
		if err != nil {
			return "", false, err
		}
		changed = true
		want := rec.want(&r.Got[i])
		if from > 0 && !strings.HasSuffix(lines[from-1], "\n") {
			want = "\n" + want
		}
		lines = slices.Replace(lines, from, to, want)
	}
	return strings.Join(lines, ""), changed, nil
}

// span is where in lines the want of record i stands, or would stand: up to the next record, without the comment above that.
func (f *File) span(i int, lines []string) (from, to int, err error) {
	to = len(lines)
	if i+1 < len(f.Records) {
		to = f.Records[i+1].line - 1
	}
	start := f.Records[i].line
	for to > start && (strings.TrimSpace(lines[to-1]) == "" || strings.HasPrefix(strings.TrimSpace(lines[to-1]), "#")) {
		to--
	}
	if f.Records[i].Want == nil {
		return to, to, nil
	}
	from = f.line(fmt.Sprintf("record[%d].want", i)) - 1
	if from >= len(lines) || !strings.HasPrefix(strings.TrimSpace(lines[from]), "[record.want]") {
		return 0, 0, fmt.Errorf("%s:%d: record %d: want is not written as a table [record.want], so it cannot be replaced", f.path, from+1, i+1)
	}
	return from, to, nil
}

// want writes what came out as what is wanted.
func (r *Record) want(got *Got) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[record.want]\nverdict = %s\n", quote(got.Verdict))
	if reason := r.reason(got); reason != "" {
		fmt.Fprintf(&b, "reason = %s\n", quote(reason))
	}
	if !got.trapped {
		fmt.Fprintf(&b, "fuel = %d\n", ceiling(got.Units))
	}
	if got.Verdict == pass && len(got.Outputs) == 1 {
		return b.String() // unchanged, as the host has it
	}
	for i := range got.Outputs {
		r.writeOutput(&b, &got.Outputs[i])
	}
	return b.String()
}

// numbers of units in the text of a fault are of this machine's budget.
var numbers = regexp.MustCompile(` \(\d+ of \d+ units spent\).*`)

// reason keeps a wanted part of the text that is still right.
func (r *Record) reason(got *Got) string {
	if w := r.Want; w != nil && w.Reason != "" && fits(got, w.Reason) {
		return w.Reason
	}
	first, _, _ := strings.Cut(got.Reason, "\n")
	if got.trapped {
		first = numbers.ReplaceAllString(first, "")
	}
	return strings.ToValidUTF8(first, "?")
}

func (r *Record) writeOutput(b *strings.Builder, m *bridge.Message) {
	b.WriteString("[[record.want.output]]\n")
	if len(labelDifferences(m.Labels, r.Labels)) > 0 {
		fmt.Fprintf(b, "labels = %s\n", writeLabels(m.Labels))
	}
	if len(m.Topic) > 0 {
		fmt.Fprintf(b, "topic = %s\n", quote(string(m.Topic)))
	}
	if m.Time != *r.Time {
		fmt.Fprintf(b, "time = %d\n", m.Time)
	}
	if string(m.ContentType) != r.ContentType {
		fmt.Fprintf(b, "content_type = %s\n", quote(string(m.ContentType)))
	}
	if string(m.Payload) != string(r.Payload.bytes) {
		b.WriteString(writePayload(m.Payload))
	}
}

// Append appends a record as a file has it. It fails for labels that TOML cannot write: those that are not UTF-8.
func Append(text []byte, stream string, rec *bridge.Record) ([]byte, error) {
	for _, l := range rec.Labels {
		if !utf8.Valid(l.Name) || !utf8.Valid(l.Value) {
			return text, fmt.Errorf("record %d of %s: label %q is not UTF-8", rec.Time, stream, l.Name)
		}
	}
	text = fmt.Appendf(text, "[[record]]\nentry = %s\ntime = %d\n", quote(stream), rec.Time)
	if len(rec.Labels) > 0 {
		text = fmt.Appendf(text, "labels = %s\n", writeLabels(rec.Labels))
	}
	if len(rec.ContentType) > 0 {
		text = fmt.Appendf(text, "content_type = %s\n", quote(string(rec.ContentType)))
	}
	if len(rec.Payload) > 0 {
		text = append(text, writePayload(rec.Payload)...)
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		if rec.Flags&flags[name] != 0 {
			names = append(names, quote(name))
		}
	}
	if len(names) > 0 {
		text = fmt.Appendf(text, "flags = [%s]\n", strings.Join(names, ", "))
	}
	return text, nil
}

func writePayload(p []byte) string {
	if utf8.Valid(p) && !strings.ContainsFunc(string(p), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' }) {
		return "text = " + quote(string(p)) + "\n"
	}
	return "base64 = " + strconv.Quote(base64.StdEncoding.EncodeToString(p)) + "\n"
}

// bare is a key that needs no quotes.
var bare = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func writeLabels(ls []bridge.Label) string {
	var parts []string
	for _, l := range ls {
		name := string(l.Name)
		if !bare.MatchString(name) {
			name = quote(name)
		}
		parts = append(parts, name+" = "+quote(string(l.Value)))
	}
	slices.Sort(parts)
	if len(parts) == 0 {
		return "{}"
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

// quote writes a string of TOML: a literal one where that is easier to read, else a basic one: that of JSON, but for DEL.
func quote(s string) string {
	if strings.ContainsAny(s, `"\`) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '\'' || r == 0x7f || r == utf8.RuneError }) {
		return "'" + s + "'"
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(strings.ToValidUTF8(s, "\ufffd")) // a string can be written
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\x7f", `\u007f`)
}

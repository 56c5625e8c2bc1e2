package golden

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicebridge/sluice/bridge"
)

// Report is what a run made of a file, and where that is not what the file wants.
type Report struct {
	File    string       `json:"file"`
	Records int          `json:"records"`
	Units   int64        `json:"units"` // of all records
	Most    int64        `json:"most"`  // of one
	Diffs   []Difference `json:"differences"`
	Got     []Got        `json:"-"` // one for each record, same order
}

// Difference is one thing that is not as wanted.
type Difference struct {
	Line   int    `json:"line"`
	Record int    `json:"record"` // from 1
	Key    string `json:"key"`    // such as "verdict", "output 2: topic"
	Got    string `json:"got"`
	Want   string `json:"want"`
}

func (r *Report) String() string {
	var b strings.Builder
	for _, d := range r.Diffs {
		fmt.Fprintf(&b, "%s:%d: record %d: %s: %s, want %s\n", r.File, d.Line, d.Record, d.Key, d.Got, d.Want)
	}
	return b.String()
}

// report compares what came out with what is wanted.
func (f *File) report(got []Got) *Report {
	r := &Report{File: f.path, Records: len(got), Diffs: []Difference{}, Got: got}
	for i := range got {
		r.Units += got[i].Units
		r.Most = max(r.Most, got[i].Units)
		rec := f.Records[i]
		if rec.Want == nil {
			continue
		}
		line := f.line(fmt.Sprintf("record[%d].want", i))
		rec.compare(&got[i], func(key, got, want string) {
			r.Diffs = append(r.Diffs, Difference{line, i + 1, key, got, want})
		})
	}
	return r
}

// compare tells every difference between what a record became and what it should have become.
func (r *Record) compare(got *Got, differ func(key, got, want string)) {
	w := r.Want
	if got.Verdict != w.Verdict {
		text := got.Verdict
		if got.Reason != "" {
			text += " (" + got.Reason + ")"
		}
		differ("verdict", text, w.Verdict)
	} else if !fits(got, w.Reason) {
		differ("reason", strconv.Quote(got.Reason), strconv.Quote(w.Reason))
	}
	if w.Fuel > 0 && got.Units > w.Fuel {
		differ("fuel", fmt.Sprintf("%d units", got.Units), fmt.Sprintf("at most %d", w.Fuel))
	}
	wants := w.Outputs
	switch {
	case wants != nil:
	case w.Verdict == emit:
		return
	case w.Verdict == pass && r.Flush == "":
		wants = []*Output{{}}
	}
	if len(got.Outputs) != len(wants) {
		differ("outputs", strconv.Itoa(len(got.Outputs)), strconv.Itoa(len(wants)))
	}
	for i := range min(len(wants), len(got.Outputs)) {
		r.output(wants[i], &got.Outputs[i], func(key, got, want string) { differ(fmt.Sprintf("output %d: %s", i+1, key), got, want) })
	}
}

// fits: a reason is a name, or a part of a text in which the budget of a machine may stand.
func fits(got *Got, want string) bool {
	if got.Verdict == drop {
		return want == "" || got.Reason == want
	}
	return strings.Contains(got.Reason, want)
}

func (r *Record) output(w *Output, got *bridge.Message, differ func(key, got, want string)) {
	labels := w.Labels
	if labels == nil {
		labels = r.Labels
	}
	for _, d := range labelDifferences(got.Labels, labels) {
		differ("label "+strconv.Quote(d[0]), d[1], d[2])
	}
	text := func(key, got, want string) {
		if got != want {
			differ(key, quoted(got, want), quoted(want, got))
		}
	}
	text("topic", string(got.Topic), w.Topic)
	contentType := r.ContentType
	if w.ContentType != nil {
		contentType = *w.ContentType
	}
	text("content_type", string(got.ContentType), contentType)
	time := *r.Time
	if w.Time != nil {
		time = *w.Time
	}
	if got.Time != time {
		differ("time", strconv.FormatInt(got.Time, 10), strconv.FormatInt(time, 10))
	}
	payload := &w.Payload
	if payload.forms() == 0 {
		payload = &r.Payload
	}
	if !bytes.Equal(got.Payload, payload.bytes) {
		text("payload", string(got.Payload), string(payload.bytes))
	}
}

// labelDifferences lists name, value and wanted value where two sets differ. A name that is there twice is one too many.
func labelDifferences(got []bridge.Label, want map[string]string) (out [][3]string) {
	seen := make(map[string]bool)
	for _, l := range got {
		name, value := string(l.Name), strconv.Quote(string(l.Value))
		wanted, found := want[name]
		switch {
		case seen[name]:
			out = append(out, [3]string{name, value + " again", "it once"})
		case !found:
			out = append(out, [3]string{name, value, "no such label"})
		case wanted != string(l.Value):
			out = append(out, [3]string{name, value, strconv.Quote(wanted)})
		}
		seen[name] = true
	}
	for name, value := range want {
		if !seen[name] {
			out = append(out, [3]string{name, "no such label", strconv.Quote(value)})
		}
	}
	slices.SortFunc(out, func(a, b [3]string) int { return strings.Compare(a[0]+"\x00"+a[1], b[0]+"\x00"+b[1]) })
	return out
}

// quoted shows a text, of a long one the part around where it begins to differ from another.
func quoted(s, other string) string {
	const most, before = 160, 40
	if len(s) <= most {
		return strconv.Quote(s)
	}
	at := 0
	for at < len(s) && at < len(other) && s[at] == other[at] {
		at++
	}
	from := max(at-before, 0)
	to := min(from+most, len(s))
	return fmt.Sprintf("bytes %d.. of %d: %s", from, len(s), strconv.Quote(s[from:to]))
}

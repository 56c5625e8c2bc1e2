package golden

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/config"
)

// Limits of one file of records.
const (
	MaxFile     = 16 << 20 // bytes of the file, and of each that it names
	MaxRecords  = 10_000
	maxPayloads = 64 << 20 // bytes of all payloads together
)

// Defaults of a record.
const (
	defaultEntry = "test/entry"
	firstTime    = 1_700_000_000_000_000
	aSecond      = 1_000_000
)

// Values of Want.Verdict.
const (
	pass   = "pass"
	emit   = "emit"
	drop   = "drop"
	absorb = "absorb"
	park   = "park"
	retry  = "retry"
)

// File is a file of records.
type File struct {
	Config  map[string]any `toml:"config"` // of the module
	Records []*Record      `toml:"record"`

	path  string
	text  string
	lines map[string]int
}

// Record is one record and what is wanted of it.
type Record struct {
	Entry       string            `toml:"entry"`
	Time        *int64            `toml:"time"`
	Labels      map[string]string `toml:"labels"`
	ContentType string            `toml:"content_type"`
	Payload
	Flags []string `toml:"flags"`
	Batch bool     `toml:"batch"`
	Flush string   `toml:"flush"` // no record: the module is asked for what it holds back
	Want  *Want    `toml:"want"`

	line int
}

// Want is what a module should make of a record.
type Want struct {
	Verdict string    `toml:"verdict"`
	Reason  string    `toml:"reason"`
	Fuel    int64     `toml:"fuel"`
	Outputs []*Output `toml:"output"`
}

// Output is one thing that comes out; nil fields are as in the record.
type Output struct {
	Labels      map[string]string `toml:"labels"`
	Topic       string            `toml:"topic"`
	Time        *int64            `toml:"time"`
	ContentType *string           `toml:"content_type"`
	Payload
}

// Load reads a file of records, with the payloads that it names. Errors are config.Problems, FILE:LINE.
func Load(path string) (*File, error) {
	text, err := config.ReadFile(path, MaxFile)
	if err != nil {
		return nil, config.Problems{{File: path, Text: err.Error()}}
	}
	return Parse(path, text)
}

// Parse is Load for a text that was read already; path is its name in errors, and payloads are beside it.
func Parse(path, text string) (*File, error) {
	f := &File{path: path, text: strings.TrimPrefix(text, "\ufeff")}
	if err := config.Decode(path, f.text, f, config.Options{Verbatim: true}); err != nil {
		return nil, err
	}
	f.lines = config.Lines(f.text)
	if err := f.load(); err != nil {
		return nil, err
	}
	return f, nil
}

// Validate tells what is wrong with the records by themselves.
func (f *File) Validate() error {
	if n := len(f.Records); n == 0 || n > MaxRecords {
		return fmt.Errorf("record: %d of them, want 1..%d", n, MaxRecords)
	}
	var errs []error
	for i, r := range f.Records {
		for _, err := range r.check() {
			errs = append(errs, fmt.Errorf("record[%d].%w", i, err))
		}
	}
	return errors.Join(errs...)
}

// check lists what is wrong with a record, each with its key first.
func (r *Record) check() (errs []error) {
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(r.Entry != "" && (bridge.Entry(r.Entry) == "" || bridge.Bucket(r.Entry) == ""), "entry: %q, want bucket/entry", r.Entry)
	for i, name := range r.Flags {
		_, known := flags[name]
		bad(!known, "flags[%d]: %q, want late, replayed or shadow", i, name)
	}
	_, asks := flushes[r.Flush]
	bad(r.Flush != "" && !asks, "flush: %q, want tick or shutdown", r.Flush)
	bare := r.Time == nil && r.Labels == nil && r.ContentType == "" && r.Payload.forms() == 0 && r.Flags == nil
	bad(r.Flush != "" && !bare, "flush: it is no record, want only entry and want beside it")
	bad(r.Payload.forms() > 1, "text: more than one of text, base64, f32, i16 and file")
	w := r.Want
	if w == nil {
		return errs
	}
	verdicts := []string{pass, emit, drop, absorb, park, retry}
	bad(!slices.Contains(verdicts, w.Verdict), "want.verdict: %q, want %s", w.Verdict, strings.Join(verdicts, ", "))
	bad(w.Fuel < 0, "want.fuel: %d, want units, or none", w.Fuel)
	bad(w.Reason != "" && (w.Verdict == pass || w.Verdict == emit || w.Verdict == absorb), "want.reason: %s has none", w.Verdict)
	for i, o := range w.Outputs {
		bad(o.Payload.forms() > 1, "want.output[%d].text: more than one of text, base64, f32, i16 and file", i)
	}
	return errs
}

// flags are the names of those that a file may set; the last of a batch is known from the batch.
var flags = map[string]bridge.Flags{"late": bridge.Late, "replayed": bridge.Replayed, "shadow": bridge.Shadow}

// flushes are why a module may be asked for what it holds back.
var flushes = map[string]bridge.FlushReason{"tick": bridge.FlushTick, "shutdown": bridge.FlushShutdown}

// load fills in what depends on the record before, and reads payloads.
func (f *File) load() error {
	var problems config.Problems
	bad := func(key string, err error) {
		problems = append(problems, config.Problem{File: f.path, Line: f.line(key), Key: key, Text: err.Error()})
	}
	room := int64(maxPayloads)
	last, newest := int64(firstTime-aSecond), make(map[string]int64)
	for i, r := range f.Records {
		key := "record[" + strconv.Itoa(i) + "]"
		r.line = f.line(key)
		for _, err := range r.read(f.path, &room) {
			bad(key, err)
		}
		if r.Entry == "" {
			r.Entry = defaultEntry
		}
		if r.Flush != "" {
			t, some := newest[r.Entry]
			if r.Time = &t; !some {
				bad(key+".flush", fmt.Errorf("no record of %s is before it", r.Entry))
			}
			continue
		}
		if r.Time == nil {
			t := last + aSecond
			r.Time = &t
		}
		last = *r.Time
		newest[r.Entry] = max(last, newest[r.Entry])
		if i > 0 && !f.begins(i) && last <= *f.Records[i-1].Time {
			bad(key+".time", fmt.Errorf("%d, the record before it has %d: times of a batch ascend; set batch = true", last, *f.Records[i-1].Time))
		}
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// read loads the payloads of a record and of what is wanted of it.
func (r *Record) read(path string, room *int64) (errs []error) {
	payloads := []*Payload{&r.Payload}
	if r.Want != nil {
		for _, o := range r.Want.Outputs {
			payloads = append(payloads, &o.Payload)
		}
	}
	for _, p := range payloads {
		if err := p.load(path, room); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// line is that of a key, or of the record that it belongs to.
func (f *File) line(key string) int {
	for key != "" {
		if n, found := f.lines[key]; found {
			return n
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return 1
}

// begins tells whether a batch begins with record i.
func (f *File) begins(i int) bool {
	if i == 0 {
		return true
	}
	r, before := f.Records[i], f.Records[i-1]
	return r.Batch || r.Entry != before.Entry || r.Flush != "" || before.Flush != ""
}

// Batches are the records as a module gets them, without what is between batches.
func (f *File) Batches() (all []bridge.Batch) {
	for i, r := range f.Records {
		if r.Flush != "" {
			continue
		}
		if f.begins(i) {
			all = append(all, bridge.Batch{Stream: r.Entry})
		}
		b := &all[len(all)-1]
		b.Records = append(b.Records, r.record())
	}
	return all
}

// Path is the name that the file was loaded by.
func (f *File) Path() string { return f.path }

// record is what a module gets.
func (r *Record) record() bridge.Record {
	out := bridge.Record{Time: *r.Time, ContentType: []byte(r.ContentType), Labels: sorted(r.Labels), Payload: r.Payload.bytes}
	for _, name := range r.Flags {
		out.Flags |= flags[name]
	}
	return out
}

// sorted are labels in the order of their names, as ReductStore sends them.
func sorted(labels map[string]string) []bridge.Label {
	var out []bridge.Label
	for name, value := range labels {
		out = append(out, bridge.Label{Name: []byte(name), Value: []byte(value)})
	}
	slices.SortFunc(out, func(a, b bridge.Label) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return out
}

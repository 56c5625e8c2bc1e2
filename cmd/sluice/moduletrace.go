package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/golden"
	"github.com/sluicebridge/sluice/runtime/host"
)

const moduleTraceHelp = `usage: sluice module trace FILE.wasm|FILTER.js FILE.toml [--record N] [flags]

Shows what happens to one record: its bytes as the module got them, what the module said, its answer in bytes and what that means, units,
and what became of it. All records before it are run too, for what the module remembers of them.

`

func runModuleTrace(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("module trace")
	fs.Usage = func() { fmt.Fprint(e.err, moduleTraceHelp); fs.PrintDefaults() }
	o := defineModule(fs)
	n := fs.Int("record", 1, "`NUMBER` of the record in the file, from 1")
	named, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	if len(named) != 2 {
		return usageError{"module trace: want a module's file and a file of records"}
	}
	f, err := golden.Load(named[1])
	if err != nil {
		return err
	}
	if *n < 1 || *n > len(f.Records) {
		return usageError{fmt.Sprintf("module trace: --record %d, want 1..%d", *n, len(f.Records))}
	}
	w, err := openWorkbench(ctx, nil, named[0], o)
	if err != nil {
		return err
	}
	defer w.close(ctx)
	m, err := w.load(ctx, f.Config)
	if err != nil {
		return err
	}
	defer m.Close()
	t := &trace{record: *n - 1}
	r, err := f.Run(ctx, w.rt, m, t)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	rec := f.Records[t.record]
	fmt.Fprintf(&b, "record %d of %s: %s at %d, %s\n", *n, f.Path(), rec.Entry, *rec.Time, time.UnixMicro(*rec.Time).UTC().Format(time.RFC3339Nano))
	for i := range t.calls {
		t.calls[i].write(&b, m.Info().Manifest.Reasons)
	}
	writeGot(&b, &r.Got[t.record], rec.Entry)
	_, err = e.out.Write(b.Bytes())
	return err
}

// trace keeps the calls for one record.
type trace struct {
	record int
	said   []string // since the last call
	calls  []traced
}

type traced struct {
	host.Call
	said []string
}

// Called implements golden.Watch.
func (t *trace) Called(record int, c host.Call) {
	if record == t.record {
		c.In, c.Answer = bytes.Clone(c.In), bytes.Clone(c.Answer)
		t.calls = append(t.calls, traced{c, t.said})
	}
	t.said = nil
}

// Said implements golden.Watch. What a call may say is bounded by its units.
func (t *trace) Said(level int32, text []byte) {
	names := [...]string{"debug", "info", "warn", "error"}
	t.said = append(t.said, fmt.Sprintf("%s %q", names[min(max(level, 0), 3)], text))
}

func (t *traced) write(w io.Writer, reasons []string) {
	if len(t.In) > 0 {
		fmt.Fprintf(w, "\nin: %d bytes\n%s", len(t.In), dump(t.In))
	}
	for _, line := range t.said {
		fmt.Fprintf(w, "says: %s\n", line)
	}
	if t.Err != nil {
		fmt.Fprintf(w, "\n%s failed after %d units: %v\n", t.Name, t.Units, t.Err)
		return
	}
	fmt.Fprintf(w, "\n%s: %d units, returned %#016x\n", t.Name, t.Units, uint64(t.Returned))
	if t.Answer != nil {
		fmt.Fprintf(w, "answer: %d bytes\n%s", len(t.Answer), dump(t.Answer))
	}
	if err := writeAnswer(w, &t.Call, reasons); err != nil {
		fmt.Fprintf(w, "  that is no answer: %v\n", err)
	}
}

// dump is the first of b in hex.
func dump(b []byte) string {
	const most = 4 << 10
	text := hex.Dump(b[:min(len(b), most)])
	if len(b) > most {
		text += fmt.Sprintf("... %d bytes more\n", len(b)-most)
	}
	return text
}

// writeAnswer tells what an answer means.
func writeAnswer(w io.Writer, c *host.Call, reasons []string) error {
	got, err := abi.ParseReturned(c.Returned)
	switch {
	case err != nil:
		return err
	case got.Failed:
		_, err := fmt.Fprintf(w, "  failed with code %d\n", got.Code)
		return err
	case got.Short && got.Verdict == abi.Emit:
		_, err := fmt.Fprintf(w, "  EMIT with the labels of slots %#b\n", got.Mask)
		return err
	}
	e := abi.Entry{Verdict: got.Verdict, Reason: got.Reason}
	if !got.Short {
		if e, _, err = abi.ReadEntry(c.Answer); err != nil {
			return err
		}
	}
	text := e.Verdict.String()
	switch {
	case e.Verdict == abi.Drop && int(e.Reason) < len(reasons):
		text += fmt.Sprintf(", reason %d: %s", e.Reason, reasons[e.Reason])
	case e.Verdict == abi.Drop:
		text += fmt.Sprintf(", reason %d", e.Reason)
	case e.Verdict == abi.Emit:
		text += fmt.Sprintf(", %d outputs", e.Reason)
	case len(e.Body) > 0:
		text += fmt.Sprintf(": %q", e.Body)
	}
	fmt.Fprintf(w, "  %s\n", text)
	if e.Verdict != abi.Emit {
		return nil
	}
	return writeOutputs(w, e)
}

func writeOutputs(w io.Writer, e abi.Entry) error {
	body := e.Body
	for i := range int(e.Reason) {
		o, rest, err := abi.ReadOutput(body)
		if err != nil {
			return err
		}
		body = rest
		fmt.Fprintf(w, "  output %d: %d ops\n", i+1, o.Ops)
		for range o.Ops {
			var op abi.Op
			if err := o.Next(&op); err != nil {
				return err
			}
			fmt.Fprintf(w, "    %s\n", describeOp(&op))
		}
	}
	return nil
}

func describeOp(op *abi.Op) string {
	const most = 200
	value := fmt.Sprintf("%.*q", most, op.Value)
	if len(op.Value) > most {
		value += fmt.Sprintf("... %d bytes", len(op.Value))
	}
	switch op.Code {
	case abi.SetLabel:
		return fmt.Sprintf("set label %q to %s", op.Key, value)
	case abi.DeleteLabel:
		return fmt.Sprintf("delete label %q", op.Key)
	case abi.ClearLabels:
		return "clear all labels"
	case abi.SetTopic:
		return "topic " + value
	case abi.SetType:
		return "content type " + value
	case abi.SetPayload:
		return "payload " + value
	case abi.SetTime:
		return fmt.Sprintf("time %d", op.Time())
	case abi.CutPayload:
		return fmt.Sprintf("keep of the payload: offset and length % x", op.Value)
	default:
		return fmt.Sprintf("rename label %q to %s", op.Key, value)
	}
}

// writeGot tells what became of the record.
func writeGot(w io.Writer, got *golden.Got, entry string) {
	fmt.Fprintf(w, "\nbecame: %s", got.Verdict)
	if got.Reason != "" {
		fmt.Fprintf(w, " (%s)", got.Reason)
	}
	fmt.Fprintf(w, ", %d messages\n", len(got.Outputs))
	for i := range got.Outputs {
		m := &got.Outputs[i]
		fmt.Fprintf(w, "  %s topic %q type %q labels {%s} payload of %d bytes\n", m.AppendID(nil, entry), m.Topic, m.ContentType, writeLabels(m.Labels), len(m.Payload))
	}
}

func writeLabels(ls []bridge.Label) string {
	var parts []string
	for _, l := range ls {
		parts = append(parts, fmt.Sprintf("%s=%q", l.Name, l.Value))
	}
	return strings.Join(parts, " ")
}

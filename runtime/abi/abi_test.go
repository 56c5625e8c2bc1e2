package abi

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// hexBlocks returns the bytes of the ```hex blocks of ABI.md.
func hexBlocks(t *testing.T) [][]byte {
	t.Helper()
	text, err := os.ReadFile("ABI.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks [][]byte
	for i, part := range strings.Split(string(text), "```") {
		body, found := strings.CutPrefix(part, "hex\n")
		if i%2 == 0 || !found {
			continue
		}
		digits := ""
		for line := range strings.Lines(body) {
			code, _, _ := strings.Cut(line, ";")
			digits += strings.Join(strings.Fields(code), "")
		}
		b, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatalf("hex block %d of ABI.md: %v", len(blocks), err)
		}
		blocks = append(blocks, b)
	}
	return blocks
}

func exampleFields() *Fields {
	return &Fields{
		Time: 1_700_000_000_000_000, Flags: LastOfBatch, ContentType: []byte("text/plain"), Entry: []byte("vib"),
		Slots: [][]byte{[]byte("1450"), []byte("true")}, PayloadLen: 5,
	}
}

func TestExamplesOfTheManual(t *testing.T) {
	blocks := hexBlocks(t)
	if len(blocks) != 3 {
		t.Fatalf("ABI.md has %d hex blocks, want 3", len(blocks))
	}
	buf := make([]byte, 256)
	n, err := PutRecord(buf, exampleFields())
	if err != nil || !bytes.Equal(buf[:n], blocks[0]) {
		t.Errorf("record: got %x (%v), ABI.md says %x", buf[:n], err, blocks[0])
	}
	var b Builder
	b.Reset()
	b.Output()
	b.SetLabel([]byte("speed"), []byte("1450"))
	b.DeleteLabel([]byte("rpm"))
	b.SetTopic([]byte("vib"))
	b.SetPayload([]byte("{\"rms\":0.5}"))
	if !bytes.Equal(b.Bytes(), blocks[1]) {
		t.Errorf("emit: got %x, ABI.md says %x", b.Bytes(), blocks[1])
	}
	if got := LongAnswer(0x11000, uint32(len(b.Bytes()))); got != 0x000110000000004a {
		t.Errorf("returned: got %#x, ABI.md says 0x000110000000004a", got)
	}
	b.Decide(Park, 0, []byte("bad rpm"))
	if !bytes.Equal(b.Bytes(), blocks[2]) {
		t.Errorf("park: got %x, ABI.md says %x", b.Bytes(), blocks[2])
	}
	if ShortAnswer(Pass, 0) != 0x4000000000000000 || ShortAnswer(Drop, 0) != 0x4002000000000000 {
		t.Errorf("short: got %#x and %#x", ShortAnswer(Pass, 0), ShortAnswer(Drop, 0))
	}
}

func TestRecordThereAndBack(t *testing.T) {
	cases := map[string]Fields{
		"empty":         {},
		"labels":        *exampleFields(),
		"absent, empty": {Slots: [][]byte{nil, {}, []byte("x")}, Time: -1},
		"payload":       {Slots: [][]byte{[]byte("abc")}, Payload: []byte("payload"), PayloadLen: 7},
		"head":          {Payload: []byte("pay"), PayloadLen: 7, Flags: Replayed | Late},
	}
	for name, f := range cases {
		t.Run(name, func(t *testing.T) {
			buf := bytes.Repeat([]byte{0xaa}, 512)
			n, err := PutRecord(buf, &f)
			if err != nil || n != f.Size() {
				t.Fatalf("wrote %d bytes, %v; want %d", n, err, f.Size())
			}
			checkRecord(t, Record(buf[:n]), &f)
			if _, err := PutRecord(buf[:n-1], &f); err == nil {
				t.Error("a buffer one byte too small was taken")
			}
		})
	}
}

func checkRecord(t *testing.T, r Record, f *Fields) {
	t.Helper()
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	if r.Time() != f.Time || r.Flags() != f.Flags || r.PayloadLen() != f.PayloadLen || r.Slots() != len(f.Slots) {
		t.Errorf("got time %d flags %d payload %d slots %d, want %+v", r.Time(), r.Flags(), r.PayloadLen(), r.Slots(), f)
	}
	for i, want := range f.Slots {
		if got := r.Slot(i); !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("slot %d: got %q, want %q", i, got, want)
		}
	}
	if r.Slot(len(f.Slots)) != nil || r.Slot(-1) != nil {
		t.Error("a slot outside the record is not nil")
	}
	if !bytes.Equal(r.Payload(), f.Payload) || !bytes.Equal(r.Entry(), f.Entry) || !bytes.Equal(r.ContentType(), f.ContentType) {
		t.Errorf("got payload %q entry %q type %q", r.Payload(), r.Entry(), r.ContentType())
	}
	if len(f.Payload) > 0 && len(r)-len(r.Payload()) != align8(f.headSize()) {
		t.Error("the payload is not on a multiple of 8")
	}
}

func TestRecordTooLargeForItsFormat(t *testing.T) {
	f := Fields{Slots: [][]byte{make([]byte, 40_000), make([]byte, 40_000)}}
	_, err := PutRecord(make([]byte, 100_000), &f)
	if err == nil || !strings.Contains(err.Error(), "80040 bytes") {
		t.Errorf("got %v, want a refusal that tells the size", err)
	}
}

// TestNameTooLongForItsFormat: lengths of names have 16 bits. One that needs more must not be written as a shorter one.
func TestNameTooLongForItsFormat(t *testing.T) {
	var b Builder
	for _, n := range []int{MaxLabel, MaxLabel + 1, 1 << 17} {
		b.Reset()
		b.SetLabel([]byte("a"), []byte("1"))
		b.RenameLabel(bytes.Repeat([]byte("k"), n), []byte("to"))
		b.SetLabel([]byte("b"), []byte("2"))
		want := Emit
		if n > MaxLabel {
			want = Park
		}
		e, rest, err := ReadEntry(b.Bytes())
		if err != nil || len(rest) > 0 || e.Verdict != want || want == Park && !strings.Contains(string(e.Body), "longer than 65535 bytes") {
			t.Errorf("a name of %d bytes: got %v %.60q, %v, want %v", n, e.Verdict, e.Body, err, want)
		}
	}
}

func TestBuilderGrowsAPayloadInPlace(t *testing.T) {
	var b Builder
	b.SetLabel([]byte("a"), []byte("1")) // without Reset and Output
	copy(b.PayloadOf(5000), bytes.Repeat([]byte("z"), 5000))
	b.SetTime(-7)
	b.Output()
	b.CutPayload(1, 2)
	e, rest, err := ReadEntry(b.Bytes())
	if err != nil || len(rest) != 0 || e.Verdict != Emit || e.Reason != 2 || b.Outputs() != 2 {
		t.Fatalf("got %v %d, %d bytes left, %v", e.Verdict, e.Reason, len(rest), err)
	}
	ops, err := walk(e)
	if err != nil || len(ops) != 4 {
		t.Fatalf("got %d ops, %v", len(ops), err)
	}
	if len(ops[1].Value) != 5000 || ops[1].Value[4999] != 'z' || ops[2].Time() != -7 {
		t.Errorf("got a payload of %d bytes and time %d", len(ops[1].Value), ops[2].Time())
	}
	if part, ok := ops[3].Cut([]byte("abc")); !ok || string(part) != "bc" {
		t.Errorf("got %q %v", part, ok)
	}
	if _, ok := ops[3].Cut([]byte("ab")); ok {
		t.Error("a cut outside the payload was taken")
	}
}

// walk reads all ops of an EMIT, as the host does.
func walk(e Entry) (ops []Op, err error) {
	body := e.Body
	for range e.Reason {
		var o Output
		if o, body, err = ReadOutput(body); err != nil {
			return ops, err
		}
		for range o.Ops {
			var op Op
			if err = o.Next(&op); err != nil {
				return ops, err
			}
			ops = append(ops, op)
		}
	}
	return ops, nil
}

func TestReturned(t *testing.T) {
	cases := map[string]struct {
		in   int64
		want Returned
		ok   bool
	}{
		"pass":             {ShortAnswer(Pass, 0), Returned{Short: true}, true},
		"drop":             {ShortAnswer(Drop, 300), Returned{Short: true, Verdict: Drop, Reason: 300}, true},
		"mask":             {MaskAnswer(5), Returned{Short: true, Verdict: Emit, Mask: 5}, true},
		"memory":           {LongAnswer(1<<30-1, 9), Returned{Ptr: 1<<30 - 1, Len: 9}, true},
		"failed":           {-3, Returned{Failed: true, Code: 3}, true},
		"lowest":           {-1 << 63, Returned{Failed: true, Code: 1 << 63}, true},
		"unknown verdict":  {ShortAnswer(6, 0), Returned{}, false},
		"reserved bit":     {ShortAnswer(Pass, 0) | 1<<60, Returned{}, false},
		"mask with a drop": {ShortAnswer(Drop, 0) | 1, Returned{}, false},
		"reasoned pass":    {ShortAnswer(Pass, 1), Returned{}, false},
	}
	for name, c := range cases {
		got, err := ParseReturned(c.in)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%s: got %+v %v, want %+v", name, got, err, c.want)
		}
	}
}

func TestAnswersThatLie(t *testing.T) {
	cases := map[string][]byte{
		"empty":               {},
		"half a head":         {1, 0, 1},
		"body outside":        {4, 0, 0, 0, 1, 0, 0, 0},
		"huge body":           {4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
		"unknown verdict":     {9, 0, 0, 0, 0, 0, 0, 0},
		"reserved":            {0, 1, 0, 0, 0, 0, 0, 0},
		"emit nothing":        {1, 0, 0, 0, 0, 0, 0, 0},
		"park with a reason":  {4, 0, 1, 0, 0, 0, 0, 0},
		"pass with a body":    {0, 0, 0, 0, 1, 0, 0, 0, 7},
		"no output":           {1, 0, 1, 0, 0, 0, 0, 0},
		"output outside":      {1, 0, 1, 0, 8, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0},
		"reserved in output":  {1, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0},
		"fewer ops than told": {1, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0},
		"op outside":          emitOp(1, 0, 9, 0, 0, 0, 0, 0),
		"op unknown":          emitOp(0, 0, 0, 0, 0, 0, 0, 0),
		"op 10":               emitOp(10, 0, 0, 0, 0, 0, 0, 0),
		"rename to nothing":   emitOp(9, 0, 1, 0, 0, 0, 0, 0, 'k'),
		"op reserved":         emitOp(3, 1, 0, 0, 0, 0, 0, 0),
		"label without name":  emitOp(1, 0, 0, 0, 1, 0, 0, 0, 'v'),
		"topic with a key":    emitOp(4, 0, 1, 0, 0, 0, 0, 0, 'k'),
		"topic wildcard":      emitOp(4, 0, 0, 0, 1, 0, 0, 0, '#'),
		"short time":          emitOp(7, 0, 0, 0, 1, 0, 0, 0, 0),
		"clear with a value":  emitOp(3, 0, 0, 0, 1, 0, 0, 0, 0),
	}
	for name, b := range cases {
		e, _, err := ReadEntry(b)
		if err == nil {
			_, err = walk(e)
		}
		if err == nil {
			t.Errorf("%s: taken", name)
		} else if !strings.Contains(err.Error(), "at byte ") {
			t.Errorf("%s: %q does not say where", name, err)
		}
	}
}

func emitOp(op ...byte) []byte {
	n := byte(len(op))
	return append([]byte{1, 0, 1, 0, n + 8, 0, 0, 0, n, 0, 0, 0, 1, 0, 0, 0}, op...)
}

func TestManifest(t *testing.T) {
	good := func(change func(*Manifest)) *Manifest {
		m := &Manifest{ABI: 1, Name: "m"}
		change(m)
		m.Normal()
		return m
	}
	cases := map[string]struct {
		m    *Manifest
		want string
	}{
		"least":            {good(func(*Manifest) {}), ""},
		"all labels":       {good(func(m *Manifest) { m.Labels = []string{"*"} }), ""},
		"head":             {good(func(m *Manifest) { m.Payload = "head:64" }), ""},
		"abi":              {good(func(m *Manifest) { m.ABI = 2 }), "abi: want 1"},
		"name":             {good(func(m *Manifest) { m.Name = "" }), "name: missing"},
		"head of nothing":  {good(func(m *Manifest) { m.Payload = "head:" }), "payload: head:, want"},
		"head of too much": {good(func(m *Manifest) { m.Payload = "head:99999999999999999999" }), "payload: head:9"},
		"payload":          {good(func(m *Manifest) { m.Payload = "some" }), "payload: some, want"},
		"state":            {good(func(m *Manifest) { m.State = "snapshot" }), "state: snapshot, want none or explicit"},
		"outputs":          {good(func(m *Manifest) { m.OutputsMax = -1 }), "outputs_max: want 1..65535"},
		"star beside":      {good(func(m *Manifest) { m.Labels = []string{"a", "*"} }), "labels: "},
		"config type":      {good(func(m *Manifest) { m.Config = []Key{{Name: "a", Type: "text"}} }), "config: key a of type text"},
	}
	for name, c := range cases {
		got := strings.Join(c.m.Validate(), "; ")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// FuzzAnswer decodes what a guest may answer. Nothing it says may make the decoder panic, reach outside or allocate.
func FuzzAnswer(f *testing.F) {
	var b Builder
	b.SetLabel([]byte("speed"), []byte("1450"))
	b.CutPayload(2, 3)
	b.RenameLabel([]byte("speed"), []byte("rpm"))
	f.Add(b.Bytes(), int64(0))
	b.Decide(Park, 0, []byte("text"))
	f.Add(b.Bytes(), LongAnswer(8, 12))
	f.Add(emitOp(7, 0, 0, 0, 8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8), MaskAnswer(3))
	payload := make([]byte, 100)
	f.Fuzz(func(t *testing.T, answer []byte, returned int64) {
		if r, err := ParseReturned(returned); err == nil && (r.Verdict > Retry || !r.Short && !r.Failed && r.Ptr >= MaxAddress) {
			t.Errorf("returned %#x: %+v", returned, r)
		}
		e, rest, err := ReadEntry(answer)
		if err != nil {
			return
		}
		if len(e.Body)+len(rest)+entryHead != len(answer) {
			t.Errorf("%d bytes became %d and %d", len(answer), len(e.Body), len(rest))
		}
		ops, _ := walk(e)
		for _, op := range ops {
			if op.Code == CutPayload {
				op.Cut(payload)
			}
		}
	})
}

// FuzzRecord reads what Check lets through.
func FuzzRecord(f *testing.F) {
	buf := make([]byte, 256)
	n, err := PutRecord(buf, exampleFields())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(buf[:n])
	n, _ = PutRecord(buf, &Fields{Slots: [][]byte{nil, {}}, Payload: []byte("payload"), PayloadLen: 9})
	f.Add(buf[:n])
	f.Fuzz(func(t *testing.T, b []byte) {
		r := Record(b)
		if r.Check() != nil {
			return
		}
		got := Fields{
			Time: r.Time(), Flags: r.Flags(), ContentType: r.ContentType(), Entry: r.Entry(), Payload: r.Payload(), PayloadLen: r.PayloadLen(),
		}
		for i := range r.Slots() {
			got.Slots = append(got.Slots, r.Slot(i))
		}
		if got.Size() > 1<<20 {
			return // slots may all show the same bytes
		}
		again := make([]byte, got.Size())
		if _, err := PutRecord(again, &got); err == nil {
			checkRecord(t, again, &got)
		}
	})
}

func TestNothingIsAllocatedForARecord(t *testing.T) {
	buf, f := make([]byte, 256), exampleFields()
	var b Builder
	b.Reset()
	name, value := []byte("speed"), []byte("1450")
	got := testing.AllocsPerRun(100, func() {
		n, err := PutRecord(buf, f)
		if err != nil || Record(buf[:n]).Slot(0) == nil {
			t.Fatal(err)
		}
		b.Reset()
		b.SetLabel(name, value)
		e, _, err := ReadEntry(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		o, _, _ := ReadOutput(e.Body)
		var op Op
		if err := o.Next(&op); err != nil || op.Code != SetLabel {
			t.Fatal(err)
		}
	})
	if got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

package golden

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host"
	"github.com/sluicebridge/sluice/runtime/host/asm"
)

// Addresses in the memory of the guest of these tests.
const (
	stateAt  = 64      // records so far, its state
	tableAt  = 1 << 11 // answer to each first byte of a payload
	answerAt = 1 << 13
	bufferAt = 1 << 16
)

// answers are what the guest answers, by the first letter of the payload. c: DROP with the number of records so far as its reason; t: it traps;
// s: PASS after 200 turns of a loop. At a tick it says what it answers to e.
func answers() (table, bytes []byte) {
	var b abi.Builder
	table = make([]byte, 8*256)
	set := func(letter byte, v int64) { binary.LittleEndian.PutUint64(table[8*int(letter):], uint64(v)) }
	memory := func(letter byte) {
		set(letter, abi.LongAnswer(answerAt+uint32(len(bytes)), uint32(len(b.Bytes()))))
		bytes = append(bytes, b.Bytes()...)
	}
	for i := range 256 {
		set(byte(i), abi.ShortAnswer(abi.Pass, 0))
	}
	set('d', abi.ShortAnswer(abi.Drop, 1))
	set('a', abi.ShortAnswer(abi.Absorb, 0))
	set('l', abi.LongAnswer(1<<29, 100)) // outside the memory
	b.Reset()
	b.SetLabel([]byte("speed"), []byte("1450"))
	b.SetTopic([]byte("x"))
	memory('e')
	b.Output()
	b.SetPayload([]byte("\x00\x01"))
	b.SetType([]byte("b"))
	b.SetTime(5)
	memory('2')
	b.Decide(abi.Park, 0, []byte("bad \"speed\""))
	memory('p')
	b.Decide(abi.Retry, 0, []byte("not yet"))
	memory('r')
	return table, bytes
}

func guest() []byte {
	var m asm.Module
	table, bytes := answers()
	m.Memory(abi.ExportMemory, 4)
	m.Data(tableAt, table)
	m.Data(answerAt, bytes)
	m.Func(abi.ExportVersion, nil, nil, 0)
	m.Func(abi.ExportIn, []byte{asm.I32}, []byte{asm.I32}, 0, asm.Int(bufferAt))
	const byteLoad, longLoad = 0x2d, 0x29
	first := asm.Code(asm.Int(bufferAt), asm.Int(bufferAt), asm.Load(20), asm.Op(asm.I32Add), asm.Op(byteLoad, 0, 0))
	is := func(letter byte) []byte { return asm.Code(asm.Get(2), asm.Int(int32(letter)), asm.Op(asm.I32Eq)) }
	counted := asm.Code(asm.Int64(abi.ShortAnswer(abi.Drop, 0)), asm.Int(stateAt), asm.Load(0), asm.Op(asm.I64ExtendU),
		asm.Int64(32), asm.Op(asm.I64Shl), asm.Op(asm.I64Or))
	m.Func(abi.ExportProcess, []byte{asm.I32, asm.I32}, []byte{asm.I64}, 1,
		first, asm.Set(2),
		asm.Int(stateAt), asm.Int(stateAt), asm.Load(0), asm.Int(1), asm.Op(asm.I32Add), asm.Store(0),
		is('t'), asm.If(asm.Op(asm.Unreachable)),
		is('c'), asm.If(counted, asm.Op(asm.Return)),
		is('s'), asm.If(asm.Int(200), asm.Set(0), asm.Loop(asm.Get(0), asm.Int(1), asm.Op(asm.I32Sub), asm.Op(0x22, 0), asm.BrIf(0))),
		asm.Get(2), asm.Int(3), asm.Op(0x74), asm.Op(longLoad, 0), asm.Uint(tableAt)) // 0x74 = i32.shl
	m.Func(abi.ExportFlush, []byte{asm.I32}, []byte{asm.I64}, 0,
		asm.Get(0), asm.Int(int32(bridge.FlushTick)), asm.Op(asm.I32Eq), asm.If(asm.Int(8*'e'), asm.Op(longLoad, 0), asm.Uint(tableAt), asm.Op(asm.Return)),
		asm.Int64(abi.ShortAnswer(abi.Pass, 0)))
	m.Func(abi.ExportSave, nil, []byte{asm.I64}, 0, asm.Int64(abi.LongAnswer(stateAt, 4)))
	m.Func(abi.ExportLoad, []byte{asm.I32}, []byte{asm.I32}, 0,
		asm.Int(stateAt), asm.Int(0), asm.Store(0),
		asm.Get(0), asm.If(asm.Int(stateAt), asm.Int(bufferAt), asm.Load(0), asm.Store(0)),
		asm.Int(0))
	m.Custom(abi.ManifestSection, []byte("abi = 1\nname = \"guest\"\nlabels = [\"rpm\"]\npayload = \"full\"\nstate = \"explicit\"\ntick = \"1s\"\n"+
		"reasons = [\"none\", \"one\", \"two\", \"three\"]\n"))
	return m.Bytes()
}

// bench is a loaded guest.
type bench struct {
	rt     *host.Runtime
	module *host.Module
}

func newBench(t *testing.T) bench {
	t.Helper()
	dir := t.TempDir()
	cfg := host.Default()
	cfg.Path, cfg.BudgetUnits = filepath.Join(dir, "guest.wasm"), Units
	if err := os.WriteFile(cfg.Path, guest(), 0o600); err != nil {
		t.Fatal(err)
	}
	rt, err := host.New(context.Background(), filepath.Join(dir, "cache"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	m, err := rt.Load(context.Background(), "guest", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return bench{rt, m}
}

func (b bench) run(t *testing.T, text string) (*File, *Report) {
	t.Helper()
	f, err := Parse("a.toml", text)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Run(context.Background(), b.rt, b.module, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f, r
}

func TestRun(t *testing.T) {
	const labels = "labels = { rpm = \"1\", a = \"b\" }\n"
	const emitted = "[[record]]\ntext = \"e\"\n" + labels + "[record.want]\nverdict = \"emit\"\n[[record.want.output]]\n"
	tests := []struct{ name, text, want string }{
		{"pass", "[[record]]\ntext = \"x\"\n[record.want]\nverdict = \"pass\"", ""},
		{"nothing wanted", "[[record]]\ntext = \"d\"", ""},
		{"drop", "[[record]]\ntext = \"d\"\n[record.want]\nverdict = \"drop\"\nreason = \"one\"", ""},
		{"verdict differs", "\n[[record]]\ntext = \"d\"\n[record.want]\nverdict = \"absorb\"", "a.toml:4: record 1: verdict: drop (one), want absorb\n"},
		{"reason differs", "[[record]]\ntext = \"d\"\n[record.want]\nverdict = \"drop\"\nreason = \"on\"", "a.toml:3: record 1: reason: \"one\", want \"on\"\n"},
		{"absorb", "[[record]]\ntext = \"a\"\n[record.want]\nverdict = \"absorb\"", ""},
		{"park", "[[record]]\ntext = \"p\"\n[record.want]\nverdict = \"park\"\nreason = \"bad\"", ""},
		{"trap", "[[record]]\ntext = \"t\"\n[record.want]\nverdict = \"park\"\nreason = \"unreachable\"", ""},
		{"trap that was not wanted", "[[record]]\ntext = \"t\"\n[record.want]\nverdict = \"pass\"\n", "unreachable"},
		{"lie", "[[record]]\ntext = \"l\"\n[record.want]\nverdict = \"park\"\nreason = \"outside the memory\"", ""},
		{"retry", "[[record]]\ntext = \"a\"\n[record.want]\nverdict = \"retry\"\n[[record]]\ntext = \"r\"\n[record.want]\nverdict = \"retry\"\nreason = \"not yet\"", ""},
		{"fuel enough", "[[record]]\ntext = \"s\"\n[record.want]\nverdict = \"pass\"\nfuel = 201", ""},
		{"fuel lacks", "[[record]]\ntext = \"s\"\n[record.want]\nverdict = \"pass\"\nfuel = 200", "fuel: 201 units, want at most 200\n"},
		{"state of three batches", "[[record]]\ntext = \"a\"\n[[record]]\ntext = \"a\"\nbatch = true\n[[record]]\nbatch = true\ntext = \"c\"\n[record.want]\n" +
			"verdict = \"drop\"\nreason = \"three\"", ""},
		{"another stream has a state of its own", "[[record]]\ntext = \"a\"\n[[record]]\nentry = \"b/c/d\"\ntext = \"c\"\n[record.want]\n" +
			"verdict = \"drop\"\nreason = \"one\"", ""},
		{"retry leaves the state", "[[record]]\ntext = \"r\"\n[[record]]\nbatch = true\ntext = \"c\"\n[record.want]\nverdict = \"drop\"\nreason = \"one\"", ""},
		{"flush at a tick", "[[record]]\ntext = \"a\"\n[[record]]\nflush = \"tick\"\n[record.want]\nverdict = \"emit\"\nfuel = 1\n[[record.want.output]]\n" +
			"labels = { speed = \"1450\" }\ntopic = \"x\"\n[[record]]\ntext = \"c\"\n[record.want]\nverdict = \"drop\"\nreason = \"two\"", ""},
		{"flush at the end", "[[record]]\n[[record]]\nflush = \"shutdown\"\n[record.want]\nverdict = \"pass\"", ""},
		{"flush differs", "[[record]]\n[[record]]\nflush = \"shutdown\"\n[record.want]\nverdict = \"emit\"", "a.toml:4: record 2: verdict: pass, want emit\n"},
		{"any output", "[[record]]\ntext = \"e\"\n[record.want]\nverdict = \"emit\"", ""},
		{"output", emitted + "labels = { rpm = \"1\", speed = \"1450\", a = \"b\" }\ntopic = \"x\"", ""},
		{"output differs", emitted + "labels = { speed = \"1\", c = \"d\" }\ncontent_type = \"y\"\ntime = 1\ntext = \"z\"", `a.toml:4: record 1: output 1: label "a": "b", want no such label
a.toml:4: record 1: output 1: label "c": no such label, want "d"
a.toml:4: record 1: output 1: label "rpm": "1", want no such label
a.toml:4: record 1: output 1: label "speed": "1450", want "1"
a.toml:4: record 1: output 1: topic: "x", want ""
a.toml:4: record 1: output 1: content_type: "", want "y"
a.toml:4: record 1: output 1: time: 1700000000000000, want 1
a.toml:4: record 1: output 1: payload: "e", want "z"
`},
		{"number of outputs", emitted + "labels = { rpm = \"1\", speed = \"1450\", a = \"b\" }\ntopic = \"x\"\n[[record.want.output]]", "outputs: 1, want 2\n"},
		{"two outputs", "[[record]]\ntext = \"2\"\n[record.want]\nverdict = \"emit\"\n[[record.want.output]]\nlabels = { speed = \"1450\" }\ntopic = \"x\"\n" +
			"[[record.want.output]]\nbase64 = \"AAE=\"\ncontent_type = \"b\"\ntime = 5", ""},
	}
	b := newBench(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, r := b.run(t, tt.text)
			if got := r.String(); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

// What Update writes is what came out: a second run finds no difference, and what it did not touch is as it was.
func TestUpdate(t *testing.T) {
	before := "# of the file\n[[record]] # first\ntext = \"2\"\n\n# of the second\n[[record]]\ntext = \"d\"\n[record.want]\n# kept, for it is right\nverdict = \"drop\"\n\n" +
		"# of the third\n[[record]]\ntext = \"p\"\nlabels = { a = \"b\" }\n[record.want]\nverdict = \"pass\"\n[[record.want.output]]\ntopic = \"y\"\n\n" +
		"# of the fourth\n[[record]]\ntext = \"t\"\n[[record]]\ntext = \"e\"\nlabels = { a = \"b\" }\n[[record]]\ntext = \"x\""
	want := `# of the file
[[record]] # first
text = "2"
[record.want]
verdict = "emit"
fuel = 10
[[record.want.output]]
labels = { speed = "1450" }
topic = "x"
[[record.want.output]]
time = 5
content_type = "b"
base64 = "AAE="

# of the second
[[record]]
text = "d"
[record.want]
# kept, for it is right
verdict = "drop"

# of the third
[[record]]
text = "p"
labels = { a = "b" }
[record.want]
verdict = "park"
reason = 'bad "speed"'
fuel = 10

# of the fourth
[[record]]
text = "t"
[record.want]
verdict = "park"
reason = "sluice_process: wasm error: unreachable"
[[record]]
text = "e"
labels = { a = "b" }
[record.want]
verdict = "emit"
fuel = 10
[[record.want.output]]
labels = { a = "b", speed = "1450" }
topic = "x"
[[record]]
text = "x"
[record.want]
verdict = "pass"
fuel = 10
`
	b := newBench(t)
	f, r := b.run(t, before)
	got, changed, err := f.Update(r)
	if err != nil || !changed || got != want {
		t.Fatalf("%v, got:\n%s\nwant:\n%s", err, got, want)
	}
	f, again := b.run(t, got)
	if _, changed, err = f.Update(again); len(again.Diffs) > 0 || changed || err != nil {
		t.Errorf("%v, changed %t, %v", again, changed, err)
	}
	f, r = b.run(t, "[[record]]\ntext = \"d\"\nwant = { verdict = \"pass\" }")
	if _, _, err := f.Update(r); err == nil || !strings.Contains(err.Error(), "a.toml:3: record 1: want is not written as a table") {
		t.Errorf("an inline want: %v", err)
	}
}

func TestProblems(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "a.toml: record: 0 of them, want 1..10000"},
		{"syntax", "[[record]]\ntext = \"", "a.toml:2"},
		{"unknown key", "[[record]]\ntxt = \"\"", "a.toml:2: record[0].txt: unknown key, did you mean text?"},
		{"unknown key of a want", "[[record]]\n[record.want]\nverdict = \"pass\"\nunits = 1", "a.toml:4: record[0].want.units: unknown key"},
		{"unknown table", "[[records]]\n", "a.toml:1: records: unknown key"},
		{"verdict", "[[record]]\n[[record]]\n[record.want]\nverdict = \"passed\"", "a.toml:4: record[1].want.verdict: \"passed\", want pass, emit"},
		{"no verdict", "[[record]]\n[record.want]\nfuel = 1", "a.toml:2: record[0].want.verdict: \"\", want pass, emit"},
		{"reason of a pass", "[[record]]\n[record.want]\nverdict = \"pass\"\nreason = \"x\"", "a.toml:4: record[0].want.reason: pass has none"},
		{"entry", "[[record]]\nentry = \"vib\"", "a.toml:2: record[0].entry: \"vib\", want bucket/entry"},
		{"flag", "[[record]]\nflags = [\"early\"]", "a.toml:2: record[0].flags[0]: \"early\", want late"},
		{"label that is no text", "[[record]]\nlabels = { rpm = 5 }", "a.toml:2: record[0].labels.rpm: 5, want text in quotes"},
		{"flush", "[[record]]\n[[record]]\nflush = \"tock\"", "a.toml:3: record[1].flush: \"tock\", want tick or shutdown"},
		{"flush with a payload", "[[record]]\n[[record]]\nflush = \"tick\"\ntext = \"\"", "a.toml:3: record[1].flush: it is no record"},
		{"flush before a record", "[[record]]\nflush = \"tick\"", "a.toml:2: record[0].flush: no record of test/entry is before it"},
		{"two payloads", "[[record]]\ntext = \"\"\nf32 = [1.0]", "a.toml:2: record[0].text: more than one"},
		{"base64", "[[record]]\nbase64 = \"?\"", "a.toml:1: record[0]: base64: illegal"},
		{"number too large", "[[record]]\ni16 = [40000]", "a.toml:2: record[0].i16[0]: 40000 is out of range"},
		{"no such file", "[[record]]\nfile = \"none\"", "a.toml:1: record[0]: file: open none: no such file"},
		{"file elsewhere", "[[record]]\nfile = \"../none\"", "a.toml:1: record[0]: file: \"../none\", want a name beside"},
		{"time", "[[record]]\ntime = 5\n[[record]]\ntime = 5", "a.toml:4: record[1].time: 5, the record before it has 5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse("a.toml", tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

func TestSizes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.toml")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, text, want string }{
		{"file of records", strings.Repeat("#", MaxFile+1), "more than 16777216 bytes"},
		{"records", strings.Repeat("[[record]]\n", MaxRecords+1), "10001 of them"},
		{"named file", "[[record]]\nfile = \"large\"", "large: more than 16777216 bytes"},
		{"payloads together", strings.Repeat("[[record]]\nfile = \"part\"\n", maxPayloads/MaxFile+1), "more than 67108864 bytes together"},
	} {
		write("large", strings.Repeat("x", MaxFile+1))
		write("part", strings.Repeat("x", MaxFile))
		write("a.toml", tt.text)
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %.200v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestPayloads(t *testing.T) {
	f, err := Parse("a.toml", "[[record]]\ntext = \"a${b}\\n\"\n[[record]]\nbase64 = \"AP8=\"\n[[record]]\nf32 = [1, -0.5]\n[[record]]\ni16 = [1, -2]\n[[record]]\n")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"a${b}\n", "\x00\xff", "\x00\x00\x80\x3f\x00\x00\x00\xbf", "\x01\x00\xfe\xff", ""} {
		if got := string(f.Records[i].record().Payload); got != want {
			t.Errorf("payload %d: %q, want %q", i, got, want)
		}
	}
}

// What Append writes, Load reads.
func TestAppend(t *testing.T) {
	f, err := Parse("a.toml", "[[record]]\nentry = \"b/c/d\"\ntime = -5\nlabels = { \"a b\" = \"\\u007f\\\"\", c = \"é\\u0001\" }\ncontent_type = \"x\"\nflags = [\"late\", \"shadow\"]\n"+
		"text = \"line\\n\\ttab \\u2028\"\n[[record]]\nentry = \"b/c/d\"\nbase64 = \"AAE=\"\n")
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	for _, r := range f.Records {
		rec := r.record()
		if text, err = Append(text, r.Entry, &rec); err != nil {
			t.Fatal(err)
		}
	}
	again, err := Parse("b.toml", string(text))
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	for i, r := range f.Records {
		var a, b []byte
		one, two := r.record(), again.Records[i].record()
		a, _ = Append(nil, r.Entry, &one)
		b, _ = Append(nil, again.Records[i].Entry, &two)
		if string(a) != string(b) {
			t.Errorf("got %s, want %s", b, a)
		}
	}
	one := f.Records[0].record()
	one.Labels[0].Value = []byte{0xff}
	if _, err := Append(nil, "b/c", &one); err == nil || !strings.Contains(err.Error(), "is not UTF-8") {
		t.Errorf("a label of bytes: %v", err)
	}
}

// FuzzParse: no text is more than an error, and what is read as a record is written as one that reads the same.
func FuzzParse(f *testing.F) {
	f.Add("[config]\na = 1\n[[record]]\nentry = \"a/b\"\nlabels = { \"a b\" = '\"' }\nf32 = [1.5]\nflags = [\"late\"]\n[record.want]\nverdict = \"emit\"\n[[record.want.output]]\ntime = 5\n")
	f.Add("[[record]]\ntext = \"\\u007f'\\\\\"\n[[record]]\nflush = \"tick\"\n[record.want]\nverdict = \"pass\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4<<10 {
			return
		}
		file, err := Parse("a.toml", text)
		if err != nil {
			return
		}
		for _, b := range file.Batches() {
			for i := range b.Records {
				once, err := Append(nil, b.Stream, &b.Records[i])
				if err != nil {
					t.Fatal(err)
				}
				again, err := Parse("b.toml", string(once))
				if err != nil {
					t.Fatalf("%v:\n%s", err, once)
				}
				twice, err := Append(nil, again.Records[0].Entry, &again.Batches()[0].Records[0])
				if err != nil || string(twice) != string(once) {
					t.Fatalf("%v, got %s, want %s", err, twice, once)
				}
			}
		}
	})
}

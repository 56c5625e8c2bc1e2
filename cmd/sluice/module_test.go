package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/runtime/host"
)

// workplace is a directory with files, where commands are run.
type workplace struct {
	t   *testing.T
	dir string
}

func newWorkplace(t *testing.T, files map[string]string) *workplace {
	s := &workplace{t, t.TempDir()}
	for name, text := range files {
		path := s.path(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(s.dir)
	return s
}

func (s *workplace) path(name string) string { return filepath.Join(s.dir, name) }

func (s *workplace) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// run runs a command as a shell would; arguments have no spaces in them.
func (s *workplace) run(command string) (code int, out, errs string) {
	var stdout, stderr bytes.Buffer
	code = run(s.t.Context(), strings.Fields(command), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

const (
	wantsPass = "[[record]]\nentry = \"a/b\"\nlabels = { rpm = \"1\" }\ntext = \"x\"\n[record.want]\nverdict = \"pass\"\n"
	wantsDrop = "[[record]]\n[record.want]\nverdict = \"drop\"\nreason = \"no\"\n"
)

func modules() map[string]string {
	return map[string]string{
		"pass.wasm": string(guestOf(pass)), "drop.wasm": string(guestOf(drop)), "testdata/a.toml": wantsPass, "other/b.toml": wantsDrop,
		"bad.toml": "[[record]]\ntxt = \"\"\n", "empty/none": "", "cut.wasm": string(guestOf(pass)[:60]), "conf.toml": "a = 1\n",
		"huge.wasm": strings.Repeat("x", 20<<20),
	}
}

func TestModuleCommands(t *testing.T) {
	tests := []struct {
		command  string
		code     int
		out, err string
	}{
		{"module test pass.wasm", exitOK, "testdata/a.toml: 1 records, 0 differences, 1 units a record, 1 at most", ""},
		{"module test drop.wasm", exitDifferences, "testdata/a.toml:5: record 1: verdict: drop (no), want pass", ""},
		{"module test drop.wasm other", exitOK, "other/b.toml: 1 records, 0 differences", ""},
		{"module test --json drop.wasm testdata/a.toml", exitDifferences, `"want": "pass"`, ""},
		{"module test", exitUsage, "", "want a module's file"},
		{"module test pass.wasm empty", exitUsage, "", "empty: no *.toml in it"},
		{"module test pass.wasm none.toml", exitRuntime, "", "none.toml: no such file"},
		{"module test pass.wasm bad.toml", exitConfig, "", "bad.toml:2: record[0].txt: unknown key"},
		{"module test none.wasm", exitRuntime, "", "module none: path: stat none.wasm"},
		{"module test cut.wasm", exitRuntime, "", "module cut: "},
		{"module test huge.wasm", exitRuntime, "", "huge.wasm is not a file of at most 16777216 bytes"},
		{"module test pass.wasm --config a", exitUsage, "", "want KEY=VALUE"},
		{"module test pass.wasm --config-file none", exitRuntime, "", "config-file: open none"},
		{"module test pass.wasm --config-file conf.toml --config a=2", exitOK, "0 differences", ""},
		{"module test pass.wasm --budget 5", exitRuntime, "", "budget_units: 5, want"},
		{"module inspect pass.wasm", exitOK, "sees       labels: none; payload: none", ""},
		{"module inspect pass.wasm", exitOK, "cost       testdata/a.toml: 1 records, 1 units a record", ""},
		{"module inspect --json pass.wasm other", exitOK, `"File": "other/b.toml"`, ""},
		{"module inspect", exitUsage, "", "want a module's file"},
		{"module bench pass.wasm --against drop.wasm --for 1ms", exitOK, "drop.wasm on testdata/a.toml", ""},
		{"module bench pass.wasm --against none.wasm --for 1ms", exitRuntime, "", "none.wasm"},
		{"module trace drop.wasm testdata/a.toml", exitOK, "DROP, reason 0: no", ""},
		{"module trace drop.wasm testdata/a.toml --record 2", exitUsage, "", "--record 2, want 1..1"},
		{"module trace drop.wasm", exitUsage, "", "want a module's file and a file of records"},
		{"module keygen", exitUsage, "", "want --into"},
		{"module sign --key none.key pass.wasm", exitRuntime, "", "key: open none.key"},
		{"module sign --key conf.toml pass.wasm", exitRuntime, "", "key conf.toml: malformed"},
		{"module sign pass.wasm", exitUsage, "", "want --key and a file"},
		{"module record --entry e --into f", exitUsage, "", "want --config or --url"},
		{"module record --url http://127.0.0.1:1 --entry e --into f", exitUsage, "", "--url wants --bucket"},
		{"module record --url http://127.0.0.1:1 --bucket b --entry e --into f --limit 0", exitUsage, "", "--limit 0, want 1..10000"},
		{"module push --url http://127.0.0.1:1 pass.wasm reduct://b/e?name=x", exitUsage, "", "want reduct://BUCKET/ENTRY"},
		{"module push --url http://127.0.0.1:1 cut.wasm reduct://b/e", exitRuntime, "", "module cut: "},
	}
	s := newWorkplace(t, modules())
	for _, tt := range tests {
		t.Run(tt.command, func(t *testing.T) {
			out := strings.ReplaceAll(tt.out, `"File"`, `"file"`)
			code, stdout, stderr := s.run(tt.command)
			if code != tt.code || !strings.Contains(stdout, out) || !strings.Contains(stderr, tt.err) {
				t.Errorf("got %d, out %q, err %q", code, stdout, stderr)
			}
		})
	}
}

// --update makes the next test pass, and changes nothing then.
func TestModuleTestUpdate(t *testing.T) {
	s := newWorkplace(t, modules())
	if code, out, errs := s.run("module test drop.wasm --update"); code != exitOK || !strings.Contains(out, "testdata/a.toml: written") {
		t.Fatalf("got %d, out %q, err %q", code, out, errs)
	}
	before := s.read("testdata/a.toml")
	if code, out, errs := s.run("module test drop.wasm --update"); code != exitOK || strings.Contains(out, "written") || s.read("testdata/a.toml") != before {
		t.Errorf("again: got %d, out %q, err %q, %s", code, out, errs, s.read("testdata/a.toml"))
	}
	if !strings.Contains(before, "verdict = \"drop\"\nreason = \"no\"\nfuel = 10\n") {
		t.Errorf("got %s", before)
	}
}

// A module that was signed is trusted by its key, and by no other; altered it is not.
func TestModuleSign(t *testing.T) {
	s := newWorkplace(t, modules())
	for _, c := range []string{"module keygen --into site", "module keygen --into other", "module sign --key site.key pass.wasm drop.wasm"} {
		if code, _, errs := s.run(c); code != exitOK {
			t.Fatalf("%s: %d %s", c, code, errs)
		}
	}
	if info, err := os.Stat("site.key"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("site.key: %v %v, want mode 0600", info.Mode(), err)
	}
	key := s.read("site.key")
	if code, _, errs := s.run("module keygen --into site"); code != exitRuntime || !strings.Contains(errs, "file exists") || s.read("site.key") != key {
		t.Errorf("a key was written over: %d %s", code, errs)
	}
	if err := os.WriteFile("drop.wasm", guestOf(trap), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		command  string
		code     int
		out, err string
	}{
		{"module inspect pass.wasm", exitOK, "not checked: give --trust", ""},
		{"module inspect pass.wasm --trust site.pub", exitOK, "which site.pub trusts", ""},
		{"module inspect pass.wasm --trust other.pub", exitRuntime, "", "pass.wasm: signed by a key that is not trusted"},
		{"module inspect drop.wasm --trust site.pub", exitRuntime, "", "drop.wasm: the file is not the one that was signed"},
		{"module inspect cut.wasm --trust site.pub", exitRuntime, "", "cut.wasm: not signed"},
	} {
		if code, out, errs := s.run(tt.command); code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.err) {
			t.Errorf("%s: got %d, out %q, err %q", tt.command, code, out, errs)
		}
	}
}

func TestSettings(t *testing.T) {
	var s settings
	for _, text := range []string{"min=1400.0", "name=speed", `quoted="a b"`, "list=[1, 2]", "rename.rpm=speed", "rename.a=b", "on=true", "text=it's \"so\""} {
		if err := s.Set(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	want := settings{"min": 1400.0, "name": "speed", "quoted": "a b", "list": []any{int64(1), int64(2)}, "rename": map[string]any{"rpm": "speed", "a": "b"},
		"on": true, "text": "it's \"so\""}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got %#v, want %#v", s, want)
	}
	if err := s.Set("a b=1"); err == nil {
		t.Error("a key with a space was taken")
	}
}

// bench counts what it says: a module that passes without looking gets the head of a record, and answers without bytes.
func TestModuleBenchCounts(t *testing.T) {
	s := newWorkplace(t, modules())
	code, out, errs := s.run("module bench pass.wasm --json --for 1ms")
	var got []measured
	if err := json.Unmarshal([]byte(out), &got); code != exitOK || err != nil || len(got) != 1 {
		t.Fatalf("%d, %v, out %s, err %s", code, err, out, errs)
	}
	m := got[0]
	if m.Units != 1 || m.In != 33 || m.Out != 0 || m.NS <= 0 || m.Memory != 2<<16 || m.Records != 1 || m.Allocs != 0 {
		t.Errorf("got %+v, want 1 unit, 33 bytes in, none out, no allocations", m)
	}
}

var _ host.Fetcher = (*registry)(nil)

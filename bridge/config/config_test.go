package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// site is a file's struct as a program would have it.
type site struct {
	DataDir string `toml:"data_dir"`
	Quota   bridge.Size
	Ledger  struct {
		Quota bridge.Size `toml:"quota"`
	} `toml:"ledger"`
	Inputs struct {
		Replication map[string]input `toml:"replication"`
	} `toml:"inputs"`
	Modules map[string]module `toml:"modules"`
	Names   []string          `toml:"names"`

	fault error
}

func (s *site) Validate() error { return s.fault }

type input struct {
	Listen string           `toml:"listen"`
	Token  string           `toml:"token"`
	Window int              `toml:"window"`
	Share  float64          `toml:"share"`
	Open   bool             `toml:"open"`
	Port   uint16           `toml:"port"`
	Source *source          `toml:"source"`
	When   any              `toml:"when"`
	Order  *bridge.Ordering `toml:"order"`
}

type source struct {
	URL      string          `toml:"url"`
	Password string          `toml:"password"`
	File     string          `toml:"password_file"` // read by the package itself
	Interval bridge.Duration `toml:"interval"`
}

type module struct {
	Path   string         `toml:"path"`
	Config map[string]any `toml:"config"`
}

func defaultInput() input { return input{Listen: "127.0.0.1:8484", Window: 8} }

func defaultSource() source { return source{Interval: bridge.Duration(time.Minute)} }

func (c input) Validate() error {
	var errs []error
	if c.Window < 1 || c.Window > 1024 {
		errs = append(errs, fmt.Errorf("window: %d, want 1..1024", c.Window))
	}
	if c.Source != nil && c.Source.URL == "" {
		errs = append(errs, errors.New("source.url: empty, want a URL"))
	}
	return errors.Join(errs...)
}

func options() Options {
	env := map[string]string{"NAME": "press", "EMPTY": "", "NESTED": "${NAME}"}
	return Options{
		Defaults: []any{defaultInput, defaultSource},
		Later:    []string{"inputs.kafka", "inputs.replication.*.when", "modules.*.script"},
		Getenv:   func(k string) (string, bool) { v, ok := env[k]; return v, ok },
	}
}

func TestDecode(t *testing.T) {
	text := `data_dir = "data/${NAME}"
names = ["${NAME}-1", "b"]
[ledger]
quota = "74.5GiB"
[inputs.replication.edge]
token = "${TOKEN:-}"
share = 1
open = true
port = 65535
order = "pipelined"
source = { url = "http://x", interval = "5s" }
[inputs.replication."other one"]
listen = ":1"
source.url = "http://${EMPTY:-y}/"
[modules.stable]
path = "$${NAME}"
config = { label = "${NAME}", deep = [{ a = "${NESTED}" }, 1, 2.5, true] }
`
	var got site
	got.Ledger.Quota = 5
	if err := Decode("c.toml", text, &got, options()); err != nil {
		t.Fatal(err)
	}
	want := site{DataDir: "data/press", Names: []string{"press-1", "b"}}
	want.Ledger.Quota = bridge.Size(74.5 * (1 << 30))
	edge, other := defaultInput(), defaultInput()
	edge.Share, edge.Open, edge.Port = 1, true, 65535
	pipelined := bridge.Pipelined
	edge.Order = &pipelined
	edge.Source = &source{URL: "http://x", Interval: bridge.Duration(5 * time.Second)}
	other.Listen = ":1"
	other.Source = &source{URL: "http://y/", Interval: bridge.Duration(time.Minute)}
	want.Inputs.Replication = map[string]input{"edge": edge, "other one": other}
	deep := []any{map[string]any{"a": "${NAME}"}, int64(1), 2.5, true}
	want.Modules = map[string]module{"stable": {Path: "${NAME}", Config: map[string]any{"label": "press", "deep": deep}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestJSON: members keep the order of the file, floats stay floats, and text is JSON already.
func TestJSON(t *testing.T) {
	tests := []struct{ text, want, problem string }{
		{`j = { "&b" = { "$gt" = 1.0 }, "$limit" = 2, "&a" = { "$in" = ["x", true, { c = 1e30, a = -0.5 }] } }`,
			`{"&b":{"$gt":1.0},"$limit":2,"&a":{"$in":["x",true,{"c":1e+30,"a":-0.5}]}}`, ""},
		{"[j]\n\"&z\" = 1\n[j.\"&a\"]\nb = \"<${NAME}>\"", `{"&z":1,"&a":{"b":"<press>"}}`, ""},
		{`j.b.c = 1` + "\n" + `j.a = []`, `{"b":{"c":1},"a":[]}`, ""}, {"[[j.a]]\nz = 1\ny = 2", `{"a":[{"z":1,"y":2}]}`, ""},
		{`j = '{ "b": "${NAME}", "a": 1 }'`, `{"b":"press","a":1}`, ""}, {`j = ""`, "", ""}, {`j = "{"`, "", "is not JSON: "},
		{`j = { a = [1, inf] }`, "", "c.toml:1: j.a[1]: +Inf, which JSON does not have"}, {`j = 1`, "", "c.toml:1: j: 1, want a table, or JSON in quotes"},
		{`j = { a = 2026-01-01 }`, "", "which JSON does not have"},
	}
	for _, tt := range tests {
		var got struct {
			J bridge.JSON `toml:"j"`
		}
		err := Decode("c.toml", tt.text, &got, options())
		if tt.problem == "" && (err != nil || string(got.J) != tt.want) || tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem)) {
			t.Errorf("%s: got %s, %v, want %s %s", tt.text, got.J, err, tt.want, tt.problem)
		}
	}
}

func TestVerbatim(t *testing.T) {
	o, got := options(), site{}
	o.Verbatim = true
	const want = "a ${NONE} $${ ${"
	if err := Decode("c.toml", `data_dir = "`+want+`"`, &got, o); err != nil || got.DataDir != want {
		t.Errorf("%q, %v, want %q", got.DataDir, err, want)
	}
}

func TestProblems(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"syntax", "a = 1\nb = = 2\n", []string{"c.toml:2: b: "}},
		{"twice", "data_dir = \"a\"\ndata_dir = \"b\"\n", []string{"c.toml:2: data_dir: "}},
		{"unknown near", "\ndata_dri = \"x\"\n", []string{"c.toml:2: data_dri: unknown key, did you mean data_dir?"}},
		{"case", "Data_Dir = \"x\"\n", []string{"c.toml:1: Data_Dir: unknown key, did you mean data_dir?"}},
		{"untagged", "Quota = \"1B\"\n", []string{"c.toml:1: Quota: unknown key; here there may be data_dir, ledger, inputs, modules, names"}},
		{"unknown far", "[ledger]\nzzzzz = 1\n", []string{"c.toml:2: ledger.zzzzz: unknown key; in ledger there may be quota"}},
		{"unknown table", "[ledgers]\nquota = \"1B\"\n", []string{"c.toml:1: ledgers: unknown key, did you mean ledger?"}},
		{"secret file near", "[inputs.replication.a]\ntokenfile = \"x\"\n",
			[]string{"c.toml:2: inputs.replication.a.tokenfile: unknown key, did you mean token_file?"}},
		{"unit", "[ledger]\nquota = \"8Mib\"\n", []string{`c.toml:2: ledger.quota: size "8Mib", want a number with a unit such as 8MiB`}},
		{"no unit", "[ledger]\nquota = 5\n", []string{`c.toml:2: ledger.quota: size "5", want a number with a unit such as 8MiB`}},
		{"bare zero", "[inputs.replication.a.source]\nurl = \"x\"\ninterval = 0\n",
			[]string{"c.toml:3: inputs.replication.a.source.interval: 0, want text in quotes"}},
		{"types", "names = \"x\"\nledger = 3\n[inputs.replication.a]\nlisten = 1\nwindow = \"8\"\nport = 70000\nopen = 1\nshare = nan\n", []string{
			"c.toml:1: names: text, want a list", "c.toml:2: ledger: 3, want a table",
			"c.toml:4: inputs.replication.a.listen: 1, want text in quotes", "c.toml:5: inputs.replication.a.window: text, want a whole number",
			"c.toml:6: inputs.replication.a.port: 70000 is out of range", "c.toml:7: inputs.replication.a.open: 1, want true or false",
			"c.toml:8: inputs.replication.a.share: NaN, want a number"}},
		{"list items", "names = [\n \"a\",\n 2,\n]\n", []string{"c.toml:3: names[1]: 2, want text in quotes"}},
		{"validation", "[inputs.replication.a]\nwindow = 0\n\n[inputs.replication.a.source]\n", []string{
			"c.toml:2: inputs.replication.a.window: 0, want 1..1024", "c.toml:4: inputs.replication.a.source.url: empty, want a URL"}},
		{"one complaint a key", "[inputs.replication.a]\nwindow = \"0\"\n", []string{"c.toml:2: inputs.replication.a.window: text, want a whole number"}},
		{"later", "[inputs.kafka.raw]\ngroup = \"x\"\n[inputs.replication.a]\nwhen = {}\n[modules.m]\nscript = \"a.js\"\n", []string{
			"c.toml:1: inputs.kafka: not available in this version", "c.toml:4: inputs.replication.a.when: not available in this version",
			"c.toml:6: modules.m.script: not available in this version"}},
		{"variables", "data_dir = \"${NONE}\"\nnames = [\"${a b}\", \"${X\"]\n[modules.m.config]\nx = \"${NONE}\"\n", []string{
			"c.toml:1: data_dir: environment variable NONE is not set and has no default (${NONE:-default})",
			"c.toml:2: names[0]: ${ without a variable's name and }; a literal ${ is written $${",
			"c.toml:2: names[1]: ${ without a variable's name and }; a literal ${ is written $${",
			"c.toml:4: modules.m.config.x: environment variable NONE is not set and has no default (${NONE:-default})"}},
		{"byte order mark", "\ufeff\nnope = 1\n", []string{"c.toml:2: nope: unknown key; here there may be"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Decode("c.toml", tt.text, new(site), options())
			var got Problems
			if !errors.As(err, &got) || len(got) != len(tt.want) {
				t.Fatalf("got %d problems:\n%v\nwant %d:\n%s", len(got), err, len(tt.want), strings.Join(tt.want, "\n"))
			}
			for i := range got {
				if !strings.HasPrefix(got[i].Error(), tt.want[i]) {
					t.Errorf("got  %s\nwant %s", got[i], tt.want[i])
				}
			}
		})
	}
}

func TestSyntaxSaysWhat(t *testing.T) {
	err := Decode("c.toml", "x = \"\\q\"\n", new(site), options())
	if got := fmt.Sprint(err); !strings.Contains(got, "escape") || !strings.HasPrefix(got, "c.toml:1:") {
		t.Errorf("got %q, want c.toml:1 and the word escape", got)
	}
}

func TestRootIsValidatedToo(t *testing.T) {
	s := site{fault: errors.Join(errors.New("inputs.replication.b: named twice"), errors.New("nothing fits"))}
	err := Decode("c.toml", "[inputs.replication.a]\n[inputs.replication.b]\n", &s, options())
	want := "c.toml: nothing fits\nc.toml:2: inputs.replication.b: named twice"
	if fmt.Sprint(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "token")
	if err := os.WriteFile(secret, []byte("s3cret\nline\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, text, token, want string }{
		{"read", "token_file = '" + secret + "'", "s3cret\nline", ""},
		{"field of its own", "token = \"s3cret\\nline\"\nsource = { url = 'x', password_file = '" + secret + "' }", "s3cret\nline", ""},
		{"variable in path", "token_file = '" + dir + "/${T:-token}'", "s3cret\nline", ""},
		{"both", "token = 'x'\ntoken_file = '" + secret + "'", "", "c.toml:3: inputs.replication.a.token_file: token is given too, want only one of them"},
		{"missing", "token_file = '" + secret + "x'", "", "c.toml:2: inputs.replication.a.token_file: open " + secret + "x: no such file or directory"},
		{"empty", "token_file = ''", "", "c.toml:2: inputs.replication.a.token_file: empty, want a file's path"},
		{"number", "token_file = 1", "", "c.toml:2: inputs.replication.a.token_file: 1, want a file's path in quotes"},
		{"not a secret", "listen_file = 'x'", "", "c.toml:2: inputs.replication.a.listen_file: unknown key, did you mean token_file?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s site
			err := Decode("c.toml", "[inputs.replication.a]\n"+tt.text+"\n", &s, options())
			if got := errText(err); got != tt.want {
				t.Fatalf("got  %s\nwant %s", got, tt.want)
			}
			in := s.Inputs.Replication["a"]
			if err == nil && in.Token != tt.token {
				t.Errorf("token %q, want %q", in.Token, tt.token)
			}
			if in.Source != nil && (in.Source.Password != "" || in.Source.File != secret) {
				t.Errorf("source %+v, want the file and no password", *in.Source)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestLoadReadsFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := Load(path, new(site), Options{}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("missing file: got %v", err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("#", maxFile+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Load(path, new(site), Options{}); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("huge file: got %v", err)
	}
	t.Setenv("SLUICE_TEST_DIR", "here")
	if err := os.WriteFile(path, []byte(`data_dir = "${SLUICE_TEST_DIR}"`), 0o600); err != nil {
		t.Fatal(err)
	}
	var s site
	if err := Load(path, &s, Options{}); err != nil || s.DataDir != "here" {
		t.Errorf("got %q, %v, want the variable's value", s.DataDir, err)
	}
}

func TestLineOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte("\ufeffa = 1\n[modules.m]\npath = 'x'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, key string
		want      int
	}{{path, "modules.m.path", 3}, {path, "modules.m.sha256", 2}, {path, "remotes", 0}, {path + "x", "a", 0}} {
		if got := LineOf(tt.path, tt.key); got != tt.want {
			t.Errorf("LineOf(%s): got %d, want %d", tt.key, got, tt.want)
		}
	}
}

func TestPlainHidesSecrets(t *testing.T) {
	c := defaultInput()
	c.Token, c.Source = "t", &source{URL: "mqtt://u:pw@host/x", Password: "", Interval: bridge.Duration(time.Second)}
	got := Plain(c)
	want := map[string]any{
		"listen": "127.0.0.1:8484", "token": "***", "window": 8, "share": 0.0, "open": false, "port": uint16(0),
		"source": map[string]any{"url": "mqtt://u:***@host/x", "password": "", "password_file": "", "interval": "1s"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	var s site
	s.Modules = map[string]module{"m": {Config: map[string]any{"api_token": "x", "label": "y"}}}
	inner := Plain(&s)["modules"].(map[string]any)["m"].(map[string]any)["config"]
	if want := map[string]any{"api_token": "***", "label": "y"}; !reflect.DeepEqual(inner, want) {
		t.Errorf("module config: got %v, want %v", inner, want)
	}
}

func TestSchema(t *testing.T) {
	s := Schema(new(site), options(), map[string]string{"inputs.replication.*.window": "How many."})
	dig := func(path ...string) any {
		var v any = s
		for _, p := range path {
			v = v.(map[string]any)[p]
		}
		return v
	}
	in := []string{"properties", "inputs", "properties", "replication", "additionalProperties", "properties"}
	tests := []struct {
		path []string
		want any
	}{
		{[]string{"additionalProperties"}, false},
		{append(in, "window"), map[string]any{"type": "integer", "default": 8, "description": "How many."}},
		{append(in, "when"), nil},
		{append(in, "token_file", "type"), "string"},
		{append(in, "source", "properties", "interval", "default"), "1m0s"},
		{[]string{"properties", "names", "items", "type"}, "string"},
		{[]string{"properties", "ledger", "properties", "quota", "type"}, "string"},
	}
	for _, tt := range tests {
		if got := dig(tt.path...); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%v: got %v, want %v", tt.path, got, tt.want)
		}
	}
}

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"qos", "qos", 0}, {"qso", "qos", 1}, {"Listen", "listen", 0}, {"lisen", "listen", 1}, {"token", "tokens", 1}, {"kitten", "sitting", 3}}
	for _, tt := range tests {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

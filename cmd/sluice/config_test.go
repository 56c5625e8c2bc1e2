package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/sluicebridge/sluice/bridge/config"
	"github.com/sluicebridge/sluice/bridge/reduct"
)

var (
	commented = regexp.MustCompile(`(?m)^# (\[|[a-z0-9_]+ = )`)
	examples  = regexp.MustCompile(`(?m)^# .*# example$`)
	pulls     = regexp.MustCompile(`(?s)# \[inputs\.reduct\..*?\n\n`) // an input has to be read by a pipeline
)

func decode(t *testing.T, text string) file {
	t.Helper()
	f := defaultFile()
	if err := config.Decode("config.toml", text, &f, fileOptions()); err != nil {
		t.Fatalf("%v", err)
	}
	return f
}

// TestExampleIsTheManual: the file at the top is what `config example` prints; it decodes; what it shows as a default is one.
func TestExampleIsTheManual(t *testing.T) {
	top, err := os.ReadFile("../../config.toml")
	if err != nil {
		t.Fatal(err)
	}
	if string(top) != example {
		t.Error("config.toml and cmd/sluice/example.toml differ, want the same bytes: cp config.toml cmd/sluice/example.toml")
	}
	f := decode(t, example)
	withDefaults := commented.ReplaceAllString(examples.ReplaceAllString(pulls.ReplaceAllString(example, ""), ""), "$1")
	if withDefaults == example {
		t.Error("nothing was commented out")
	}
	if got := decode(t, withDefaults); !reflect.DeepEqual(got, f) {
		t.Errorf("with the shown defaults: %v", differences("", config.Plain(&f), config.Plain(&got)))
	}
	all := strings.Replace(commented.ReplaceAllString(example, "$1"), `inputs = ["edge"]`, `inputs = ["edge", "press"]`, 1)
	pull := decode(t, all).Inputs.Reduct["press"] // the examples are valid too
	want := reduct.DefaultPull()
	want.URL, want.Token, want.Bucket, want.Entries, want.When = pull.URL, pull.Token, pull.Bucket, []string{}, pull.When
	if !reflect.DeepEqual(pull, want) {
		t.Errorf("inputs.reduct: got %+v, want the defaults %+v", pull, want)
	}
}

// TestExampleShowsEveryKey: in the table it belongs to, with a word about it.
func TestExampleShowsEveryKey(t *testing.T) {
	shown := mentioned(example)
	f := defaultFile()
	paths := schemaPaths("", config.Schema(&f, fileOptions(), nil))
	if len(paths) < 60 {
		t.Fatalf("the schema has %d keys, want all of them", len(paths))
	}
	for _, p := range paths {
		secret, isFile := strings.CutSuffix(p, "_file")
		if !shown[p] && !(isFile && config.IsSecret(secret)) {
			t.Errorf("%s is not mentioned", p)
		}
	}
	about := descriptions(example)
	for _, key := range []string{"data_dir", "admin", "inputs.replication.*.token", "modules.*.budget", "pipelines.*.lane", "remotes.mqtt.*.qos"} {
		if about[key] == "" {
			t.Errorf("%s has no description; there are %v", key, slices.Sorted(maps.Keys(about)))
		}
	}
}

// mentioned lists the keys of the example, commented out or not, with "*" for names.
func mentioned(text string) map[string]bool {
	found := make(map[string]bool)
	table := ""
	for line := range strings.Lines(text) {
		if m := tableLine.FindStringSubmatch(line); m != nil {
			table = mapName.ReplaceAllString(m[1], "$1.*")
			found[table] = true
		} else if m := keyLine.FindStringSubmatch(line); m != nil {
			found[strings.TrimPrefix(table+"."+m[1], ".")] = true
		}
	}
	return found
}

// schemaPaths lists the keys of a schema that hold values.
func schemaPaths(path string, schema map[string]any) (paths []string) {
	for name, below := range schema["properties"].(map[string]any) {
		s := below.(map[string]any)
		here := strings.TrimPrefix(path+"."+name, ".")
		for extra, ok := s["additionalProperties"].(map[string]any); ok && len(extra) > 0; extra, ok = s["additionalProperties"].(map[string]any) {
			s, here = extra, here+".*"
			if s["properties"] == nil {
				break
			}
		}
		if s["properties"] != nil {
			paths = append(paths, schemaPaths(here, s)...)
			continue
		}
		paths = append(paths, strings.TrimSuffix(here, ".*"))
	}
	return paths
}

const small = `
[inputs.replication.edge]
[modules.m]
path = "m.wasm"
[pipelines.p]
inputs = ["edge"]
modules = ["m"]
remote = "far"
[remotes.mqtt.far]
broker = "mqtt://h"
client_id = "c"
topic = "t"
`

// twoInputs has the second one read by the pipeline of small, the first by another.
func twoInputs(a, edge string) string {
	return fmt.Sprintf(`[pipelines.q]
inputs = ["a"]
remote = "far"
[inputs.replication.a]
bucket = %q
[inputs.replication.edge]
bucket = %q
`, a, edge)
}

func TestFileValidate(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"fine", "", "", ""},
		{"list of one", `remote = "far"`, `remotes = ["far"]`, ""},
		{"pipeline called like its input", "[pipelines.p]", "[pipelines.edge]", ""},
		{"both", `remote = "far"`, "remote = \"far\"\nremotes = [\"far\"]",
			"c.toml:8: pipelines.p.remote: remotes is given too, want only one of them"},
		{"no such input", `["edge"]`, `["egde"]`,
			`c.toml:2: inputs.replication.edge: no pipeline reads it` + "\n" + `c.toml:6: pipelines.p.inputs: "egde" does not exist; there is [edge]`},
		{"no such module", `["m"]`, `["m", "n"]`, `c.toml:7: pipelines.p.modules: "n" does not exist; there is [m]`},
		{"no such remote", `"far"`, `"fra"`, `c.toml:8: pipelines.p.remote: "fra" does not exist; there is [far]`},
		{"no remote", `remote = "far"`, ``, `c.toml:5: pipelines.p.remotes: empty, want the name of a remote`},
		{"no input", `inputs = ["edge"]`, `inputs = []`,
			`c.toml:2: inputs.replication.edge: no pipeline reads it` + "\n" + `c.toml:6: pipelines.p.inputs: empty, want the name of an input`},
		{"name twice", "[modules.m]", "[modules.far]\npath = \"x\"\n[modules.m]", `c.toml:3: modules.far: name is taken by remotes.mqtt.far`},
		{"pipeline called like a remote", "[pipelines.p]", "[pipelines.far]", `c.toml:5: pipelines.far: name is taken by remotes.mqtt.far`},
		{"odd name", "[modules.m]", "[modules.\"a b\"]\npath = \"x\"\n[modules.m]",
			`c.toml:3: modules: name "a b", want letters, digits, dots, dashes and underscores, at most 64`},
		{"condition", `remote = "far"`, "remote = \"far\"\nwhen = { \"&a\" = { \"$eq\" = 0 } }\nwhen_error = \"park\"", ""},
		{"condition as text", `remote = "far"`, "remote = \"far\"\nwhen = '{\"$limit\": 1}'", ""},
		{"wrong condition", `remote = "far"`, "remote = \"far\"\nwhen = { \"&a\" = 0 }", `c.toml:9: pipelines.p.when: at &a: "&a" is no operator`},
		{"no JSON", `remote = "far"`, "remote = \"far\"\nwhen = '&a == 0'", `c.toml:9: pipelines.p.when: is not JSON: `},
		{"a list", `remote = "far"`, "remote = \"far\"\nwhen = [1]", `c.toml:9: pipelines.p.when: a list, want a table, or JSON in quotes`},
		{"wrong policy", `remote = "far"`, "remote = \"far\"\nwhen_error = \"pass\"", `c.toml:9: pipelines.p.when_error: "pass", want drop, keep or park`},
		{"a module called when", "[modules.m]", "[modules.when]\npath = \"x\"\n[modules.m]", "c.toml:3: modules.when: name stands for a pipeline's own condition"},
		{"lane", `remote = "far"`, "remote = \"far\"\nlane = \"{lable:x}\"",
			`c.toml:9: pipelines.p.lane: "{lable:x}", want a text such as {entry} or {label:device}`},
		{"ordering", `remote = "far"`, "remote = \"far\"\nordering = \"strikt\"",
			`c.toml:9: pipelines.p.ordering: ordering "strikt", want strict, pipelined or none`},
		{"a package's own", `topic = "t"`, `qos = 3`, "c.toml:9: remotes.mqtt.far.topic: "},
		{"no client_id", "client_id = \"c\"\n", "", ""},
		{"two inputs of any bucket", "[inputs.replication.edge]", "[inputs.replication.a]\n[inputs.replication.edge]",
			"c.toml:2: inputs.replication.a: no pipeline reads it\n" + `c.toml:3: inputs.replication.edge.bucket: "*", but inputs.replication.a has "*": `},
		{"two inputs of one bucket", "[inputs.replication.edge]\n", twoInputs("x", "x"),
			`c.toml:8: inputs.replication.edge.bucket: "x", but inputs.replication.a has "x": `},
		{"one input of any bucket", "[inputs.replication.edge]\n", twoInputs("x", "*"),
			`c.toml:8: inputs.replication.edge.bucket: "*", but inputs.replication.a has "x": `},
		{"an input for each bucket", "[inputs.replication.edge]\n", twoInputs("x", "y"), ""},
		{"a pull-only input", "[inputs.replication.edge]", "[inputs.reduct.edge]\nurl = \"http://h\"\nbucket = \"x\"\nwhen = { \"&a\" = { \"$eq\" = 1 } }", ""},
		{"a pull-only input that nobody reads", "[modules.m]", "[inputs.reduct.a]\nurl = \"http://h\"\nbucket = \"x\"\n[modules.m]",
			`c.toml:2: inputs.replication.edge.bucket: "*", but inputs.reduct.a has "x": entries of one name would be taken for the same stream; ` +
				"want a bucket for each\nc.toml:3: inputs.reduct.a: no pipeline reads it"},
		{"a pull-only input called like another", "[modules.m]", "[inputs.reduct.edge]\nurl = \"http://h\"\nbucket = \"x\"\n[modules.m]",
			"c.toml:3: inputs.reduct.edge: name is taken by inputs.replication.edge"},
		{"a pull-only input with a memory", "[inputs.replication.edge]", "[inputs.reduct.edge]\nurl = \"http://h\"\nbucket = \"x\"\nwhen = '{\"$limit\": 1}'",
			"c.toml:5: inputs.reduct.edge.when: $limit: what it passes"},
		{"later", "[modules.m]", "[inputs.kafka.k]\n[modules.m]", "c.toml:3: inputs.kafka: not available in this version"},
		{"data_dir", "\n[inputs", "data_dir = \"\"\n[inputs", "c.toml:1: data_dir: empty, want a directory"},
		{"nothing", small, "", "c.toml: pipelines: none, want at least one [pipelines.NAME]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := defaultFile()
			err := config.Decode("c.toml", strings.Replace(small, tt.old, tt.new, 1), &f, fileOptions())
			if got := errorText(err); tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestNeedRestart(t *testing.T) {
	tests := []struct {
		name, old, new string
		want           []string
	}{
		{"same", "", "", nil},
		{"module", `"m.wasm"`, `"n.wasm"`, nil},
		{"modules of a pipeline", `modules = ["m"]`, ``, nil},
		{"condition of a pipeline", `remote = "far"`, "remote = \"far\"\nwhen = '{\"$limit\": 1}'\nwhen_error = \"keep\"", nil},
		{"topic", `topic = "t"`, `topic = "u"`, []string{"remotes.mqtt.far.topic"}},
		{"secret", `topic = "t"`, "topic = \"t\"\npassword = \"2\"", []string{"a secret"}},
		{"default", `[modules.m]`, "hold = \"6s\"\n[modules.m]", []string{"inputs.replication.edge.hold"}},
	}
	before := decode(t, strings.Replace(small, `topic = "t"`, "topic = \"t\"\npassword = \"1\"", 1))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(small, tt.old, tt.new, 1)
			if !strings.Contains(text, "password") {
				text += "password = \"1\"\n"
			}
			after := decode(t, text)
			if got := needRestart(&before, &after); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestHashSeesEverythingButSecrets(t *testing.T) {
	f := decode(t, small)
	first := f.hash()
	r := f.Remotes.MQTT["far"]
	r.Password = "x"
	f.Remotes.MQTT["far"] = r
	withPassword := f.hash()
	r.Password = "y"
	f.Remotes.MQTT["far"] = r
	if f.hash() != withPassword {
		t.Error("another password gives another hash")
	}
	f.DataDir = "elsewhere"
	if len(first) != 12 || f.hash() == withPassword {
		t.Errorf("hash %s, want 12 digits that depend on data_dir", first)
	}
}

func writeConfig(t *testing.T, text string, args ...any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, fmt.Appendf(nil, text, args...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPrintIsAConfiguration: what `config print` writes is the same configuration again.
func TestPrintIsAConfiguration(t *testing.T) {
	for _, text := range []string{example, small} {
		f := decode(t, text)
		var printed strings.Builder
		if err := toml.NewEncoder(&printed).Encode(config.Plain(&f)); err != nil {
			t.Fatal(err)
		}
		again := decode(t, printed.String())
		if f.hash() != again.hash() {
			t.Errorf("differs in %v", differences("", config.Plain(&f), config.Plain(&again)))
		}
	}
}

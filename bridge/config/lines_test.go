package config

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestFindLines(t *testing.T) {
	text := `top = 1 # [no.table]
"quoted key" = 'a = 1'
a.b.c = """
x = 1
[y]
"" quote \""" \
"""
lit = '''
z = ""
''''
[ t . "u.v" ] # = ]
k = [ # comment ]
  1,
  "two, ]",
  { in = 3, "x y" = [ 4,
    5 ] },
]
when = { "&s" = { "$eq" = 0 }, s = "}" }
[[list]]
n = 1
[[list]]
n = 2
[list.sub]
m = 1979-05-27 07:32:00
[[list.sub.deep]]
[[list.sub.deep]]
o.p = true
"tab\tq" = 1
`
	want := map[string]int{
		"top": 1, `"quoted key"`: 2, "a": 3, "a.b": 3, "a.b.c": 3, "lit": 8, "t": 11, `t."u.v"`: 11, `t."u.v".k`: 12,
		`t."u.v".k[0]`: 13, `t."u.v".k[1]`: 14, `t."u.v".k[2]`: 15, `t."u.v".k[2].in`: 15, `t."u.v".k[2]."x y"`: 15,
		`t."u.v".k[2]."x y"[0]`: 15, `t."u.v".k[2]."x y"[1]`: 16, `t."u.v".when`: 18, `t."u.v".when."&s"`: 18,
		`t."u.v".when."&s"."$eq"`: 18, `t."u.v".when.s`: 18,
		"list": 19, "list[0]": 19, "list[0].n": 20, "list[1]": 21, "list[1].n": 22, "list[1].sub": 23, "list[1].sub.m": 24,
		"list[1].sub.deep": 25, "list[1].sub.deep[0]": 25, "list[1].sub.deep[1]": 26, "list[1].sub.deep[1].o": 27,
		"list[1].sub.deep[1].o.p": 27, `list[1].sub.deep[1]."tab\tq"`: 28,
	}
	if _, err := toml.Decode(text, new(map[string]any)); err != nil {
		t.Fatal(err)
	}
	got := Lines(text)
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if got[k] != want[k] {
			t.Errorf("%s: line %d, want %d", k, got[k], want[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if want[k] == 0 {
			t.Errorf("%s: found on line %d, want nothing", k, got[k])
		}
	}
}

// FuzzConfig: no text panics or hangs; the scanner sees the very keys that the toml library sees; every problem names a line of the file.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		"data_dir = \"${NAME}\"\n[ledger]\nquota = \"8MiB\"", "[[a]]\nb.\"c\\u0020\" = [{d = '''\n'''}, 1]\n[[a]]\n[a.e]\nf = 07:32:00",
		"[inputs.replication.a]\ntoken_file = \"\"\nsource = { url = \"${X\" }", "x = \"\"\"\n\\\"\"\"\"\"\"\ny = {\n a = 1, # c\n b.c = [ ] }",
		"names = [[], {}]", "\ufeffa=1\r\n\r\nb=-nan", "\xff\xfe", "'' = 1\n\"\" . x = 2", "modules.m.config = { when = { \"$and\" = [ { a = 1 } ] } }",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		newScanner(text).document() // LineOf may meet a file that is no TOML any more
		var s site
		err := Decode("c.toml", text, &s, options())
		problems, ok := err.(Problems)
		if err != nil && (!ok || len(problems) == 0) {
			t.Fatalf("got %T %v, want Problems", err, err)
		}
		md, err := toml.Decode(text, new(map[string]any))
		if err != nil || text != "" && (text[0] == 0xff || text[0] == 0xfe || text[0] == 0xef) {
			return
		}
		scan := newScanner(text)
		scan.document()
		want := make([][]string, 0, len(md.Keys()))
		for _, k := range md.Keys() {
			want = append(want, k)
		}
		if !reflect.DeepEqual(append([][]string{}, scan.keys...), want) {
			t.Fatalf("scanner found %q, toml %q", scan.keys, want)
		}
		for _, p := range problems {
			if p.Line == 0 && p.Key != "" {
				t.Errorf("%v: no line", p)
			}
		}
		Plain(&s)
	})
}

package tests

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/sluicebridge/sluice/"

// Limits of the style; the generated and the tests are free of them.
const (
	maxFileLines = 500
	maxFuncLines = 70
)

// TestLayout holds the tree to its own rules: imports form a star, files and functions stay small, nothing is hidden in globals.
func TestLayout(t *testing.T) {
	for _, fault := range check(t, os.DirFS("..")) {
		t.Error(fault)
	}
}

// TestLayoutNotices breaks one rule at a time.
func TestLayoutNotices(t *testing.T) {
	long := strings.Repeat("\n", maxFuncLines)
	tests := []struct{ name, path, text, want string }{
		{"clean", "bridge/mqtt/a.go", "package mqtt\nimport (\n\"" + module + "bridge\"\n\"" + module + "bridge/mqtt/session\"\n_ \"github.com/x/y\"\n)\n", ""},
		{"sibling", "bridge/mqtt/a.go", "package mqtt\nimport _ \"" + module + "bridge/ledger\"\n", "bridge/mqtt/a.go: imports bridge/ledger"},
		{"sub-package of a sibling", "bridge/admin/a.go", "package admin\nimport _ \"" + module + "bridge/mqtt/session\"\n", "imports bridge/mqtt/session"},
		{"name that begins alike", "bridge/mqtt/a.go", "package mqtt\nimport _ \"" + module + "bridge/mqttx\"\n", "imports bridge/mqttx"},
		{"sibling in a test", "bridge/mqtt/a_test.go", "package mqtt\nimport _ \"" + module + "bridge/bridgetest\"\n", ""},
		{"third party in the centre", "bridge/a.go", "package bridge\nimport _ \"golang.org/x/sys/unix\"\n", "imports golang.org/x/sys/unix"},
		{"third party in the leaf", "runtime/abi/a.go", "package abi\nimport _ \"github.com/tetratelabs/wazero\"\n", "imports github.com/tetratelabs/wazero"},
		{"host", "runtime/host/a.go", "package host\nimport (\n_ \"" + module + "bridge\"\n_ \"" + module + "runtime/abi\"\n)\n", ""},
		{"host and a remote", "runtime/host/a.go", "package host\nimport _ \"" + module + "bridge/mqtt\"\n", "imports bridge/mqtt"},
		{"golden", "runtime/golden/a.go", "package golden\nimport (\n_ \"" + module + "runtime/host\"\n_ \"" + module + "bridge/config\"\n)\n", ""},
		{"golden and a sibling", "runtime/golden/a.go", "package golden\nimport _ \"" + module + "bridge/reduct\"\n", "imports bridge/reduct"},
		{"guest", "wasm-modules/x/a.go", "package main\nimport _ \"" + module + "bridge\"\n", "imports bridge"},
		{"command", "cmd/sluice/a.go", "package main\nimport _ \"" + module + "bridge/mqtt\"\n", ""},
		{"Go at the top", "a.go", "package sluice\n", "a.go: Go file at the top"},
		{"Go in runtime", "runtime/a.go", "package runtime\n", "runtime/a.go: Go file in runtime"},
		{"long file", "bridge/a.go", "package bridge\n" + strings.Repeat("\n", maxFileLines), "bridge/a.go: 501 lines"},
		{"long function", "bridge/a.go", "package bridge\nfunc f() {" + long + "}\n", "bridge/a.go:2: f has 71 lines"},
		{"long function literal", "bridge/a.go", "package bridge\nvar f = [...]func(){func() {" + long + "}}\n", "bridge/a.go:2: func literal has 71 lines"},
		{"init", "bridge/a.go", "package bridge\nfunc init() {}\n", "bridge/a.go:2: func init"},
		{"counter", "bridge/a.go", "package bridge\nvar n int\n", "bridge/a.go:2: variable n"},
		{"mutex", "bridge/a.go", "package bridge\nvar mu = sync.Mutex{}\n", "variable mu"},
		{"pool", "bridge/a.go", "package bridge\nvar p = &sync.Pool{}\n", "variable p"},
		{"made map", "bridge/a.go", "package bridge\nvar m = make(map[string]int)\n", "variable m"},
		{"table written", "bridge/a.go", "package bridge\nvar m = map[string]int{}\nfunc f() { m[\"a\"] = 1 }\n", "bridge/a.go:3: m is written to"},
		{"table shadowed", "bridge/a.go", "package bridge\nvar m = map[string]int{}\nfunc f() { m := 1; m = 2 }\n", ""},
		{"constants of a kind", "bridge/a.go", "package bridge\nimport \"embed\"\nvar _ I = T{}\nvar ErrX = errors.New(\"x\")\nvar t = [...]int{1}\n" +
			"//go:embed x\nvar page []byte\nvar files embed.FS\nvar re = regexp.MustCompile(`x`)\n", ""},
		{"version", "cmd/sluice/main.go", "package main\nvar version = \"unknown\"\n", ""},
		{"machine path", "bridge/a.md", "see /wo" + "rk/main\n", "bridge/a.md:1: path of a machine"},
		{"no such rule", "bridge/a_test.go", "package bridge\n// rule 2 of INVARIANTS.md, rule 99\n", "bridge/a_test.go:2: rule 99 does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree := fstest.MapFS{rulesFile: {Data: []byte("1. **A.**\n2. **B.**\n")}, tt.path: {Data: []byte(tt.text)}}
			got := strings.Join(check(t, tree), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// source is one Go file.
type source struct {
	path string // from the top, with slashes
	dir  string
	test bool // _test.go, or a package or guest that only tests use
	text string
	set  *token.FileSet
	ast  *ast.File
}

func (s *source) at(p token.Pos) string {
	return s.path + ":" + strconv.Itoa(s.set.Position(p).Line) + ": "
}

func (s *source) lines(n ast.Node) int {
	return s.set.Position(n.End()).Line - s.set.Position(n.Pos()).Line + 1
}

// check returns what is wrong with a tree.
func check(t *testing.T, tree fs.FS) []string {
	sources, faults := readTree(t, tree)
	rules := readRules(t, tree)
	for _, s := range sources {
		faults = append(faults, checkRules(s, rules)...)
		if s.test {
			continue
		}
		faults = append(faults, checkImports(s)...)
		faults = append(faults, checkLengths(s)...)
		faults = append(faults, checkGlobals(s, sources)...)
	}
	return faults
}

// readTree parses every Go file and looks for paths of a machine in every text.
func readTree(t *testing.T, tree fs.FS) (sources []*source, faults []string) {
	machine := regexp.MustCompile(`/wo` + `rk/|/ro` + `ot/|\.\./sha` + `red\b`)
	text := []string{".go", ".md", ".toml", ".sh", ".txt", ".js", ".ts", ".c", ".h", ".rs", ".zig", ".yml", ".json", ".html", ""}
	skip := []string{".git", "bin", "data", "dist", "node_modules", "target"}
	err := fs.WalkDir(tree, ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && slices.Contains(skip, e.Name()) {
			return fs.SkipDir
		}
		if !e.Type().IsRegular() || !slices.Contains(text, path.Ext(p)) {
			return nil
		}
		b, err := fs.ReadFile(tree, p)
		if err != nil {
			return err
		}
		if at := machine.FindIndex(b); at != nil {
			faults = append(faults, p+":"+strconv.Itoa(1+strings.Count(string(b[:at[0]]), "\n"))+": path of a machine")
		}
		if path.Ext(p) != ".go" {
			return nil
		}
		s := &source{path: p, dir: path.Dir(p), text: string(b), set: token.NewFileSet()}
		s.test = strings.HasSuffix(p, "_test.go") || strings.HasPrefix(p, "tests/") || strings.HasPrefix(p, "bridge/bridgetest/") || strings.Contains(p, "/testdata/")
		s.ast, err = parser.ParseFile(s.set, p, b, parser.ParseComments)
		sources = append(sources, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources, faults
}

const rulesFile = "bridge/INVARIANTS.md"

func readRules(t *testing.T, tree fs.FS) []int {
	b, err := fs.ReadFile(tree, rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var rules []int
	for _, m := range regexp.MustCompile(`(?m)^(\d+)\. `).FindAllSubmatch(b, -1) {
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, n)
	}
	return rules
}

// citation is "rule 3", "rules 1, 5 and 7 to 14", or "rule 3 of FILE": only those of INVARIANTS.md are looked up.
var citation = regexp.MustCompile(`\b[Rr]ules? (\d+(?:(?:, | and | to )\d+)*)\b(?: of (\w+\.md))?`)

// cited lists the rules that a line names.
func cited(line string) (rules []int) {
	for _, m := range citation.FindAllStringSubmatch(line, -1) {
		if m[2] != "" && m[2] != "INVARIANTS.md" {
			continue
		}
		to := false
		for _, word := range strings.Fields(strings.ReplaceAll(m[1], ",", "")) {
			n, err := strconv.Atoi(word)
			if err != nil {
				to = word == "to"
				continue
			}
			for to && rules[len(rules)-1] < min(n, 100)-1 {
				rules = append(rules, rules[len(rules)-1]+1)
			}
			rules, to = append(rules, n), false
		}
	}
	return rules
}

func checkRules(s *source, rules []int) (faults []string) {
	for i, line := range strings.Split(s.text, "\n") {
		for _, rule := range cited(line) {
			if !slices.Contains(rules, rule) && s.path != thisFile {
				faults = append(faults, s.path+":"+strconv.Itoa(i+1)+": rule "+strconv.Itoa(rule)+" does not exist")
			}
		}
	}
	return faults
}

const thisFile = "tests/layout_test.go"

func TestCited(t *testing.T) {
	tests := []struct {
		line string
		want []int
	}{
		{"no such thing", nil}, {"rule 3 of INVARIANTS.md, and rule 4", []int{3, 4}}, {"Rules 1, 5, 7 to 9 and 11: x", []int{1, 5, 7, 8, 9, 11}},
		{"rule 5 of DESIGN.md", nil}, {"the rules 2 and 3 (rule 1)", []int{2, 3, 1}}, {"rules 1 to 999999999", nil},
	}
	for _, tt := range tests {
		if got := cited(tt.line); tt.want != nil && !slices.Equal(got, tt.want) || len(got) > 200 {
			t.Errorf("%q: got %v, want %v", tt.line, got, tt.want)
		}
	}
}

// TestEveryRuleIsCited: a rule that no test names is a wish.
func TestEveryRuleIsCited(t *testing.T) {
	tree := os.DirFS("..")
	sources, _ := readTree(t, tree)
	var named []int
	for _, s := range sources {
		if s.test && s.path != thisFile {
			for line := range strings.Lines(s.text) {
				named = append(named, cited(line)...)
			}
		}
	}
	for _, rule := range readRules(t, tree) {
		if !slices.Contains(named, rule) {
			t.Errorf("rule %d is cited by no test", rule)
		}
	}
}

// allowed says which of our own packages a directory may import, and whether others' too.
func allowed(dir string) (own []string, others bool) {
	top := strings.Split(dir, "/")
	switch {
	case dir == "bridge", dir == "runtime/abi":
		return nil, false
	case top[0] == "bridge":
		return []string{"bridge", "bridge/" + top[1] + "/"}, true
	case dir == "runtime/golden": // runs the host, and reads its files as the configuration is read
		return []string{"bridge", "bridge/config", "runtime/abi", "runtime/host"}, true
	case strings.HasPrefix(dir, "runtime/host"):
		return []string{"bridge", "runtime/abi", "runtime/host/"}, true
	case top[0] == "wasm-modules":
		return []string{"runtime/abi", "wasm-modules/"}, false
	default:
		return []string{"bridge", "bridge/", "runtime/", "wasm-modules/sdk"}, true // sdk: the texts that a new module is made of
	}
}

// checkImports: everything imports bridge, no sub-package imports another, only the command knows all.
func checkImports(s *source) (faults []string) {
	switch s.dir {
	case ".":
		return []string{s.path + ": Go file at the top"}
	case "runtime":
		return []string{s.path + ": Go file in runtime, a package of that name clashes with the standard one"}
	}
	own, others := allowed(s.dir)
	for _, spec := range s.ast.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		ours, isOurs := strings.CutPrefix(p, module)
		first, _, _ := strings.Cut(p, "/")
		fine := !strings.Contains(first, ".") || others
		if isOurs {
			fine = slices.ContainsFunc(own, func(o string) bool { return o == ours || strings.HasSuffix(o, "/") && strings.HasPrefix(ours, o) })
		}
		if !fine {
			faults = append(faults, s.path+": imports "+ours+", only the command may know it")
		}
	}
	return faults
}

func checkLengths(s *source) (faults []string) {
	if n := strings.Count(s.text, "\n"); n >= maxFileLines && !ast.IsGenerated(s.ast) {
		faults = append(faults, s.path+": "+strconv.Itoa(n)+" lines")
	}
	ast.Inspect(s.ast, func(n ast.Node) bool {
		name := "func literal"
		switch f := n.(type) {
		case *ast.FuncDecl:
			name = f.Name.Name
		case *ast.FuncLit:
		default:
			return true
		}
		if lines := s.lines(n); lines >= maxFuncLines {
			faults = append(faults, s.at(n.Pos())+name+" has "+strconv.Itoa(lines)+" lines")
		}
		return true
	})
	return faults
}

// checkGlobals: no func init, and no variable of a package that is more than a table, a sentinel or an embedded file.
func checkGlobals(s *source, all []*source) (faults []string) {
	for _, d := range s.ast.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			faults = append(faults, s.at(f.Pos())+"func init")
		}
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			for i, name := range v.Names {
				switch {
				case name.Name == "_", s.dir == "cmd/sluice" && name.Name == "version", embedded(g, v):
				case i >= len(v.Values) || !isTable(v.Values[i]):
					faults = append(faults, s.at(name.Pos())+"variable "+name.Name+" is neither table, sentinel nor embedded file")
				default:
					faults = append(faults, writes(name.Name, v, s, all)...)
				}
			}
		}
	}
	return faults
}

func embedded(g *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{g.Doc, v.Doc} {
		if doc != nil && strings.HasPrefix(doc.List[len(doc.List)-1].Text, "//go:embed ") {
			return true
		}
	}
	sel, ok := v.Type.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "FS"
}

// isTable reports whether a value is fixed once the program runs: a literal of a table, or what one of a few functions makes.
func isTable(e ast.Expr) bool {
	makers := []string{"errors.New", "fmt.Errorf", "regexp.MustCompile", "strings.NewReplacer", "reflect.TypeFor", "sha256.Sum256",
		"crc32.MakeTable", "crc64.MakeTable", "binary.BigEndian", "binary.LittleEndian"}
	switch e := e.(type) {
	case *ast.CompositeLit:
		sel, ok := e.Type.(*ast.SelectorExpr)
		return !ok || !strings.HasPrefix(name(sel), "sync.") && !strings.HasPrefix(name(sel), "atomic.")
	case *ast.CallExpr:
		_, conversion := e.Fun.(*ast.ArrayType)
		return conversion || slices.Contains(makers, name(e.Fun))
	}
	return slices.Contains(makers, name(e))
}

func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return name(e.X) + "." + e.Sel.Name
	case *ast.IndexExpr:
		return name(e.X)
	}
	return ""
}

// writes finds assignments to a variable of the package, anywhere in it.
func writes(variable string, decl *ast.ValueSpec, in *source, all []*source) (faults []string) {
	for _, s := range all {
		if s.dir != in.dir || s.test {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			var targets []ast.Expr
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					targets = n.Lhs
				}
			case *ast.IncDecStmt:
				targets = []ast.Expr{n.X}
			}
			for _, target := range targets {
				if id := root(target); id != nil && id.Name == variable && (id.Obj == nil || id.Obj.Decl == decl) {
					faults = append(faults, s.at(n.Pos())+variable+" is written to")
				}
			}
			return true
		})
	}
	return faults
}

// root is the variable that an assignment to a[i].b changes.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// Package mutants breaks the bridge on purpose, one rule at a time, and asks whether the tests notice. A mutant is a small change of a
// production file that compiles and leaves a rule out. It is built by an overlay: the tree is never touched.
package mutants

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mutant is one broken rule.
type mutant struct {
	name string
	file string   // from the top of the tree
	old  string   // stands in it once
	new  string   // and is replaced by this
	test []string // arguments of go test: the smallest tests that have to notice
}

// source returns the text of a mutant's file, before and after.
func (m *mutant) source(t *testing.T) (before, after string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", m.file))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), m.old); n != 1 {
		t.Fatalf("%s has the mutant's text %d times, want once:\n%s", m.file, n, m.old)
	}
	return string(b), strings.Replace(string(b), m.old, m.new, 1)
}

// TestMutantsApply: each mutant still fits the file that it breaks.
func TestMutantsApply(t *testing.T) {
	seen := make(map[string]bool)
	for _, m := range mutants {
		if seen[m.name] {
			t.Errorf("%s: there twice", m.name)
		}
		seen[m.name] = true
		if before, after := m.source(t); before == after || len(m.test) == 0 {
			t.Errorf("%s: changes nothing, or has no test", m.name)
		}
	}
}

// TestMutants builds each mutant and runs the tests that have to fail with it.
func TestMutants(t *testing.T) {
	if os.Getenv("MUTANTS") == "" {
		t.Skip("takes minutes; run `make mutants`")
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			out, failed := m.run(t)
			noticed := noticer(out)
			switch {
			case !failed:
				t.Errorf("nobody noticed: go test %s", strings.Join(m.test, " "))
			case noticed == "":
				t.Errorf("it did not come to a test:\n%s", out)
			default:
				t.Logf("noticed by %s", noticed)
			}
		})
	}
}

// run tests a mutant.
func (m *mutant) run(t *testing.T) (out string, failed bool) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	_, after := m.source(t)
	dir := t.TempDir()
	broken, overlay := filepath.Join(dir, "broken.go"), filepath.Join(dir, "overlay.json")
	plan, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, m.file): broken}})
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string][]byte{broken: []byte(after), overlay: plan} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", append([]string{"test", "-count=1", "-timeout=5m", "-failfast", "-overlay=" + overlay}, m.test...)...)
	cmd.Dir = root
	b, err := cmd.CombinedOutput()
	return string(b), err != nil
}

// noticer is the first subtest that failed, or the test where it has none.
func noticer(out string) (name string) {
	for _, m := range regexp.MustCompile(`(?m)^(\s*)--- FAIL: (\S+)`).FindAllStringSubmatch(out, -1) {
		if name == "" || m[1] != "" {
			name = m[2]
		}
		if m[1] != "" {
			break
		}
	}
	return name
}

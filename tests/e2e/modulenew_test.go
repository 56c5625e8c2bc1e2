package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/tests/real"
)

// In an empty folder, with the commands that the README of a new module names: it builds, its test passes, and it can be looked into. Without a
// network, but for what the language's toolchain is.
func TestModuleNew(t *testing.T) {
	asc := real.Tool{Name: "asc", Env: "ASC", Cached: "sluice/assemblyscript-0.28.20/node_modules/.bin/asc",
		Install: "npm install --prefix ~/.cache/sluice/assemblyscript-0.28.20 assemblyscript@0.28.20"}
	for _, l := range []struct{ lang, missing, printed string }{
		{"go", "", "buildmode=c-shared"},
		{"rust", "rust-module-missing", "libsluice.rlib"},
		{"c", "c-module-missing", "--stack-first"},
		{"as", "as-module-missing", "incremental"},
		{"js", "js-module-missing", "needs no building"},
	} {
		t.Run(l.lang, func(t *testing.T) {
			t.Parallel()
			path := []string{filepath.Dir(real.Need(t, real.Tool{Name: "make", Install: "apt-get install make"}))}
			root := real.Binary(t)
			if l.missing != "" {
				missing(t, root, l.missing)
			}
			if l.lang == "as" {
				path = append(path, filepath.Dir(real.Need(t, asc)))
			}
			w := workplace{t, filepath.Join(t.TempDir(), "fast-"+l.lang), append([]string{filepath.Join(root, "bin")}, path...)}
			if err := os.Mkdir(w.dir, 0o755); err != nil {
				t.Fatal(err)
			}
			w.run("sluice module new --lang " + l.lang + " .")
			commands := w.readme()
			if len(commands) != 3 {
				t.Fatalf("the README names %q, want three commands", commands)
			}
			printed := ""
			for _, c := range commands {
				printed += w.run(c)
			}
			for _, want := range []string{l.printed, "4 records, 0 differences", "module     fast-" + l.lang} {
				if !strings.Contains(printed, want) {
					t.Errorf("%q is not in what the commands print:\n%s", want, printed)
				}
			}
			w.breakIt()
			if out, err := w.command(commands[1]).CombinedOutput(); err == nil || !strings.Contains(string(out), "rpm") {
				t.Errorf("a record file that wants something else passes: %s", out)
			}
		})
	}
}

// missing skips, or fails under E2E=require, where make says that a toolchain is missing.
func missing(t *testing.T, root, target string) {
	t.Helper()
	out, err := exec.Command("make", "-s", "-C", root, target).CombinedOutput()
	switch {
	case err != nil || len(out) > 0 && os.Getenv("E2E") == "require":
		t.Fatalf("%s%v", out, err)
	case len(out) > 0:
		t.Skip(string(out))
	}
}

// workplace is where somebody writes a module.
type workplace struct {
	t    *testing.T
	dir  string
	path []string
}

func (w *workplace) command(line string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "PATH="+strings.Join(w.path, ":")+":"+os.Getenv("PATH"), "GOPROXY=off", "GOFLAGS=", "GOWORK=off")
	return cmd
}

func (w *workplace) run(line string) string {
	w.t.Helper()
	out, err := w.command(line).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// readme is the commands that the README names first.
func (w *workplace) readme() (commands []string) {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, "README.md"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^    (sluice .*)$`).FindAllStringSubmatch(string(text), -1) {
		commands = append(commands, m[1])
	}
	return commands
}

// breakIt has the records want another label.
func (w *workplace) breakIt() {
	w.t.Helper()
	path := filepath.Join(w.dir, "testdata", "first.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	other := strings.Replace(string(text), `speed = "1450.5"`, `rpm = "1450.5"`, 1)
	if err := os.WriteFile(path, []byte(other), 0o600); err != nil || other == string(text) {
		w.t.Fatal("nothing was changed", err)
	}
}

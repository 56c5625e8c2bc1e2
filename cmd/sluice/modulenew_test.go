package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func runCommand(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	var b bytes.Buffer
	code = run(context.Background(), args, &b, &b)
	return code, b.String()
}

// What a new module is made of; tests/e2e builds and tests it.
func TestModuleNew(t *testing.T) {
	for _, l := range languages() {
		t.Run(l.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "fast-only")
			if code, out := runCommand(t, "module", "new", dir, "--lang", l.name); code != exitOK {
				t.Fatalf("exit %d: %s", code, out)
			}
			readme := ""
			for _, name := range []string{"README.md", l.source, ".gitignore", "testdata/first.toml"} {
				text, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(string(text), templateName) || strings.Contains(string(text), "{{") {
					t.Errorf("%s: the template's name or a placeholder is still in it", name)
				}
				if name == "README.md" {
					readme = string(text)
				}
			}
			for _, c := range l.build("fast-only") {
				if !strings.Contains(readme, "\n    "+c.String()+"\n") {
					t.Errorf("README.md does not name %s", c)
				}
			}
			if code, out := runCommand(t, "module", "new", dir); code != exitUsage || !strings.Contains(out, "is not empty") {
				t.Errorf("again: exit %d: %s, want a refusal", code, out)
			}
		})
	}
}

func TestModuleNewRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no directory", nil, "0 directories, want one"},
		{"two directories", []string{"a", "b"}, "2 directories, want one"},
		{"a name that no language takes", []string{filepath.Join(dir, "Fast Only")}, `"Fast Only", want a directory's name`},
		{"no such language", []string{filepath.Join(dir, "a"), "--lang", "perl"}, `--lang "perl", want go, rust, c, as or js`},
	} {
		if code, out := runCommand(t, append([]string{"module", "new"}, tt.args...)...); code != exitUsage || !strings.Contains(out, tt.want) {
			t.Errorf("%s: exit %d: %s, want %q", tt.name, code, out, tt.want)
		}
	}
}

func TestModuleBuild(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "fast-only")
	if code, out := runCommand(t, "module", "build", t.TempDir()); code != exitUsage || !strings.Contains(out, "none of main.go, src/lib.rs, main.c") {
		t.Errorf("an empty directory: exit %d: %s", code, out)
	}
	if code, out := runCommand(t, "module", "new", "--lang", "as", dir); code != exitOK {
		t.Fatal(out)
	}
	path := os.Getenv("PATH")
	t.Setenv("PATH", "")
	if code, out := runCommand(t, "module", "build", dir); code != exitRuntime || !strings.Contains(out, "asc is missing") || !strings.Contains(out, "npm install") {
		t.Errorf("without the toolchain: exit %d: %s", code, out)
	}
	t.Setenv("PATH", path)
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.Mkdir(wrong, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(wrong, "main.go"), []byte("package"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := runCommand(t, "module", "build", wrong); code != exitRuntime || !strings.Contains(out, "GOOS=wasip1") {
		t.Errorf("a module that does not compile: exit %d: %s, want the command and what it said", code, out)
	}
}

// Modules that people begin are built as those here are.
func TestModuleBuildAsMake(t *testing.T) {
	text, err := os.ReadFile("../../wasm-modules/modules.mk")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range languages() {
		names := map[string][]string{"rust": {"RUSTFLAGS_WASM", "RUSTLINK_WASM"}, "c": {"CFLAGS_WASM", "LDFLAGS_WASM"}, "as": {"ASFLAGS_WASM"}}
		commands := l.build("x")
		for _, name := range names[l.name] {
			_, rest, found := strings.Cut(string(text), "\n"+name+" ")
			flags, _, _ := strings.Cut(rest, "\n")
			flags = strings.TrimSpace(strings.TrimLeft(flags, " :="))
			if last := commands[len(commands)-1].String(); !found || !strings.Contains(last, flags) {
				t.Errorf("%s: %s, want %s of modules.mk in it: %s", l.name, last, name, flags)
			}
		}
	}
}

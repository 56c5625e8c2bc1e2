package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// language is one that a module may be written in.
type language struct {
	name    string            // of --lang
	source  string            // the filter itself; a directory that has one is of this language
	copies  map[string]string // what of package sdk goes into a new module, and where
	install string            // what to do where a tool is missing
	tools   []string          // that the commands begin with or call
	build   func(name string) []toolCommand
}

// toolCommand is a command of a toolchain, run in the module's directory.
type toolCommand struct {
	env  []string
	args []string
}

// String is the command as a shell takes it.
func (c toolCommand) String() string {
	words := slices.Clone(c.env)
	for _, a := range c.args {
		if strings.ContainsAny(a, " ") {
			a = "'" + a + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// languages are those that modules are made of. The flags are those of wasm-modules/modules.mk; a test compares them.
func languages() []language {
	return []language{
		{
			name: "go", source: "main.go", tools: []string{"go"}, install: "Go 1.24 or later, https://go.dev/dl",
			copies: map[string]string{"go/new": ".", "go": "sluice"},
			build: func(name string) []toolCommand {
				return []toolCommand{{[]string{"GOOS=wasip1", "GOARCH=wasm"},
					append(strings.Fields("go build -buildmode=c-shared -trimpath"), "-ldflags=-s -w", "-o", name+".wasm", ".")}}
			},
		}, {
			name: "rust", source: "src/lib.rs", tools: []string{"rustc"},
			install: "rustup target add wasm32-unknown-unknown; Debian: apt-get install -y rustc libstd-rust-dev-wasm32 lld",
			copies:  map[string]string{"rust/new": ".", "rust/src": "sluice/src", "rust/Cargo.toml": "sluice/Cargo.toml"},
			build: func(name string) []toolCommand {
				const flags = "rustc --target wasm32-unknown-unknown --edition 2021 -C opt-level=3 -C panic=abort -C target-feature=+bulk-memory "
				return []toolCommand{
					{nil, strings.Fields(flags + "--crate-type rlib --crate-name sluice --out-dir target sluice/src/lib.rs")},
					{nil, strings.Fields(flags + "-C lto=fat -C strip=symbols -C link-arg=-zstack-size=65536 " +
						"--crate-type cdylib --extern sluice=target/libsluice.rlib -o " + name + ".wasm src/lib.rs")},
				}
			},
		}, {
			name: "c", source: "main.c", tools: []string{"clang", "wasm-ld"}, install: "Debian: apt-get install -y clang lld",
			copies: map[string]string{"c/new": ".", "c/sluice.h": "sluice.h"},
			build: func(name string) []toolCommand {
				return []toolCommand{{nil, strings.Fields("clang --target=wasm32 -O3 -std=c11 -Wall -Wextra -Werror -mbulk-memory -fno-builtin -nostdlib " +
					"-Wl,--no-entry,--stack-first,-z,stack-size=65536,--strip-debug -o " + name + ".wasm main.c")}}
			},
		}, {
			name: "as", source: "main.ts", tools: []string{"asc"}, install: "npm install, which puts it into node_modules",
			copies: map[string]string{"assemblyscript/new": ".", "assemblyscript/sluice": "sluice"},
			build: func(name string) []toolCommand {
				return []toolCommand{{nil, strings.Fields("asc main.ts -O3 --runtime incremental --use abort=sluice/index/abort -o " + name + ".wasm")}}
			},
		}, {
			name: "js", source: "filter.js", copies: map[string]string{"js/new": "."},
			build: func(string) []toolCommand { return nil },
		},
	}
}

// product is the file that a module of that name is built to.
func (l *language) product(name string) string {
	if l.name == "js" {
		return l.source
	}
	return name + ".wasm"
}

// languageOf recognises the language of a module's directory.
func languageOf(dir string) (*language, error) {
	var sources []string
	for _, l := range languages() {
		_, err := os.Stat(filepath.Join(dir, l.source))
		if err == nil {
			return &l, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		sources = append(sources, l.source)
	}
	return nil, usageError{fmt.Sprintf("%s: no module: none of %s is in it", dir, strings.Join(sources, ", "))}
}

// find returns the path of a tool for a module in dir.
func find(tool, dir string) (string, error) {
	switch tool {
	case "asc": // of the module before that of the machine
		if local, err := exec.LookPath(filepath.Join(dir, "node_modules", ".bin", tool)); err == nil {
			return filepath.Abs(local)
		}
	case "rustc":
		return findRust()
	}
	return exec.LookPath(tool)
}

// findRust looks for a rustc that has the standard library of WebAssembly: rustup's, or the distribution's, which rustup's hides in PATH.
func findRust() (string, error) {
	const target = "wasm32-unknown-unknown"
	for _, name := range []string{"rustc", "/usr/bin/rustc"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.Command(path, "--print", "target-libdir", "--target", target).Output()
		if err != nil {
			continue
		}
		if _, err := os.Stat(strings.TrimSpace(string(out))); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no rustc that has the target %s", target)
}

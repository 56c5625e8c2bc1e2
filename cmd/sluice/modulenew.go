package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/wasm-modules/sdk"
)

const moduleNewHelp = `usage: sluice module new [--lang go|rust|c|as|js] DIR

Begins a module: makes DIR with a small filter, the SDK beside it, records that test it, and a README with the commands. Nothing else is needed to
build it but the language's toolchain, no network either (as: npm install).

`

// templateName is what a module is called in the files of package sdk.
const templateName = "my-filter"

var moduleNames = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)

func runModuleNew(_ context.Context, e *environment, args []string) error {
	flags := e.flags("module new")
	flags.Usage = func() { fmt.Fprint(e.err, moduleNewHelp); flags.PrintDefaults() }
	lang := flags.String("lang", "go", "`LANGUAGE`: go, rust, c, as (AssemblyScript) or js (a script)")
	named, err := parseMixed(flags, args)
	if err != nil {
		return err
	}
	if len(named) != 1 {
		return usageError{fmt.Sprintf("module new: %d directories, want one", len(named))}
	}
	dir, err := filepath.Abs(named[0])
	if err != nil {
		return err
	}
	name := filepath.Base(dir)
	if !moduleNames.MatchString(name) {
		return usageError{fmt.Sprintf("module new: %q, want a directory's name of a-z, 0-9 and -: the module is called like it", name)}
	}
	for _, l := range languages() {
		if l.name == *lang {
			return l.begin(e, dir, name)
		}
	}
	return usageError{fmt.Sprintf("module new: --lang %q, want go, rust, c, as or js", *lang)}
}

// begin writes a new module into a directory, which is empty or not there.
func (l *language) begin(e *environment, dir, name string) error {
	there, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(there) > 0 {
		return usageError{fmt.Sprintf("module new: %s is not empty", dir)}
	}
	files, err := l.files(name)
	if err != nil {
		return err
	}
	for at, text := range files {
		to := filepath.Join(dir, filepath.FromSlash(at))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(e.out, "%s: %d files. README.md there says how to build and test it.\n", dir, len(files))
	return err
}

// files are those of a new module, by their place in its directory.
func (l *language) files(name string) (map[string]string, error) {
	files := map[string]string{".gitignore": name + ".wasm\nnode_modules/\ntarget/\nCargo.lock\n"}
	for from, to := range l.copies {
		if err := take(files, sdk.Files, from, to); err != nil {
			return nil, err
		}
	}
	if l.name == "go" {
		if err := take(files, abi.Source, ".", "sluice/abi"); err != nil {
			return nil, err
		}
		delete(files, "sluice/abi/source.go")
		files["go.mod"] = "module my-filter\n\ngo 1.24\n"
	}
	if err := take(files, sdk.Files, "new/first.toml", "testdata/first.toml"); err != nil {
		return nil, err
	}
	readme, err := l.readme()
	if err != nil {
		return nil, err
	}
	files["README.md"] = readme
	names := strings.NewReplacer(
		"github.com/sluicebridge/sluice/wasm-modules/sdk/go", name+"/sluice",
		"github.com/sluicebridge/sluice/runtime/abi", name+"/sluice/abi",
		templateName, name)
	for at, text := range files {
		files[at] = names.Replace(text)
	}
	return files, nil
}

// take adds a file, or the files of a directory, without tests. Of the SDK for Go it takes what is not below it.
func take(files map[string]string, from embed.FS, source, to string) error {
	return fs.WalkDir(from, source, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && source == "go" && p != source:
			return fs.SkipDir
		case d.IsDir(), strings.HasSuffix(p, "_test.go"):
			return nil
		}
		text, err := from.ReadFile(p)
		at := path.Join(to, strings.TrimPrefix(strings.TrimPrefix(p, source), "/"))
		files[at] = string(text)
		return err
	})
}

// readme says what a module's commands are, each of them as `sluice module build` runs it.
func (l *language) readme() (string, error) {
	text, err := sdk.Files.ReadFile("new/README.md")
	if err != nil {
		return "", err
	}
	t, err := template.New("README.md").Parse(string(text))
	if err != nil {
		return "", err
	}
	build, key := "There is nothing to build: the engine of sluice runs scripts as they are.", "script"
	if len(l.tools) > 0 {
		build, key = fmt.Sprintf("`build` runs\n\n    %s\n\nwith what comes by: %s.", commandLines(l.build(templateName)), l.install), "path"
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]string{"Source": "`" + l.source + "`", "Product": l.product(templateName), "Build": build + "\n", "Key": key})
	return b.String(), err
}

func commandLines(commands []toolCommand) string {
	lines := make([]string, len(commands))
	for i, c := range commands {
		lines[i] = c.String()
	}
	return strings.Join(lines, "\n    ")
}

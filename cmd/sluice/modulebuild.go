package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const moduleBuildHelp = `usage: sluice module build [DIR]

Builds the module in DIR, or here, to NAME.wasm beside its source, NAME being that of the directory. The language is known by the source: main.go,
src/lib.rs, main.c or main.ts. The commands of the toolchain are printed as they are run.

`

func runModuleBuild(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("module build")
	fs.Usage = func() { fmt.Fprint(e.err, moduleBuildHelp); fs.PrintDefaults() }
	named, err := parseMixed(fs, args)
	switch {
	case err != nil:
		return err
	case len(named) == 0:
		named = []string{"."}
	case len(named) > 1:
		return usageError{fmt.Sprintf("module build: unexpected argument %q", named[1])}
	}
	dir, err := filepath.Abs(named[0])
	if err != nil {
		return err
	}
	l, err := languageOf(dir)
	if err != nil {
		return err
	}
	name := filepath.Base(dir)
	if err := l.make(ctx, e, dir, name); err != nil {
		return fmt.Errorf("build %s: %w", named[0], err)
	}
	return l.made(e, filepath.Join(dir, l.product(name)))
}

// make runs the commands that build the module.
func (l *language) make(ctx context.Context, e *environment, dir, name string) error {
	paths := make(map[string]string)
	for _, tool := range l.tools {
		path, err := find(tool, dir)
		if err != nil {
			return fmt.Errorf("%s is missing: %w. It comes with: %s", tool, err, l.install)
		}
		paths[tool] = path
	}
	for _, c := range l.build(name) {
		tool := c.args[0]
		if found, err := exec.LookPath(tool); err != nil || found != paths[tool] {
			c.args[0] = paths[tool]
		}
		fmt.Fprintln(e.err, c)
		cmd := exec.CommandContext(ctx, paths[tool], c.args[1:]...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), c.env...)
		cmd.Stdout, cmd.Stderr = e.err, e.err
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", tool, err)
		}
	}
	return nil
}

// made says what there is now.
func (l *language) made(e *environment, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if len(l.tools) == 0 {
		_, err = fmt.Fprintf(e.out, "%s: a script needs no building\n", path)
		return err
	}
	_, err = fmt.Fprintf(e.out, "%s: %d bytes\n", path, info.Size())
	return err
}

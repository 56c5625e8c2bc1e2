package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/config"
	"github.com/sluicebridge/sluice/runtime/golden"
	"github.com/sluicebridge/sluice/runtime/host"
)

// workbench is where a command on one module loads it: a runtime of its own, whose compiled code goes with it.
type workbench struct {
	rt    *host.Runtime
	dir   string
	cfg   host.Config
	given map[string]any // config of the command line, before that of a file of records
}

// moduleFlags are those of every command that loads a module.
type moduleFlags struct {
	set    settings
	file   string
	memory bridge.Size
	budget int64
}

func defineModule(fs *flag.FlagSet) *moduleFlags {
	d := host.Default()
	o := &moduleFlags{memory: d.Memory}
	fs.Var(&o.set, "config", "`KEY=VALUE` of [modules.NAME.config], a value of TOML or a text; may be given again")
	fs.StringVar(&o.file, "config-file", "", "TOML `FILE` with the keys of [modules.NAME.config]")
	fs.TextVar(&o.memory, "memory", d.Memory, "most memory of the module, a `SIZE`")
	fs.Int64Var(&o.budget, "budget", golden.Units, "`UNITS` that a record may take")
	return o
}

// settings collects KEY=VALUE.
type settings map[string]any

func (s *settings) String() string { return "" }

// Set implements flag.Value: KEY may be dotted.
func (s *settings) Set(text string) error {
	key, value, found := strings.Cut(text, "=")
	if !found || key == "" {
		return errors.New("want KEY=VALUE")
	}
	var table map[string]any
	if _, err := toml.Decode(key+" = "+value, &table); err != nil {
		table = nil
		if _, err := toml.Decode(key+" = "+tomlText(value), &table); err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
	}
	*s = merge(*s, table)
	return nil
}

// tomlText writes a text as TOML's.
func tomlText(s string) string {
	var b strings.Builder
	_ = toml.NewEncoder(&b).Encode(map[string]string{"v": s}) // a text can be written
	return strings.TrimPrefix(strings.TrimSpace(b.String()), "v = ")
}

// merge puts b over a: tables by their keys, all else whole. Neither is changed.
func merge(a, b map[string]any) map[string]any {
	out := make(map[string]any, len(a)+len(b))
	for k, v := range a {
		out[k] = v
	}
	for k, v := range b {
		under, isTable := out[k].(map[string]any)
		over, both := v.(map[string]any)
		if isTable && both {
			v = merge(under, over)
		}
		out[k] = v
	}
	return out
}

// openWorkbench makes a runtime for the module in a file: WebAssembly, or a script by its ending. What the module says goes to log, which may be nil.
func openWorkbench(ctx context.Context, log *slog.Logger, path string, o *moduleFlags) (*workbench, error) {
	w := &workbench{cfg: host.Default(), given: o.set}
	w.cfg.Memory, w.cfg.BudgetUnits = o.memory, o.budget
	w.name(path)
	if o.file != "" {
		text, err := config.ReadFile(o.file, golden.MaxFile)
		if err != nil {
			return nil, fmt.Errorf("config-file: %w", err)
		}
		var table map[string]any
		if _, err := toml.Decode(text, &table); err != nil {
			return nil, fmt.Errorf("config-file: %s: %w", o.file, err)
		}
		w.given = merge(table, w.given)
	}
	var err error
	if w.dir, err = os.MkdirTemp("", "sluice-module-"); err != nil {
		return nil, err
	}
	if w.rt, err = host.New(ctx, w.dir, log); err != nil {
		return nil, errors.Join(err, os.RemoveAll(w.dir))
	}
	return w, nil
}

// another is the same place for another file.
func (w *workbench) another(path string) *workbench {
	other := *w
	other.cfg.Path, other.cfg.Script = "", ""
	other.name(path)
	return &other
}

func (w *workbench) name(path string) {
	if strings.HasSuffix(path, ".js") {
		w.cfg.Script = path
	} else {
		w.cfg.Path = path
	}
}

// load loads the module with the config of a file of records, and what the command line says over it. It is the caller's to close.
func (w *workbench) load(ctx context.Context, table map[string]any) (*host.Module, error) {
	cfg := w.cfg
	cfg.Config = merge(table, w.given)
	return w.rt.Load(ctx, moduleName(cfg), cfg)
}

// moduleName is what a module is called that no configuration names.
func moduleName(cfg host.Config) string {
	name := filepath.Base(cfg.Path + cfg.Script)
	return strings.TrimSuffix(name, filepath.Ext(name))
}

func (w *workbench) close(ctx context.Context) error {
	return errors.Join(w.rt.Close(ctx), os.RemoveAll(w.dir))
}

// parseMixed reads flags before, between and behind the other arguments, which it returns.
func parseMixed(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		err := fs.Parse(args)
		switch {
		case errors.Is(err, flag.ErrHelp):
			return nil, err
		case err != nil: // the flag set has shown the flags
			return nil, usageError{err.Error()}
		case fs.NArg() == 0:
			return rest, nil
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
}

// parseModule reads the flags of a command on a module, and returns its file and what else is named.
func parseModule(fs *flag.FlagSet, args []string) (module string, rest []string, err error) {
	named, err := parseMixed(fs, args)
	if err != nil {
		return "", nil, err
	}
	if len(named) == 0 {
		return "", nil, usageError{strings.TrimPrefix(fs.Name(), "sluice ") + ": want a module's file"}
	}
	return named[0], named[1:], nil
}

// recordFiles lists files of records: those that are named, and *.toml of those that are directories. Where none is named they are those in
// testdata, beside the module or here.
func recordFiles(module string, named []string) (files []string, err error) {
	if len(named) == 0 {
		for _, dir := range []string{filepath.Join(filepath.Dir(module), "testdata"), "testdata"} {
			if files, err = filepath.Glob(filepath.Join(dir, "*.toml")); err != nil || len(files) > 0 {
				return files, err
			}
		}
		return nil, usageError{"no files of records: none is named, and there is no testdata/*.toml beside the module or here"}
	}
	for _, name := range named {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, name)
			continue
		}
		in, err := filepath.Glob(filepath.Join(name, "*.toml"))
		if err != nil {
			return nil, err
		}
		if len(in) == 0 {
			return nil, usageError{fmt.Sprintf("%s: no *.toml in it", name)}
		}
		files = append(files, in...)
	}
	return files, nil
}

// trial is a record for a module that has no files of records.
const trial = `[[record]]
entry = "trial/trial"
labels = { device = "trial", rpm = "1500" }
content_type = "application/json"
text = '{"trial": true}'
`

// samples are the files of records that are named or found, else one with a trial record.
func samples(module string, named []string) (all []*golden.File, err error) {
	files, err := recordFiles(module, named)
	if errors.As(err, new(usageError)) && len(named) == 0 {
		f, err := golden.Parse("a trial record", trial)
		return []*golden.File{f}, err
	}
	for _, file := range files {
		f, err := golden.Load(file)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, err
}

// replaceFile writes a file that is never seen half.
func replaceFile(path, text string) error {
	mode := os.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path+".new"))
	}
	return os.Rename(path+".new", path)
}

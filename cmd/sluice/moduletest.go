package main

import (
	"context"
	"fmt"

	"github.com/sluicebridge/sluice/runtime/golden"
)

const moduleTestHelp = `usage: sluice module test FILE.wasm|FILTER.js [FILE.toml or DIR ...] [flags]

Runs a module over files of records and compares what it answers with what they want: verdict, reason, outputs, and the units that each
record may take. Without files: testdata/*.toml beside the module, or here. Exit code 3 where something differs.

`

// runModuleTest exits with differences where a module does not do what files of records want.
func runModuleTest(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("module test")
	fs.Usage = func() { fmt.Fprint(e.err, moduleTestHelp); fs.PrintDefaults() }
	o, asJSON := defineModule(fs), jsonFlag(fs)
	update := fs.Bool("update", false, "write what came out into the files, in the place of what they want")
	module, named, err := parseModule(fs, args)
	if err != nil {
		return err
	}
	files, err := recordFiles(module, named)
	if err != nil {
		return err
	}
	w, err := openWorkbench(ctx, e.log, module, o)
	if err != nil {
		return err
	}
	defer w.close(ctx)
	t := tested{Module: module, Reports: []*golden.Report{}}
	for _, file := range files {
		if err := t.test(ctx, w, file, *update); err != nil {
			return err
		}
	}
	if *asJSON {
		err = e.printJSON(&t)
	} else {
		err = t.print(e)
	}
	if err == nil && t.differ && !*update {
		return errDifferences
	}
	return err
}

// tested is what came out of all files.
type tested struct {
	Module  string           `json:"module"`
	Reports []*golden.Report `json:"reports"`
	Updated []string         `json:"updated,omitempty"` // files
	differ  bool
}

func (t *tested) test(ctx context.Context, w *workbench, file string, update bool) error {
	f, err := golden.Load(file)
	if err != nil {
		return err
	}
	m, err := w.load(ctx, f.Config)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer m.Close()
	r, err := f.Run(ctx, w.rt, m, nil)
	if err != nil {
		return err
	}
	t.Reports = append(t.Reports, r)
	t.differ = t.differ || len(r.Diffs) > 0
	if !update {
		return nil
	}
	text, changed, err := f.Update(r)
	if err != nil || !changed {
		return err
	}
	t.Updated = append(t.Updated, file)
	if err := replaceFile(file, text); err != nil {
		return fmt.Errorf("update %s: %w", file, err)
	}
	return nil
}

func (t *tested) print(e *environment) error {
	records, differences := 0, 0
	for _, r := range t.Reports {
		fmt.Fprint(e.out, r)
		records += r.Records
		differences += len(r.Diffs)
		fmt.Fprintf(e.out, "%s: %d records, %d differences, %d units a record, %d at most\n", r.File, r.Records, len(r.Diffs), r.Units/int64(r.Records), r.Most)
	}
	for _, file := range t.Updated {
		fmt.Fprintf(e.out, "%s: written\n", file)
	}
	_, err := fmt.Fprintf(e.out, "%s: %d files, %d records, %d differences\n", t.Module, len(t.Reports), records, differences)
	return err
}

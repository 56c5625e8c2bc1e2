package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"text/tabwriter"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/config"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/golden"
	"github.com/sluicebridge/sluice/runtime/host"
	"github.com/sluicebridge/sluice/runtime/host/sign"
)

const moduleInspectHelp = `usage: sluice module inspect FILE.wasm|FILTER.js [FILE.toml or DIR ...] [flags]

Tells what a module can see, what it calls, how it answers, who signed it, and what a record costs: those of the files, of testdata/*.toml
beside the module or here, or a trial record.

`

// inspected is what is known of a module.
type inspected struct {
	File      string       `json:"file"`
	Bytes     int64        `json:"bytes"`
	SHA256    string       `json:"sha256"`
	Signature string       `json:"signature"`
	Manifest  abi.Manifest `json:"manifest"`
	Imports   []string     `json:"imports"`
	Exports   []string     `json:"exports"`
	Memory    int64        `json:"memory_bytes"`
	Costs     []cost       `json:"costs"`
}

// cost is what the records of a file took.
type cost struct {
	File    string `json:"file"`
	Records int    `json:"records"`
	Units   int64  `json:"units"` // of all
	Most    int64  `json:"most"`  // of one
	Error   string `json:"error,omitempty"`
}

func runModuleInspect(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("module inspect")
	fs.Usage = func() { fmt.Fprint(e.err, moduleInspectHelp); fs.PrintDefaults() }
	o, asJSON := defineModule(fs), jsonFlag(fs)
	trust := fs.String("trust", "", "public key `FILE` that the signature is checked with")
	module, named, err := parseModule(fs, args)
	if err != nil {
		return err
	}
	files, err := samples(module, named)
	if err != nil {
		return err
	}
	w, err := openWorkbench(ctx, e.log, module, o)
	if err != nil {
		return err
	}
	defer w.close(ctx)
	w.cfg.Trust = *trust
	in, err := w.inspect(ctx, files)
	if err != nil {
		return err
	}
	if *asJSON {
		return e.printJSON(in)
	}
	return in.print(e)
}

func (w *workbench) inspect(ctx context.Context, files []*golden.File) (*inspected, error) {
	a, err := w.rt.Inspect(ctx, moduleName(w.cfg), w.cfg)
	if err != nil {
		return nil, err
	}
	in := &inspected{
		File: w.cfg.Path + w.cfg.Script, Bytes: a.Bytes, SHA256: a.SHA256, Manifest: a.Manifest, Imports: a.Imports, Exports: a.Exports, Memory: a.Memory,
	}
	if in.Signature, err = signatureOf(in.File, w.cfg.Trust); err != nil {
		return nil, err
	}
	for _, f := range files {
		in.Costs = append(in.Costs, w.cost(ctx, f))
	}
	return in, nil
}

// signatureOf tells who signed a file that is trusted already, if anyone was to be.
func signatureOf(file, trust string) (string, error) {
	text, err := config.ReadFile(file+host.SignatureSuffix, sign.MaxText)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "none", nil
	case err != nil:
		return "", err
	case trust != "":
		return fmt.Sprintf("by key %s, which %s trusts", sign.Signer(text), trust), nil
	}
	return fmt.Sprintf("by key %s, not checked: give --trust", sign.Signer(text)), nil
}

func (w *workbench) cost(ctx context.Context, f *golden.File) cost {
	c := cost{File: f.Path(), Records: len(f.Records)}
	m, err := w.load(ctx, f.Config)
	if err != nil {
		c.Error = err.Error()
		return c
	}
	defer m.Close()
	r, err := f.Run(ctx, w.rt, m, nil)
	if err != nil {
		c.Error = err.Error()
		return c
	}
	c.Units, c.Most = r.Units, r.Most
	return c
}

func (in *inspected) print(e *environment) error {
	t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	m := &in.Manifest
	row("module", "%s %s", m.Name, m.Version)
	if m.About != "" {
		row("", "%s", m.About)
	}
	row("file", "%s, %d bytes", in.File, in.Bytes)
	row("sha256", "%s", in.SHA256)
	row("signature", "%s", in.Signature)
	row("sees", "labels: %s; payload: %s", listOr(m.Labels, "none"), m.Payload)
	row("answers", "at most %d outputs; reasons: %s", m.OutputsMax, listOr(m.Reasons, "none"))
	state := m.State
	if state != abi.StateNone {
		state += fmt.Sprintf(", version %d", m.StateVersion)
	}
	row("state", "%s", state)
	var keys []string
	for _, k := range m.Config {
		keys = append(keys, describeKey(k))
	}
	rows := func(name string, list []string) {
		for _, text := range list {
			row(name, "%s", text)
			name = ""
		}
	}
	rows("config", keys)
	rows("imports", in.Imports)
	rows("exports", in.Exports)
	row("memory", "%s when it is made", bridge.Size(in.Memory))
	for _, c := range in.Costs {
		if c.Error != "" {
			row("cost", "%s: not known: %s", c.File, c.Error)
			continue
		}
		row("cost", "%s: %d records, %d units a record, %d at most", c.File, c.Records, c.Units/int64(c.Records), c.Most)
	}
	return t.Flush()
}

func listOr(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.Join(list, ", ")
}

func describeKey(k abi.Key) string {
	text := k.Name + " " + k.Type
	switch {
	case k.Required:
		text += ", required"
	case k.Default != nil:
		text += fmt.Sprintf(", default %v", k.Default)
	}
	if k.Help != "" {
		text += ": " + k.Help
	}
	return text
}

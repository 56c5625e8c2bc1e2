package host

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/tetratelabs/wazero/api"
)

// Anatomy is what can be told of a module without a config for it.
type Anatomy struct {
	SHA256   string
	Bytes    int64
	Manifest abi.Manifest
	Imports  []string // "sluice1.log (i32, i32, i32) -> ()"
	Exports  []string // of functions
	Memory   int64    // bytes that an instance has once it is made
}

// Inspect reads and compiles a module and makes an instance of it, which gets no config and no record.
func (rt *Runtime) Inspect(ctx context.Context, name string, cfg Config) (*Anatomy, error) {
	a, err := rt.inspect(ctx, name, cfg)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", name, err)
	}
	return a, nil
}

func (rt *Runtime) inspect(ctx context.Context, name string, cfg Config) (a *Anatomy, err error) {
	m, src, err := rt.open(ctx, name, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.compiled.Close(ctx)) }()
	in, err := m.start()
	if err != nil {
		return nil, err
	}
	defer in.close()
	text, err := in.described(src.module.Bytes)
	if err != nil {
		return nil, err
	}
	manifest, err := ParseManifest(text)
	if err != nil {
		return nil, err
	}
	a = &Anatomy{SHA256: m.sha256, Bytes: m.bytes, Manifest: *manifest, Memory: int64(in.memory.Size())}
	for _, f := range m.compiled.ImportedFunctions() {
		module, function, _ := f.Import()
		a.Imports = append(a.Imports, module+"."+function+" "+typeOf(f))
	}
	for export, f := range m.compiled.ExportedFunctions() {
		a.Exports = append(a.Exports, export+" "+typeOf(f))
	}
	slices.Sort(a.Imports)
	slices.Sort(a.Exports)
	return a, nil
}

func typeOf(f api.FunctionDefinition) string { return readable(signature(f)) }

package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/meter"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// signatures of the exports: parameters, colon, result.
var exports = [...]struct {
	name, signature string
	required        bool
}{
	{abi.ExportIn, "i:i", true},
	{abi.ExportProcess, "ii:I", true},
	{abi.ExportInit, "i:i", false},
	{abi.ExportFlush, "i:I", false},
	{abi.ExportSave, ":I", false},
	{abi.ExportLoad, "i:i", false},
	{abi.ExportDescribe, ":I", false},
	{abi.ExportInitialize, ":", false},
	{abi.ExportScript, "i:i", false},
}

// Load reads, checks, meters and compiles a module, and makes one instance with its config, so that a bad module is refused here and never
// sees a record. Errors name the module and what is wrong with it.
func (rt *Runtime) Load(ctx context.Context, name string, cfg Config) (*Module, error) {
	m, err := rt.load(ctx, name, cfg)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", name, err)
	}
	return m, nil
}

func (rt *Runtime) load(ctx context.Context, name string, cfg Config) (*Module, error) {
	m, src, err := rt.open(ctx, name, cfg)
	if err != nil {
		return nil, err
	}
	if err := m.probe(src.module.Bytes); err != nil {
		return nil, errors.Join(err, m.compiled.Close(ctx))
	}
	if err := errors.Join(rt.keep(m.cfg.Path, src.module), rt.keep(m.cfg.Script, src.script)); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// open reads, checks and compiles a module of which nothing has run yet.
func (rt *Runtime) open(ctx context.Context, name string, cfg Config) (m *Module, src sources, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, src, err
	}
	if src, err = rt.sources(ctx, &cfg); err != nil {
		return nil, src, err
	}
	m = &Module{rt: rt, name: name, cfg: cfg, sum: src.sum(), limit: rt.limit(&cfg), bytes: int64(len(src.module.Bytes) + len(src.script.Bytes))}
	m.seed = binary.LittleEndian.Uint64(m.sum[8:])
	m.sha256 = hexSum(m.sum)
	if cfg.SHA256 != "" && !strings.EqualFold(cfg.SHA256, m.sha256) {
		return nil, src, fmt.Errorf("sha256: %s is %s, want %s", strings.TrimSpace(cfg.Path+" "+cfg.Script), m.sha256, cfg.SHA256)
	}
	if err := m.prepare(src.script.Bytes); err != nil {
		return nil, src, err
	}
	return m, src, m.compile(ctx, src.module.Bytes)
}

// compile meters the module and compiles it, or finds both done in the cache.
func (m *Module) compile(ctx context.Context, wasm []byte) error {
	out, err := meter.Rewrite(wasm, meter.Options{Start: firstUnits, MaxPages: uint32(m.cfg.Memory / pageSize)})
	if err != nil {
		return err
	}
	m.counter = out.Counter
	m.compiled, err = m.rt.compile(ctx, out.Wasm)
	if err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	if err := checkExports(m.compiled); err != nil {
		return errors.Join(err, m.compiled.Close(ctx))
	}
	if err := errors.Join(checkImports(m.compiled), m.checkEngine()); err != nil {
		return errors.Join(err, m.compiled.Close(ctx))
	}
	return nil
}

func checkExports(c wazero.CompiledModule) error {
	var errs []error
	if len(c.ExportedMemories()) == 0 {
		errs = append(errs, errors.New("export memory: missing"))
	}
	functions := c.ExportedFunctions()
	if _, found := functions[abi.ExportVersion]; !found {
		errs = append(errs, fmt.Errorf("export %s: missing: not a module for ABI %d", abi.ExportVersion, abi.Version))
	}
	for _, e := range exports {
		f, found := functions[e.name]
		if !found && e.required {
			errs = append(errs, fmt.Errorf("export %s: missing, want %s", e.name, readable(e.signature)))
		}
		if found && signature(f) != e.signature {
			errs = append(errs, fmt.Errorf("export %s: is %s, want %s", e.name, readable(signature(f)), readable(e.signature)))
		}
	}
	return errors.Join(errs...)
}

func checkImports(c wazero.CompiledModule) error {
	var errs []error
	if len(c.ImportedMemories()) > 0 {
		errs = append(errs, errors.New("the module imports its memory, want it exported"))
	}
	known := []hostModule{sluiceModule(), wasiModule()}
	for _, f := range c.ImportedFunctions() {
		module, name, _ := f.Import()
		if module == meter.TickModule {
			continue // the meter put it in, and refuses a module that has it already
		}
		i := slices.IndexFunc(known, func(h hostModule) bool { return h.name == module })
		if i < 0 {
			errs = append(errs, fmt.Errorf("import %s.%s: unknown, there are only %s and %s", module, name, known[0].name, known[1].name))
			continue
		}
		want := known[i].find(name)
		switch {
		case want == nil:
			errs = append(errs, fmt.Errorf("import %s.%s: there is no such function", module, name))
		case want.signature != signature(f):
			errs = append(errs, fmt.Errorf("import %s.%s: is %s, want %s", module, name, readable(signature(f)), readable(want.signature)))
		}
	}
	return errors.Join(errs...)
}

// signature writes a function's type as the tables here do; types that they never use become a question mark.
func signature(f api.FunctionDefinition) string {
	letters := func(types []api.ValueType) string {
		b := make([]byte, len(types))
		for i, t := range types {
			b[i] = '?'
			switch t {
			case api.ValueTypeI32:
				b[i] = 'i'
			case api.ValueTypeI64:
				b[i] = 'I'
			case api.ValueTypeF64:
				b[i] = 'F'
			}
		}
		return string(b)
	}
	return letters(f.ParamTypes()) + ":" + letters(f.ResultTypes())
}

// readable writes "ii:I" as "(i32, i32) -> (i64)".
func readable(signature string) string {
	names := map[rune]string{'i': "i32", 'I': "i64", 'F': "f64", '?': "another type"}
	params, results, _ := strings.Cut(signature, ":")
	list := func(s string) string {
		var out []string
		for _, c := range s {
			out = append(out, names[c])
		}
		return "(" + strings.Join(out, ", ") + ")"
	}
	return list(params) + " -> " + list(results)
}

// probe makes the first instance. The manifest comes from its section or from the instance.
func (m *Module) probe(wasm []byte) error {
	in, err := m.start()
	if err != nil {
		return err
	}
	text, err := in.described(wasm)
	if err == nil {
		err = m.take(text)
	}
	if err == nil {
		err = in.configure()
	}
	if err != nil {
		in.close()
		return err
	}
	m.pool = newPool(m.cfg.Instances, m.fresh, m.free)
	m.pool.idle, m.pool.alive = []*instance{in}, 1
	return nil
}

// described is the text of the manifest of a guest that was made of those bytes.
func (in *instance) described(wasm []byte) ([]byte, error) {
	if in.m.script != nil {
		return in.describe()
	}
	text, err := meter.Custom(wasm, abi.ManifestSection)
	if err == nil && text == nil {
		return in.describe()
	}
	return text, err
}

// describe asks the guest for its manifest.
func (in *instance) describe() ([]byte, error) {
	f := in.mod.ExportedFunction(abi.ExportDescribe)
	if f == nil {
		return nil, fmt.Errorf("manifest: the module has neither a section %s nor an export %s", abi.ManifestSection, abi.ExportDescribe)
	}
	v, err := in.call(abi.ExportDescribe, f, limit{units: startUnits})
	if err != nil {
		return nil, err
	}
	b, err := in.answer(abi.ExportDescribe, uint32(v>>32), uint32(v), abi.MaxManifest)
	return bytes.Clone(b), err
}

// take sets up m by its manifest.
func (m *Module) take(text []byte) error {
	manifest, err := ParseManifest(text)
	if err != nil {
		return err
	}
	m.manifest = manifest
	m.tick, _ = tickOf(manifest)
	m.payload, _ = manifest.PayloadBytes()
	m.allLabels = slices.Equal(manifest.Labels, []string{abi.AllLabels})
	functions := m.compiled.ExportedFunctions()
	for _, name := range []string{abi.ExportSave, abi.ExportLoad} {
		if _, found := functions[name]; !found && m.Stateful() {
			return fmt.Errorf("export %s: missing, the manifest says state = %q", name, manifest.State)
		}
	}
	if _, m.flushes = functions[abi.ExportFlush]; !m.flushes && m.tick > 0 {
		return fmt.Errorf("export %s: missing, the manifest says tick = %q", abi.ExportFlush, manifest.Tick)
	}
	m.config, err = configJSON(manifest, m.cfg.Config)
	return err
}

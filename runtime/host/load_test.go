package host

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
)

func TestConfigValidate(t *testing.T) {
	cases := map[string]struct {
		change func(*Config)
		want   string
	}{
		"default":        {func(*Config) {}, ""},
		"pinned":         {func(c *Config) { c.SHA256 = strings.Repeat("aB", 32) }, ""},
		"path":           {func(c *Config) { c.Path = "" }, "path: missing"},
		"script":         {func(c *Config) { c.Path, c.Script = "", "a.js" }, ""},
		"script, path":   {func(c *Config) { c.Script = "a.js" }, ""},
		"shadow_batches": {func(c *Config) { c.ShadowBatches = -1 }, "shadow_batches: -1, want 0..1000000"},
		"sha256":         {func(c *Config) { c.SHA256 = "abc" }, `sha256: "abc", want 64 hex digits`},
		"little memory":  {func(c *Config) { c.Memory = 1 }, "memory: 1B, want 64KiB..1GiB"},
		"much memory":    {func(c *Config) { c.Memory = 1 << 31 }, "memory: 2GiB, want 64KiB..1GiB"},
		"budget":         {func(c *Config) { c.Budget = bridge.Duration(time.Minute) }, "budget: 1m0s, want 100µs..1s"},
		"no budget":      {func(c *Config) { c.Budget = 0 }, "budget: 0s, want"},
		"units":          {func(c *Config) { c.BudgetUnits = 5 }, "budget_units: 5, want 0 or 1000..10000000000"},
		"output":         {func(c *Config) { c.Output = 0 }, "output: 0B, want 1KiB..256MiB"},
		"instances":      {func(c *Config) { c.Instances = 0 }, "instances: 0, want 1..1024"},
		"on_fault":       {func(c *Config) { c.OnFault = "explode" }, `on_fault: "explode", want park, hold, pass, drop`},
	}
	for name, c := range cases {
		cfg := Default()
		cfg.Path = "a.wasm"
		c.change(&cfg)
		got := ""
		if err := cfg.Validate(); err != nil {
			got = err.Error()
		}
		if (got == "") != (c.want == "") || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	cfg := Config{}
	if n := strings.Count(cfg.Validate().Error(), "\n"); n != 6 {
		t.Errorf("an empty config has %d faults, want all 7:\n%v", n+1, cfg.Validate())
	}
}

func TestRefusedModules(t *testing.T) {
	plain := func(change func(g *guest)) []byte {
		g := newGuest("version = \"1\"")
		change(g)
		return g.bytes()
	}
	process := func(g *guest) { g.process(pass) }
	start := func(code ...[]byte) func(g *guest) {
		return func(g *guest) { g.process(pass); g.Start(g.Func("", nil, nil, 0, code...)) }
	}
	imports := func(module, name, signature string) []byte {
		return plain(func(g *guest) {
			f := hostFunction{signature: signature}
			params, results := f.types()
			g.Import(module, name, params, results)
			g.process(pass)
		})
	}
	manifest := func(text string) []byte { g := newGuest(text); g.process(pass); return g.bytes() }
	cases := map[string]struct {
		wasm   []byte
		change func(*Config)
		want   string
	}{
		"text":                      {[]byte("hello"), nil, "not a WebAssembly module"},
		"invalid":                   {plain(func(g *guest) { g.Func(abi.ExportProcess, nil, nil, 0, asm.Op(asm.Drop)) }), nil, "compile: "},
		"other ABI":                 {new(asm.Module).Bytes(), nil, "export sluice_abi_1: missing: not a module for ABI 1"},
		"no memory":                 {new(asm.Module).Bytes(), nil, "export memory: missing"},
		"no process":                {plain(func(*guest) {}), nil, "export sluice_process: missing, want (i32, i32) -> (i64)"},
		"unknown import":            {imports("env", "abort", "i:"), nil, "import env.abort: unknown, there are only sluice1 and wasi_snapshot_preview1"},
		"unknown function":          {imports("sluice1", "emit", "i:"), nil, "import sluice1.emit: there is no such function"},
		"wrong import":              {imports("sluice1", "log", "iF:I"), nil, "import sluice1.log: is (i32, f64) -> (i64), want (i32, i32, i32) -> ()"},
		"too much memory":           {plain(process), func(c *Config) { c.Memory = 65536 }, "the module begins with 256 KiB, its limit is 64 KiB"},
		"sha256":                    {plain(process), func(c *Config) { c.SHA256 = strings.Repeat("00", 32) }, "want 0000"},
		"config":                    {plain(process), func(c *Config) { c.OnFault = "" }, `on_fault: ""`},
		"trap in start":             {plain(start(asm.Op(asm.Unreachable))), nil, "instantiate: "},
		"endless start":             {plain(start(asm.Loop(asm.Br(0)))), nil, "instantiate: "},
		"work of the host in start": {hostInStart("random_get", "ii:i", asm.Int(bufferAt), asm.Int(3<<16)), nil, "budget used up"},
		"many vectors in start":     {hostInStart("fd_write", "iiii:i", asm.Int(1), asm.Int(bufferAt), asm.Int(maxVectors), asm.Int(0)), nil, "budget used up"},
		"trap in init": {plain(func(g *guest) {
			process(g)
			g.Func(abi.ExportInit, []byte{asm.I32}, []byte{asm.I32}, 0, asm.Op(asm.Unreachable))
		}), nil, "sluice_init: wasm error: unreachable"},
		"endless init": {plain(func(g *guest) {
			process(g)
			g.Func(abi.ExportInit, []byte{asm.I32}, []byte{asm.I32}, 0, asm.Loop(asm.Br(0)), asm.Int(0))
		}), nil, "sluice_init: budget used up"},
		"init refuses": {plain(func(g *guest) {
			process(g)
			g.Data(100, []byte("no\x00"))
			g.Func(abi.ExportInit, []byte{asm.I32}, []byte{asm.I32}, 0, asm.Int(100))
		}), nil, "sluice_init: refused: no"},
		"init lies": {plain(func(g *guest) {
			process(g)
			g.Func(abi.ExportInit, []byte{asm.I32}, []byte{asm.I32}, 0, asm.Int(0x7fffffff))
		}), nil, "sluice_init: refused: "},
		"trap at once":   {plain(func(g *guest) { process(g); g.Func(abi.ExportInitialize, nil, nil, 0, asm.Op(asm.Unreachable)) }), nil, "_initialize: wasm error: unreachable"},
		"no manifest":    {func() []byte { g := newGuest(""); g.process(pass); return g.bytes() }(), nil, "manifest: the module has neither a section sluice.manifest nor an export sluice_describe"},
		"manifest":       {manifest("abi = 1"), nil, "manifest: toml"},
		"manifest key":   {manifest("unit = \"batch\""), nil, "manifest: unknown key unit"},
		"manifest value": {manifest("payload = \"some\""), nil, "manifest: payload: some, want none, head:N, full or pull"},
		"huge manifest":  {manifest("# " + strings.Repeat("x", abi.MaxManifest)), nil, "want at most 65536"},
		"config key":     {manifest("[[config]]\nname = \"a\"\ntype = \"int\""), func(c *Config) { c.Config = map[string]any{"b": int64(1)} }, "config.b: unknown, the module takes a"},
		"config type":    {manifest("[[config]]\nname = \"a\"\ntype = \"int\"\nhelp = \"how many\""), func(c *Config) { c.Config = map[string]any{"a": "x"} }, "config.a: x, want int: how many"},
		"config missing": {manifest("[[config]]\nname = \"a\"\ntype = \"int\"\nrequired = true\nhelp = \"how many\""), nil, "config.a: missing: how many"},
		"describe outside": {func() []byte {
			g := newGuest("")
			g.process(pass)
			g.Func(abi.ExportDescribe, nil, []byte{asm.I64}, 0, asm.Int64(-1))
			return g.bytes()
		}(), nil, "sluice_describe: an answer of 4294967295 bytes, want at most 65536"},
		"no room":        {func() []byte { return buffer(0) }(), nil, "sluice_in: no room for 4096 bytes"},
		"crooked buffer": {func() []byte { return buffer(8) }(), nil, "sluice_in: address 0x8, want a multiple of 16"},
		"buffer outside": {func() []byte { return buffer(1 << 20) }(), nil, "sluice_in: 4096 bytes at 0x100000 lie outside the memory of 65536"},
	}
	b := newBench(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			if c.change != nil {
				c.change(&cfg)
			}
			_, err := b.try(t, "bad", c.wasm, cfg)
			if err == nil || !strings.HasPrefix(err.Error(), "module bad: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// hostInStart is a guest whose start section calls a function of WASI a hundred thousand times: few turns of a loop, much work for the host.
func hostInStart(name, signature string, args ...[]byte) []byte {
	g := newGuest("version = \"1\"")
	f := hostFunction{signature: signature}
	params, results := f.types()
	call := asm.Call(g.Import("wasi_snapshot_preview1", name, params, results))
	g.process(pass)
	g.Start(g.Func("", nil, nil, 1, asm.Int(100_000), asm.Op(0x21, 0), asm.Loop( // 0x21 = local.set
		asm.Code(args...), call, asm.Op(asm.Drop), asm.Get(0), asm.Int(1), asm.Op(asm.I32Sub), asm.Op(0x22, 0), asm.BrIf(0),
	)))
	return g.bytes()
}

// buffer is a guest whose input buffer is at an address.
func buffer(at int32) []byte {
	var m asm.Module
	m.Memory(abi.ExportMemory, 1)
	m.Func(abi.ExportVersion, nil, nil, 0)
	m.Func(abi.ExportIn, []byte{asm.I32}, []byte{asm.I32}, 0, asm.Int(at))
	m.Func(abi.ExportProcess, []byte{asm.I32, asm.I32}, []byte{asm.I64}, 0, pass)
	m.Custom(abi.ManifestSection, []byte("abi = 1\nname = \"buffer\""))
	return m.Bytes()
}

func TestRefusedFiles(t *testing.T) {
	b := newBench(t)
	huge := filepath.Join(b.dir, "huge.wasm")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, MaxModule+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(b.dir, "none.wasm"): "path: stat ",
		b.dir:                             "is not a file of at most 16777216 bytes",
		huge:                              "is not a file of at most 16777216 bytes",
	} {
		cfg := testConfig()
		cfg.Path = path
		if _, err := b.Load(context.Background(), "m", cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestConfigReachesTheGuest(t *testing.T) {
	m := &abi.Manifest{Config: []abi.Key{
		{Name: "label", Type: "string", Default: "rpm"}, {Name: "limit", Type: "float"}, {Name: "on", Type: "bool"},
		{Name: "list", Type: "array"}, {Name: "map", Type: "table"}, {Name: "n", Type: "int", Default: int64(3)},
	}}
	got, err := configJSON(m, map[string]any{
		"limit": int64(5), "on": true, "list": []any{"<a>"}, "map": map[string]any{"k": 1.5},
	})
	if want := `{"label":"rpm","limit":5,"list":["<a>"],"map":{"k":1.5},"n":3,"on":true}`; err != nil || string(got) != want {
		t.Errorf("got %s %v, want %s", got, err, want)
	}
	if got, err := configJSON(&abi.Manifest{}, nil); err != nil || string(got) != "{}" {
		t.Errorf("got %s %v, want {}", got, err)
	}
}

// TestDamagedCache: a cache file that was cut or garbled is made again.
func TestDamagedCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	g := newGuest("version = \"1\"")
	g.process(pass)
	cfg := testConfig()
	cfg.Path = filepath.Join(t.TempDir(), "a.wasm")
	if err := os.WriteFile(cfg.Path, g.bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func() {
		t.Helper()
		rt, err := New(context.Background(), dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer rt.Close(context.Background())
		m, err := rt.Load(context.Background(), "a", cfg)
		if err != nil {
			t.Fatal(err)
		}
		if info := m.Info(); info.Units != 100_000 || info.Config != "{}" || info.Manifest.Name != "guest" || info.Bytes == 0 {
			t.Errorf("got %+v", info)
		}
	}
	load()
	files, err := filepath.Glob(filepath.Join(dir, "wazero-*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the cache holds no files, %v", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 0xff
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load()
	for _, f := range files {
		if err := os.Truncate(f, 20); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	load()
}

func TestRound(t *testing.T) {
	for n, want := range map[int64]int64{1: 1, 19: 10, 25: 20, 99: 50, 500_000: 500_000, 1_999_999: 1_000_000} {
		if got := round(n); got != want {
			t.Errorf("%d: got %d, want %d", n, got, want)
		}
	}
}

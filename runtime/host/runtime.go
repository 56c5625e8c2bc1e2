package host

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/host/asm"
	"github.com/sluicebridge/sluice/runtime/host/meter"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

const (
	pageSize   = 64 << 10
	startUnits = 50_000_000 // for the start section and _initialize: a Go guest needs 20,000

	slicesPerMillisecond = 10
)

// Runtime compiles modules and offers them their imports. Its methods may be called concurrently.
type Runtime struct {
	rt    wazero.Runtime
	cache wazero.CompilationCache
	dir   string
	log   *slog.Logger
	speed int64 // units a millisecond
	slice int64 // units that a guest may take before it lets others run

	fetcher Fetcher // nil: all modules are files
}

// New makes a runtime that keeps compiled code in dir, which it creates. What lies in dir is run: nobody else may write there. Close frees
// everything, modules included.
func New(ctx context.Context, dir string, log *slog.Logger) (*Runtime, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("compile cache: %w", err)
	}
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return nil, fmt.Errorf("compile cache %s: %w", dir, err)
	}
	cfg := wazero.NewRuntimeConfig().
		WithCoreFeatures(api.CoreFeaturesV2).
		WithDebugInfoEnabled(false). // metering has moved what it points to
		WithCompilationCache(cache)
	rt := &Runtime{rt: wazero.NewRuntimeWithConfig(ctx, cfg), cache: cache, dir: dir, log: log}
	for _, module := range []hostModule{meterModule(), sluiceModule(), wasiModule()} {
		if err := module.instantiate(ctx, rt.rt); err != nil {
			return nil, err
		}
	}
	if rt.speed, err = rt.calibrate(ctx); err != nil {
		return nil, fmt.Errorf("measure this machine's speed: %w", err)
	}
	rt.slice = max(rt.speed/slicesPerMillisecond, 1)
	return rt, nil
}

// Close frees compiled code and whatever instance is still alive.
func (rt *Runtime) Close(ctx context.Context) error {
	err := rt.rt.Close(ctx)
	if e := rt.cache.Close(ctx); err == nil {
		err = e
	}
	return err
}

// compile compiles metered code, or finds it in the cache. A damaged cache is no reason to stay down: what it holds can be made again.
func (rt *Runtime) compile(ctx context.Context, wasm []byte) (wazero.CompiledModule, error) {
	c, err := rt.rt.CompileModule(ctx, wasm)
	if err == nil || !strings.HasPrefix(err.Error(), "compilationcache: ") {
		return c, err
	}
	if err := rt.emptyCache(); err != nil {
		return nil, err
	}
	return rt.rt.CompileModule(ctx, wasm)
}

// emptyCache removes the files of compiled code.
func (rt *Runtime) emptyCache() error {
	dirs, err := filepath.Glob(filepath.Join(rt.dir, "wazero-*"))
	if err != nil {
		return err
	}
	for _, d := range dirs {
		files, err := filepath.Glob(filepath.Join(d, "*"))
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				return fmt.Errorf("empty the compile cache: %w", err)
			}
		}
	}
	return nil
}

// limit is a module's budget for one call.
func (rt *Runtime) limit(cfg *Config) limit {
	switch {
	case cfg.Metering == MeterTick:
		return limit{wall: time.Duration(cfg.Budget)}
	case cfg.BudgetUnits > 0:
		return limit{units: cfg.BudgetUnits}
	}
	return limit{units: max(round(rt.speed*time.Duration(cfg.Budget).Microseconds()/1000), 1000)}
}

// calibrate measures how many units a millisecond a small loop with a call and two memory accesses spends: a middling guest, not the
// fastest. It is a rough figure, rounded so that it is mostly the same from start to start.
func (rt *Runtime) calibrate(ctx context.Context) (int64, error) {
	const turns = 100_000
	var m asm.Module
	m.Memory("memory", 1)
	add := m.Func("", []byte{asm.I32}, []byte{asm.I32}, 0, asm.Get(0), asm.Get(0), asm.Load(0), asm.Op(asm.I32Add))
	m.Func("spin", []byte{asm.I32}, nil, 0, asm.Loop(
		asm.Int(64), asm.Get(0), asm.Int(0xfff), asm.Op(0x71), asm.Call(add), asm.Store(0), // 0x71 = i32.and
		asm.Get(0), asm.Int(1), asm.Op(asm.I32Sub), asm.Op(0x22, 0), asm.BrIf(0),
	))
	out, err := meter.Rewrite(m.Bytes(), meter.Options{Start: 1 << 60})
	if err != nil {
		return 0, err
	}
	compiled, err := rt.compile(ctx, out.Wasm)
	if err != nil {
		return 0, err
	}
	defer compiled.Close(ctx)
	mod, err := rt.rt.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		return 0, err
	}
	defer mod.Close(ctx)
	spin := mod.ExportedFunction("spin")
	best := time.Duration(1 << 62)
	for range 8 {
		begin := time.Now()
		if _, err := spin.Call(ctx, turns); err != nil {
			return 0, err
		}
		best = min(best, max(time.Since(begin), time.Microsecond))
	}
	return round(2 * turns * int64(time.Millisecond) / int64(best)), nil
}

// round rounds down to 1, 2 or 5 times a power of ten.
func round(n int64) int64 {
	unit := int64(1)
	for n/unit >= 10 {
		unit *= 10
	}
	switch first := n / unit; {
	case first >= 5:
		return 5 * unit
	case first >= 2:
		return 2 * unit
	}
	return unit
}

// Chain makes a pipeline's chain of modules. states gives the committed state of stateful ones, metrics may be nil. The modules stay the
// caller's: they are closed after the chain's last Apply.
func (rt *Runtime) Chain(pipeline string, modules []*Module, states bridge.States, metrics *bridge.Metrics) (*Chain, error) {
	return newChain(pipeline, modules, states, metrics)
}

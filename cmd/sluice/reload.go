package main

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/config"
	"github.com/sluicebridge/sluice/runtime/host"
)

// What a reload can change: the tables under [modules], and which modules and which condition a pipeline has. The rest needs a restart, which loses
// nothing: what was taken in is in the ledger, what was not stays with its sender. Modules whose tables are as they were stay: a file of theirs
// that has changed comes as in any other moment, see swap.go.

// chain is a pipeline's modules, exchanged as a whole between two batches. What the new ones do not know of a stream they load from the
// ledger, as after a restart.
type chain struct {
	mu  sync.RWMutex // held for reading while a batch is in the modules
	now ticking
}

// Apply implements bridge.Chain.
func (c *chain) Apply(ctx context.Context, stream string, rs []bridge.Record, out *bridge.Results) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.now.Apply(ctx, stream, rs, out)
}

// Flush implements bridge.Chain.
func (c *chain) Flush(ctx context.Context, stream string, f bridge.Flush, out *bridge.Results) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.now.Flush(ctx, stream, f, out)
}

// tick is how long that of the modules in effect is.
func (c *chain) tick() time.Duration {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.now.Tick()
}

// Discard implements bridge.Chain.
func (c *chain) Discard(stream string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	c.now.Discard(stream)
}

// exchange returns when no batch is in the old modules any more.
func (c *chain) exchange(with ticking) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = with
}

// reload reads the configuration again and takes over what it can, all or nothing.
func (g *gate) reload(ctx context.Context) error {
	g.change.Lock()
	defer g.change.Unlock()
	f, err := loadConfig(g.path)
	if err != nil {
		return err
	}
	if keys := needRestart(g.current(), f); len(keys) > 0 {
		return fmt.Errorf("a restart is needed for %s", strings.Join(keys, ", "))
	}
	same, moved := g.staying(f)
	seats := seatsOf(f)
	fresh, err := loadModules(ctx, g.guests, g.path, f, same)
	if err != nil {
		return err
	}
	modules := maps.Clone(fresh)
	maps.Copy(modules, same)
	maps.Copy(modules, moved)
	chains, err := g.makeChains(f, modules)
	if err != nil {
		closeModules(fresh)
		return err
	}
	for name, c := range chains {
		g.chains[name].exchange(c)
	}
	for name := range same {
		seats[name].loaded = g.swaps.seats[name].loaded // what has changed since is still to be seen
	}
	g.seat(f, modules, seats)
	for name := range moved {
		if err := g.come(ctx, name, fresh[name]); err != nil {
			return err
		}
	}
	g.swaps.lookNow()
	return nil
}

// staying returns the modules that a configuration leaves as they are, and those that stay live although it names other files: what these hold
// comes as a file that has changed does.
func (g *gate) staying(f *file) (same, moved map[string]*host.Module) {
	same, moved = make(map[string]*host.Module), make(map[string]*host.Module)
	for name, c := range f.Modules {
		old, was := g.current().Modules[name]
		if !was {
			continue
		}
		if reflect.DeepEqual(old, c) {
			same[name] = g.modules[name]
			continue
		}
		old.Path, old.Script, old.SHA256, old.Trust = c.Path, c.Script, c.SHA256, c.Trust
		if reflect.DeepEqual(old, c) {
			moved[name] = g.modules[name]
		}
	}
	return same, moved
}

// seat takes over the modules of a configuration that is in effect now, and closes those that are in no place any more.
func (g *gate) seat(f *file, modules map[string]*host.Module, seats map[string]*seat) {
	g.mu.Lock()
	old := g.modules
	g.modules, g.file = modules, f
	g.mu.Unlock()
	g.swaps.mu.Lock()
	defer g.swaps.mu.Unlock()
	for name, m := range old {
		was := g.swaps.seats[name]
		if modules[name] == m {
			was.loaded = seats[name].loaded
			seats[name] = was
			continue
		}
		m.Close()
		for _, other := range []*host.Module{was.candidate, was.before} {
			if other != nil {
				other.Close()
			}
		}
	}
	g.swaps.seats = seats
}

// current is the configuration in effect.
func (g *gate) current() *file {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.file
}

// needRestart names the keys that differ and cannot be changed while running.
func needRestart(old, new *file) []string {
	a, b := withoutModules(old), withoutModules(new)
	if reflect.DeepEqual(a, b) {
		return nil
	}
	if keys := differences("", config.Plain(a), config.Plain(b)); len(keys) > 0 {
		return keys
	}
	return []string{"a secret"}
}

// withoutModules is what must stay the same.
func withoutModules(f *file) *file {
	c := *f
	c.Modules, c.Pipelines = nil, make(map[string]pipelineConfig)
	for name, p := range f.Pipelines {
		p.Modules, p.When, p.WhenError = nil, "", 0
		c.Pipelines[name] = p
	}
	return &c
}

// differences lists the paths at which two trees differ.
func differences(path string, a, b map[string]any) (keys []string) {
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		here := strings.TrimPrefix(path+"."+k, ".")
		am, aok := a[k].(map[string]any)
		bm, bok := b[k].(map[string]any)
		switch {
		case aok && bok:
			keys = append(keys, differences(here, am, bm)...)
		case !reflect.DeepEqual(a[k], b[k]):
			keys = append(keys, here)
		}
	}
	return keys
}

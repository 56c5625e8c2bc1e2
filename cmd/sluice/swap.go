package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/admin"
	"github.com/sluicebridge/sluice/runtime/host"
)

// watchEvery is how often the files of modules are looked at. One that has changed is loaded when two looks in a row find it the same: it may
// be in the midst of being copied.
const watchEvery = time.Second

// swaps is what the gate knows of modules that come and go while it runs.
type swaps struct {
	wake chan struct{} // a trial is over, or someone wants the files looked at now
	look bool          // the latter; guarded by mu

	mu    sync.Mutex
	seats map[string]*seat // by module; guarded by mu, and changed only by who holds gate.change
}

// seat is a module's place in the chains: who has it, who wants it, who had it.
type seat struct {
	loaded, seen stamp        // of the file: what was loaded or refused last, and what was seen since and may still be growing
	trial        *host.Trial  // nil: none
	candidate    *host.Module // in the trial
	before       *host.Module // for a rollback; nil: none
	last         string       // what became of the last candidate
	refused      bool
}

// stamp tells a module's files from what they were; zero where there is none. Where it has to be signed, the signatures and keys are among them: they may
// come later than the module.
type stamp [5]fileStamp

type fileStamp struct {
	time time.Time
	size int64
}

// fetched: the module is no file here.
func (s stamp) fetched() bool { return s[0] == fileStamp{} && s[1] == fileStamp{} }

func stampOf(c host.Config) (s stamp) {
	paths := []string{c.Path, c.Script}
	if c.Trust != "" {
		paths = append(paths, c.Path+host.SignatureSuffix, c.Script+host.SignatureSuffix, c.Trust)
	}
	for i, path := range paths {
		if info, err := os.Stat(path); err == nil {
			s[i].time, s[i].size = info.ModTime(), info.Size()
		}
	}
	return s
}

// seatsOf takes the stamps of all modules, before they are loaded: what changes meanwhile is seen then.
func seatsOf(f *file) map[string]*seat {
	seats := make(map[string]*seat)
	for name, c := range f.Modules {
		seats[name] = &seat{loaded: stampOf(c)}
	}
	return seats
}

// lookNow has the files looked at without waiting for the next time.
func (s *swaps) lookNow() {
	s.mu.Lock()
	s.look = true
	s.mu.Unlock()
	s.ring()
}

func (s *swaps) ring() {
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// runSwaps brings modules whose files have changed into their places, until ctx ends. What goes wrong with one leaves the module before where it is.
func (g *gate) runSwaps(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-g.swaps.wake:
		}
		if err := g.turn(ctx); err != nil {
			return err
		}
	}
}

// turn looks at each module once.
func (g *gate) turn(ctx context.Context) error {
	g.change.Lock()
	defer g.change.Unlock()
	g.swaps.mu.Lock()
	now := g.swaps.look
	g.swaps.look = false
	g.swaps.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(g.swaps.seats)) {
		s := g.swaps.seats[name]
		if s.trial != nil {
			if over, err := s.trial.Over(); over {
				if err := g.conclude(ctx, name, err); err != nil {
					return err
				}
			}
		}
		if c := g.current().Modules[name]; now || c.Watch {
			if err := g.watch(ctx, name, c, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// conclude ends a trial.
func (g *gate) conclude(ctx context.Context, name string, failed error) error {
	s := g.swaps.seats[name]
	candidate := s.candidate
	g.untry(name)
	if failed != nil {
		g.refuse(name, candidate, failed)
		return nil
	}
	return g.promote(ctx, name, candidate, "promoted")
}

// untry takes a candidate out of its trial; it stays open.
func (g *gate) untry(name string) {
	g.modules[name].Untry()
	g.swaps.mu.Lock()
	defer g.swaps.mu.Unlock()
	g.swaps.seats[name].trial, g.swaps.seats[name].candidate = nil, nil
}

// watch loads a module whose file is another. Without a file, in a registry, only who asks for it now has it looked up; he has a file read, too, that
// seems to be what it was: of the same size, and written in the same tick of the file system's clock.
func (g *gate) watch(ctx context.Context, name string, c host.Config, now bool) error {
	s, is := g.swaps.seats[name], stampOf(c)
	switch {
	case is == s.loaded && (!now || s.trial != nil && !is.fetched()), is.fetched() && !now:
		s.seen = stamp{}
		return nil
	case is != s.seen && !now:
		s.seen = is
		return nil
	}
	s.loaded, s.seen = is, stamp{}
	candidate, err := g.guests.Load(ctx, name, c)
	if err != nil {
		g.dismiss(name)
		g.refuse(name, nil, err)
		return nil
	}
	return g.come(ctx, name, candidate)
}

// come begins with a candidate, in the place of the one that is on trial.
func (g *gate) come(ctx context.Context, name string, candidate *host.Module) error {
	g.dismiss(name)
	if candidate.SHA256() == g.modules[name].SHA256() {
		candidate.Close() // touched, and nothing else
		return nil
	}
	return g.try(ctx, name, candidate)
}

// dismiss ends a trial that nobody waits for any more.
func (g *gate) dismiss(name string) {
	if old := g.swaps.seats[name].candidate; old != nil {
		g.untry(name)
		old.Close()
	}
}

// try lets a candidate show itself: it takes the states that are there, and runs in the shadow of the module in its place.
func (g *gate) try(ctx context.Context, name string, candidate *host.Module) error {
	c := g.current().Modules[name]
	err := g.accepts(ctx, name, candidate)
	switch {
	case errors.Is(err, bridge.ErrCorrupt):
		candidate.Close()
		return err
	case ctx.Err() != nil: // the end, and nothing of the candidate's making
		candidate.Close()
		return nil
	case err != nil:
		g.refuse(name, candidate, err)
		return nil
	}
	if c.Shadow || c.ShadowBatches == 0 {
		return g.promote(ctx, name, candidate, "promoted")
	}
	g.log.Info("module runs in the shadow of the one in its place", "module", name, "sha256", candidate.SHA256(), "batches", c.ShadowBatches)
	g.swaps.mu.Lock()
	defer g.swaps.mu.Unlock()
	s := g.swaps.seats[name]
	s.candidate, s.trial = candidate, g.modules[name].Try(candidate, c.ShadowBatches, g.swaps.ring)
	return nil
}

// accepts tries a candidate with every state that the ledger has for it.
func (g *gate) accepts(ctx context.Context, name string, candidate *host.Module) error {
	return g.holders(ctx, name, func(p, stream string) error {
		st, found, err := g.store.State(p, stream, name)
		if err != nil || !found {
			return err
		}
		if err := candidate.Accepts(ctx, st); err != nil {
			return fmt.Errorf("state of %s: %w", stream, err)
		}
		return nil
	})
}

// holders calls f for every stream with a state, in the pipelines that a module is in.
func (g *gate) holders(ctx context.Context, name string, f func(pipeline, stream string) error) error {
	for _, p := range slices.Sorted(maps.Keys(g.intakes)) {
		if !slices.Contains(g.current().Pipelines[p].Modules, name) {
			continue
		}
		streams, err := g.store.Held(ctx, p)
		if err != nil {
			return err
		}
		for _, stream := range streams {
			if err := f(p, stream); err != nil {
				return err
			}
		}
	}
	return nil
}

// promote puts a module into the place of another between two batches. The other stays, at rest, for a rollback. The only errors are those that the
// process must stop for.
func (g *gate) promote(ctx context.Context, name string, m *host.Module, what string) error {
	live, s := g.modules[name], g.swaps.seats[name]
	m.Follow(live)
	modules := maps.Clone(g.modules)
	modules[name] = m
	chains, err := g.makeChains(g.current(), modules)
	if err != nil {
		g.refuse(name, m, err)
		return nil
	}
	for p, c := range chains {
		if slices.Contains(g.current().Pipelines[p].Modules, name) {
			g.chains[p].exchange(c)
		}
	}
	live.Rest()
	if s.before != nil && s.before != m {
		s.before.Close()
	}
	g.mu.Lock()
	g.modules = modules
	g.mu.Unlock()
	g.metrics.ModuleSwaps.At(name + "/" + what).Add(1)
	g.swaps.mu.Lock()
	s.before, s.last, s.refused = live, fmt.Sprintf("%.12s %s", m.SHA256(), what), false
	g.swaps.mu.Unlock()
	g.log.Info("module "+what, "module", name, "sha256", m.SHA256(), "before", live.SHA256(), "compared", m.Compared())
	if !m.Resets(live) {
		return nil
	}
	err = g.holders(ctx, name, func(p, stream string) error {
		if err := g.intakes[p].Flush(ctx, stream, bridge.FlushSwap); errors.Is(err, bridge.ErrCorrupt) {
			return err
		}
		return nil // what cannot be said now is said before the stream's next record
	})
	if errors.Is(err, bridge.ErrCorrupt) {
		return err
	}
	return nil
}

// refuse says why a candidate does not come, and closes it.
func (g *gate) refuse(name string, candidate *host.Module, why error) {
	if candidate != nil {
		candidate.Close()
	}
	g.metrics.ModuleSwaps.At(name + "/refused").Add(1)
	g.swaps.mu.Lock()
	s := g.swaps.seats[name]
	s.last, s.refused = why.Error(), true
	g.swaps.mu.Unlock()
	g.log.Error("module refused, the one before stays in its place", "module", name, "error", why)
}

// Rollback implements admin.Roller: it ends a trial, or brings back the module that was there before the last swap. The file is not touched; a start
// loads what is there then.
func (g *gate) Rollback(ctx context.Context, q admin.RollbackRequest) (admin.RollbackAnswer, error) {
	g.change.Lock()
	defer g.change.Unlock()
	s := g.swaps.seats[q.Module]
	switch {
	case s == nil:
		return admin.RollbackAnswer{}, fmt.Errorf("no module %q", q.Module)
	case s.trial != nil:
		candidate := s.candidate
		g.untry(q.Module)
		g.refuse(q.Module, candidate, fmt.Errorf("%.12s was rolled back in its trial", candidate.SHA256()))
		return admin.RollbackAnswer{SHA256: g.modules[q.Module].SHA256(), Was: candidate.SHA256()}, nil
	case s.before == nil:
		return admin.RollbackAnswer{}, fmt.Errorf("module %s: there is none before it since the start", q.Module)
	}
	was := g.modules[q.Module]
	if err := g.accepts(ctx, q.Module, s.before); err != nil {
		return admin.RollbackAnswer{}, err
	}
	err := g.promote(ctx, q.Module, s.before, "rolled back")
	return admin.RollbackAnswer{SHA256: g.modules[q.Module].SHA256(), Was: was.SHA256()}, err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/admin"
	"github.com/sluicebridge/sluice/bridge/config"
	"github.com/sluicebridge/sluice/bridge/ledger"
	"github.com/sluicebridge/sluice/bridge/mqtt"
	"github.com/sluicebridge/sluice/bridge/reduct"
	"github.com/sluicebridge/sluice/runtime/host"
)

// gate is a bridge put together. This file is the only one that knows every package.
//
//	inputs ──fan──▶ intakes (chains of modules) ──▶ store ──outboxes──▶ remotes
type gate struct {
	path    string // of the configuration
	log     *slog.Logger
	started time.Time

	metrics bridge.Metrics
	store   *ledger.Log
	guests  *host.Runtime
	intakes map[string]*bridge.Intake // by pipeline
	chains  map[string]*chain         // by pipeline
	inputs  []*input
	remotes []*remote
	admin   *admin.Server // nil: none

	reloadFailed atomic.Bool
	stopping     atomic.Bool

	change sync.Mutex // held by who changes modules
	swaps  swaps

	mu      sync.Mutex
	file    *file                   // in effect; guarded by mu
	modules map[string]*host.Module // live; guarded by mu, and changed only by who holds change
}

// input is a replication target with what belongs to it, or a reconciler alone.
type input struct {
	name       string
	kind       string // the table under [inputs]
	bucket     string // that it answers for, or reads; "*": any
	listener   net.Listener
	target     *reduct.Target     // nil: nobody sends to it
	reconciler *reduct.Reconciler // nil without a source
}

// remote is a far end and the outbox that it empties.
type remote struct {
	name   string
	outbox bridge.Outbox
	mqtt   *mqtt.Remote
}

// open puts a bridge together: everything that can fail at start fails here. Nothing runs before run.
func open(ctx context.Context, path string, log *slog.Logger) (*gate, error) {
	f, err := loadConfig(path)
	if err != nil {
		return nil, err
	}
	g := &gate{path: path, log: log, started: time.Now(), file: f}
	if err := g.open(ctx, f); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

func (g *gate) open(ctx context.Context, f *file) error {
	if err := g.openStore(ctx, f); err != nil {
		return err
	}
	var err error
	if g.guests, err = host.New(ctx, filepath.Join(f.DataDir, "compiled"), g.log); err != nil {
		return err
	}
	g.guests.FetchWith(f.registry(g.log))
	if err := g.openPipelines(ctx, f); err != nil {
		return err
	}
	if err := g.openRemotes(f); err != nil {
		return err
	}
	if err := g.openInputs(f); err != nil {
		return err
	}
	if f.Admin.Listen != "" {
		g.admin, err = admin.Listen(f.Admin, &g.metrics, g)
	}
	return err
}

func (g *gate) openStore(ctx context.Context, f *file) (err error) {
	c := f.Ledger
	c.Metrics, c.Routes = &g.metrics, make(map[string][]string)
	for name, p := range f.Pipelines {
		c.Routes[name] = p.to()
	}
	g.store, err = ledger.Open(ctx, filepath.Join(f.DataDir, "ledger"), c)
	if err != nil {
		return err
	}
	if g.store.Restored() != "" {
		g.log.Warn("the ledger is an older copy of itself; what was taken in after it was made is fetched again", "why", g.store.Restored())
	}
	for remote, n := range g.store.Stats().GivenUp {
		g.log.Warn("messages were dropped with a remote that no pipeline names any more, since the ledger was made", "remote", remote, "messages", n)
	}
	return nil
}

// openPipelines loads the modules and makes an intake for each pipeline.
func (g *gate) openPipelines(ctx context.Context, f *file) error {
	g.swaps.wake, g.swaps.seats = make(chan struct{}, 1), seatsOf(f)
	modules, err := loadModules(ctx, g.guests, g.path, f, nil)
	if err != nil {
		return err
	}
	g.modules = modules
	chains, err := g.makeChains(f, modules)
	if err != nil {
		return err
	}
	g.chains, g.intakes = make(map[string]*chain), make(map[string]*bridge.Intake)
	for name := range f.Pipelines {
		g.chains[name] = &chain{now: chains[name]}
		g.intakes[name] = &bridge.Intake{Pipeline: name, Ledger: g.store, Chain: g.chains[name], Metrics: &g.metrics}
		held, err := g.store.Held(ctx, name)
		if err != nil {
			return err
		}
		g.intakes[name].Held(held...)
	}
	return nil
}

// loadModules loads every module but those that are loaded. After an error none is left open.
func loadModules(ctx context.Context, guests *host.Runtime, path string, f *file, loaded map[string]*host.Module) (map[string]*host.Module, error) {
	modules := make(map[string]*host.Module)
	var wrong config.Problems
	for _, name := range slices.Sorted(maps.Keys(f.Modules)) {
		if loaded[name] != nil {
			continue
		}
		m, err := guests.Load(ctx, name, f.Modules[name])
		if err != nil {
			wrong = append(wrong, problem(path, "modules."+name, err)...)
			continue
		}
		modules[name] = m
	}
	if len(wrong) > 0 {
		closeModules(modules)
		return nil, wrong
	}
	return modules, nil
}

// problem is an error in what a table of the configuration refers to.
func problem(path, key string, err error) config.Problems {
	return config.Problems{{File: path, Line: config.LineOf(path, key), Key: key, Text: err.Error()}}
}

func closeModules(modules map[string]*host.Module) {
	for _, m := range modules {
		m.Close()
	}
}

func (g *gate) makeChains(f *file, modules map[string]*host.Module) (map[string]ticking, error) {
	chains := make(map[string]ticking)
	for name, p := range f.Pipelines {
		list := make([]*host.Module, len(p.Modules))
		for i, m := range p.Modules {
			list[i] = modules[m]
		}
		c, err := g.guests.Chain(name, list, g.store, &g.metrics)
		if err != nil {
			return nil, err
		}
		if chains[name], err = g.behind(f, name, c); err != nil {
			return nil, err
		}
	}
	return chains, nil
}

// openRemotes makes the far ends that a pipeline sends to. Nothing connects before run.
func (g *gate) openRemotes(f *file) error {
	ids := clientIDs(f.Remotes.MQTT, g.store.Identity())
	for _, name := range slices.Sorted(maps.Keys(f.Remotes.MQTT)) {
		outbox := g.store.Outbox(name)
		if outbox == nil {
			g.log.Warn("no pipeline sends to this remote", "remote", name)
			continue
		}
		c := f.Remotes.MQTT[name]
		c.ClientID = ids[name]
		lanes, err := lanesOf(f, name, c.Ordering())
		if err != nil {
			return err
		}
		r, err := mqtt.New(name, c, mqtt.Options{Lanes: lanes, Epoch: g.store.Identity(), Notes: g.store, Metrics: &g.metrics, Log: g.log})
		if err != nil {
			return problem(g.path, "remotes.mqtt."+name, err)
		}
		g.remotes = append(g.remotes, &remote{name, outbox, r})
	}
	return nil
}

// lanesOf says how the pipelines that send to a remote want their order kept.
func lanesOf(f *file, remote string, usual bridge.Ordering) (map[string]bridge.Lane, error) {
	lanes := make(map[string]bridge.Lane)
	for name, p := range f.Pipelines {
		if !slices.Contains(p.to(), remote) {
			continue
		}
		template, err := bridge.ParseTemplate(p.Lane)
		if err != nil {
			return nil, fmt.Errorf("pipelines.%s.lane: %w", name, err)
		}
		lane := bridge.Lane{Ordering: usual, Template: template}
		if p.Ordering != nil {
			lane.Ordering = *p.Ordering
		}
		lanes[name] = lane
	}
	return lanes, nil
}

// openInputs listens. Nothing is accepted or asked for before run.
func (g *gate) openInputs(f *file) error {
	for _, name := range slices.Sorted(maps.Keys(f.Inputs.Reduct)) {
		c := f.Inputs.Reduct[name]
		err := readToken(&c.TokenFile, &c.Token)
		if err != nil {
			return problem(g.path, "inputs.reduct."+name, err)
		}
		in := &input{name: name, kind: "reduct", bucket: c.Bucket}
		if in.reconciler, err = reduct.NewPuller(c, g.mind(f, name)); err != nil {
			return problem(g.path, "inputs.reduct."+name, err)
		}
		g.inputs = append(g.inputs, in)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Inputs.Replication)) {
		c, key := f.Inputs.Replication[name], "inputs.replication."+name
		if err := readTokens(&c); err != nil {
			return problem(g.path, key, err)
		}
		listener, err := net.Listen("tcp", c.Listen)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		in := &input{name: name, kind: "replication", bucket: c.Bucket, listener: listener}
		g.inputs = append(g.inputs, in)
		mind := g.mind(f, name)
		parts := reduct.Parts{Intake: mind.Intake, Gaps: g.store, Metrics: &g.metrics, Log: g.log.With("input", name)}
		if c.Source.URL != "" {
			in.reconciler = reduct.NewReconciler(c, mind)
			parts.Holder = in.reconciler
		}
		in.target = reduct.NewTarget(c, parts)
	}
	return nil
}

// mind is what a reconciler of an input works with.
func (g *gate) mind(f *file, input string) reduct.Mind {
	readers := f.readersOf(input)
	all := make(fan, len(readers))
	for i, p := range readers {
		all[i] = g.intakes[p]
	}
	return reduct.Mind{Name: input, Intake: all, Gaps: g.store, Marks: marks{g.store, readers}, Metrics: &g.metrics, Log: g.log}
}

// marks is what a reconciler asks of the ledger, over all pipelines that read its input.
type marks struct {
	*ledger.Log
	pipelines []string
}

// Newest returns the newest record that every pipeline has seen.
func (m marks) Newest(stream string) (newest int64, found bool) {
	for i, p := range m.pipelines {
		t, ok := m.Log.Newest(p, stream)
		if !ok {
			return 0, false
		}
		if i == 0 || t < newest {
			newest = t
		}
	}
	return newest, len(m.pipelines) > 0
}

// Closed returns the closed ranges of every pipeline.
func (m marks) Closed(stream string) (all []reduct.Closed) {
	for _, p := range m.pipelines {
		for _, r := range m.Log.Closed(p, stream) {
			all = append(all, reduct.Closed{Pipeline: p, ClosedRange: r})
		}
	}
	return all
}

// readTokens reads the files that hold an input's tokens.
func readTokens(c *reduct.Config) error {
	if err := readToken(&c.TokenFile, &c.Token); err != nil {
		return err
	}
	return readToken(&c.Source.TokenFile, &c.Source.Token)
}

// readToken puts what a file holds, if one is named, into token.
func readToken(file, token *string) error {
	if *file == "" {
		return nil
	}
	secret, err := config.ReadSecret(*file)
	if err != nil {
		return fmt.Errorf("token_file: %w", err)
	}
	*token, *file = secret, ""
	return nil
}

// run works until ctx ends or something cannot go on. Inputs stop first, then modules say what they hold, then remotes stop, and the ledger when
// nobody writes to it any more; the status page stays to the end.
func (g *gate) run(ctx context.Context, more ...part) error {
	stages := [][]part{append(more, part{"modules", g.runSwaps}), nil, nil, {{"ledger", g.store.Run}}, nil}
	for _, in := range g.inputs {
		if in.target != nil {
			stages[0] = append(stages[0], part{"input " + in.name, func(ctx context.Context) error { return in.target.Serve(ctx, in.listener) }})
		}
		if in.reconciler != nil {
			stages[0] = append(stages[0], part{"reconciler of " + in.name, in.reconciler.Run})
		}
	}
	if g.store.Restored() != "" {
		stages[0] = append(stages[0], part{"recovery", g.recover})
	}
	for name, in := range g.intakes {
		stages[1] = append(stages[1], part{"ticks of " + name, func(ctx context.Context) error { return in.RunTicks(ctx, g.chains[name].tick) }})
	}
	for _, r := range g.remotes {
		stages[2] = append(stages[2], part{"remote " + r.name, func(ctx context.Context) error { return r.mqtt.Run(ctx, r.outbox) }})
	}
	if g.admin != nil {
		stages[4] = append(stages[4], part{"admin", g.admin.Run})
	}
	stop := context.AfterFunc(ctx, func() { g.stopping.Store(true) })
	defer stop()
	return runStages(ctx, stages)
}

// recoverAgain is the wait between two tries to reconcile after an old copy of the ledger was put back.
const recoverAgain = 10 * time.Second

// recover fetches what an old copy of the ledger does not know of, from every input that has a source, and then calls the ledger
// whole. Where an input has none, the ledger stays marked as an old copy: it is one.
func (g *gate) recover(ctx context.Context) error {
	for _, in := range g.inputs {
		for in.reconciler == nil || !whole(ctx, in.reconciler) {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(recoverAgain):
			}
		}
	}
	if err := g.store.ClearRestored(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("call the ledger whole: %w", err)
	}
	g.log.Info("everything that the old copy of the ledger lacked and the edge stores have is fetched")
	<-ctx.Done()
	return nil
}

// whole compares all that an edge store has, and reports whether that went well. A pass begins at the mark: what was written late, and taken in after the
// copy was made, is older.
func whole(ctx context.Context, r *reduct.Reconciler) bool {
	_, err := r.Reconcile(ctx, reduct.Want{Whole: true})
	return err == nil
}

// page is the address of the status page, empty where there is none.
func (g *gate) page() string {
	if g.admin == nil {
		return ""
	}
	return "http://" + g.admin.Addr() + "/"
}

// close frees what open made. run must have returned.
func (g *gate) close() error {
	var errs []error
	for _, in := range g.inputs {
		if in.listener != nil {
			in.listener.Close() // closed already, unless run was never called
		}
	}
	if g.guests != nil {
		errs = append(errs, g.guests.Close(context.Background()))
	}
	if g.store != nil {
		errs = append(errs, g.store.Close())
	}
	return errors.Join(errs...)
}

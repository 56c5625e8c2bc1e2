package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/config"
	"github.com/sluicebridge/sluice/bridge/mqtt"
	"github.com/sluicebridge/sluice/bridge/reduct"
	"github.com/sluicebridge/sluice/runtime/host"
)

// checked is what check found out.
type checked struct {
	Config   string          `json:"config"`
	Hash     string          `json:"hash"`
	Modules  []checkedModule `json:"modules"`
	Warnings []string        `json:"warnings"`
}

type checkedModule struct {
	Name    string `json:"name"`
	SHA256  string `json:"sha256"`
	Version string `json:"version"`
	Trial   string `json:"trial"` // what became of a record
}

// runCheck does all that run does before it runs, and tries each module with a record. It serves nothing and leaves nothing behind.
func runCheck(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("check")
	path, asJSON := configFlag(fs), jsonFlag(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	f, err := loadConfig(*path)
	if err != nil {
		return err
	}
	c := &checked{Config: *path, Hash: f.hash(), Modules: []checkedModule{}, Warnings: []string{}}
	wrong := append(c.modules(ctx, e, f), c.remotes(f)...)
	if err := writable(f.DataDir); err != nil {
		wrong = append(wrong, problem(*path, "data_dir", err)...)
	}
	c.conditions(f)
	c.sources(ctx, f)
	if len(wrong) > 0 {
		return wrong
	}
	if *asJSON {
		return e.printJSON(c)
	}
	return c.print(e)
}

func (c *checked) print(e *environment) error {
	for _, m := range c.Modules {
		fmt.Fprintf(e.out, "module %s %s (%.12s): a trial record %s\n", m.Name, m.Version, m.SHA256, m.Trial)
	}
	for _, w := range c.Warnings {
		fmt.Fprintf(e.out, "warning: %s\n", w)
	}
	_, err := fmt.Fprintf(e.out, "%s: ok (%s)\n", c.Config, c.Hash)
	return err
}

// modules loads every module into a runtime of its own, so that the running bridge's files are not touched.
func (c *checked) modules(ctx context.Context, e *environment, f *file) (wrong config.Problems) {
	dir, err := os.MkdirTemp("", "sluice-check-")
	if err != nil {
		return problem(c.Config, "modules", err)
	}
	defer os.RemoveAll(dir)
	guests, err := host.New(ctx, dir, e.log)
	if err != nil {
		return problem(c.Config, "modules", err)
	}
	defer guests.Close(ctx)
	modules := f.registry(e.log)
	modules.frozen = true
	guests.FetchWith(modules)
	for _, name := range slices.Sorted(maps.Keys(f.Modules)) {
		table := f.Modules[name]
		table.Shadow = false // alone it has nothing to be compared with
		m, err := guests.Load(ctx, name, table)
		if err == nil {
			var trial string
			trial, err = try(ctx, guests, m)
			c.Modules = append(c.Modules, checkedModule{name, m.SHA256(), m.Info().Manifest.Version, trial})
		}
		if err != nil {
			wrong = append(wrong, problem(c.Config, "modules."+name, err)...)
		}
	}
	return wrong
}

// try puts one record through a module. What it decides is its own business; a trap is not.
func try(ctx context.Context, guests *host.Runtime, m *host.Module) (string, error) {
	var metrics bridge.Metrics
	chain, err := guests.Chain("check", []*host.Module{m}, noStates{}, &metrics)
	if err != nil {
		return "", err
	}
	record := bridge.Record{
		Time:        time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro(),
		ContentType: []byte("application/json"), Payload: []byte(`{"trial": true}`),
		Labels: []bridge.Label{{Name: []byte("device"), Value: []byte("trial")}, {Name: []byte("rpm"), Value: []byte("1500")}},
	}
	var out bridge.Results
	if err := chain.Apply(ctx, "trial/trial", []bridge.Record{record}, &out); err != nil && !errors.Is(err, bridge.ErrRetry) {
		return "", fmt.Errorf("trial record: %w", err)
	}
	if traps := metrics.ModuleTraps.At(m.Name()).Load(); traps > 0 {
		why := "no reason given"
		if len(out.Parked) > 0 {
			why = out.Parked[0].Reason
		}
		return "", fmt.Errorf("trial record: %d traps: %s", traps, why)
	}
	return verdict(&out), nil
}

func verdict(out *bridge.Results) string {
	if len(out.Verdicts) == 0 {
		return "shall come again later"
	}
	switch out.Verdicts[0].Kind {
	case bridge.Passed:
		return fmt.Sprintf("became %d messages", len(out.Messages))
	case bridge.Dropped:
		return "was dropped"
	case bridge.Absorbed:
		return "went into its state"
	}
	if len(out.Parked) > 0 {
		return "was parked: " + out.Parked[0].Reason
	}
	return "was parked"
}

// noStates is a ledger in which no module has a state yet.
type noStates struct{}

func (noStates) State(string, string, string) (bridge.State, bool, error) {
	return bridge.State{}, false, nil
}

// remotes reads the files that a remote names, and says which remote nobody sends to.
func (c *checked) remotes(f *file) (wrong config.Problems) {
	for _, name := range slices.Sorted(maps.Keys(f.Remotes.MQTT)) {
		r := f.Remotes.MQTT[name]
		lanes, err := lanesOf(f, name, r.Ordering())
		if err == nil {
			_, err = mqtt.New(name, r, mqtt.Options{Lanes: lanes})
		}
		if err != nil {
			wrong = append(wrong, problem(c.Config, "remotes.mqtt."+name, err)...)
		}
		if len(lanes) == 0 {
			c.warn("remotes.mqtt.%s: no pipeline sends to it", name)
		}
	}
	return wrong
}

func (c *checked) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

// sources asks the edge stores what would surprise.
func (c *checked) sources(ctx context.Context, f *file) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, name := range slices.Sorted(maps.Keys(f.Inputs.Replication)) {
		in := f.Inputs.Replication[name]
		key := "inputs.replication." + name
		if in.Token == "" && in.TokenFile == "" && !loopback(in.Listen) {
			c.warn("%s: no token, whoever reaches %s can write", key, in.Listen)
		}
		if err := readTokens(&in); err != nil {
			c.warn("%s: %v", key, err)
			continue
		}
		warnings, err := reduct.Inspect(ctx, in, surprises)
		if err != nil {
			c.warn("%s.source: %v", key, err)
		}
		for _, w := range warnings {
			c.warn("%s: %s", key, w)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Inputs.Reduct)) {
		in, key := f.Inputs.Reduct[name], "inputs.reduct."+name
		if err := readToken(&in.TokenFile, &in.Token); err != nil {
			c.warn("%s: %v", key, err)
			continue
		}
		warnings, err := reduct.InspectPull(ctx, in, surprises)
		if err != nil {
			c.warn("%s: %v", key, err)
		}
		for _, w := range warnings {
			c.warn("%s: %s", key, w)
		}
	}
}

func loopback(address string) bool {
	return strings.HasPrefix(address, "127.") || strings.HasPrefix(address, "localhost:") || strings.HasPrefix(address, "[::1]:")
}

// writable tries to write a file in dir, or in the nearest directory above it that is there.
func writable(dir string) error {
	for {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return err
		}
		dir = parent
	}
	trial, err := os.CreateTemp(dir, ".sluice-check-")
	if err != nil {
		return err
	}
	return errors.Join(trial.Close(), os.Remove(trial.Name()))
}

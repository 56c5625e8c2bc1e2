package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/admin"
	"github.com/sluicebridge/sluice/bridge/config"
	"github.com/sluicebridge/sluice/bridge/ledger"
	"github.com/sluicebridge/sluice/bridge/mqtt"
	"github.com/sluicebridge/sluice/bridge/reduct"
	"github.com/sluicebridge/sluice/bridge/when"
	"github.com/sluicebridge/sluice/runtime/host"
)

// file is the whole configuration: a struct for each package, under the names of config.toml.
type file struct {
	DataDir   string                    `toml:"data_dir"`
	Ledger    ledger.Config             `toml:"ledger"`
	Admin     admin.Config              `toml:"admin"`
	Inputs    inputs                    `toml:"inputs"`
	Registry  registryConfig            `toml:"registry"`
	Modules   map[string]host.Config    `toml:"modules"`
	Pipelines map[string]pipelineConfig `toml:"pipelines"`
	Remotes   remotes                   `toml:"remotes"`
}

type inputs struct {
	Replication map[string]reduct.Config `toml:"replication"`
	Reduct      map[string]reduct.Pull   `toml:"reduct"`
}

// names lists all of them.
func (in *inputs) names() []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(in.Replication)), maps.Keys(in.Reduct))
	slices.Sort(all)
	return all
}

// bucket is the one whose records an input brings, "*" for any, and the table that says so.
func (in *inputs) bucket(name string) (bucket, table string) {
	if c, ok := in.Reduct[name]; ok {
		return c.Bucket, "inputs.reduct." + name
	}
	return in.Replication[name].Bucket, "inputs.replication." + name
}

type remotes struct {
	MQTT map[string]mqtt.Config `toml:"mqtt"`
}

// pipelineConfig joins inputs, modules and remotes by their names.
type pipelineConfig struct {
	Inputs  []string `toml:"inputs"`
	Modules []string `toml:"modules"`
	Remotes []string `toml:"remotes"`
	Remote  string   `toml:"remote"` // the same as a list of one

	When      bridge.JSON `toml:"when"` // a condition that records must meet before the modules see them
	WhenError when.Policy `toml:"when_error"`

	Ordering *bridge.Ordering `toml:"ordering"` // nil: what the remote keeps
	Lane     string           `toml:"lane"`     // a bridge.Template: messages for which it gives the same text keep their order
}

func defaultPipeline() pipelineConfig { return pipelineConfig{Lane: "{entry}"} }

// to lists the remotes, however they were given.
func (p pipelineConfig) to() []string {
	if p.Remote != "" {
		return append([]string{p.Remote}, p.Remotes...)
	}
	return p.Remotes
}

func defaultFile() file {
	return file{DataDir: "data", Ledger: ledger.Default(), Admin: admin.Default()}
}

// fileOptions say how entries of the maps begin, and which keys are for later versions.
func fileOptions() config.Options {
	return config.Options{
		Defaults: []any{reduct.Default, reduct.DefaultPull, defaultRemote, host.Default, defaultPipeline},
		Later: []string{
			"inputs.mqtt", "inputs.mqtt-listener", "inputs.kafka", "remotes.reduct", "remotes.kafka", "remotes.influx",
		},
	}
}

// loadConfig reads the file. Its errors are config.Problems.
func loadConfig(path string) (*file, error) {
	f := defaultFile()
	if err := config.Load(path, &f, fileOptions()); err != nil {
		return nil, err
	}
	return &f, nil
}

// hash tells configurations apart on the status page. Secrets are left out: a short one could be guessed from it.
func (f *file) hash() string {
	text, err := json.Marshal(config.Plain(f))
	if err != nil {
		return "unknown"
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// name is what things may be called: it ends up in labels of metrics, in paths and in the ledger.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Validate reports what no package can see by itself: names, and what they refer to.
func (f *file) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if f.DataDir == "" {
		bad("data_dir: empty, want a directory")
	}
	if len(f.Pipelines) == 0 {
		bad("pipelines: none, want at least one [pipelines.NAME]")
	}
	f.checkNames(bad)
	for _, p := range slices.Sorted(maps.Keys(f.Pipelines)) {
		f.checkPipeline(p, bad)
	}
	for _, m := range slices.Sorted(maps.Keys(f.Modules)) {
		f.checkRegistry(m, bad)
	}
	f.checkInputs(bad)
	return errors.Join(errs...)
}

// checkInputs: a stream is what the ledger tells records apart by, with their time. Two inputs that may bring one of the same name
// would each find the other's records seen, and answer 200 for what nobody took.
func (f *file) checkInputs(bad func(string, ...any)) {
	names := f.Inputs.names()
	for i, n := range names {
		bucket, key := f.Inputs.bucket(n)
		if len(f.readersOf(n)) == 0 && len(f.Pipelines) > 0 {
			bad("%s: no pipeline reads it", key)
		}
		for _, other := range names[:i] {
			theirs, table := f.Inputs.bucket(other)
			if bucket == theirs || bucket == "*" || theirs == "*" {
				bad("%s.bucket: %q, but %s has %q: entries of one name would be taken for the same stream; want a bucket for each",
					key, bucket, table, theirs)
			}
		}
	}
}

// checkNames: a name means one thing. A pipeline may be called like its input or module, but not like a remote: both count parked records.
func (f *file) checkNames(bad func(string, ...any)) {
	owner := make(map[string]string)
	claim := func(kind, n string) {
		key := kind + "." + n
		switch {
		case !name.MatchString(n):
			bad("%s: name %q, want letters, digits, dots, dashes and underscores, at most 64", kind, n)
		case owner[n] != "":
			bad("%s: name is taken by %s", key, owner[n])
		case n == when.Name && kind == "modules":
			bad("%s: name stands for a pipeline's own condition", key)
		default:
			owner[n] = key
		}
	}
	for _, n := range slices.Sorted(maps.Keys(f.Remotes.MQTT)) {
		claim("remotes.mqtt", n)
	}
	pipelines := slices.Sorted(maps.Keys(f.Pipelines))
	for _, n := range pipelines {
		claim("pipelines", n)
	}
	for _, n := range pipelines {
		if owner[n] == "pipelines."+n {
			delete(owner, n)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(f.Inputs.Replication)) {
		claim("inputs.replication", n)
	}
	for _, n := range slices.Sorted(maps.Keys(f.Inputs.Reduct)) {
		claim("inputs.reduct", n)
	}
	for _, n := range slices.Sorted(maps.Keys(f.Modules)) {
		claim("modules", n)
	}
}

// readersOf lists the pipelines that read an input.
func (f *file) readersOf(input string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(f.Pipelines)) {
		if slices.Contains(f.Pipelines[name].Inputs, input) {
			names = append(names, name)
		}
	}
	return names
}

func (f *file) checkPipeline(p string, bad func(string, ...any)) {
	c := f.Pipelines[p]
	refer(p, "inputs", c.Inputs, f.Inputs.names(), bad)
	refer(p, "modules", c.Modules, slices.Sorted(maps.Keys(f.Modules)), bad)
	if len(c.Modules) > 0 && f.Modules[c.Modules[0]].Shadow {
		bad("pipelines.%s.modules: %q has shadow = true and stands first, want it behind the module that it is compared with", p, c.Modules[0])
	}
	remotes := slices.Sorted(maps.Keys(f.Remotes.MQTT))
	if c.Remote != "" {
		refer(p, "remote", []string{c.Remote}, remotes, bad)
	}
	refer(p, "remotes", c.Remotes, remotes, bad)
	if len(c.Inputs) == 0 {
		bad("pipelines.%s.inputs: empty, want the name of an input", p)
	}
	if len(c.to()) == 0 {
		bad("pipelines.%s.remotes: empty, want the name of a remote", p)
	}
	if c.Remote != "" && len(c.Remotes) > 0 {
		bad("pipelines.%s.remote: remotes is given too, want only one of them", p)
	}
	if _, err := c.condition(); err != nil {
		bad("pipelines.%s.when: %v", p, err)
	}
	if _, err := bridge.ParseTemplate(c.Lane); err != nil || c.Lane == "" {
		bad("pipelines.%s.lane: %q, want a text such as {entry} or {label:device}", p, c.Lane)
	}
}

// refer checks that every name in a list exists and is there once.
func refer(pipeline, key string, names, known []string, bad func(string, ...any)) {
	for i, n := range names {
		if !slices.Contains(known, n) {
			bad("pipelines.%s.%s: %q does not exist; there is %v", pipeline, key, n, known)
		}
		if slices.Contains(names[:i], n) {
			bad("pipelines.%s.%s: %q is there twice", pipeline, key, n)
		}
	}
}

package host

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
)

// Config is one table [modules.NAME].
type Config struct {
	Path          string          `toml:"path"`           // the WebAssembly file, or a name that the runtime's Fetcher knows; of a script its engine. Default for scripts: the one that came along
	Script        string          `toml:"script"`         // a filter in JavaScript, the same
	SHA256        string          `toml:"sha256"`         // of the file, of a script that of engine and script in one; hex. Default: not pinned
	Memory        bridge.Size     `toml:"memory"`         // most memory of one instance. Default 16MiB
	Budget        bridge.Duration `toml:"budget"`         // most time for one record, measured in units of this machine. Default 10ms
	Metering      string          `toml:"metering"`       // fuel | tick: whether budget is counted in units or is time. Default fuel
	BudgetUnits   int64           `toml:"budget_units"`   // the same in units, equal on all machines; 0 = from budget
	Output        bridge.Size     `toml:"output"`         // most bytes a module may answer to one record. Default 4MiB
	Instances     int             `toml:"instances"`      // most instances alive at once. Default 16
	OnFault       string          `toml:"on_fault"`       // park | hold | pass | drop: a record that fails twice. Default park
	OnState       string          `toml:"on_state"`       // hold | anew: a stream whose committed state the module refuses. Default hold
	Watch         bool            `toml:"watch"`          // a file that changes takes the module's place while the bridge runs. Default true
	ShadowBatches int             `toml:"shadow_batches"` // batches that it runs in the module's shadow before; 0 = none. Default 16
	Shadow        bool            `toml:"shadow"`         // for good in the shadow of the module before it in a pipeline's list; nothing of it is sent
	Trust         string          `toml:"trust"`          // file of public keys: a module that none of them signed is refused. Default: no signature is asked for
	Config        map[string]any  `toml:"config"`         // handed to the module as JSON
}

// Values of Config.Metering.
const (
	MeterFuel = "fuel" // a record that is too much here is too much on every machine
	MeterTick = "tick" // for long work: whether a record is too much depends on what else the machine does
)

// Values of Config.OnFault.
const (
	FaultPark = "park" // set the record aside, go on
	FaultHold = "hold" // ask for the whole batch again, until someone repairs it
	FaultPass = "pass" // let the record by unchanged
	FaultDrop = "drop" // count it and forget it
)

// Values of Config.OnState.
const (
	StateHold = "hold" // ask for the batch again, until someone brings back a module that takes the state
	StateAnew = "anew" // give the state up, with what was absorbed into it
)

// Default is a module's config where nothing is set.
func Default() Config {
	return Config{
		Memory: 16 << 20, Budget: bridge.Duration(10 * time.Millisecond), Output: 4 << 20, Instances: 16, OnFault: FaultPark, OnState: StateHold, Watch: true, ShadowBatches: 16,
		Metering: MeterFuel,
	}
}

// Validate lists everything that is wrong with c, each with its key first.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Path != "" || c.Script != "", "path: missing, or script")
	check(c.ShadowBatches >= 0 && c.ShadowBatches <= 1e6, "shadow_batches: %d, want 0..1000000", c.ShadowBatches)
	sum, err := hex.DecodeString(c.SHA256)
	check(err == nil && (len(sum) == 0 || len(sum) == 32), "sha256: %q, want 64 hex digits", c.SHA256)
	check(c.Memory >= pageSize && c.Memory <= abi.MaxAddress, "memory: %s, want 64KiB..1GiB", c.Memory)
	budget := time.Duration(c.Budget)
	switch c.Metering {
	case MeterTick:
		check(budget >= time.Millisecond && budget <= 2*time.Second, "budget: %s, want 1ms..2s with metering = tick", budget)
		check(c.BudgetUnits == 0, "budget_units: %d, want 0: with metering = tick the budget is time", c.BudgetUnits)
	case MeterFuel:
		check(budget >= 100*time.Microsecond && budget <= time.Second, "budget: %s, want 100µs..1s; metering = tick allows up to 2s", budget)
	default:
		check(false, "metering: %q, want fuel, tick", c.Metering)
	}
	check(c.BudgetUnits == 0 || c.BudgetUnits >= 1000 && c.BudgetUnits <= 1e10, "budget_units: %d, want 0 or 1000..10000000000", c.BudgetUnits)
	check(c.Output >= 1<<10 && c.Output <= 256<<20, "output: %s, want 1KiB..256MiB", c.Output)
	check(c.Instances >= 1 && c.Instances <= 1024, "instances: %d, want 1..1024", c.Instances)
	faults := []string{FaultPark, FaultHold, FaultPass, FaultDrop}
	check(slices.Contains(faults, c.OnFault), "on_fault: %q, want %s", c.OnFault, strings.Join(faults, ", "))
	check(c.OnState == StateHold || c.OnState == StateAnew, "on_state: %q, want %s, %s", c.OnState, StateHold, StateAnew)
	return errors.Join(errs...)
}

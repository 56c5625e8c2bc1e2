package ledger

import (
	"errors"
	"fmt"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// Config says where the limits of a ledger are.
type Config struct {
	// Quota is how many bytes may wait: messages that are not settled, and parked records. An Append beyond it is ErrFull
	// unless nothing else waits. Default 256MiB.
	Quota bridge.Size `toml:"quota"`
	// KeepDelivered is how long settled messages stay, for verify; they give way to new ones before the quota is reached. Default 0s.
	KeepDelivered bridge.Duration `toml:"keep_delivered"`
	// GiveUp drops, at Open, what waits for remotes that Routes no longer has; without it such an Open is ErrUnrouted. What waits for a remote
	// that is still there is sent, whatever became of its pipeline. Default false.
	GiveUp bool `toml:"give_up"`

	// Routes names the remotes of each pipeline. nil, as for tools: nothing is given up.
	Routes map[string][]string `toml:"-"`
	// CommitDeadline is how long a writer waits for a commit before the outcome is unknown. Default 5 s.
	CommitDeadline time.Duration `toml:"-"`
	// Cache is how many bytes of recently appended messages stay in memory, so that pumps need not read them back; 0 is none. Default 32 MiB.
	Cache bridge.Size `toml:"-"`
	// Exact is how many keys of a stream are kept one by one; older ones are ranges. Default 1,000,000, what a ReductStore
	// replication log holds: it can resend nothing older.
	Exact int `toml:"-"`
	// Metrics may be nil.
	Metrics *bridge.Metrics `toml:"-"`
}

// Default returns the configuration of a ledger without routes.
func Default() Config {
	return Config{Quota: 256 << 20, CommitDeadline: 5 * time.Second, Cache: 32 << 20, Exact: 1_000_000}
}

// minQuota holds a few requests of the largest size that a sender makes.
const minQuota = 1 << 20

// Validate names every field that is out of its bounds.
func (c *Config) Validate() error {
	var errs []error
	if c.Quota < minQuota {
		errs = append(errs, fmt.Errorf("quota: %v, want %v or more", c.Quota, bridge.Size(minQuota)))
	}
	if c.KeepDelivered < 0 {
		errs = append(errs, fmt.Errorf("keep_delivered: %v, want 0s or more", time.Duration(c.KeepDelivered)))
	}
	return errors.Join(errs...)
}

// withDefaults fills what a caller that did not start from Default left zero.
func (c Config) withDefaults() Config {
	d := Default()
	if c.Quota == 0 {
		c.Quota = d.Quota
	}
	if c.CommitDeadline == 0 {
		c.CommitDeadline = d.CommitDeadline
	}
	if c.Exact == 0 {
		c.Exact = d.Exact
	}
	return c
}

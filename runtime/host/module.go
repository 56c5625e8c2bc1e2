package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/tetratelabs/wazero"
)

// Module is a loaded module and its instances. Its methods may be called concurrently.
type Module struct {
	rt       *Runtime
	name     string
	cfg      Config
	sum      [sha256.Size]byte
	sha256   string
	compiled wazero.CompiledModule
	counter  string // export of the units left
	manifest *abi.Manifest
	config   []byte // JSON
	units    int64  // budget of one call
	bytes    int64  // of the file
	seed     uint64 // of the random numbers

	payload   int // bytes that go along with a record; -1 = all
	allLabels bool

	counts tallies
	lines  limiter
	pool   *pool
}

// Info is what a person wants to know about a module.
type Info struct {
	Name     string // in the configuration
	SHA256   string
	Bytes    int64 // of the file
	Units    int64 // budget of one call
	Config   string
	Manifest abi.Manifest
}

// Info describes m.
func (m *Module) Info() Info {
	return Info{Name: m.name, Bytes: m.bytes, SHA256: m.sha256, Units: m.units, Config: string(m.config), Manifest: *m.manifest}
}

// Name is the module's name in the configuration.
func (m *Module) Name() string { return m.name }

// SHA256 is that of the file, hex.
func (m *Module) SHA256() string { return m.sha256 }

// Stateful tells whether the module keeps a state for each stream.
func (m *Module) Stateful() bool { return m.manifest.State == abi.StateExplicit }

// Tallies is what the module counted and observed so far.
func (m *Module) Tallies() map[string]Tally { return m.counts.copy() }

// Close ends all instances. Those in use end when they are given back; with the last of them goes the native code.
func (m *Module) Close() { m.pool.close() }

// free gives up the native code, which modules loaded from the same bytes share. No instance may be running: wazero finds its way out of a trap by it.
func (m *Module) free() { _ = m.compiled.Close(context.Background()) } // has nothing that could fail

// reason is the name of a DROP's number.
func (m *Module) reason(n uint16) string {
	switch {
	case n == faultReason:
		return "fault"
	case int(n) < len(m.manifest.Reasons):
		return m.manifest.Reasons[n]
	}
	return "other"
}

// faultReason is the Reason of a record dropped by on_fault.
const faultReason = 1<<16 - 1

func hexSum(b [sha256.Size]byte) string { return hex.EncodeToString(b[:]) }

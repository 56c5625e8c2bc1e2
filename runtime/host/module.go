package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"sync/atomic"
	"time"

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
	script   []byte // JSON of options; nil = a module without a script
	limit    limit  // of one call
	bytes    int64  // of the file
	seed     uint64 // of the random numbers

	tick      time.Duration // between two flushes of a stream; 0 = none
	payload   int           // bytes that go along with a record; -1 = all
	allLabels bool
	flushes   bool // exports sluice_flush

	counts tallies
	lines  limiter
	held   atomic.Pointer[held]
	shadow comparison
	trial  atomic.Pointer[Trial] // in its shadow
	before *Module               // that it has taken the place of; nil: none, or it is gone
	pool   *pool
}

// held is a stream that waits because of a module.
type held struct{ stream, why string }

// Info is what a person wants to know about a module.
type Info struct {
	Name     string // in the configuration
	SHA256   string
	Bytes    int64 // of the file
	Units    int64 // budget of one call; 0 where it is time
	Config   string
	Manifest abi.Manifest
}

// Info describes m.
func (m *Module) Info() Info {
	return Info{Name: m.name, Bytes: m.bytes, SHA256: m.sha256, Units: m.limit.units, Config: string(m.config), Manifest: *m.manifest}
}

// Name is the module's name in the configuration.
func (m *Module) Name() string { return m.name }

// SHA256 is that of the file, hex.
func (m *Module) SHA256() string { return m.sha256 }

// Stateful tells whether the module keeps a state for each stream.
func (m *Module) Stateful() bool { return m.manifest.State == abi.StateExplicit }

// Tallies is what the module counted and observed so far.
func (m *Module) Tallies() map[string]Tally { return m.counts.copy() }

// LastError is why a stream waits for someone to repair the module; empty where none does. Of several streams it is the one that tried last.
func (m *Module) LastError() string {
	if h := m.held.Load(); h != nil {
		return h.stream + ": " + h.why
	}
	return ""
}

// waits notes that a stream cannot go on (rule 20 of INVARIANTS.md).
func (m *Module) waits(stream string, why error) {
	m.held.Store(&held{stream, why.Error()})
	m.say(slog.LevelError, "stream waits: a module fails, and no record is to be given up for it", stream, why)
}

// goesOn notes that a stream does not wait any more.
func (m *Module) goesOn(stream string) {
	if h := m.held.Load(); h != nil && h.stream == stream {
		m.held.CompareAndSwap(h, nil) // else another has begun to wait
	}
}

// say logs what a person should look at, in the module's share of lines.
func (m *Module) say(level slog.Level, text, stream string, why error) {
	if m.rt.log == nil {
		return
	}
	if kept, ok := m.lines.allow(time.Now()); ok {
		m.rt.log.Log(context.Background(), level, text, "module", m.name, "stream", stream, "err", why, "lines_held_back", kept)
	}
}

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

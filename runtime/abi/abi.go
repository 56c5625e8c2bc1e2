// Package abi is the border between Sluice and its guests: names, byte layouts and limits of ABI version 1, for both sides.
// The host encodes records and decodes answers, a guest the other way round; ABI.md shows the same bytes for authors who use neither.
//
// It is a leaf: it imports little of the standard library (no fmt, no reflect) so that a Go guest stays small, and it allocates nothing
// on the way of a record. All numbers are little-endian, as WebAssembly's own memory is.
package abi

// Version is the ABI version, told by the name of ExportVersion and by the manifest's key abi.
const Version = 1

// Names a guest exports. Memory, ExportVersion, ExportIn and ExportProcess are required; ExportLoad and ExportSave where the manifest
// says state = "explicit".
const (
	ExportMemory     = "memory"
	ExportVersion    = "sluice_abi_1"    // () or () -> i32; never called, its presence is the version
	ExportIn         = "sluice_in"       // (size i32) -> i32: address of size writable bytes, a multiple of 16; 0 = cannot
	ExportInit       = "sluice_init"     // (len i32) -> i32: once, the config as JSON is in the input buffer; see Status
	ExportProcess    = "sluice_process"  // (n i32, len i32) -> i64: n records (1 in this version) of len bytes are in the input buffer
	ExportFlush      = "sluice_flush"    // (reason i32) -> i64: answers like process, without a record
	ExportSave       = "sluice_save"     // () -> i64: address<<32 | length of the state
	ExportLoad       = "sluice_load"     // (len i32) -> i32: the state is in the input buffer; len 0 = begin anew; see Status
	ExportDescribe   = "sluice_describe" // () -> i64: address<<32 | length of the manifest, for toolchains that cannot write sections
	ExportInitialize = "_initialize"     // (): once, before all else
	ExportScript     = "sluice_script"   // (len i32) -> i32: of engines, before describe: the script is in the input buffer; see Status
)

// ImportModule is the module of the functions a guest may import; all are optional.
const (
	ImportModule  = "sluice1"
	ImportLog     = "log"     // (level, ptr, len i32)
	ImportCount   = "count"   // (ptr, len i32, n i64): adds n to the counter of that name
	ImportObserve = "observe" // (ptr, len i32, v f64): one observation under that name
	ImportPayload = "payload" // (rec, off, dst, len i32) -> i32: copies payload[off:off+len] to dst; bytes copied, -1 = no such record
	ImportLabel   = "label"   // (rec, kptr, klen, dst, cap i32) -> i32: length of the value, copied if <= cap; -1 = absent
	ImportNow     = "now"     // () -> i64: time of the record in microseconds since the Unix epoch
	ImportUnits   = "units"   // () -> i64: units left of the running call's budget
	ImportDSP     = "dsp"     // (rec, kind, arg, dst, cap i32) -> i32: bytes written to dst, -1 = cannot; see DSPStats
)

// ManifestSection is the custom section with the manifest in TOML.
const ManifestSection = "sluice.manifest"

// Verdict is what a guest decides on a record.
type Verdict uint8

const (
	Pass   Verdict = iota // publish it unchanged
	Emit                  // publish one output or more in its place
	Drop                  // not wanted; counted by its reason
	Absorb                // taken into the state, no output
	Park                  // set aside with the guest's text
	Retry                 // the whole batch again later
	Fail                  // the guest cannot do it, and says why: on_fault decides
)

var verdictNames = [...]string{"PASS", "EMIT", "DROP", "ABSORB", "PARK", "RETRY", "FAIL"}

func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "verdict " + itoa(uint64(v))
}

// Record flags, equal to bridge.Flags.
const (
	Replayed    uint16 = 1 << iota // a parked record, processed again
	Shadow                         // outputs are compared, never sent
	Late                           // older than a record of its stream that was taken before
	LastOfBatch                    // no record of this batch follows
)

// Reasons of Fail: whether the instance may go on.
const (
	FailSound  uint16 = iota // the record is to blame
	FailBroken               // the instance may be: a fresh one tries the record once more
)

// Reasons of ExportFlush.
const (
	FlushBatch    int32 = 1 // the batch's last record was processed; outputs belong to it
	FlushTick     int32 = 2 // the manifest's tick has passed
	FlushShutdown int32 = 3 // the process ends; the state is stored and loaded again
	FlushSwap     int32 = 4 // a module of another state_version takes over; the state is set aside
)

// Levels of ImportLog.
const (
	LevelDebug int32 = iota
	LevelInfo
	LevelWarn
	LevelError
)

// DSPStats is the kind of ImportDSP that writes eight f64 about the payload as numbers: count, mean, rms, minimum, maximum, peak
// (largest magnitude), crest (peak/rms) and kurtosis (normal noise = 3). dst takes as many of them as cap allows.
const DSPStats int32 = 1

// Formats of the payload's numbers, argument of DSPStats.
const (
	F32 int32 = iota
	F64
	I16
	I32
)

// Limits. The host refuses what exceeds them; a guest may rely on them.
const (
	MaxManifest = 64 << 10  // bytes of TOML
	MaxHead     = 1<<16 - 1 // bytes of a record before its payload: its offsets are u16
	MaxLabel    = 1<<16 - 1 // bytes of a label's name or value
	MaxText     = 4 << 10   // bytes kept of any text for people
	MaxSlots    = 1024      // declared labels
	MaxOutputs  = 1<<16 - 1 // outputs of one record
	MaxState    = 1 << 20   // bytes of explicit state
	MaxReasons  = 256       // declared drop reasons
	MaxAddress  = 1 << 30   // bytes of memory: addresses leave the two top bits of an i64 free
)

// Status is what init and load return: 0 = taken, greater than 0 = refused and the address of a zero-terminated text that says why, less
// than 0 = refused with a code.
type Status = int32

func itoa(v uint64) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + v%10)
		if v /= 10; v == 0 {
			return string(b[i:])
		}
	}
}

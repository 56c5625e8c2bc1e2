package host

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

const (
	slowFactor  = 10   // init, save and load may spend that many budgets
	leastBuffer = 4096 // bytes of the input buffer asked for first
)

// owner is the stream of a pipeline whose state an instance holds; zero = nobody's.
type owner struct {
	pipeline, stream string
	shadow           bool // the state is that of a trial
}

// instance is one running copy of a module. It has one owner at a time; nothing in it is safe for concurrent use.
type instance struct {
	m      *Module
	ctx    context.Context // carries the instance to the host functions; never ends
	mod    api.Module
	memory api.Memory
	allowance

	// Functions of the guest, looked up once: each look-up allocates. Those but in and process are nil if the module has none.
	in, process, flush, save, load api.Function

	owner owner
	watch Watch // of the chain that it works for; nil: nobody looks

	buffer, size uint32 // the guest's input buffer
	stack        [2]uint64
	fields       abi.Fields

	record  *bridge.Message // being processed; nil otherwise
	now     int64           // its time, microseconds
	random  uint64          // state of the random numbers
	ticks   uint64          // nanoseconds of the virtual clock
	muted   bool            // the records are run once more: nothing is logged or counted
	line    []byte          // of output, not yet ended
	printed []byte          // first of the call's output
	spent   int64           // units since they were last asked for
	calls   int             // of process
}

// start makes an instance and runs what a module runs before it gets its config: the start section and _initialize, and a script's top level.
func (m *Module) start() (*instance, error) {
	in := &instance{m: m, random: binary.LittleEndian.Uint64(m.sum[:])}
	in.rest = startUnits - firstUnits
	in.ctx = context.WithValue(context.Background(), instanceKey{}, in)
	ctx := experimental.WithMemoryAllocator(in.ctx, experimental.MemoryAllocatorFunc(allocate))
	cfg := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	mod, err := m.rt.rt.InstantiateModule(ctx, m.compiled, cfg)
	if err != nil {
		return nil, &fault{doing: "instantiate", err: err, printed: string(in.printed)}
	}
	in.mod, in.memory = mod, mod.Memory()
	in.attach(mod, m.counter)
	in.in, in.process = mod.ExportedFunction(abi.ExportIn), mod.ExportedFunction(abi.ExportProcess)
	in.flush = mod.ExportedFunction(abi.ExportFlush)
	in.save, in.load = mod.ExportedFunction(abi.ExportSave), mod.ExportedFunction(abi.ExportLoad)
	if f := mod.ExportedFunction(abi.ExportInitialize); f != nil {
		if _, err := in.call(abi.ExportInitialize, f, limit{units: startUnits}); err != nil {
			in.close()
			return nil, err
		}
	}
	if err := in.interpret(); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// fresh makes an instance that is ready to process.
func (m *Module) fresh() (*instance, error) {
	in, err := m.start()
	if err != nil {
		return nil, err
	}
	if err := in.configure(); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (in *instance) close() {
	// Closing an instance frees its memory; it does not run the guest, so there is nothing that could fail.
	_ = in.mod.Close(in.ctx)
}

// configure hands over the config.
func (in *instance) configure() error {
	if err := in.room(max(len(in.m.config), leastBuffer)); err != nil {
		return err
	}
	return in.give(abi.ExportInit, in.mod.ExportedFunction(abi.ExportInit), in.m.config, in.m.limit.times(slowFactor))
}

// give puts b into the input buffer and calls a function that answers with a status.
func (in *instance) give(name string, f api.Function, b []byte, l limit) error {
	if f == nil {
		return nil
	}
	if err := in.room(len(b)); err != nil {
		return err
	}
	if !in.memory.Write(in.buffer, b) {
		return lie(name, "the input buffer lies outside the memory")
	}
	got, err := in.call(name, f, l, uint64(len(b)))
	if err != nil {
		return err
	}
	switch status := int32(got); {
	case status > 0:
		return lie(name, "refused: %s", in.text(uint32(status)))
	case status < 0:
		return lie(name, "refused with code %d", -int64(status))
	}
	return nil
}

// text reads a zero-terminated text of the guest.
func (in *instance) text(ptr uint32) string {
	n := uint32(0)
	if size := in.memory.Size(); ptr < size {
		n = min(size-ptr, abi.MaxText)
	}
	b, _ := in.memory.Read(ptr, n)
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// room makes the input buffer at least n bytes.
func (in *instance) room(n int) error {
	if n <= int(in.size) {
		return nil
	}
	want := uint64(leastBuffer)
	for want < uint64(n) && want < 1<<20 {
		want *= 2
	}
	if want < uint64(n) {
		want = (uint64(n) + pageSize - 1) &^ (pageSize - 1) // twice a large record may be more than the memory has
	}
	got, err := in.call(abi.ExportIn, in.in, in.m.limit, want)
	if err != nil {
		return err
	}
	ptr := uint32(got)
	switch _, inside := in.memory.Read(ptr, uint32(want)); {
	case ptr == 0:
		return lie(abi.ExportIn, "no room for %d bytes", want)
	case ptr%16 != 0:
		return lie(abi.ExportIn, "address %#x, want a multiple of 16", ptr)
	case !inside:
		return lie(abi.ExportIn, "%d bytes at %#x lie outside the memory of %d", want, ptr, in.memory.Size())
	}
	in.buffer, in.size = ptr, uint32(want)
	return nil
}

// call runs a function of the guest within a limit.
func (in *instance) call(name string, f api.Function, l limit, args ...uint64) (uint64, error) {
	in.allow(l, in.m.rt.slice)
	in.printed = in.printed[:0]
	copy(in.stack[:], args)
	err := f.CallWithStack(in.ctx, in.stack[:])
	used := in.used()
	in.spent += used
	if err == nil {
		return in.stack[0], nil
	}
	if in.why != nil {
		err = in.m.exhausted(in.why)
	}
	return 0, &fault{doing: name, err: err, spent: used, limit: l.units, printed: string(in.printed)}
}

// begin sets what belongs to a record: its clock and its random numbers, so that processing it again gives the same bytes.
func (in *instance) begin(r *bridge.Message) {
	in.record, in.now = r, r.Time
	in.random = in.m.seed ^ uint64(r.Time)*0x9e3779b97f4a7c15 ^ uint64(r.Index)
}

// decide hands one record, whose slots are filled in, to the guest and returns what its process returned.
func (in *instance) decide(r *bridge.Message, flags bridge.Flags, entry []byte) (abi.Returned, error) {
	in.begin(r)
	defer func() { in.record = nil }()
	f := &in.fields
	f.Time, f.Flags, f.ContentType, f.Entry = r.Time, uint16(flags), r.ContentType, entry
	f.PayloadLen, f.Payload = len(r.Payload), r.Payload
	if most := in.m.payload; most >= 0 {
		f.Payload = r.Payload[:min(most, len(r.Payload))]
	}
	if n := f.Size(); n > int(in.size) {
		if err := in.room(n); err != nil {
			return abi.Returned{}, err
		}
	}
	view, _ := in.memory.Read(in.buffer, in.size)
	n, err := abi.PutRecord(view, f)
	if err != nil {
		return abi.Returned{}, &unfit{err}
	}
	return in.answered(abi.ExportProcess, in.process, 1, uint64(n))
}

// unfit is a record that cannot be put into the format: not the guest's fault, and no second try helps.
type unfit struct{ err error }

func (u *unfit) Error() string { return u.err.Error() }

// answered calls a function that returns an answer.
func (in *instance) answered(name string, f api.Function, args ...uint64) (abi.Returned, error) {
	v, err := in.watched(name, f, args...)
	if err != nil {
		return abi.Returned{}, err
	}
	got, err := abi.ParseReturned(int64(v))
	switch {
	case err != nil:
		return got, &fault{doing: name, err: err}
	case got.Failed:
		return got, in.failed(name, got.Code)
	case !got.Short && got.Len == 0:
		return got, &fault{doing: name, err: errNoAnswer}
	}
	return got, nil
}

// failed is the fault of a call that returned an error code.
func (in *instance) failed(name string, code uint64) *fault {
	return &fault{doing: name, err: fmt.Errorf("failed with code %d", code), printed: string(in.printed)}
}

// answer is the bytes that a guest's answer or state lies in: a view, valid until the next call.
func (in *instance) answer(doing string, ptr, n uint32, most int) ([]byte, error) {
	if int64(n) > int64(most) {
		return nil, lie(doing, "an answer of %d bytes, want at most %d", n, most)
	}
	b, ok := in.memory.Read(ptr, n)
	if !ok {
		return nil, lie(doing, "an answer of %d bytes at %#x lies outside the memory of %d", n, ptr, in.memory.Size())
	}
	return b, nil
}

// restore makes the guest go on from a state; none = begin anew.
func (in *instance) restore(state []byte) error {
	if len(state) > abi.MaxState {
		return fmt.Errorf("a state of %d bytes, want at most %d", len(state), abi.MaxState)
	}
	return in.give(abi.ExportLoad, in.load, state, in.m.limit.times(slowFactor))
}

// state returns the guest's state, a view valid until the next call.
func (in *instance) state() ([]byte, error) {
	v, err := in.call(abi.ExportSave, in.save, in.m.limit.times(slowFactor))
	if err != nil {
		return nil, err
	}
	if int64(v) < 0 {
		return nil, in.failed(abi.ExportSave, -v)
	}
	return in.answer(abi.ExportSave, uint32(v>>32), uint32(v), abi.MaxState)
}

// say logs a line of the guest.
func (in *instance) say(level int32, text []byte) {
	if in.watch != nil && !in.muted {
		in.watch.Said(level, text)
	}
	if in.muted || in.m.rt.log == nil {
		return
	}
	held, ok := in.m.lines.allow(time.Now())
	if !ok {
		return
	}
	l := logLevels[min(max(level, 0), int32(len(logLevels)-1))]
	in.m.rt.log.Log(in.ctx, l, "module says", "module", in.m.name, "text", string(text), "lines_held_back", held)
}

// full tells whether the instance should not serve again: memory of a guest never shrinks.
func (in *instance) full() bool {
	const leastCalls = 1024 // else a guest that needs its memory would be made anew for every batch
	return in.calls >= leastCalls && uint64(in.memory.Size()) > uint64(math.Ceil(float64(in.m.cfg.Memory)*0.75))
}

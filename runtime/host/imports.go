package host

import (
	"context"
	"fmt"
	"strings"

	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/meter"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

const (
	callCost  = 32 // units of a call of the host: what crossing the border takes
	copyShift = 3  // units of a copy: one for 8 bytes
	logCost   = 2000
)

// hostFunc is what a guest may call. The stack holds its parameters, then its result. It reports a fault of the guest by trap.
type hostFunc func(in *instance, memory api.Memory, stack []uint64)

// hostModule is a table of functions. A signature is its parameters, a colon and its result: i = i32, I = i64, F = f64.
type hostModule struct {
	name      string
	functions []hostFunction
}

type hostFunction struct {
	name, signature string
	call            hostFunc
}

// instanceKey finds the instance that calls in the context it was called with.
type instanceKey struct{}

// trap ends a guest's call from within a host function: wazero takes the panic and returns it from the call.
func trap(format string, args ...any) { panic(fmt.Errorf(format, args...)) }

func (m *hostModule) instantiate(ctx context.Context, rt wazero.Runtime) error {
	b := rt.NewHostModuleBuilder(m.name)
	cost := int64(callCost)
	if m.name == meter.TickModule {
		cost = 0 // what a call spends must not depend on how it was sliced
	}
	for _, f := range m.functions {
		params, results := f.types()
		call := api.GoModuleFunc(func(ctx context.Context, mod api.Module, stack []uint64) {
			in := ctx.Value(instanceKey{}).(*instance)
			in.attach(mod, in.m.counter)
			in.charge(cost)
			f.call(in, mod.Memory(), stack)
		})
		b.NewFunctionBuilder().WithGoModuleFunction(call, params, results).Export(f.name)
	}
	if _, err := b.Instantiate(ctx); err != nil {
		return fmt.Errorf("host module %s: %w", m.name, err)
	}
	return nil
}

func (f *hostFunction) types() (params, results []api.ValueType) {
	before, after, _ := strings.Cut(f.signature, ":")
	return valueTypes(before), valueTypes(after)
}

func valueTypes(s string) []api.ValueType {
	var out []api.ValueType
	for _, c := range s {
		switch c {
		case 'i':
			out = append(out, api.ValueTypeI32)
		case 'I':
			out = append(out, api.ValueTypeI64)
		case 'F':
			out = append(out, api.ValueTypeF64)
		}
	}
	return out
}

// find returns the function of a name, nil if there is none.
func (m *hostModule) find(name string) *hostFunction {
	for i := range m.functions {
		if m.functions[i].name == name {
			return &m.functions[i]
		}
	}
	return nil
}

// meterModule is what a metered module calls when its units are used up. No guest can import it: the meter refuses.
func meterModule() hostModule {
	return hostModule{meter.TickModule, []hostFunction{{meter.TickName, ":", func(in *instance, _ api.Memory, _ []uint64) { in.tick() }}}}
}

func sluiceModule() hostModule {
	return hostModule{abi.ImportModule, []hostFunction{
		{abi.ImportLog, "iii:", hostLog},
		{abi.ImportCount, "iiI:", hostCount},
		{abi.ImportObserve, "iiF:", hostObserve},
		{abi.ImportPayload, "iiii:i", hostPayload},
		{abi.ImportLabel, "iiiii:i", hostLabel},
		{abi.ImportNow, ":I", hostNow},
		{abi.ImportUnits, ":I", hostUnits},
		{abi.ImportDSP, "iiiii:i", hostDSP},
	}}
}

// view returns memory of the guest, or traps.
func view(memory api.Memory, what string, ptr, n uint64) []byte {
	if memory == nil {
		trap("%s: the module has no memory", what)
	}
	b, ok := memory.Read(uint32(ptr), uint32(n))
	if !ok {
		trap("%s: bytes %d to %d lie outside the memory of %d", what, uint32(ptr), uint64(uint32(ptr))+uint64(uint32(n)), memory.Size())
	}
	return b
}

func hostLog(in *instance, memory api.Memory, stack []uint64) {
	in.charge(logCost)
	level, text := int32(stack[0]), view(memory, "log", stack[1], min(uint64(uint32(stack[2])), abi.MaxText))
	if level >= abi.LevelError { // a panic's last words: they belong to what is said of the record
		in.print(text)
	}
	in.say(level, text)
}

func hostCount(in *instance, memory api.Memory, stack []uint64) {
	name := view(memory, "count", stack[0], stack[1])
	if !in.muted {
		in.m.counts.add(name, float64(int64(stack[2])), false)
	}
}

func hostObserve(in *instance, memory api.Memory, stack []uint64) {
	name := view(memory, "observe", stack[0], stack[1])
	if !in.muted {
		in.m.counts.add(name, api.DecodeF64(stack[2]), true)
	}
}

func hostPayload(in *instance, memory api.Memory, stack []uint64) {
	off, n := uint64(uint32(stack[1])), uint64(uint32(stack[3]))
	if in.record == nil || uint32(stack[0]) != 0 {
		stack[0] = fail
		return
	}
	payload := in.record.Payload
	part := payload[min(off, uint64(len(payload))):]
	part = part[:min(n, uint64(len(part)))]
	in.charge(int64(len(part)) >> copyShift)
	stack[0] = uint64(copy(view(memory, "payload", stack[2], uint64(len(part))), part))
}

func hostLabel(in *instance, memory api.Memory, stack []uint64) {
	name := view(memory, "label", stack[1], stack[2])
	dst, room := stack[3], stack[4]
	stack[0] = fail
	if in.record == nil {
		return
	}
	for i := range in.record.Labels {
		l := &in.record.Labels[i]
		if string(l.Name) != string(name) {
			continue
		}
		if len(l.Value) <= int(uint32(room)) {
			in.charge(int64(len(l.Value)) >> copyShift)
			copy(view(memory, "label", dst, uint64(len(l.Value))), l.Value)
		}
		stack[0] = uint64(len(l.Value))
		return
	}
}

func hostNow(in *instance, _ api.Memory, stack []uint64) { stack[0] = uint64(in.now) }

// hostUnits lets a guest that runs somebody's code stop it in time and say where it was.
func hostUnits(in *instance, _ api.Memory, stack []uint64) { stack[0] = uint64(in.left(in.m.rt.speed)) }

func hostDSP(in *instance, memory api.Memory, stack []uint64) {
	rec, kind, format, room := uint32(stack[0]), int32(stack[1]), int32(stack[2]), uint64(uint32(stack[4]))
	if in.record == nil || rec != 0 || kind != abi.DSPStats {
		stack[0] = fail
		return
	}
	in.charge(int64(len(in.record.Payload)) >> 1)
	var out [8 * 8]byte
	if !stats(&out, in.record.Payload, format) {
		stack[0] = fail
		return
	}
	n := min(uint64(len(out)), room&^7)
	stack[0] = uint64(copy(view(memory, "dsp", stack[3], n), out[:n]))
}

const fail = 1<<32 - 1 // -1 as an i32

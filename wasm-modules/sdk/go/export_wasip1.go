package sluice

import (
	"unsafe"

	"github.com/sluicebridge/sluice/runtime/abi"
)

// failed is an answer that the host handles like a trap.
const failed = -1

//go:wasmexport sluice_abi_1
func exportVersion() {}

//go:wasmexport sluice_describe
func exportDescribe() int64 {
	return abi.LongAnswer(uint32(uintptr(unsafe.Pointer(unsafe.StringData(guest.manifest)))), uint32(len(guest.manifest)))
}

//go:wasmexport sluice_in
func exportIn(size int32) int32 {
	if size <= 0 {
		size = 16
	}
	return int32(address(guest.input(int(size))))
}

//go:wasmexport sluice_init
func exportInit(length int32) int32 { return status(guest.init(int(length))) }

//go:wasmexport sluice_load
func exportLoad(length int32) int32 { return status(guest.load(int(length))) }

//go:wasmexport sluice_save
func exportSave() int64 {
	state, ok := guest.save()
	if !ok {
		return failed
	}
	return abi.LongAnswer(address(state), uint32(len(state)))
}

//go:wasmexport sluice_process
func exportProcess(_, length int32) int64 { return returned(guest.process(int(length))) }

//go:wasmexport sluice_flush
func exportFlush(why int32) int64 { return returned(guest.flush(why)) }

func returned(v Verdict) int64 {
	if v != inMemory {
		return int64(v)
	}
	b := guest.out.Bytes()
	return abi.LongAnswer(address(b), uint32(len(b)))
}

func status(refusal string) int32 {
	if refusal == "" {
		return 0
	}
	return int32(address(guest.keep(refusal)))
}

// address of a buffer that something else keeps alive.
func address(b []byte) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

//go:wasmimport sluice1 log
func importLog(level int32, ptr unsafe.Pointer, n uint32)

//go:wasmimport sluice1 count
func importCount(ptr unsafe.Pointer, n uint32, by int64)

//go:wasmimport sluice1 observe
func importObserve(ptr unsafe.Pointer, n uint32, value float64)

//go:wasmimport sluice1 payload
func importPayload(record int32, from int32, ptr unsafe.Pointer, n uint32) int32

//go:wasmimport sluice1 label
func importLabel(record int32, key unsafe.Pointer, keyLen uint32, ptr unsafe.Pointer, n uint32) int32

//go:wasmimport sluice1 now
func importNow() int64

//go:wasmimport sluice1 dsp
func importDSP(record, kind, format int32, ptr unsafe.Pointer, n uint32) int32

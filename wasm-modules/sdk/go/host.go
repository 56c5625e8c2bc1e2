package sluice

import (
	"unsafe"

	"github.com/sluicebridge/sluice/runtime/abi"
)

// Log writes a line into the host's log; levels are abi.LevelDebug to abi.LevelError.
func Log(level int32, text string) {
	importLog(level, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

// Count adds to the module's counter of that name.
func Count(name string, by int64) {
	importCount(unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), by)
}

// Observe adds a value to the module's distribution of that name.
func Observe(name string, value float64) {
	importObserve(unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), value)
}

// Pull copies the record's payload into dst's memory and returns it, for modules whose manifest says payload = "pull".
func Pull(r Record, dst []byte) []byte {
	n := r.PayloadLen()
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	dst = dst[:n]
	if n == 0 {
		return dst
	}
	return dst[:max(0, importPayload(0, 0, unsafe.Pointer(&dst[0]), uint32(n)))]
}

// Label copies the value of any label of the record, declared or not, into dst's memory: nil where the record has none. A declared slot
// costs nothing; this costs a call of the host.
func Label(name string, dst []byte) []byte {
	if cap(dst) == 0 {
		dst = make([]byte, 64)
	}
	dst = dst[:cap(dst)]
	for {
		n := importLabel(0, unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), unsafe.Pointer(&dst[0]), uint32(len(dst)))
		if n < 0 {
			return nil
		}
		if int(n) <= len(dst) {
			return dst[:n]
		}
		dst = make([]byte, n)
	}
}

// Now is the time of the record in microseconds, also where there is no record at hand; 0 before the first.
func Now() int64 { return importNow() }

// Stats is what the host knows of a payload of numbers without copying it to the module. A constant signal has neither crest nor kurtosis: they are 0.
type Stats struct {
	Count, Mean, RMS, Least, Most, Peak, Crest, Kurtosis float64
}

// StatsOf asks the host about the record's payload as numbers of a format, abi.F32 to abi.I32; ok is false where it is no whole number of them.
func StatsOf(format int32) (s Stats, ok bool) {
	const size = unsafe.Sizeof(s)
	n := importDSP(0, abi.DSPStats, format, unsafe.Pointer(&s), uint32(size))
	return s, n == int32(size)
}

package host

import (
	"encoding/binary"
	"math"

	"github.com/sluicebridge/sluice/runtime/abi"
)

// stats writes the numbers of abi.DSPStats about payload. It is false where payload is not a whole number of values, or has none.
func stats(out *[64]byte, payload []byte, format int32) bool {
	width, ok := widthOf(format)
	if !ok || len(payload) == 0 || len(payload)%width != 0 {
		return false
	}
	n := len(payload) / width
	sum, squares := 0.0, 0.0
	least, most := math.Inf(1), math.Inf(-1)
	for i := range n {
		v := value(payload[i*width:], format)
		sum += v
		squares += v * v
		least, most = min(least, v), max(most, v)
	}
	count := float64(n)
	mean, rms := sum/count, math.Sqrt(squares/count)
	second, fourth := 0.0, 0.0
	for i := range n {
		d := value(payload[i*width:], format) - mean
		second += d * d
		fourth += d * d * d * d
	}
	peak := max(math.Abs(least), math.Abs(most))
	for i, v := range [...]float64{count, mean, rms, least, most, peak, ratio(peak, rms), ratio(fourth*count, second*second)} {
		binary.LittleEndian.PutUint64(out[8*i:], math.Float64bits(v))
	}
	return true
}

// ratio is 0 where there is nothing to divide by: a constant signal has no crest and no kurtosis.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func widthOf(format int32) (width int, ok bool) {
	widths := [...]int{abi.F32: 4, abi.F64: 8, abi.I16: 2, abi.I32: 4}
	if format < 0 || int(format) >= len(widths) {
		return 0, false
	}
	return widths[format], true
}

func value(b []byte, format int32) float64 {
	switch format {
	case abi.F32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	case abi.F64:
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	case abi.I16:
		return float64(int16(binary.LittleEndian.Uint16(b)))
	}
	return float64(int32(binary.LittleEndian.Uint32(b)))
}

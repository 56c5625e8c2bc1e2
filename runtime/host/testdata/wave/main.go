//go:build wasip1

// wave is the heavy job of the benchmarks: the features of a waveform of f32 in its place.
package main

import (
	"math"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

const manifest = `
abi = 1
name = "wave"
payload = "full"
`

var _ = sluice.Register(manifest, filter{})

func main() {}

type filter struct{}

func (filter) Init(sluice.JSON) error { return nil }

func (filter) Process(r sluice.Record, out *sluice.Out) sluice.Verdict {
	wave := sluice.F32(r.Payload())
	var sum, fourth float64
	top := uint32(0)
	for _, v := range wave {
		q := float64(v) * float64(v)
		sum += q
		fourth += q * q
		top = max(top, math.Float32bits(v)&0x7fffffff)
	}
	n := float64(len(wave))
	var b [24]byte
	p := sluice.AppendUint64(b[:0], math.Float64bits(math.Sqrt(sum/n)))
	p = sluice.AppendUint64(p, math.Float64bits(float64(math.Float32frombits(top))))
	p = sluice.AppendUint64(p, math.Float64bits(fourth*n/(sum*sum)))
	out.SetPayload(p)
	return out.Emit()
}

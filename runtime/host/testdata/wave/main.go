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

const magnitude = 0x7fffffff // all bits but the sign

type filter struct{}

func (filter) Init(sluice.JSON) error { return nil }

func (filter) Process(r sluice.Record, out *sluice.Out) sluice.Verdict {
	wave := sluice.F32(r.Payload())
	var sum, fourth float64
	top := uint32(0)
	for rest := wave; len(rest) >= 4; rest = rest[4:] { // of a waveform of a multiple of four values; the turn of a loop costs as much as what is done in it
		v := (*[4]float32)(rest)
		a, b, c, d := float64(v[0])*float64(v[0]), float64(v[1])*float64(v[1]), float64(v[2])*float64(v[2]), float64(v[3])*float64(v[3])
		sum += (a + b) + (c + d)
		fourth += (a*a + b*b) + (c*c + d*d)
		top = max(top, math.Float32bits(v[0])&magnitude, math.Float32bits(v[1])&magnitude, math.Float32bits(v[2])&magnitude, math.Float32bits(v[3])&magnitude)
	}
	n := float64(len(wave))
	var b [24]byte
	p := sluice.AppendUint64(b[:0], math.Float64bits(math.Sqrt(sum/n)))
	p = sluice.AppendUint64(p, math.Float64bits(float64(math.Float32frombits(top))))
	p = sluice.AppendUint64(p, math.Float64bits(fourth*n/(sum*sum)))
	out.SetPayload(p)
	return out.Emit()
}

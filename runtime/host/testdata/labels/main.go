//go:build wasip1

// labels is the fixed job of the benchmarks: records of a stable machine pass, with three labels renamed.
package main

import sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"

const manifest = `
abi = 1
name = "labels"
labels = ["stable", "rpm", "axis", "device"]
reasons = ["not stable"]
`

var _ = sluice.Register(manifest, filter{})

func main() {}

var (
	names = [...][]byte{nil, []byte("rpm"), []byte("axis"), []byte("device")}
	to    = [...][]byte{nil, []byte("speed"), []byte("direction"), []byte("machine")}
)

type filter struct{}

func (filter) Init(sluice.JSON) error { return nil }

func (filter) Process(r sluice.Record, out *sluice.Out) sluice.Verdict {
	if string(r.Slot(0)) != "true" {
		return sluice.Drop(0)
	}
	for i := 1; i < len(names); i++ {
		if r.Slot(i) != nil {
			out.RenameLabel(names[i], to[i])
		}
	}
	return out.Emit()
}

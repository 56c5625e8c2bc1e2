//go:build wasip1

// maps does what a filter should not, on every record: it makes a map of the labels and texts of them.
package main

import sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"

const manifest = `
abi = 1
name = "maps"
labels = ["*"]
`

var _ = sluice.Register(manifest, new(filter))

func main() {}

// filter holds on to the last map, so that each is on the heap.
type filter struct{ labels map[string]string }

func (*filter) Init(sluice.JSON) error { return nil }

func (f *filter) Process(r sluice.Record, out *sluice.Out) sluice.Verdict {
	labels := make(map[string]string)
	f.labels = labels
	for i := 0; i+1 < r.Slots(); i += 2 {
		labels[string(r.Slot(i))] = string(r.Slot(i + 1))
	}
	if labels["stable"] != "true" {
		return sluice.Drop(0)
	}
	out.SetLabel([]byte("speed"), []byte(labels["rpm"]))
	return out.Emit()
}

//go:build wasip1

// broken is a module that panics.
package main

import sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"

var _ = sluice.Register("abi = 1\nname = \"broken\"\nlabels = [\"do\"]\n", filter{})

func main() {}

type filter struct{}

func (filter) Init(sluice.JSON) error { return nil }

func (filter) Process(r sluice.Record, _ *sluice.Out) sluice.Verdict {
	if string(r.Slot(0)) == "panic" {
		panic("at a loss")
	}
	return sluice.Pass
}

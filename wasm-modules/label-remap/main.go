// label-remap renames, drops, sets and composes labels.
package main

import sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"

var _ = sluice.Register(manifest, new(filter))

func main() {} // never called: the module is a library

// filter is the glue between the host and rules.
type filter struct {
	rules *rules
}

func (f *filter) Init(config sluice.JSON) (err error) {
	f.rules, err = readRules(config)
	return err
}

func (f *filter) Process(r sluice.Record, out *sluice.Out) sluice.Verdict {
	f.rules.apply(r, out)
	return out.Emit()
}

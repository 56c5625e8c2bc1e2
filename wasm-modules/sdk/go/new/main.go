// my-filter lets records pass that were made fast enough, under the label that the far end knows.
package main

import (
	"errors"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

const manifest = `abi = 1
name = "my-filter"
version = "0.1.0"
labels = ["rpm"]
payload = "none"
reasons = ["slow"]

[[config]]
name = "min"
type = "float"
default = 600.0
help = "lowest number of revolutions a minute"
`

// The manifest's reasons.
const slow = 0

var _ = sluice.Register(manifest, new(filter))

func main() {} // never called: the module is a library

type filter struct {
	min float64
}

// Init takes the configuration, once and before all else.
func (f *filter) Init(config sluice.JSON) error {
	f.min, _ = config.Get("min").Float()
	if f.min < 0 {
		return errors.New("min: want 0 or more")
	}
	return nil
}

// Process decides on one record.
func (f *filter) Process(r sluice.Record, out *sluice.Out) sluice.Verdict {
	rpm, ok := sluice.Float(r.Slot(0)) // the first of labels
	if !ok {
		return out.Park("rpm: want a number")
	}
	if rpm < f.min {
		return sluice.Drop(slow)
	}
	out.RenameLabel([]byte("rpm"), []byte("speed"))
	return out.Emit()
}

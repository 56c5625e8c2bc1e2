//go:build wasip1

// count numbers the records of a stream from 1 on, in the label count: one that was taken twice takes a number too many.
package main

import (
	"encoding/binary"
	"errors"
	"strconv"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

const manifest = `
abi = 1
name = "count"
payload = "none"
state = "explicit"
state_version = 1
`

var _ = sluice.Register(manifest, new(counter))

func main() {}

type counter struct {
	n    uint64
	text []byte
}

func (*counter) Init(sluice.JSON) error { return nil }

func (c *counter) Process(_ sluice.Record, out *sluice.Out) sluice.Verdict {
	c.n++
	c.text = strconv.AppendUint(c.text[:0], c.n, 10)
	out.SetLabel([]byte("count"), c.text)
	return out.Emit()
}

func (c *counter) Save(dst []byte) []byte { return binary.LittleEndian.AppendUint64(dst, c.n) }

func (c *counter) Load(state []byte) error {
	switch len(state) {
	case 0:
		c.n = 0
	case 8:
		c.n = binary.LittleEndian.Uint64(state)
	default:
		return errors.New("a state of " + strconv.Itoa(len(state)) + " bytes, want 8")
	}
	return nil
}

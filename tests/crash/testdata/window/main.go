//go:build wasip1

// window numbers the records of a stream from 1 on, in the label count, and says at each tick which numbers came since the last: one that was missed or taken
// twice leaves a gap or an overlap, and so does a window that was said twice or not at all.
package main

import (
	"encoding/binary"
	"errors"
	"strconv"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

const manifest = `
abi = 1
name = "window"
payload = "none"
state = "explicit"
state_version = 1
tick = "100ms"
`

var _ = sluice.Register(manifest, new(window))

func main() {}

type window struct {
	n, said uint64 // records, and up to which of them a window was said
	text    []byte
}

func (*window) Init(sluice.JSON) error { return nil }

func (w *window) Process(_ sluice.Record, out *sluice.Out) sluice.Verdict {
	w.n++
	w.text = strconv.AppendUint(w.text[:0], w.n, 10)
	out.SetLabel([]byte("count"), w.text)
	return out.Emit()
}

func (w *window) Between(_ sluice.Reason, out *sluice.Out) sluice.Verdict {
	if w.said == w.n {
		return sluice.Pass
	}
	w.text = strconv.AppendUint(w.text[:0], w.said+1, 10)
	w.text = append(w.text, '-')
	w.text = strconv.AppendUint(w.text, w.n, 10)
	out.SetLabel([]byte("window"), w.text)
	w.said = w.n
	return out.Emit()
}

func (w *window) Save(dst []byte) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, w.n), w.said)
}

func (w *window) Load(state []byte) error {
	switch len(state) {
	case 0:
		w.n, w.said = 0, 0
	case 16:
		w.n, w.said = binary.LittleEndian.Uint64(state), binary.LittleEndian.Uint64(state[8:])
	default:
		return errors.New("a state of " + strconv.Itoa(len(state)) + " bytes, want 16")
	}
	return nil
}

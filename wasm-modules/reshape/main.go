// reshape writes a new payload from a JSON payload's fields or a waveform's features, and labels.
package main

import (
	"slices"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

var _ = sluice.Register(manifest, new(filter))

func main() {} // never called: the module is a library

// filter is the glue between the host and shape.
type filter struct {
	shape          *shape
	source         source // of the record that is processed
	payload, topic []byte
}

// leastRoom is what a payload's buffer has at first, and always some of it to spare: short texts are written as words, beyond their end.
const leastRoom = 4096

func (f *filter) Init(config sluice.JSON) (err error) {
	f.shape, err = readShape(config)
	f.payload, f.topic = make([]byte, 0, leastRoom), make([]byte, 0, leastRoom)
	return err
}

func (f *filter) Process(r sluice.Record, out *sluice.Out) sluice.Verdict {
	s, src := f.shape, &f.source
	if err := s.read(r, src); err != nil {
		return out.Park(err.Error())
	}
	if len(s.topic) > 0 {
		f.topic = src.write(f.topic[:0], s.topic)
		if src.lacks != nil && s.missing == "null" { // a topic cannot hold null
			return out.Park("topic: no " + src.missing())
		}
	}
	f.payload = src.write(f.payload[:0], s.payload)
	if cap(f.payload)-len(f.payload) < leastRoom/16 {
		f.payload = slices.Grow(f.payload, len(f.payload))
	}
	switch {
	case src.lacks == nil || s.missing == "null":
	case s.missing == "drop":
		return sluice.Drop(0)
	default:
		return out.Park("no " + src.missing())
	}
	out.Output()
	if len(f.topic) > 0 {
		out.SetTopic(f.topic)
	}
	if len(s.contentType) > 0 && !sluice.Equal(s.contentType, r.ContentType()) {
		out.SetType(s.contentType)
	}
	out.SetPayload(f.payload)
	return out.Emit()
}

// reshape writes a new payload from a JSON payload's fields or a waveform's features, and labels.
package main

import sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"

var _ = sluice.Register(manifest, new(filter))

func main() {} // never called: the module is a library

// filter is the glue between the host and shape.
type filter struct {
	shape          *shape
	payload, topic []byte
}

func (f *filter) Init(config sluice.JSON) (err error) {
	f.shape, err = readShape(config)
	return err
}

func (f *filter) Process(r sluice.Record, out *sluice.Out) sluice.Verdict {
	src, err := f.shape.read(r)
	if err != nil {
		return out.Park(err.Error())
	}
	f.topic = src.write(f.topic[:0], f.shape.topic)
	if src.lacks != "" && f.shape.missing == "null" { // a topic cannot hold null
		return out.Park("topic: no " + src.lacks)
	}
	f.payload = src.write(f.payload[:0], f.shape.payload)
	switch {
	case src.lacks == "" || f.shape.missing == "null":
	case f.shape.missing == "drop":
		return sluice.Drop(0)
	default:
		return out.Park("no " + src.lacks)
	}
	out.Output()
	if len(f.topic) > 0 {
		out.SetTopic(f.topic)
	}
	if len(f.shape.contentType) > 0 {
		out.SetType(f.shape.contentType)
	}
	out.SetPayload(f.payload)
	return out.Emit()
}

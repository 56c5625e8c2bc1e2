// vibration-features computes features of vibration waveforms.
package main

import (
	"math"
	"strconv"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

var _ = sluice.Register(manifest, new(filter))

func main() {} // never called: the module is a library

// filter is the glue between the host and analysis.
type filter struct {
	settings *settings
	analysis analysis
	values   []float64
	payload  []byte
	text     []byte
}

func (f *filter) Init(config sluice.JSON) (err error) {
	f.settings, err = readSettings(config)
	f.analysis = analysis{}
	return err
}

func (f *filter) Process(r sluice.Record, out *sluice.Out) sluice.Verdict {
	s := f.settings
	rate, speed, lacks := s.conditions(r)
	if lacks != "" && s.missing == "drop" {
		return sluice.Drop(0)
	}
	if lacks != "" && s.missing == "park" {
		return out.Park(lacks)
	}
	values, err := f.analysis.of(s, r.Payload(), rate, speed, f.values[:0])
	if err != nil {
		return out.Park(err.Error())
	}
	f.values = values
	out.Output()
	if s.labels {
		f.asLabels(out)
	}
	switch s.payload {
	case "json":
		f.asPayload(out)
	case "none":
		out.SetPayload(nil)
	}
	return out.Emit()
}

func (f *filter) asLabels(out *sluice.Out) {
	for i, v := range f.values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue // what cannot be had has no label
		}
		f.text = strconv.AppendFloat(f.text[:0], v, 'g', f.settings.digits, 64)
		out.SetLabel(f.settings.names[i].label, f.text)
	}
}

func (f *filter) asPayload(out *sluice.Out) {
	b := f.payload[:0]
	for i, v := range f.values {
		b = append(b, f.settings.names[i].key...)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			b = append(b, "null"...)
			continue
		}
		b = strconv.AppendFloat(b, v, 'g', f.settings.digits, 64)
	}
	f.payload = append(b, '}')
	out.SetType([]byte("application/json"))
	out.SetPayload(f.payload)
}

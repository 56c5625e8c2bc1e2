// stable-speed lets pass what was recorded while the machine ran at a stable speed.
package main

import sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"

var _ = sluice.Register(manifest, new(filter))

func main() {} // never called: the module is a library

// filter is the glue between the host and judge.
type filter struct {
	settings settings
	slot     int // of the label, -1 = it is none of the manifest's
	history  history
	buf      []byte
}

func (f *filter) Init(config sluice.JSON) (err error) {
	f.settings, err = readSettings(config)
	f.slot = -1
	for i, declared := range [...]string{"rpm", "prod_speed", "speed"} {
		if declared == f.settings.label {
			f.slot = i
		}
	}
	return err
}

func (f *filter) Process(r sluice.Record, _ *sluice.Out) sluice.Verdict {
	speed, present := f.speed(r)
	if reason := f.history.judge(&f.settings, r.Time(), speed, present); reason != passes {
		return sluice.Drop(reason)
	}
	return sluice.Pass
}

// speed finds the record's speed where the configuration says it is.
func (f *filter) speed(r sluice.Record) (float64, bool) {
	if f.settings.field != "" {
		f.buf = sluice.Pull(r, f.buf)
		payload, err := sluice.ParseJSON(f.buf)
		if err != nil {
			return 0, false
		}
		return payload.Path(f.settings.field).Float()
	}
	if f.slot >= 0 {
		return sluice.Float(r.Slot(f.slot))
	}
	if f.buf == nil {
		f.buf = make([]byte, 64)
	}
	return sluice.Float(sluice.Label(f.settings.label, f.buf))
}

func (f *filter) Save(dst []byte) []byte { return f.history.save(dst, f.settings.width()) }

func (f *filter) Load(state []byte) error { return f.history.load(state, f.settings.width()) }

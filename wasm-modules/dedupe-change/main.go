// dedupe-change lets pass what has changed, and drops what says the same again.
package main

import sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"

var _ = sluice.Register(manifest, new(filter))

func main() {} // never called: the module is a library

// filter is the glue between the host and the table.
type filter struct {
	settings *settings
	table    table
}

func (f *filter) Init(config sluice.JSON) (err error) {
	f.settings, err = readSettings(config)
	f.table.clear()
	return err
}

func (f *filter) Process(r sluice.Record, out *sluice.Out) sluice.Verdict {
	s := f.settings
	if err := s.Read(r); err != nil {
		return out.Park(err.Error())
	}
	if f.table.news(s, r.Time()) {
		return sluice.Pass
	}
	return sluice.Drop(unchanged)
}

func (f *filter) Save(dst []byte) []byte { return f.table.save(dst, f.settings) }

func (f *filter) Load(state []byte) error { return f.table.load(state, f.settings) }

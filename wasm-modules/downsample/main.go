// downsample makes one record of each window of time and key.
package main

import sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"

var _ = sluice.Register(manifest, new(filter))

func main() {} // never called: the module is a library

// filter is the glue between the host and the table.
type filter struct {
	settings *settings
	table    table
	printer  printer
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
	key, found := s.keyOf()
	if !found && s.dropMissing {
		return sluice.Drop(missingKey)
	}
	if !found {
		return out.Park("no " + s.keyText)
	}
	if fault := f.table.fault(s, key); fault != "" {
		return out.Park(fault)
	}
	f.printer.out = out
	reason := f.table.add(s, r.Time(), key, &f.printer)
	switch {
	case out.Outputs() > 0: // of windows that this record ended, whatever became of itself
		return out.Emit()
	case reason != taken:
		return sluice.Drop(reason)
	}
	return sluice.Absorb
}

// Between gives out all that is open where the state is not handed over, for it would be lost with it. A tick and a shutdown end no window: time is the
// records'.
func (f *filter) Between(why sluice.Reason, out *sluice.Out) sluice.Verdict {
	if why != sluice.Swap {
		return sluice.Pass
	}
	f.printer.out = out
	f.table.giveAll(f.settings, &f.printer)
	return out.Emit()
}

func (f *filter) Save(dst []byte) []byte { return f.table.save(dst, f.settings) }

func (f *filter) Load(state []byte) error { return f.table.load(state, f.settings) }

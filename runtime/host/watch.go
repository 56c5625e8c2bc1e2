package host

import (
	"bytes"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/tetratelabs/wazero/api"
)

// Watch sees what a chain's guests are asked and answer: for tests of modules and for a person who looks at one record. It is called by
// the goroutine of Apply, within it.
type Watch interface {
	// Called is told of every call of process and flush. After a fault a record is tried again, so the last call of one is what counts.
	Called(Call)
	// Said is told each line that a guest logs or prints; the text is valid until it returns.
	Said(level int32, text []byte)
}

// Call is one call of a guest. Its bytes are valid until Called returns.
type Call struct {
	Module   string
	Name     string          // of the export
	Record   *bridge.Message // the one decided; of a flush, the one that its outputs belong to
	In       []byte          // the record as it lay in the input buffer; empty for a flush
	Returned int64           // as it came; 0 where the call failed
	Answer   []byte          // what Returned points to; nil where it points nowhere
	Units    int64           // spent
	Memory   int64           // bytes that the instance has
	Err      error           // why there is no answer
}

// Watch has w look at the chain's guests. Call it before the first Apply.
func (c *Chain) Watch(w Watch) { c.watch = w }

// watched is call within the module's budget, seen by the chain's watch.
func (in *instance) watched(name string, f api.Function, args ...uint64) (uint64, error) {
	if in.watch == nil {
		return in.call(name, f, in.m.limit, args...)
	}
	c := Call{Module: in.m.name, Name: name, Record: in.record}
	if name == abi.ExportProcess {
		view, _ := in.memory.Read(in.buffer, uint32(args[1]))
		c.In = bytes.Clone(view) // the guest may write over it
	}
	before := in.spent
	v, err := in.call(name, f, in.m.limit, args...)
	c.Units, c.Memory, c.Returned, c.Err = in.spent-before, int64(in.memory.Size()), int64(v), err
	if got, e := abi.ParseReturned(c.Returned); err == nil && e == nil && !got.Failed && !got.Short {
		c.Answer, _ = in.answer(name, got.Ptr, got.Len, int(in.m.cfg.Output))
	}
	in.watch.Called(c)
	return v, err
}

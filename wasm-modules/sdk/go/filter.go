package sluice

import "github.com/sluicebridge/sluice/runtime/abi"

// Record is one record: its time, entry, content type, label slots and payload, as the manifest asked for them.
type Record = abi.Record

// Filter decides on records. Its methods are called by one caller at a time, for the records of one stream in their order; when the host
// turns to another stream, it says so by Load.
type Filter interface {
	// Init takes the configuration, an object, once and before all else. An error refuses it, and the module with it.
	Init(config JSON) error
	// Process decides on one record.
	Process(r Record, out *Out) Verdict
}

// Stateful is a Filter that remembers something of a stream. Its manifest says state = "explicit".
type Stateful interface {
	// Save appends the state to dst. It is called at the end of a batch and stored with what the batch became.
	Save(dst []byte) []byte
	// Load begins with a stored state, or anew when state is empty. An error refuses it.
	Load(state []byte) error
}

// Flusher is a Filter with something to say at the end of a batch: Pass for nothing, or Emit; the outputs belong to the last record.
type Flusher interface {
	Flush(out *Out) Verdict
}

// Ticker is a Filter that holds something back from batch to batch, in its state. Between asks for it where no record is there: at each tick of the
// manifest, and before the process ends or another module takes over. Pass for nothing, or Emit: the outputs are made from an empty record.
type Ticker interface {
	Between(why Reason, out *Out) Verdict
}

// Reason is why Between is called.
type Reason int32

const (
	Tick     = Reason(abi.FlushTick)     // the second in a row without a record: none came for a whole tick
	Shutdown = Reason(abi.FlushShutdown) // the state is loaded again at the next start
	Swap     = Reason(abi.FlushSwap)     // the state is not handed over
)

// Verdict is what Process returns: one of the constants, Drop, Keep, or what a method of Out returns.
type Verdict int64

const (
	Pass   = Verdict(1<<62 | int64(abi.Pass)<<48)   // publish it unchanged
	Absorb = Verdict(1<<62 | int64(abi.Absorb)<<48) // taken into the state; nothing is published
	Retry  = Verdict(1<<62 | int64(abi.Retry)<<48)  // the whole batch again later

	inMemory Verdict = 0 // the answer is in Out
)

// Drop gives a record up for a reason: a number of the manifest's reasons, from 0.
func Drop(reason uint16) Verdict { return Verdict(abi.ShortAnswer(abi.Drop, reason)) }

// Keep publishes a record with only those labels whose slot's bit is set.
func Keep(slots uint32) Verdict { return Verdict(abi.MaskAnswer(slots)) }

// Out takes the outputs of one record. Output begins one, the methods of abi.Builder change it, Emit ends the answer.
type Out struct {
	abi.Builder
}

// Emit publishes the outputs in the record's place. Without one it is Pass.
func (o *Out) Emit() Verdict {
	if o.Outputs() == 0 {
		return Pass
	}
	return inMemory
}

// Park sets the record aside, with a text for a person.
func (o *Out) Park(text string) Verdict {
	o.Decide(abi.Park, 0, []byte(text))
	return inMemory
}

// RetryBecause asks for the batch again later and says why.
func (o *Out) RetryBecause(text string) Verdict {
	o.Decide(abi.Retry, 0, []byte(text))
	return inMemory
}

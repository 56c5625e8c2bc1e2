package bridge

import (
	"strconv"
)

// Message is what the modules made of a record: what is stored in the ledger and sent to the remotes.
type Message struct {
	Record        // Labels are the names the far end sees
	Index  uint16 // which output of its record this is, from 0
	Topic  []byte // put after the remote's topic by a module; empty for most
	Shift  int64  // microseconds that modules added to the record's time; the identity keeps the time it came with
}

// AppendID appends the message's stable identity, stream@time, then #index and ~revision where they are not 0. It travels with the
// message, and everything that deduplicates, here or far away, uses it. The time is the record's own: a module that rounds times would
// else give two records one identity, and one of them would be taken for a repeat.
func (m *Message) AppendID(dst []byte, stream string) []byte {
	dst = append(dst, stream...)
	dst = append(dst, '@')
	dst = strconv.AppendInt(dst, m.Time-m.Shift, 10)
	if m.Index > 0 {
		dst = append(dst, '#')
		dst = strconv.AppendUint(dst, uint64(m.Index), 10)
	}
	if m.Revision > 0 {
		dst = append(dst, '~')
		dst = strconv.AppendUint(dst, m.Revision, 16)
	}
	return dst
}

// Kind is what became of a record on its way in.
type Kind uint8

const (
	Undecided Kind = iota // zero value: nothing may be acknowledged on it
	Passed                // one message or more
	Dropped               // a module said no
	Absorbed              // a module, or the condition, took it into its state
	Parked                // set aside with its reason, can be replayed
)

// Verdict is the decision of a pipeline's modules on one record.
type Verdict struct {
	Kind    Kind
	Outputs uint16 // messages made of it
	Module  uint8  // which module of the chain decided, from 0; 255: the pipeline's condition, before them
	Reason  uint16 // of a Dropped record: the number the module gave, counted by name
	Late    bool   // older than a record of its stream that was taken before: at the far end, too, it comes after that one
}

// Parking is a record that was set aside: by a module, after two traps, or refused by a remote.
type Parking struct {
	Message        // as it was when it stopped; the labels inside for a module, outside for a remote
	Module  string // name of the module or remote that stopped it
	SHA256  string // of the module, hex; empty for a remote
	Reason  string
}

// State is what a module wants to know again when it next sees this stream.
type State struct {
	Module  string
	SHA256  string // of the module that wrote it, hex
	Version uint32 // state_version of its manifest
	Bytes   []byte
}

// Released is a record that an earlier Append of its stream absorbed, decided anew with this one.
type Released struct {
	Key
	Verdict
}

// Results is what a chain made of a batch. It is reused from batch to batch: Reset keeps the memory.
type Results struct {
	Verdicts []Verdict // one for each record, same order
	Released []Released
	Messages []Message // in the order they shall leave
	Parked   []Parking
	States   []State // to be stored in the same write
	arena    []byte
	labels   []Label
}

// Reset empties r for the next batch. Everything handed out before is invalid then.
func (r *Results) Reset() {
	r.Verdicts, r.Released = r.Verdicts[:0], r.Released[:0]
	r.Messages = r.Messages[:0]
	r.Parked = r.Parked[:0]
	r.States = r.States[:0]
	r.arena = r.arena[:0]
	clear(r.labels) // they point into memory of the input
	r.labels = r.labels[:0]
}

// Copy keeps b until the next Reset and returns the kept bytes. An arena that grows leaves earlier copies where they are, still valid.
func (r *Results) Copy(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	at := len(r.arena)
	r.arena = append(r.arena, b...)
	return r.arena[at:len(r.arena):len(r.arena)]
}

// CopyLabels keeps ls until the next Reset and returns the kept labels; the bytes they point to are not copied.
func (r *Results) CopyLabels(ls []Label) []Label {
	at := len(r.labels)
	r.labels = append(r.labels, ls...)
	return r.labels[at:len(r.labels):len(r.labels)]
}

package abi

import "slices"

const leastBuffer = 1024 // of a Builder

// Builder writes an answer into a buffer that it keeps from record to record. The zero value is ready. An answer is one entry: Decide, or
// Output and the changes of that output, any number of times.
//
//	b.Reset()
//	b.Output()
//	b.SetLabel(name, value)
//	answer := b.Bytes()
type Builder struct {
	buf     []byte
	output  int // where the open output begins; 0 = none is open
	ops     int // of the open output
	outputs int
	full    bool // a label's name was too long
}

// Reset begins the next answer: PASS until something else is said.
func (b *Builder) Reset() { b.buf, b.output, b.ops, b.outputs, b.full = b.buf[:0], 0, 0, 0, false }

// Decide makes the answer a verdict other than Emit: reason goes with Drop, text with Park and Retry. Outputs so far are given up.
func (b *Builder) Decide(v Verdict, reason uint16, text []byte) {
	b.Reset()
	if len(text) > MaxText {
		text = text[:MaxText]
	}
	b.buf = append(append(b.buf, make([]byte, entryHead)...), text...)
	b.buf[0] = byte(v)
	put16(b.buf[2:], reason)
	put32(b.buf[4:], uint32(len(text)))
}

// Output begins the next output, at first equal to the record.
func (b *Builder) Output() {
	b.close()
	at := max(len(b.buf), entryHead)
	end := at + outputHead
	if end > cap(b.buf) {
		b.buf = slices.Grow(b.buf, leastBuffer)
	}
	b.buf = b.buf[:end] // close writes the heads
	b.output, b.ops = at, 0
	b.outputs++
}

// Outputs is the number of outputs so far.
func (b *Builder) Outputs() int { return b.outputs }

// SetLabel, DeleteLabel, RenameLabel, ClearLabels, SetTopic, SetType, SetPayload, SetTime and CutPayload change the output begun last; see
// Code. Without an Output they begin one. All bytes are copied. A name over MaxLabel bytes makes the whole answer a Park that says so.
func (b *Builder) SetLabel(name, value []byte) { b.op(SetLabel, name, value) }

// DeleteLabel removes a label.
func (b *Builder) DeleteLabel(name []byte) { b.op(DeleteLabel, name, nil) }

// RenameLabel gives a label another name.
func (b *Builder) RenameLabel(name, to []byte) { b.op(RenameLabel, name, to) }

// ClearLabels removes all labels.
func (b *Builder) ClearLabels() { b.op(ClearLabels, nil, nil) }

// SetTopic sets what is put after the remote's topic.
func (b *Builder) SetTopic(suffix []byte) { b.op(SetTopic, nil, suffix) }

// SetType sets the content type.
func (b *Builder) SetType(contentType []byte) { b.op(SetType, nil, contentType) }

// SetPayload replaces the payload.
func (b *Builder) SetPayload(payload []byte) { b.op(SetPayload, nil, payload) }

// SetTime replaces the time.
func (b *Builder) SetTime(microseconds int64) {
	var v [8]byte
	put64(v[:], uint64(microseconds))
	b.op(SetTime, nil, v[:])
}

// CutPayload keeps only a part of the record's payload.
func (b *Builder) CutPayload(off, n uint32) {
	var v [8]byte
	put32(v[:], off)
	put32(v[4:], n)
	b.op(CutPayload, nil, v[:])
}

// PayloadOf replaces the payload by n bytes, which the guest fills before its next call of b. They are not zeroed.
func (b *Builder) PayloadOf(n int) []byte {
	b.op(SetPayload, nil, nil)
	at := len(b.buf)
	b.buf = slices.Grow(b.buf, n)[:at+n]
	put32(b.buf[at-4:], uint32(n))
	return b.buf[at:]
}

func (b *Builder) op(c Code, key, value []byte) {
	if b.output == 0 {
		b.Output()
	}
	if len(key) > MaxLabel {
		b.full = true
		return
	}
	at := len(b.buf) + opHead
	end := at + len(key) + len(value)
	if end > cap(b.buf) {
		b.buf = slices.Grow(b.buf, end-len(b.buf))
	}
	buf := b.buf[:end]
	put64(buf[at-opHead:], uint64(c)|uint64(uint16(len(key)))<<16|uint64(uint32(len(value)))<<32)
	if len(key) > 0 { // a copy of nothing is a call all the same
		copy(buf[at:], key)
	}
	if len(value) > 0 {
		copy(buf[at+len(key):], value)
	}
	b.buf = buf
	b.ops++
}

// close makes the open output and the entry end where the buffer ends.
func (b *Builder) close() {
	if b.output == 0 {
		return
	}
	put64(b.buf[b.output:], uint64(uint32(len(b.buf)-b.output-outputHead))|uint64(uint16(b.ops))<<32)
	put64(b.buf, uint64(Emit)|uint64(uint16(b.outputs))<<16|uint64(uint32(len(b.buf)-entryHead))<<32)
}

// Bytes is the finished answer, valid until the next call of b.
func (b *Builder) Bytes() []byte {
	if b.full {
		b.Decide(Park, 0, []byte("a label's name is longer than "+itoa(MaxLabel)+" bytes"))
	}
	if len(b.buf) == 0 {
		b.buf = append(b.buf, make([]byte, entryHead)...)
	}
	b.close()
	return b.buf
}

package abi

import "slices"

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
}

// Reset begins the next answer: PASS until something else is said.
func (b *Builder) Reset() {
	if b.buf == nil {
		b.buf = make([]byte, 0, 1024)
	}
	b.buf = append(b.buf[:0], 0, 0, 0, 0, 0, 0, 0, 0)
	b.output, b.ops, b.outputs = 0, 0, 0
}

// Decide makes the answer a verdict other than Emit: reason goes with Drop, text with Park and Retry. Outputs so far are given up.
func (b *Builder) Decide(v Verdict, reason uint16, text []byte) {
	b.Reset()
	if len(text) > MaxText {
		text = text[:MaxText]
	}
	b.buf = append(b.buf, text...)
	b.buf[0] = byte(v)
	put16(b.buf[2:], reason)
	put32(b.buf[4:], uint32(len(text)))
}

// Output begins the next output, at first equal to the record.
func (b *Builder) Output() {
	if len(b.buf) == 0 {
		b.Reset()
	}
	b.close()
	b.output, b.ops = len(b.buf), 0
	b.outputs++
	b.buf = append(b.buf, 0, 0, 0, 0, 0, 0, 0, 0)
}

// Outputs is the number of outputs so far.
func (b *Builder) Outputs() int { return b.outputs }

// SetLabel, DeleteLabel, RenameLabel, ClearLabels, SetTopic, SetType, SetPayload, SetTime and CutPayload change the output begun last; see
// Code. Without an Output they begin one. All bytes are copied.
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
	at := b.head(SetPayload, 0, n)
	return b.buf[at:]
}

func (b *Builder) op(c Code, key, value []byte) {
	at := b.head(c, len(key), len(value))
	copy(b.buf[at:], key)
	copy(b.buf[at+len(key):], value)
}

// head begins an op and returns where its key is to be put, followed by its value.
func (b *Builder) head(c Code, key, value int) int {
	if b.output == 0 {
		b.Output()
	}
	at := len(b.buf)
	end := at + opHead + key + value
	if end > cap(b.buf) {
		b.buf = slices.Grow(b.buf, end-at)
	}
	b.buf = b.buf[:end]
	put64(b.buf[at:], uint64(c)|uint64(uint16(key))<<16|uint64(uint32(value))<<32)
	b.ops++
	return at + opHead
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
	b.close()
	return b.buf
}

package abi

// The i64 that sluice_process returns:
//
//	 63 62 61    56 55     48 47        32 31                  0
//	+--+--+--------+---------+------------+---------------------+
//	| 1|             error code, negated                        |  failed
//	+--+--+--------+---------+------------+---------------------+
//	| 0| 1| 0      | verdict | reason     | mask of slots       |  short answer
//	+--+--+--------+---------+------------+---------------------+
//	| 0| 0| address             | length of the answer          |  answer in memory (address: bits 32 to 61)
//	+--+--+---------------------+-------------------------------+
//
// A short answer may be PASS, DROP with its reason, ABSORB, RETRY, PARK without a text, or EMIT: one output, the record with only those of
// its labels whose bit is set in the mask (bit i = slot i, declared labels only).
const shortBit = 1 << 62

// ShortAnswer is a guest's answer without bytes. Reason counts for Drop only.
func ShortAnswer(v Verdict, reason uint16) int64 {
	return shortBit | int64(v)<<48 | int64(reason)<<32
}

// MaskAnswer emits the record with only the labels of the slots in mask.
func MaskAnswer(mask uint32) int64 { return shortBit | int64(Emit)<<48 | int64(mask) }

// LongAnswer points to an answer in the guest's memory.
func LongAnswer(ptr, n uint32) int64 { return int64(uint64(ptr)<<32 | uint64(n)) }

// Returned is a decoded i64 of sluice_process or sluice_flush.
type Returned struct {
	Failed   bool
	Code     uint64 // of a failure
	Short    bool
	Verdict  Verdict // of a short answer, with Reason and Mask
	Reason   uint16
	Mask     uint32
	Ptr, Len uint32 // of an answer in memory
}

// ParseReturned tells the three forms apart. It fails on a short answer with an unknown verdict or bits that must be 0.
func ParseReturned(v int64) (Returned, error) {
	switch {
	case v < 0:
		return Returned{Failed: true, Code: -uint64(v)}, nil
	case v&shortBit == 0:
		return Returned{Ptr: uint32(v >> 32), Len: uint32(v)}, nil
	}
	r := Returned{Short: true, Verdict: Verdict(v >> 48), Reason: uint16(v >> 32), Mask: uint32(v)}
	if v>>56&0x3f != 0 || r.Verdict > Retry {
		return Returned{}, &FormatError{"short answer", 0, "unknown " + r.Verdict.String() + " or a reserved bit is set"}
	}
	if r.Mask != 0 && r.Verdict != Emit || r.Reason != 0 && r.Verdict != Drop {
		return Returned{}, &FormatError{"short answer", 0, "a mask goes with EMIT and a reason with DROP only"}
	}
	return r, nil
}

// An answer in memory is one entry for each record; sluice_flush answers with one entry, PASS or EMIT.
//
//	 0     1     2        4                 8
//	+-----+-----+--------+-----------------+------------------
//	| ver | 0   | reason | length of body  | body ...
//	+-----+-----+--------+-----------------+------------------
//
// reason: of DROP its number in the manifest's reasons; of EMIT the number of outputs in the body, 1 or more; of FAIL FailSound or FailBroken;
// else 0. body: of EMIT the outputs; of PARK, RETRY and FAIL a text in UTF-8; else empty.
const entryHead = 8

// Entry is a decided record of an answer.
type Entry struct {
	Verdict Verdict
	Reason  uint16
	Body    []byte // a view of the answer
}

// ReadEntry reads the entry at the start of b and returns what follows it. It checks the entry, not the outputs inside.
func ReadEntry(b []byte) (e Entry, rest []byte, err error) {
	if len(b) < entryHead {
		return e, nil, short("answer entry", 0, entryHead, len(b))
	}
	n := u32(b[4:])
	if uint64(n) > uint64(len(b)-entryHead) {
		return e, nil, short("answer body", entryHead, int(n), len(b)-entryHead)
	}
	e = Entry{Verdict: Verdict(b[0]), Reason: u16(b[2:]), Body: b[entryHead : entryHead+n : entryHead+n]}
	return e, b[entryHead+n:], checkEntry(e, b[1])
}

func checkEntry(e Entry, reserved byte) error {
	why := ""
	switch {
	case e.Verdict > Fail:
		why = "unknown " + e.Verdict.String()
	case reserved != 0:
		why = "byte 1 is reserved and must be 0"
	case e.Verdict == Emit && e.Reason == 0:
		why = "EMIT without outputs; to give up a record answer DROP or ABSORB"
	case e.Verdict == Fail && e.Reason > FailBroken:
		why = "FAIL: reason " + itoa(uint64(e.Reason)) + ", want 0 or 1"
	case e.Verdict != Emit && e.Verdict != Drop && e.Verdict != Fail && e.Reason != 0:
		why = e.Verdict.String() + " has no reason"
	case len(e.Body) > 0 && e.Verdict != Emit && e.Verdict != Park && e.Verdict != Retry && e.Verdict != Fail:
		why = e.Verdict.String() + " has no body"
	default:
		return nil
	}
	return &FormatError{"answer entry", 0, why}
}

// An output is the record it was made from, with changes applied in their order:
//
//	 0                 4        6        8
//	+-----------------+--------+--------+---------------
//	| length of ops   | ops    | 0      | ops ...
//	+-----------------+--------+--------+---------------
//
//	 0     1     2        4                 8
//	+-----+-----+--------+-----------------+-------+---------
//	| op  | 0   | key len| value len       | key   | value
//	+-----+-----+--------+-----------------+-------+---------
//
// Nothing in an answer is aligned or padded.
const (
	outputHead = 8
	opHead     = 8
)

// Code is the kind of an Op.
type Code uint8

const (
	SetLabel    Code = 1 + iota // key = name, value = value; replaces the label or adds it after the others
	DeleteLabel                 // key = name; nothing happens where it is absent
	ClearLabels                 // begins with no label at all
	SetTopic                    // value is put after the remote's topic: no + # or NUL in it
	SetType                     // value = content type
	SetPayload                  // value = payload
	SetTime                     // value = i64, microseconds
	CutPayload                  // value = u32 offset, u32 length: that part of the record's payload, not copied through the guest
	RenameLabel                 // key = name, value = new name: keeps its place and replaces one of the new name; nothing where absent
	lastCode    = RenameLabel
)

// Output is one output of an EMIT.
type Output struct {
	Ops  int    // number of ops in Body
	Body []byte // what Next has not read yet, a view of the answer
}

// ReadOutput reads the output at the start of b and returns what follows it.
func ReadOutput(b []byte) (o Output, rest []byte, err error) {
	if len(b) < outputHead {
		return o, nil, short("output", 0, outputHead, len(b))
	}
	n := u32(b)
	if uint64(n) > uint64(len(b)-outputHead) {
		return o, nil, short("output's ops", outputHead, int(n), len(b)-outputHead)
	}
	if u16(b[6:]) != 0 {
		return o, nil, &FormatError{"output", 6, "two bytes are reserved and must be 0"}
	}
	return Output{Ops: int(u16(b[4:])), Body: b[outputHead : outputHead+n : outputHead+n]}, b[outputHead+n:], nil
}

// Op is one change of an output. Key and Value are views of the answer.
type Op struct {
	Code       Code
	Key, Value []byte
}

// Next takes the next op off o's Body into op and checks it. There are as many as o.Ops says: the caller counts, and sees to it that
// nothing is left.
func (o *Output) Next(op *Op) error {
	b := o.Body
	if len(b) < opHead {
		return short("op", 0, opHead, len(b))
	}
	k, v := int(u16(b[2:])), int(u32(b[4:]))
	if uint64(k)+uint64(v) > uint64(len(b)-opHead) {
		return short("op's key and value", opHead, k+v, len(b)-opHead)
	}
	middle, end := opHead+k, opHead+k+v
	op.Code, op.Key, op.Value = Code(b[0]), b[opHead:middle:middle], b[middle:end:end]
	o.Body = b[end:]
	if why := op.check(b[1]); why != "" {
		return &FormatError{"op", 0, why}
	}
	return nil
}

// ReadOp reads the op at the start of b and returns what follows it.
func ReadOp(b []byte) (op Op, rest []byte, err error) {
	o := Output{Body: b}
	err = o.Next(&op)
	return op, o.Body, err
}

func (o *Op) check(reserved byte) string {
	named := o.Code == SetLabel || o.Code == DeleteLabel || o.Code == RenameLabel
	switch {
	case o.Code == 0 || o.Code > lastCode:
		return "unknown code " + itoa(uint64(o.Code))
	case reserved != 0:
		return "byte 1 is reserved and must be 0"
	case named && len(o.Key) == 0, o.Code == RenameLabel && len(o.Value) == 0:
		return "a label without a name"
	case !named && len(o.Key) > 0:
		return "code " + itoa(uint64(o.Code)) + " has no key"
	}
	return o.checkValue()
}

func (o *Op) checkValue() string {
	switch o.Code {
	case SetLabel, SetType, SetTopic, RenameLabel:
		if len(o.Value) > MaxLabel {
			return "a value of " + itoa(uint64(len(o.Value))) + " bytes, at most " + itoa(MaxLabel) + " fit"
		}
	case DeleteLabel, ClearLabels:
		if len(o.Value) > 0 {
			return "code " + itoa(uint64(o.Code)) + " has no value"
		}
	case SetTime, CutPayload:
		if len(o.Value) != 8 {
			return "code " + itoa(uint64(o.Code)) + " has a value of 8 bytes, not " + itoa(uint64(len(o.Value)))
		}
	}
	if o.Code == SetTopic {
		for _, c := range o.Value {
			if c == '+' || c == '#' || c == 0 {
				return "a topic with a wildcard or a zero byte in it"
			}
		}
	}
	return ""
}

// Time is the value of a SetTime.
func (o *Op) Time() int64 { return int64(u64(o.Value)) }

// Cut returns the part of payload that a CutPayload names; ok is false where it lies outside.
func (o *Op) Cut(payload []byte) (part []byte, ok bool) {
	off, n := uint64(u32(o.Value)), uint64(u32(o.Value[4:]))
	if off+n > uint64(len(payload)) {
		return nil, false
	}
	return payload[off : off+n : off+n], true
}

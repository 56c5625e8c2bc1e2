package abi

// A record, as a guest finds it in its input buffer:
//
//	 0        2        4        6        8       10       12       14       16
//	+-----------------+--------+--------+-----------------------------------+
//	| total           | flags  | slots  | time (i64, microseconds)          |
//	+-----------------+--------+--------+--------+--------+--------+--------+
//	| payload_len     | payload_off     | ct_off | ct_len | en_off | en_len |
//	+--------+--------+--------+--------+--------+--------+--------+--------+
//	| off 0  | len 0  | off 1  | len 1  | ... one pair for each slot        |
//	+--------+--------+--------+--------+-----------------------------------+
//	| bytes of content type, entry and labels | zeros up to a multiple of 8 |
//	+-----------------------------------------------------------------------+
//	| payload: bytes payload_off up to total                                |
//	+-----------------------------------------------------------------------+
//
// total counts all of it. payload_len is the length of the whole payload; payload_off is 0 where none of it is here, and less than all of
// it may be here (manifest: payload). A slot with off 0 is a label that the record does not have; one with a length of 0 is empty. With
// labels = ["*"] the slots are pairs: name, value, name, value, ...
const (
	recordHead = 32
	slotSize   = 4
)

// Fields is what PutRecord writes. All bytes are copied.
type Fields struct {
	Time        int64
	Flags       uint16
	ContentType []byte
	Entry       []byte
	Slots       [][]byte // nil = absent; an empty value is not nil
	Payload     []byte   // the part that goes along
	PayloadLen  int      // of the whole payload
}

// Size is the number of bytes PutRecord needs, also when the record is too large for it.
func (f *Fields) Size() int {
	n := f.headSize()
	if len(f.Payload) > 0 {
		n = align8(n) + len(f.Payload)
	}
	return n
}

func (f *Fields) headSize() int {
	n := recordHead + slotSize*len(f.Slots) + len(f.ContentType) + len(f.Entry)
	for _, s := range f.Slots {
		n += len(s)
	}
	return n
}

// PutRecord writes f at the start of dst and returns its total. It fails where dst is too small, or where the head does not fit the
// format (MaxHead): such a record can reach no guest.
func PutRecord(dst []byte, f *Fields) (int, error) {
	head := f.headSize()
	total, payload := head, 0
	if len(f.Payload) > 0 {
		payload = align8(head)
		total = payload + len(f.Payload)
	}
	if head > MaxHead {
		return 0, &FormatError{"record", 0, "labels and names take " + itoa(uint64(head)) + " bytes, at most " + itoa(MaxHead) + " fit"}
	}
	if total > len(dst) {
		return 0, short("record", 0, total, len(dst))
	}
	put64(dst, uint64(total)|uint64(f.Flags)<<32|uint64(len(f.Slots))<<48)
	put64(dst[8:], uint64(f.Time))
	put64(dst[16:], uint64(uint32(f.PayloadLen))|uint64(payload)<<32)
	at := recordHead + slotSize*len(f.Slots)
	at = putRef(dst, 24, at, f.ContentType)
	at = putRef(dst, 28, at, f.Entry)
	for i, s := range f.Slots {
		if s == nil {
			put32(dst[recordHead+slotSize*i:], 0)
			continue
		}
		at = putRef(dst, recordHead+slotSize*i, at, s)
	}
	if payload > 0 {
		clear(dst[at:payload])
		copy(dst[payload:], f.Payload)
	}
	return total, nil
}

// putRef writes b at dst[at:] and where that is at dst[ref:]. It returns the end of b.
func putRef(dst []byte, ref, at int, b []byte) int {
	put32(dst[ref:], uint32(at)|uint32(len(b))<<16)
	return at + copy(dst[at:], b)
}

func align8(n int) int { return (n + 7) &^ 7 }

// Record is a view of an encoded record. A guest trusts its host: the methods panic on bytes that Check refuses.
type Record []byte

// Check says whether all that r's methods return lies inside r.
func (r Record) Check() error {
	if len(r) < recordHead {
		return short("record", 0, recordHead, len(r))
	}
	total := int(u32(r))
	if total < recordHead || total > len(r) {
		return short("record", 0, total, len(r))
	}
	if end := recordHead + slotSize*r.Slots(); end > total {
		return short("slots", recordHead, end-recordHead, total-recordHead)
	}
	for ref := 24; ref < recordHead+slotSize*r.Slots(); ref += slotSize {
		if off, n := int(u16(r[ref:])), int(u16(r[ref+2:])); off+n > total {
			return short("bytes of the reference", ref, n, total-off)
		}
	}
	if off := int(u32(r[20:])); off > total || off != 0 && total-off > r.PayloadLen() {
		return &FormatError{"payload", 20, "lies outside the record or is longer than the whole"}
	}
	return nil
}

// Time is the record's time in microseconds since the Unix epoch.
func (r Record) Time() int64 { return int64(u64(r[8:])) }

// Flags is a set of Replayed, Shadow, Late and LastOfBatch.
func (r Record) Flags() uint16 { return u16(r[4:]) }

// ContentType and Entry are empty where the record has none.
func (r Record) ContentType() []byte { return r.ref(24) }

// Entry is the record's entry in its bucket, or the part of its stream's name that follows the first slash.
func (r Record) Entry() []byte { return r.ref(28) }

// Slots is the number of slots: the declared labels, or twice the number of labels with labels = ["*"].
func (r Record) Slots() int { return int(u16(r[6:])) }

// Slot is the value of slot i, nil where the record does not have that label.
func (r Record) Slot(i int) []byte {
	if i < 0 || i >= r.Slots() {
		return nil
	}
	from, to := r.Range(i)
	if from == 0 {
		return nil
	}
	return r[from:to:to]
}

// Range says where in r the value of slot i lies, for loops over many: from 0 where the record does not have that label. It panics where there is
// no slot i.
func (r Record) Range(i int) (from, to int) {
	ref := u32(r[recordHead+slotSize*i:])
	from = int(ref & 0xffff)
	return from, from + int(ref>>16)
}

// PayloadLen is the length of the whole payload, be it here or not.
func (r Record) PayloadLen() int { return int(u32(r[16:])) }

// Payload is the part of the payload that is here.
func (r Record) Payload() []byte {
	off, total := u32(r[20:]), u32(r)
	if off == 0 {
		return nil
	}
	return r[off:total:total]
}

func (r Record) ref(at int) []byte {
	ref := u32(r[at:])
	off, n := int(ref&0xffff), int(ref>>16)
	return r[off : off+n : off+n]
}

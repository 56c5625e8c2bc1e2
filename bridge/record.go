package bridge

import (
	"strings"
)

// Label is one name and value of a record, as they came: bytes, not text in any encoding that was checked. Both are views that
// belong to the record's owner.
type Label struct {
	Name, Value []byte
}

// Flags tell a module, and the far end, how a record came here.
type Flags uint16

const (
	Replayed    Flags = 1 << iota // a parked record, processed again
	Shadow                        // outputs are compared, never sent
	Late                          // older than a record of its stream that was taken before; order cannot be kept
	LastOfBatch                   // no record of this batch follows
)

// Record is one record of a stream. All its bytes are views into memory of the input that made it: valid until Deliver returns, copied by
// whoever keeps them longer.
type Record struct {
	Time        int64  // microseconds since the Unix epoch: the record's key in its stream (an offset for Kafka)
	Revision    uint64 // 0 as first written; else the hash of the labels after an update (see LabelHash), or the number of a flush (see MaxFlush)
	Flags       Flags
	ContentType []byte
	Labels      []Label // in the order of the wire
	Payload     []byte
}

// Batch is what one request of a sender carried: records of one stream in ascending time.
type Batch struct {
	Stream  string // bucket/entry; see Bucket and Entry
	Records []Record
}

// Key names a record, or one revision of it, within its stream.
type Key struct {
	Time     int64
	Revision uint64
}

// Bucket returns the first part of a stream's name: a ReductStore bucket has no slash in it, an entry may.
func Bucket(stream string) string {
	bucket, _, _ := strings.Cut(stream, "/")
	return bucket
}

// Entry returns what follows the bucket in a stream's name.
func Entry(stream string) string {
	_, entry, _ := strings.Cut(stream, "/")
	return entry
}

// LabelHash is the revision of a record whose labels were updated: FNV-1a over the labels, sorted by name as ReductStore sends them,
// each length-prefixed so that no two different sets collide by concatenation. It is never below MaxFlush: those are numbers of flushes.
func LabelHash(labels []Label) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	add := func(b []byte) {
		h = (h ^ uint64(len(b))) * prime
		for _, c := range b {
			h = (h ^ uint64(c)) * prime
		}
	}
	for _, l := range labels {
		add(l.Name)
		add(l.Value)
	}
	if h < MaxFlush {
		h += MaxFlush
	}
	return h
}

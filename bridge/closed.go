package bridge

// ClosedRange is what a ledger knows of a stretch of a stream's time whose oldest keys it no longer keeps one by one. Ranges of a stream do
// not overlap. But for Keys, the sums of a known range are about everything that was ever taken in with From ≤ time ≤ To, keys that are
// still kept one by one included: who compares adds up what the other side has of these times, and nothing else. What lies between the
// ranges is kept one by one.
type ClosedRange struct {
	From, To    int64  // microseconds, both included
	Keys        int64  // records and updates that are no longer kept one by one
	Known       bool   // the sums below are known
	Times       int64  // records, however often they were updated
	TimesHash   uint64 // exclusive or of their times: of one that is missing elsewhere, it is the difference
	Messages    int64  // that were made of records and updates
	MessageHash uint64 // exclusive or of their MessageHash
}

// MessageHash mixes the identity of a message within its stream. Sets of messages can be compared by the exclusive or of their hashes.
func MessageHash(k Key, index uint16) uint64 {
	// The finalizer of splitmix64: each bit of the identity changes half of the hash.
	x := 0x9e3779b97f4a7c15 + (uint64(k.Time)*0x9e3779b97f4a7c15 ^ k.Revision*0xbf58476d1ce4e5b9 ^ uint64(index)*0x94d049bb133111eb)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

package bridge

import "context"

// Ref names a message in the ledger: the row of its batch and its place in that row.
type Ref struct {
	Row   uint64
	Index uint32
}

// Row is one appended batch as a pump sees it, without its messages.
type Row struct {
	Number   uint64 // dense, ascending in the order of Append
	Pipeline string
	Stream   string
	Count    int    // messages
	Bytes    int    // of the stored blob
	Settled  Bitmap // messages that this remote need not send any more; nil for none
	Appended int64  // when, in microseconds since the Unix epoch; 0 = unknown
	Live     bool   // of a pump's reader: appended since the remote has come back, and may go before what was there then
}

// Bitmap has a bit for each message of a row.
type Bitmap []uint64

// Has reports whether bit i is set. A bitmap that is too short, or nil, has none.
func (b Bitmap) Has(i int) bool { return i>>6 < len(b) && b[i>>6]&(1<<(i&63)) != 0 }

// Set sets bit i; the bitmap must be long enough (NewBitmap).
func (b Bitmap) Set(i int) { b[i>>6] |= 1 << (i & 63) }

// NewBitmap returns one for n messages, all clear.
func NewBitmap(n int) Bitmap { return make(Bitmap, (n+63)/64) }

// Claim gives a message to a connection under a send number. Numbers of a connection are dense and ascend; an MQTT packet identifier is
// number mod 65,535 + 1.
type Claim struct {
	Ref
	Conn   uint16
	Number uint64
	Marked bool // sent before in a session that was lost: goes out again as a possible duplicate
	Late   bool // a newer message of its lane went before
}

// AckKind is what is known of a claim.
type AckKind uint8

const (
	AckNone      AckKind = iota
	AckReceived          // R: PUBREC seen; PUBREL may go once this is durable
	AckDelivered         // C: PUBCOMP or PUBACK seen; ends the claim
	AckRefused           // a reason code that is for good; ends the claim, the message is parked
	AckReturned          // refused for now: ends the claim, the message goes back to the head of its lane
)

// Ack is an acknowledgement of a claim.
type Ack struct {
	Conn   uint16
	Number uint64
	Kind   AckKind
	Reason string // of AckRefused: what the far end said
}

// NoteKind is what is known of a connection's session at the far end.
type NoteKind uint8

const (
	NoteNone    NoteKind = iota
	NoteTrying           // a CONNECT is about to be sent while claims are open; until its answer is noted the session may be lost unseen
	NoteKept             // the session was still there
	NoteLost             // it was not: R of the open claims is forgotten, the claims are marked
	NoteRemoved          // the connection has no place in the configuration any more and nothing open; forget it
)

// Note is a fact about one connection's session.
type Note struct {
	Conn uint16
	Kind NoteKind
}

// Overtaking says that a message of a lane is claimed before older ones: those in rows below are late when their turn comes. It is durable
// with that claim, since the claim itself is forgotten once it has ended, long before those that it left behind.
type Overtaking struct {
	Lane uint64 // its hash
	Row  uint64
}

// Step is one atomic write of a pump: acknowledgements first, then notes, then new claims.
type Step struct {
	Acks   []Ack
	Notes  []Note
	Claims []Claim
	Passed []Overtaking // one of a lane replaces the one before
}

// OpenClaim is a claim that had not ended when the ledger was opened.
type OpenClaim struct {
	Claim
	Received bool // R is durable
}

// Restored is what an outbox remembers of the pump before this one.
type Restored struct {
	Claims []OpenClaim       // by connection, in claim order
	Next   map[uint16]uint64 // first send number of a connection that was never claimed
	Trying map[uint16]bool   // connections whose last CONNECT has no noted answer
	Marked []Ref             // unclaimed messages that were sent in a lost session and then returned: their next claim is Marked again
	Passed []Overtaking      // by lane, those that a message is still waiting behind
	Far    string            // identity of the far end (broker and client id) that the claims belong to; empty at first
}

// Outbox is one remote's end of the ledger. It has one user, that remote's pump.
type Outbox interface {
	// Restore returns what was open. far replaces the noted identity of the far end, durably, before it returns. Where it is another than the
	// one noted, the same write marks all open claims, forgets their R, and sets trying for every connection: the sessions there are not ours.
	Restore(ctx context.Context, far string) (Restored, error)
	// Next returns up to max rows with numbers above after that have something to send, oldest first. It blocks while there
	// is none, until ctx ends; with a ctx that has ended it returns what is there.
	Next(ctx context.Context, after uint64, max int) ([]Row, error)
	// Messages returns a row's messages. They are shared and must not be changed; they stay valid as long as they are referred to.
	Messages(row uint64) ([]Message, error)
	// Commit makes a step durable, whole or not at all. After ErrUnknown the outbox takes nothing more until the process starts anew.
	Commit(ctx context.Context, s *Step) error
}

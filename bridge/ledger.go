package bridge

import (
	"context"
	"time"
)

// Ledger is what an intake needs of the durable store. All methods may be called concurrently, for one stream only by whoever holds
// that stream's lock.
type Ledger interface {
	// Fresh sets fresh[i] where record i of the stream was never appended for the pipeline, or is an update that was
	// asked for (Want). It gives such an update its Revision, and sets or clears Late in the Flags of each record: whether it is older than
	// the newest that was appended of the stream, or than one before it in rs. ErrUnknown while an Append of the stream has not reported.
	Fresh(pipeline, stream string, rs []Record, fresh []bool) error
	// Append makes one batch durable, whole or not at all: nil is done, ErrUnknown is unknown (ctx ended first), ErrFull and
	// all else is failed. It copies what it keeps before it returns.
	Append(ctx context.Context, a *Append) error
	// Want notes updates (key and label hash) that should pass Fresh once, the last one of a time where there are more; known[i] where that
	// revision is the last that was appended of its time: one that came back after another is wanted again. Durable on return.
	Want(ctx context.Context, pipeline, stream string, keys []Key, known []bool) error
	// NextFlush returns the key that a flush of the stream has in its Append: the time of the newest record that was taken in, so that no
	// record is hidden by it, and a number that no Append before it had. found is false where nothing was. ErrUnknown as in Fresh.
	NextFlush(pipeline, stream string) (k Key, found bool, err error)
}

// Append is one atomic write of an intake: what was seen, what the modules decided, what is to be sent.
type Append struct {
	Pipeline, Stream string
	Keys             []Key     // of the records decided on, ascending, then those of Released; or that of a flush
	Verdicts         []Verdict // one for each key
	Messages         []Message
	Parked           []Parking
	States           []State
	// Remotes are who gets Messages, nil for all remotes of the pipeline; one that is none of those is ErrRejected. A refill names one, and
	// has no Keys: its records were seen long ago.
	Remotes []string
}

// States gives a chain the committed state of its modules. The bytes are the caller's.
type States interface {
	State(pipeline, stream, module string) (s State, found bool, err error)
}

// Gap is a range of a stream's time of which the sender has forgotten something that was never appended here: noted durably before
// the answer that makes it forget.
type Gap struct {
	ID       int64 // given by the ledger
	Stream   string
	From, To int64 // microseconds, both included
	Reason   string
	Noted    time.Time
}

// Gaps is the durable list of what a reconciler has to fetch.
type Gaps interface {
	NoteGap(ctx context.Context, g Gap) error // durable on return
	OpenGaps() ([]Gap, error)
	CloseGap(ctx context.Context, id int64) error
	// Lose puts a loss into the list of what is known to be lost, and closes the gaps that end in it: one write, durable on return. Gaps
	// that are not open are passed over. Reasons are to be constant texts: see Loss.Into.
	Lose(ctx context.Context, l Loss, closes ...int64) error
}

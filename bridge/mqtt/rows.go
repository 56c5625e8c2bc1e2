package mqtt

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// rows remembers the rows that are not done, and keeps the messages of those used last.
type rows struct {
	outbox bridge.Outbox
	byNo   map[uint64]*row
	loaded []*row   // with messages, in the order of loading
	bytes  int      // of loaded
	early  []uint64 // rows of open claims that Take has not come to, ascending
}

type row struct {
	number   uint64
	stream   string
	pipeline string
	appended int64 // microseconds
	size     int
	count    int  // messages
	left     int  // messages that are neither delivered nor parked
	taken    bool // came through Take, or never will
	messages []bridge.Message
}

// maxLoaded is how many bytes of messages are kept so that the outbox is not asked again for each.
const maxLoaded = 32 << 20

func newRows(o bridge.Outbox) *rows { return &rows{outbox: o, byNo: make(map[uint64]*row)} }

// add notes a row. It returns nil for one that was done before it came: all of it was claimed in an earlier life.
func (r *rows) add(b *bridge.Row, take bool) *row {
	if take && !b.Live { // live rows have an order of their own, and none of them was there before
		r.passed(b.Number)
	}
	x := r.byNo[b.Number]
	if x == nil {
		x = &row{number: b.Number, stream: b.Stream, pipeline: b.Pipeline, appended: b.Appended, size: b.Bytes, count: b.Count, left: b.Count}
		for i := range b.Count {
			if b.Settled.Has(i) {
				x.left--
			}
		}
		if x.appended == 0 {
			x.appended = time.Now().UnixMicro()
		}
		r.byNo[b.Number] = x
	}
	x.taken = x.taken || take
	if take && x.left == 0 {
		r.drop(x)
		return nil
	}
	return x
}

// passed notes that Take has come to row n: rows come in order, and one that was settled before its turn is left out by the outbox.
func (r *rows) passed(n uint64) {
	for len(r.early) > 0 && r.early[0] <= n {
		x := r.byNo[r.early[0]]
		if r.early = r.early[1:]; x == nil || x.number == n {
			continue
		}
		if x.taken = true; x.left == 0 {
			r.drop(x)
		}
	}
}

// comeAgain says that all rows with something to send will come by Take once more.
func (r *rows) comeAgain() {
	r.early = r.early[:0]
	for _, x := range r.byNo {
		if x.left == 0 {
			r.drop(x)
			continue
		}
		x.taken = false
		r.early = append(r.early, x.number)
	}
	slices.Sort(r.early)
}

func (r *rows) drop(x *row) {
	delete(r.byNo, x.number)
	if x.messages != nil {
		x.messages = nil
		r.bytes -= x.size
	}
}

// find returns a row and message i of it.
func (r *rows) find(ref bridge.Ref) (*row, *bridge.Message, error) {
	x := r.byNo[ref.Row]
	if x == nil {
		return nil, nil, fmt.Errorf("message %d of row %d: the row is not known: %w", ref.Index, ref.Row, bridge.ErrCorrupt)
	}
	if err := r.load(x); err != nil {
		return nil, nil, err
	}
	if int(ref.Index) >= len(x.messages) {
		return nil, nil, fmt.Errorf("message %d of row %d, which has %d: %w", ref.Index, ref.Row, len(x.messages), bridge.ErrCorrupt)
	}
	return x, &x.messages[ref.Index], nil
}

// cost is a message's part of its row as stored, rounded up. What it takes itself is not known before the row is loaded, and the row as a whole
// is right.
func (r *rows) cost(ref bridge.Ref) int {
	x := r.byNo[ref.Row]
	if x == nil {
		return 0
	}
	return (x.size + x.count - 1) / max(1, x.count)
}

func (r *rows) load(x *row) error {
	if x.messages != nil {
		return nil
	}
	messages, err := r.outbox.Messages(x.number)
	if err != nil {
		return fmt.Errorf("messages of row %d: %w", x.number, err)
	}
	x.messages = messages
	r.bytes += x.size
	r.loaded = append(r.loaded, x)
	for r.bytes > maxLoaded && len(r.loaded) > 1 {
		if old := r.loaded[0]; old.messages != nil && old != x {
			old.messages = nil
			r.bytes -= old.size
		}
		r.loaded = r.loaded[1:]
	}
	if len(r.loaded) > 2*len(r.byNo)+64 {
		r.loaded = slices.DeleteFunc(r.loaded, func(x *row) bool { return x.messages == nil })
	}
	return nil
}

// ended notes that a message of ref's row needs no sending any more, and returns the row.
func (r *rows) ended(ref bridge.Ref) *row {
	x := r.byNo[ref.Row]
	if x == nil {
		return nil
	}
	if x.left--; x.left == 0 && x.taken {
		r.drop(x)
	}
	return x
}

// restore notes the rows of open claims, which are sent before the pump has read their rows. The outbox has them: they are not settled.
func (r *rows) restore(ctx context.Context, claims []bridge.OpenClaim) error {
	if len(claims) == 0 {
		return nil
	}
	open := make(map[uint64]bool)
	first, last := uint64(math.MaxUint64), uint64(0)
	for i := range claims {
		n := claims[i].Row
		open[n] = true
		first, last = min(first, n), max(last, n)
	}
	for after := first - 1; after < last; {
		batch, err := r.outbox.Next(ctx, after, 256)
		if err != nil {
			return fmt.Errorf("read rows of %d open claims: %w", len(claims), err)
		}
		for i := range batch {
			after = batch[i].Number
			if open[after] {
				r.add(&batch[i], false)
				r.early = append(r.early, after)
				delete(open, after)
			}
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("%d rows of open claims are not there: %w", len(open), bridge.ErrCorrupt)
	}
	return nil
}

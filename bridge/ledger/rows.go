package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// row is what memory holds of a batch row: one entry for a batch, not for a message. Log.mu guards it.
type row struct {
	number  uint64
	stream  *stream
	count   int
	bytes   int   // of the stored data
	noted   int64 // microseconds
	remotes []uint32
	left    int    // remotes that are not through with it
	done    int64  // microseconds, when the last was through; 0 while one is not
	thin    bool   // most of it is settled: listed to be rewritten, or was
	data    []byte // nil: in the database
}

// rowList is the live rows, ascending, found by number.
type rowList struct {
	rows []*row // with holes (no stream) where rows went, until half of it is holes
	dead int
}

func (rl *rowList) add(r *row) { rl.rows = append(rl.rows, r) }

// from returns the place of the first row whose number is n or more.
func (rl *rowList) from(n uint64) int {
	at, _ := slices.BinarySearchFunc(rl.rows, n, func(r *row, n uint64) int { return cmp.Compare(r.number, n) })
	return at
}

func (rl *rowList) get(n uint64) *row {
	if at := rl.from(n); at < len(rl.rows) && rl.rows[at].number == n && rl.rows[at].stream != nil {
		return rl.rows[at]
	}
	return nil
}

// drop forgets a row. What the list holds of it stays until half the list is such.
func (rl *rowList) drop(r *row) {
	*r = row{number: r.number}
	if rl.dead++; rl.dead > 32 && rl.dead > len(rl.rows)/2 {
		rl.rows = slices.DeleteFunc(rl.rows, func(r *row) bool { return r.stream == nil })
		rl.dead = 0
	}
}

// addRow puts a durable row into memory and hands it to its remotes; Log.mu is held.
func (l *Log) addRow(r *row) {
	l.rows.add(r)
	l.live += int64(r.bytes)
	r.left = len(r.remotes)
	for _, id := range r.remotes {
		l.outboxes[id].shares[r.number] = &share{row: r, left: r.count}
	}
	l.remember(r)
}

// remember keeps the data of the newest rows, up to the cache's budget; Log.mu is held.
func (l *Log) remember(r *row) {
	if r.data == nil {
		return
	}
	l.cached += int64(r.bytes)
	l.recent = append(l.recent, r)
	for l.cached > int64(l.cfg.Cache) && len(l.recent) > 0 {
		l.forget(l.recent[0])
		l.recent[0] = nil
		l.recent = l.recent[1:]
	}
}

// forget takes a row's data out of the cache; who refers to it keeps it.
func (l *Log) forget(r *row) {
	if r.data != nil {
		l.cached -= int64(len(r.data))
		r.data = nil
	}
}

// through notes that one of a row's remotes has nothing left to do with it; Log.mu is held.
func (l *Log) through(r *row) {
	if r.left--; r.left > 0 {
		return
	}
	r.done = time.Now().UnixMicro()
	l.forget(r)
	l.live -= int64(r.bytes)
	l.kept += int64(r.bytes)
	l.finished = append(l.finished, r)
}

// span is a run of row numbers.
type span struct{ first, last uint64 }

// goneRows is which rows were deleted after they had been settled: what tells a deletion from a loss.
type goneRows struct {
	byFirst, byLast map[uint64]span
}

func newGone() goneRows {
	return goneRows{byFirst: make(map[uint64]span), byLast: make(map[uint64]span)}
}

func (g *goneRows) add(s span)    { g.byFirst[s.first], g.byLast[s.last] = s, s }
func (g *goneRows) remove(s span) { delete(g.byFirst, s.first); delete(g.byLast, s.last) }

// put adds a run of rows, joined with its neighbours, to the table and to memory. The returned undo takes it back from memory.
func (g *goneRows) put(t *tx, s span) (undo func(), err error) {
	var old []span
	if before, ok := g.byLast[s.first-1]; ok {
		old = append(old, before)
		s.first = before.first
	}
	if after, ok := g.byFirst[s.last+1]; ok {
		old = append(old, after)
		s.last = after.last
		if err := t.exec(sqlDropGone, int64(after.first)); err != nil {
			return nil, err
		}
	}
	if err := t.exec(sqlGone, int64(s.first), int64(s.last)); err != nil {
		return nil, err
	}
	for _, o := range old {
		g.remove(o)
	}
	g.add(s)
	return func() {
		g.remove(s)
		for _, o := range old {
			g.add(o)
		}
	}, nil
}

// sorted returns the runs in their order. It is slow and for Open only.
func (g *goneRows) sorted() []span {
	all := make([]span, 0, len(g.byFirst))
	for _, s := range g.byFirst {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	return all
}

// checkDense reports the first row number that is neither there nor gone.
func (l *Log) checkDense() error {
	gone := l.gone.sorted()
	want := uint64(1)
	for i := 0; i < len(l.rows.rows) || len(gone) > 0; {
		switch {
		case len(gone) > 0 && gone[0].first == want:
			want = gone[0].last + 1
			gone = gone[1:]
		case i < len(l.rows.rows) && l.rows.rows[i].number == want:
			want++
			i++
		default:
			return fmt.Errorf("row %d was acknowledged and is missing: %w", want, bridge.ErrCorrupt)
		}
	}
	l.nextRow = want - 1
	return nil
}

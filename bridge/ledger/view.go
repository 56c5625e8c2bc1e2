package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// ViewFilter says what of a ledger a View holds.
type ViewFilter struct {
	Streams  func(pipeline, stream string) bool // nil: all
	From, To int64                              // times of records, microseconds, both included
}

// View is what a ledger held at one moment, in memory: what another process may know of a ledger that is in use, or of one that is not. Its
// methods may be called concurrently.
type View struct {
	log     *Log // loaded as at Open, without rows and outboxes; it never runs
	filter  ViewFilter
	waiting map[waitKey][]bridge.ID
	parked  map[streamKey][]ParkedID
	losses  []bridge.Loss
}

type waitKey struct {
	remote string
	streamKey
}

// ParkedID names a message that was parked: a record as a module got it, or a message that a remote refused.
type ParkedID struct {
	bridge.ID
	By     string // name of the module or remote
	Reason string
}

const (
	viewTries = 10 // a ledger that is opened or closed in the midst of a look is looked at again
	viewPause = 20 * time.Millisecond
)

// What another look may find changed.
var (
	errMoved = errors.New("it was opened or closed in the meantime, again and again")
	errNoShm = fmt.Errorf("%s-wal has no -shm beside it: copy that too, or let sluice run open it once", dbFile)
)

// OpenView reads the ledger in dir, in one read transaction that has ended when it returns: while one is open, the write-ahead log grows. It
// takes no lock and makes no file. Memory: 3 bytes for each key of the period, 24 for each message that waits, for each of its remotes.
func OpenView(ctx context.Context, dir string, f ViewFilter) (*View, error) {
	for try := 1; ; try++ {
		v, err := tryView(ctx, filepath.Join(dir, dbFile), f)
		if err == nil {
			return v, nil
		}
		if !errors.Is(err, errMoved) && !errors.Is(err, errNoShm) || try == viewTries {
			return nil, fmt.Errorf("look at the ledger in %s: %w", dir, err)
		}
		select {
		case <-time.After(viewPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("look at the ledger in %s: %w", dir, context.Cause(ctx))
		}
	}
}

// files is what tells whether a database is in use. While it has a write-ahead log, the reader and the writer find each other through
// -shm. While it has none nobody writes, and SQLite must be told not to make one.
type files struct {
	inUse          bool
	size, modified int64
}

func lookAt(path string) (files, error) {
	db, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return files{}, fmt.Errorf("there is none: %w", err)
	}
	if err != nil {
		return files{}, err
	}
	f := files{size: db.Size(), modified: db.ModTime().UnixNano()}
	_, err = os.Stat(path + "-wal")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return files{}, err
	}
	f.inUse = true
	if _, err = os.Stat(path + "-shm"); errors.Is(err, fs.ErrNotExist) {
		err = errNoShm // SQLite would make the file
	}
	return f, err
}

func tryView(ctx context.Context, path string, f ViewFilter) (*View, error) {
	before, err := lookAt(path)
	if err != nil {
		return nil, err
	}
	options := url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(2000)"}}
	if !before.inUse {
		options.Set("immutable", "1")
	}
	v, err := readView(ctx, fileURL(path, options), f)
	if err == nil && before.inUse {
		return v, nil
	}
	// Outside of a log's transactions, whatever was read or went wrong means nothing if the file was not left alone.
	after, errAfter := lookAt(path)
	switch {
	case errAfter != nil:
		return nil, errAfter
	case after.inUse != before.inUse, !before.inUse && after != before:
		return nil, errMoved
	}
	return v, err
}

// readView reads all in one transaction.
func readView(ctx context.Context, source string, f ViewFilter) (v *View, err error) {
	db, err := sql.Open("sqlite", source)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	t, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, classify(err)
	}
	defer t.Rollback() // nothing was written
	version := 0
	if err := t.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return nil, fmt.Errorf("read schema version: %w", classify(err))
	}
	if version != schemaVersion {
		return nil, otherSchema(version)
	}
	v = &View{log: newLog("", Default(), limits{blockKeys: math.MaxInt}), filter: f}
	v.log.source = t
	if err := v.load(); err != nil {
		return nil, err
	}
	v.log.source = nil
	return v, nil
}

// load does what the ledger itself does at Open, up to where that would change something (rule 18), and keeps what the filter asks for.
func (v *View) load() error {
	l := v.log
	for _, step := range []func() error{
		l.loadMeta, l.loadRemotes, l.loadStreams, l.loadRows, l.checkDense, l.loadSeen, l.loadClosed, l.checkSeen, l.loadReconciled,
		l.loadOutboxes, l.loadGaps, v.loadLosses, v.pick, v.loadBlocks, v.loadWaiting, v.loadParked,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	l.rows, l.outboxes, l.byName, l.byStream, l.finished = rowList{}, nil, nil, nil, nil
	return nil
}

// pick drops the streams that are not asked for.
func (v *View) pick() error {
	maps.DeleteFunc(v.log.streams, func(k streamKey, _ *stream) bool { return !v.wants(k) })
	return nil
}

func (v *View) wants(k streamKey) bool {
	return v.filter.Streams == nil || v.filter.Streams(k.pipeline, k.name)
}

func (v *View) covers(t int64) bool { return v.filter.From <= t && t <= v.filter.To }

// loadBlocks reads the keys of the period, and that they can be read.
func (v *View) loadBlocks() error {
	for _, s := range v.log.streams {
		s.segments = slices.DeleteFunc(s.segments, func(g *segment) bool { return !g.overlaps(v.filter.From, v.filter.To) })
		err := v.log.each("SELECT id, crc, data FROM seen WHERE id BETWEEN ? AND ? AND count>0 AND max>=? AND min<=?", func(rows *sql.Rows) error {
			var id, crc int64
			var data []byte
			if err := rows.Scan(&id, &crc, &data); err != nil {
				return err
			}
			if err := s.setData(id, uint32(crc), data); err != nil {
				return err
			}
			_, _, err := readBlock(data)
			return err
		}, segmentID(s.id, 0), segmentID(s.id, 1<<appendBits-1), v.filter.From, v.filter.To)
		if err != nil {
			return err
		}
	}
	return nil
}

// loadWaiting reads the identities of what remotes have not settled.
func (v *View) loadWaiting() error {
	v.waiting = make(map[waitKey][]bridge.ID)
	for _, r := range v.log.rows.rows {
		if r.left == 0 || !v.wants(r.stream.streamKey) {
			continue
		}
		err := v.log.each("SELECT data FROM batch WHERE number=?", func(rows *sql.Rows) error {
			var data sql.RawBytes
			if err := rows.Scan(&data); err != nil {
				return err
			}
			ms, err := readRow(data, r.count)
			if err != nil {
				return fmt.Errorf("row %d: %w", r.number, err)
			}
			v.addWaiting(r, ms)
			return nil
		}, int64(r.number))
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *View) addWaiting(r *row, ms []bridge.Message) {
	for _, remote := range r.remotes {
		o := v.log.outboxes[remote]
		sh := o.shares[r.number]
		if sh == nil {
			continue
		}
		k := waitKey{o.name, r.stream.streamKey}
		for i := range ms {
			if id := ms[i].ID(); !sh.settled.Has(i) && v.covers(id.Time) {
				v.waiting[k] = append(v.waiting[k], id)
			}
		}
	}
}

func (v *View) loadParked() error {
	v.parked = make(map[streamKey][]ParkedID)
	return v.log.each(parkedColumns+" ORDER BY p.id", func(rows *sql.Rows) error {
		p, err := v.log.scanParked(rows)
		if err != nil {
			return err
		}
		k := streamKey{p.Pipeline, p.Stream}
		if id := p.Message.ID(); v.wants(k) && v.covers(id.Time) {
			v.parked[k] = append(v.parked[k], ParkedID{ID: id, By: p.Module, Reason: p.Reason})
		}
		return nil
	})
}

func (v *View) loadLosses() error {
	return v.log.each(lossColumns+" ORDER BY id", func(rows *sql.Rows) error {
		l, err := scanLoss(rows)
		v.losses = append(v.losses, l)
		return err
	})
}

// Streams returns the streams of the filter of which a record was ever seen, whatever the period, in no order.
func (v *View) Streams() []StreamInfo { return v.log.Streams() }

// Seen walks the keys of the period that are kept one by one, in the order of their Appends where that is known: blocks that were merged
// are by time.
func (v *View) Seen(pipeline, stream string) iter.Seq2[bridge.Key, bridge.Verdict] {
	var err error // cannot be: OpenView has read every block
	return v.log.Seen(pipeline, stream, v.filter.From, v.filter.To, &err)
}

// Closed returns the ranges that touch the period, in ascending order.
func (v *View) Closed(pipeline, stream string) []bridge.ClosedRange {
	return slices.DeleteFunc(v.log.Closed(pipeline, stream), func(r bridge.ClosedRange) bool {
		return r.To < v.filter.From || v.filter.To < r.From
	})
}

// Waiting returns the messages of the period that a remote has not settled, in the order of their Appends.
func (v *View) Waiting(remote, pipeline, stream string) []bridge.ID {
	return v.waiting[waitKey{remote, streamKey{pipeline, stream}}]
}

// Parked returns what was set aside of the period, in the order in which that was done.
func (v *View) Parked(pipeline, stream string) []ParkedID {
	return v.parked[streamKey{pipeline, stream}]
}

// Gaps returns all open gaps.
func (v *View) Gaps() []bridge.Gap { return v.log.gaps }

// Losses returns all of what is known to be lost.
func (v *View) Losses() []bridge.Loss { return v.losses }

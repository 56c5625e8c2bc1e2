// Package ledger keeps what was taken in until it has been sent: messages, the keys that were seen, the state of modules, and how far each
// remote has come, in one SQLite database with one committer. DESIGN.md beside it has the format, the order of the writes and
// what is assumed of the disk.
package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// Log is the ledger. It implements bridge.Ledger, bridge.States and bridge.Gaps; Outbox gives a remote's end. All methods may be called
// concurrently, what concerns one stream only by whoever holds its lock.
type Log struct {
	cfg     Config
	dir     string
	lock    *os.File
	writer  *sql.DB // the committer's
	reader  *sql.DB // everyone else's; a read does not wait for a commit
	source  querier // what load reads: the reader, or the transaction of a View
	tx      *tx
	routes  map[string][]uint32 // remotes of a pipeline, fixed at Open
	waiting chan struct{}       // one token: something is in queue, or broken is set
	limits  limits
	after   func() error // tests: runs after COMMIT, before its report; an error is taken for COMMIT's

	// The committer's own.
	group   []*write
	gone    goneRows
	ballast ballast
	wal     int64 // bytes written since the last checkpoint, roughly
	tended  time.Time
	took    time.Duration // by the last transaction

	mu         sync.Mutex // guards all below
	queue      []*write
	broken     error // why the process must stop
	closed     bool
	streams    map[streamKey]*stream
	byStream   map[uint32]*stream // at Open only
	lastStream uint32
	outboxes   map[uint32]*Outbox
	byName     map[string]*Outbox
	rows       rowList
	nextRow    uint64 // number of the last row
	live       int64  // bytes that wait: rows not settled, parked records
	kept       int64  // bytes of settled rows that are still there
	reserved   int64  // bytes of Appends on their way
	cached     int64
	recent     []*row        // rows whose data is cached, oldest first
	finished   []*row        // settled rows, oldest first
	thin       []*row        // rows of which most is settled
	fresh      chan struct{} // closed and replaced when a row was added
	parked     parkedSum
	gaps       []bridge.Gap
	losses     lossSum
	lastGap    int64
	reconciled map[string]int64
	givenUp    map[string]int64 // by name of a remote
	notes      map[string]string
	lastError  error
	diskFull   bool // the ballast is in use
	epoch      epoch
}

// files of a ledger's directory.
const (
	dbFile    = "ledger.db"
	lockFile  = "lock"
	epochFile = "epoch"
)

// Open opens the ledger in dir, makes one where there is none, and reads what is needed to go on. Nothing more is written until
// Run. ErrCorrupt where something that was acknowledged is missing or damaged, ErrUnrouted where the configuration has no way out for it.
func Open(ctx context.Context, dir string, cfg Config) (*Log, error) {
	return openWith(ctx, dir, cfg, productionLimits(int64(cfg.withDefaults().Quota)))
}

// openWith is Open with other limits, so that tests reach them soon.
func openWith(ctx context.Context, dir string, cfg Config, limits limits) (*Log, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open ledger in %s: %w", dir, err)
	}
	l := newLog(dir, cfg, limits)
	err = l.open(ctx)
	if err != nil && !errors.Is(err, bridge.ErrCorrupt) && !errors.Is(err, ErrUnrouted) && l.ballast.remove() == nil {
		// A full disk has many names: no space, a file that cannot be made, an input/output error. Once more in the ballast's room. Closed
		// after the removal, so that SQLite copies the write-ahead log into it.
		first := errors.Join(err, l.closeDB())
		l = newLog(dir, cfg, limits)
		if err = l.open(ctx); err != nil {
			err = errors.Join(err, fmt.Errorf("before the ballast was removed: %w", first))
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger in %s: %w", dir, err), l.closeDB(), lock.Close())
	}
	l.lock = lock
	return l, nil
}

func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	return takeLock(filepath.Join(dir, lockFile))
}

func newLog(dir string, cfg Config, limits limits) *Log {
	return &Log{
		cfg: cfg, dir: dir, limits: limits,
		waiting: make(chan struct{}, 1), fresh: make(chan struct{}), gone: newGone(),
		streams: make(map[streamKey]*stream), outboxes: make(map[uint32]*Outbox), byName: make(map[string]*Outbox),
		givenUp: make(map[string]int64), notes: make(map[string]string),
		ballast: ballast{path: filepath.Join(dir, "ballast"), size: limits.ballast},
	}
}

// open needs the directory's lock.
func (l *Log) open(ctx context.Context) error {
	var err error
	path := filepath.Join(l.dir, dbFile)
	if l.writer, err = openDB(path); err != nil {
		return err
	}
	if l.reader, err = openDB(path); err != nil {
		return err
	}
	l.source = l.reader
	if l.tx, err = prepareAll(ctx, l.writer); err != nil {
		return err
	}
	if err := l.load(); err != nil {
		return err
	}
	return l.openEpoch()
}

// Close releases the files. Run must have returned.
func (l *Log) Close() error { return errors.Join(l.closeDB(), l.lock.Close()) }

func (l *Log) closeDB() error {
	var errs []error
	if l.tx != nil {
		errs = append(errs, l.tx.close())
	}
	for _, db := range []*sql.DB{l.reader, l.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// announce wakes who waits for rows; Log.mu is held.
func (l *Log) announce() {
	close(l.fresh)
	l.fresh = make(chan struct{})
}

// note keeps the last error of a write for the status page; Log.mu is held.
func (l *Log) note(err error) { l.lastError = err }

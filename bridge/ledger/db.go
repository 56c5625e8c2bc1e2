package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/sluicebridge/sluice/bridge"
)

// schemaVersion is PRAGMA user_version. migrate.go says which others are read.
const schemaVersion = 3

// schema holds everything that is durable but the epoch file. What is written at every commit (batch, seen, step) is one row for
// each write, appended at the end of its table: a commit touches few pages.
const schema = `
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE remote(id INTEGER PRIMARY KEY, name TEXT NOT NULL, given_up INTEGER NOT NULL DEFAULT 0, removed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE stream(id INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, name TEXT NOT NULL);
CREATE TABLE batch(number INTEGER PRIMARY KEY, stream INTEGER NOT NULL, count INTEGER NOT NULL, noted INTEGER NOT NULL,
  crc INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE gone(first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE seen(id INTEGER PRIMARY KEY, last INTEGER NOT NULL, min INTEGER NOT NULL, max INTEGER NOT NULL, count INTEGER NOT NULL,
  crc INTEGER NOT NULL, data BLOB NOT NULL);
` + schemaClosed + `
CREATE TABLE wanted(stream INTEGER NOT NULL, time INTEGER NOT NULL, revision INTEGER NOT NULL,
  PRIMARY KEY(stream, time)) WITHOUT ROWID;
CREATE TABLE state(stream INTEGER NOT NULL, module TEXT NOT NULL, sha256 TEXT NOT NULL, version INTEGER NOT NULL, crc INTEGER NOT NULL,
  bytes BLOB NOT NULL, PRIMARY KEY(stream, module));
CREATE TABLE parked(id INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, module TEXT NOT NULL, sha256 TEXT NOT NULL,
  reason TEXT NOT NULL, noted INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE gap(id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  reason TEXT NOT NULL, noted INTEGER NOT NULL);
` + schemaLoss + `
CREATE TABLE reconciled(stream TEXT PRIMARY KEY, upto INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE step(remote INTEGER NOT NULL, number INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY(remote, number)) WITHOUT ROWID;
CREATE TABLE outbox(remote INTEGER PRIMARY KEY, number INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL);
`

// schemaClosed: the sums are NULL where nobody knows them any more.
const schemaClosed = `CREATE TABLE closed(stream INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER NOT NULL,
  times INTEGER, times_hash INTEGER, messages INTEGER, message_hash INTEGER);
CREATE INDEX closed_stream ON closed(stream, first);`

const schemaLoss = `CREATE TABLE loss(id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  records INTEGER NOT NULL, reason TEXT NOT NULL, noted INTEGER NOT NULL);
CREATE INDEX loss_stream ON loss(stream);`

// The statements of the committer, prepared once.
const (
	sqlBegin = iota
	sqlCommit
	sqlRollback
	sqlStream
	sqlBatch
	sqlRewrite
	sqlDropBatch
	sqlGone
	sqlDropGone
	sqlSeen
	sqlDropSeen
	sqlClosed
	sqlDropClosed
	sqlWant
	sqlWanted
	sqlState
	sqlPark
	sqlUnpark
	sqlGap
	sqlDropGap
	sqlLosses
	sqlLoss
	sqlDropLoss
	sqlReconciled
	sqlStep
	sqlDropSteps
	sqlOutbox
	sqlMeta
	sqlRemote
	sqlRemoved
	sqlDropOutbox
	sqlCount
)

var statements = [sqlCount]string{
	sqlBegin:      "BEGIN IMMEDIATE",
	sqlCommit:     "COMMIT",
	sqlRollback:   "ROLLBACK",
	sqlStream:     "INSERT OR IGNORE INTO stream VALUES(?,?,?)",
	sqlBatch:      "INSERT INTO batch VALUES(?,?,?,?,?,?)",
	sqlRewrite:    "UPDATE batch SET crc=?, data=? WHERE number=?",
	sqlDropBatch:  "DELETE FROM batch WHERE number BETWEEN ? AND ?",
	sqlGone:       "INSERT OR REPLACE INTO gone VALUES(?,?)",
	sqlDropGone:   "DELETE FROM gone WHERE first=?",
	sqlSeen:       "INSERT INTO seen VALUES(?,?,?,?,?,?,?)",
	sqlDropSeen:   "DELETE FROM seen WHERE id BETWEEN ? AND ?",
	sqlClosed:     "INSERT INTO closed VALUES(?,?,?,?,?,?,?,?)",
	sqlDropClosed: "DELETE FROM closed WHERE stream=? AND first=?",
	sqlWant:       "INSERT OR REPLACE INTO wanted VALUES(?,?,?)",
	sqlWanted:     "DELETE FROM wanted WHERE stream=? AND time=?",
	sqlState:      "INSERT OR REPLACE INTO state VALUES(?,?,?,?,?,?)",
	sqlPark:       "INSERT INTO parked VALUES(?,?,?,?,?,?,?,?)",
	sqlUnpark:     "DELETE FROM parked WHERE id=? RETURNING length(data)",
	sqlGap:        "INSERT INTO gap VALUES(?,?,?,?,?,?)",
	sqlDropGap:    "DELETE FROM gap WHERE id=?",
	sqlLosses:     lossColumns + " WHERE stream=? ORDER BY id",
	sqlLoss:       "INSERT INTO loss VALUES(?,?,?,?,?,?,?)",
	sqlDropLoss:   "DELETE FROM loss WHERE id=?",
	sqlReconciled: "INSERT OR REPLACE INTO reconciled VALUES(?,?)",
	sqlStep:       "INSERT INTO step VALUES(?,?,?,?)",
	sqlDropSteps:  "DELETE FROM step WHERE remote=? AND number<=?",
	sqlOutbox:     "INSERT OR REPLACE INTO outbox VALUES(?,?,?,?)",
	sqlMeta:       "INSERT OR REPLACE INTO meta VALUES(?,?)",
	sqlRemote:     "INSERT INTO remote(id, name) VALUES(?,?)",
	sqlRemoved:    "UPDATE remote SET given_up=given_up+?, removed=1 WHERE id=?",
	sqlDropOutbox: "DELETE FROM outbox WHERE remote=?",
}

// pragmas are read back, because SQLite answers a setting that it cannot have with another, not with an error.
// synchronous 2 is FULL: one fsync of the write-ahead log for each commit. Checkpoints are the committer's, between commits.
var pragmas = []struct{ name, value, want string }{
	{"busy_timeout", "2000", "2000"}, // first: setting the journal mode already waits for whoever looks at the ledger, or fails
	{"page_size", strconv.Itoa(pageSize), strconv.Itoa(pageSize)},
	{"journal_mode", "WAL", "wal"},
	{"synchronous", "FULL", "2"},
	{"wal_autocheckpoint", "0", "0"},
	{"cache_size", "-8192", "-8192"},
	{"temp_store", "MEMORY", "2"},
	{"foreign_keys", "OFF", "0"},
}

// pageSize holds a batch of small messages in two or three pages.
const pageSize = 8192

// openDB opens a connection that sets and asserts the pragmas, and makes the tables where there are none.
func openDB(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", fileURL(path, nil))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(1) // pragmas belong to a connection; database/sql must not open another unseen
	for _, p := range pragmas {
		if err := assertPragma(db, p.name, p.value, p.want); err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
		}
	}
	if err := migrate(db); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	return db, nil
}

// fileURL is how SQLite is told of a file. A path of its own would end at a question mark.
func fileURL(path string, options url.Values) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: options.Encode()}
	return u.String()
}

func assertPragma(db *sql.DB, name, value, want string) error {
	if _, err := db.Exec("PRAGMA " + name + "=" + value); err != nil {
		return fmt.Errorf("set pragma %s: %w", name, classify(err))
	}
	var got string
	if err := db.QueryRow("PRAGMA " + name).Scan(&got); err != nil {
		return fmt.Errorf("read pragma %s: %w", name, classify(err))
	}
	if !strings.EqualFold(got, want) {
		return fmt.Errorf("pragma %s is %s, want %s", name, got, want)
	}
	return nil
}

// tx is the committer's connection with its statements.
type tx struct {
	conn       *sql.Conn
	stmts      [sqlCount]*sql.Stmt
	checkpoint *sql.Stmt
	freePages  *sql.Stmt
	row        uint64 // number of the last batch row written in this transaction or before
}

func prepareAll(ctx context.Context, db *sql.DB) (*tx, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	t := &tx{conn: conn}
	for i, text := range statements {
		if t.stmts[i], err = conn.PrepareContext(ctx, text); err != nil {
			return nil, errors.Join(fmt.Errorf("prepare %q: %w", text, err), conn.Close())
		}
	}
	for text, to := range map[string]**sql.Stmt{"wal_checkpoint(PASSIVE)": &t.checkpoint, "freelist_count": &t.freePages} {
		if *to, err = conn.PrepareContext(ctx, "PRAGMA "+text); err != nil {
			return nil, errors.Join(fmt.Errorf("prepare %s: %w", text, err), conn.Close())
		}
	}
	return t, nil
}

// exec runs a prepared statement. Its context has no end: an interrupted statement would make a transaction's outcome a guess.
func (t *tx) exec(statement int, args ...any) error {
	if _, err := t.stmts[statement].ExecContext(context.Background(), args...); err != nil {
		return fmt.Errorf("%s: %w", statements[statement], classify(err))
	}
	return nil
}

// abort rolls back what failed with err, which it returns. A full disk may have done so already.
func (t *tx) abort(err error) error {
	if back := t.exec(sqlRollback); back != nil && !errors.Is(err, errDiskFull) {
		return errors.Join(err, back)
	}
	return err
}

func (t *tx) close() error {
	errs := []error{t.checkpoint.Close(), t.freePages.Close()}
	for _, s := range t.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, t.conn.Close())...)
}

// errDiskFull is a write that found no room: nothing of its transaction is there.
var errDiskFull = fmt.Errorf("no space left on the disk: %w", bridge.ErrFull)

// classify adds what SQLite's code means for us.
func classify(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", bridge.ErrCorrupt, err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w (%w)", errDiskFull, err)
	}
	return err
}

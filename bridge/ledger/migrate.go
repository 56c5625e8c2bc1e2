package ledger

import (
	"database/sql"
	"fmt"
)

// migrate brings a database to schemaVersion: a new one, or one of the version before. One transaction, so that what a crash or a full disk
// leaves is of the old version or of the new one. A database of any other version is not touched.
func migrate(db *sql.DB) error {
	var version int
	if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("read schema version: %w", classify(err))
	}
	change := ""
	switch version {
	case schemaVersion:
		return nil
	case 0:
		change = schema
	case 2:
		change = from2
	default:
		return otherSchema(version)
	}
	// Where one of these fails the transaction stays open: it ends with the connection, which the caller closes.
	if _, err := db.Exec(fmt.Sprintf("BEGIN IMMEDIATE; %s PRAGMA user_version=%d; COMMIT", change, schemaVersion)); err != nil {
		return fmt.Errorf("bring ledger from schema %d to %d: %w", version, schemaVersion, classify(err))
	}
	return nil
}

func otherSchema(version int) error {
	return fmt.Errorf("ledger has schema %d, this program knows %d", version, schemaVersion)
}

// from2: ranges of schema 2 may overlap, and had an exclusive or of all keys, which says nothing of a record that was updated. Those that
// overlap become one, and none has sums. Blocks of seen keys are of the same format, but know of no late record.
const from2 = `
DROP INDEX closed_stream;
ALTER TABLE closed RENAME TO closed2;
` + schemaClosed + `
INSERT INTO closed(stream, first, last, count)
  SELECT stream, min(first), max(last), sum(count) FROM (
    SELECT *, sum(apart) OVER (PARTITION BY stream ORDER BY first, last) AS island FROM (
      SELECT *, coalesce(first > max(last) OVER (PARTITION BY stream ORDER BY first, last
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 1) AS apart FROM closed2))
  GROUP BY stream, island;
DROP TABLE closed2;
` + schemaLoss + `
`

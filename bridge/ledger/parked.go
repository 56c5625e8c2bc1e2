package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"database/sql"

	"github.com/sluicebridge/sluice/bridge"
)

// ParkedRecord is a parked record as it stands in the ledger.
type ParkedRecord struct {
	ID               int64
	Pipeline, Stream string
	Noted            time.Time
	bridge.Parking
}

// parkedSum is what the quota counts of the parked records.
type parkedSum struct{ records, bytes int64 }

func (p *parkedSum) add(bytes int) { p.records, p.bytes = p.records+1, p.bytes+int64(bytes) }

// parkedRow is a parked record ready to be written: its message is the only one of a batch row without remotes. The CRC32C is over
// that, then stream and noted, 8 bytes each.
type parkedRow struct {
	module, sha256, reason string
	noted                  int64
	data                   []byte
}

func newParkedRow(p *bridge.Parking, noted int64) parkedRow {
	return parkedRow{
		module: p.Module, sha256: p.SHA256, reason: p.Reason, noted: noted,
		data: appendMessages(nil, nil, []bridge.Message{p.Message}),
	}
}

func (t *tx) park(stream uint32, p *parkedRow) error {
	crc := seal(p.data, uint64(stream), uint64(p.noted))
	return t.exec(sqlPark, nil, int64(stream), p.module, p.sha256, p.reason, p.noted, int64(crc), p.data)
}

// Parked returns up to max parked records with an id above after, by id.
func (l *Log) Parked(ctx context.Context, after int64, max int) ([]ParkedRecord, error) {
	return l.queryParked(ctx, "p.id>? ORDER BY p.id LIMIT ?", after, max)
}

// ReadParked returns one parked record.
func (l *Log) ReadParked(ctx context.Context, id int64) (p ParkedRecord, found bool, err error) {
	ps, err := l.queryParked(ctx, "p.id=?", id)
	if err != nil || len(ps) == 0 {
		return ParkedRecord{}, false, err
	}
	return ps[0], true, nil
}

const parkedColumns = "SELECT p.id, s.id, s.pipeline, s.name, p.module, p.sha256, p.reason, p.noted, p.crc, p.data" +
	" FROM parked p JOIN stream s ON s.id=p.stream"

func (l *Log) queryParked(ctx context.Context, where string, args ...any) ([]ParkedRecord, error) {
	rows, err := l.reader.QueryContext(ctx, parkedColumns+" WHERE "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read parked records: %w", l.readError(err))
	}
	defer rows.Close()
	var out []ParkedRecord
	for rows.Next() {
		p, err := l.scanParked(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read parked records: %w", l.readError(err))
	}
	return out, nil
}

func (l *Log) scanParked(rows *sql.Rows) (ParkedRecord, error) {
	var p ParkedRecord
	var stream, noted, crc int64
	var data []byte
	if err := rows.Scan(&p.ID, &stream, &p.Pipeline, &p.Stream, &p.Module, &p.SHA256, &p.Reason, &noted, &crc, &data); err != nil {
		return p, fmt.Errorf("read parked records: %w", l.readError(err))
	}
	ms, err := readRow(data, 1)
	if want := seal(data, uint64(stream), uint64(noted)); err == nil && want != uint32(crc) {
		err = fmt.Errorf("checksum %08x, want %08x: %w", uint32(crc), want, bridge.ErrCorrupt)
	}
	if err != nil {
		return p, l.stop(fmt.Errorf("parked record %d: %w", p.ID, err))
	}
	p.Message, p.Noted = ms[0], time.UnixMicro(noted)
	return p, nil
}

// DropParked deletes parked records; those that are not there are passed over. Durable on return.
func (l *Log) DropParked(ctx context.Context, ids ...int64) error {
	var dropped parkedSum
	w := &write{small: true}
	w.put = func(t *tx) error {
		dropped = parkedSum{}
		for _, id := range ids {
			n, err := t.unpark(id)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			dropped.add(n)
		}
		return nil
	}
	w.end = func(err error) {
		if err == nil {
			l.parked.records -= dropped.records
			l.parked.bytes -= dropped.bytes
			l.live -= dropped.bytes
		}
	}
	if err := l.submit(ctx, w); err != nil {
		return fmt.Errorf("drop %d parked records: %w", len(ids), err)
	}
	return nil
}

// unpark deletes a parked record and returns the size of its data.
func (t *tx) unpark(id int64) (size int, err error) {
	err = t.stmts[sqlUnpark].QueryRow(id).Scan(&size)
	return size, classify(err)
}

// State implements bridge.States.
func (l *Log) State(pipeline, name, module string) (bridge.State, bool, error) {
	l.mu.Lock()
	s := l.streams[streamKey{pipeline, name}]
	l.mu.Unlock()
	if s == nil {
		return bridge.State{}, false, nil
	}
	st := bridge.State{Module: module}
	var crc int64
	err := l.reader.QueryRow("SELECT sha256, version, crc, bytes FROM state WHERE stream=? AND module=?", int64(s.id), module).
		Scan(&st.SHA256, &st.Version, &crc, &st.Bytes)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return bridge.State{}, false, nil
	case err != nil:
		return bridge.State{}, false, fmt.Errorf("state of %s for %s: %w", module, name, l.readError(err))
	}
	if want := seal(st.Bytes, uint64(s.id), uint64(st.Version)); want != uint32(crc) {
		return bridge.State{}, false, l.stop(fmt.Errorf("state of %s for %s has checksum %08x, want %08x: %w",
			module, name, uint32(crc), want, bridge.ErrCorrupt))
	}
	return st, true, nil
}

// Held returns the streams of which a module of the pipeline has a state.
func (l *Log) Held(ctx context.Context, pipeline string) ([]string, error) {
	rows, err := l.reader.QueryContext(ctx, "SELECT DISTINCT s.name FROM state t JOIN stream s ON s.id=t.stream WHERE s.pipeline=?", pipeline)
	if err != nil {
		return nil, fmt.Errorf("streams with a state: %w", l.readError(err))
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("streams with a state: %w", l.readError(err))
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("streams with a state: %w", l.readError(err))
	}
	return names, nil
}

func (t *tx) putState(stream uint32, s *bridge.State) error {
	crc := seal(s.Bytes, uint64(stream), uint64(s.Version))
	return t.exec(sqlState, int64(stream), s.Module, s.SHA256, int64(s.Version), int64(crc), notNil(s.Bytes))
}

// notNil is for NOT NULL columns: no bytes are an empty blob.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

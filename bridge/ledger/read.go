package ledger

import (
	"database/sql"
	"errors"
	"fmt"
	"iter"

	"github.com/sluicebridge/sluice/bridge"
)

// messages returns those of a live row, from the cache or the database.
func (l *Log) messages(number uint64) ([]bridge.Message, error) {
	data, count, err := l.rowData(number)
	if err != nil {
		return nil, err
	}
	ms, err := readRow(data, count)
	if err != nil {
		return nil, l.stop(fmt.Errorf("row %d: %w", number, err))
	}
	return ms, nil
}

// Stored walks the messages of a stream that are still here, because a remote waits for them or by keep_delivered, of records between two
// times, both included: oldest row first, the same message twice where it was appended twice. They must not be changed. It ends early
// with an error; what is deleted meanwhile may be missing.
func (l *Log) Stored(pipeline, name string, from, to int64) iter.Seq2[bridge.Message, error] {
	return func(yield func(bridge.Message, error) bool) {
		for _, number := range l.rowsOf(streamKey{pipeline, name}) {
			data, count, err := l.rowData(number)
			if errors.Is(err, bridge.ErrRejected) {
				continue // deleted meanwhile
			}
			if err != nil {
				yield(bridge.Message{}, fmt.Errorf("stored messages of %s: %w", name, err))
				return
			}
			there := bridge.NewBitmap(count)
			ms, err := readMarked(data, count, there)
			if err != nil {
				yield(bridge.Message{}, l.stop(fmt.Errorf("row %d: %w", number, err)))
				return
			}
			for i := range ms {
				t := ms[i].ID().Time
				if there.Has(i) && from <= t && t <= to && !yield(ms[i], nil) {
					return
				}
			}
		}
	}
}

// rowsOf returns the numbers of a stream's rows, ascending.
func (l *Log) rowsOf(k streamKey) (numbers []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rows.rows {
		if r.stream != nil && r.stream.streamKey == k {
			numbers = append(numbers, r.number)
		}
	}
	return numbers
}

// rowData returns a live row's bytes, and how many messages it had.
func (l *Log) rowData(number uint64) (data []byte, count int, err error) {
	l.mu.Lock()
	r := l.rows.get(number)
	if r != nil {
		data, count = r.data, r.count
	}
	l.mu.Unlock()
	if r == nil {
		return nil, 0, fmt.Errorf("row %d is not live: %w", number, bridge.ErrRejected)
	}
	if data == nil {
		data, err = l.readBatch(number)
	}
	return data, count, err
}

func (l *Log) readBatch(number uint64) ([]byte, error) {
	var stream, count, noted, crc int64
	var data []byte
	err := l.reader.QueryRow("SELECT stream, count, noted, crc, data FROM batch WHERE number=?", int64(number)).
		Scan(&stream, &count, &noted, &crc, &data)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		l.mu.Lock()
		r := l.rows.get(number)
		waited := r != nil && r.done == 0 // a settled one may just have been deleted: memory learns of it after the commit
		l.mu.Unlock()
		if waited {
			return nil, l.stop(fmt.Errorf("row %d is missing: %w", number, bridge.ErrCorrupt))
		}
		return nil, fmt.Errorf("row %d was settled: %w", number, bridge.ErrRejected)
	case err != nil:
		return nil, l.readError(err)
	}
	if want := seal(data, number, uint64(stream), uint64(count), uint64(noted)); want != uint32(crc) {
		return nil, l.stop(fmt.Errorf("row %d has checksum %08x, want %08x: %w", number, uint32(crc), want, bridge.ErrCorrupt))
	}
	return data, nil
}

// readError stops the process where the database itself is damaged.
func (l *Log) readError(err error) error {
	err = classify(err)
	if errors.Is(err, bridge.ErrCorrupt) {
		return l.stop(err)
	}
	return err
}

// blockData returns a block of seen keys, from memory or the database.
func (l *Log) blockData(s *stream, g *segment) ([]byte, error) {
	l.mu.Lock()
	data := g.data
	l.mu.Unlock()
	if data != nil {
		return data, nil
	}
	id := segmentID(s.id, g.first)
	var crc int64
	if err := l.reader.QueryRow("SELECT crc, data FROM seen WHERE id=?", id).Scan(&crc, &data); err != nil {
		return nil, l.readError(fmt.Errorf("read keys %d to %d of %s: %w", g.first, g.last, s.name, err))
	}
	full := *g
	full.data = data
	if want := full.seal(s.id); want != uint32(crc) {
		return nil, l.stop(fmt.Errorf("keys %d to %d of %s have checksum %08x, want %08x: %w",
			g.first, g.last, s.name, uint32(crc), want, bridge.ErrCorrupt))
	}
	return data, nil
}

package ledger

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/sluicebridge/sluice/bridge"
)

// messages returns those of a live row, from the cache or the database.
func (l *Log) messages(number uint64) ([]bridge.Message, error) {
	l.mu.Lock()
	var data []byte
	var count int
	r := l.rows.get(number)
	if r != nil {
		data, count = r.data, r.count
	}
	l.mu.Unlock()
	if r == nil {
		return nil, fmt.Errorf("row %d is not live: %w", number, bridge.ErrRejected)
	}
	if data == nil {
		var err error
		if data, err = l.readBatch(number); err != nil {
			return nil, err
		}
	}
	ms, err := readRow(data, count)
	if err != nil {
		return nil, l.stop(fmt.Errorf("row %d: %w", number, err))
	}
	return ms, nil
}

func (l *Log) readBatch(number uint64) ([]byte, error) {
	var stream, count, noted, crc int64
	var data []byte
	err := l.reader.QueryRow("SELECT stream, count, noted, crc, data FROM batch WHERE number=?", int64(number)).
		Scan(&stream, &count, &noted, &crc, &data)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		l.mu.Lock()
		live := l.rows.get(number) != nil
		l.mu.Unlock()
		if live {
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

package ledger

import (
	"cmp"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// load reads what the ledger needs to go on. Each step needs those before it: rows need streams and remotes, outboxes need rows.
func (l *Log) load() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, step := range []func() error{
		l.loadMeta, l.loadRemotes, l.loadStreams, l.loadRows, l.checkDense, l.loadSeen, l.loadSmall, l.loadClosed, l.checkSeen, l.loadWanted,
		l.loadReconciled, l.loadOutboxes, l.giveUp, l.loadParked, l.loadGaps, l.loadLosses,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if err := l.ballast.restore(); err != nil {
		l.note(err) // a full disk is no reason not to send what is there
	}
	return nil
}

// querier is a database or a transaction.
type querier interface {
	Query(query string, args ...any) (*sql.Rows, error)
}

// each calls scan for every row of a query.
func (l *Log) each(query string, scan func(*sql.Rows) error, args ...any) error {
	rows, err := l.source.Query(query, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", query, classify(err))
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("%s: %w", query, classify(err))
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("%s: %w", query, classify(err))
	}
	return nil
}

func (l *Log) loadMeta() error {
	return l.each("SELECT name, value FROM meta", func(rows *sql.Rows) error {
		var name string
		var value any
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		switch v := value.(type) {
		case string:
			if name == "id" {
				l.epoch.id = v
			}
			if name == "restored" {
				l.epoch.restored = v
			}
			if mine, ok := strings.CutPrefix(name, notePrefix); ok {
				l.notes[mine] = v
			}
		case int64:
			if name == "epoch" {
				l.epoch.number = uint64(v)
			}
		}
		return nil
	})
}

// loadRemotes reads the remotes that have not been removed, and gives numbers to the new ones of the configuration. A remote that comes
// back after it was removed is a new one: what it missed was given up.
func (l *Log) loadRemotes() error {
	last := uint32(0)
	err := l.each("SELECT id, name, given_up, removed FROM remote ORDER BY id", func(rows *sql.Rows) error {
		var id uint32
		var name string
		var givenUp int64
		var removed bool
		if err := rows.Scan(&id, &name, &givenUp, &removed); err != nil {
			return err
		}
		last = id
		if !removed {
			o := newOutbox(l, id, name)
			l.outboxes[id], l.byName[name] = o, o
		}
		if givenUp > 0 {
			l.givenUp[name] += givenUp
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.routes = make(map[string][]uint32)
	for _, pipeline := range sortedKeys(l.cfg.Routes) {
		for _, name := range l.cfg.Routes[pipeline] {
			if l.byName[name] == nil {
				last++
				o := newOutbox(l, last, name)
				l.outboxes[last], l.byName[name] = o, o
				if err := l.tx.exec(sqlRemote, int64(last), name); err != nil {
					return fmt.Errorf("add remote %s: %w", name, err)
				}
			}
			if id := l.byName[name].id; !slices.Contains(l.routes[pipeline], id) {
				l.routes[pipeline] = append(l.routes[pipeline], id)
			}
		}
	}
	return nil
}

func (l *Log) loadStreams() error {
	l.byStream = make(map[uint32]*stream)
	return l.each("SELECT id, pipeline, name FROM stream", func(rows *sql.Rows) error {
		s := &stream{stored: true}
		if err := rows.Scan(&s.id, &s.pipeline, &s.name); err != nil {
			return err
		}
		l.streams[s.streamKey], l.byStream[s.id] = s, s
		l.lastStream = max(l.lastStream, s.id)
		return nil
	})
}

// loadRows reads every batch row once, to see that it is whole: what was damaged while nobody looked stops the start, not the sending.
func (l *Log) loadRows() error {
	err := l.each("SELECT first, last FROM gone", func(rows *sql.Rows) error {
		var s span
		if err := rows.Scan(&s.first, &s.last); err != nil {
			return err
		}
		l.gone.add(s)
		return nil
	})
	if err != nil {
		return err
	}
	return l.each("SELECT number, stream, count, noted, crc, data FROM batch ORDER BY number", func(rows *sql.Rows) error {
		r := &row{}
		var stream, crc int64
		var data sql.RawBytes
		if err := rows.Scan(&r.number, &stream, &r.count, &r.noted, &crc, &data); err != nil {
			return err
		}
		if want := seal(data, r.number, uint64(stream), uint64(r.count), uint64(r.noted)); want != uint32(crc) {
			return fmt.Errorf("row %d has checksum %08x, want %08x: %w", r.number, uint32(crc), want, bridge.ErrCorrupt)
		}
		if r.stream = l.byStream[uint32(stream)]; r.stream == nil {
			return fmt.Errorf("row %d is of stream %d, which is not there: %w", r.number, stream, bridge.ErrCorrupt)
		}
		remotes, _, err := readRowHead(data)
		if err != nil {
			return fmt.Errorf("row %d: %w", r.number, err)
		}
		r.bytes = len(data)
		r.remotes = slices.DeleteFunc(remotes, func(id uint32) bool { return l.outboxes[id] == nil })
		l.addRow(r)
		if len(r.remotes) == 0 {
			r.left = 1
			l.through(r)
		}
		return nil
	})
}

func (l *Log) loadSeen() error {
	return l.each("SELECT id, last, min, max, count, crc FROM seen ORDER BY id", func(rows *sql.Rows) error {
		g := &segment{}
		var id, crc int64
		if err := rows.Scan(&id, &g.last, &g.min, &g.max, &g.count, &crc); err != nil {
			return err
		}
		s := l.byStream[uint32(id>>appendBits)]
		if s == nil {
			return fmt.Errorf("keys of stream %d, which is not there: %w", id>>appendBits, bridge.ErrCorrupt)
		}
		g.first = uint64(id & (1<<appendBits - 1))
		g.whole = g.count >= l.limits.blockKeys
		if len(s.segments) > 0 && s.appends+1 != g.first || g.last < g.first {
			return fmt.Errorf("keys of Append %d of %s were acknowledged and are missing: %w", s.appends+1, s.name, bridge.ErrCorrupt)
		}
		s.add(g)
		return nil
	})
}

// loadSmall reads the blocks that are in memory while a stream is written: they are what the next merge reads.
func (l *Log) loadSmall() error {
	return l.each(fmt.Sprintf("SELECT id, crc, data FROM seen WHERE count<%d ORDER BY id", l.limits.blockKeys), func(rows *sql.Rows) error {
		var id, crc int64
		var data []byte
		if err := rows.Scan(&id, &crc, &data); err != nil {
			return err
		}
		return l.byStream[uint32(id>>appendBits)].setData(id, uint32(crc), data)
	})
}

// setData gives a block its data.
func (s *stream) setData(id int64, crc uint32, data []byte) error {
	at, _ := slices.BinarySearchFunc(s.segments, id, func(g *segment, id int64) int { return cmp.Compare(segmentID(s.id, g.first), id) })
	g := s.segments[at]
	g.data = data
	if want := g.seal(s.id); want != crc {
		return fmt.Errorf("keys of Append %d of %s have checksum %08x, want %08x: %w", g.first, s.name, crc, want, bridge.ErrCorrupt)
	}
	return nil
}

// checkSeen finds the loss of a stream's oldest keys: they can only be missing where ranges stand for them.
func (l *Log) checkSeen() error {
	for _, s := range l.streams {
		if len(s.closed) == 0 && len(s.segments) > 0 && s.segments[0].first != 1 {
			return fmt.Errorf("keys of Append 1 of %s were acknowledged and are missing: %w", s.name, bridge.ErrCorrupt)
		}
	}
	return nil
}

func (l *Log) loadWanted() error {
	return l.each("SELECT stream, time, revision FROM wanted", func(rows *sql.Rows) error {
		var stream uint32
		var t, revision int64
		if err := rows.Scan(&stream, &t, &revision); err != nil {
			return err
		}
		s := l.byStream[stream]
		if s == nil {
			return fmt.Errorf("update of stream %d, which is not there: %w", stream, bridge.ErrCorrupt)
		}
		if s.wanted == nil {
			s.wanted = make(map[int64]uint64)
		}
		s.wanted[t] = uint64(revision)
		return nil
	})
}

func (l *Log) loadReconciled() error {
	l.reconciled = make(map[string]int64)
	return l.each("SELECT stream, upto FROM reconciled", func(rows *sql.Rows) error {
		var name string
		var upTo int64
		err := rows.Scan(&name, &upTo)
		l.reconciled[name] = upTo
		return err
	})
}

// loadOutboxes sets each outbox to its checkpoint and replays the journal after it.
func (l *Log) loadOutboxes() error {
	err := l.each("SELECT remote, number, crc, data FROM outbox", func(rows *sql.Rows) error {
		o, number, data, err := l.scanJournal(rows)
		if err != nil || o == nil {
			return err
		}
		return o.readCheckpoint(number, data)
	})
	if err != nil {
		return err
	}
	return l.each("SELECT remote, number, crc, data FROM step ORDER BY remote, number", func(rows *sql.Rows) error {
		o, number, data, err := l.scanJournal(rows)
		if err != nil || o == nil {
			return err
		}
		return o.replay(number, data)
	})
}

func (l *Log) scanJournal(rows *sql.Rows) (*Outbox, uint64, []byte, error) {
	var remote uint32
	var number uint64
	var crc int64
	var data []byte
	if err := rows.Scan(&remote, &number, &crc, &data); err != nil {
		return nil, 0, nil, err
	}
	o := l.outboxes[remote]
	if want := seal(data, uint64(remote), number); want != uint32(crc) {
		return nil, 0, nil, fmt.Errorf("journal %d of remote %d has checksum %08x, want %08x: %w",
			number, remote, uint32(crc), want, bridge.ErrCorrupt)
	}
	return o, number, data, nil
}

func (l *Log) loadParked() error {
	return l.each("SELECT count(*), coalesce(sum(length(data)), 0) FROM parked", func(rows *sql.Rows) error {
		err := rows.Scan(&l.parked.records, &l.parked.bytes)
		l.live += l.parked.bytes
		return err
	})
}

func (l *Log) loadGaps() error {
	err := l.each("SELECT seq FROM sqlite_sequence WHERE name='gap'", func(rows *sql.Rows) error { return rows.Scan(&l.lastGap) })
	if err != nil {
		return err
	}
	return l.each("SELECT id, stream, first, last, reason, noted FROM gap ORDER BY id", func(rows *sql.Rows) error {
		var g bridge.Gap
		var noted int64
		if err := rows.Scan(&g.ID, &g.Stream, &g.From, &g.To, &g.Reason, &noted); err != nil {
			return err
		}
		g.Noted = time.UnixMicro(noted)
		l.gaps = append(l.gaps, g)
		return nil
	})
}

func (l *Log) loadLosses() error {
	const query = "SELECT count(*), coalesce(sum(records) FILTER (WHERE records>=0), 0), count(*) FILTER (WHERE records<0) FROM loss"
	return l.each(query, func(rows *sql.Rows) error { return rows.Scan(&l.losses.rows, &l.losses.records, &l.losses.unknown) })
}

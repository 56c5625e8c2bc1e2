package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// NoteGap implements bridge.Gaps.
func (l *Log) NoteGap(ctx context.Context, g bridge.Gap) error {
	if g.Noted.IsZero() {
		g.Noted = time.Now()
	}
	l.mu.Lock()
	l.lastGap++
	g.ID = l.lastGap
	l.mu.Unlock()
	w := &write{small: true, end: func(err error) {
		if err == nil {
			l.gaps = append(l.gaps, g)
		}
	}}
	w.put = func(t *tx) error {
		return t.exec(sqlGap, g.ID, g.Stream, g.From, g.To, g.Reason, g.Noted.UnixMicro())
	}
	if err := l.submit(ctx, w); err != nil {
		return fmt.Errorf("note gap in %s: %w", g.Stream, err)
	}
	return nil
}

// OpenGaps implements bridge.Gaps.
func (l *Log) OpenGaps() ([]bridge.Gap, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.gaps), nil
}

// CloseGap implements bridge.Gaps. A gap that is not open is closed already.
func (l *Log) CloseGap(ctx context.Context, id int64) error {
	w := &write{small: true}
	w.put = func(t *tx) error { return t.exec(sqlDropGap, id) }
	w.end = func(err error) {
		if err == nil {
			l.dropGaps(id)
		}
	}
	if err := l.submit(ctx, w); err != nil {
		return fmt.Errorf("close gap %d: %w", id, err)
	}
	return nil
}

// dropGaps forgets gaps that are closed; Log.mu is held.
func (l *Log) dropGaps(ids ...int64) {
	l.gaps = slices.DeleteFunc(l.gaps, func(g bridge.Gap) bool { return slices.Contains(ids, g.ID) })
}

// Lose implements bridge.Gaps.
func (l *Log) Lose(ctx context.Context, loss bridge.Loss, closes ...int64) error {
	if err := l.lose(ctx, loss, slices.Clone(closes)); err != nil {
		return fmt.Errorf("note a loss of %s: %w", loss.Stream, err)
	}
	return nil
}

func (l *Log) lose(ctx context.Context, loss bridge.Loss, closes []int64) error {
	if loss.From > loss.To || loss.Records < -1 {
		return fmt.Errorf("%d records from %d to %d: %w", loss.Records, loss.From, loss.To, bridge.ErrRejected)
	}
	if loss.Noted.IsZero() {
		loss.Noted = time.Now()
	}
	var change lossSum
	w := &write{small: true}
	w.put = func(t *tx) (err error) {
		if change, err = t.lose(loss); err != nil {
			return err
		}
		for _, id := range closes {
			if err := t.exec(sqlDropGap, id); err != nil {
				return err
			}
		}
		return nil
	}
	w.end = func(err error) {
		if err == nil {
			l.losses.add(change)
			l.dropGaps(closes...)
		}
	}
	return l.submit(ctx, w)
}

// lossSum is what memory holds of the list of losses.
type lossSum struct {
	rows    int
	records int64 // of those that are known
	unknown int   // rows without a number
}

func (s *lossSum) add(o lossSum) {
	s.rows, s.records, s.unknown = s.rows+o.rows, s.records+o.records, s.unknown+o.unknown
}

// count adds n rows like l, or takes one away with -1.
func (s *lossSum) count(l bridge.Loss, n int) {
	if s.rows += n; l.Records < 0 {
		s.unknown += n
	} else {
		s.records += int64(n) * l.Records
	}
}

// lose puts a loss into the list. The returned sum is by how much that changes it.
func (t *tx) lose(l bridge.Loss) (change lossSum, err error) {
	rows, err := t.stmts[sqlLosses].Query(l.Stream)
	if err != nil {
		return change, fmt.Errorf("read losses: %w", classify(err))
	}
	list, err := scanLosses(rows)
	if err != nil {
		return change, err
	}
	whole, replaces := l.Into(list)
	change.count(whole, 1)
	for _, o := range list {
		if !slices.Contains(replaces, o.ID) {
			continue
		}
		change.count(o, -1)
		if err := t.exec(sqlDropLoss, o.ID); err != nil {
			return change, err
		}
	}
	var id any // a new one
	if whole.ID != 0 {
		id = whole.ID
	}
	return change, t.exec(sqlLoss, id, whole.Stream, whole.From, whole.To, whole.Records, whole.Reason, whole.Noted.UnixMicro())
}

// Losses returns up to max of what is known to be lost, the newest first. One that has grown is as old as its first part.
func (l *Log) Losses(ctx context.Context, max int) ([]bridge.Loss, error) {
	rows, err := l.reader.QueryContext(ctx, lossColumns+" ORDER BY id DESC LIMIT ?", max)
	if err != nil {
		return nil, fmt.Errorf("read losses: %w", l.readError(err))
	}
	list, err := scanLosses(rows)
	if err != nil {
		return nil, l.readError(err)
	}
	return list, nil
}

const lossColumns = "SELECT id, stream, first, last, records, reason, noted FROM loss"

// scanLosses reads all rows and closes them.
func scanLosses(rows *sql.Rows) (list []bridge.Loss, err error) {
	defer rows.Close()
	for rows.Next() {
		l, err := scanLoss(rows)
		if err != nil {
			return nil, fmt.Errorf("read losses: %w", err)
		}
		list = append(list, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read losses: %w", classify(err))
	}
	return list, nil
}

func scanLoss(rows *sql.Rows) (l bridge.Loss, err error) {
	var noted int64
	err = rows.Scan(&l.ID, &l.Stream, &l.From, &l.To, &l.Records, &l.Reason, &noted)
	l.Noted = time.UnixMicro(noted)
	return l, err
}

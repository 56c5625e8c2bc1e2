package ledger

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// hasChores reports whether there is something to tidy.
func (l *Log) hasChores() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.due(true)) > 0 || len(l.thinRows()) > 0
}

// due returns the settled rows that may go now, in an idle moment or when it is worth a commit's while; Log.mu is held.
func (l *Log) due(idle bool) []*row {
	n, size := 0, 0
	limit := time.Now().UnixMicro() - time.Duration(l.cfg.KeepDelivered).Microseconds()
	over := l.live + l.reserved + l.kept - int64(l.cfg.Quota)
	for n < len(l.finished) && n < l.limits.drops && size < l.limits.dropBytes && (l.finished[n].done <= limit || over > int64(size)) {
		size += l.finished[n].bytes
		n++
	}
	if !idle && !l.diskFull && over <= 0 && n < l.limits.dropAt && size < l.limits.dropAtBytes {
		return nil
	}
	return l.finished[:n]
}

// thinRows returns the rows that are to be rewritten now; Log.mu is held.
func (l *Log) thinRows() []*row {
	var out []*row
	l.thin = slices.DeleteFunc(l.thin, func(r *row) bool { return r.stream == nil || r.left == 0 || r.bytes < l.limits.rewriteBytes })
	for _, r := range l.thin {
		if r.number+l.limits.rewriteAge <= l.nextRow && len(out) < l.limits.rewrites {
			out = append(out, r)
		}
	}
	return out
}

// chores tidies inside a transaction, one of its own in an idle moment. The returned end applies that to memory, or takes it back.
func (l *Log) chores(t *tx, idle bool) (end func(done bool), err error) {
	l.mu.Lock()
	due, thin := slices.Clone(l.due(idle)), l.thinRows()
	l.mu.Unlock()
	var undo []func()
	var rewritten []rewrite
	end = func(done bool) {
		if !done {
			for _, u := range slices.Backward(undo) {
				u()
			}
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dropped(due)
		for _, w := range rewritten {
			l.applyRewrite(w)
		}
	}
	for _, s := range spans(due) {
		if err := t.exec(sqlDropBatch, int64(s.first), int64(s.last)); err != nil {
			return end, err
		}
		u, err := l.gone.put(t, s)
		if err != nil {
			return end, err
		}
		undo = append(undo, u)
	}
	for _, r := range thin {
		w, err := l.rewrite(t, r)
		if err != nil {
			return end, err
		}
		rewritten = append(rewritten, w)
	}
	return end, nil
}

// spans returns the numbers of rows as runs.
func spans(rows []*row) []span {
	var out []span
	numbers := make([]uint64, 0, len(rows))
	for _, r := range rows {
		numbers = append(numbers, r.number)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		if len(out) > 0 && out[len(out)-1].last+1 == n {
			out[len(out)-1].last = n
			continue
		}
		out = append(out, span{n, n})
	}
	return out
}

// dropped forgets deleted rows, which are the first of finished; Log.mu is held.
func (l *Log) dropped(rows []*row) {
	for _, r := range rows {
		l.kept -= int64(r.bytes)
		l.forget(r)
		l.rows.drop(r)
	}
	l.finished = l.finished[len(rows):]
	if len(l.finished) == 0 {
		l.finished = nil
	}
}

// rewrite is a row with its settled messages left out; data is nil where too much is still to be sent to be worth it.
type rewrite struct {
	row  *row
	data []byte
}

func (l *Log) rewrite(t *tx, r *row) (rewrite, error) {
	l.mu.Lock()
	keep, count := l.unsettled(r)
	remotes, stream, noted, total := r.remotes, r.stream.id, r.noted, r.count
	l.mu.Unlock()
	if count > total/4 {
		return rewrite{row: r}, nil
	}
	ms, err := l.messages(r.number)
	if err != nil {
		return rewrite{}, err
	}
	data := appendRowHead(nil, remotes)
	var before *bridge.Message
	skip := 0
	for i := range ms {
		if !keep.Has(i) {
			skip++
			continue
		}
		data = appendMessage(data, &ms[i], before, skip)
		before, skip = &ms[i], 0
	}
	crc := seal(data, r.number, uint64(stream), uint64(total), uint64(noted))
	return rewrite{row: r, data: data}, t.exec(sqlRewrite, int64(crc), data, int64(r.number))
}

// unsettled returns the messages of a row that some remote has still to send, and their number; Log.mu is held.
func (l *Log) unsettled(r *row) (bridge.Bitmap, int) {
	keep, n := bridge.NewBitmap(r.count), 0
	for i := range r.count {
		for _, id := range r.remotes {
			o := l.outboxes[id]
			if o == nil {
				continue // removed from the configuration
			}
			if sh := o.shares[r.number]; sh != nil && !sh.settled.Has(i) {
				keep.Set(i)
				n++
				break
			}
		}
	}
	return keep, n
}

func (l *Log) applyRewrite(w rewrite) {
	l.thin = slices.DeleteFunc(l.thin, func(r *row) bool { return r == w.row })
	if w.data == nil {
		w.row.thin = false
		return
	}
	l.forget(w.row)
	l.live -= int64(w.row.bytes - len(w.data))
	w.row.bytes = len(w.data)
}

// tend does what is due between commits: the checkpoint of the write-ahead log, the ballast, the epoch file.
func (l *Log) tend() error {
	if l.wal >= l.limits.wal {
		if err := l.checkpointWAL(); err != nil {
			return err
		}
	}
	now := time.Now()
	if now.Sub(l.tended) < l.limits.tend {
		return nil
	}
	l.tended = now
	err := errors.Join(l.ballast.restore(), l.noteEpoch())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.diskFull = l.diskFull && !l.ballast.there
	if err != nil {
		l.note(err) // neither is needed to go on; both are tried again
	}
	return nil
}

func (l *Log) checkpointWAL() error {
	l.wal = 0
	var busy, frames, done int
	bridge.CrashPoint("ledger.checkpoint.before")
	err := classify(l.tx.checkpoint.QueryRow().Scan(&busy, &frames, &done))
	bridge.CrashPoint("ledger.checkpoint.after")
	if err == nil {
		return nil
	}
	if !errors.Is(err, errDiskFull) {
		// The database file may have taken a page and not kept it. A new start reads the write-ahead log again.
		return fmt.Errorf("checkpoint: %w: %w", bridge.ErrUnknown, err)
	}
	l.mu.Lock()
	l.note(err) // the write-ahead log keeps what is not copied; the next checkpoint tries again
	l.mu.Unlock()
	_, err = l.dropBallast()
	return err
}

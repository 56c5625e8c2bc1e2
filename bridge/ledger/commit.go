package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// write is one caller's part of a transaction. put and end are called by the committer only: put inside the transaction, and again in a
// new one when the first had to be rolled back; end once, with Log.mu held, when the outcome is known (nil: durable).
type write struct {
	put     func(*tx) error
	end     func(error)
	size    int  // bytes, roughly
	small   bool // fits into the reserve: goes on where an Append gets ErrFull
	patient bool // waits as long as its caller, whatever the deadline
	taken   bool // guarded by Log.mu
	done    chan error
}

// maxGroup is the size at which a transaction takes no further write: what one fsync can carry in good time, and what the
// write-ahead log has to hold at least.
const maxGroup = 16 << 20

// submit hands w to the committer and waits. ErrUnknown where ctx or the deadline ended after the committer had taken it; a write that
// it had not taken is withdrawn, and has failed.
func (l *Log) submit(ctx context.Context, w *write) error {
	w.done = make(chan error, 1)
	l.mu.Lock()
	if err := l.refusal(); err != nil {
		w.end(err)
		l.mu.Unlock()
		return err
	}
	l.queue = append(l.queue, w)
	l.mu.Unlock()
	wake(l.waiting)
	var late <-chan time.Time
	if !w.patient {
		deadline := time.NewTimer(l.cfg.CommitDeadline)
		defer deadline.Stop()
		late = deadline.C
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return l.withdraw(w, context.Cause(ctx))
	case <-late:
		return l.withdraw(w, context.DeadlineExceeded)
	}
}

// refusal is why no write is taken at all; Log.mu is held.
func (l *Log) refusal() error {
	switch {
	case l.broken != nil:
		return l.broken
	case l.closed:
		return bridge.ErrClosed
	}
	return nil
}

func (l *Log) withdraw(w *write, cause error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case err := <-w.done:
		return err
	default:
	}
	if w.taken {
		return fmt.Errorf("commit has not reported: %w (%w)", bridge.ErrUnknown, cause)
	}
	l.queue = slices.DeleteFunc(l.queue, func(q *write) bool { return q == w })
	err := fmt.Errorf("commit was not begun: %w", cause)
	w.end(err)
	return err
}

// wake makes the receiver of ch look; one token is enough for any number of reasons.
func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Run commits what is submitted, until ctx ends: then it commits what is waiting and returns nil. It returns an error that the process
// must stop for: ErrCorrupt where our own data is bad, ErrUnknown where a commit failed half way.
func (l *Log) Run(ctx context.Context) error {
	defer l.shut()
	idle := time.NewTicker(l.limits.idle)
	defer idle.Stop()
	for {
		ws := l.take()
		if err := l.failure(); err != nil && len(ws) == 0 {
			return err
		}
		if len(ws) == 0 {
			select {
			case <-l.waiting:
				l.gather(ctx)
				continue
			case <-idle.C:
				if !l.hasChores() {
					if err := l.tend(); err != nil {
						return err
					}
					continue
				}
			case <-ctx.Done():
				return l.drain()
			}
		}
		if err := l.round(ws); err != nil {
			return err
		}
	}
}

// gather waits a little for more writes where commits are slow. What a commit has ended, an Append, wakes two that write next: its sender
// and the pumps. Without this the quicker one has a commit of its own, and the other waits for that: twice the fsyncs.
func (l *Log) gather(ctx context.Context) {
	if l.took < slowCommit {
		return
	}
	pause := time.NewTimer(min(l.took/8, time.Millisecond))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}

// slowCommit is from where on a wait for other writes costs less than it saves.
const slowCommit = 2 * time.Millisecond

func (l *Log) drain() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	bridge.CrashPoint("ledger.drain")
	for ws := l.take(); len(ws) > 0; ws = l.take() {
		if err := l.round(ws); err != nil {
			return err
		}
	}
	return l.noteEpoch()
}

// shut refuses what comes after the committer.
func (l *Log) shut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, w := range l.queue {
		w.end(bridge.ErrClosed)
		w.done <- bridge.ErrClosed
	}
	l.queue = nil
}

// stop makes Run return err: what was read is not what was written. It returns err.
func (l *Log) stop(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.broken = err
		wake(l.waiting)
	}
	return err
}

// take returns the writes of the next transaction, in the order they came.
func (l *Log) take() []*write {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 0
	for n < len(l.queue) && (n == 0 || size+l.queue[n].size <= maxGroup) {
		l.queue[n].taken = true
		size += l.queue[n].size
		n++
	}
	l.group = append(l.group[:0], l.queue[:n]...)
	l.queue = slices.Delete(l.queue, 0, n)
	return l.group
}

// round is one turn of the committer: a transaction, its report, and what is due after it.
func (l *Log) round(ws []*write) error {
	err := l.failure()
	if err == nil {
		err = l.commit(ws)
	}
	if err != nil {
		l.report(ws, l.stop(err))
		return err
	}
	return l.tend()
}

// failure is why the process must stop.
func (l *Log) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// commit makes ws durable and reports to each. An error means that the process must stop; then nobody has been told.
func (l *Log) commit(ws []*write) error {
	err := l.refuseLarge(&ws)
	if err == nil {
		if len(ws) == 0 && !l.hasChores() {
			return nil
		}
		err = l.transact(ws)
	}
	switch {
	case err == nil:
		l.report(ws, nil)
		return nil
	case errors.Is(err, bridge.ErrCorrupt), errors.Is(err, bridge.ErrUnknown):
		return err
	case errors.Is(err, errDiskFull):
		dropped, fatal := l.dropBallast()
		if fatal != nil {
			return fatal
		}
		if dropped {
			return l.commit(ws) // the small ones; refuseLarge sends the others back
		}
	case len(ws) > 1 && !errors.Is(err, errNotBegun):
		// One of them is the reason. Alone, it fails alone.
		for _, w := range slices.Clone(ws) {
			if err := l.commit([]*write{w}); err != nil {
				return err
			}
		}
		return nil
	}
	l.report(ws, err)
	return nil
}

// refuseLarge tells ErrFull to the writes that must wait until there is a reserve again.
func (l *Log) refuseLarge(ws *[]*write) error {
	if l.ballast.there {
		return nil
	}
	full, err := l.noReserve()
	if err != nil || !full {
		return err
	}
	var large []*write
	*ws = slices.DeleteFunc(slices.Clone(*ws), func(w *write) bool {
		if !w.small {
			large = append(large, w)
		}
		return !w.small
	})
	l.report(large, errDiskFull)
	return nil
}

// noReserve looks for room where the ballast is gone: pages of the database that are free are as good. Without this a ledger that had
// filled the disk itself would stay shut when all was sent, because its file does not shrink.
func (l *Log) noReserve() (bool, error) {
	var pages int64
	if err := l.tx.freePages.QueryRow().Scan(&pages); err != nil {
		return true, fmt.Errorf("count free pages: %w", classify(err))
	}
	full := pages*pageSize < l.ballast.size+maxGroup
	l.mu.Lock()
	defer l.mu.Unlock()
	l.diskFull = full
	return full, nil
}

// errNotBegun is a transaction that someone else's, as of an operator's shell, did not let begin.
var errNotBegun = errors.New("transaction was not begun")

// commitOverhead is about what a write adds to the write-ahead log beyond its own bytes: a few pages that it shares with others.
const commitOverhead = 4 * pageSize

// transact runs one transaction: all of ws and the chores, or nothing.
func (l *Log) transact(ws []*write) error {
	began := time.Now()
	t := l.tx
	if err := t.exec(sqlBegin); err != nil {
		return fmt.Errorf("%w: %w", errNotBegun, err)
	}
	t.row = l.nextRow
	tidied := func(bool) {}
	err := func() error {
		for _, w := range ws {
			if err := w.put(t); err != nil {
				return err
			}
		}
		var err error
		tidied, err = l.chores(t, len(ws) == 0)
		return err
	}()
	if err == nil {
		err = l.sync(t)
	}
	if err != nil {
		tidied(false)
		return t.abort(err)
	}
	tidied(true)
	for _, w := range ws {
		l.wal += int64(w.size) + commitOverhead
	}
	l.took = time.Since(began)
	return nil
}

// sync ends a transaction: one fsync, and hardly anything else.
func (l *Log) sync(t *tx) error {
	began := time.Now()
	bridge.CrashPoint("ledger.commit.before")
	err := t.exec(sqlCommit)
	bridge.CrashPoint("ledger.commit.after")
	if err == nil && l.after != nil {
		err = l.after()
	}
	switch {
	case errors.Is(err, errDiskFull):
		return err
	case err != nil:
		// The log may hold the whole transaction or half of it, and the page cache is not to be trusted after a failed fsync: only a
		// new start can tell.
		return fmt.Errorf("%w: %w", bridge.ErrUnknown, err)
	}
	if l.cfg.Metrics != nil {
		l.cfg.Metrics.LedgerFsync.Observe(time.Since(began))
	}
	return nil
}

// report ends writes and wakes their callers.
func (l *Log) report(ws []*write, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range ws {
		w.end(err)
		w.done <- err
	}
}

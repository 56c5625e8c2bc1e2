package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// passing is an Append that passes records of these times, with payloads of size bytes.
func passing(stream string, size int, times ...int64) *bridge.Append {
	a := benchAppend(stream, len(times), size)
	for i, t := range times {
		a.Keys[i].Time, a.Messages[i].Time = t, t
	}
	return a
}

func mustAppend(t testing.TB, l *running, a *bridge.Append) {
	t.Helper()
	if err := l.Append(context.Background(), a); err != nil {
		t.Fatal(err)
	}
}

func isFresh(l *running, stream string, t int64) (bool, error) {
	fresh := []bool{false}
	err := l.Fresh("p", stream, []bridge.Record{{Time: t}}, fresh)
	return fresh[0], err
}

// hang makes the committer stand still inside a commit, after it is durable: entered has a token when it does, release lets it go on.
func hang(l *Log) (entered chan struct{}, release chan struct{}) {
	entered, release = make(chan struct{}, 10), make(chan struct{})
	l.after = func() error {
		entered <- struct{}{}
		<-release
		return nil
	}
	return entered, release
}

// TestAppendUnknown: the caller gives up while the committer hangs; the stream takes nothing until the committer has reported, then Fresh
// tells the truth (rules 1 and 5).
func TestAppendUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var entered, release chan struct{}
		l := start(t, t.TempDir(), testConfig(), func(l *Log) { entered, release = hang(l) })
		done := make(chan error, 1)
		go func() { done <- l.Append(context.Background(), passing("b/e", 10, 1)) }()
		<-entered
		began := time.Now()
		if err := <-done; !errors.Is(err, bridge.ErrUnknown) {
			t.Fatalf("got %v, want %v", err, bridge.ErrUnknown)
		}
		if got, want := time.Since(began), l.cfg.CommitDeadline; got != want {
			t.Errorf("waited %v, want %v", got, want)
		}
		checkUnknown(t, l)
		if fresh, err := isFresh(l, "b/other", 1); err != nil || !fresh {
			t.Errorf("another stream: got %v and %v, want it to be fresh", fresh, err)
		}
		// What has not been taken by the committer when the caller gives up has failed, and is not done later.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := l.Append(ctx, passing("b/other", 10, 1))
		if err == nil || errors.Is(err, bridge.ErrUnknown) {
			t.Errorf("not taken: got %v, want a failure that is known", err)
		}
		close(release)
		mustAppend(t, l, passing("b/third", 10, 1)) // so the committer has reported
		if fresh, err := isFresh(l, "b/e", 1); err != nil || fresh {
			t.Errorf("after the report: got fresh %v and %v, want it to be seen", fresh, err)
		}
		if fresh, err := isFresh(l, "b/other", 1); err != nil || !fresh {
			t.Errorf("withdrawn: got fresh %v and %v, want it to be fresh", fresh, err)
		}
		l.stop()
	})
}

func checkUnknown(t *testing.T, l *running) {
	t.Helper()
	ctx := context.Background()
	_, fresh := isFresh(l, "b/e", 1)
	for name, err := range map[string]error{
		"fresh": fresh, "append": l.Append(ctx, passing("b/e", 10, 2)),
		"want": l.Want(ctx, "p", "b/e", []bridge.Key{{Time: 1, Revision: 1}}, []bool{false}),
	} {
		if !errors.Is(err, bridge.ErrUnknown) {
			t.Errorf("%s while unknown: got %v, want %v", name, err, bridge.ErrUnknown)
		}
	}
}

// TestCommitWaits: a disk that hangs holds senders, which are told so, and ends nothing: a pump waits for it (rule 19 is its caller's ctx).
func TestCommitWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := start(t, dir, testConfig())
		mustAppend(t, l, passing("b/e", 10, 1))
		l.stop()
		var entered, release chan struct{}
		l = start(t, dir, testConfig(), func(l *Log) { entered, release = hang(l) })
		done := make(chan error, 1)
		go func() {
			done <- l.Outbox("a").Commit(context.Background(), &bridge.Step{Claims: []bridge.Claim{{Ref: bridge.Ref{Row: 1}}}})
		}()
		<-entered
		time.Sleep(10 * l.cfg.CommitDeadline)
		select {
		case err := <-done:
			t.Fatalf("while the disk hangs: got %v, want nothing", err)
		default:
		}
		close(release)
		if err := <-done; err != nil {
			t.Errorf("afterwards: %v", err)
		}
		l.stop()
	})
}

// TestCommitUnknown: the caller gives up while the committer hangs; the outbox takes nothing more, and what was durable is there after a new start.
func TestCommitUnknown(t *testing.T) {
	dir := t.TempDir()
	step := &bridge.Step{Claims: []bridge.Claim{{Ref: bridge.Ref{Row: 1}}}}
	synctest.Test(t, func(t *testing.T) {
		l := start(t, dir, testConfig())
		mustAppend(t, l, passing("b/e", 10, 1))
		l.stop()
		var entered, release chan struct{}
		l = start(t, dir, testConfig(), func(l *Log) { entered, release = hang(l) })
		ctx, cancel := context.WithTimeout(context.Background(), l.cfg.CommitDeadline)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- l.Outbox("a").Commit(ctx, step) }()
		<-entered
		if err := <-done; !errors.Is(err, bridge.ErrUnknown) {
			t.Fatalf("got %v, want %v", err, bridge.ErrUnknown)
		}
		close(release)
		if err := l.Outbox("a").Commit(context.Background(), &bridge.Step{}); !errors.Is(err, bridge.ErrUnknown) {
			t.Errorf("after it: got %v, want %v", err, bridge.ErrUnknown)
		}
		if err := l.Outbox("b").Commit(context.Background(), step); err != nil {
			t.Errorf("another remote: %v", err)
		}
		l.stop()
	})
	l := start(t, dir, testConfig())
	r, err := l.Outbox("a").Restore(context.Background(), "")
	if err != nil || len(r.Claims) != 1 {
		t.Errorf("got %+v and %v, want the claim", r, err)
	}
}

// TestCommitFails: a COMMIT that fails half way has an outcome that nobody knows. All callers are told so, Run ends, and a new start finds
// what the disk has: here, all of it.
func TestCommitFails(t *testing.T) {
	dir := t.TempDir()
	l, err := openWith(context.Background(), dir, testConfig(), testLimits())
	if err != nil {
		t.Fatal(err)
	}
	l.after = func() error { return errors.New("fsync: input/output error") }
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	if err := l.Append(context.Background(), passing("b/e", 10, 1)); !errors.Is(err, bridge.ErrUnknown) {
		t.Errorf("append: got %v, want %v", err, bridge.ErrUnknown)
	}
	if err := l.Fresh("p", "b/e", make([]bridge.Record, 1), make([]bool, 1)); !errors.Is(err, bridge.ErrUnknown) {
		t.Errorf("fresh: got %v, want %v", err, bridge.ErrUnknown)
	}
	if err := <-ended; !errors.Is(err, bridge.ErrUnknown) {
		t.Errorf("run: got %v, want %v", err, bridge.ErrUnknown)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if fresh, err := isFresh(start(t, dir, testConfig()), "b/e", 1); err != nil || fresh {
		t.Errorf("after a new start: got fresh %v and %v, want it to be seen", fresh, err)
	}
}

// TestFsyncMetric: it has the COMMIT, not the statements before it.
func TestFsyncMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Metrics = new(bridge.Metrics)
		l := start(t, t.TempDir(), cfg, func(l *Log) {
			l.after = func() error { time.Sleep(3 * time.Second); return nil } // of the test's clock
		})
		w := &write{small: true, end: func(error) {}, put: func(*tx) error { time.Sleep(time.Second); return nil }}
		if err := l.submit(context.Background(), w); err != nil {
			t.Fatal(err)
		}
		l.stop()
		if _, n, sum := cfg.Metrics.LedgerFsync.Read(); n != 1 || sum != 3*time.Second {
			t.Errorf("got %d commits of %v, want 1 of 3s", n, sum)
		}
	})
}

// TestClosed: the end of Run takes what waits, and refuses what comes after.
func TestClosed(t *testing.T) {
	l, err := Open(context.Background(), t.TempDir(), testConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(context.Background(), passing("b/e", 10, 1)); !errors.Is(err, bridge.ErrClosed) {
		t.Errorf("got %v, want %v", err, bridge.ErrClosed)
	}
}

// TestQuota: an Append beyond the quota is ErrFull, claims and acknowledgements still fit, and what they settle makes room (rule 19).
func TestQuota(t *testing.T) {
	cfg := testConfig()
	cfg.Quota = 1 << 20
	l := start(t, t.TempDir(), cfg)
	rows := 0
	for ; ; rows++ {
		err := l.Append(context.Background(), passing("b/e", 100_000, int64(rows)))
		if errors.Is(err, bridge.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if rows > 20 {
			t.Fatalf("%d rows of 100 kB in 1 MiB", rows)
		}
	}
	if st := l.Stats(); st.Live > int64(cfg.Quota) || st.Backlog[0].Records != int64(rows) || st.Backlog[0].Oldest < 0 {
		t.Errorf("got %+v, want %d records within the quota", st, rows)
	}
	for _, remote := range []string{"a", "b"} {
		settleRow(t, l.Outbox(remote), 1)
	}
	if fresh, err := isFresh(l, "b/e", int64(rows)); err != nil || !fresh {
		t.Errorf("what was refused: got fresh %v and %v, want it to be fresh", fresh, err)
	}
	mustAppend(t, l, passing("b/e", 100_000, int64(rows)))
}

// TestLargerThanQuota: an Append that no empty ledger has room for goes in alone, and nothing beside it.
func TestLargerThanQuota(t *testing.T) {
	ctx := context.Background()
	cfg := testConfig()
	cfg.Quota = minQuota
	l := start(t, t.TempDir(), cfg)
	large := func(at int64) *bridge.Append { return passing("b/e", minQuota+1, at) }
	mustAppend(t, l, large(1))
	for name, a := range map[string]*bridge.Append{"large": large(2), "small": passing("b/e", 1, 2)} {
		if err := l.Append(ctx, a); !errors.Is(err, bridge.ErrFull) {
			t.Errorf("%s while the first waits: got %v, want %v", name, err, bridge.ErrFull)
		}
	}
	for _, remote := range []string{"a", "b"} {
		settleRow(t, l.Outbox(remote), 1)
	}
	mustAppend(t, l, large(2))
}

// settleRow claims all messages of a row and calls them delivered.
func settleRow(t testing.TB, o *Outbox, number uint64) {
	t.Helper()
	ctx := context.Background()
	r, err := o.Restore(ctx, "far")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := o.Next(ctx, number-1, 1)
	if err != nil {
		t.Fatal(err)
	}
	claim, done := &bridge.Step{}, &bridge.Step{}
	for i := range rows[0].Count {
		n := r.Next[0] + uint64(i)
		claim.Claims = append(claim.Claims, bridge.Claim{Ref: bridge.Ref{Row: number, Index: uint32(i)}, Number: n})
		done.Acks = append(done.Acks, bridge.Ack{Number: n, Kind: bridge.AckDelivered})
	}
	for _, s := range []*bridge.Step{claim, done} {
		if err := o.Commit(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskFull: Appends are refused, claims and acknowledgements go on in the room of the ballast, and when there is room again Appends
// go on. max_page_count stands for the disk.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := testLimits()
		limits.ballast = 64 << 10
		dir := t.TempDir()
		l := startWith(t, dir, testConfig(), limits)
		mustAppend(t, l, passing("b/e", 10, 1))
		setPages(t, l, 1)
		for range 2 {
			if err := l.Append(context.Background(), passing("b/e", 100_000, 2)); !errors.Is(err, bridge.ErrFull) {
				t.Fatalf("got %v, want %v", err, bridge.ErrFull)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "ballast")); !l.Stats().DiskFull || err == nil {
			t.Errorf("got %+v and a ballast (%v), want its room to be used", l.Stats(), err)
		}
		settleRow(t, l.Outbox("a"), 1)
		setPages(t, l, 1_000_000)
		time.Sleep(2 * limits.tend) // of the test's clock: the ballast is tried for
		synctest.Wait()
		mustAppend(t, l, passing("b/e", 100_000, 2))
		if st := l.Stats(); st.DiskFull || st.LastError == nil {
			t.Errorf("got %+v, want the last error and room", st)
		}
		l.stop()
	})
}

// setPages limits the database to n pages, or to what it has.
func setPages(t *testing.T, l *running, n int) {
	t.Helper()
	if err := l.tx.conn.QueryRowContext(context.Background(), fmt.Sprintf("PRAGMA max_page_count=%d", n)).Scan(&n); err != nil {
		t.Fatal(err)
	}
}

// TestOneWriteFails: a write that its transaction cannot take fails alone.
func TestOneWriteFails(t *testing.T) {
	bad := errors.New("bad")
	l := start(t, t.TempDir(), testConfig())
	done := make(chan error, 3)
	l.mu.Lock()
	for i := range 3 {
		w := &write{small: true, end: func(error) {}, done: done}
		w.put = func(*tx) error {
			if i == 1 {
				return bad
			}
			return nil
		}
		l.queue = append(l.queue, w)
	}
	l.mu.Unlock()
	wake(l.waiting)
	failed := 0
	for range 3 {
		if err := <-done; err != nil {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d of 3 writes failed, want 1", failed)
	}
}

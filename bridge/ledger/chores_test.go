package ledger

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// settleBut settles all messages of a row but one.
func settleBut(t *testing.T, o *Outbox, number uint64, one int) {
	t.Helper()
	r, err := o.Restore(context.Background(), "far")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := o.Next(context.Background(), number-1, 1)
	if err != nil {
		t.Fatal(err)
	}
	claim, done := &bridge.Step{}, &bridge.Step{}
	n := r.Next[0]
	for i := range rows[0].Count {
		if i != one {
			claim.Claims = append(claim.Claims, bridge.Claim{Ref: bridge.Ref{Row: number, Index: uint32(i)}, Number: n})
			done.Acks = append(done.Acks, bridge.Ack{Number: n, Kind: bridge.AckDelivered})
			n++
		}
	}
	for _, s := range []*bridge.Step{claim, done} {
		if err := o.Commit(context.Background(), s); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRewrite: a row that one blocked lane holds is rewritten small, and gives back what is left of it.
func TestRewrite(t *testing.T) {
	cfg := testConfig()
	cfg.Cache = 0
	dir := t.TempDir()
	l := startWith(t, dir, cfg, smallLimits())
	mustAppend(t, l, passing("b/e", 10_000, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
	before := l.Stats().Live
	for _, remote := range []string{"a", "b"} {
		settleBut(t, l.Outbox(remote), 1, 6)
	}
	for n := range int64(8) {
		mustAppend(t, l, passing("b/f", 10, n))
	}
	for range 2 {
		if after := l.Stats().Live; after > before/5 {
			t.Errorf("%d bytes of %d are live, want a tenth", after, before)
		}
		ms, err := l.Outbox("a").Messages(1)
		if err != nil || len(ms) != 10 || ms[6].Time != 7 || len(ms[6].Payload) != 10_000 || ms[5].Payload != nil {
			t.Errorf("got %d messages and %v, want the seventh of ten", len(ms), err)
		}
		l.stop()
		l = startWith(t, dir, cfg, smallLimits())
	}
}

// TestKeepDelivered: settled rows stay as long as asked, give way to new ones, and go without a commit to ride with.
func TestKeepDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Quota = 1 << 20
		cfg.KeepDelivered = bridge.Duration(time.Hour)
		limits := testLimits()
		limits.ballast = 0
		l := startWith(t, t.TempDir(), cfg, limits)
		settleBoth := func(number uint64) {
			settleRow(t, l.Outbox("a"), number)
			settleRow(t, l.Outbox("b"), number)
		}
		mustAppend(t, l, passing("b/e", 300_000, 1))
		settleBoth(1)
		mustAppend(t, l, passing("b/e", 300_000, 2))
		if _, err := l.Outbox("a").Messages(1); err != nil {
			t.Errorf("a kept message: %v", err)
		}
		kept := 0
		for m, err := range l.Stored("p", "b/e", 1, 1) {
			if kept++; err != nil || m.Time != 1 {
				t.Errorf("got %d and %v, want the kept message", m.Time, err)
			}
		}
		if kept != 1 {
			t.Errorf("%d messages are stored of record 1, want 1", kept)
		}
		for n := uint64(2); n < 6; n++ {
			settleBoth(n)
			mustAppend(t, l, passing("b/e", 300_000, int64(n+1)))
		}
		if st := l.Stats(); st.Live+st.Kept > int64(cfg.Quota) {
			t.Errorf("%d live and %d kept bytes, want them within the quota", st.Live, st.Kept)
		}
		if _, err := l.Outbox("a").Messages(1); !errors.Is(err, bridge.ErrRejected) {
			t.Errorf("a message that gave way: got %v, want %v", err, bridge.ErrRejected)
		}
		settleBoth(6)
		time.Sleep(time.Duration(cfg.KeepDelivered) + 2*limits.idle) // of the test's clock
		synctest.Wait()
		if st := l.Stats(); st.Kept != 0 {
			t.Errorf("%d bytes are kept after the time, want none", st.Kept)
		}
		l.stop()
	})
}

// TestDeletedRows: what every remote has settled leaves the database, in any order.
func TestDeletedRows(t *testing.T) {
	dir := t.TempDir()
	l := startWith(t, dir, testConfig(), smallLimits())
	for n := range int64(20) {
		mustAppend(t, l, passing("b/e", 10, n))
	}
	for _, n := range []uint64{3, 1, 2, 20, 7, 5, 6, 19, 12} {
		settleRow(t, l.Outbox("a"), n)
		settleRow(t, l.Outbox("b"), n)
	}
	for range 4 { // a few chores each
		if err := l.SetReconciled(context.Background(), "b/e", 1); err != nil {
			t.Fatal(err)
		}
	}
	var rows int
	if err := l.reader.QueryRow("SELECT count(*) FROM batch").Scan(&rows); err != nil || rows != 11 {
		t.Errorf("got %d rows and %v, want 11", rows, err)
	}
	if got := len(l.gone.sorted()); got != 4 {
		t.Errorf("got %d runs of deleted rows, want 4: 1-3, 5-7, 12, 19-20", got)
	}
	l.stop()
	l = startWith(t, dir, testConfig(), smallLimits())
	mustAppend(t, l, passing("b/e", 10, 100))
	if got, want := l.Stats().Rows, uint64(21); got != want {
		t.Errorf("the next row was %d, want %d: numbers of deleted rows are not given again", got, want)
	}
}

// TestDeletionWaits: settled rows are deleted when enough of them are there, or in an idle moment, not with each commit.
func TestDeletionWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := testLimits()
		limits.dropAt = 3
		l := startWith(t, t.TempDir(), testConfig(), limits)
		stored := func() (n int) {
			if err := l.reader.QueryRow("SELECT count(*) FROM batch").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for n := range int64(6) {
			mustAppend(t, l, passing("b/e", 10, n))
		}
		for _, c := range []struct {
			settle uint64
			want   int
		}{{1, 6}, {2, 6}, {3, 3}, {4, 3}} {
			settleRow(t, l.Outbox("a"), c.settle)
			settleRow(t, l.Outbox("b"), c.settle)
			if err := l.SetReconciled(context.Background(), "b/e", 1); err != nil { // a commit to ride with
				t.Fatal(err)
			}
			if got := stored(); got != c.want {
				t.Errorf("%d rows after row %d was settled, want %d", got, c.settle, c.want)
			}
		}
		time.Sleep(2 * limits.idle) // of the test's clock
		synctest.Wait()
		if got := stored(); got != 2 {
			t.Errorf("%d rows after an idle moment, want 2", got)
		}
		l.stop()
	})
}

// TestDropParked: they count against the quota until they are dropped.
func TestDropParked(t *testing.T) {
	ctx := context.Background()
	l := start(t, t.TempDir(), testConfig())
	a := passing("b/e", 1000, 1, 2)
	for _, m := range a.Messages {
		a.Parked = append(a.Parked, bridge.Parking{Message: m, Module: "m", Reason: "odd"})
	}
	a.Messages = nil
	mustAppend(t, l, a)
	ps, err := l.Parked(ctx, 0, 10)
	if err != nil || len(ps) != 2 || l.Stats().Live < 2000 {
		t.Fatalf("got %d records, %v and %+v, want two that count", len(ps), err, l.Stats())
	}
	p, found, err := l.ReadParked(ctx, ps[1].ID)
	if err != nil || !found || p.Time != 2 || p.Stream != "b/e" || p.Pipeline != "p" {
		t.Errorf("got %+v, %v and %v, want the second", p, found, err)
	}
	if err := l.DropParked(ctx, ps[0].ID, ps[1].ID, 999); err != nil {
		t.Fatal(err)
	}
	if st := l.Stats(); st.Live != 0 || st.Parked != 0 {
		t.Errorf("got %+v, want nothing live", st)
	}
	if _, found, err := l.ReadParked(ctx, ps[0].ID); err != nil || found {
		t.Errorf("got found %v and %v, want it gone", found, err)
	}
}

// TestStored: what waits and what is kept is found by the time that its record came with, oldest row first; what was deleted is not, alone or
// out of a row that was rewritten.
func TestStored(t *testing.T) {
	cfg := testConfig()
	cfg.Cache = 0
	l := startWith(t, t.TempDir(), cfg, smallLimits())
	a := passing("b/e", 5000, 0, 10, 20, 30, 40, 50, 60, 70)
	a.Messages[4].Time, a.Messages[4].Shift = 45, 5
	mustAppend(t, l, a)
	for n := range int64(5) {
		mustAppend(t, l, passing("b/f", 10, n))
	}
	mustAppend(t, l, passing("b/e", 10, 35, 100))
	stored := func(from, to int64) (times []int64) {
		for m, err := range l.Stored("p", "b/e", from, to) {
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Payload) == 0 {
				t.Errorf("message %d has no payload", m.Time)
			}
			times = append(times, m.Time-m.Shift)
		}
		return times
	}
	wantTimes := func(when string, got []int64, want ...int64) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", when, got, want)
		}
	}
	wantTimes("all", stored(-1, 1000), 0, 10, 20, 30, 40, 50, 60, 70, 35, 100)
	wantTimes("some", stored(30, 40), 30, 40, 35)
	for range l.Stored("p", "b/e", 0, 100) {
		break
	}
	wantTimes("another stream", slices.Collect(func(yield func(int64) bool) {
		for m := range l.Stored("p", "c/e", 0, 100) {
			yield(m.Time)
		}
	}))
	for _, remote := range []string{"a", "b"} {
		settleBut(t, l.Outbox(remote), 1, 4)
	}
	for n := range int64(5) {
		mustAppend(t, l, passing("b/f", 10, 10+n))
	}
	wantTimes("rewritten", stored(-1, 1000), 40, 35, 100)
}

// TestStoredWhileDeleted: a settled row that the committer has deleted, and memory has not heard of it yet, is no loss.
func TestStoredWhileDeleted(t *testing.T) {
	cfg := testConfig()
	cfg.Cache, cfg.KeepDelivered = 0, bridge.Duration(time.Hour)
	dir := t.TempDir()
	l := startWith(t, dir, cfg, testLimits())
	mustAppend(t, l, passing("b/e", 100, 1, 2, 3))
	for _, remote := range []string{"a", "b"} {
		settleRow(t, l.Outbox(remote), 1)
	}
	execute(t, dir, "DELETE FROM batch WHERE number=1")
	for m, err := range l.Stored("p", "b/e", 0, 10) {
		t.Errorf("got %v, %v, want nothing", m.Time, err)
	}
	mustAppend(t, l, passing("b/e", 100, 4))
}

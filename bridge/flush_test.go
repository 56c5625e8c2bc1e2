package bridge_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
)

// TestFlushFaults: what a module holds back is said once, whatever becomes of the write that says it (rules 3 and 4).
func TestFlushFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault bridgetest.Fault
		err   error
	}{
		{"works", bridgetest.Works, nil},
		{"failed", bridgetest.Fails, bridgetest.ErrInjected},
		{"failed, yet persisted", bridgetest.FailsStored, bridgetest.ErrInjected},
		{"ledger full", bridgetest.Full, bridge.ErrFull},
		{"unknown, not stored", bridgetest.Unknown, bridge.ErrUnknown},
		{"unknown, stored: the answer was lost", bridgetest.UnknownStored, bridge.ErrUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, l, _ := newIntake(t)
			if err := in.Deliver(t.Context(), batchOf(10, 20, 30)); err != nil {
				t.Fatal(err)
			}
			l.Plan(c.fault)
			if err := in.Flush(t.Context(), streamName, bridge.FlushTick); !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
			if errors.Is(c.err, bridge.ErrUnknown) {
				if err := in.Flush(t.Context(), streamName, bridge.FlushTick); !errors.Is(err, bridge.ErrUnknown) {
					t.Errorf("while the first is unknown: got %v, want %v (rule 5)", err, bridge.ErrUnknown)
				}
				l.Report("p", streamName)
			}
			for range 2 {
				if err := in.Flush(t.Context(), streamName, bridge.FlushTick); err != nil {
					t.Error(err)
				}
			}
			if err := in.Deliver(t.Context(), batchOf(20, 40)); err != nil {
				t.Fatal(err)
			}
			if got := numbers(l); got != "1 2 3 3 by 2 1" {
				t.Errorf("got %q, want the three records, what was held of them once, and the next record as the first since", got)
			}
			ms := l.Messages("p", streamName)
			if id := string(ms[3].AppendID(nil, streamName)); id != streamName+"@30~2" {
				t.Errorf("identity %s, want that of the second Append at the newest time", id)
			}
		})
	}
}

// TestFlushOfNothing: a stream that has taken nothing, or whose modules hold nothing, writes nothing.
func TestFlushOfNothing(t *testing.T) {
	in, l, c := newIntake(t)
	none := &bridge.Intake{Pipeline: "p", Ledger: l}
	for _, in := range []*bridge.Intake{none, in} {
		if err := in.Flush(t.Context(), streamName, bridge.FlushTick); err != nil {
			t.Error(err)
		}
	}
	if l.Appends() != 0 {
		t.Errorf("got %d Appends, want none", l.Appends())
	}
	c.err = bridge.ErrRetry
	l.Plan()
	if err := none.Deliver(t.Context(), batchOf(1)); err != nil {
		t.Fatal(err)
	}
	if err := in.Flush(t.Context(), streamName, bridge.FlushTick); !errors.Is(err, bridge.ErrRetry) || c.discarded != 1 {
		t.Errorf("got %v and %d discards, want %v and 1 (rule 4)", err, c.discarded, bridge.ErrRetry)
	}
}

// TestTicks: a stream is flushed while it takes batches, once more when a whole tick brought none, and at the end.
func TestTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, l, _ := newIntake(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		var tick atomic.Int64
		go func() { done <- in.RunTicks(ctx, func() time.Duration { return time.Duration(tick.Load()) }) }()
		deliver := func(times ...int64) {
			t.Helper()
			if err := in.Deliver(t.Context(), batchOf(times...)); err != nil {
				t.Fatal(err)
			}
		}
		asked := func(want int64, what string) {
			t.Helper()
			synctest.Wait()
			if got := in.Metrics.Flushes.At("p/tick").Load(); got != want {
				t.Errorf("%s: %d flushes, want %d", what, got, want)
			}
		}
		deliver(1, 2)
		time.Sleep(time.Minute)
		asked(0, "no tick")
		tick.Store(int64(10 * time.Second))
		time.Sleep(12 * time.Second)
		asked(1, "the first tick")
		deliver(3)
		time.Sleep(10 * time.Second)
		asked(2, "a tick with a batch before it")
		time.Sleep(time.Minute)
		asked(3, "a tick with none")
		in.Held(streamName, "b/other")
		in.Held(streamName)
		time.Sleep(time.Minute)
		asked(5, "streams of an earlier life")
		tick.Store(int64(24 * time.Hour))
		time.Sleep(time.Minute)
		deliver(4)
		tick.Store(int64(time.Second))
		time.Sleep(3 * time.Second)
		asked(7, "a shorter tick, while a long one lasts")
		deliver(5)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got, want := numbers(l), "1 2 2 by 2 1 1 by 2 1 1 by 2 1 1 by 3"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := times(l); !slices.Equal(got, []int64{1, 2, 2, 3, 3, 4, 4, 5, 5}) {
			t.Errorf("got times %v", got)
		}
	})
}

// TestTicksGoOn: a flush that fails is counted and asked for again; a ledger that is not ours any more is not.
func TestTicksGoOn(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"again later", bridge.ErrRetry, nil},
		{"corrupt", bridge.ErrCorrupt, bridge.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, _, chain := newIntake(t)
				if err := in.Deliver(t.Context(), batchOf(1)); err != nil {
					t.Fatal(err)
				}
				chain.err = c.err
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := in.RunTicks(ctx, func() time.Duration { return time.Second }); !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				if n := in.Metrics.Flushes.At("p/failed").Load(); (c.want == nil) != (n > 50) {
					t.Errorf("%d failed flushes were counted", n)
				}
			})
		})
	}
}

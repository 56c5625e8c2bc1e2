package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
)

const streamName = "bucket/entry"

func batchOf(times ...int64) *bridge.Batch {
	b := &bridge.Batch{Stream: streamName}
	for _, t := range times {
		b.Records = append(b.Records, bridge.Record{Time: t, Payload: fmt.Appendf(nil, "payload %d", t)})
	}
	return b
}

// times returns what of a stream was stored for sending, in order.
func times(l *bridgetest.Ledger) []int64 {
	var ts []int64
	for _, m := range l.Messages("p", streamName) {
		ts = append(ts, m.Time)
	}
	return ts
}

// counting is a chain with state: it numbers the records of a stream, as a module would that must see each exactly once. Its state is
// loaded from the ledger after a Discard.
type counting struct {
	states    bridge.States
	mu        sync.Mutex     // guards count and discarded: streams come side by side
	count     map[string]int // ahead of the ledger until the Append is done
	discarded int
	err       error
	short     bool // one verdict too few
	block     chan struct{}
	entered   chan string
}

func (c *counting) Apply(_ context.Context, stream string, rs []bridge.Record, out *bridge.Results) error {
	if c.entered != nil {
		c.entered <- stream
	}
	if c.block != nil {
		<-c.block
	}
	if c.err != nil {
		return c.err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.count[stream]
	if !ok {
		s, _, err := c.states.State("p", stream, "counting")
		if err != nil {
			return err
		}
		fmt.Sscan(string(s.Bytes), &n)
	}
	for _, r := range rs {
		n++
		r.Payload = out.Copy(fmt.Appendf(nil, "%d", n))
		out.Messages = append(out.Messages, bridge.Message{Record: r})
		out.Verdicts = append(out.Verdicts, bridge.Verdict{Kind: bridge.Passed, Outputs: 1})
	}
	if c.short {
		out.Verdicts = out.Verdicts[1:]
	}
	c.count[stream] = n
	out.States = append(out.States, bridge.State{Module: "counting", Bytes: out.Copy(fmt.Appendf(nil, "%d", n))})
	return nil
}

// Flush says how many records there were since the last flush, in a message of its own.
func (c *counting) Flush(_ context.Context, stream string, f bridge.Flush, out *bridge.Results) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.count[stream]
	if !ok {
		s, _, err := c.states.State("p", stream, "counting")
		if err != nil {
			return err
		}
		fmt.Sscan(string(s.Bytes), &n)
	}
	c.count[stream] = 0
	if c.err != nil || n == 0 {
		return c.err
	}
	r := bridge.Record{Time: f.Key.Time, Revision: f.Key.Revision, Payload: out.Copy(fmt.Appendf(nil, "%d by %d", n, f.Reason))}
	out.Messages = append(out.Messages, bridge.Message{Record: r})
	out.Verdicts = append(out.Verdicts, bridge.Verdict{Kind: bridge.Passed, Outputs: 1})
	out.States = append(out.States, bridge.State{Module: "counting", Bytes: []byte("0")})
	return nil
}

func (c *counting) Discard(stream string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.discarded++
	delete(c.count, stream)
}

func newIntake(t *testing.T) (*bridge.Intake, *bridgetest.Ledger, *counting) {
	l := bridgetest.NewLedger(t, "remote")
	c := &counting{states: l, count: make(map[string]int)}
	return &bridge.Intake{Pipeline: "p", Ledger: l, Chain: c, Metrics: new(bridge.Metrics)}, l, c
}

// numbers returns the payloads that counting gave, in order.
func numbers(l *bridgetest.Ledger) string {
	var ns []string
	for _, m := range l.Messages("p", streamName) {
		ns = append(ns, string(m.Payload))
	}
	return strings.Join(ns, " ")
}

// TestDeliverFaults: the sender keeps what was not surely stored, sends it again, and each record is counted and stored once: rules 1, 2
// and 4.
func TestDeliverFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault bridgetest.Fault
		err   error
	}{
		{"failed", bridgetest.Fails, bridgetest.ErrInjected},
		{"failed, yet persisted", bridgetest.FailsStored, bridgetest.ErrInjected},
		{"ledger full", bridgetest.Full, bridge.ErrFull},
		{"unknown, not stored", bridgetest.Unknown, bridge.ErrUnknown},
		{"unknown, stored: the answer was lost", bridgetest.UnknownStored, bridge.ErrUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := context.Background()
			in, l, chain := newIntake(t)
			if err := in.Deliver(ctx, batchOf(1, 2)); err != nil {
				t.Fatal(err)
			}
			l.Plan(c.fault)
			if err := in.Deliver(ctx, batchOf(3, 4)); !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if chain.discarded != 1 {
				t.Errorf("chain was discarded %d times, want once: its count is ahead of the ledger (rule 4)", chain.discarded)
			}
			if c.err == bridge.ErrUnknown {
				checkUnknown(t, in, l)
			}
			// The sender comes again, with the next records behind those it kept.
			if err := in.Deliver(ctx, batchOf(3, 4, 5)); err != nil {
				t.Fatalf("sent again: %v", err)
			}
			if got, want := times(l), []int64{1, 2, 3, 4, 5}; !slices.Equal(got, want) {
				t.Errorf("stored %v, want %v: each once, in order (rule 2)", got, want)
			}
			if got, want := numbers(l), "1 2 3 4 5"; got != want {
				t.Errorf("counted %s, want %s: the chain went on from the committed state (rules 3 and 4)", got, want)
			}
		})
	}
}

// checkUnknown: nothing is taken for the stream until the committer has reported (rule 5), then the truth is known.
func checkUnknown(t *testing.T, in *bridge.Intake, l *bridgetest.Ledger) {
	t.Helper()
	before := l.Appends()
	if err := in.Deliver(t.Context(), batchOf(3, 4)); !errors.Is(err, bridge.ErrUnknown) {
		t.Errorf("while unknown: got %v, want %v", err, bridge.ErrUnknown)
	}
	if got := l.Appends(); got != before {
		t.Errorf("%d Appends while unknown, want none", got-before)
	}
	other := batchOf(1)
	other.Stream = "bucket/other"
	if err := in.Deliver(t.Context(), other); err != nil {
		t.Errorf("another stream: %v", err)
	}
	l.Report("p", streamName)
}

// TestDeliverHangs: Deliver returns with its ctx while the committer hangs, and the stream's lock is free for the next request.
func TestDeliverHangs(t *testing.T) {
	for name, fault := range map[string]bridgetest.Fault{"lost": bridgetest.Hang, "stored": bridgetest.HangStored} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, l, _ := newIntake(t)
				l.Plan(fault)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if err := in.Deliver(ctx, batchOf(1)); !errors.Is(err, bridge.ErrUnknown) {
					t.Fatalf("got %v, want %v", err, bridge.ErrUnknown)
				}
				l.Report("p", streamName)
				if err := in.Deliver(t.Context(), batchOf(1)); err != nil {
					t.Fatal(err)
				}
				if got, want := numbers(l), "1"; got != want {
					t.Errorf("counted %s, want %s", got, want)
				}
			})
		})
	}
}

func TestDeliverRepeats(t *testing.T) {
	for _, c := range []struct {
		name    string
		batches [][]int64
		stored  []int64
		appends int
	}{
		{"the same batch", [][]int64{{1, 2}, {1, 2}}, []int64{1, 2}, 1},
		{"regrouped", [][]int64{{1, 2, 3}, {2, 3, 4}, {4, 5}}, []int64{1, 2, 3, 4, 5}, 3},
		{"late", [][]int64{{10, 20}, {5, 10, 15}}, []int64{10, 20, 5, 15}, 2},
		{"twice in one batch", [][]int64{{1, 1, 2}}, []int64{1, 2}, 1},
		{"empty", [][]int64{{}}, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, l, _ := newIntake(t)
			for _, b := range c.batches {
				if err := in.Deliver(t.Context(), batchOf(b...)); err != nil {
					t.Fatal(err)
				}
			}
			if got := times(l); !slices.Equal(got, c.stored) {
				t.Errorf("stored %v, want %v", got, c.stored)
			}
			if got := l.Appends(); got != c.appends {
				t.Errorf("%d Appends, want %d", got, c.appends)
			}
		})
	}
}

// TestDeliverChainFails: what the modules did not decide is not stored, and they forget that they saw it.
func TestDeliverChainFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*counting)
		err   error
	}{
		{"asks for the batch again", func(c *counting) { c.err = bridge.ErrRetry }, bridge.ErrRetry},
		{"loses a verdict", func(c *counting) { c.short = true }, bridge.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, l, chain := newIntake(t)
			c.spoil(chain)
			if err := in.Deliver(t.Context(), batchOf(1, 2)); !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if chain.discarded != 1 || l.Appends() != 0 {
				t.Errorf("got %d discards and %d Appends, want 1 and 0", chain.discarded, l.Appends())
			}
			chain.err, chain.short = nil, false
			if err := in.Deliver(t.Context(), batchOf(1, 2)); err != nil {
				t.Fatal(err)
			}
			if got, want := numbers(l), "1 2"; got != want {
				t.Errorf("counted %s, want %s", got, want)
			}
		})
	}
}

// TestDeliverWithoutChain: every record passes unchanged.
// kinds is a chain that decides by the last digit of a record's time, and says nothing of late ones.
type kinds struct{}

func (kinds) Apply(_ context.Context, _ string, rs []bridge.Record, out *bridge.Results) error {
	for _, r := range rs {
		v := bridge.Verdict{Kind: bridge.Kind(r.Time % 10)}
		if v.Kind == bridge.Passed {
			v.Outputs = 1
			out.Messages = append(out.Messages, bridge.Message{Record: r})
		}
		out.Verdicts = append(out.Verdicts, v)
	}
	return nil
}

func (kinds) Discard(string) {}

func (kinds) Flush(context.Context, string, bridge.Flush, *bridge.Results) error { return nil }

// TestDeliverLate: that a record was late is stored with its verdict, whatever that is; modules and messages see it in the flags.
func TestDeliverLate(t *testing.T) {
	l := bridgetest.NewLedger(t, "remote")
	in := &bridge.Intake{Pipeline: "p", Ledger: l, Chain: kinds{}}
	for _, b := range []*bridge.Batch{batchOf(91, 92), batchOf(41, 52, 63, 74, 91, 101)} {
		if err := in.Deliver(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	for at, late := range map[int64]bool{91: false, 92: false, 41: true, 52: true, 63: true, 74: true, 101: false} {
		v, found := l.Seen("p", streamName, bridge.Key{Time: at})
		if !found || v.Late != late || v.Kind != bridge.Kind(at%10) {
			t.Errorf("verdict on %d: got %+v, %v, want it with late %v", at, v, found, late)
		}
	}
	for _, m := range l.Messages("p", streamName) {
		if late := m.Flags&bridge.Late != 0; late != (m.Time == 41) {
			t.Errorf("message %d: late %v in its flags", m.Time, late)
		}
	}
}

func TestDeliverWithoutChain(t *testing.T) {
	l := bridgetest.NewLedger(t, "remote")
	in := &bridge.Intake{Pipeline: "p", Ledger: l}
	if err := in.Deliver(t.Context(), batchOf(1, 2)); err != nil {
		t.Fatal(err)
	}
	if got, want := numbers(l), "payload 1 payload 2"; got != want {
		t.Errorf("stored %q, want %q", got, want)
	}
}

// TestOneAtATime: while a batch of a stream is with the modules, a second one waits, another stream goes on, and a waiter gives up with its
// ctx (rule 5).
func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, l, chain := newIntake(t)
		chain.block, chain.entered = make(chan struct{}), make(chan string, 10)
		done := make(chan error, 3)
		go func() { done <- in.Deliver(t.Context(), batchOf(1)) }()
		if got := <-chain.entered; got != streamName {
			t.Fatalf("got %s, want %s", got, streamName)
		}
		go func() { done <- in.Deliver(t.Context(), batchOf(1, 2)) }()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := in.Deliver(short, batchOf(1)); !errors.Is(err, bridge.ErrRetry) {
			t.Errorf("waiter: got %v, want %v", err, bridge.ErrRetry)
		}
		if err := in.Unseen(short, streamName, []int64{1}, make([]bool, 1)); !errors.Is(err, bridge.ErrRetry) {
			t.Errorf("reconciler: got %v, want %v: it takes the same lock", err, bridge.ErrRetry)
		}
		other := batchOf(1)
		other.Stream = "bucket/other"
		go func() { done <- in.Deliver(t.Context(), other) }()
		synctest.Wait()
		if got := len(chain.entered); got != 1 {
			t.Fatalf("%d batches entered the modules, want only that of the other stream", got)
		}
		close(chain.block)
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if got, want := times(l), []int64{1, 2}; !slices.Equal(got, want) {
			t.Errorf("stored %v, want %v", got, want)
		}
	})
}

func TestUnseen(t *testing.T) {
	in, _, _ := newIntake(t)
	if err := in.Deliver(t.Context(), batchOf(1, 3)); err != nil {
		t.Fatal(err)
	}
	unseen := make([]bool, 4)
	if err := in.Unseen(t.Context(), streamName, []int64{1, 2, 3, 4}, unseen); err != nil {
		t.Fatal(err)
	}
	if want := []bool{false, true, false, true}; !slices.Equal(unseen, want) {
		t.Errorf("got %v, want %v", unseen, want)
	}
}

// TestUpdate: an update is taken once, when its whole record comes, under its own identity.
func TestUpdate(t *testing.T) {
	in, l, _ := newIntake(t)
	if err := in.Deliver(t.Context(), batchOf(1)); err != nil {
		t.Fatal(err)
	}
	labels := []bridge.Label{{Name: []byte("status"), Value: []byte("1")}}
	key := bridge.Key{Time: 1, Revision: bridge.LabelHash(labels)}
	whole := func() *bridge.Batch {
		b := batchOf(1)
		b.Records[0].Labels = labels
		return b
	}
	known := []bool{true}
	if err := in.Update(t.Context(), streamName, []bridge.Key{key}, known); err != nil || known[0] {
		t.Fatalf("got known %v and %v, want neither", known, err)
	}
	for range 2 {
		if err := in.Deliver(t.Context(), whole()); err != nil {
			t.Fatal(err)
		}
	}
	ms := l.Messages("p", streamName)
	if len(ms) != 2 || ms[1].Revision != key.Revision {
		t.Fatalf("got %+v, want the record and its update", ms)
	}
	if got, want := string(ms[1].AppendID(nil, streamName)), fmt.Sprintf("%s@1~%x", streamName, key.Revision); got != want {
		t.Errorf("got id %s, want %s", got, want)
	}
	if err := in.Update(t.Context(), streamName, []bridge.Key{key}, known); err != nil || !known[0] {
		t.Errorf("got known %v and %v, want it known", known, err)
	}
}

// A batch counts when it is taken, once, however often it was tried.
func TestDeliverCounts(t *testing.T) {
	in, l, _ := newIntake(t)
	l.Plan(bridgetest.Fails, bridgetest.Fails)
	for range 2 {
		if err := in.Deliver(t.Context(), batchOf(1, 2, 3)); !errors.Is(err, bridgetest.ErrInjected) {
			t.Fatalf("deliver: got %v, want %v", err, bridgetest.ErrInjected)
		}
	}
	for range 2 {
		if err := in.Deliver(t.Context(), batchOf(1, 2, 3)); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		counters *bridge.Counters
		want     int64
	}{"received": {&in.Metrics.RecordsReceived, 6}, "duplicate": {&in.Metrics.RecordsDuplicate, 3}} {
		if got := c.counters.At("p").Load(); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

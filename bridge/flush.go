package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// FlushReason is why modules are asked for what they hold back while no record is there. The numbers are those of the ABI.
type FlushReason int32

const (
	FlushTick     FlushReason = 2 // the tick of a window
	FlushShutdown FlushReason = 3 // the process ends
	FlushSwap     FlushReason = 4 // a module that cannot take the state over has come
)

// Flush is a request for what modules hold back of a stream. What comes of it belongs to no record, and has a key of its own.
type Flush struct {
	Reason FlushReason
	Key    Key // of Ledger.NextFlush
}

// MaxFlush is above every revision that numbers a flush and below every one that is a hash of labels: what comes of a flush travels as
// stream@time~number, the time being that of the newest record that was taken in before it.
const MaxFlush = 1 << 40

// Flushed tells whether k is that of a flush.
func (k Key) Flushed() bool { return k.Revision > 0 && k.Revision < MaxFlush }

const (
	flushesAtOnce = 8               // of the streams of a pipeline: their Appends share commits
	idleTick      = time.Second     // between two looks at a chain that has no tick
	lastFlush     = 5 * time.Second // for all streams of a pipeline at a shutdown
)

// A stream that has taken a batch is due for two ticks: the second one finds nothing new, and tells a module the end from a pause.
const ticksDue = 2

// Flush asks the modules for what they hold back of a stream, under its lock, and stores it with their state in one write (rules 3 and 5 of INVARIANTS.md).
// On error nothing was said, or it is unknown: the instances are discarded, and whoever asks again asks the state that is committed.
func (in *Intake) Flush(ctx context.Context, name string, reason FlushReason) error {
	if in.Chain == nil {
		return nil
	}
	s, err := in.take(ctx, name)
	if err != nil {
		return err
	}
	defer s.release()
	key, found, err := in.Ledger.NextFlush(in.Pipeline, name)
	if err != nil || !found {
		return err
	}
	s.results.Reset()
	if err := in.Chain.Flush(ctx, name, Flush{reason, key}, &s.results); err != nil {
		in.discard(name)
		return fmt.Errorf("flush of %s: %w", name, err)
	}
	a := Append{
		Pipeline: in.Pipeline, Stream: name, Verdicts: s.results.Verdicts,
		Messages: s.results.Messages, Parked: s.results.Parked, States: s.results.States,
	}
	if len(a.Verdicts) == 0 && len(a.States) == 0 {
		return nil
	}
	if len(a.Verdicts) > 0 {
		a.Keys = append(s.keys[:0], key)
	}
	if err := in.Ledger.Append(ctx, &a); err != nil {
		in.discard(name)
		return fmt.Errorf("append a flush of %s: %w", name, err)
	}
	in.Metrics.taken(in.Pipeline, &s.results)
	return nil
}

// Held makes streams due for a tick of which the ledger has a state from before: a window may be open in it that no record will close.
func (in *Intake) Held(streams ...string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, name := range streams {
		in.stream(name).due.CompareAndSwap(0, 1)
	}
}

// RunTicks flushes at each tick the streams that took a batch since the last one, and once more where none came. every says how long a tick is;
// 0: no module has one. When ctx ends, all streams that are due are flushed once; what that could not do in time is in the state, and
// comes after the next start.
func (in *Intake) RunTicks(ctx context.Context, every func() time.Duration) error {
	for last := time.Now(); ; {
		tick := every()
		wait := idleTick // a shorter tick may come with another module meanwhile
		if tick > 0 {
			wait = min(wait, tick-time.Since(last))
		}
		select {
		case <-ctx.Done():
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			return in.flushAll(late, FlushShutdown)
		case <-time.After(wait):
		}
		if tick > 0 && time.Since(last) < tick {
			continue
		}
		last = time.Now()
		if tick > 0 {
			if err := in.flushAll(ctx, FlushTick); err != nil {
				return err
			}
		}
	}
}

// flushAll flushes the streams that are due. One that fails stays due; only our own corruption is an error.
func (in *Intake) flushAll(ctx context.Context, reason FlushReason) error {
	var running sync.WaitGroup
	var bad firstError
	free := make(chan struct{}, flushesAtOnce)
	for name, s := range in.dueStreams() {
		free <- struct{}{}
		running.Go(func() {
			defer func() { <-free }()
			bad.note(in.flushDue(ctx, name, s, reason))
		})
	}
	running.Wait()
	return bad.err
}

func (in *Intake) flushDue(ctx context.Context, name string, s *stream, reason FlushReason) error {
	due := s.due.Load()
	err := in.Flush(ctx, name, reason)
	in.Metrics.flushed(in.Pipeline, reason, err)
	if err == nil {
		s.due.CompareAndSwap(due, due-1) // else a batch came, and it is due anew
		return nil
	}
	if errors.Is(err, ErrCorrupt) {
		return err
	}
	return nil // counted; it is asked again at the next tick
}

func (in *Intake) dueStreams() map[string]*stream {
	in.mu.Lock()
	defer in.mu.Unlock()
	due := make(map[string]*stream)
	for name, s := range in.streams {
		if s.due.Load() > 0 {
			due[name] = s
		}
	}
	return due
}

// firstError keeps the first of the errors that goroutines come to.
type firstError struct {
	mu  sync.Mutex
	err error // guarded by mu
}

func (f *firstError) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

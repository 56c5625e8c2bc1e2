package bridge

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Chain is a pipeline's modules, in their order.
type Chain interface {
	// Apply folds the records of one stream into out: one verdict for each, and what they became. Called for one stream by one
	// goroutine at a time. An error means that nothing was decided (ErrRetry: a module wants the batch again later).
	Apply(ctx context.Context, stream string, rs []Record, out *Results) error
	// Discard forgets what the modules remember of the stream beyond what was committed.
	Discard(stream string)
	// Flush adds what the modules hold back of the stream to out: one verdict, on the flush's key, where that is anything, none where it is
	// nothing. Called and failing like Apply.
	Flush(ctx context.Context, stream string, f Flush, out *Results) error
}

// Intake takes batches in for one pipeline. The zero value of Chain passes every record unchanged.
type Intake struct {
	Pipeline string
	Ledger   Ledger
	Chain    Chain
	Metrics  *Metrics // may be nil

	mu      sync.Mutex
	streams map[string]*stream // guarded by mu; never shrinks: a site has hundreds of streams, not millions
}

// stream is the lock that keeps fresh → modules → Append together, and the buffers reused under it.
type stream struct {
	lock    chan struct{} // holds one token while free; a channel, so that a waiter can give up with its ctx
	fresh   []bool
	records []Record
	keys    []Key
	results Results
	append  Append
	most    int          // records that go through the modules at once; 0 = the whole batch
	due     atomic.Int32 // ticks that are still to come
}

// Deliver takes a batch in. nil: all of it is durably ours, was before, or was dropped; the sender may forget it. Any error: the sender
// keeps it. It returns after ctx ended at the latest; what was written by then is found as seen when the batch comes again.
func (in *Intake) Deliver(ctx context.Context, b *Batch) error {
	s, err := in.take(ctx, b.Stream)
	if err != nil {
		return err
	}
	defer s.release()
	if err := s.pickFresh(in, b); err != nil {
		return err
	}
	for from := 0; from < len(s.records); {
		to := from + s.portion(len(s.records)-from)
		if err := s.deliver(ctx, in, b.Stream, from, to); err != nil {
			return err
		}
		from = to
	}
	seen := len(b.Records) - len(s.records)
	in.Metrics.received(in.Pipeline, seen, seen)
	return nil
}

// deliver decides on a part of the fresh records and appends it.
func (s *stream) deliver(ctx context.Context, in *Intake, name string, from, to int) error {
	begun := time.Now()
	err := s.decide(ctx, in, name, from, to)
	s.took(to-from, time.Since(begun), err)
	if err != nil {
		return err
	}
	if err := in.Ledger.Append(ctx, &s.append); err != nil {
		// The guests are ahead of the ledger now. Kept, they would count this batch twice when it comes again.
		in.discard(name)
		return fmt.Errorf("append %d records of %s: %w", to-from, name, err)
	}
	s.due.Store(ticksDue)
	CrashPoint("intake.appended")
	// Now, not before: whoever called comes again with the same batch after an error, many times where the ledger is full.
	in.Metrics.received(in.Pipeline, to-from, 0)
	in.Metrics.taken(in.Pipeline, &s.results)
	return nil
}

// slowModules is how long the modules may take for what goes into one Append. Whoever sends a batch does not wait for ever: with modules that work
// for long, a batch whose records all had to be done in that time would be done in vain again and again. So slow parts get smaller, and what
// is appended of a batch is seen when it comes again.
const slowModules = time.Second

// portion is how many of the records that are left go through the modules at once.
func (s *stream) portion(left int) int {
	if s.most == 0 {
		return left
	}
	return min(s.most, left)
}

// took learns from n records for which the modules took d.
func (s *stream) took(n int, d time.Duration, err error) {
	switch {
	case d > slowModules:
		s.most = max(n/2, 1)
	case err == nil && n == s.most && d < slowModules/8:
		s.most *= 2
	}
}

// Unseen sets unseen[i] where the record of times[i] was never taken in. Updates are not looked at.
func (in *Intake) Unseen(ctx context.Context, streamName string, times []int64, unseen []bool) error {
	s, err := in.take(ctx, streamName)
	if err != nil {
		return err
	}
	defer s.release()
	s.records = s.records[:0]
	for _, t := range times {
		s.records = append(s.records, Record{Time: t})
	}
	return in.Ledger.Fresh(in.Pipeline, streamName, s.records, unseen)
}

// Update notes label updates of records: known[i] where that very revision is the last that was taken in. The others pass once when their
// whole record comes.
func (in *Intake) Update(ctx context.Context, streamName string, keys []Key, known []bool) error {
	s, err := in.take(ctx, streamName)
	if err != nil {
		return err
	}
	defer s.release()
	return in.Ledger.Want(ctx, in.Pipeline, streamName, keys, known)
}

func (in *Intake) take(ctx context.Context, name string) (*stream, error) {
	in.mu.Lock()
	s := in.stream(name)
	in.mu.Unlock()
	select {
	case <-s.lock:
		return s, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for stream %s: %w", name, ErrRetry)
	}
}

// stream returns a stream, new where it is not; in.mu is held.
func (in *Intake) stream(name string) *stream {
	s := in.streams[name]
	if s == nil {
		if in.streams == nil {
			in.streams = make(map[string]*stream)
		}
		s = &stream{lock: make(chan struct{}, 1)}
		s.lock <- struct{}{}
		in.streams[name] = s
	}
	return s
}

func (s *stream) release() { s.lock <- struct{}{} }

func (in *Intake) discard(streamName string) {
	if in.Chain != nil {
		in.Chain.Discard(streamName)
	}
}

// pickFresh puts the records that the ledger does not know into s.records.
func (s *stream) pickFresh(in *Intake, b *Batch) error {
	if cap(s.fresh) < len(b.Records) {
		s.fresh = make([]bool, len(b.Records))
	}
	s.fresh = s.fresh[:len(b.Records)]
	s.records, s.keys = s.records[:0], s.keys[:0]
	if err := in.Ledger.Fresh(in.Pipeline, b.Stream, b.Records, s.fresh); err != nil {
		return fmt.Errorf("look up %d records of %s: %w", len(b.Records), b.Stream, err)
	}
	for i, r := range b.Records {
		if s.fresh[i] {
			s.records = append(s.records, r)
			s.keys = append(s.keys, Key{r.Time, r.Revision})
		}
	}
	return nil
}

// decide runs the modules on a part of the fresh records and fills s.append.
func (s *stream) decide(ctx context.Context, in *Intake, name string, from, to int) error {
	rs := s.records[from:to]
	s.results.Reset()
	if in.Chain == nil {
		passAll(rs, &s.results)
	} else if err := in.Chain.Apply(ctx, name, rs, &s.results); err != nil {
		in.discard(name)
		return fmt.Errorf("modules on %d records of %s: %w", len(rs), name, err)
	}
	if len(s.results.Verdicts) != len(rs) {
		in.discard(name)
		return fmt.Errorf("modules on %s: %d verdicts for %d records: %w", name, len(s.results.Verdicts), len(rs), ErrCorrupt)
	}
	for i := range rs {
		// Here, because modules write verdicts whole.
		s.results.Verdicts[i].Late = rs[i].Flags&Late != 0
	}
	s.append = Append{
		Pipeline: in.Pipeline, Stream: name,
		Keys: s.keys[from:to:to], Verdicts: s.results.Verdicts, Messages: s.results.Messages,
		Parked: s.results.Parked, States: s.results.States,
	}
	s.addReleased()
	return nil
}

// addReleased adds the keys of records that an earlier batch had left in a state: they are there twice from now on, and the later verdict counts.
func (s *stream) addReleased() {
	for _, r := range s.results.Released {
		s.append.Keys, s.append.Verdicts = append(s.append.Keys, r.Key), append(s.append.Verdicts, r.Verdict)
	}
}

// passAll is the chain without modules.
func passAll(rs []Record, out *Results) {
	for _, r := range rs {
		out.Verdicts = append(out.Verdicts, Verdict{Kind: Passed, Outputs: 1})
		out.Messages = append(out.Messages, Message{Record: r})
	}
}

package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
)

const (
	sampleEvery    = 64 // calls, one of which is timed
	triesPerRecord = 2
)

// stage takes a batch through one module.
type stage struct {
	*run
	*link
	in      *instance
	owner   owner // zero for a module without a state
	loaded  bool  // in holds the state that the batch begins with
	reached int   // items before this one were processed by an instance that is gone: nothing of them is logged or counted again
	tries   int   // faults that are no single record's: of load, flush and save
	record  int32 // whose outputs begin at first
	first   int
	anew    bool           // the committed state was refused and is given up
	shadow  bool           // of a Trial
	all     int64          // units, of every instance that had a part in it
	kept    *bridge.State  // of another version, to be set aside with the batch
	like    []bridge.Label // labels of the same names as the item's
	texts   map[int]string // of items that are given up or set aside, by their index
}

// pass takes all items through module l. On error nothing was decided and no instance is left that is ahead of the ledger.
func (r *run) pass(ctx context.Context, l *link) error {
	if len(r.items) == 0 && !l.due(r.flush) {
		return nil
	}
	r.forget()
	s := stage{run: r, link: l, record: -1}
	if l.Stateful() {
		s.owner = owner{r.chain.pipeline, r.stream, false}
	}
	in, mine, err := l.pool.take(ctx, s.owner)
	if err != nil {
		return retry(err)
	}
	s.in, s.loaded = in, mine || !l.Stateful()
	err = s.work(ctx)
	if s.in != nil {
		s.account()
	}
	if err != nil {
		if s.in != nil {
			l.pool.end(s.in)
		}
		return err
	}
	l.pool.put(s.in, s.owner)
	l.goesOn(r.stream)
	r.beside(ctx, l, &s)
	s.settle()
	clear(r.items)
	r.items, r.next = r.next, r.items[:0]
	return nil
}

// retry makes an error one that the whole batch may be tried again after.
func retry(err error) error { return fmt.Errorf("%w: %w", err, bridge.ErrRetry) }

func (s *stage) account() {
	s.units.Add(s.in.spent)
	s.all, s.in.spent = s.all+s.in.spent, 0
}

// work processes the batch, with a fresh instance after each fault. It ends: every record may fail twice, then it is not tried again.
func (s *stage) work(ctx context.Context) error {
	from := 0
	for {
		at, err := s.attempt(ctx, from)
		f, failed := err.(*fault)
		if !failed {
			return err
		}
		if errors.Is(f.err, errStopped) {
			return retry(context.Cause(ctx))
		}
		s.traps.Add(1)
		if err := s.blame(at, f); err != nil {
			return err
		}
		if from, err = s.renew(at, f.sound); err != nil {
			return err
		}
	}
}

// attempt processes the items from one on. Where the guest fails it returns which item that was, or their number if it was none of them.
func (s *stage) attempt(ctx context.Context, from int) (int, error) {
	n := len(s.items)
	s.in.watch, s.in.caller, s.in.muted = s.chain.watch, ctx, s.shadow || s.reached > 0
	if err := s.load(ctx); err != nil {
		return n, err
	}
	for at := from; at < n; at++ {
		if at%32 == 0 && ctx.Err() != nil {
			return at, retry(context.Cause(ctx))
		}
		s.in.muted = at < s.reached || s.shadow
		if err := s.one(at); err != nil {
			return at, err
		}
	}
	s.in.muted = s.shadow
	said, err := s.askFlush()
	if err != nil || len(s.items) == 0 && !said && s.kept == nil {
		return n, err // nothing has changed that must be stored
	}
	return n, s.save()
}

// blame notes a fault; it fails where the batch has to wait for someone.
func (s *stage) blame(at int, f *fault) error {
	if at == len(s.items) {
		if s.tries++; s.tries < triesPerRecord {
			return nil
		}
		if !s.loaded && !s.anew && s.cfg.OnState == StateAnew {
			s.anew, s.tries = true, 0
			s.say(slog.LevelWarn, "module begins anew: it refuses its state", s.stream, f)
			return nil
		}
		s.waits(s.stream, f)
		return retry(f)
	}
	it := &s.items[at]
	if it.tries++; it.tries < triesPerRecord && !f.sound {
		return nil
	}
	it.tries = triesPerRecord
	s.note(at, f.Error())
	if s.cfg.OnFault == FaultHold {
		s.waits(s.stream, f)
		return retry(f)
	}
	return nil
}

// renew puts a fresh instance in the place of one that failed (rule 4 of INVARIANTS.md) and returns the item to go on with: the same, or
// the first where the module has a state, for the committed one is that of the batch's beginning, or a flush, for what it absorbed of this
// batch has gone with the instance. A sound one stays where loading a state, or having none, makes it as good as a fresh one.
func (s *stage) renew(at int, sound bool) (int, error) {
	s.account()
	if flushes := s.in.flush != nil; !sound || flushes && !s.Stateful() {
		in, err := s.pool.replace(s.in)
		s.in = in
		if err != nil {
			s.in = nil
			return 0, retry(err)
		}
	}
	if !s.Stateful() && s.in.flush == nil {
		return at, nil
	}
	s.loaded, s.reached = !s.Stateful(), max(s.reached, at)
	s.record, s.first = -1, 0
	clear(s.next)
	s.next = s.next[:0]
	return 0, nil
}

// load brings the guest to the state that was committed last.
func (s *stage) load(ctx context.Context) error {
	if s.loaded {
		return nil
	}
	var state bridge.State
	if states := s.chain.states; states != nil && !s.anew {
		st, found, err := states.State(s.chain.pipeline, s.stream, s.name)
		if err != nil {
			return fmt.Errorf("committed state: %w", err)
		}
		if found && st.Version != s.manifest.StateVersion {
			if st, err = s.adopt(ctx, st); err != nil {
				return err
			}
		}
		state = st
	}
	if err := s.in.restore(state.Bytes); err != nil {
		if f, failed := err.(*fault); failed && len(state.Bytes) > 0 {
			f.err = fmt.Errorf("%w (a state of %d bytes that module %s wrote)", f.err, len(state.Bytes), state.SHA256)
		}
		return err
	}
	s.loaded = true
	return nil
}

// save stores the guest's state with the batch (rule 3 of INVARIANTS.md).
func (s *stage) save() error {
	if !s.Stateful() {
		return nil
	}
	b, err := s.in.state()
	if err != nil {
		return err
	}
	s.out.States = append(s.out.States, bridge.State{
		Module: s.name, SHA256: s.sha256, Version: s.manifest.StateVersion, Bytes: s.out.Copy(b),
	})
	if s.kept != nil {
		old := *s.kept
		old.Module = aside(s.name, old.Version)
		s.out.States = append(s.out.States, old)
	}
	return nil
}

// one has the guest decide on item i.
func (s *stage) one(i int) error {
	it := &s.items[i]
	if it.from != s.record {
		s.record, s.first = it.from, len(s.next)
	}
	if it.tries >= triesPerRecord {
		return s.giveUp(i)
	}
	flags := it.Flags &^ bridge.LastOfBatch
	if i == len(s.items)-1 {
		flags |= bridge.LastOfBatch
	}
	var begun time.Time
	if s.in.calls++; s.in.calls%sampleEvery == 0 {
		begun = time.Now()
	}
	s.slots(it.Labels)
	got, err := s.in.decide(&it.Message, flags, s.entry)
	if u, ok := err.(*unfit); ok {
		it.tries = triesPerRecord
		s.note(i, u.Error())
		return s.giveUp(i)
	}
	if err != nil {
		return err
	}
	if !begun.IsZero() {
		s.took.Observe(time.Since(begun))
	}
	mark := len(s.next)
	if err := s.take(i, got); err != nil {
		clear(s.next[mark:])
		s.next = s.next[:mark]
		return err
	}
	return nil
}

// note keeps a text about item i: why it failed, or why it is set aside.
func (s *stage) note(i int, text string) {
	if s.texts == nil {
		s.texts = make(map[int]string)
	}
	s.texts[i] = text
}

// giveUp decides on a record that the module cannot.
func (s *stage) giveUp(i int) error {
	it := &s.items[i]
	switch s.cfg.OnFault {
	case FaultHold:
		return fmt.Errorf("%s: %w", s.texts[i], bridge.ErrRetry)
	case FaultPass:
		it.verdict = abi.Pass
		s.next = append(s.next, item{Message: it.Message, from: it.from})
	case FaultDrop:
		it.verdict, it.reason = abi.Drop, faultReason
	default:
		it.verdict = abi.Park
	}
	return nil
}

// take notes the answer to item i and puts the outputs into s.next.
func (s *stage) take(i int, got abi.Returned) error {
	it := &s.items[i]
	it.verdict, it.reason = got.Verdict, got.Reason
	var text []byte
	if !got.Short {
		e, err := s.read(abi.ExportProcess, got)
		if err != nil {
			return err
		}
		it.verdict, it.reason = e.Verdict, e.Reason
		switch e.Verdict {
		case abi.Emit:
			return s.emit(it, e)
		case abi.Fail:
			return &fault{err: errors.New(string(e.Body[:min(len(e.Body), abi.MaxText)])), sound: e.Reason == abi.FailSound}
		case abi.Park, abi.Retry:
			text = e.Body[:min(len(e.Body), abi.MaxText)]
		}
	}
	switch it.verdict {
	case abi.Pass:
		s.next = append(s.next, item{Message: it.Message, from: it.from})
	case abi.Emit:
		return s.emitMasked(it, got.Mask)
	case abi.Park:
		s.note(i, string(text))
	case abi.Retry:
		return fmt.Errorf("it asks for the batch again: %q: %w", text, bridge.ErrRetry)
	}
	return nil
}

// read returns the one entry of an answer in memory.
func (s *stage) read(doing string, got abi.Returned) (abi.Entry, error) {
	b, err := s.in.answer(doing, got.Ptr, got.Len, int(s.cfg.Output))
	if err != nil {
		return abi.Entry{}, err
	}
	e, rest, err := abi.ReadEntry(b)
	if err != nil {
		return e, &fault{doing: doing, err: err}
	}
	if len(rest) > 0 {
		return e, lie(doing, "%d bytes follow the answer", len(rest))
	}
	return e, nil
}

// askFlush lets the guest emit what it held back, as outputs of the flush or of the batch's last record that was not set aside, and tells
// whether it had something.
func (s *stage) askFlush() (said bool, err error) {
	switch why := s.run.flush; {
	case why == bridge.FlushSwap && len(s.items) == 0:
		return false, nil // the module before was asked when the state was loaded
	case s.due(why) && why != bridge.FlushSwap:
		return s.flushed(&s.origin, int32(why))
	}
	at := len(s.items) - 1
	for at >= 0 && s.items[at].verdict == abi.Park {
		at--
	}
	if at < 0 || s.in.flush == nil {
		return false, nil
	}
	return s.flushed(&s.items[at], abi.FlushBatch)
}

// flushed calls sluice_flush; its outputs are made from it.
func (s *stage) flushed(it *item, why int32) (said bool, err error) {
	s.record, s.first = it.from, len(s.next)
	for s.first > 0 && s.next[s.first-1].from == it.from {
		s.first--
	}
	s.like = it.Labels
	s.in.begin(&it.Message)
	got, err := s.in.answered(abi.ExportFlush, s.in.flush, uint64(why))
	s.in.record = nil
	if err != nil {
		return false, err
	}
	e := abi.Entry{Verdict: got.Verdict}
	if !got.Short {
		if e, err = s.read(abi.ExportFlush, got); err != nil {
			return false, err
		}
	}
	switch {
	case e.Verdict == abi.Pass:
		return false, nil
	case e.Verdict != abi.Emit:
		return false, lie(abi.ExportFlush, "answered %s, want PASS or EMIT", e.Verdict)
	case got.Short:
		return true, s.emitMasked(it, got.Mask)
	}
	return true, s.emit(it, e)
}

// settle notes the decisions of this module in the results, now that none of them can change any more.
func (s *stage) settle() {
	for i := range s.items {
		it := &s.items[i]
		switch it.verdict {
		case abi.Drop:
			s.drop(it.reason).Add(1)
			s.decided(it, bridge.Dropped)
		case abi.Absorb:
			s.decided(it, bridge.Absorbed)
		case abi.Park:
			s.out.Parked = append(s.out.Parked, bridge.Parking{Message: it.Message, Module: s.name, SHA256: s.sha256, Reason: s.texts[i]})
			s.decided(it, bridge.Parked)
		}
	}
}

// decided notes what became of an item. A record that a module had split keeps the weightiest of its parts' verdicts; if any part comes out
// at the end, finish calls it passed.
func (s *stage) decided(it *item, kind bridge.Kind) {
	if v := &s.out.Verdicts[s.base+int(it.from)]; kind > v.Kind {
		*v = bridge.Verdict{Kind: kind, Module: s.index, Reason: it.reason}
	}
}

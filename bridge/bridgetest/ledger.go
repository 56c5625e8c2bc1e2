package bridgetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// Fault is what becomes of one write of a fake ledger.
type Fault uint8

// The faults of a write. After Unknown, UnknownStored and Hang the stream or outbox stays unknown until Report.
const (
	Works         Fault = iota
	Fails               // not stored, ErrInjected
	FailsStored         // stored all the same, ErrInjected: the answer was an error, the disk had it
	Full                // not stored, ErrFull
	Unknown             // not stored, ErrUnknown
	UnknownStored       // stored, ErrUnknown: the answer was lost
	Hang                // waits for the end of ctx, then as Unknown
	HangStored          // waits for the end of ctx, then as UnknownStored
)

// ErrInjected is the error of a planned fault.
var ErrInjected = errors.New("injected fault")

// Ledger is a ledger in memory that behaves as INVARIANTS.md asks, but where a fault is planned. It implements bridge.Ledger,
// bridge.States and bridge.Gaps; Outbox gives a bridge.Outbox. All methods may be called concurrently.
type Ledger struct {
	remotes []string // each message goes to all of them

	mu      sync.Mutex
	streams map[streamKey]*fakeStream
	rows    []*fakeRow // row n is rows[n-1]
	parked  []bridge.Parking
	gaps    []bridge.Gap
	nextGap int64
	losses  []bridge.Loss
	lastID  int64 // of a loss
	out     map[string]*Outbox
	plan    []Fault
	appends int
	wake    chan struct{} // closed and replaced at each Append
}

type streamKey struct{ pipeline, stream string }

type fakeStream struct {
	seen    map[bridge.Key]bridge.Verdict
	last    map[int64]uint64 // revision by time: the last that was taken in
	newest  int64            // of last
	wanted  map[int64]uint64 // revision by time
	states  map[string]bridge.State
	unknown bool
	stored  uint64 // Appends with keys
}

type fakeRow struct {
	bridge.Row
	remotes  []string // who gets it
	messages []bridge.Message
}

// NewLedger returns an empty ledger whose messages go to every one of remotes. The test fails where a planned fault has not fired by its
// end.
func NewLedger(t testing.TB, remotes ...string) *Ledger {
	l := Model(remotes...)
	t.Cleanup(func() {
		if left := l.planned(); left > 0 {
			t.Errorf("%d planned faults never fired", left)
		}
	})
	return l
}

// Model is NewLedger for who brings his own faults: the simulation makes a hundred thousand of them.
func Model(remotes ...string) *Ledger {
	l := &Ledger{remotes: remotes, streams: make(map[streamKey]*fakeStream), out: make(map[string]*Outbox), wake: make(chan struct{})}
	for _, r := range remotes {
		l.out[r] = newOutbox(l, r)
	}
	return l
}

// Plan sets the faults of the coming Appends, one each, in order; those after them work.
func (l *Ledger) Plan(faults ...Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.plan = append(l.plan, faults...)
}

func (l *Ledger) planned() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.plan)
}

// Report ends the unknown state of a stream, as a committer does that has come back.
func (l *Ledger) Report(pipeline, stream string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stream(pipeline, stream).unknown = false
}

// Appends returns how often Append was called.
func (l *Ledger) Appends() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.appends
}

// Messages returns copies of all messages of a stream that were stored, in the order of their Append; empty strings stand for any.
func (l *Ledger) Messages(pipeline, stream string) []bridge.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []bridge.Message
	for _, r := range l.rows {
		if (pipeline == "" || r.Pipeline == pipeline) && (stream == "" || r.Stream == stream) {
			all = append(all, r.messages...)
		}
	}
	return all
}

// Seen returns the verdict on a key.
func (l *Ledger) Seen(pipeline, stream string, k bridge.Key) (bridge.Verdict, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, ok := l.stream(pipeline, stream).seen[k]
	return v, ok
}

// Verdicts returns the verdicts on all keys of a stream, the last one where a key was taken in more than once.
func (l *Ledger) Verdicts(pipeline, stream string) map[bridge.Key]bridge.Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.stream(pipeline, stream).seen)
}

// Parked returns what was parked so far.
func (l *Ledger) Parked() []bridge.Parking {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.parked)
}

// Outbox returns the remote's end; a remote that NewLedger was not told panics.
func (l *Ledger) Outbox(remote string) *Outbox {
	o := l.out[remote]
	if o == nil {
		panic("bridgetest: no remote " + remote)
	}
	return o
}

func (l *Ledger) stream(pipeline, stream string) *fakeStream {
	k := streamKey{pipeline, stream}
	s := l.streams[k]
	if s == nil {
		s = &fakeStream{
			seen: make(map[bridge.Key]bridge.Verdict), last: make(map[int64]uint64),
			wanted: make(map[int64]uint64), states: make(map[string]bridge.State),
		}
		l.streams[k] = s
	}
	return s
}

// Fresh implements bridge.Ledger.
func (l *Ledger) Fresh(pipeline, stream string, rs []bridge.Record, fresh []bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stream(pipeline, stream)
	if s.unknown {
		return fmt.Errorf("fresh %s: %w", stream, bridge.ErrUnknown)
	}
	newest, late := s.newest, len(s.last) > 0
	for i := range rs {
		t, revision := rs[i].Time, bridge.LabelHash(rs[i].Labels)
		if rs[i].Flags &^= bridge.Late; late && t < newest {
			rs[i].Flags |= bridge.Late
		}
		if !late || t > newest {
			newest, late = t, true
		}
		_, seen := s.last[t]
		switch {
		case i > 0 && rs[i-1].Time == t:
			fresh[i] = false
		case s.wanted[t] == revision:
			fresh[i], rs[i].Revision = true, revision
		default:
			fresh[i] = !seen
		}
	}
	return nil
}

// Append implements bridge.Ledger.
func (l *Ledger) Append(ctx context.Context, a *bridge.Append) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appends++
	if err := l.checkAppend(a); err != nil {
		return fmt.Errorf("append %s: %w", a.Stream, err)
	}
	s := l.stream(a.Pipeline, a.Stream)
	if s.unknown {
		return fmt.Errorf("append %s: %w", a.Stream, bridge.ErrUnknown)
	}
	f := Works
	if len(l.plan) > 0 {
		f, l.plan = l.plan[0], l.plan[1:]
	}
	if f == Hang || f == HangStored {
		s.unknown = true
		l.mu.Unlock()
		<-ctx.Done()
		l.mu.Lock()
	}
	switch f {
	case Works, FailsStored, UnknownStored, HangStored:
		l.store(s, a)
	}
	switch f {
	case Works:
		return nil
	case Fails, FailsStored:
		return ErrInjected
	case Full:
		return bridge.ErrFull
	}
	s.unknown = true
	return bridge.ErrUnknown
}

func (l *Ledger) checkAppend(a *bridge.Append) error {
	if a.Remotes != nil && len(a.Remotes) == 0 && len(a.Messages) > 0 {
		return fmt.Errorf("messages for no remote: %w", bridge.ErrRejected)
	}
	for _, r := range a.Remotes {
		if !slices.Contains(l.remotes, r) {
			return fmt.Errorf("no remote %s: %w", r, bridge.ErrRejected)
		}
	}
	if len(a.Keys) != len(a.Verdicts) {
		return fmt.Errorf("%d verdicts for %d keys: %w", len(a.Verdicts), len(a.Keys), bridge.ErrRejected)
	}
	for i, v := range a.Verdicts {
		if v.Kind == bridge.Undecided || v.Kind > bridge.Parked {
			return fmt.Errorf("verdict of kind %d on record %d: %w", v.Kind, a.Keys[i].Time, bridge.ErrRejected)
		}
	}
	return nil
}

func (l *Ledger) store(s *fakeStream, a *bridge.Append) {
	if len(a.Keys) > 0 {
		s.stored++
	}
	for i, k := range a.Keys {
		if len(s.last) == 0 || k.Time > s.newest {
			s.newest = k.Time
		}
		s.seen[k] = a.Verdicts[i]
		if k.Flushed() {
			continue
		}
		s.last[k.Time] = k.Revision
		if s.wanted[k.Time] == k.Revision {
			delete(s.wanted, k.Time)
		}
	}
	for _, st := range a.States {
		st.Bytes = slices.Clone(st.Bytes)
		s.states[st.Module] = st
	}
	for _, p := range a.Parked {
		p.Message = cloneMessage(p.Message)
		l.parked = append(l.parked, p)
	}
	if len(a.Messages) == 0 {
		return
	}
	r := &fakeRow{Row: bridge.Row{Number: uint64(len(l.rows) + 1), Pipeline: a.Pipeline, Stream: a.Stream, Count: len(a.Messages)}}
	r.Appended = time.Now().UnixMicro()
	if r.remotes = l.remotes; a.Remotes != nil {
		r.remotes = slices.Clone(a.Remotes)
	}
	for _, m := range a.Messages {
		r.messages = append(r.messages, cloneMessage(m))
		r.Bytes += len(m.Payload)
	}
	l.rows = append(l.rows, r)
	close(l.wake)
	l.wake = make(chan struct{})
}

func cloneMessage(m bridge.Message) bridge.Message {
	m.Topic, m.ContentType, m.Payload = slices.Clone(m.Topic), slices.Clone(m.ContentType), slices.Clone(m.Payload)
	m.Labels = slices.Clone(m.Labels)
	for i, l := range m.Labels {
		m.Labels[i] = bridge.Label{Name: slices.Clone(l.Name), Value: slices.Clone(l.Value)}
	}
	return m
}

// Want implements bridge.Ledger.
func (l *Ledger) Want(_ context.Context, pipeline, stream string, keys []bridge.Key, known []bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stream(pipeline, stream)
	if s.unknown {
		return fmt.Errorf("want %s: %w", stream, bridge.ErrUnknown)
	}
	for i, k := range keys {
		last, seen := s.last[k.Time]
		if known[i] = seen && last == k.Revision; !known[i] {
			s.wanted[k.Time] = k.Revision
		}
	}
	return nil
}

// NextFlush implements bridge.Ledger.
func (l *Ledger) NextFlush(pipeline, stream string) (bridge.Key, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stream(pipeline, stream)
	if s.unknown {
		return bridge.Key{}, false, fmt.Errorf("next flush of %s: %w", stream, bridge.ErrUnknown)
	}
	return bridge.Key{Time: s.newest, Revision: s.stored + 1}, len(s.last) > 0, nil
}

// State implements bridge.States.
func (l *Ledger) State(pipeline, stream, module string) (bridge.State, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.stream(pipeline, stream).states[module]
	s.Bytes = slices.Clone(s.Bytes)
	return s, ok, nil
}

// NoteGap implements bridge.Gaps.
func (l *Ledger) NoteGap(_ context.Context, g bridge.Gap) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nextGap++
	g.ID = l.nextGap
	if g.Noted.IsZero() {
		g.Noted = time.Now()
	}
	l.gaps = append(l.gaps, g)
	return nil
}

// OpenGaps implements bridge.Gaps.
func (l *Ledger) OpenGaps() ([]bridge.Gap, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.gaps), nil
}

// CloseGap implements bridge.Gaps.
func (l *Ledger) CloseGap(_ context.Context, id int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gaps = slices.DeleteFunc(l.gaps, func(g bridge.Gap) bool { return g.ID == id })
	return nil
}

// Lose implements bridge.Gaps.
func (l *Ledger) Lose(_ context.Context, loss bridge.Loss, closes ...int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if loss.From > loss.To || loss.Records < -1 {
		return fmt.Errorf("loss of %d records from %d to %d: %w", loss.Records, loss.From, loss.To, bridge.ErrRejected)
	}
	if loss.Noted.IsZero() {
		loss.Noted = time.Now()
	}
	var list []bridge.Loss
	for _, o := range l.losses {
		if o.Stream == loss.Stream {
			list = append(list, o)
		}
	}
	whole, replaces := loss.Into(list)
	if whole.ID == 0 {
		l.lastID++
		whole.ID = l.lastID
	}
	l.losses = slices.DeleteFunc(l.losses, func(o bridge.Loss) bool { return slices.Contains(replaces, o.ID) })
	l.losses = append(l.losses, whole)
	slices.SortFunc(l.losses, func(a, b bridge.Loss) int { return cmp.Compare(a.ID, b.ID) })
	l.gaps = slices.DeleteFunc(l.gaps, func(g bridge.Gap) bool { return slices.Contains(closes, g.ID) })
	return nil
}

// Losses returns what is known to be lost.
func (l *Ledger) Losses() []bridge.Loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.losses)
}

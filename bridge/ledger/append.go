package ledger

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// maxWanted bounds the updates of a stream that were asked for and have not come; one more is ErrFull, and the sender tries again.
const maxWanted = 1 << 16

// stream returns what is known of a stream, new where it is not; Log.mu is held.
func (l *Log) stream(pipeline, name string) *stream {
	k := streamKey{pipeline, name}
	s := l.streams[k]
	if s == nil {
		l.lastStream++
		s = &stream{streamKey: k, id: l.lastStream}
		l.streams[k] = s
	}
	return s
}

// settledStream returns a stream that no write is on its way for. What it holds then changes only by a write of the caller.
func (l *Log) settledStream(pipeline, name string) (*stream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stream(pipeline, name)
	switch {
	case s.busy:
		return nil, bridge.ErrUnknown
	case l.broken != nil:
		return nil, l.broken
	}
	return s, nil
}

// Fresh implements bridge.Ledger. A time inside a closed range counts as seen: nothing that old can be resent by a ReductStore, and a
// reconciler that asks must not take it a second time.
func (l *Log) Fresh(pipeline, name string, rs []bridge.Record, fresh []bool) error {
	s, err := l.settledStream(pipeline, name)
	if err != nil {
		return fmt.Errorf("fresh %s: %w", name, err)
	}
	if len(rs) == 0 {
		return nil
	}
	newest := int64(math.MinInt64)
	if s.any {
		newest = s.newest
	}
	if lo := markLate(rs, fresh, newest); s.any && lo <= newest {
		if err := l.markSeen(s, rs, fresh); err != nil {
			return fmt.Errorf("fresh %s: %w", name, err)
		}
	}
	if len(s.wanted) == 0 {
		return nil
	}
	for i := range rs {
		want, ok := s.wanted[rs[i].Time]
		if ok && want == bridge.LabelHash(rs[i].Labels) && (i == 0 || rs[i].Time != rs[i-1].Time) {
			fresh[i], rs[i].Revision = true, want
		}
	}
	return nil
}

// markLate sets fresh[i] where the time before it is another, and Late where one before it, or newest, is newer. It returns the lowest time.
func markLate(rs []bridge.Record, fresh []bool, newest int64) (lo int64) {
	lo = rs[0].Time
	for i := range rs {
		r := &rs[i]
		fresh[i] = i == 0 || r.Time != rs[i-1].Time
		lo = min(lo, r.Time)
		if r.Flags &^= bridge.Late; r.Time < newest {
			r.Flags |= bridge.Late
		}
		newest = max(newest, r.Time)
	}
	return lo
}

// markSeen clears fresh[i] where the stream has rs[i].
func (l *Log) markSeen(s *stream, rs []bridge.Record, fresh []bool) error {
	lo, hi := rs[0].Time, rs[0].Time
	for i := range rs {
		lo, hi = min(lo, rs[i].Time), max(hi, rs[i].Time)
		fresh[i] = fresh[i] && !s.inRange(rs[i].Time)
	}
	for _, g := range slices.Backward(s.segments) {
		if !g.overlaps(lo, hi) {
			continue
		}
		ks, err := l.keys(s, g)
		if err != nil {
			return err
		}
		for i := range rs {
			fresh[i] = fresh[i] && !hasTime(ks, rs[i].Time)
		}
	}
	return nil
}

// Append implements bridge.Ledger.
func (l *Log) Append(ctx context.Context, a *bridge.Append) error {
	if err := l.append(ctx, a); err != nil {
		return fmt.Errorf("append %s: %w", a.Stream, err)
	}
	return nil
}

func (l *Log) append(ctx context.Context, a *bridge.Append) error {
	if err := checkAppend(a); err != nil {
		return err
	}
	s, err := l.settledStream(a.Pipeline, a.Stream)
	if err != nil {
		return err
	}
	p := &appending{log: l, stream: s, states: cloneStates(a.States)}
	if err := p.encode(a); err != nil {
		return err
	}
	if err := l.reserve(s, p.size()); err != nil {
		return err
	}
	return l.submit(ctx, &write{put: p.put, end: p.end, size: p.size()})
}

// reserve takes room in the quota until end gives it back or turns it into a row. One that is larger than the quota goes in when nothing else
// waits: its sender would offer it for ever.
func (l *Log) reserve(s *stream, size int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if waits := l.live + l.reserved; waits > 0 && waits+int64(size) > int64(l.cfg.Quota) {
		return fmt.Errorf("%d bytes more than the %d of %v that wait: %w", size, waits, l.cfg.Quota, bridge.ErrFull)
	}
	l.reserved += int64(size)
	s.busy = true
	return nil
}

func checkAppend(a *bridge.Append) error {
	switch {
	case len(a.Keys) != len(a.Verdicts):
		return fmt.Errorf("%d verdicts for %d keys: %w", len(a.Verdicts), len(a.Keys), bridge.ErrRejected)
	case len(a.Keys) > maxAppend || len(a.Messages) > maxAppend:
		return fmt.Errorf("%d keys and %d messages, want at most %d: %w", len(a.Keys), len(a.Messages), maxAppend, bridge.ErrRejected)
	}
	for i := range a.Keys {
		if t := a.Keys[i].Time; t >= maxTime || t < -maxTime {
			return fmt.Errorf("time %d is beyond the range of a key: %w", t, bridge.ErrRejected)
		}
		if k := a.Verdicts[i].Kind; k == bridge.Undecided || k > bridge.Parked {
			return fmt.Errorf("verdict of kind %d on record %d: %w", k, a.Keys[i].Time, bridge.ErrRejected)
		}
	}
	return nil
}

// maxAppend leaves room to merge the keys of an Append with others.
const maxAppend = maxCount / 2

// maxTime leaves a bit free in the difference of two times.
const maxTime = 1 << 61

// appending is an Append on its way: encoded by its caller, so that the committer only binds bytes, and complete, so that nothing of the
// caller's memory is looked at after it gave up waiting.
type appending struct {
	log     *Log
	stream  *stream
	noted   int64
	remotes []uint32
	data    []byte
	crc     uint32 // of data alone; sealed with the row's number
	count   int
	segment *segment
	done    []int64 // times of updates that were wanted
	states  []bridge.State
	parked  []parkedRow
	merged  []*segment
	closing *closing
	number  uint64
}

func (p *appending) encode(a *bridge.Append) error {
	p.noted = time.Now().UnixMicro()
	if len(a.Messages) > 0 {
		var err error
		if p.remotes, err = p.log.remotesOf(a); err != nil {
			return err
		}
		p.data = appendMessages(make([]byte, 0, rowSize(a.Messages, len(p.remotes))), p.remotes, a.Messages)
		p.crc, p.count = seal(p.data), len(a.Messages)
	}
	ks, vs := a.Keys, a.Verdicts
	if !slices.IsSortedFunc(ks, compareTimes) {
		ks, vs = sortKeys(ks, vs)
	}
	p.segment = newSegment(p.stream.appends+1, p.stream.appends+1, ks, vs)
	p.segment.whole = p.segment.count >= p.log.limits.blockKeys
	if err := p.tidy(ks); err != nil {
		return err
	}
	for _, k := range ks {
		if want, ok := p.stream.wanted[k.Time]; ok && want == k.Revision {
			p.done = append(p.done, k.Time)
		}
	}
	for i := range a.Parked {
		p.parked = append(p.parked, newParkedRow(&a.Parked[i], p.noted))
	}
	return nil
}

// remotesOf returns who gets an Append's messages.
func (l *Log) remotesOf(a *bridge.Append) ([]uint32, error) {
	all := l.routes[a.Pipeline]
	switch {
	case len(all) == 0: // no fault of the batch: with another configuration it can be taken
		return nil, fmt.Errorf("pipeline %s has no remote", a.Pipeline)
	case a.Remotes == nil:
		return all, nil
	case len(a.Remotes) == 0:
		return nil, fmt.Errorf("messages for no remote: %w", bridge.ErrRejected)
	}
	var out []uint32
	for _, name := range a.Remotes {
		o := l.Outbox(name)
		if o == nil || !slices.Contains(all, o.id) {
			return nil, fmt.Errorf("pipeline %s has no remote %s: %w", a.Pipeline, name, bridge.ErrRejected)
		}
		if !slices.Contains(out, o.id) {
			out = append(out, o.id)
		}
	}
	return out, nil
}

// tidy prepares what becomes of older keys with this Append.
func (p *appending) tidy(ks []bridge.Key) (err error) {
	if p.merged, err = p.log.merge(p.stream); err != nil {
		return err
	}
	// Not both at once: the oldest block may be among the merged.
	p.closing, err = p.log.closeKeys(p.stream, p.segment, ks, len(p.merged) == 0)
	return err
}

func appendMessages(dst []byte, remotes []uint32, ms []bridge.Message) []byte {
	dst = appendRowHead(dst, remotes)
	var before *bridge.Message
	for i := range ms {
		dst = appendMessage(dst, &ms[i], before, 0)
		before = &ms[i]
	}
	return dst
}

// sortKeys orders keys by time. Revisions of one time stay in the order they were taken in.
func sortKeys(ks []bridge.Key, vs []bridge.Verdict) ([]bridge.Key, []bridge.Verdict) {
	order := make([]int, len(ks))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return compareTimes(ks[a], ks[b]) })
	sk, sv := make([]bridge.Key, 0, len(ks)), make([]bridge.Verdict, 0, len(ks))
	for _, i := range order {
		sk, sv = append(sk, ks[i]), append(sv, vs[i])
	}
	return sk, sv
}

func cloneStates(ss []bridge.State) []bridge.State {
	if len(ss) == 0 {
		return nil
	}
	ss = slices.Clone(ss)
	for i := range ss {
		ss[i].Bytes = slices.Clone(ss[i].Bytes)
	}
	return ss
}

func (p *appending) size() int {
	n := len(p.data) + len(p.segment.data)
	for i := range p.states {
		n += len(p.states[i].Bytes)
	}
	for i := range p.parked {
		n += len(p.parked[i].data)
	}
	return n
}

// put writes the Append's rows: messages, keys, state, parked records.
func (p *appending) put(t *tx) error {
	s := p.stream
	if err := t.putStream(s); err != nil {
		return err
	}
	if p.count > 0 {
		t.row++
		p.number = t.row
		crc := sealMore(p.crc, p.number, uint64(s.id), uint64(p.count), uint64(p.noted))
		if err := t.exec(sqlBatch, int64(p.number), int64(s.id), p.count, p.noted, int64(crc), p.data); err != nil {
			return err
		}
	}
	if p.segment.count > 0 {
		if err := t.putSegment(s.id, p.segment); err != nil {
			return err
		}
	}
	for _, at := range p.done {
		if err := t.exec(sqlWanted, int64(s.id), at); err != nil {
			return err
		}
	}
	for i := range p.states {
		if err := t.putState(s.id, &p.states[i]); err != nil {
			return err
		}
	}
	for i := range p.parked {
		if err := t.park(s.id, &p.parked[i]); err != nil {
			return err
		}
	}
	for _, m := range p.merged {
		if err := t.putMerge(s.id, m); err != nil {
			return err
		}
	}
	return t.putClosing(s, p.closing)
}

// end applies what put wrote to what is known in memory; Log.mu is held.
func (p *appending) end(err error) {
	l, s := p.log, p.stream
	s.busy = false
	l.reserved -= int64(p.size())
	if err != nil {
		l.note(err)
		return
	}
	s.stored = true
	if p.segment.count > 0 {
		s.add(p.segment)
	}
	if p.segment.whole {
		p.segment.data = nil // like a merged one: read back when an old key is asked for
	}
	for _, at := range p.done {
		delete(s.wanted, at)
	}
	for i := range p.parked {
		l.parked.add(len(p.parked[i].data))
		l.live += int64(len(p.parked[i].data))
	}
	for _, m := range p.merged {
		s.applyMerge(m)
	}
	s.applyClosing(p.closing)
	if p.count == 0 {
		return
	}
	l.nextRow = p.number
	l.addRow(&row{number: p.number, stream: s, count: p.count, noted: p.noted, remotes: p.remotes, bytes: len(p.data), data: p.data})
	l.announce()
}

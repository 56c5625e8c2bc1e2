package ledger

import (
	"cmp"
	"database/sql"
	"fmt"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// keyRange is what is left of keys that are too old to be kept one by one. A time inside counts as seen. Ranges of a stream are apart, in
// ascending order.
type keyRange struct {
	first, last int64
	count       int64 // keys that are not kept one by one
	sums        sums
}

// sums are about everything that was ever taken in inside a range, what is still kept one by one in younger blocks included: so they can be
// compared without knowing which keys those are. What is taken in there later, an update of a record that nobody can look up any more,
// makes them unknown: whether the record itself was ever taken cannot be told.
type sums struct {
	known                  bool
	times, messages        int64
	timesHash, messageHash uint64 // exclusive or
}

// add adds the keys of one time.
func (s *sums) add(of []taken) {
	s.times++
	s.timesHash ^= uint64(of[0].Time)
	for _, k := range of {
		if k.verdict.Kind != bridge.Passed {
			continue
		}
		s.messages += int64(k.verdict.Outputs)
		for index := range k.verdict.Outputs {
			s.messageHash ^= bridge.MessageHash(k.Key, index)
		}
	}
}

// with returns the sums of two ranges.
func (s sums) with(o sums) sums {
	if !s.known || !o.known {
		return sums{}
	}
	return sums{true, s.times + o.times, s.messages + o.messages, s.timesHash ^ o.timesHash, s.messageHash ^ o.messageHash}
}

// taken is a key with what was decided on it.
type taken struct {
	bridge.Key
	verdict bridge.Verdict
}

// interval is a piece of time, both ends included.
type interval struct{ first, last int64 }

// rangeAt returns the place of the range that t lies in, or of the first one behind it.
func rangeAt(rs []keyRange, t int64) (at int, inside bool) {
	at, _ = slices.BinarySearchFunc(rs, t, func(r keyRange, t int64) int { return cmp.Compare(r.last, t) })
	return at, at < len(rs) && rs[at].first <= t
}

// inRange reports whether t lies in a closed range.
func (s *stream) inRange(t int64) bool {
	_, inside := rangeAt(s.closed, t)
	return inside
}

// closing is what an Append does to the ranges of its stream.
type closing struct {
	old  *segment   // becomes ranges; nil: none does
	list []keyRange // afterwards
	drop []int64    // firsts of the rows that go
	put  []keyRange // rows that come
}

// closeKeys returns what an Append does to the ranges of its stream, nil for nothing: fresh is its block, ks are the keys in it. With oldest,
// the oldest block becomes ranges where that is due. The holder of the stream's lock calls it.
func (l *Log) closeKeys(s *stream, fresh *segment, ks []bridge.Key, oldest bool) (*closing, error) {
	behind := len(s.closed) > 0 && len(ks) > 0 && ks[0].Time <= s.closed[len(s.closed)-1].last
	due := oldest && len(s.segments) > 1 && s.exact-s.segments[0].count >= l.cfg.Exact
	if !behind && !due {
		return nil, nil
	}
	c := &closing{list: s.closed}
	if behind {
		c.list = forgetSums(s.closed, ks)
	}
	if due {
		c.old = s.segments[0]
		if err := l.closeBlock(s, c, fresh); err != nil {
			return nil, err
		}
	}
	if c.drop, c.put = changedRanges(s.closed, c.list); c.old == nil && len(c.put) == 0 {
		return nil, nil
	}
	return c, nil
}

// forgetSums returns the ranges without the sums of those in which a key lies.
func forgetSums(rs []keyRange, ks []bridge.Key) []keyRange {
	rs = slices.Clone(rs)
	for _, k := range ks {
		if at, inside := rangeAt(rs, k.Time); inside {
			rs[at].sums = sums{}
		}
	}
	return rs
}

// closeBlock makes ranges of the oldest block. Its keys that lie in ranges already are in their sums.
func (l *Log) closeBlock(s *stream, c *closing, fresh *segment) error {
	old, err := l.keys(s, c.old)
	if err != nil {
		return err
	}
	list := slices.Clone(c.list)
	var outside []bridge.Key
	for _, k := range old {
		if at, inside := rangeAt(list, k.Time); inside {
			list[at].count++
		} else {
			outside = append(outside, k)
		}
	}
	pieces := splitRanges(outside, list)
	list = append(list, pieces...)
	slices.SortFunc(list, func(a, b keyRange) int { return cmp.Compare(a.first, b.first) })
	var covered []interval
	for _, r := range pieces {
		covered = append(covered, interval{r.first, r.last})
	}
	for len(list) > l.limits.ranges {
		var between []interval
		list, between = joinRanges(list)
		covered = append(covered, between...)
	}
	slices.SortFunc(covered, func(a, b interval) int { return cmp.Compare(a.first, b.first) })
	c.list = list
	in, err := l.takenIn(s, covered, fresh)
	if err != nil {
		return err
	}
	for len(in) > 0 {
		n := 1
		for n < len(in) && in[n].Time == in[0].Time {
			n++
		}
		if at, _ := rangeAt(list, in[0].Time); list[at].sums.known {
			list[at].sums.add(in[:n])
		}
		in = in[n:]
	}
	return nil
}

// takenIn returns what is kept one by one inside of covered, by time, that of the block fresh included, which is on its way.
func (l *Log) takenIn(s *stream, covered []interval, fresh *segment) (in []taken, err error) {
	for _, g := range slices.Concat(s.segments, []*segment{fresh}) {
		if !slices.ContainsFunc(covered, func(c interval) bool { return g.overlaps(c.first, c.last) }) {
			continue
		}
		data, err := l.blockData(s, g)
		if err != nil {
			return nil, err
		}
		ks, vs, err := readBlock(data)
		if err != nil {
			return nil, l.stop(fmt.Errorf("seen keys %d to %d of %s: %w", g.first, g.last, s.name, err))
		}
		for i, k := range ks {
			if covers(covered, k.Time) {
				in = append(in, taken{k, vs[i]})
			}
		}
	}
	slices.SortStableFunc(in, func(a, b taken) int { return compareTimes(a.Key, b.Key) })
	return in, nil
}

func covers(covered []interval, t int64) bool {
	at, _ := slices.BinarySearchFunc(covered, t, func(c interval, t int64) int { return cmp.Compare(c.last, t) })
	return at < len(covered) && covered[at].first <= t
}

// maxSplits is how many ranges one block becomes at most, beside those that it is cut into by others.
const maxSplits = 16

// splitRanges cuts keys where the pause between two is over a sixteenth of their whole span: one late record among today's must not
// make everything between it and today count as seen. And where a range lies between them: there are others that surround it.
func splitRanges(ks []bridge.Key, others []keyRange) []keyRange {
	if len(ks) == 0 {
		return nil
	}
	pause := max((ks[len(ks)-1].Time-ks[0].Time)/maxSplits, 1)
	var out []keyRange
	var before int // others before the last key
	for _, k := range ks {
		at, _ := rangeAt(others, k.Time)
		if len(out) == 0 || k.Time-out[len(out)-1].last > pause || at != before {
			out = append(out, keyRange{first: k.Time, sums: sums{known: true}})
		}
		r := &out[len(out)-1]
		r.last, before = k.Time, at
		r.count++
	}
	return out
}

// joinRanges halves a list by joining neighbours in pairs. It returns what lay between them as well: it counts as seen from now on.
func joinRanges(rs []keyRange) (out []keyRange, between []interval) {
	for i := 0; i < len(rs); i += 2 {
		r := rs[i]
		if i+1 < len(rs) {
			n := rs[i+1]
			if r.last+1 < n.first {
				between = append(between, interval{r.last + 1, n.first - 1})
			}
			r.last, r.count, r.sums = n.last, r.count+n.count, r.sums.with(n.sums)
		}
		out = append(out, r)
	}
	return out, between
}

// changedRanges returns which rows make one list from the other, both ascending.
func changedRanges(before, after []keyRange) (drop []int64, put []keyRange) {
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(before) > 0 && len(after) > 0 && before[0] == after[0]:
			before, after = before[1:], after[1:]
		case len(after) == 0 || len(before) > 0 && before[0].first <= after[0].first:
			drop, before = append(drop, before[0].first), before[1:]
		default:
			put, after = append(put, after[0]), after[1:]
		}
	}
	return drop, put
}

func (t *tx) putClosing(s *stream, c *closing) error {
	if c == nil {
		return nil
	}
	if c.old != nil {
		id := segmentID(s.id, c.old.first)
		if err := t.exec(sqlDropSeen, id, id); err != nil {
			return err
		}
	}
	for _, first := range c.drop {
		if err := t.exec(sqlDropClosed, int64(s.id), first); err != nil {
			return err
		}
	}
	for _, r := range c.put {
		if err := t.putRange(s.id, r); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) putRange(stream uint32, r keyRange) error {
	m := r.sums
	if !m.known {
		return t.exec(sqlClosed, int64(stream), r.first, r.last, r.count, nil, nil, nil, nil)
	}
	return t.exec(sqlClosed, int64(stream), r.first, r.last, r.count, m.times, int64(m.timesHash), m.messages, int64(m.messageHash))
}

func (s *stream) applyClosing(c *closing) {
	if c == nil {
		return
	}
	s.closed = c.list
	if c.old != nil {
		s.segments = slices.Clone(s.segments[1:])
		s.exact -= c.old.count
	}
}

// Closed returns the ranges of a stream's keys that are not kept one by one, in ascending order.
func (l *Log) Closed(pipeline, name string) []bridge.ClosedRange {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[streamKey{pipeline, name}]
	if s == nil {
		return nil
	}
	out := make([]bridge.ClosedRange, 0, len(s.closed))
	for _, r := range s.closed {
		out = append(out, bridge.ClosedRange{
			From: r.first, To: r.last, Keys: r.count, Known: r.sums.known, Times: r.sums.times, TimesHash: r.sums.timesHash,
			Messages: r.sums.messages, MessageHash: r.sums.messageHash,
		})
	}
	return out
}

func (l *Log) loadClosed() error {
	const query = "SELECT stream, first, last, count, times, times_hash, messages, message_hash FROM closed ORDER BY stream, first"
	return l.each(query, func(rows *sql.Rows) error {
		var stream uint32
		var r keyRange
		var sum [4]sql.NullInt64
		if err := rows.Scan(&stream, &r.first, &r.last, &r.count, &sum[0], &sum[1], &sum[2], &sum[3]); err != nil {
			return err
		}
		s := l.byStream[stream]
		if s == nil {
			return fmt.Errorf("range of stream %d, which is not there: %w", stream, bridge.ErrCorrupt)
		}
		if r.last < r.first || len(s.closed) > 0 && s.closed[len(s.closed)-1].last >= r.first {
			return fmt.Errorf("range %d to %d of %s overlaps the one before it: %w", r.first, r.last, s.name, bridge.ErrCorrupt)
		}
		if sum[0].Valid && sum[1].Valid && sum[2].Valid && sum[3].Valid {
			r.sums = sums{true, sum[0].Int64, sum[2].Int64, uint64(sum[1].Int64), uint64(sum[3].Int64)}
		}
		s.closed = append(s.closed, r)
		if !s.any || r.last > s.newest {
			s.newest, s.any = r.last, true
		}
		return nil
	})
}

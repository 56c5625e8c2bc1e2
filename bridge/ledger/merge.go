package ledger

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// merge encodes what is due to be merged, nothing while few small blocks are there: each block replaces those whose Appends it covers, with the
// commit of an Append of the same stream. The holder of the stream's lock calls it.
func (l *Log) merge(s *stream) ([]*segment, error) {
	if s.small() < l.limits.mergeAt {
		return nil, nil
	}
	var out []*segment
	for at := 0; at < len(s.segments); {
		to, n := at, 0
		for to < len(s.segments) && !s.segments[to].whole && n < l.limits.blockKeys {
			n += s.segments[to].count
			to++
		}
		if to == at {
			at++
			continue
		}
		made, err := l.mergeRun(s, s.segments[at:to])
		if err != nil {
			return nil, err
		}
		// A run that ends at a whole block has no neighbour to grow with.
		made.whole = made.count >= l.limits.blockKeys || to < len(s.segments)
		out = append(out, made)
		at = to
	}
	return out, nil
}

func (l *Log) mergeRun(s *stream, run []*segment) (*segment, error) {
	var ks []bridge.Key
	var vs []bridge.Verdict
	for _, g := range run {
		data, err := l.blockData(s, g)
		if err != nil {
			return nil, err
		}
		k, v, err := readBlock(data)
		if err != nil {
			return nil, l.stop(fmt.Errorf("seen keys %d to %d of %s: %w", g.first, g.last, s.name, err))
		}
		ks, vs = append(ks, k...), append(vs, v...)
	}
	if !slices.IsSortedFunc(ks, compareTimes) {
		ks, vs = sortKeys(ks, vs)
	}
	return newSegment(run[0].first, run[len(run)-1].last, ks, vs), nil
}

func (t *tx) putSegment(stream uint32, g *segment) error {
	return t.exec(sqlSeen, segmentID(stream, g.first), int64(g.last), g.min, g.max, g.count, int64(g.seal(stream)), g.data)
}

func (t *tx) putMerge(stream uint32, made *segment) error {
	if err := t.exec(sqlDropSeen, segmentID(stream, made.first), segmentID(stream, made.last)); err != nil {
		return err
	}
	return t.putSegment(stream, made)
}

func (s *stream) applyMerge(made *segment) {
	at := slices.IndexFunc(s.segments, func(g *segment) bool { return g.first == made.first })
	to := at
	for to < len(s.segments) && s.segments[to].last <= made.last {
		to++
	}
	if made.whole {
		made.data = nil // read back when an old key is asked for
	}
	s.segments = slices.Replace(slices.Clone(s.segments), at, to, made) // a clone: Seen may be reading the old slice
}

// closing turns the oldest block of a stream that has more than enough exact keys into ranges.
type closing struct {
	old    *segment
	ranges []keyRange
	all    []keyRange // set where the ranges became too many: the whole list anew
}

// maxSplits is how many ranges one block may become.
const maxSplits = 16

// oldest returns what closing the oldest block means, nil where it is not due. The holder of the stream's lock calls it.
func (l *Log) oldest(s *stream) (*closing, error) {
	if len(s.segments) < 2 || s.exact-s.segments[0].count < l.cfg.Exact {
		return nil, nil
	}
	ks, err := l.keys(s, s.segments[0])
	if err != nil {
		return nil, err
	}
	c := &closing{old: s.segments[0], ranges: splitRanges(ks)}
	if len(s.closed)+len(c.ranges) > l.limits.ranges {
		c.all = joinRanges(s.withRanges(c.ranges))
	}
	return c, nil
}

// splitRanges cuts keys where the pause between two is over a sixteenth of their whole span: one late record among today's must not
// make everything between it and today count as seen.
func splitRanges(ks []bridge.Key) []keyRange {
	if len(ks) == 0 {
		return nil
	}
	pause := max((ks[len(ks)-1].Time-ks[0].Time)/maxSplits, 1)
	out := []keyRange{{first: ks[0].Time, last: ks[0].Time}}
	for _, k := range ks {
		r := &out[len(out)-1]
		if k.Time-r.last > pause {
			out = append(out, keyRange{first: k.Time})
			r = &out[len(out)-1]
		}
		r.last = k.Time
		r.count++
	}
	return out
}

func (s *stream) withRanges(more []keyRange) []keyRange {
	all := slices.Concat(s.closed, more)
	slices.SortFunc(all, func(a, b keyRange) int { return cmp.Compare(a.first, b.first) })
	return all
}

// joinRanges halves a list by joining neighbours in pairs.
func joinRanges(rs []keyRange) []keyRange {
	var out []keyRange
	for i := 0; i < len(rs); i += 2 {
		r := rs[i]
		if i+1 < len(rs) {
			n := rs[i+1]
			r.last, r.count = max(r.last, n.last), r.count+n.count
		}
		out = append(out, r)
	}
	return out
}

func (t *tx) putClosing(s *stream, c *closing) error {
	if c == nil {
		return nil
	}
	id := segmentID(s.id, c.old.first)
	if err := t.exec(sqlDropSeen, id, id); err != nil {
		return err
	}
	add := c.ranges
	if c.all != nil {
		add = c.all
		if err := t.exec(sqlDropClosed, int64(s.id)); err != nil {
			return err
		}
	}
	for _, r := range add {
		if err := t.exec(sqlClosed, int64(s.id), r.first, r.last, r.count); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) applyClosing(c *closing) {
	if c == nil {
		return
	}
	s.segments = slices.Clone(s.segments[1:])
	s.exact -= c.old.count
	if c.all != nil {
		s.closed = c.all
		return
	}
	s.closed = s.withRanges(c.ranges)
}

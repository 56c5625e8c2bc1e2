package ledger

import (
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

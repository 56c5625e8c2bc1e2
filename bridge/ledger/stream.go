package ledger

import (
	"fmt"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// streamKey names a stream of a pipeline.
type streamKey struct{ pipeline, name string }

// stream is what is known of one (pipeline, stream). Log.mu guards it; what only the holder of the stream's lock changes
// (INVARIANTS.md rule 5) is also stable while a write of it is on its way.
type stream struct {
	streamKey
	id       uint32
	stored   bool   // has its row in the database
	busy     bool   // a write has been handed to the committer and has not reported
	appends  uint64 // number of the last Append, dense from 1
	newest   int64
	any      bool // newest is set
	exact    int  // keys in segments
	segments []*segment
	closed   []keyRange       // ascending, apart
	wanted   map[int64]uint64 // revision by time: the updates that should pass once
	scratch  []bridge.Key
}

// segment is a block of keys: of one Append, or of several merged.
type segment struct {
	first, last uint64 // Appends
	min, max    int64
	count       int
	whole       bool   // not to be merged any more
	data        []byte // nil: in the database
}

// segmentID is a block's row id: blocks of a stream lie together, in the order of their Appends.
func segmentID(stream uint32, first uint64) int64 { return int64(stream)<<appendBits | int64(first) }

// appendBits leaves 27 bits for the stream.
const appendBits = 36

func (g *segment) seal(stream uint32) uint32 {
	return seal(g.data, uint64(segmentID(stream, g.first)), g.last, uint64(g.min), uint64(g.max), uint64(g.count))
}

func newSegment(first, last uint64, ks []bridge.Key, vs []bridge.Verdict) *segment {
	g := &segment{first: first, last: last, count: len(ks)}
	if len(ks) > 0 {
		g.min, g.max = ks[0].Time, ks[len(ks)-1].Time
	}
	g.data = appendBlock(make([]byte, 0, 16+4*len(ks)), ks, vs)
	return g
}

// overlaps reports whether a key between lo and hi may be in the block.
func (g *segment) overlaps(lo, hi int64) bool { return g.count > 0 && g.min <= hi && lo <= g.max }

// add puts a durable block into the stream.
func (s *stream) add(g *segment) {
	s.segments = append(s.segments, g)
	s.appends = g.last
	s.exact += g.count
	s.raise(g)
}

func (s *stream) raise(g *segment) {
	if g.count > 0 && (!s.any || g.max > s.newest) {
		s.newest, s.any = g.max, true
	}
}

// small returns the blocks that can still be merged.
func (s *stream) small() (n int) {
	for _, g := range s.segments {
		if !g.whole {
			n++
		}
	}
	return n
}

// keys returns the keys of a block, in scratch memory of the stream.
func (l *Log) keys(s *stream, g *segment) ([]bridge.Key, error) {
	data, err := l.blockData(s, g)
	if err != nil {
		return nil, err
	}
	ks, _, err := readKeys(s.scratch[:0], data)
	if err != nil {
		return nil, l.stop(fmt.Errorf("seen keys %d to %d of %s: %w", g.first, g.last, s.name, err))
	}
	s.scratch = ks
	return ks, nil
}

// hasTime reports whether keys, by time, contain one.
func hasTime(ks []bridge.Key, t int64) bool {
	_, ok := slices.BinarySearchFunc(ks, bridge.Key{Time: t}, compareTimes)
	return ok
}

// lastRevision returns the last one of a time that keys, by time, contain, but for flushes.
func lastRevision(ks []bridge.Key, t int64) (revision uint64, found bool) {
	at, found := slices.BinarySearchFunc(ks, bridge.Key{Time: t}, compareTimes)
	if !found {
		return 0, false
	}
	found = false
	for ; at < len(ks) && ks[at].Time == t; at++ {
		if !ks[at].Flushed() {
			revision, found = ks[at].Revision, true
		}
	}
	return revision, found
}

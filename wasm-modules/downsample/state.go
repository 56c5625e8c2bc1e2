package main

import (
	"errors"
	"math"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// A state, little-endian:
//
//	 0        8        9
//	+--------+--------+--------+-----+---------+-----
//	| newest | fields | hash 0 | ... | group 0 | ...      a hash of each field's text: 8 bytes
//	+--------+--------+--------+-----+---------+-----
//
// A group, a key and its windows:
//
//	 0        8        9
//	+--------+--------+-----+---------+----------+-----
//	| newest | length | key | windows | window 0 | ...    windows: 2 bytes
//	+--------+--------+-----+---------+----------+-----
//
// A window, with a tally for each field:
//
//	 0       8     16      17
//	+-------+-----+-------+---------+-----                flags: 1 given out, 2 more has come since
//	| start | end | flags | tally 0 | ...
//	+-------+-----+-------+---------+-----
//
// A tally; time, length and last are there where count is not 0, sum, low and high where numbers is not:
//
//	 0       4         8      16       17
//	+-------+---------+------+--------+------+-----+-----+------+
//	| count | numbers | time | length | last | sum | low | high |
//	+-------+---------+------+--------+------+-----+-----+------+
//
// The manifest's state_version goes up with the layout.
const (
	headSize   = 9
	groupSize  = 11
	windowSize = 17
	tallySize  = 41

	flagGiven = 1
	flagMore  = 2
)

func (t *table) save(dst []byte, s *settings) []byte {
	dst = append(sluice.AppendUint64(dst, uint64(t.newest)), byte(len(s.fields)))
	for i := range s.fields {
		dst = sluice.AppendUint64(dst, s.fields[i].hash)
	}
	for _, g := range t.groups {
		dst = append(sluice.AppendUint64(dst, uint64(g.newest)), byte(len(g.key)))
		dst = append(append(dst, g.key...), byte(len(g.windows)), byte(len(g.windows)>>8))
		for i := range g.windows {
			dst = g.windows[i].save(dst)
		}
	}
	return dst
}

func (w *window) save(dst []byte) []byte {
	dst = sluice.AppendUint64(sluice.AppendUint64(dst, uint64(w.start)), uint64(w.end))
	flags := byte(0)
	if w.given {
		flags |= flagGiven
	}
	if w.more {
		flags |= flagMore
	}
	dst = append(dst, flags)
	for i := range w.tallies {
		t := &w.tallies[i]
		dst = sluice.AppendUint64(dst, uint64(t.count)|uint64(t.numbers)<<32)
		if t.count > 0 {
			dst = append(append(sluice.AppendUint64(dst, uint64(t.at)), byte(len(t.last))), t.last...)
		}
		if t.numbers > 0 {
			for _, v := range [...]float64{t.sum, t.low, t.high} {
				dst = sluice.AppendUint64(dst, math.Float64bits(v))
			}
		}
	}
	return dst
}

// errLayout is a state that this module never wrote.
var errLayout = errors.New("a state of another layout")

// load goes on from a saved state. Windows of a configuration before this one are kept as they are, so that none of what they hold is lost: fields are
// known by their text, those that are configured no more go.
func (t *table) load(state []byte, s *settings) error {
	t.clear()
	if len(state) == 0 {
		return nil
	}
	c := cursor{rest: state}
	t.newest = int64(c.uint64())
	places := make([]int, c.byte())
	for i := range places {
		hash := c.uint64()
		places[i] = -1
		for at := range s.fields {
			if s.fields[at].hash == hash {
				places[i] = at
			}
		}
	}
	for len(c.rest) > 0 && !c.short {
		newest := int64(c.uint64())
		key := c.bytes(int(c.byte()))
		if t.places[string(key)] != nil || len(key) > maxKey {
			return errLayout
		}
		g := t.begin(key, newest)
		windows := int(c.byte()) | int(c.byte())<<8
		for range windows {
			if !t.loadWindow(&c, g, places, len(s.fields)) {
				return errLayout
			}
		}
		t.due = min(t.due, g.next(s))
	}
	if c.short {
		return errLayout
	}
	t.last = 0
	return nil
}

// loadWindow reads a window of a group; places says which field each tally is of.
func (t *table) loadWindow(c *cursor, g *group, places []int, fields int) bool {
	w := window{start: int64(c.uint64()), end: int64(c.uint64())}
	flags := c.byte()
	w.given, w.more = flags&flagGiven != 0, flags&flagMore != 0
	w.tallies = t.tallies(fields)
	gone := new(tally)
	for _, at := range places {
		into := gone
		if at >= 0 {
			into = &w.tallies[at]
		}
		into.load(c)
	}
	n := len(g.windows)
	ordered := w.start < w.end && (n == 0 || g.windows[n-1].end <= w.start)
	g.windows = append(g.windows, w)
	return ordered && !c.short && flags < 4
}

func (t *tally) load(c *cursor) {
	counts := c.uint64()
	t.clear()
	t.count, t.numbers = uint32(counts), uint32(counts>>32)
	if t.count > 0 {
		t.at = int64(c.uint64())
		t.last = append(t.last, c.bytes(int(c.byte()))...)
	}
	if t.numbers > 0 {
		t.sum, t.low, t.high = math.Float64frombits(c.uint64()), math.Float64frombits(c.uint64()), math.Float64frombits(c.uint64())
	}
}

// cursor reads bytes; beyond their end zeros come, and short is set.
type cursor struct {
	rest  []byte
	short bool
}

func (c *cursor) bytes(n int) []byte {
	if n > len(c.rest) {
		c.short, c.rest = true, nil
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cursor) byte() byte {
	if b := c.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if b := c.bytes(8); b != nil {
		return sluice.Uint64(b)
	}
	return 0
}

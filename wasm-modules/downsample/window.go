package main

import (
	"math"
	"slices"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// tally is what is known of one field's values in a window.
type tally struct {
	count          uint32 // values
	numbers        uint32 // of them, those that are numbers
	sum, low, high float64
	at             int64  // time of last
	last           []byte // value of the youngest record, as it was written
}

func (t *tally) clear() { *t = tally{last: t.last[:0]} }

// add takes a value. Of two of one time the one that came later is the last.
func (t *tally) add(time int64, value []byte) {
	if t.count == 0 || time >= t.at {
		t.at, t.last = time, append(t.last[:0], value...)
	}
	t.count++
	v, ok := sluice.Float(value)
	if !ok {
		return
	}
	if t.numbers++; t.numbers == 1 {
		t.low, t.high = v, v
	}
	t.sum += v
	t.low, t.high = min(t.low, v), max(t.high, v)
}

// value is one of the numbers, NaN where there is none.
func (t *tally) value(s stat) float64 {
	switch {
	case s == count:
		return float64(t.count)
	case s == last:
		if v, ok := sluice.Float(t.last); ok {
			return v
		}
		return math.NaN()
	case t.numbers == 0:
		return math.NaN()
	case s == least:
		return t.low
	case s == most:
		return t.high
	}
	return t.sum / float64(t.numbers)
}

// window is a stretch of time of one key. It keeps its own bounds: those of a configuration before this one are given out as they were begun.
type window struct {
	start, end int64
	given      bool // out
	more       bool // has come since
	tallies    []tally
}

// group is what is known of a key.
type group struct {
	key     []byte
	place   int      // in the table
	newest  int64    // time of its youngest record
	windows []window // by their start
}

// at returns the window of a time, and where it is or belongs.
func (g *group) at(time int64) (w *window, place int) {
	for place = len(g.windows); place > 0; place-- {
		if w := &g.windows[place-1]; w.start <= time {
			if time < w.end {
				return w, place - 1
			}
			return nil, place
		}
	}
	return nil, 0
}

// insert puts a window into its place, cut to what its neighbours leave: those of another configuration may reach into it.
func (g *group) insert(place int, w window) *window {
	if place > 0 {
		w.start = max(w.start, g.windows[place-1].end)
	}
	if place < len(g.windows) {
		w.end = min(w.end, g.windows[place].start)
	}
	g.windows = slices.Insert(g.windows, place, w)
	return &g.windows[place]
}

// next is the time at which something of the group is due: a window to be given out or forgotten, or the group itself.
func (g *group) next(s *settings) int64 {
	if len(g.windows) == 0 {
		return g.newest - s.lateness
	}
	next := int64(math.MaxInt64)
	for i := range g.windows {
		w := &g.windows[i]
		if w.given {
			next = min(next, w.end+s.revise)
		} else {
			next = min(next, w.end)
		}
	}
	return next
}

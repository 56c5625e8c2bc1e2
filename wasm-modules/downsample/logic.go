package main

import (
	"math"
	"strconv"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// Why a record is dropped: the manifest's reasons, in their order.
const (
	tooLate    uint16 = iota
	noFields          // it has none of the fields; its time counts
	missingKey        // and the configuration says to drop those
	taken             // not a reason
)

// table is what is known of a stream. Its zero value is empty.
type table struct {
	groups []*group // in the order in which they came
	places map[string]*group
	last   int   // group of the last record: the next one's is probably that one, or the one behind it
	newest int64 // time of the stream's youngest record
	due    int64 // when the stream's time has come here, all groups are looked at: something may be due
	spare  []*group
	unused [][]tally
}

func (t *table) clear() {
	if t.places == nil {
		t.places = make(map[string]*group)
	}
	clear(t.places)
	for _, g := range t.groups {
		t.forget(g)
	}
	t.groups, t.last, t.newest, t.due = t.groups[:0], 0, math.MinInt64/2, math.MaxInt64
}

// forget keeps the memory of a group for the next one.
func (t *table) forget(g *group) {
	for i := range g.windows {
		t.unused = append(t.unused, g.windows[i].tallies)
	}
	g.windows = g.windows[:0]
	t.spare = append(t.spare, g)
}

// find returns a key's group, nil where there is none.
func (t *table) find(key []byte) *group {
	for _, at := range [...]int{t.last, t.last + 1} {
		if at < len(t.groups) && sluice.Equal(t.groups[at].key, key) {
			t.last = at
			return t.groups[at]
		}
	}
	g := t.places[string(key)]
	if g != nil {
		t.last = g.place
	}
	return g
}

// fault says why the record that was read is to be parked: before it has changed anything.
func (t *table) fault(s *settings, key []byte) string {
	if len(key) > maxKey {
		return s.keyText + ": " + strconv.Itoa(len(key)) + " bytes, at most 64 are kept"
	}
	for i := range s.fields {
		if source := s.fields[i].source; len(s.Values[source]) > maxLast {
			return s.Sources[source].Name + ": " + strconv.Itoa(len(s.Values[source])) + " bytes, at most 32 are kept"
		}
	}
	if len(t.groups) >= s.limit && t.find(key) == nil {
		return s.keyText + ": more than " + strconv.Itoa(s.limit) + " keys at once"
	}
	return ""
}

// add takes the record that was read and gives out what it ended.
func (t *table) add(s *settings, time int64, key []byte, p *printer) uint16 {
	g := t.find(key)
	w, place, end := (*window)(nil), 0, time-behind(time, s.width)+s.width
	if g != nil {
		if w, place = g.at(time); w != nil {
			end = w.end
		}
	}
	if end+s.revise <= t.mark(s, g) {
		return tooLate
	}
	reason := taken
	if !s.any() {
		reason = noFields
	} else {
		if g == nil {
			g = t.begin(key, time)
		}
		if w == nil {
			w = g.insert(place, window{start: end - s.width, end: end, tallies: t.tallies(len(s.fields))})
		}
		w.add(s, time)
	}
	t.newest = max(t.newest, time)
	if g != nil {
		g.newest = max(g.newest, time)
	}
	t.settle(s, g, p)
	return reason
}

// behind is how far a time is behind a multiple of width.
func behind(time, width int64) int64 {
	rest := time % width
	if rest < 0 {
		return rest + width
	}
	return rest
}

// mark is the time up to which a key's windows are complete: no record before it is expected any more.
func (t *table) mark(s *settings, g *group) int64 {
	mark := int64(math.MinInt64)
	if g != nil {
		mark = g.newest - s.lateness
	}
	if s.idle > 0 {
		mark = max(mark, t.newest-s.idle)
	}
	return mark
}

// any reports whether the record that was read has any of the fields.
func (s *settings) any() bool {
	for i := range s.fields {
		if s.Values[s.fields[i].source] != nil {
			return true
		}
	}
	return false
}

func (w *window) add(s *settings, time int64) {
	w.more = w.given
	for i := range s.fields {
		if value := s.Values[s.fields[i].source]; value != nil {
			w.tallies[i].add(time, value)
		}
	}
}

// begin makes a group for a key.
func (t *table) begin(key []byte, time int64) *group {
	g := new(group)
	if n := len(t.spare); n > 0 {
		g, t.spare = t.spare[n-1], t.spare[:n-1]
	}
	g.key, g.newest = append(g.key[:0], key...), time
	t.last, g.place = len(t.groups), len(t.groups)
	t.groups = append(t.groups, g)
	t.places[string(key)] = g
	return g
}

// tallies makes those of a window.
func (t *table) tallies(fields int) []tally {
	n := len(t.unused)
	if n == 0 {
		return make([]tally, fields)
	}
	tallies := t.unused[n-1]
	t.unused = t.unused[:n-1]
	for i := range tallies {
		tallies[i].clear()
	}
	return tallies
}

// settle gives out what is due: of the record's own group, and of the others where the stream's time has come.
func (t *table) settle(s *settings, own *group, p *printer) {
	if s.idle == 0 || t.newest-s.idle < t.due {
		if own != nil {
			t.close(s, own, p)
			t.due = min(t.due, own.next(s))
		}
		return
	}
	t.due = math.MaxInt64
	kept := t.groups[:0]
	for _, g := range t.groups {
		t.close(s, g, p)
		// A key of which nothing is open goes once the stream's own time judges late records as the key's would.
		if len(g.windows) == 0 && t.newest-s.idle >= g.newest-s.lateness {
			delete(t.places, string(g.key))
			t.forget(g)
			continue
		}
		t.due = min(t.due, g.next(s))
		g.place = len(kept)
		kept = append(kept, g)
	}
	clear(t.groups[len(kept):])
	t.groups, t.last = kept, 0
}

// close gives out the windows of a group that are complete, and those once more that have changed since, when no more can come.
func (t *table) close(s *settings, g *group, p *printer) {
	mark, kept := t.mark(s, g), g.windows[:0]
	for i := range g.windows {
		w := &g.windows[i]
		if !w.given && w.end <= mark {
			p.print(s, g, w)
			w.given = true
		}
		if w.end+s.revise > mark {
			kept = append(kept, *w)
			continue
		}
		if w.more {
			p.print(s, g, w)
		}
		t.unused = append(t.unused, w.tallies)
	}
	g.windows = kept
}

// giveAll gives out the windows of all groups as they are, those that have been as they have become since.
func (t *table) giveAll(s *settings, p *printer) {
	for _, g := range t.groups {
		for i := range g.windows {
			if w := &g.windows[i]; !w.given || w.more {
				p.print(s, g, w)
				w.given, w.more = true, false
			}
		}
	}
}

package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// comparison is one stream's. What it holds is all that is in memory one by one.
type comparison struct {
	*Job
	name    string
	pipes   []pipe
	keys    []seen    // by time and revision
	arrived []arrived // by identity, copies in the order of arrival
	coarse  bool      // the far end knows times only

	waiting, refused []bridge.ID // by identity, not taken yet
}

// pipe is a pipeline that sees the stream.
type pipe struct {
	place  uint8 // in Job.Pipelines
	newest int64 // time of the newest record it ever saw
	closed []rangeSums
	tail   *tail // what the edge store has behind that; nil: nothing
}

// seen is a key of the ledger: 24 bytes.
type seen struct {
	bridge.Key
	outputs uint16
	kind    bridge.Kind
	pipe    uint8 // its place
	late    bool
}

// arrived is a message at the far end: 24 bytes.
type arrived struct {
	bridge.Key
	index  uint16
	marked bool
	late   bool
	order  bool // is to arrive after all that are older: the first copy of a message that came in order
	pos    uint32
}

func (a *arrived) id() bridge.ID { return bridge.ID{Key: a.Key, Index: a.index} }

// stream compares one stream.
func (j *Job) stream(ctx context.Context, name string) error {
	c := &comparison{Job: j, name: name}
	c.findPipes()
	c.keys = c.load(j.look, j.keyRoom[:0])
	for _, p := range c.pipes {
		w, r := j.look.Unsettled(j.Remote, j.Pipelines[p.place], name)
		c.waiting, c.refused = append(c.waiting, w...), append(c.refused, r...)
	}
	if err := c.loadArrived(ctx); err != nil {
		return err
	}
	slices.SortFunc(c.waiting, bridge.ID.Compare)
	slices.SortFunc(c.refused, bridge.ID.Compare)
	c.countKeys()
	if err := c.compareEdge(ctx); err != nil {
		return err
	}
	if c.coarse {
		c.collapse()
	}
	c.compareFar()
	c.compareOrder()
	j.keyRoom, j.farRoom = c.keys, c.arrived
	return c.compareRanges(ctx)
}

// findPipes lists the pipelines that know of the stream, or should.
func (c *comparison) findPipes() {
	for place, name := range c.Pipelines {
		p := pipe{place: uint8(place), newest: math.MinInt64}
		at := slices.IndexFunc(c.known[c.name], func(s LedgerStream) bool { return s.Pipeline == name })
		if at < 0 && !slices.Contains(c.edge[c.name].Pipelines, name) {
			continue
		}
		if at >= 0 {
			p.newest = c.known[c.name][at].Newest
		}
		for _, r := range c.look.Closed(name, c.name) {
			p.closed = append(p.closed, rangeSums{ClosedRange: r})
		}
		slices.SortFunc(p.closed, func(a, b rangeSums) int { return cmp.Compare(a.From, b.From) })
		c.pipes = append(c.pipes, p)
	}
}

// load returns the keys of all pipelines, in the memory of keys where that is enough.
func (c *comparison) load(l Ledger, keys []seen) []seen {
	n := 0 // counted first: memory that grows is there twice
	for _, p := range c.pipes {
		for range l.Seen(c.Pipelines[p.place], c.name) {
			n++
		}
	}
	keys = slices.Grow(keys, n)
	for _, p := range c.pipes {
		for k, v := range l.Seen(c.Pipelines[p.place], c.name) {
			if c.Period.Has(k.Time) {
				keys = append(keys, seen{Key: k, outputs: v.Outputs, kind: v.Kind, pipe: p.place, late: v.Late})
			}
		}
	}
	slices.SortStableFunc(keys, func(a, b seen) int { return compareKeys(a.Key, b.Key) })
	return lastOf(keys)
}

// lastOf leaves one of a record that was absorbed and then decided anew, when a condition asked for what was before: the later verdict counts. Keys of
// one pipeline stand in the order they were taken in.
func lastOf(keys []seen) []seen {
	out := keys[:0]
	for _, k := range keys {
		if n := len(out) - 1; n >= 0 && out[n].Key == k.Key && out[n].pipe == k.pipe && out[n].kind == bridge.Absorbed {
			out[n] = k
			continue
		}
		out = append(out, k)
	}
	return out
}

func compareKeys(a, b bridge.Key) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Revision, b.Revision))
}

func (c *comparison) loadArrived(ctx context.Context) error {
	c.arrived = slices.Grow(c.farRoom[:0], len(c.keys)) // as many messages as records, mostly
	err := c.Far.Each(ctx, c.name, c.Period, func(a Arrival) {
		c.coarse = c.coarse || a.Coarse
		c.arrived = append(c.arrived, arrived{Key: a.Key, index: a.Index, marked: a.Marked, late: a.Late, pos: uint32(len(c.arrived))})
	})
	if err != nil {
		return fmt.Errorf("read the far end: %w", err)
	}
	if len(c.arrived) > math.MaxInt32 {
		return fmt.Errorf("%d messages of one stream, want at most %d: choose a shorter period", len(c.arrived), math.MaxInt32)
	}
	c.sortArrived()
	return nil
}

func (c *comparison) sortArrived() {
	slices.SortFunc(c.arrived, func(a, b arrived) int { return cmp.Or(a.id().Compare(b.id()), cmp.Compare(a.pos, b.pos)) })
}

// collapse leaves one message for each time: more the far end cannot tell apart.
func (c *comparison) collapse() {
	c.note("the far end knows only the times of what it has")
	for i := range c.arrived {
		c.arrived[i].Revision, c.arrived[i].index = 0, 0
	}
	c.sortArrived()
	for _, list := range []*[]bridge.ID{&c.waiting, &c.refused} {
		for i := range *list {
			(*list)[i] = bridge.ID{Key: bridge.Key{Time: (*list)[i].Time}}
		}
		slices.SortFunc(*list, bridge.ID.Compare)
		*list = slices.Compact(*list)
	}
	out := c.keys[:0]
	for _, k := range c.keys {
		k.Revision, k.outputs = 0, min(k.outputs, 1)
		if n := len(out); n > 0 && out[n-1].Time == k.Time {
			if out[n-1].outputs == 0 {
				out[n-1] = k
			}
			continue
		}
		out = append(out, k)
	}
	c.keys = out
}

func (c *comparison) countKeys() {
	for i := range c.keys {
		k := &c.keys[i]
		row := c.row(c.name, k.Time)
		if !k.Flushed() {
			row.Seen++
		}
		if k.late {
			row.Late++
		}
		switch k.kind {
		case bridge.Dropped:
			row.Dropped++
		case bridge.Absorbed:
			row.Absorbed++
		case bridge.Parked:
			row.Parked++
		}
	}
}

// compareEdge walks the store's records along the keys.
func (c *comparison) compareEdge(ctx context.Context) error {
	if c.Edge == nil {
		return nil
	}
	at := 0
	gone := func(upTo int64) { // keys that the store has no record for
		for ; at < len(c.keys) && c.keys[at].Time < upTo; at++ {
			if at == 0 || c.keys[at].Time != c.keys[at-1].Time {
				c.row(c.name, c.keys[at].Time).Evicted++
			}
		}
	}
	err := c.Edge.Each(ctx, c.name, c.Period, func(t int64) {
		c.row(c.name, t).Edge++
		gone(t)
		from := at
		for at < len(c.keys) && c.keys[at].Time == t {
			at++
		}
		c.edgeRecord(t, c.keys[from:at])
	})
	if errors.Is(err, ErrIncomparable) {
		c.note("%s: the edge side was not compared: %v", c.name, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the edge store: %w", err)
	}
	gone(math.MaxInt64)
	return nil
}

// edgeRecord compares one record of the store with the keys of its time.
func (c *comparison) edgeRecord(t int64, keys []seen) {
	var have uint64
	for i := range keys {
		have |= 1 << keys[i].pipe
	}
	for i := range c.pipes {
		p := &c.pipes[i]
		if r := p.rangeOf(t); r != nil {
			r.edge++
			r.edgeHash ^= uint64(t)
		} else if have&(1<<p.place) == 0 {
			c.notSeen(t, p)
		}
	}
}

// notSeen is a record that the store has and a pipeline has not seen.
func (c *comparison) notSeen(t int64, p *pipe) {
	if t > p.newest {
		c.behind(t, p)
		return
	}
	c.suspect(suspect{id: bridge.ID{Key: bridge.Key{Time: t}}, kind: HoleEdge, pipe: p.place})
}

// compareFar walks the messages that the ledger made along those that arrived.
func (c *comparison) compareFar() {
	a := 0
	for from := 0; from < len(c.keys); {
		to := from
		for to < len(c.keys) && c.keys[to].Key == c.keys[from].Key {
			to++
		}
		key := c.keys[from].Key
		for a < len(c.arrived) && compareKeys(c.arrived[a].Key, key) < 0 {
			a = c.unknown(a, nil)
		}
		for index := uint16(0); ; index++ {
			want := 0
			for i := from; i < to; i++ {
				if c.keys[i].outputs > index {
					want++
				}
			}
			if want == 0 {
				break
			}
			n := c.copies(a, bridge.ID{Key: key, Index: index})
			c.settle(bridge.ID{Key: key, Index: index}, want, c.arrived[a:a+n], c.keys[from:to])
			a += n
		}
		for a < len(c.arrived) && c.arrived[a].Key == key {
			a = c.unknown(a, c.keys[from:to])
		}
		from = to
	}
	for a < len(c.arrived) {
		a = c.unknown(a, nil)
	}
}

// copies returns how many of c.arrived[a:] are of an identity.
func (c *comparison) copies(a int, id bridge.ID) (n int) {
	for a+n < len(c.arrived) && c.arrived[a+n].id() == id {
		n++
	}
	return n
}

// settle compares a message that want pipelines made with its copies.
func (c *comparison) settle(id bridge.ID, want int, copies []arrived, keys []seen) {
	row := c.row(c.name, id.Time)
	row.Messages += int64(want)
	row.Arrived += int64(len(copies))
	waiting, refused := takeEqual(&c.waiting, id), takeEqual(&c.refused, id)
	if r := c.closedAt(id.Time); r != nil {
		r.has(id, want) // as the ledger has it in its sums
	}
	if len(copies) > 0 {
		late := slices.ContainsFunc(keys, func(k seen) bool { return k.late })
		copies[0].order = id.Revision == 0 && !late && !copies[0].late
	}
	if len(copies) > want {
		c.suspect(suspect{id: id, kind: Double, copies: len(copies), marked: slices.ContainsFunc(copies, func(a arrived) bool { return a.marked })})
		return
	}
	missing := want - len(copies)
	waits := min(missing, waiting)
	parked := min(missing-waits, refused)
	row.Waiting, row.Parked = row.Waiting+int64(waits), row.Parked+int64(parked)
	for range missing - waits - parked {
		if c.wasGivenUp(id.Time) {
			row.GivenUp++
			continue
		}
		c.suspect(suspect{id: id, kind: HoleFar, pipe: keys[0].pipe, copies: len(copies), coarse: c.coarse})
	}
}

// takeEqual takes id from the head of a sorted list, and what is smaller with it, and returns how often it was there.
func takeEqual(list *[]bridge.ID, id bridge.ID) (n int) {
	for len(*list) > 0 {
		order := (*list)[0].Compare(id)
		if order > 0 {
			break
		}
		if order == 0 {
			n++
		}
		*list = (*list)[1:]
	}
	return n
}

// givenUp is how the ledger calls the loss of what waited for a remote that was removed from the configuration.
const givenUp = "given up with remote "

// wasGivenUp reports whether a message went with a remote that was removed from the configuration for a while.
func (c *comparison) wasGivenUp(t int64) bool {
	return slices.ContainsFunc(c.look.Losses, func(l bridge.Loss) bool {
		return l.Stream == c.name && l.From <= t && t <= l.To && l.Reason == givenUp+c.Remote
	})
}

// unknown handles the copies of an identity that no key accounts for, from c.arrived[a] on, and returns what follows them. keys are those
// of its record.
func (c *comparison) unknown(a int, keys []seen) int {
	id := c.arrived[a].id()
	n := c.copies(a, id)
	c.row(c.name, id.Time).Arrived += int64(n)
	marked := slices.ContainsFunc(c.arrived[a:a+n], func(x arrived) bool { return x.marked })
	if r := c.closedAt(id.Time); r != nil && len(keys) == 0 {
		r.has(id, n)
		if n > 1 {
			r.doubles = append(r.doubles, suspect{id: id, kind: Double, copies: n, marked: marked, closed: true})
		}
		return a + n
	}
	why := ""
	if len(keys) > 0 {
		why = "the ledger says " + said(keys[0])
	}
	c.suspect(suspect{id: id, kind: Stranger, copies: n, why: why, coarse: c.coarse})
	return a + n
}

func said(k seen) string {
	switch k.kind {
	case bridge.Dropped:
		return "dropped by a module"
	case bridge.Absorbed:
		return "absorbed by a module"
	case bridge.Parked:
		return "parked by a module"
	}
	return fmt.Sprintf("%d outputs", k.outputs)
}

// compareOrder walks the arrivals in their order.
func (c *comparison) compareOrder() {
	if !c.Far.Ordered() || len(c.arrived) == 0 {
		return
	}
	if len(c.pipes) > 1 {
		c.note("%s: the order was not compared: %d pipelines send it, each in its own", c.name, len(c.pipes))
		return
	}
	for _, p := range c.pipes {
		if name := c.Pipelines[p.place]; c.Unordered[name] != "" {
			c.note("the order of pipeline %s was not compared: %s", name, c.Unordered[name])
			return
		}
	}
	order := make([]uint32, len(c.arrived))
	for i := range c.arrived {
		order[c.arrived[i].pos] = uint32(i)
	}
	var newest *arrived
	for _, i := range order {
		a := &c.arrived[i]
		switch {
		case !a.order:
		case newest == nil || newest.id().Compare(a.id()) < 0:
			newest = a
		default:
			c.find(Finding{Kind: Misorder, Stream: c.name, id: a.id(), Why: "arrived after " + string(newest.id().Append(nil, c.name))})
		}
	}
}

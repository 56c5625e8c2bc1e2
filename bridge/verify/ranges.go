package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// rangeSums is a closed range, and what the other sides have of its times, keys that are kept one by one included.
type rangeSums struct {
	bridge.ClosedRange
	edge     int64  // times
	edgeHash uint64 // their exclusive or
	far      sums   // messages that are there, wait, or were refused; and those that are missing by name already
	once     sums   // the same, each counted once
	doubles  []suspect
}

// sums are the number of messages and the exclusive or of their hashes.
type sums struct {
	n    int64
	hash uint64
}

func (s *sums) add(id bridge.ID) {
	s.n++
	s.hash ^= bridge.MessageHash(id.Key, id.Index)
}

func (s sums) equal(r *rangeSums) bool { return s.n == r.Messages && s.hash == r.MessageHash }

// has notes a message that is there n times.
func (r *rangeSums) has(id bridge.ID, n int) {
	r.once.add(id)
	for range n {
		r.far.add(id)
	}
}

// rangeOf returns the closed range that a time lies in.
func (p *pipe) rangeOf(t int64) *rangeSums {
	at, found := slices.BinarySearchFunc(p.closed, t, func(r rangeSums, t int64) int {
		switch {
		case r.To < t:
			return -1
		case r.From > t:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return &p.closed[at]
}

// closedAt returns the range of the first pipeline that has one there.
func (c *comparison) closedAt(t int64) *rangeSums {
	for i := range c.pipes {
		if r := c.pipes[i].rangeOf(t); r != nil {
			return r
		}
	}
	return nil
}

// compareRanges compares what the ledger has only sums of.
func (c *comparison) compareRanges(ctx context.Context) (err error) {
	c.addUnsettled()
	for i := range c.pipes {
		p := &c.pipes[i]
		for k := range p.closed {
			r := &p.closed[k]
			result := RangeResult{Pipeline: c.Pipelines[p.place], Stream: c.name, From: time.UnixMicro(r.From).UTC(), To: time.UnixMicro(r.To).UTC(),
				Records: r.Times, Edge: r.edge, Messages: r.Messages, Far: r.far.n}
			result.EdgeSays = c.edgeRange(p, r)
			if result.FarSays, err = c.farRange(ctx, p, r); err != nil {
				return err
			}
			c.report.Ranges = append(c.report.Ranges, result)
		}
	}
	return nil
}

// addUnsettled adds what need not be at the far end to the ranges it is of. What is there all the same was added already.
func (c *comparison) addUnsettled() {
	for _, p := range c.pipes {
		if len(p.closed) == 0 {
			continue
		}
		waiting, refused := c.look.Unsettled(c.Remote, c.Pipelines[p.place], c.name)
		for _, id := range append(slices.Clone(waiting), refused...) {
			r := p.rangeOf(id.Time)
			if r == nil || c.hasKey(id.Key) || c.hasArrived(id) {
				continue
			}
			r.has(id, 1)
		}
	}
}

// hasKey reports whether a key is kept one by one.
func (c *comparison) hasKey(k bridge.Key) bool {
	_, found := slices.BinarySearchFunc(c.keys, k, func(s seen, k bridge.Key) int { return compareKeys(s.Key, k) })
	return found
}

func (c *comparison) hasArrived(id bridge.ID) bool {
	_, found := slices.BinarySearchFunc(c.arrived, id, func(a arrived, id bridge.ID) int { return a.id().Compare(id) })
	return found
}

// incomparable says why the sums of a range mean nothing for this period.
func (c *comparison) incomparable(r *rangeSums) string {
	switch {
	case !r.Known:
		return "its sums are not known: closed by an older version, or a record in it was updated later"
	case r.From < c.Period.From || r.To >= c.Period.To:
		return "reaches beyond the period"
	}
	return ""
}

func (c *comparison) edgeRange(p *pipe, r *rangeSums) string {
	store, listed := c.edge[c.name]
	switch {
	case c.Edge == nil || !listed:
		return "not compared: the edge store has no such stream"
	case c.incomparable(r) != "":
		return "not compared: " + c.incomparable(r)
	case store.Oldest > r.From:
		return "not compared: the edge store has evicted its beginning"
	case r.edge == r.Times && r.edgeHash == r.TimesHash:
		return equal
	case r.edge < r.Times:
		return fmt.Sprintf("not compared: %d records were removed from the edge store", r.Times-r.edge)
	}
	missing := max(r.edge-r.Times, 1)
	f := Finding{Kind: HoleEdge, Stream: c.name, Pipeline: c.Pipelines[p.place], id: bridge.ID{Key: bridge.Key{Time: r.From}}, Unnamed: true, Number: missing,
		ID:  fmt.Sprintf("%d of the records in %s@%d..%d", missing, c.name, r.From, r.To),
		Why: fmt.Sprintf("the edge store has %d there, the ledger %d; which ones cannot be told any more", r.edge, r.Times)}
	if t := int64(r.edgeHash ^ r.TimesHash); r.edge-r.Times == 1 && r.From <= t && t <= r.To {
		f.id.Time, f.ID, f.Unnamed, f.Closed = t, "", false, true
		f.Why = "in a closed range: it cannot be taken in any more"
	}
	c.find(f)
	return "different"
}

func (c *comparison) farRange(ctx context.Context, p *pipe, r *rangeSums) (string, error) {
	whole := c.incomparable(r) == ""
	if whole && r.far.equal(r) { // with its doubles: so they were made more than once
		return equal, nil
	}
	for _, s := range r.doubles {
		c.suspect(s)
	}
	switch {
	case !whole:
		return "not compared: " + c.incomparable(r), nil
	case len(c.pipes) > 1:
		return "not compared: several pipelines send it", nil
	case c.coarse:
		return "not compared: the far end knows times only", nil
	case r.once.equal(r):
		return equal, nil
	}
	kind, n := HoleFar, r.Messages-r.once.n
	if n < 0 {
		kind, n = Stranger, -n
	}
	f := Finding{Kind: kind, Stream: c.name, Pipeline: c.Pipelines[p.place], id: bridge.ID{Key: bridge.Key{Time: r.From}}, Unnamed: true, Number: n,
		ID:  fmt.Sprintf("%d of the messages in %s@%d..%d", max(n, 1), c.name, r.From, r.To),
		Why: fmt.Sprintf("the far end has %d there, the ledger made %d; which ones cannot be told any more", r.once.n, r.Messages)}
	if n == 1 {
		id, ok, err := c.ofHash(ctx, kind, r)
		if err != nil {
			return "", err
		}
		if ok {
			f.id, f.ID, f.Why, f.Unnamed = id, "", "", false
		}
	}
	c.find(f)
	return "different", nil
}

// maxTried is how many outputs of a record are tried to find the one that is missing.
const maxTried = 16

// ofHash returns the one message that makes the difference between both sides of a range: a stranger is among the arrivals, one that is
// missing was made of a record of the edge store, if that still has it.
func (c *comparison) ofHash(ctx context.Context, kind Kind, r *rangeSums) (id bridge.ID, ok bool, err error) {
	hash := r.once.hash ^ r.MessageHash
	try := func(x bridge.ID) {
		if bridge.MessageHash(x.Key, x.Index) == hash {
			id, ok = x, true
		}
	}
	if kind == Stranger {
		for i := range c.arrived {
			try(c.arrived[i].id())
		}
		return id, ok, nil
	}
	if c.Edge == nil {
		return id, false, nil
	}
	err = c.Edge.Each(ctx, c.name, Period{r.From, r.To + 1}, func(t int64) {
		for index := range uint16(maxTried) {
			try(bridge.ID{Key: bridge.Key{Time: t}, Index: index})
		}
	})
	if errors.Is(err, ErrIncomparable) {
		err = nil
	}
	return id, ok, err
}

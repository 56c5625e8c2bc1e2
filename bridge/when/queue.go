package when

import (
	"bytes"

	"github.com/sluicebridge/sluice/bridge"
)

// held is a record that has not passed and may still be asked for by #ctx_before.
type held struct {
	record bridge.Record
	at     int32  // its place in the batch that is at work; -1: an earlier one, its bytes are ours
	why    Reason // it has not passed
}

// queue is what is held of a stream, the oldest first.
type queue struct {
	items []held
	first int // items before it have left
	bytes int // of the encoded records of earlier batches
}

func (q *queue) all() []held { return q.items[q.first:] }
func (q *queue) len() int    { return len(q.items) - q.first }

func (q *queue) push(h held) { q.items = append(q.items, h) }

// pop takes the oldest out.
func (q *queue) pop() held {
	h := q.items[q.first]
	q.items[q.first] = held{}
	q.first++
	q.left(&h)
	if q.first > len(q.items)/2 && q.first > 16 {
		q.shift()
	}
	return h
}

func (q *queue) left(h *held) {
	if h.at < 0 {
		q.bytes -= h.size()
	}
}

func (q *queue) shift() {
	n := copy(q.items, q.items[q.first:])
	clear(q.items[n:])
	q.items, q.first = q.items[:n], 0
}

// empty takes all out.
func (q *queue) empty() {
	clear(q.items)
	q.items, q.first, q.bytes = q.items[:0], 0, 0
}

// replaced takes the record of time t out, of which there is a newer revision now.
func (q *queue) replaced(t int64) (old held, found bool) {
	for i := q.first; i < len(q.items); i++ {
		if q.items[i].record.Time == t {
			old = q.items[i]
			q.left(&old)
			q.items = append(q.items[:i], q.items[i+1:]...)
			return old, true
		}
	}
	return old, false
}

// own copies what belongs to the batch, which ends now.
func (q *queue) own() {
	for i := q.first; i < len(q.items); i++ {
		h := &q.items[i]
		if h.at >= 0 {
			h.record, h.at = cloneRecord(&h.record), -1
			q.bytes += h.size()
		}
	}
}

func cloneRecord(r *bridge.Record) bridge.Record {
	c := *r
	c.ContentType, c.Payload = bytes.Clone(r.ContentType), bytes.Clone(r.Payload)
	c.Labels = make([]bridge.Label, len(r.Labels))
	for i, l := range r.Labels {
		c.Labels[i] = bridge.Label{Name: bytes.Clone(l.Name), Value: bytes.Clone(l.Value)}
	}
	return c
}

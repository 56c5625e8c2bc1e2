package verify

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// tail is what the edge store has of a stream behind all that a pipeline has seen of it. It may be on the way, and later looks tell whether it is: one
// record is for sure where its sender, who sends a stream in the order of its writing, has brought a newer one meanwhile. How much a sender has left
// to send the store tells only as one number for all of its streams.
type tail struct {
	stream string
	pipe   uint8  // in Job.Pipelines
	newest int64  // that had been seen; math.MinInt64: nothing ever
	first  int64  // time of its oldest record
	last   int64  // and of its newest
	n      int64  // how many there are
	data   []byte // their times, each as the distance from the one before, base 128
}

func (x *tail) add(t int64) {
	if x.n == 0 {
		x.first = t
	}
	x.data = binary.AppendVarint(x.data, t-x.last)
	x.last = t
	x.n++
}

func (x *tail) each(f func(t int64)) {
	var t int64
	for b := x.data; len(b) > 0; {
		step, n := binary.Varint(b)
		b = b[n:]
		t += step
		f(t)
	}
}

// behind keeps a record that is newer than all that a pipeline has seen.
func (c *comparison) behind(t int64, p *pipe) {
	if p.tail == nil {
		p.tail = &tail{stream: c.name, pipe: p.place, newest: p.newest}
		c.Job.tails = append(c.tails, p.tail)
	}
	p.tail.add(t)
}

// young reports whether a record may be on its way whatever its sender says: it was written only just now.
func (j *Job) young(t int64) bool { return t > j.asked-onTheWay.Microseconds() }

// newest is the newest record that a pipeline has seen of a stream, at the last look.
func (j *Job) newest(pipeline, stream string) int64 {
	for _, s := range j.known[stream] {
		if s.Pipeline == pipeline {
			return s.Newest
		}
	}
	return math.MinInt64
}

func (j *Job) moved(x *tail) bool { return j.newest(j.Pipelines[x.pipe], x.stream) > x.newest }

// undecided reports whether it may yet turn out that something old is on the way: its sender has something left to send.
func (j *Job) undecided() bool {
	return slices.ContainsFunc(j.tails, func(x *tail) bool {
		left := j.edge[x.stream].Pending
		return !j.young(x.first) && !j.moved(x) && left > 0 && left < math.MaxInt64
	})
}

// judgeTails says of each record that was behind all that was seen what has become of it.
func (j *Job) judgeTails() {
	perStream := make(map[string]int64)
	for i, x := range j.tails {
		j.tails[i] = j.judgeKnown(x)
		perStream[x.stream] = max(perStream[x.stream], j.tails[i].n)
	}
	left := make(map[string]int64) // by sender
	for stream, n := range perStream {
		left[j.edge[stream].Sender] += n
	}
	for _, x := range j.tails {
		why := j.missing(x, left)
		x.each(func(t int64) {
			if why == "" {
				j.row(x.stream, t).OnTheWay++
				return
			}
			j.hole(x, t, why)
		})
	}
}

// judgeKnown judges the records of which the last look at the ledger tells alone, and returns the others.
func (j *Job) judgeKnown(x *tail) *tail {
	c := &comparison{Job: j, name: x.stream}
	c.findPipes()
	c.keys = c.load(j.now, j.keyRoom[:0])
	rest := &tail{stream: x.stream, pipe: x.pipe, newest: x.newest}
	newest := j.newest(j.Pipelines[x.pipe], x.stream)
	x.each(func(t int64) {
		s := suspect{id: bridge.ID{Key: bridge.Key{Time: t}}, kind: HoleEdge, pipe: x.pipe}
		switch taken, _ := c.decided(&s); {
		case taken:
			j.row(x.stream, t).Seen++
		case t <= newest:
			j.hole(x, t, "a newer one of its stream came meanwhile")
		case j.young(t):
			j.row(x.stream, t).OnTheWay++
		default:
			rest.add(t)
		}
	})
	j.keyRoom = c.keys
	return rest
}

// missing says why the old records of a tail are not on the way; empty: they may be. A stream whose records come is on its way to the others. Where none
// comes of any stream, the sender has been stopped, and may have all of them left, as far as its number goes.
func (j *Job) missing(x *tail, left map[string]int64) string {
	s := j.edge[x.stream]
	switch {
	case s.Pending == 0:
		return "its sender has nothing left to send"
	case j.moved(x):
		return ""
	case s.Pending == math.MaxInt64 && x.newest == math.MinInt64 && j.sends(s.Sender):
		return "nothing of its stream ever came, though others are read"
	case s.Pending == math.MaxInt64: // whatever is behind what it has read is still to be read
		return ""
	case x.newest == math.MinInt64:
		return fmt.Sprintf("nothing of its stream ever came, though its sender has %d records left to send", s.Pending)
	case j.sends(s.Sender):
		return fmt.Sprintf("nothing of its stream came between two looks, though its sender has %d records left to send, and sends others", s.Pending)
	case left[s.Sender] > s.Pending:
		return fmt.Sprintf("its sender has %d records left to send, and %d have not come", s.Pending, left[s.Sender])
	}
	return ""
}

// sends reports whether anything has come from a sender since the first look.
func (j *Job) sends(sender string) bool {
	for name, list := range j.known {
		s := j.edge[name]
		if s.Sender != sender {
			continue
		}
		if s.Pending < j.pending[sender] {
			return true
		}
		for _, now := range list {
			if was, known := j.first[place{now.Pipeline, name}]; !known || now.Newest > was {
				return true
			}
		}
	}
	return false
}

func (j *Job) hole(x *tail, t int64, why string) {
	if gap := gapOf(j.now.Gaps, x.stream, t); gap != "" {
		why = gap
	}
	j.find(Finding{Kind: HoleEdge, Stream: x.stream, Pipeline: j.Pipelines[x.pipe], id: bridge.ID{Key: bridge.Key{Time: t}}, Why: why})
}

// gapOf says that an open gap names a record; empty: none does.
func gapOf(gaps []bridge.Gap, stream string, t int64) string {
	why := ""
	for _, g := range gaps {
		if g.Stream == stream && g.From <= t && t <= g.To {
			why = "an open gap names it: " + g.Reason
		}
	}
	return why
}

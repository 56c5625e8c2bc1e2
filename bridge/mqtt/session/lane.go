package session

import "github.com/sluicebridge/sluice/bridge"

// lane is a queue of messages that leave in their order, or two where live ones overtake. It exists while it has a message queued or a claim open.
type lane struct {
	Lane
	queue  [classes]queue
	here   int           // open claims on the lane's own connection
	away   int           // open claims elsewhere: the lane waits for their end before it claims anew (rule 15)
	queued [classes]bool // in its connection's list
	held   bool          // its first message was refused for now
}

// class tells what may be overtaken from what overtakes. All is backlog unless Config.Live.
type class uint8

const (
	backlog class = iota
	live
	classes
)

// queue is a list of spans, in the order of their messages.
type queue struct {
	spans []span
	head  int // spans[head:] is the queue
}

// span is a run of messages of one row.
type span struct {
	row      uint64
	from, to uint32 // to excluded
	mark     Mark
}

func (m *Machine) lane(of Lane) *lane {
	if l := m.lanes[of.Hash]; l != nil {
		return l
	}
	var l *lane
	if n := len(m.free); n > 0 {
		l, m.free = m.free[n-1], m.free[:n-1]
	} else {
		l = new(lane)
	}
	l.Lane = of
	m.lanes[of.Hash] = l
	return l
}

// home is the connection that a lane claims on. It is the same in every life with as many connections.
func (m *Machine) home(l *lane) *conn { return m.conns[l.Hash%uint64(m.c.Connections)] }

// push appends one message and returns how many spans that added.
func (q *queue) push(ref bridge.Ref, mark Mark) int {
	if n := len(q.spans); n > q.head {
		if s := &q.spans[n-1]; s.row == ref.Row && s.to == ref.Index && s.mark == mark {
			s.to++
			return 0
		}
	}
	q.spans = append(q.spans, span{ref.Row, ref.Index, ref.Index + 1, mark})
	return 1
}

// pushBack puts a message that was claimed back to where it belongs: before all that follow it.
func (q *queue) pushBack(ref bridge.Ref, mark Mark) {
	if q.head == 0 {
		q.spans = append(q.spans, span{})
		copy(q.spans[1:], q.spans)
	} else {
		q.head--
	}
	i := q.head
	for ; i+1 < len(q.spans) && q.spans[i+1].before(ref); i++ {
		q.spans[i] = q.spans[i+1]
	}
	q.spans[i] = span{ref.Row, ref.Index, ref.Index + 1, mark}
}

func (s span) before(ref bridge.Ref) bool {
	return s.row < ref.Row || s.row == ref.Row && s.from < ref.Index
}

// pop takes the first message out and returns how many spans that ended. The queue must not be empty.
func (q *queue) pop() (ref bridge.Ref, mark Mark, ended int) {
	s := &q.spans[q.head]
	ref, mark = bridge.Ref{Row: s.row, Index: s.from}, s.mark
	if s.from++; s.from < s.to {
		return ref, mark, 0
	}
	q.head++
	switch {
	case q.head == len(q.spans):
		q.spans, q.head = q.spans[:0], 0
	case q.head > 64 && q.head*2 > len(q.spans):
		q.spans = q.spans[:copy(q.spans, q.spans[q.head:])]
		q.head = 0
	}
	return ref, mark, 1
}

func (q *queue) len() int { return len(q.spans) - q.head }

// clear empties q, and keeps its memory if that is not much.
func (q *queue) clear() {
	if q.spans, q.head = q.spans[:0], 0; cap(q.spans) > 1024 {
		q.spans = nil
	}
}

// claimable reports whether the next message of a class may be claimed as far as the lane is concerned.
func (l *lane) claimable(x class) bool {
	if l.queue[x].len() == 0 || l.held {
		return false
	}
	return l.Ordering == bridge.Unordered || l.away == 0 && (l.Ordering == bridge.Pipelined || l.here == 0)
}

// enqueue puts a claimable lane on its connection's list; else whatever makes it claimable does.
func (m *Machine) enqueue(l *lane) {
	if !l.queued[backlog] || m.c.Live { // else it is there already, which is so often that it should cost nothing
		m.enqueueBoth(l)
	}
}

func (m *Machine) enqueueBoth(l *lane) {
	for x := range classes {
		if !l.queued[x] && l.claimable(x) {
			l.queued[x] = true
			m.home(l).ready[x].push(l)
		}
	}
}

// forget gives an idle lane's memory back.
func (m *Machine) forget(l *lane) {
	if l.queue[backlog].len() > 0 || l.here+l.away > 0 || l.queue[live].len() > 0 || l.queued[backlog] || l.queued[live] || l.held {
		return
	}
	delete(m.lanes, l.Hash)
	for x := range classes {
		l.queue[x].clear()
	}
	*l = lane{queue: l.queue}
	if len(m.free) < 1024 {
		m.free = append(m.free, l)
	}
}

// lanes is a first-in first-out list.
type lanes struct {
	list []*lane
	head int
}

func (q *lanes) push(l *lane) {
	if q.head > 64 && q.head*2 > len(q.list) {
		q.list = q.list[:copy(q.list, q.list[q.head:])]
		q.head = 0
	}
	q.list = append(q.list, l)
}

func (q *lanes) empty() bool { return q.head == len(q.list) }

func (q *lanes) pop() *lane {
	if q.empty() {
		q.list, q.head = q.list[:0], 0
		return nil
	}
	l := q.list[q.head]
	q.list[q.head] = nil
	q.head++
	return l
}

package session

import "github.com/sluicebridge/sluice/bridge"

// lane is a queue of messages that leave in their order. It exists while it has a message queued or a claim open.
type lane struct {
	Lane
	queue  []span
	head   int  // queue[head:] is the queue
	here   int  // open claims on the lane's own connection
	away   int  // open claims elsewhere: the lane waits for their end before it claims anew (rule 15)
	queued bool // in its connection's list
	held   bool // its first message was refused for now
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
func (l *lane) push(ref bridge.Ref, mark Mark) int {
	if n := len(l.queue); n > l.head {
		if s := &l.queue[n-1]; s.row == ref.Row && s.to == ref.Index && s.mark == mark {
			s.to++
			return 0
		}
	}
	l.queue = append(l.queue, span{ref.Row, ref.Index, ref.Index + 1, mark})
	return 1
}

// pushBack puts a message that was claimed back to where it belongs: before all that follow it.
func (l *lane) pushBack(ref bridge.Ref, mark Mark) {
	if l.head == 0 {
		l.queue = append(l.queue, span{})
		copy(l.queue[1:], l.queue)
	} else {
		l.head--
	}
	i := l.head
	for ; i+1 < len(l.queue) && l.queue[i+1].before(ref); i++ {
		l.queue[i] = l.queue[i+1]
	}
	l.queue[i] = span{ref.Row, ref.Index, ref.Index + 1, mark}
}

func (s span) before(ref bridge.Ref) bool {
	return s.row < ref.Row || s.row == ref.Row && s.from < ref.Index
}

// pop takes the first message out and returns how many spans that ended. The queue must not be empty.
func (l *lane) pop() (ref bridge.Ref, mark Mark, ended int) {
	s := &l.queue[l.head]
	ref, mark = bridge.Ref{Row: s.row, Index: s.from}, s.mark
	if s.from++; s.from < s.to {
		return ref, mark, 0
	}
	l.head++
	switch {
	case l.head == len(l.queue):
		l.queue, l.head = l.queue[:0], 0
	case l.head > 64 && l.head*2 > len(l.queue):
		l.queue = l.queue[:copy(l.queue, l.queue[l.head:])]
		l.head = 0
	}
	return ref, mark, 1
}

func (l *lane) empty() bool { return l.head == len(l.queue) }

// claimable reports whether the lane's next message may be claimed as far as the lane is concerned.
func (l *lane) claimable() bool {
	if l.empty() || l.held {
		return false
	}
	return l.Ordering == bridge.Unordered || l.away == 0 && (l.Ordering == bridge.Pipelined || l.here == 0)
}

// enqueue puts a claimable lane on its connection's list; else whatever makes it claimable does.
func (m *Machine) enqueue(l *lane) {
	if l.queued || !l.claimable() {
		return
	}
	l.queued = true
	m.home(l).ready.push(l)
}

// forget gives an idle lane's memory back.
func (m *Machine) forget(l *lane) {
	if !l.empty() || l.here+l.away > 0 || l.queued || l.held {
		return
	}
	delete(m.lanes, l.Hash)
	queue := l.queue[:0]
	if cap(queue) > 1024 {
		queue = nil
	}
	*l = lane{queue: queue}
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

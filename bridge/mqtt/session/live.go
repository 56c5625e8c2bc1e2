package session

import (
	"math"

	"github.com/sluicebridge/sluice/bridge"
)

// Where live messages go first (Config.Live), Anew cuts time into phases. What was appended before a phase is its backlog, what is appended in it is
// live. Both keep their order in a lane, and live ones are claimed first:
//
//	appended   1 2 3 4 5 6 │ 7 8 9 │ 10 11
//	             phase 1: 1│2 7 3 8 : phase 2: 4 10 5 6 11 9
//
// A message that is claimed after a newer one of its lane is late: 3, 4, 5, 6 and 9 here, not 1 and 2. Of those that went first, the first of a phase says it
// for all, since no other of the phase that comes before it is left behind.

// passed is the first message of a phase that went before older ones of its lane.
type passed struct {
	row uint64 // older ones are late
	now bool   // in this phase
}

// Anew begins a phase: what is queued is forgotten. Every row that has something to be sent comes by Offer once more, as after a crash: those that there
// are now, then an empty one, and beside them as live ones those appended from now on. Claims stay as they are.
func (m *Machine) Anew() {
	m.caughtUp = false
	for hash, p := range m.passed {
		m.passed[hash] = passed{row: p.row}
	}
	for _, c := range m.conns {
		if c != nil {
			c.ready = [classes]lanes{}
		}
	}
	for _, l := range m.lanes {
		for x := range classes {
			l.queued[x] = false
			m.unqueue(&l.queue[x])
		}
		m.forget(l)
	}
	m.spans, m.shares = [classes]int{}, [classes]int{}
	m.restored = make(map[bridge.Ref]struct{})
	for _, c := range m.conns {
		if c != nil {
			c.comesAgain(m.restored)
		}
	}
}

func (m *Machine) unqueue(q *queue) {
	for _, s := range q.spans[q.head:] {
		for i := s.from; i < s.to; i++ {
			m.remember(bridge.Ref{Row: s.row, Index: i}, s.mark)
		}
	}
	q.clear()
}

// comesAgain adds what is claimed, and what an end is noted of that may not be durable when the row is read. What was returned is not claimed any more.
func (c *conn) comesAgain(refs map[bridge.Ref]struct{}) {
	for n := c.base; n < c.next; n++ {
		k := c.at(n)
		k.flags &^= alive
		if !k.has(gone) && !k.has(returned) {
			refs[k.Ref] = struct{}{}
		}
	}
}

// overtake notes that a live message is claimed while older ones of its lane may wait.
func (m *Machine) overtake(l *lane, row uint64, s *bridge.Step) {
	if l.Ordering == bridge.Unordered || m.caughtUp && l.queue[backlog].len() == 0 || m.passed[l.Hash].now {
		return
	}
	m.passed[l.Hash] = passed{row, true}
	s.Passed = append(s.Passed, bridge.Overtaking{Lane: l.Hash, Row: row})
}

// late reports whether a newer message of a lane was claimed before one of this row.
func (m *Machine) late(l *lane, row uint64) bool {
	return len(m.passed) > 0 && l.Ordering != bridge.Unordered && row < m.passed[l.Hash].row
}

// prune forgets what went before messages that are all gone. One that is open may still be returned.
func (m *Machine) prune() {
	if len(m.passed) == 0 || !m.caughtUp || m.spans[backlog] > 0 {
		return
	}
	oldest := uint64(math.MaxUint64)
	for _, c := range m.conns {
		for n := uint64(0); c != nil && n < c.next-c.base; n++ {
			if k := c.at(c.base + n); !k.has(ended) {
				oldest = min(oldest, k.Row)
			}
		}
	}
	for hash, p := range m.passed {
		if p.row <= oldest {
			delete(m.passed, hash)
		}
	}
}

package site

import "maps"

// Outcome is what became of records.
type Outcome uint8

const (
	Sent      Outcome = iota // the target has taken them
	Kept                     // they stay in the log and go again
	Forgotten                // they are out of the log and the target has not taken them
	Overrun                  // the log was full and dropped them unsent
	LogLost                  // the log was dropped with them
	Evicted                  // the store had them no more when their turn came
)

// Event is one outcome of several records of an entry.
type Event struct {
	Outcome Outcome
	Entry   string
	Times   []int64
	Why     string
}

// Counters are of transactions: a record that was written and updated counts twice.
type Counters struct {
	Noted     int64
	Sent      int64
	Kept      int64 // each time
	Forgotten int64
	Overrun   int64
	LogLost   int64
	Evicted   int64
	Batches   int64         // requests with records in them
	Dials     int64         // connections made
	Answers   map[int]int64 // by status, those to probes included
}

// Counters returns a copy of what was counted until now.
func (s *Sender) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counters
	c.Answers = maps.Clone(c.Answers)
	return c
}

// settle takes a batch from its log and says what became of it.
func (s *Sender) settle(b batch, failed map[int64]bool, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	evicted := make(map[int64]bool, len(b.evicted))
	for _, t := range b.evicted {
		evicted[t] = true
	}
	var sent, forgotten []int64
	for _, line := range b.lines {
		switch {
		case evicted[line.time]:
		case failed[line.time]:
			forgotten = append(forgotten, line.time)
		default:
			sent = append(sent, line.time)
		}
	}
	s.report(Event{Sent, b.entry, sent, ""})
	s.report(Event{Forgotten, b.entry, forgotten, why})
	s.report(Event{Evicted, b.entry, b.evicted, "evicted before it was sent"})
	log := s.logs[b.entry]
	first := log.first
	popped := log.pop(len(b.lines))
	if unsent := first + uint64(len(popped)); unsent > b.first+uint64(len(b.lines)) {
		extra := min(unsent-b.first-uint64(len(b.lines)), uint64(len(popped)))
		s.report(Event{Forgotten, b.entry, times(popped[uint64(len(popped))-extra:]), "popped in place of lines that the overrun log had dropped"})
	}
}

// tell is report for callers without the lock.
func (s *Sender) tell(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report(e)
}

// report counts and tells an event; called with s.mu held.
func (s *Sender) report(e Event) {
	n := int64(len(e.Times))
	if n == 0 {
		return
	}
	switch e.Outcome {
	case Sent:
		s.counters.Sent += n
	case Kept:
		s.counters.Kept += n
	case Forgotten:
		s.counters.Forgotten += n
	case Overrun:
		s.counters.Overrun += n
	case LogLost:
		s.counters.LogLost += n
	case Evicted:
		s.counters.Evicted += n
	}
	if s.cfg.Watch != nil {
		s.cfg.Watch(e)
	}
}

func (s *Sender) count(add func(*Counters)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&s.counters)
}

func times(lines []transaction) []int64 {
	ts := make([]int64, len(lines))
	for i, l := range lines {
		ts[i] = l.time
	}
	return ts
}

// Fault is something that happens to one request.
type Fault uint8

const (
	NoFault     Fault = iota
	CutRequest        // the connection breaks with half of the request written: forgotten
	CutAnswer         // the target has answered, but the connection breaks before the sender reads it: forgotten, whatever was answered
	KillRequest       // the edge is killed with half of the request written: kept
	KillAnswer        // the edge is killed with the request written and the answer unread: kept, and sent again
)

type plan struct {
	fault Fault
	after int
}

// Plan lets a fault happen to the request with records that comes after the next n of them.
func (s *Sender) Plan(f Fault, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.planned = append(s.planned, plan{f, n})
}

// Unfired returns how many planned faults have not happened yet. A test that ends with some has tested nothing.
func (s *Sender) Unfired() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.planned)
}

// fault takes what is planned for this request and moves the other plans one nearer.
func (s *Sender) fault() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := NoFault
	rest := s.planned[:0]
	for _, p := range s.planned {
		if p.after == 0 && now == NoFault {
			now = p.fault
			continue
		}
		rest = append(rest, plan{p.fault, max(p.after-1, 0)})
	}
	s.planned = rest
	return now
}

package mqtt

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// Status is a remote at one moment.
type Status struct {
	Connections []Connection
	Inflight    int    // sent and not acknowledged, of all connections
	Unsure      int    // sent on a network connection that is gone, and neither acknowledged nor sent again: the broker may have them or not
	Held        int    // lanes that wait with a message that was refused for now
	HeldWhy     string // why the last of them does, as the broker said
	Full        bool   // no room for more: what lanes wait with fills the queue
	Parked      int    // messages set aside since the start
	LastParked  string // why the last one was
	Drain       string // what the configured limit does at the moment, for people; empty where nobody waits for it
	Bound       string // what the broker allows, for people; empty before the first CONNACK
}

// Note is what a person should know, "" for nothing.
func (s *Status) Note() string {
	var notes []string
	if s.Bound != "" {
		notes = append(notes, s.Bound)
	}
	if s.Drain != "" {
		notes = append(notes, s.Drain)
	}
	for _, c := range s.Connections {
		if c.Unchecked != "" {
			notes = append(notes, "a session brought back from an old copy would not be noticed: "+c.Unchecked)
			break // the broker's answer is the same for all
		}
	}
	if s.Held > 0 {
		notes = append(notes, fmt.Sprintf("%d lanes wait with a message that was refused, the last one: %s", s.Held, s.HeldWhy))
		if s.Full {
			notes = append(notes, "they fill the queue, all others wait too")
		}
	}
	if s.Parked > 0 {
		notes = append(notes, fmt.Sprintf("%d messages parked since the start, the last one: %s", s.Parked, s.LastParked))
	}
	return strings.Join(notes, "; ")
}

// burst keeps many messages that are parked one after another from filling the log: the first is said at once, the others are summed up.
type burst struct {
	length time.Duration // between two lines of the log
	open   bool          // a line was written less than length ago
	more   int           // messages since
	reason string        // of the last of them
}

// park notes a message that was set aside.
func (r *Remote) park(ref bridge.Ref, reason string) {
	r.mu.Lock()
	r.parked++
	r.why = reason
	r.mu.Unlock()
	if r.burst.open {
		r.burst.more++
		r.burst.reason = reason
		return
	}
	r.o.Log.Warn("message parked", "row", ref.Row, "index", ref.Index, "reason", reason)
	r.startBurst()
}

func (r *Remote) startBurst() {
	r.burst.open, r.burst.more = true, 0
	time.AfterFunc(r.burst.length, func() { r.events.add(event{kind: burstEnded}) })
}

func (r *Remote) burstOver() {
	r.burst.open = false
	if r.burst.more > 0 {
		r.o.Log.Warn("more messages parked", "messages", r.burst.more, "last_reason", r.burst.reason)
		r.startBurst()
	}
}

// Connection is one client.
type Connection struct {
	ClientID       string
	Connected      bool
	Since          time.Time // of Connected; zero before the first try
	Inflight       int
	ReceiveMaximum int    // as the broker said last; 0 = it has not
	LastError      string // why the last network connection ended
	Unchecked      string // why an old session would not be told from ours; empty: it would, or check_broker is off
}

// Status may be called at any time.
func (r *Remote) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{Held: r.held, HeldWhy: r.heldWhy, Full: r.full, Parked: r.parked, LastParked: r.why}
	if r.limiter != nil {
		s.Drain = r.limit.Note(time.Now())
	}
	allowed := 0
	for _, c := range r.all {
		c.mu.Lock()
		x := c.status
		if c.life != nil {
			x.Unchecked = c.life.unchecked()
		}
		c.mu.Unlock()
		x.Inflight = int(c.inflight.Load())
		s.Inflight += x.Inflight
		s.Unsure += int(c.unsure.Load())
		s.Connections = append(s.Connections, x)
		allowed += min(x.ReceiveMaximum, r.c.Window)
	}
	if allowed > 0 {
		s.Bound = fmt.Sprintf("broker allows %d in flight: at most so many messages a round trip (two at QoS 2)", allowed)
	}
	return s
}

// counters are the remote's own of bridge.Metrics; all nil without them.
type counters struct {
	m         *bridge.Metrics
	name      string
	delivered *atomic.Int64
	parked    *atomic.Int64
	codes     [256]*atomic.Int64
}

func newCounters(name string, m *bridge.Metrics) counters {
	c := counters{m: m, name: name}
	if m != nil {
		c.delivered, c.parked = m.MessagesDelivered.At(name), m.RecordsParked.At(name)
		m.PossibleDuplicate.At(name + "/" + Refilled) // a counter that is missing until the first double cannot be watched
		for i := range causes {
			m.PossibleDuplicate.At(name + "/" + causes[i].name)
		}
	}
	return c
}

// ended counts a message that was delivered or parked. now is in microseconds.
func (c *counters) ended(kind bridge.AckKind, x *row, now int64) {
	if c.m == nil {
		return
	}
	if kind != bridge.AckDelivered {
		c.parked.Add(1)
		return
	}
	c.delivered.Add(1)
	if x != nil {
		c.m.DeliveryLatency.Observe(time.Duration(max(0, now-x.appended)) * time.Microsecond)
	}
}

func (c *counters) acked(code byte) {
	if c.m == nil {
		return
	}
	if c.codes[code] == nil {
		c.codes[code] = c.m.Pubacks.At(fmt.Sprintf("0x%02x", code))
	}
	c.codes[code].Add(1)
}

func (c *counters) marked(cause string) {
	if c.m != nil {
		c.m.PossibleDuplicate.At(c.name + "/" + cause).Add(1)
	}
}

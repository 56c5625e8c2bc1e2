package mqtt

import (
	"sync"

	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// event is something that happened to a client, on its way to the pump.
type event struct {
	kind    eventKind
	conn    uint16
	packet  session.Packet // acked
	link    *link          // ready, and accepted that has waited
	connect chan<- opening // ready: tells the client to send CONNECT, and how; with room for one
	present bool           // accepted
	most    int            // accepted: Receive Maximum
	size    int            // accepted: largest packet, 0 = any
	waited  bool           // accepted: it was held back for a while
	blame   bool           // lost: see Machine.Lost
}

type eventKind uint8

const (
	ready eventKind = iota
	accepted
	rejected
	acked
	lost
	takenOver
	outlived   // the session is older than what it has acknowledged
	burstEnded // of no connection: see burst
)

// events is the queue between the clients and the pump. It is bounded: who adds to a full one waits, which in the end stops reading from the
// broker.
type events struct {
	wake chan struct{}

	mu     sync.Mutex
	space  sync.Cond // of mu
	list   []event
	spare  []event
	closed bool
}

// maxEvents is more than all acknowledgements that may be under way, so only a broker that talks nonsense meets it.
const maxEvents = 1 << 17

func newEvents() *events {
	q := &events{wake: make(chan struct{}, 1)}
	q.space.L = &q.mu
	return q
}

func (q *events) add(e event) {
	q.mu.Lock()
	for len(q.list) >= maxEvents && !q.closed {
		q.space.Wait()
	}
	q.list = append(q.list, e)
	first := len(q.list) == 1
	q.mu.Unlock()
	if first {
		q.poke()
	}
}

// poke makes the pump turn.
func (q *events) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns what was added since. The slice is the caller's until the next call.
func (q *events) take() []event {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list, q.spare = q.spare[:0], q.list
	q.space.Broadcast()
	return q.spare
}

// close lets nobody wait any more: the pump has ended.
func (q *events) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.list = nil
	q.space.Broadcast()
}

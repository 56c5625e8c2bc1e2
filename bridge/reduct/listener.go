package reduct

import (
	"container/list"
	"errors"
	"net"
	"sync"
	"time"
)

// crowd is a listener that keeps at most max connections open. Where one more comes, the one that has been silent longest since it was
// opened makes room; where all have spoken, the newcomer waits in the kernel's queue. It is never accepted and then refused: closing a
// connection that a batch is on its way through makes the sender forget the batch.
type crowd struct {
	net.Listener
	max int

	mu     sync.Mutex
	open   int           // guarded by mu
	silent list.List     // of *member, oldest first; guarded by mu
	left   chan struct{} // guarded by mu; closed and replaced when one leaves
	closed chan struct{}
	once   sync.Once
}

func newCrowd(ln net.Listener, max int) *crowd {
	return &crowd{Listener: ln, max: max, left: make(chan struct{}), closed: make(chan struct{})}
}

// Accept waits for room first.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		c.mu.Lock()
		full, left := c.open >= c.max, c.left
		var oldest *member
		if full && c.silent.Len() > 0 {
			oldest = c.silent.Front().Value.(*member)
		}
		c.mu.Unlock()
		switch {
		case !full:
			conn, err := c.Listener.Accept()
			if err == nil {
				return c.enter(conn), nil
			}
			if !passes(err) || !c.wait(left, acceptAgain) {
				return nil, err
			}
		case oldest != nil && c.crowded(oldest):
			_ = oldest.Close()
		default:
			if !c.wait(left, grace) {
				return nil, net.ErrClosed
			}
		}
	}
}

// acceptAgain is the wait after a connection could not be accepted, unless one ends before.
const acceptAgain = 100 * time.Millisecond

// passes reports whether an error of Accept will pass: that the process or the system has no file left to open (EMFILE, ENFILE).
func passes(err error) bool {
	var e interface{ Temporary() bool }
	return errors.As(err, &e) && e.Temporary()
}

// wait returns true when a connection has left or d is over, false when the listener is closed.
func (c *crowd) wait(left <-chan struct{}, d time.Duration) bool {
	select {
	case <-left:
	case <-time.After(d):
	case <-c.closed:
		return false
	}
	return true
}

// grace is how long a connection may be silent in a crowd before it makes room. A sender speaks as soon as it is connected.
const grace = 10 * time.Millisecond

func (c *crowd) crowded(m *member) bool { return time.Since(m.accepted) > grace }

func (c *crowd) enter(conn net.Conn) *member {
	m := &member{Conn: conn, crowd: c, accepted: time.Now()}
	c.mu.Lock()
	c.open++
	m.place = c.silent.PushBack(m)
	c.mu.Unlock()
	return m
}

// Close lets a waiting Accept return as well.
func (c *crowd) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Listener.Close()
}

// count returns how many connections are open, and a channel that is closed when one leaves.
func (c *crowd) count() (int, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open, c.left
}

// member is one connection of a crowd.
type member struct {
	net.Conn
	crowd    *crowd
	accepted time.Time // what happened before this, on another connection, the sender may have forgotten (rule 7)
	place    *list.Element
	gone     bool    // guarded by crowd.mu
	asked    []int64 // of the request in progress, of which a connection has one: see request.asked
}

func (m *member) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	if n > 0 {
		m.spoken()
	}
	return n, err
}

func (m *member) spoken() {
	m.crowd.mu.Lock()
	if m.place != nil {
		m.crowd.silent.Remove(m.place)
		m.place = nil
	}
	m.crowd.mu.Unlock()
}

func (m *member) Close() error {
	m.crowd.mu.Lock()
	if !m.gone {
		m.gone = true
		m.crowd.open--
		close(m.crowd.left)
		m.crowd.left = make(chan struct{})
		if m.place != nil {
			m.crowd.silent.Remove(m.place)
			m.place = nil
		}
	}
	m.crowd.mu.Unlock()
	return m.Conn.Close()
}

package real

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a network between two programs that a test can break. It passes TCP connections on in pieces of odd sizes, so that what it
// breaks breaks inside packets.
type Proxy struct {
	Port int    // where it listens, on loopback
	Addr string // the same with its host

	t       testing.TB
	to      string
	running sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener       // nil while it refuses; guarded by mu
	wires    map[*wire]struct{} // guarded by mu
	open     chan struct{}      // closed while bytes pass; guarded by mu
	ended    bool               // guarded by mu
	delay    time.Duration      // guarded by mu
	passed   int64              // bytes, both ways; guarded by mu
	tap      func() (up, down io.WriteCloser)
}

// wire is one connection through a proxy.
type wire struct {
	client, server *net.TCPConn
	once           sync.Once     // of dead
	dead           chan struct{} // closed when nothing passes any more
	buried         bool          // set before dead is closed: nothing is read any more either
	gone           chan struct{} // closed with the sockets
	reset          func()        // closes them at once
}

func newWire(client, server *net.TCPConn) *wire {
	w := &wire{client: client, server: server, dead: make(chan struct{}), gone: make(chan struct{})}
	w.reset = sync.OnceFunc(func() {
		for _, c := range []*net.TCPConn{client, server} {
			_ = c.SetLinger(0)
			_ = c.Close()
		}
		close(w.gone)
	})
	return w
}

// NewProxy starts a proxy before the address to. It ends with the test.
func NewProxy(t testing.TB, to string) *Proxy {
	t.Helper()
	port := Port(t)
	p := &Proxy{Port: port, Addr: fmt.Sprintf("127.0.0.1:%d", port), t: t, to: to, wires: make(map[*wire]struct{}), open: make(chan struct{})}
	close(p.open)
	p.Refuse(false)
	t.Cleanup(p.end)
	return p
}

// Tap gives every later connection two writers that get a copy of what the client and the server send, and are closed with it.
func (p *Proxy) Tap(tap func() (up, down io.WriteCloser)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tap = tap
}

// Delay makes every piece wait so long on its way.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Refuse has nobody listen any more, or again; connections that are there stay.
func (p *Proxy) Refuse(on bool) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.listener != nil:
		_ = p.listener.Close()
		p.listener = nil
	case !on && p.listener == nil && !p.ended:
		l, err := net.Listen("tcp", p.Addr)
		if err != nil {
			p.t.Fatalf("proxy to %s: %v", p.to, err)
		}
		p.listener = l
		p.running.Go(func() { p.accept(l) })
	}
}

// Hold stops all bytes of both directions, without a word to either side, until Resume: a cable that is pulled and put back.
func (p *Proxy) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		p.open = make(chan struct{})
	default: // held already
	}
}

// Resume lets bytes pass again, those that were held first.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

// Bury stops all bytes of the present connections for good, without a word to either side: a firewall that has forgotten them. New
// connections pass. It returns how many were buried.
func (p *Proxy) Bury() int {
	return p.kill(func(w *wire) {
		w.buried = true
		close(w.dead)
	})
}

// CutFIN ends all connections in order, CutRST at once; what is on its way is lost. They return how many were cut.
func (p *Proxy) CutFIN() int {
	return p.kill(func(w *wire) {
		close(w.dead)
		_ = w.client.CloseWrite()
		_ = w.server.CloseWrite()
	})
}

// CutRST is described at CutFIN.
func (p *Proxy) CutRST() int {
	return p.kill(func(w *wire) {
		close(w.dead)
		w.reset()
	})
}

func (p *Proxy) kill(how func(*wire)) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.wires {
		w.once.Do(func() {
			how(w)
			n++
		})
	}
	return n
}

// Passed returns how many bytes went through so far.
func (p *Proxy) Passed() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed
}

func (p *Proxy) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.Refuse(true)
	p.Resume()
	p.mu.Lock()
	for w := range p.wires { // buried ones too
		w.reset()
	}
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // it refuses, or the test has ended
		}
		p.running.Go(func() { p.serve(c.(*net.TCPConn)) })
	}
}

func (p *Proxy) serve(client *net.TCPConn) {
	server, err := net.DialTimeout("tcp", p.to, 10*time.Second)
	if err != nil {
		_ = client.SetLinger(0)
		_ = client.Close()
		return
	}
	w := newWire(client, server.(*net.TCPConn))
	p.mu.Lock()
	p.wires[w] = struct{}{}
	ended, tap := p.ended, p.tap
	p.mu.Unlock()
	if ended {
		w.reset()
	}
	up, down := io.WriteCloser(discard{}), io.WriteCloser(discard{})
	if tap != nil {
		up, down = tap()
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(w, w.server, w.client, up) })
	both.Go(func() { p.copy(w, w.client, w.server, down) })
	both.Wait()
	w.reset()
	p.mu.Lock()
	delete(p.wires, w)
	p.mu.Unlock()
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Close() error                { return nil }

// copy passes bytes one way until an end closes. On a wire that was cut it reads on, so that its FIN is not turned into an RST by what nobody
// has read.
func (p *Proxy) copy(w *wire, to, from *net.TCPConn, tap io.WriteCloser) {
	defer tap.Close()
	buf := make([]byte, 1+2*rand.IntN(4000)) // odd
	for {
		n, err := from.Read(buf)
		if !p.wait(w) {
			if w.buried {
				<-w.gone
			} else if err == nil {
				_, _ = io.Copy(io.Discard, from)
			}
			return
		}
		p.mu.Lock()
		p.passed += int64(n)
		p.mu.Unlock()
		_, _ = tap.Write(buf[:n])
		if _, lost := to.Write(buf[:n]); err == nil {
			err = lost
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite()
			return
		case err != nil:
			w.reset() // what was sent and nobody reads any more is lost, as on a real network
			return
		}
	}
}

// wait returns when the next piece may pass; false where it never may.
func (p *Proxy) wait(w *wire) bool {
	p.mu.Lock()
	delay, open := p.delay, p.open
	p.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-w.dead:
		}
	}
	select {
	case <-open:
	case <-w.dead:
	}
	select {
	case <-w.dead:
		return false
	default:
		return true
	}
}

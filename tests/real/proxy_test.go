package real

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// echo is a server that sends back what it gets, and tells how each connection ended.
type echo struct {
	addr  string
	ended chan error // nil: with a FIN
}

func startEcho(t *testing.T) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{addr: l.Addr().String(), ended: make(chan error, 10)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				_, err := io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
				e.ended <- err
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return e
}

// dial connects through p and shows with one byte there and back that both sides are joined.
func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ask(t, c, []byte("?"))
	return c
}

func ask(t *testing.T, c net.Conn, text []byte) {
	t.Helper()
	got := make([]byte, len(text))
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	go c.Write(text)
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, text) {
		t.Fatalf("echo: %d bytes, equal %v, %v", len(got), bytes.Equal(got, text), err)
	}
}

// silent checks that nothing comes, not even an end.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n > 0 || !isTimeout(err) {
		t.Fatalf("read %d bytes, %v; want silence", n, err)
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func TestProxyPasses(t *testing.T) {
	e := startEcho(t)
	p := NewProxy(t, e.addr)
	var sent, came bytes.Buffer
	p.Tap(func() (up, down io.WriteCloser) { return closing{&sent}, closing{&came} })
	c := dial(t, p)
	text := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(text)
	ask(t, c, text)
	if n := p.Passed(); n != 2*int64(len(text)+1) {
		t.Errorf("passed %d bytes, want %d", n, 2*(len(text)+1))
	}
	c.Close()
	if err := <-e.ended; err != nil {
		t.Errorf("server's end: %v, want a FIN", err)
	}
	p.end() // both taps are closed
	if want := append([]byte("?"), text...); !bytes.Equal(sent.Bytes(), want) || !bytes.Equal(came.Bytes(), want) {
		t.Errorf("tapped %d and %d bytes, want %d", sent.Len(), came.Len(), len(want))
	}
}

type closing struct{ io.Writer }

func (closing) Close() error { return nil }

// Both ends see each kind of cut as what it is, and later connections work.
func TestProxyCuts(t *testing.T) {
	for _, tt := range []struct {
		name string
		cut  func(*Proxy) int
		want error // nil: a FIN
	}{
		{"FIN", (*Proxy).CutFIN, nil},
		{"RST", (*Proxy).CutRST, syscall.ECONNRESET},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := startEcho(t)
			p := NewProxy(t, e.addr)
			c := dial(t, p)
			if n := tt.cut(p); n != 1 {
				t.Errorf("cut %d connections, want 1", n)
			}
			if n := tt.cut(p); n != 0 {
				t.Errorf("cut %d connections again, want 0", n)
			}
			if err := <-e.ended; !errors.Is(err, tt.want) {
				t.Errorf("server's end: %v, want %v", err, tt.want)
			}
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, tt.want) && !(tt.want == nil && errors.Is(err, io.EOF)) {
				t.Errorf("client's end: %v, want %v", err, tt.want)
			}
			ask(t, dial(t, p), []byte("again"))
		})
	}
}

// A hold keeps what was sent and hands it on afterwards; a burial never does, and lets new connections pass.
func TestProxyHolds(t *testing.T) {
	e := startEcho(t)
	p := NewProxy(t, e.addr)
	c := dial(t, p)
	p.Hold()
	c.Write([]byte("held"))
	silent(t, c)
	p.Resume()
	got := make([]byte, 4)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "held" {
		t.Fatalf("after the hold: %q, %v", got, err)
	}
	if n := p.Bury(); n != 1 {
		t.Errorf("buried %d connections, want 1", n)
	}
	c.Write([]byte("buried"))
	silent(t, c)
	ask(t, dial(t, p), []byte("new"))
	silent(t, c)
	p.Hold()
	held, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	held.Write([]byte("x"))
	silent(t, held)
	p.Resume()
	p.Refuse(true)
	if _, err := net.Dial("tcp", p.Addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused connection: %v, want %v", err, syscall.ECONNREFUSED)
	}
	p.Refuse(false)
	ask(t, dial(t, p), []byte("open again"))
}

func TestProxyDelays(t *testing.T) {
	p := NewProxy(t, startEcho(t).addr)
	c := dial(t, p)
	const delay = 20 * time.Millisecond
	p.Delay(delay)
	began := time.Now()
	ask(t, c, []byte("late"))
	if took := time.Since(began); took < 2*delay {
		t.Errorf("there and back in %v, want %v at least", took, 2*delay)
	}
}

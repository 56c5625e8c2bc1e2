package reduct

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Rule 19: connections that say nothing make room for those that do; nobody who sends is turned away.
func TestIdleConnections(t *testing.T) {
	cfg := testConfig()
	cfg.MaxConnections = 8
	s := serve(t, cfg, nil)
	for range 500 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatalf("dial: %v", err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	want(t, s.send(capture(t, "plain.http")), 200)
}

// A crowd of senders larger than max_connections waits; each is served in the end.
func TestManySenders(t *testing.T) {
	cfg := testConfig()
	cfg.MaxConnections = 3
	s := serve(t, cfg, nil)
	answers := make(chan int, 20)
	raw := capture(t, "plain.http")
	for range cap(answers) {
		go func() {
			code := 0
			for tries := 0; code == 0 && tries < 100; tries++ { // on a busy machine it may be silent for too long, and has to make room
				code = try(s.addr, raw)
			}
			answers <- code
		}()
	}
	for range cap(answers) {
		if got := <-answers; got != 200 {
			t.Errorf("answer: got %d, want 200", got)
		}
	}
}

// try sends a request over a connection of its own and returns the answer's status, 0 where the connection was closed first.
func try(addr string, raw []byte) int {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0
	}
	defer c.Close()
	if _, err := c.Write(raw); err != nil {
		return 0
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// faulty is a listener that fails first.
type faulty struct {
	net.Listener
	errs chan error
}

func (f faulty) Accept() (net.Conn, error) {
	select {
	case err := <-f.errs:
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
	default:
		return f.Listener.Accept()
	}
}

// Where the process has no files left, a connection waits; nothing ends.
func TestAcceptFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := faulty{ln, make(chan error, 2)}
	f.errs <- syscall.EMFILE
	f.errs <- syscall.ENFILE
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- NewTarget(testConfig(), Parts{Intake: &intake{}, Gaps: &gaps{}}).Serve(ctx, f) }()
	s := &site{t: t, addr: ln.Addr().String()}
	want(t, s.send(capture(t, "plain.http")), 200)
	if n := len(f.errs); n != 0 {
		t.Errorf("planned faults that never fired: %d", n)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("serve: got %v, want nil", err)
	}
}

// A length that lies costs no memory before the bytes come; other senders are not disturbed.
func TestLyingLength(t *testing.T) {
	s := serve(t, testConfig(), nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	liars := make([]*client, 20)
	for i := range liars {
		liars[i] = s.dial()
		raw := fmt.Appendf(nil, "POST /api/v1/b/b/e/batch HTTP/1.1\r\nhost: x\r\ncontent-length: 60000000\r\nx-reduct-time-%d: 60000000,a\r\n\r\n", i)
		if _, err := liars[i].Write(append(raw, make([]byte, 9000)...)); err != nil {
			t.Fatalf("write: %v", err)
		}
	}
	want(t, s.send(capture(t, "plain.http")), 200)
	runtime.ReadMemStats(&after)
	if got := int64(after.TotalAlloc - before.TotalAlloc); got > 200<<20 {
		t.Errorf("memory for 20 lies of 60 MB: got %d MB, want less than 200", got>>20)
	}
	s.target.budget.mu.Lock()
	held := int64(s.target.cfg.MaxMemory) - s.target.budget.free
	s.target.budget.mu.Unlock()
	if held > 4<<20 {
		t.Errorf("budget held: got %d, want at most 4 MiB", held)
	}
}

// A request that breaks off in its body: the sender forgets it, so a gap names it.
func TestBrokenBody(t *testing.T) {
	h := &holder{}
	s := serve(t, testConfig(), h)
	c := s.dial()
	raw := fmt.Appendf(nil, "POST /api/v1/b/b/e/batch HTTP/1.1\r\nhost: x\r\ncontent-length: 50000\r\nx-reduct-time-3: 20000,a\r\nx-reduct-time-9: 30000,a\r\n\r\n")
	if _, err := c.Write(append(raw, make([]byte, 20000)...)); err != nil {
		t.Fatalf("write: %v", err)
	}
	_ = c.Conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, c.br) // the end of the connection is after the gap
	if len(s.gaps.all) != 1 || s.gaps.all[0].From != 3 || s.gaps.all[0].To != 9 || len(h.noted) != 1 {
		t.Errorf("gaps: got %+v, want one of 3..9", s.gaps.all)
	}
}

// Where others use all the memory, a request waits, then is kept by its sender; its body is read all the same, so that the sender
// reads the answer, and the connection stays.
func TestMemoryBudget(t *testing.T) {
	s := serve(t, testConfig(), nil)
	big := batchOf(strings.Repeat("x", 900000), "x-reduct-time-1: 900000,a")
	others := int64(s.target.cfg.MaxMemory) - 500<<10
	if err := s.target.budget.acquire(t.Context(), others); err != nil {
		t.Fatalf("acquire: %v", err)
	}
	c := s.dial()
	resp := c.send(big)
	want(t, resp, 503)
	if got := resp.Header.Get("x-reduct-error"); !strings.Contains(got, "max_memory") || resp.Close {
		t.Errorf("answer: got reason %q and close %v, want max_memory named and keep-alive", got, resp.Close)
	}
	s.target.budget.release(others)
	want(t, c.send(big), 200)
	if got, want := s.target.budget.free, int64(s.target.cfg.MaxMemory); got != want {
		t.Errorf("budget after all: got %d, want %d", got, want)
	}
}

// The largest body that the configuration allows is taken, also where it ends just past a size that is kept for reuse.
func TestMemoryLargestBody(t *testing.T) {
	cfg := testConfig()
	cfg.MaxRecord, cfg.MaxBody, cfg.MaxMemory = 4<<20, 6<<20, 12<<20
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, rest := range []int{100, 2 << 20} {
		s := serve(t, cfg, nil)
		body := strings.Repeat("x", 4<<20) + strings.Repeat("y", rest)
		want(t, s.send(batchOf(body, fmt.Sprintf("x-reduct-time-1: %d,a", 4<<20), fmt.Sprintf("x-reduct-time-2: %d,a", rest))), 200)
	}
}

// A header section over max_header, and what is not HTTP at all: never a status that makes a sender forget.
func TestUnreadable(t *testing.T) {
	cfg := testConfig()
	cfg.MaxHeader = 64 << 10
	for _, raw := range [][]byte{
		batchOf("", "x-reduct-time-1: 0,a,b="+strings.Repeat("c", 70<<10)),
		[]byte("nonsense\r\n\r\n"),
		[]byte("POST /api/v1/b/b/e/batch HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n"),
		[]byte("POST /api/v1/b/b/e/batch HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n"),
	} {
		s := serve(t, cfg, nil)
		if got := s.send(raw).StatusCode; got != 503 {
			t.Errorf("%.40q: got %d, want 503", raw, got)
		}
	}
}

// Requests that come in pieces are one request.
func TestSlowSender(t *testing.T) {
	s := serve(t, testConfig(), nil)
	c := s.dial()
	for piece := range slices.Chunk(capture(t, "plain.http"), 37) {
		if _, err := c.Write(piece); err != nil {
			t.Fatalf("write: %v", err)
		}
		runtime.Gosched()
	}
	want(t, c.answer([]byte("POST ")), 200)
	wantTimes(t, s.intake, "to-hono/sensor-1", []int64{1700000000000000, 1700000000001000, 1700000000002000, 1700000000003000, 1700000000004000})
}

func TestValidate(t *testing.T) {
	if err := new(Default()).Validate(); err != nil {
		t.Errorf("default: got %v, want nil", err)
	}
	for _, c := range []struct {
		name   string
		change func(*Config)
	}{
		{"listen", func(c *Config) { c.Listen = "8484" }},
		{"bucket", func(c *Config) { c.Bucket = "" }},
		{"token_file", func(c *Config) { c.Token, c.TokenFile = "a", "b" }},
		{"on_update", func(c *Config) { c.OnUpdate = "" }},
		{"hold", func(c *Config) { c.Hold = 1 }},
		{"max_record", func(c *Config) { c.MaxRecord = 0 }},
		{"max_body", func(c *Config) { c.MaxBody = c.MaxRecord - 1 }},
		{"max_memory", func(c *Config) { c.MaxMemory = c.MaxBody }},
		{"max_header", func(c *Config) { c.MaxHeader = 4096 }},
		{"max_connections", func(c *Config) { c.MaxConnections = 0 }},
		{"source.url", func(c *Config) { c.Source.URL, c.Source.Replication = "localhost:8383", "x" }},
		{"source.token_file", func(c *Config) { c.Source = withSource(c.Source); c.Source.Token, c.Source.TokenFile = "a", "b" }},
		{"source.replication", func(c *Config) { c.Source = withSource(c.Source); c.Source.Replication = "" }},
		{"source.interval", func(c *Config) { c.Source = withSource(c.Source); c.Source.Interval = 1 }},
		{"source.timeout", func(c *Config) { c.Source = withSource(c.Source); c.Source.Timeout = 1 }},
		{"source.since", func(c *Config) { c.Source = withSource(c.Source); c.Source.Since = "yesterday" }},
	} {
		cfg := Default()
		c.change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), c.name+":") {
			t.Errorf("%s: got %v, want it to begin with the key", c.name, err)
		}
	}
}

func withSource(s Source) Source {
	s.URL, s.Replication = "http://127.0.0.1:8383", "to-hono"
	return s
}

// A batch with nothing to wait for.
func BenchmarkTarget(b *testing.B) {
	for _, size := range []int{200, 100000} {
		b.Run(fmt.Sprintf("85x%d", size), func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			target := NewTarget(Default(), Parts{Intake: drain{}, Gaps: &gaps{}})
			go func() { _ = target.Serve(b.Context(), ln) }()
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			var headers []string
			for i := range 85 {
				headers = append(headers, fmt.Sprintf("x-reduct-time-%d: %d,application/json,rpm=1480,seq=%d,stable=true,status=0", 1700000000000000+i, size, i))
			}
			raw := batchOf(strings.Repeat("x", 85*size), headers...)
			answer := make([]byte, 4096)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(raw); err != nil {
					b.Fatal(err)
				}
				if n, err := c.Read(answer); err != nil || !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 200")) {
					b.Fatalf("answer %q: %v", answer[:n], err)
				}
			}
			b.ReportMetric(85*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

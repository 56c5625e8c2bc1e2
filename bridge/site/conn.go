package site

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var (
	// errConnect: no connection came about. Nothing was sent; the real sender keeps the batch.
	errConnect = errors.New("connect")
	// errTimeout: the network gave the connection up. Kept as well.
	errTimeout = errors.New("timed out")
	// errBroken: the connection broke after the request was begun. The real sender calls that an invalid request and forgets the batch.
	errBroken = errors.New("connection broke")
)

// answer is what matters of a response.
type answer struct {
	status int
	api    string         // x-reduct-api
	errors map[int64]bool // records with an x-reduct-error-<µs> header
}

// conn is a pool of one keep-alive connection, as a sender with one batch in flight uses it. It belongs to one goroutine.
type conn struct {
	host     string
	idle     time.Duration // an unused connection older than this is not used again
	net      net.Conn
	read     *bufio.Reader
	lastUsed time.Time
	onDial   func()
}

// stale connections that were just used are not looked at: the race with a server that closes them is part of what is simulated.
const lookAfter = 5 * time.Millisecond

// ready returns with a live connection. A connection that the far end closed while it was idle is noticed here, and costs nothing.
func (c *conn) ready(ctx context.Context) error {
	if c.net != nil {
		unused := time.Since(c.lastUsed)
		if unused < lookAfter || unused < c.idle && c.alive() {
			return nil
		}
		c.close()
	}
	dialer := net.Dialer{Timeout: 10 * time.Second}
	dialed, err := dialer.DialContext(ctx, "tcp", c.host)
	if err != nil {
		return fmt.Errorf("%w: %w", errConnect, err)
	}
	c.net, c.read = dialed, bufio.NewReaderSize(dialed, 16<<10)
	if c.onDial != nil {
		c.onDial()
	}
	return nil
}

// alive reports whether nothing came in on an idle connection: neither its end nor an answer that nobody asked for.
func (c *conn) alive() bool {
	if c.net.SetReadDeadline(time.Now().Add(time.Millisecond)) != nil {
		return false
	}
	_, err := c.read.Peek(1)
	return errors.Is(err, os.ErrDeadlineExceeded)
}

func (c *conn) close() {
	if c.net != nil {
		_ = c.net.Close() // nothing is lost that was not lost already
		c.net = nil
	}
}

// exchange sends a request and reads its answer. fault may end it early.
func (c *conn) exchange(ctx context.Context, method string, request []byte, fault Fault) (answer, error) {
	if err := c.ready(ctx); err != nil {
		return answer{}, err
	}
	live := c.net
	stop := context.AfterFunc(ctx, func() { _ = live.Close() })
	defer stop()
	if err := c.net.SetReadDeadline(time.Time{}); err != nil {
		c.close()
		return answer{}, fmt.Errorf("%w: %w", errBroken, err)
	}
	if fault == CutRequest || fault == KillRequest {
		_, _ = c.net.Write(request[:len(request)/2]) // the connection ends here, whatever this returns
		c.close()
		return answer{}, errBroken
	}
	_, writeErr := c.net.Write(request)
	got, err := c.answer(method, writeErr)
	if fault == CutAnswer || fault == KillAnswer { // read only to be sure that the target has decided
		c.close()
		return answer{}, errBroken
	}
	if err != nil {
		c.close()
	}
	return got, err
}

// answer reads a response. A target may answer before it has read all, and close: writeErr is then set and the answer there all the same.
func (c *conn) answer(method string, writeErr error) (answer, error) {
	if writeErr != nil {
		if err := c.net.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			return answer{}, fmt.Errorf("%w: %w", errBroken, writeErr)
		}
	}
	resp, err := http.ReadResponse(c.read, &http.Request{Method: method})
	switch {
	case err != nil && writeErr != nil:
		return answer{}, fmt.Errorf("%w: %w", errBroken, writeErr)
	case errors.Is(err, syscall.ETIMEDOUT):
		return answer{}, fmt.Errorf("%w: %w", errTimeout, err)
	case err != nil:
		return answer{}, fmt.Errorf("%w: %w", errBroken, err)
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if c.lastUsed = time.Now(); err != nil || resp.Close || writeErr != nil {
		c.close() // the answer counts: its head was read
	}
	return answer{status: resp.StatusCode, api: resp.Header.Get("X-Reduct-Api"), errors: recordErrors(resp.Header)}, nil
}

func recordErrors(h http.Header) map[int64]bool {
	var failed map[int64]bool
	for name := range h {
		digits, ok := strings.CutPrefix(name, "X-Reduct-Error-")
		if !ok {
			continue
		}
		t, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			continue // the real one gives the batch up as 422; a target that writes such a header fails its own tests
		}
		if failed == nil {
			failed = make(map[int64]bool)
		}
		failed[t] = true
	}
	return failed
}

// Package bench measures Sluice in ratios: something that does the least possible first, then Sluice at the same work, in one run on one
// machine. Every figure is the median of three such pairs. `make bench` runs it; RESULTS.md keeps what was measured, when and where.
package bench

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// nullTarget is the fastest replication target there can be: it reads a batch and answers 200.
type nullTarget struct {
	server  fasthttp.Server
	records atomic.Int64

	mu          sync.Mutex
	first, last time.Time // guarded by mu; of the batches
}

// listen serves on addr until close is called.
func (n *nullTarget) listen(addr string) (close func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	n.server = fasthttp.Server{Handler: n.serve, ReadBufferSize: 1 << 20, MaxRequestBodySize: 1 << 30, IdleTimeout: time.Hour, NoDefaultServerHeader: true}
	done := make(chan struct{})
	go func() { defer func() { done <- struct{}{} }(); n.server.Serve(l) }()
	return func() { n.server.Shutdown(); <-done }, nil
}

func (n *nullTarget) serve(c *fasthttp.RequestCtx) {
	if !bytes.HasSuffix(c.Path(), []byte("/batch")) {
		c.SetBodyString("{}")
		return
	}
	now := time.Now()
	count := bytes.Count(c.Request.Header.RawHeaders(), []byte("x-reduct-time-"))
	n.mu.Lock()
	if n.records.Add(int64(count)); n.first.IsZero() {
		n.first = now
	}
	n.last = now
	n.mu.Unlock()
}

// elapsed is the time from the first batch to the last.
func (n *nullTarget) elapsed() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last.Sub(n.first)
}

package reduct

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sluicebridge/sluice/bridge"
)

const (
	apiVersion  = "1.21"            // announced, so that the sender may compress
	idleTimeout = 180 * time.Second // the sender drops an idle connection after 90 s; were we first, a batch could be on its way
	stall       = 60 * time.Second  // longest wait for the next byte of a request
	drainTime   = 5 * time.Second   // at shutdown, how long senders are told to go before their connections are closed
	endTime     = 30 * time.Second  // at shutdown, how long requests in progress may take
	maxDrain    = 1 << 30           // bytes of a body read away so that the sender reads our answer
	noteTime    = 10 * time.Second  // deadline for a gap to be durable
)

// Intake takes records in: one bridge.Intake or several. Its methods are those of bridge.Intake.
type Intake interface {
	Deliver(ctx context.Context, b *bridge.Batch) error
	// Unseen sets unseen[i] where at least one lacks the record of times[i], Untouched untouched[i] where all do.
	Unseen(ctx context.Context, stream string, times []int64, unseen []bool) error
	Untouched(ctx context.Context, stream string, times []int64, untouched []bool) error
	Update(ctx context.Context, stream string, keys []bridge.Key, known []bool) error
}

// Holder keeps a stream in order across what its sender forgot (rule 7). It is the Reconciler.
type Holder interface {
	// Settle returns nil once everything that the sender may have forgotten before w's connection was accepted, and that belongs before w, has been
	// fetched, and the stream's gaps are closed; until Release nothing older is fetched any more. The caller delivers w itself, and may reuse its
	// slices.
	Settle(ctx context.Context, w Waiting) error
	Release(stream string)
	// Noted tells that a gap of the stream has been noted just now.
	Noted(stream string)
	Taker
}

// Taker delivers, and remembers for a while what.
type Taker interface {
	// Take delivers a batch to in; Took reports whether it took a record in with these very labels a short while ago.
	Take(ctx context.Context, in Intake, b *bridge.Batch) error
	Took(stream string, t int64, labels []bridge.Label) bool
}

// Parts is what a Target works with.
type Parts struct {
	Intake  Intake
	Gaps    bridge.Gaps
	Holder  Holder          // nil without a source: then nothing is held
	Metrics *bridge.Metrics // may be nil
	Log     *slog.Logger    // nil: the default one
}

// Target is a ReductStore server as far as a replication task can tell. Memory: max_memory for payloads, and for each of max_connections
// at most 3 x max_header.
type Target struct {
	cfg  Config
	part Parts

	server   fasthttp.Server
	budget   *budget
	decoders decoders
	requests sync.Pool // of *request
	taker    Taker     // the Holder, where there is one
	loud     *loud

	closing atomic.Bool
	stopped chan struct{} // closed with closing
}

// NewTarget returns a target; cfg must have been validated.
func NewTarget(cfg Config, p Parts) *Target {
	if p.Log == nil {
		p.Log = slog.Default()
	}
	t := &Target{cfg: cfg, part: p, budget: newBudget(int64(cfg.MaxMemory)), stopped: make(chan struct{})}
	t.loud = &loud{log: p.Log}
	if t.taker = p.Holder; p.Holder == nil {
		t.taker = new(taker)
	}
	t.requests.New = func() any { return new(request) }
	t.server = fasthttp.Server{
		Handler: t.handle, ErrorHandler: t.unreadable,
		ReadBufferSize: int(cfg.MaxHeader), MaxRequestBodySize: 1 << 40, StreamRequestBody: true,
		ReadTimeout: stall, IdleTimeout: idleTimeout,
		ReduceMemoryUsage:            true, // no header buffer before the first byte
		DisablePreParseMultipartForm: true, NoDefaultServerHeader: true, NoDefaultContentType: true,
		Logger: quiet{},
	}
	return t
}

// Run listens on the configured address and serves until ctx ends.
func (t *Target) Run(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", t.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for replication: %w", err)
	}
	return t.Serve(ctx, ln)
}

// Serve serves ln until ctx ends. Then it refuses new connections (the sender keeps its batch), answers what still comes with 503 and
// Connection: close for a few seconds, finishes the requests in progress and closes the rest. It may be called once.
func (t *Target) Serve(ctx context.Context, ln net.Listener) error {
	c := newCrowd(ln, t.cfg.MaxConnections)
	done := make(chan error, 1)
	go func() { done <- t.server.Serve(c) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve replication on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	t.closing.Store(true)
	close(t.stopped)
	_ = c.Close()
	waitEmpty(c, drainTime)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	if err := t.server.ShutdownWithContext(end); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("shut down replication on %s: %w", ln.Addr(), err)
	}
	<-done
	return nil
}

// waitEmpty returns when no connection is open, or after d.
func waitEmpty(c *crowd, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		n, left := c.count()
		if n == 0 {
			return
		}
		select {
		case <-left:
		case <-timer.C:
			return
		}
	}
}

// loud logs what an operator must see, but each kind for each stream once in ten seconds: a sender repeats itself.
type loud struct {
	log  *slog.Logger
	mu   sync.Mutex
	last map[said]time.Time // guarded by mu
}

// said is a message, which is a constant, and the stream that it is about, where there is one.
type said struct{ message, stream string }

const (
	loudAgain = 10 * time.Second
	maxSaid   = 1024 // whatever a sender calls its entries
)

// warn logs message with args, in which a stream is the first pair.
func (l *loud) warn(message string, args ...any) {
	what := said{message: message}
	if len(args) > 1 && args[0] == "stream" {
		what.stream, _ = args[1].(string)
	}
	if l.due(what, time.Now()) {
		l.log.Warn(message, args...)
	}
}

// due reports whether a message is to be said now.
func (l *loud) due(what said, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.last[what]) < loudAgain {
		return false
	}
	if len(l.last) >= maxSaid {
		maps.DeleteFunc(l.last, func(_ said, at time.Time) bool { return now.Sub(at) >= loudAgain })
	}
	if len(l.last) >= maxSaid {
		what.stream = "" // so many at once: one for all the others
		if now.Sub(l.last[what]) < loudAgain {
			return false
		}
	}
	if l.last == nil {
		l.last = make(map[said]time.Time)
	}
	l.last[what] = now
	return true
}

// quiet is fasthttp's logger: what it would say is said by unreadable.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

package reduct

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// Marks is what the ledger remembers of streams, over all pipelines that the input feeds. Times are record times in microseconds.
type Marks interface {
	// Newest returns the newest record seen by every one of them; false where one has seen none.
	Newest(stream string) (t int64, found bool)
	// Reconciled returns what SetReconciled noted: up to there the stream was compared with its source.
	Reconciled(stream string) (upTo int64, found bool)
	SetReconciled(ctx context.Context, stream string, upTo int64) error // durable on return
	// Closed returns the ranges of which a pipeline does not know one by one any more what it has seen. They are the caller's.
	Closed(stream string) []Closed
}

// Mind is what a Reconciler works with.
type Mind struct {
	Name    string // of the input; label of the metrics
	Intake  Intake
	Gaps    bridge.Gaps
	Marks   Marks
	Metrics *bridge.Metrics // may be nil
	Log     *slog.Logger    // nil: the default one
}

// settlers is how many streams are settled at once.
const settlers = 4

// Reconciler asks the edge store for what its replication task selects and the ledger has not seen, and takes that in. It is the
// Holder of the Target beside it. It has at most settlers + source.parallel requests to the store in progress, as many more for a Reconcile, and
// max_memory for the payloads of all of them.
type Reconciler struct {
	taker

	cfg       Source
	maxRecord int64
	maxBody   int64
	senders   int // connections that the Target beside it accepts
	mind      Mind
	given     *task // what to read where there is no replication task, and so no sender; else nil
	source    *source
	budget    *budget
	loud      *loud
	pace      pace
	clock     clock
	jobs      chan *job
	made      time.Time // by NewReconciler
	last      atomic.Pointer[time.Time]
	passed    atomic.Pointer[Summary] // of the last pass
	asked     atomic.Pointer[Summary] // of the last Reconcile
	forecast  atomic.Pointer[Forecast]
	behind    atomic.Bool // the last pass left something to be read

	mu      sync.Mutex
	task    *task              // guarded by mu; as read last
	streams map[string]*course // guarded by mu; never shrinks, as the streams of an Intake
	total   Counts             // guarded by mu; since the start, settlings included
	looked  time.Time          // guarded by mu; when a pass last looked back, where there is no sender
}

// course is what a Reconciler knows of one stream.
type course struct {
	lock  chan struct{} // holds one token while nobody reconciles the stream or delivers its sender's batch
	paced bool          // a pass holds the lock; guarded by lock
	found Counts        // by that pass; guarded by lock
	gone  []hold.Range  // of which that pass knows what was evicted; guarded by lock
	hold  hold.Stream   // guarded by Reconciler.mu
	job   *job          // the settling that waits or runs; guarded by Reconciler.mu
	ahead hold.Ahead    // guarded by lock
	read  hold.Ahead    // up to where the stream was read that has no sender; guarded by lock
	kept  time.Time     // when that was last made durable; guarded by lock

	senders atomic.Int32  // how many wait for the lock because of a sender
	came    chan struct{} // gets one when a sender comes

	hopeless map[int64]bool // open gaps, by ID, that were tried and cannot be made whole; guarded by lock
}

// NewReconciler returns the reconciler of an input whose source is configured; cfg must have been validated.
func NewReconciler(cfg Config, m Mind) *Reconciler {
	if m.Log == nil {
		m.Log = slog.Default()
	}
	return &Reconciler{
		cfg: cfg.Source, maxRecord: int64(cfg.MaxRecord), maxBody: int64(cfg.MaxBody), senders: cfg.MaxConnections, mind: m,
		source: newSource(cfg.Source), budget: newBudget(int64(cfg.MaxMemory)), loud: &loud{log: m.Log},
		pace: pace{rate: int64(cfg.Source.Rate)}, clock: clock{time.Now, time.After},
		jobs: make(chan *job, 64), made: time.Now(), streams: make(map[string]*course),
	}
}

// Run reconciles all streams at once and then each interval, and single ones when a Target asks, until ctx ends. A source that does not
// answer is no reason to end.
func (r *Reconciler) Run(ctx context.Context) error {
	defer r.source.close()
	var wg sync.WaitGroup
	if r.given == nil {
		for range settlers {
			wg.Go(func() { r.settleJobs(ctx) })
		}
	}
	wg.Go(func() { r.watch(ctx) })
	defer wg.Wait()
	tick := time.NewTicker(time.Duration(r.cfg.Interval))
	defer tick.Stop()
	for {
		if err := r.Pass(ctx); err != nil && ctx.Err() == nil {
			r.loud.warn("reconcile failed; the next one begins where it stopped", "input", r.mind.Name, "err", err)
		} else if err == nil && r.behind.Load() {
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// course returns what is known of a stream.
func (r *Reconciler) course(stream string) *course {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.streams[stream]
	if c == nil {
		c = &course{lock: make(chan struct{}, 1), came: make(chan struct{}, 1), hold: hold.Stream{Most: r.senders}}
		c.lock <- struct{}{}
		r.streams[stream] = c
	}
	return c
}

// locked runs f for a sender while nobody else reconciles the stream or delivers to it.
func (r *Reconciler) locked(ctx context.Context, stream string, f func(*course) error) error {
	c := r.course(stream)
	if err := c.take(ctx, stream); err != nil {
		return err
	}
	defer r.Release(stream)
	if err := f(c); err != nil {
		return fmt.Errorf("reconcile %s: %w", stream, err)
	}
	return nil
}

func (r *Reconciler) remember(t *task) {
	r.mu.Lock()
	r.task = t
	r.mu.Unlock()
}

package reduct

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
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
// Holder of the Target beside it. It has at most settlers+1 requests to the store in progress, and max_memory for the payloads of all
// of them.
type Reconciler struct {
	taker

	cfg       Source
	maxRecord int64
	maxBody   int64
	mind      Mind
	source    *source
	budget    *budget
	loud      *loud
	jobs      chan *job
	made      time.Time // by NewReconciler
	last      atomic.Pointer[time.Time]

	mu      sync.Mutex
	task    *task              // guarded by mu; as read last
	streams map[string]*course // guarded by mu; never shrinks, as the streams of an Intake
}

// course is what a Reconciler knows of one stream.
type course struct {
	lock  chan struct{} // holds one token while nobody reconciles the stream or delivers its sender's batch
	hold  hold.Stream   // guarded by Reconciler.mu
	job   *job          // the settling that waits or runs; guarded by Reconciler.mu
	ahead int64         // newest record the source had at the pass before; guarded by lock
	known bool          // ahead is set; guarded by lock

	hopeless map[int64]bool // open gaps, by ID, that were tried and cannot be made whole; guarded by lock
}

// NewReconciler returns the reconciler of an input whose source is configured; cfg must have been validated.
func NewReconciler(cfg Config, m Mind) *Reconciler {
	if m.Log == nil {
		m.Log = slog.Default()
	}
	return &Reconciler{
		cfg: cfg.Source, maxRecord: int64(cfg.MaxRecord), maxBody: int64(cfg.MaxBody), mind: m,
		source: newSource(cfg.Source), budget: newBudget(int64(cfg.MaxMemory)), loud: &loud{log: m.Log},
		jobs: make(chan *job, 64), made: time.Now(), streams: make(map[string]*course),
	}
}

// Run reconciles all streams at once and then each interval, and single ones when the Target asks, until ctx ends. A source that does not
// answer is no reason to end.
func (r *Reconciler) Run(ctx context.Context) error {
	defer r.source.close()
	var wg sync.WaitGroup
	for range settlers {
		wg.Go(func() { r.settleJobs(ctx) })
	}
	defer wg.Wait()
	tick := time.NewTicker(time.Duration(r.cfg.Interval))
	defer tick.Stop()
	for {
		if err := r.Pass(ctx); err != nil && ctx.Err() == nil {
			r.mind.Log.Warn("reconcile failed; the next one begins where it stopped", "input", r.mind.Name, "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Pass reconciles every stream of the task once. It goes on past a stream that fails. nil: all of them were compared.
func (r *Reconciler) Pass(ctx context.Context) error {
	t, err := r.source.task(ctx, r.cfg.Replication)
	if err != nil {
		return err
	}
	r.remember(t)
	entries, err := r.source.entries(ctx, t.srcBucket)
	if err != nil {
		return err
	}
	var errs []error
	if len(t.stateful) > 0 { // nothing can be compared, and whoever asked must not take that for a reconcile
		entries = nil
		errs = append(errs, fmt.Errorf("the condition of replication task %s depends on what it saw before (%s): "+
			"what it forgets cannot be fetched", t.name, strings.Join(t.stateful, " ")))
	}
	for _, e := range entries {
		err := r.passEntry(ctx, t, e.Name, extent{e.OldestRecord, e.LatestRecord, e.RecordCount > 0})
		errs = append(errs, err)
		if ctx.Err() != nil || futile(err) {
			return errors.Join(errs...)
		}
	}
	errs = append(errs, r.passGaps(ctx, t))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	now := time.Now()
	r.last.Store(&now)
	if r.mind.Metrics != nil {
		r.mind.Metrics.ReconcileSuccess.Store(now.UnixMicro())
	}
	return nil
}

// Last is when a pass last ended well; nil where none has.
func (r *Reconciler) Last() *time.Time { return r.last.Load() }

// futile reports whether the next stream would fail for the same reason, after the same wait.
func futile(err error) bool {
	return errors.Is(err, errUnreachable) || errors.Is(err, bridge.ErrFull) || errors.Is(err, bridge.ErrClosed) ||
		errors.Is(err, bridge.ErrCorrupt)
}

// extent is what an entry holds; some is false where it is nothing.
type extent struct {
	oldest, latest int64
	some           bool
}

// passEntry reconciles an entry and the attachments that belong to it.
func (r *Reconciler) passEntry(ctx context.Context, t *task, entry string, has extent) error {
	var errs []error
	if t.selects(entry) && has.some {
		errs = append(errs, r.passStream(ctx, t, entry, has))
	}
	// The list does not show attachments. They have no end to go by: all that is there is compared.
	if meta := entry + "/" + metaEntry; t.selects(meta) {
		errs = append(errs, r.locked(ctx, t.stream(meta), func(*course) error {
			_, err := r.fetch(ctx, t, errand{entry: meta, stream: t.stream(meta)})
			return err
		}))
	}
	return errors.Join(errs...)
}

// passStream compares one stream from its mark on. What is newer than all that was seen and than all that the pass before saw is left
// to the sender, who is about to send it: taken here as well, it would only be transferred twice.
func (r *Reconciler) passStream(ctx context.Context, t *task, entry string, has extent) error {
	stream := t.stream(entry)
	return r.locked(ctx, stream, func(c *course) error {
		from, err := r.cfg.since()
		if err != nil {
			return fmt.Errorf("source.since: %w", err)
		}
		now := time.Now().UnixMicro()
		mark, marked := r.mind.Marks.Reconciled(stream)
		if oldest := min(has.oldest, now); marked && oldest > mark+1 {
			if err := r.overtaken(ctx, stream, mark+1, oldest-1); err != nil {
				return err
			}
			mark = oldest - 1
		}
		if marked {
			from = max(from, mark+1-time.Duration(r.cfg.Overlap).Microseconds())
		}
		upTo := has.latest
		if c.known {
			newest, _ := r.mind.Marks.Newest(stream)
			upTo = min(upTo, max(newest, c.ahead))
		}
		var found tally
		if from <= upTo {
			if found, err = r.fetch(ctx, t, errandOf(entry, stream, hold.Range{From: from, To: upTo})); err != nil {
				return err
			}
		}
		if marked && mark < upTo && !found.vouches(mark, now) {
			if mark, err = r.passedBy(ctx, t, entry, stream, mark, upTo); err != nil {
				return err
			}
		}
		c.ahead, c.known = has.latest, true
		if upTo > now { // a clock ran ahead: a mark that followed it would keep everything until then from being compared
			upTo = found.last
		}
		if upTo <= mark {
			return nil
		}
		return r.mind.Marks.SetReconciled(ctx, stream, upTo)
	})
}

// passedBy looks again for the oldest record of an entry that was just compared from mark on: what was evicted since the entries were
// listed, which another stream that waits for a full ledger can make long ago, the comparison may not have seen. It returns the mark
// behind that. The list of all entries is long, so that it is asked for only where the comparison does not vouch for itself.
func (r *Reconciler) passedBy(ctx context.Context, t *task, entry, stream string, mark, upTo int64) (int64, error) {
	entries, err := r.source.entries(ctx, t.srcBucket)
	if err != nil {
		return mark, err
	}
	for _, e := range entries {
		oldest := min(e.OldestRecord, time.Now().UnixMicro())
		if e.Name != entry || oldest <= mark+1 {
			continue
		}
		end := min(upTo, oldest-1)
		return end, r.overtaken(ctx, stream, mark+1, end)
	}
	return mark, nil
}

// passGaps closes the gaps that can be closed.
func (r *Reconciler) passGaps(ctx context.Context, t *task) error {
	open, err := r.mind.Gaps.OpenGaps()
	if err != nil {
		return fmt.Errorf("list gaps: %w", err)
	}
	var streams []string
	for _, g := range open {
		if bridge.Bucket(g.Stream) == t.dstBucket { // the others are for another input's reconciler
			streams = append(streams, g.Stream)
		}
	}
	slices.Sort(streams)
	var errs []error
	for _, stream := range slices.Compact(streams) {
		errs = append(errs, r.locked(ctx, stream, func(c *course) error {
			facts, err := r.facts(stream, time.Now())
			if err != nil {
				return err
			}
			return r.closeGaps(ctx, t, c, stream, facts)
		}))
	}
	return errors.Join(errs...)
}

// closeGaps fetches what the gaps of a stream say is missing, and closes those that are whole. One that cannot be made whole stays
// open as the durable trace of what is missing, but no longer holds the stream. What is missing before a gap comes before it. The caller holds the stream's lock.
func (r *Reconciler) closeGaps(ctx context.Context, t *task, c *course, stream string, facts hold.Facts) error {
	open, err := r.mind.Gaps.OpenGaps()
	if err != nil {
		return fmt.Errorf("list gaps: %w", err)
	}
	slices.SortStableFunc(open, func(a, b bridge.Gap) int { return cmp.Compare(a.From, b.From) })
	for _, g := range open {
		if g.Stream != stream || c.hopeless[g.ID] || kind(g) == asideReason && g.Noted.After(r.made) {
			continue
		}
		if err := r.beforeGap(ctx, t, g, facts); err != nil {
			return err
		}
		whole, err := r.refill(ctx, t, g)
		if err != nil && !forGood(err) {
			return err
		}
		if !whole {
			if c.hopeless == nil {
				c.hopeless = make(map[int64]bool)
			}
			c.hopeless[g.ID] = true
			r.mind.Log.Warn("a gap that cannot be refilled stays open", "stream", stream, "from", g.From, "to", g.To,
				"reason", g.Reason, "err", err)
			continue
		}
		if err := r.mind.Gaps.CloseGap(ctx, g.ID); err != nil {
			return fmt.Errorf("close gap %d of %s: %w", g.ID, stream, err)
		}
	}
	return nil
}

// beforeGap fetches what is missing before a gap.
func (r *Reconciler) beforeGap(ctx context.Context, t *task, g bridge.Gap, facts hold.Facts) error {
	before := hold.BeforeGap(facts.From(), hold.Range{From: g.From, To: g.To})
	entry, ours := t.entry(g.Stream)
	if before.Empty() || !ours || len(t.stateful) > 0 {
		return nil
	}
	_, err := r.fetch(ctx, t, errandOf(entry, g.Stream, before))
	return err
}

// forGood reports whether a fetch will fail in the same way again, for what the edge store holds.
func forGood(err error) bool {
	return errors.Is(err, bridge.ErrRejected) || errors.Is(err, errHead) || errors.Is(err, errBody)
}

// refill fetches what is there of a gap and reports whether the gap can be closed. What the edge store has evicted of its beginning
// becomes a gap of its own.
func (r *Reconciler) refill(ctx context.Context, t *task, g bridge.Gap) (whole bool, err error) {
	entry, ours := t.entry(g.Stream)
	if !ours || len(t.stateful) > 0 || kind(g) == updateReason {
		return false, nil
	}
	found, err := r.fetch(ctx, t, errandOf(entry, g.Stream, hold.Range{From: g.From, To: g.To}))
	if err != nil {
		return false, err
	}
	if found.records == 0 || found.left > 0 {
		return false, nil
	}
	if known := g.From > 0; known && found.first > g.From {
		rest := bridge.Gap{Stream: g.Stream, From: g.From, To: found.first - 1, Noted: time.Now(),
			Reason: "evicted from the edge store before it was fetched; " + g.Reason}
		if err := noteGap(ctx, r.mind.Gaps, rest); err != nil {
			return false, err
		}
	}
	return true, nil
}

// course returns what is known of a stream.
func (r *Reconciler) course(stream string) *course {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.streams[stream]
	if c == nil {
		c = &course{lock: make(chan struct{}, 1)}
		c.lock <- struct{}{}
		r.streams[stream] = c
	}
	return c
}

// locked runs f while nobody else reconciles the stream or delivers to it.
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

package bridge

import (
	"sync"
	"sync/atomic"
	"time"
)

// Metrics counts what the bridge does. Every method works on a nil *Metrics, so that tests and tools need none. bridge/admin shows them
// under the names of the design with the prefix sluice_.
type Metrics struct {
	RecordsReceived   Counters // by pipeline
	RecordsDuplicate  Counters // by pipeline: seen before, not taken again
	RecordsFiltered   Counters // by pipeline: dropped or absorbed by its condition or a module
	RecordsReleased   Counters // by pipeline: absorbed by its condition, and passed later
	Conditions        Counters // by "pipeline/reason": records that its condition did not pass, or had no answer for
	RecordsParked     Counters // by pipeline or remote
	MessagesDelivered Counters // by remote
	PossibleDuplicate Counters // by "remote/cause": sent again without knowing whether it had arrived
	BatchResponses    Counters // by HTTP status
	Pubacks           Counters // by MQTT reason code, hex
	ModuleTraps       Counters // by module
	Flushes           Counters // by "pipeline/reason": tick, shutdown, swap or failed
	ModuleSwaps       Counters // by "module/outcome": promoted, refused or rolled back
	ModuleDrops       Counters // by "module/reason": records dropped, under the name that the module's manifest gives the reason
	ReconcileMissing  Counters // by input: records the edge store had and the ledger lacked
	LedgerFsync       Histogram
	DeliveryLatency   Histogram    // Append to delivered
	ModuleCall        Histograms   // by module; sampled, one call in 64
	ModuleFuel        Counters     // by module; units spent
	ReconcileSuccess  atomic.Int64 // Unix microseconds of the last complete reconcile of an input; 0 = none
}

// Counters is a set of counters told apart by one label value.
type Counters struct {
	m sync.Map // string -> *atomic.Int64
}

// At returns the counter for a label value; keep it where adding is hot.
func (c *Counters) At(value string) *atomic.Int64 {
	if n, ok := c.m.Load(value); ok {
		return n.(*atomic.Int64)
	}
	n, _ := c.m.LoadOrStore(value, new(atomic.Int64))
	return n.(*atomic.Int64)
}

// Each calls f for every value counted so far, in no order.
func (c *Counters) Each(f func(value string, n int64)) {
	c.m.Range(func(k, n any) bool {
		f(k.(string), n.(*atomic.Int64).Load())
		return true
	})
}

// Bounds are the upper bounds of every Histogram's buckets, 50 µs to 100 s; an implicit last one has no bound.
var Bounds = [...]time.Duration{
	50 * time.Microsecond, 200 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond,
	100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 10 * time.Second, 100 * time.Second,
}

// Histogram counts durations in the buckets of Bounds.
type Histogram struct {
	buckets [len(Bounds) + 1]atomic.Int64
	sum     atomic.Int64 // nanoseconds
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(Bounds) && d > Bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

// Read returns the counts by bucket, their total and the sum of all durations.
func (h *Histogram) Read() (buckets [len(Bounds) + 1]int64, count int64, sum time.Duration) {
	for i := range h.buckets {
		buckets[i] = h.buckets[i].Load()
		count += buckets[i]
	}
	return buckets, count, time.Duration(h.sum.Load())
}

// Histograms is a set of histograms told apart by one label value.
type Histograms struct {
	m sync.Map // string -> *Histogram
}

// At returns the histogram for a label value.
func (h *Histograms) At(value string) *Histogram {
	if x, ok := h.m.Load(value); ok {
		return x.(*Histogram)
	}
	x, _ := h.m.LoadOrStore(value, new(Histogram))
	return x.(*Histogram)
}

// Each calls f for every value observed so far, in no order.
func (h *Histograms) Each(f func(value string, h *Histogram)) {
	h.m.Range(func(k, x any) bool {
		f(k.(string), x.(*Histogram))
		return true
	})
}

func (m *Metrics) received(pipeline string, records, repeated int) {
	if m == nil {
		return
	}
	m.RecordsReceived.At(pipeline).Add(int64(records))
	if repeated > 0 {
		m.RecordsDuplicate.At(pipeline).Add(int64(repeated))
	}
}

func (m *Metrics) flushed(pipeline string, reason FlushReason, err error) {
	if m == nil {
		return
	}
	what := map[FlushReason]string{FlushTick: "tick", FlushShutdown: "shutdown", FlushSwap: "swap"}[reason]
	if err != nil {
		what = "failed"
	}
	m.Flushes.At(pipeline + "/" + what).Add(1)
}

func (m *Metrics) taken(pipeline string, r *Results) {
	if m == nil {
		return
	}
	var filtered, parked, released int64
	for _, v := range r.Released {
		switch v.Kind {
		case Passed:
			released++
		case Parked:
			parked++
		}
	}
	for _, v := range r.Verdicts {
		switch v.Kind {
		case Dropped, Absorbed:
			filtered++
		case Parked:
			parked++
		}
	}
	if filtered > 0 {
		m.RecordsFiltered.At(pipeline).Add(filtered)
	}
	if parked > 0 {
		m.RecordsParked.At(pipeline).Add(parked)
	}
	if released > 0 {
		m.RecordsReleased.At(pipeline).Add(released)
	}
}

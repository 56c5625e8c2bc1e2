package admin

import (
	"math"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/sluicebridge/sluice/bridge"
)

const prefix = "sluice_"

// collector turns counters and one snapshot into metrics, anew at each scrape. It keeps no state.
type collector struct {
	metrics *bridge.Metrics
	status  func() Status
}

// registry holds the bridge's metrics and those of the process, all under one prefix.
func registry(m *bridge.Metrics, status func() Status) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{m, status})
	prometheus.WrapRegistererWithPrefix(prefix, r).MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Describe sends nothing: which label values there are is known only at a scrape.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := c.status()
	e := emitter{ch}
	c.pipelines(e, s)
	c.forecast(e, s)
	c.remotes(e, s)
	c.modules(e, s)
	c.ledger(e, s)
	e.gauge("build_info", "1, labelled with what was built.", 1, "version", s.Version, "goversion", runtime.Version())
	e.gauge("config_last_reload_successful", "1 unless the last reload was refused.", truth(!s.LastReloadFailed))
	e.gauge("ready", "1 if every part works, as /readyz.", truth(s.Ready))
}

func (c collector) pipelines(e emitter, s Status) {
	for _, p := range s.Pipelines {
		e.counter("records_received_total", "Records that inputs handed in.", p.Received, "pipeline", p.Name)
		e.counter("records_duplicate_total", "Records that had been taken before.", p.Duplicates, "pipeline", p.Name)
		e.counter("records_filtered_total", "Records that a condition or a module dropped or absorbed.", p.Filtered, "pipeline", p.Name)
		e.counter("records_released_total", "Of those, the ones that passed later: a condition asked for what was before.", p.Released, "pipeline", p.Name)
		e.parked(p.Parked, p.Name, "")
	}
	c.metrics.Conditions.Each(func(value string, n int64) {
		name, reason, _ := strings.Cut(value, "/")
		e.counter("when_total", "Records that a pipeline's condition did not pass, or had no answer for, by reason.", n, "pipeline", name, "reason", reason)
	})
	c.metrics.BatchResponses.Each(func(status string, n int64) {
		e.counter("batch_responses_total", "Answers to batches of a replication, by HTTP status.", n, "status", status)
	})
	var missing int64
	c.metrics.ReconcileMissing.Each(func(_ string, n int64) { missing += n })
	e.counter("reconcile_missing_total", "Records that the edge store had and the ledger lacked.", missing)
	e.gauge("reconcile_last_success_timestamp_seconds", "When a reconcile last went through; 0: never.",
		float64(c.metrics.ReconcileSuccess.Load())/1e6)
	var gaps int
	var late int64
	for _, in := range s.Inputs {
		gaps, late = gaps+in.GapsOpen, late+in.ReconcileLate
	}
	e.counter("reconcile_late_total", "Records fetched by a reconcile after newer ones of their stream.", late)
	e.gauge("gaps_open", "Ranges of time that a reconciler still has to fetch.", float64(gaps))
	e.gauge("lost_ranges", "Ranges of time of which records are known to be lost for good.", float64(s.Ledger.Lost.Ranges))
	e.gauge("lost_ranges_unknown", "Of the lost ranges, those of which nobody knows how many records they had.", float64(s.Ledger.Lost.Unknown))
	e.gauge("lost_records", "Records in the lost ranges, where their number is known.", float64(s.Ledger.Lost.Records))
}

// forecast sums up the inputs: the nearest loss, the longest drain. What never comes is infinite, so that a limit can be compared with it.
func (c collector) forecast(e emitter, s Status) {
	var unsent int64
	evicted, drained, known := math.Inf(1), 0.0, false
	for _, in := range s.Inputs {
		f := in.Forecast
		if f == nil {
			continue
		}
		known = true
		unsent += f.UnsentRecords
		evicted = min(evicted, orNever(f.EvictedInSeconds))
		drained = max(drained, orNever(f.DrainedInSeconds))
	}
	if !known {
		return
	}
	e.gauge("edge_unsent_records", "Records at the edge stores that were not taken yet, about.", float64(unsent))
	e.gauge("loss_forecast_seconds", "Until an edge store's quota takes the oldest record that waits there; +Inf: it does not.", evicted)
	e.gauge("drain_forecast_seconds", "Until everything that waits at the edge stores is taken; +Inf: not at these rates.", drained)
}

func orNever(seconds *float64) float64 {
	if seconds == nil {
		return math.Inf(1)
	}
	return *seconds
}

func (c collector) remotes(e emitter, s Status) {
	for _, r := range s.Remotes {
		e.counter("records_delivered_total", "Messages that the far end has acknowledged.", r.Delivered, "remote", r.Name)
		e.parked(r.Parked, "", r.Name)
		e.counter("given_up_total", "Messages dropped with a remote that the configuration no longer has.", r.GivenUp, "remote", r.Name)
		e.gauge("backlog_records", "Messages that wait to be delivered.", float64(r.Backlog.Records), "remote", r.Name)
		e.gauge("backlog_bytes", "Bytes of the messages that wait to be delivered.", float64(r.Backlog.Bytes), "remote", r.Name)
		e.gauge("backlog_oldest_age_seconds", "How long the oldest message has waited.", r.Backlog.OldestSeconds, "remote", r.Name)
		e.gauge("remote_inflight", "Messages sent and not yet acknowledged.", float64(r.InFlight), "remote", r.Name)
		e.gauge("remote_unsure", "Messages sent on a connection that is gone, of which the far end's answer is not known.", float64(r.Unsure), "remote", r.Name)
		e.gauge("remote_held_lanes", "Lanes that wait with a message which was refused for now.", float64(r.HeldLanes), "remote", r.Name)
		e.gauge("remote_connected", "Connections that are up.", float64(r.Connected), "remote", r.Name)
		e.gauge("remote_connections", "Connections that are wanted.", float64(r.Connections), "remote", r.Name)
	}
	c.metrics.PossibleDuplicate.Each(func(value string, n int64) {
		name, cause, _ := strings.Cut(value, "/")
		e.counter("possible_duplicates_total", "Messages sent again without knowing whether they had arrived, by cause.", n,
			"remote", name, "reason", cause)
	})
	c.metrics.Pubacks.Each(func(reason string, n int64) {
		e.counter("puback_total", "Acknowledgements by MQTT reason code.", n, "reason", reason)
	})
	e.histogram("delivery_latency_seconds", "From the ledger's write to the far end's acknowledgement.", &c.metrics.DeliveryLatency)
}

func (c collector) modules(e emitter, s Status) {
	c.metrics.ModuleCall.Each(func(name string, h *bridge.Histogram) {
		e.histogram("module_call_seconds", "Calls into a module, one in 64.", h, "module", name)
	})
	c.metrics.ModuleFuel.Each(func(name string, n int64) {
		e.counter("module_fuel", "Fuel that a module has used.", n, "module", name)
	})
	c.metrics.ModuleDrops.Each(func(value string, n int64) {
		name, reason, _ := strings.Cut(value, "/")
		e.counter("module_drops_total", "Records that a module dropped, by the reason it gave.", n, "module", name, "reason", reason)
	})
	c.metrics.ModuleSwaps.Each(func(value string, n int64) {
		name, outcome, _ := strings.Cut(value, "/")
		e.counter("module_swaps_total", "Candidates for a module's place, by what became of them.", n, "module", name, "reason", outcome)
	})
	c.metrics.Flushes.Each(func(value string, n int64) {
		pipeline, reason, _ := strings.Cut(value, "/")
		e.counter("flushes_total", "Streams whose modules were asked for what they hold back, by why, or failed.", n, "pipeline", pipeline, "reason", reason)
	})
	c.metrics.ModuleTraps.Each(func(name string, n int64) {
		e.counter("module_traps_total", "Calls that ended in a trap or without fuel.", n, "module", name)
	})
	for _, m := range s.Modules {
		if x := m.Shadow; x != nil {
			e.counter("module_shadow_records_total", "Records that a module has seen in the shadow of a live one.", x.Records, "module", m.Name)
			e.counter("module_shadow_different_total", "Records of which it has made something else.", x.Different, "module", m.Name)
		}
		for name, tally := range m.Tallies {
			e.gauge("module_tally", "What a module counts under a name of its own, or the sum of what it observes.", tally.Sum,
				"module", m.Name, "reason", strings.ToValidUTF8(name, "?"))
		}
	}
}

func (c collector) ledger(e emitter, s Status) {
	e.histogram("ledger_fsync_seconds", "Commits of the ledger.", &c.metrics.LedgerFsync)
	e.gauge("ledger_bytes", "Live bytes in the ledger.", float64(s.Ledger.Bytes))
	e.gauge("ledger_quota_bytes", "Live bytes at which inputs are pushed back.", float64(s.Ledger.Quota))
	e.gauge("parked_records", "Records set aside, to be looked at.", float64(s.Ledger.Parked))
}

// emitter sends metrics; labels are names and values in turn.
type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) counter(name, help string, n int64, labels ...string) {
	desc, values := describe(name, help, labels)
	e.ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), values...)
}

func (e emitter) gauge(name, help string, x float64, labels ...string) {
	desc, values := describe(name, help, labels)
	e.ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, x, values...)
}

// parked has both labels in every line, one of them empty, since a metric's lines must have the same ones.
func (e emitter) parked(n int64, pipeline, remote string) {
	e.counter("records_parked_total", "Records set aside, by a pipeline's module or by a remote.", n, "pipeline", pipeline, "remote", remote)
}

func (e emitter) histogram(name, help string, h *bridge.Histogram, labels ...string) {
	buckets, count, sum := h.Read()
	below := make(map[float64]uint64, len(bridge.Bounds))
	var total uint64
	for i, bound := range bridge.Bounds {
		total += uint64(buckets[i])
		below[bound.Seconds()] = total
	}
	desc, values := describe(name, help, labels)
	e.ch <- prometheus.MustNewConstHistogram(desc, uint64(count), sum.Seconds(), below, values...)
}

func describe(name, help string, labels []string) (*prometheus.Desc, []string) {
	var names, values []string
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	return prometheus.NewDesc(prefix+name, help, names, nil), values
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// snapshot completes what a source says.
func snapshot(source Source, m *bridge.Metrics, now time.Time) Status {
	s := source.Status()
	s.count(m, now)
	return s
}

package admin

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// fixed is a Source with one of everything.
type fixed struct{ ready bool }

func (f fixed) Status() Status {
	return Status{
		Version: "v1", ConfigHash: "abc", Started: time.Now().Add(-time.Minute), LastReloadFailed: true,
		Checks: []Check{{Name: "ledger", OK: true}, {Name: "input edge", OK: f.ready, Detail: "port taken"}},
		Ledger: Ledger{Bytes: 10, Quota: 100, Parked: 2, Lost: Lost{Ranges: 3, Records: 40, Unknown: 1}},
		Inputs: []Input{
			{Name: "edge", GapsOpen: 3, ReconcileLate: 5, Forecast: &Forecast{UnsentRecords: 70, EvictedInSeconds: new(32400.0), DrainedInSeconds: new(600.0)}},
			{Name: "quiet", Forecast: &Forecast{DrainedInSeconds: new(0.0)}},
			{Name: "stuck", Forecast: &Forecast{UnsentRecords: 1}},
		},
		Pipelines: []Pipeline{{Name: "vibration"}},
		Modules:   []Module{{Name: "stable", SHA256: "00ff", Tallies: map[string]Tally{"bursts\xff": {Sum: 3}}, Shadow: &Shadow{Records: 20, Different: 2}}},
		Remotes:   []Remote{{Name: "hono", Connected: 1, Connections: 2, InFlight: 4, Unsure: 8, HeldLanes: 9, Backlog: Backlog{Records: 5, Bytes: 6, OldestSeconds: 7}}},
	}
}

func counted() *bridge.Metrics {
	m := new(bridge.Metrics)
	m.RecordsReceived.At("vibration").Add(20)
	m.RecordsDuplicate.At("vibration").Add(1)
	m.RecordsFiltered.At("vibration").Add(2)
	m.RecordsParked.At("vibration").Add(3)
	m.RecordsParked.At("hono").Add(4)
	m.MessagesDelivered.At("hono").Add(15)
	m.PossibleDuplicate.At("hono/session-lost").Add(1)
	m.PossibleDuplicate.At("hono/sent-before").Add(2)
	m.PossibleDuplicate.At("other/sent-before").Add(4)
	m.BatchResponses.At("200").Add(8)
	m.Pubacks.At("0x00").Add(9)
	m.ModuleTraps.At("stable").Add(1)
	m.ModuleSwaps.At("stable/promoted").Add(2)
	m.Flushes.At("vibration/tick").Add(7)
	m.ModuleDrops.At("stable/slow").Add(2)
	m.ModuleDrops.At("stable/other").Add(0)
	m.ModuleFuel.At("stable").Add(1000)
	m.ModuleCall.At("stable").Observe(100 * time.Microsecond)
	m.ReconcileMissing.At("edge").Add(6)
	m.ReconcileSuccess.Store(1_700_000_000_500_000)
	m.LedgerFsync.Observe(150 * time.Microsecond)
	m.DeliveryLatency.Observe(3 * time.Millisecond)
	return m
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

// TestMetrics: the names, labels and units that dashboards rely on.
func TestMetrics(t *testing.T) {
	got := get(t, Handler(counted(), fixed{true}), "/metrics").Body.String()
	for _, want := range []string{
		`sluice_records_received_total{pipeline="vibration"} 20`,
		`sluice_records_duplicate_total{pipeline="vibration"} 1`,
		`sluice_records_filtered_total{pipeline="vibration"} 2`,
		`sluice_records_parked_total{pipeline="vibration",remote=""} 3`,
		`sluice_records_parked_total{pipeline="",remote="hono"} 4`,
		`sluice_records_delivered_total{remote="hono"} 15`,
		`sluice_possible_duplicates_total{reason="session-lost",remote="hono"} 1`,
		`sluice_possible_duplicates_total{reason="sent-before",remote="hono"} 2`,
		`sluice_batch_responses_total{status="200"} 8`,
		`sluice_backlog_records{remote="hono"} 5`,
		`sluice_backlog_bytes{remote="hono"} 6`,
		`sluice_backlog_oldest_age_seconds{remote="hono"} 7`,
		`sluice_delivery_latency_seconds_bucket{le="0.001"} 0`,
		`sluice_delivery_latency_seconds_bucket{le="0.005"} 1`,
		`sluice_delivery_latency_seconds_sum 0.003`,
		`sluice_remote_inflight{remote="hono"} 4`,
		`sluice_remote_unsure{remote="hono"} 8`,
		`sluice_remote_held_lanes{remote="hono"} 9`,
		`sluice_remote_connected{remote="hono"} 1`,
		`sluice_puback_total{reason="0x00"} 9`,
		`sluice_ledger_fsync_seconds_count 1`,
		`sluice_ledger_bytes 10`,
		`sluice_reconcile_missing_total 6`,
		`sluice_reconcile_late_total 5`,
		`sluice_lost_ranges 3`,
		`sluice_lost_ranges_unknown 1`,
		`sluice_lost_records 40`,
		`sluice_edge_unsent_records 71`,
		`sluice_loss_forecast_seconds 32400`,
		`sluice_drain_forecast_seconds +Inf`,
		`sluice_reconcile_last_success_timestamp_seconds 1.7000000005e+09`,
		`sluice_module_call_seconds_count{module="stable"} 1`,
		`sluice_module_fuel{module="stable"} 1000`,
		`sluice_module_traps_total{module="stable"} 1`,
		`sluice_module_swaps_total{module="stable",reason="promoted"} 2`,
		`sluice_module_shadow_records_total{module="stable"} 20`,
		`sluice_module_shadow_different_total{module="stable"} 2`,
		`sluice_flushes_total{pipeline="vibration",reason="tick"} 7`,
		`sluice_module_drops_total{module="stable",reason="slow"} 2`,
		`sluice_module_tally{module="stable",reason="bursts?"} 3`,
		`sluice_given_up_total{remote="hono"} 0`,
		`sluice_config_last_reload_successful 0`,
		`sluice_build_info{goversion="go`,
		`sluice_gaps_open 3`,
		`sluice_parked_records 2`,
		`sluice_ready 1`,
		`sluice_go_goroutines `,
		`sluice_process_resident_memory_bytes `,
	} {
		if !strings.Contains(got, "\n"+want) {
			t.Errorf("missing %s", want)
		}
	}
	labels := []string{"pipeline", "remote", "module", "reason", "status", "le", "version", "goversion", "quantile"}
	for line := range strings.Lines(got) {
		if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, prefix) {
			t.Errorf("%q does not begin with %s", line, prefix)
		}
		for _, m := range regexp.MustCompile(`[{,](\w+)="`).FindAllStringSubmatch(line, -1) {
			if !slices.Contains(labels, m[1]) {
				t.Errorf("label %s in %q", m[1], line)
			}
		}
	}
}

func TestScrapeOfAnIdleBridge(t *testing.T) {
	w := get(t, Handler(new(bridge.Metrics), empty{}), "/metrics")
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "\nsluice_reconcile_missing_total 0\n") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

type empty struct{}

func (empty) Status() Status { return Status{} }

func TestHealth(t *testing.T) {
	tests := []struct {
		name, path string
		source     Source
		code       int
		body       string
	}{
		{"alive", "/healthz", fixed{false}, 200, "ok\n"},
		{"ready", "/readyz", fixed{true}, 200, "ledger: ok\ninput edge: ok\n"},
		{"not ready", "/readyz", fixed{false}, 503, "ledger: ok\ninput edge: not ready: port taken\n"},
		{"elsewhere", "/x", fixed{true}, 404, "404 page not found\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := get(t, Handler(counted(), tt.source), tt.path)
			if w.Code != tt.code || w.Body.String() != tt.body {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, tt.code, tt.body)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	w := get(t, Handler(counted(), fixed{true}), "/statusz")
	var got Status
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if p := got.Pipelines[0]; p.Received != 20 || p.Duplicates != 1 || p.Filtered != 2 || p.Parked != 3 {
		t.Errorf("pipeline: got %+v", p)
	}
	if r := got.Remotes[0]; r.Delivered != 15 || r.PossibleDuplicates != 3 || r.Doubles["session-lost"] != 1 || len(r.Doubles) != 2 || r.Parked != 4 || r.Backlog.Records != 5 {
		t.Errorf("remote: got %+v", r)
	}
	if m := got.Modules[0]; m.Fuel != 1000 || m.Traps != 1 || m.Calls.P99Seconds != 0.0002 || m.Calls.MeanSeconds != 0.0001 ||
		!maps.Equal(m.Drops, map[string]int64{"slow": 2}) {
		t.Errorf("module: got %+v", m)
	}
	if got.UptimeSeconds < 59 || !got.Ready || got.Inputs[0].ReconcileMissing != 6 || got.Ledger.Fsync.Count != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestLatencyBeyondTheLastBucket(t *testing.T) {
	var h bridge.Histogram
	h.Observe(time.Hour)
	if got, want := latency(&h), (Latency{Count: 1, MeanSeconds: 3600, P99Seconds: 100}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestPageStandsAlone: nothing from elsewhere, no method but GET, and a policy under which the page's own script runs.
func TestPageStandsAlone(t *testing.T) {
	h := Handler(counted(), fixed{true})
	w := get(t, h, "/")
	if found := regexp.MustCompile(`https?://|//\w+\.|@import|innerHTML| style=| on\w+="`).FindString(w.Body.String()); found != "" {
		t.Errorf("page contains %q", found)
	}
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Count(policy, "'sha256-") != 2 || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	for _, path := range []string{"/", "/metrics", "/healthz", "/readyz", "/statusz"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader("x")))
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: got %d, want 405", path, w.Code)
		}
		if got := w.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: Cache-Control %q, want no-store", path, got)
		}
	}
}

func TestRun(t *testing.T) {
	s, err := Listen(Config{Listen: "127.0.0.1:0"}, counted(), fixed{true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	reply, err := http.Get("http://" + s.Addr() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(reply.Body)
	reply.Body.Close()
	if string(body) != "ok\n" {
		t.Errorf("got %q", body)
	}
	request, _ := http.NewRequest(http.MethodGet, "http://"+s.Addr()+"/healthz", nil)
	request.Header.Set("X", strings.Repeat("x", 4*maxHeader))
	if reply, err = http.DefaultClient.Do(request); err == nil {
		reply.Body.Close()
		if reply.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("huge header: got %d, want 431", reply.StatusCode)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
	if _, err := Listen(Config{Listen: "256.0.0.1:1"}, counted(), fixed{true}); err == nil {
		t.Error("Listen on no address: got nil, want an error")
	}
}

func TestConfig(t *testing.T) {
	tests := []struct {
		listen string
		ok     bool
	}{{Default().Listen, true}, {"", true}, {":0", true}, {"8480", false}, {"127.0.0.1", false}}
	for _, tt := range tests {
		if err := (Config{Listen: tt.listen}).Validate(); (err == nil) != tt.ok {
			t.Errorf("listen %q: got %v, want ok %v", tt.listen, err, tt.ok)
		}
	}
}

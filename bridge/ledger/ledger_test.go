package ledger

import (
	"context"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
)

// testConfig sends pipeline "p" to "a" and "b".
func testConfig() Config {
	cfg := Default()
	cfg.Routes = map[string][]string{"p": {"a", "b"}}
	return cfg
}

// testLimits are those of production but for the ballast, which would be most of what a test writes.
func testLimits() limits {
	limits := productionLimits(256 << 20)
	limits.ballast = 64 << 10
	return limits
}

// running is an open ledger whose committer runs.
type running struct {
	*Log
	t      testing.TB
	cancel context.CancelFunc
	ended  chan error
}

// start opens a ledger and runs it until stop or the end of the test. prepare, where given, comes before Run.
func start(t testing.TB, dir string, cfg Config, prepare ...func(*Log)) *running {
	t.Helper()
	return startWith(t, dir, cfg, testLimits(), prepare...)
}

func startWith(t testing.TB, dir string, cfg Config, limits limits, prepare ...func(*Log)) *running {
	t.Helper()
	l, err := openWith(context.Background(), dir, cfg, limits)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range prepare {
		p(l)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Log: l, t: t, cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- l.Run(ctx) }()
	t.Cleanup(r.stop)
	return r
}

// stop ends Run, which must not have failed, and closes the files. Later calls do nothing.
func (r *running) stop() {
	r.t.Helper()
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	if err := <-r.ended; err != nil {
		r.t.Errorf("run: %v", err)
	}
	if err := r.Close(); err != nil {
		r.t.Errorf("close: %v", err)
	}
}

func (r *running) allParked() []bridge.Parking {
	ps, err := r.Parked(context.Background(), 0, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	var out []bridge.Parking
	for _, p := range ps {
		out = append(out, p.Parking)
	}
	return out
}

func (r *running) allLosses() []bridge.Loss {
	list, err := r.Log.Losses(context.Background(), 10_000)
	if err != nil {
		r.t.Fatal(err)
	}
	slices.Reverse(list) // the oldest first
	return list
}

func (r *running) verdicts(pipeline, stream string) map[bridge.Key]bridge.Verdict {
	var err error
	out := maps.Collect(r.Seen(pipeline, stream, math.MinInt64, math.MaxInt64, &err))
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

func (r *running) opened() bridgetest.Opened {
	return bridgetest.Opened{
		Ledger: r, States: r, Gaps: r, Losses: r.allLosses, Parked: r.allParked, Verdicts: r.verdicts, Close: r.stop,
		Outbox: func(remote string) bridge.Outbox { return r.Outbox(remote) },
	}
}

func TestLedger(t *testing.T) {
	bridgetest.RunLedger(t, func(t *testing.T, dir string) bridgetest.Opened {
		return start(t, dir, testConfig()).opened()
	})
}

// TestLedgerCheckpoints is the same with a checkpoint of the outbox in every commit, so that each start reads one.
func TestLedgerCheckpoints(t *testing.T) {
	limits := smallLimits()
	limits.journalRows = 0
	bridgetest.RunLedger(t, func(t *testing.T, dir string) bridgetest.Opened {
		return startWith(t, dir, testConfig(), limits).opened()
	})
}

package mqtt

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
	"github.com/sluicebridge/sluice/tests/real"
)

// watched is an outbox that holds the claims of a backlog to a limit: at no time are more than it allows since the start. Of later rows, which
// have one message, it knows how long they took.
type watched struct {
	*bridgetest.Outbox
	t       *testing.T
	most    func(time.Duration) float64 // claims since the start, or bytes of them; nil: any
	bytes   bool
	backlog uint64 // rows
	start   time.Time
	claims  int               // of the backlog
	size    int               // of their payloads, which is all that this ledger counts
	first   time.Duration     // when the first of them was made
	open    map[uint64]uint64 // send number to row

	mu   sync.Mutex
	came map[uint64]time.Time // rows that are not delivered yet; guarded by mu
	took []time.Duration      // guarded by mu
	left int                  // of the backlog, not claimed when the last of came was delivered; guarded by mu
}

func (o *watched) Commit(ctx context.Context, s *bridge.Step) error {
	since := time.Since(o.start)
	for _, c := range s.Claims {
		if o.open[c.Number] = c.Row; c.Row > o.backlog {
			continue
		}
		if o.claims++; o.claims == 1 {
			o.first = since
		}
		messages, err := o.Messages(c.Row)
		if err != nil {
			return err
		}
		o.size += len(messages[c.Index].Payload)
	}
	spent := o.claims
	if o.bytes {
		spent = o.size
	}
	if o.most != nil && float64(spent) > o.most(since) {
		o.t.Errorf("%d after %v, want at most %.0f", spent, since, o.most(since))
	}
	o.mu.Lock()
	for _, a := range s.Acks {
		row := o.open[a.Number]
		if came, ok := o.came[row]; ok && a.Kind == bridge.AckDelivered {
			o.took = append(o.took, time.Since(came))
			o.left = int(o.backlog)*drainPer - o.claims
			delete(o.came, row)
		}
	}
	o.mu.Unlock()
	return o.Outbox.Commit(ctx, s)
}

const drainRows, drainPer = 500, 20

// TestDrainMosquitto drains a backlog to a Mosquitto as shipped while a message comes in every 20 ms, and says how fast, and how long those took. What
// must not be is asserted: more than the limit allows, and live messages behind a backlog that the limit keeps for seconds.
func TestDrainMosquitto(t *testing.T) {
	broker := real.StartBroker(t)
	steady := func(rate float64) func(time.Duration) float64 {
		return func(since time.Duration) float64 { return rate * since.Seconds() }
	}
	rising := func(since time.Duration) float64 { // from 200 to 2,000 in 2 s
		s := since.Seconds()
		return 200*s + 450*min(s, 2)*min(s, 2) + 1800*max(s-2, 0)
	}
	for _, tt := range []struct {
		name string
		qos  int
		d    bridge.Drain
		most func(time.Duration) float64
	}{
		{"no limit", 1, bridge.Drain{}, nil},
		{"no limit", 2, bridge.Drain{}, nil},
		{"1000 records", 1, bridge.Drain{MaxRecordsPerS: 1000}, steady(1000)},
		{"1000 records", 2, bridge.Drain{MaxRecordsPerS: 1000}, steady(1000)},
		{"rising to 2000 in 2 s", 2, bridge.Drain{MaxRecordsPerS: 2000, RampUp: bridge.Duration(2 * time.Second)}, rising},
		{"10000 B", 2, bridge.Drain{MaxBytesPerS: 10_000}, steady(10_010)}, // the last message may be larger than what is left
		{"jitter of 2 s", 2, bridge.Drain{Jitter: bridge.Duration(2 * time.Second)}, nil},
		{"1000 records, live first", 1, bridge.Drain{MaxRecordsPerS: 1000, Priority: bridge.LiveFirst}, steady(1000)},
		{"1000 records, live first", 2, bridge.Drain{MaxRecordsPerS: 1000, Priority: bridge.LiveFirst}, steady(1000)},
		{"live first", 2, bridge.Drain{Priority: bridge.LiveFirst}, nil},
	} {
		t.Run(fmt.Sprintf("%s, QoS %d", tt.name, tt.qos), func(t *testing.T) {
			l := bridgetest.NewLedger(t, "far")
			appendRows(t, l, 0, drainRows, drainPer, "bucket/a", "bucket/b")
			c := testConfig(fmt.Sprintf("127.0.0.1:%d", broker.Port))
			c.QoS, c.Drain, c.ClientID = tt.qos, tt.d, t.Name()
			out := &watched{
				Outbox: l.Outbox("far"), t: t, most: tt.most, bytes: tt.d.MaxBytesPerS > 0, backlog: drainRows, start: time.Now(),
				open: make(map[uint64]uint64), came: make(map[uint64]time.Time),
			}
			took, live := drainBeside(t, c, l, out)
			slices.Sort(out.took)
			t.Logf("first claim after %v, %d messages of %d B in %v: %.0f/s, %.0f B/s without those that came meanwhile, which took %v, at most %v",
				out.first.Round(time.Millisecond), out.claims, out.size, took.Round(time.Millisecond), float64(out.claims)/took.Seconds(), float64(out.size)/took.Seconds(),
				out.took[live/2].Round(time.Millisecond), out.took[live-1].Round(time.Millisecond))
			if tt.d.Priority == bridge.LiveFirst && tt.d.Limits() && out.left == 0 {
				t.Error("the last live message was delivered behind the backlog")
			}
		})
	}
}

// drainBeside runs a remote until its backlog is sent and what comes in during a second of that. It returns how long that took and how many came in.
func drainBeside(t *testing.T, c Config, l *bridgetest.Ledger, out *watched) (took time.Duration, live int) {
	o := pipelined
	o.Metrics = new(bridge.Metrics)
	_, stop := startRemote(t, c, o, out)
	delivered := func(n int) func() (bool, string) {
		return func() (bool, string) {
			have := o.Metrics.MessagesDelivered.At("far").Load()
			return have >= int64(n), fmt.Sprint(have)
		}
	}
	real.Eventually(t, time.Minute, "the first message", delivered(1))
	first, tick := time.Now(), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for ; live < 50; <-tick.C { // for a second
		out.mu.Lock()
		out.came[uint64(drainRows+live+1)] = time.Now()
		out.mu.Unlock()
		appendRows(t, l, drainRows*drainPer+live, 1, 1, "bucket/a")
		live++
	}
	real.Eventually(t, time.Minute, "all messages", delivered(drainRows*drainPer+live))
	took = time.Since(first)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	return took, live
}

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

// watched is an outbox that holds the claims of a backlog to a limit: at no time are more than the rate allows since the start. Of later rows, which
// have one message, it knows how long they took.
type watched struct {
	*bridgetest.Outbox
	t       *testing.T
	rate    float64 // messages a second; 0: any
	backlog uint64  // rows
	start   time.Time
	claims  int
	open    map[uint64]uint64 // send number to row

	mu   sync.Mutex
	came map[uint64]time.Time // rows that are not delivered yet; guarded by mu
	took []time.Duration      // guarded by mu
}

func (o *watched) Commit(ctx context.Context, s *bridge.Step) error {
	for _, c := range s.Claims {
		if o.open[c.Number] = c.Row; c.Row <= o.backlog {
			o.claims++
		}
	}
	if most := o.rate * time.Since(o.start).Seconds(); o.rate > 0 && float64(o.claims) > most {
		o.t.Errorf("%d claims after %v, want at most %.0f", o.claims, time.Since(o.start), most)
	}
	o.mu.Lock()
	for _, a := range s.Acks {
		row := o.open[a.Number]
		if came, ok := o.came[row]; ok && a.Kind == bridge.AckDelivered {
			o.took = append(o.took, time.Since(came))
			delete(o.came, row)
		}
	}
	o.mu.Unlock()
	return o.Outbox.Commit(ctx, s)
}

// TestDrainMosquitto drains a backlog to a Mosquitto as shipped while a message comes in every 20 ms, and says how fast, and how long those took.
func TestDrainMosquitto(t *testing.T) {
	broker := real.StartBroker(t)
	const rows, per = 200, 20
	for _, tt := range []struct {
		name string
		qos  int
		d    bridge.Drain
	}{
		{"no limit", 1, bridge.Drain{}},
		{"no limit", 2, bridge.Drain{}},
		{"2000 records", 1, bridge.Drain{MaxRecordsPerS: 2000}},
		{"2000 records", 2, bridge.Drain{MaxRecordsPerS: 2000}},
		{"rising to 2000 in 2 s", 2, bridge.Drain{MaxRecordsPerS: 2000, RampUp: bridge.Duration(2 * time.Second)}},
		{"bytes for 2000 records", 2, bridge.Drain{MaxBytesPerS: bridge.Size(2000 * rowCost(t))}},
		{"2000 records, live first", 1, bridge.Drain{MaxRecordsPerS: 2000, Priority: bridge.LiveFirst}},
		{"2000 records, live first", 2, bridge.Drain{MaxRecordsPerS: 2000, Priority: bridge.LiveFirst}},
		{"live first", 2, bridge.Drain{Priority: bridge.LiveFirst}},
	} {
		t.Run(fmt.Sprintf("%s, QoS %d", tt.name, tt.qos), func(t *testing.T) {
			l := bridgetest.NewLedger(t, "far")
			appendRows(t, l, 0, rows, per, "bucket/a", "bucket/b")
			c := testConfig(fmt.Sprintf("127.0.0.1:%d", broker.Port))
			c.QoS, c.Drain, c.ClientID = tt.qos, tt.d, t.Name()
			o := pipelined
			o.Metrics = new(bridge.Metrics)
			out := &watched{
				Outbox: l.Outbox("far"), t: t, rate: float64(tt.d.MaxRecordsPerS), backlog: rows, start: time.Now(),
				open: make(map[uint64]uint64), came: make(map[uint64]time.Time),
			}
			_, stop := startRemote(t, c, o, out)
			delivered := func(n int) func() (bool, string) {
				return func() (bool, string) {
					have := o.Metrics.MessagesDelivered.At("far").Load()
					return have >= int64(n), fmt.Sprint(have)
				}
			}
			real.Eventually(t, time.Minute, "the first message", delivered(1))
			first, more, tick := time.Now(), 0, time.NewTicker(20*time.Millisecond)
			defer tick.Stop()
			for ; more < 50; <-tick.C { // for a second
				out.mu.Lock()
				out.came[uint64(rows+more+1)] = time.Now()
				out.mu.Unlock()
				appendRows(t, l, rows*per+more, 1, 1, "bucket/a")
				more++
			}
			real.Eventually(t, time.Minute, "all messages", delivered(rows*per+more))
			took := time.Since(first)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			slices.Sort(out.took)
			t.Logf("%d messages in %v: %.0f/s; those that came meanwhile took %v, at most %v", rows*per+more, took.Round(time.Millisecond),
				float64(rows*per+more)/took.Seconds(), out.took[more/2].Round(time.Millisecond), out.took[more-1].Round(time.Millisecond))
		})
	}
}

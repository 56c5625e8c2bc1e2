package mqtt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
)

// TestDrainLimits has a backlog, and connections cut in the midst of it: at no time have more messages arrived than the limit allows since the
// start, but for those that were in flight at a cut. All come, in order.
func TestDrainLimits(t *testing.T) {
	for _, tt := range []struct {
		name string
		d    bridge.Drain
		rate float64 // messages a second
		cuts int
	}{
		{"records", bridge.Drain{MaxRecordsPerS: 1000}, 1000, 0},
		{"records, cut", bridge.Drain{MaxRecordsPerS: 1000}, 1000, 3},
		{"rising", bridge.Drain{MaxRecordsPerS: 2000, RampUp: bridge.Duration(500 * time.Millisecond)}, 2000, 0},
		{"bytes", bridge.Drain{MaxBytesPerS: 20_000}, 20_000 / float64(rowCost(t)), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := startBroker(t, brokerOptions{})
			l := bridgetest.NewLedger(t, "far")
			c := testConfig(b.address)
			c.Drain = tt.d
			start, cuts := time.Now(), 0
			b.hook.refuse = func(pk packets.Packet) byte { // called with each message
				n := len(b.hook.got) + 1
				if most := tt.rate * time.Since(start).Seconds(); float64(n) > most+float64(cuts*c.Window)+1 {
					t.Errorf("message %d after %v, want at most %.0f", n, time.Since(start), most)
				}
				if cl, ok := b.server.Clients.Get(c.ClientID); ok && cuts < tt.cuts && n > (cuts+1)*80 {
					cuts++
					cl.Stop(fmt.Errorf("cut by the test"))
				}
				return 0
			}
			appendRows(t, l, 0, 20, 20, "bucket/a", "bucket/b")
			r, stop := startRemote(t, c, pipelined, l.Outbox("far"))
			note := ""
			b.hook.wait(t, "400 messages", func(got, _ []packets.Packet) bool {
				if s := r.Status(); s.Drain != "" {
					note = s.Note()
				}
				return distinct(400)(got, nil)
			})
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if n, marked := checkGot(t, b.hook.all()); n != 400 || marked > 0 || cuts != tt.cuts {
				t.Errorf("got %d messages, %d marked, %d cuts; want 400, 0, %d", n, marked, cuts, tt.cuts)
			}
			if !strings.Contains(note, "drain limited to ") && !strings.Contains(note, "ramping up, ") {
				t.Errorf("the status says %q, want the limit", note)
			}
			settled(t, r, l.Outbox("far"))
		})
	}
}

// rowCost is what a message of appendRows costs.
func rowCost(t *testing.T) int {
	l := bridgetest.NewLedger(t, "far")
	appendRows(t, l, 0, 1, 20, "bucket/a")
	rows, err := l.Outbox("far").Next(t.Context(), 0, 1)
	if err != nil || rows[0].Bytes == 0 {
		t.Fatalf("%+v, %v", rows, err)
	}
	return rows[0].Bytes / 20
}

// TestDrainJitter: with a backlog nothing is sent for a part of the time, and a stop does not wait for it; what comes in without a backlog goes at
// once. The part is random; that of a day is longer than the test.
func TestDrainJitter(t *testing.T) {
	for _, backlog := range []bool{true, false} {
		t.Run(fmt.Sprintf("backlog %v", backlog), func(t *testing.T) {
			l := bridgetest.NewLedger(t, "far")
			c := testConfig("127.0.0.1:1")
			c.Drain.Jitter = bridge.Duration(24 * time.Hour)
			s := newHandPump(t, c, l.Outbox("far"))
			if backlog {
				appendRows(t, l, 0, 1, 20, "bucket/a")
				s.take()
			}
			link := s.connect()
			if !backlog {
				appendRows(t, l, 0, 1, 20, "bucket/a")
				s.take()
			}
			at := s.turn()
			if waits := at.Again > 0; waits != backlog || waits != (len(link.out) == 0) {
				t.Errorf("waits %v with %d B sent, want to wait: %v", at.Again, len(link.out), backlog)
			}
			note := s.r.Status()
			if waits := strings.Contains(note.Note(), "the backlog waits "); waits != backlog {
				t.Errorf("the status says %q", note.Note())
			}
			if at, err := s.r.Turn(true); err != nil || at.Idle != backlog {
				t.Errorf("stopping: idle %v, %v; want idle only with nothing in flight", at.Idle, err)
			}
		})
	}
}

// TestLiveFirst has a backlog that is drained slowly, records that come in meanwhile, cuts and a restart: live ones do not wait, nothing is lost or
// doubled, exactly what comes after a newer one of its topic is late, and both have their order.
func TestLiveFirst(t *testing.T) {
	for _, ordering := range []bridge.Ordering{bridge.Pipelined, bridge.Strict} {
		t.Run(ordering.String(), func(t *testing.T) {
			b := startBroker(t, brokerOptions{})
			l := bridgetest.NewLedger(t, "far")
			c := testConfig(b.address)
			c.Drain = bridge.Drain{Priority: bridge.LiveFirst, MaxRecordsPerS: 20} // the backlog would take 20 s
			o := Options{Lanes: map[string]bridge.Lane{"p": {Ordering: ordering}}}
			appendRows(t, l, 0, 20, 20, "bucket/a", "bucket/b")
			_, stop := startRemote(t, c, o, l.Outbox("far"))
			connected := 0
			for n := 20; n < 50; n += 10 {
				behind := 0
				b.hook.wait(t, "a connection", func(got, connects []packets.Packet) bool {
					behind = len(got)
					return len(connects) > connected
				})
				b.hook.wait(t, "some of the backlog", func(got, connects []packets.Packet) bool {
					connected = len(connects)
					return len(got) > behind
				})
				appendRows(t, l, n, 10, 2, "bucket/a", "bucket/c")
				b.hook.wait(t, "all that is live", func(got, _ []packets.Packet) bool {
					return payloads(got, fmt.Sprintf("%d.1", n+8), fmt.Sprintf("%d.1", n+9))
				})
				switch cl, ok := b.server.Clients.Get(c.ClientID); {
				case n == 20 && ok:
					cl.Stop(errors.New("cut by the test"))
				case n > 20:
					if err := stop(); err != nil {
						t.Fatal(err)
					}
					if n == 40 {
						c.Drain.MaxRecordsPerS = 0
					}
					_, stop = startRemote(t, c, o, l.Outbox("far"))
				}
			}
			b.hook.wait(t, "all", func(got, _ []packets.Packet) bool { return len(got) >= 460 })
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if n := checkLate(t, b.hook.all()); n != 460 {
				t.Errorf("got %d messages, want 460", n)
			}
		})
	}
}

// payloads reports whether these have come.
func payloads(got []packets.Packet, want ...string) bool {
	for _, w := range want {
		if !slices.ContainsFunc(got, func(p packets.Packet) bool { return string(p.Payload) == w }) {
			return false
		}
	}
	return true
}

// checkLate returns how many messages came, and fails on a double, on one that is late or not and should not be, and on a lost order.
func checkLate(t *testing.T, got []packets.Packet) int {
	t.Helper()
	newest, last, seen := map[string]int{}, map[string]int{}, map[string]bool{}
	for _, p := range got {
		var row, index int
		if _, err := fmt.Sscanf(string(p.Payload), "%d.%d", &row, &index); err != nil || seen[string(p.Payload)] {
			t.Fatalf("payload %q: %v, or it came twice", p.Payload, err)
		}
		seen[string(p.Payload)] = true
		at, late := 100*row+index, property(p, nameLate) == "true"
		if late != (row < newest[p.TopicName]) {
			t.Errorf("%s of %s came after row %d: late %v", p.Payload, p.TopicName, newest[p.TopicName], late)
		}
		newest[p.TopicName] = max(newest[p.TopicName], row)
		key := fmt.Sprint(p.TopicName, late)
		if at <= last[key] && last[key] > 0 {
			t.Errorf("%s of %s came after %d", p.Payload, key, last[key])
		}
		last[key] = at
	}
	return len(seen)
}

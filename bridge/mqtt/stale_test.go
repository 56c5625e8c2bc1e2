package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
	"github.com/sluicebridge/sluice/tests/real"
)

// TestStaleSession kills a Mosquitto that had saved its sessions a while ago, in the middle of a load, as a machine does that loses power half an
// hour after the last autosave. Identifiers come round once after that, so that what the old session holds meets new messages (rule 14).
func TestStaleSession(t *testing.T) {
	broker := real.StartBroker(t)
	address := fmt.Sprintf("127.0.0.1:%d", broker.Port)
	heard := listenAt(t, address)
	c := testConfig(address)
	l := bridgetest.NewLedger(t, "far")
	m := new(bridge.Metrics)
	r, err := New("far", c, Options{Lanes: pipelined.Lanes, Notes: newMemory(), Metrics: m})
	if err != nil {
		t.Fatal(err)
	}
	var away atomic.Bool // the bridge must not be back before the listener is
	dial := r.clients[0].dial
	r.clients[0].dial = func(ctx context.Context) (net.Conn, error) {
		if away.Load() {
			return nil, errors.New("held back by the test")
		}
		return dial(ctx)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, l.Outbox("far")) }()

	const total, first, saved = 135_000, 40_000, 5_040
	fill(t, l, 0, saved/2)
	go fill(t, l, saved/2, total)
	real.Eventually(t, time.Minute, "the first messages", func() (bool, string) { return heard.count() > saved, fmt.Sprint(heard.count()) })
	signal(t, broker, syscall.SIGUSR1) // autosave, now
	real.Eventually(t, time.Minute, "more messages", func() (bool, string) { return heard.count() > saved+first, fmt.Sprint(heard.count()) })
	away.Store(true)
	broker.Kill()
	broker.Up()
	heard.again(t, address)
	away.Store(false)
	real.Eventually(t, 2*time.Minute, "all messages", func() (bool, string) { return heard.different() == total, fmt.Sprint(heard.different()) })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	doubles, unmarked := heard.doubles()
	again := m.PossibleDuplicate.At("far/session-lost").Load()
	t.Logf("%d messages, %d went out again, marked, %d arrived twice", total, again, doubles)
	if again == 0 {
		t.Error("the old session was not seen")
	}
	if unmarked > 0 {
		t.Errorf("%d messages arrived twice without a mark", unmarked)
	}
}

// TestOrderlyRestart: a Mosquitto that is stopped in order keeps what it had, and nothing is marked; nor where the bridge is stopped with it, or killed before.
func TestOrderlyRestart(t *testing.T) {
	broker := real.StartBroker(t)
	c := testConfig(fmt.Sprintf("127.0.0.1:%d", broker.Port))
	c.BackoffMax = bridge.Duration(100 * time.Millisecond)
	m, notes := new(bridge.Metrics), newMemory()
	l := bridgetest.NewLedger(t, "far")
	delivered := func() int64 { return m.MessagesDelivered.At("far").Load() }
	const each = 36_000
	var stop func() error
	start := func() (r *Remote) {
		l.Outbox("far").Restart()
		r, stop = startRemote(t, c, Options{Lanes: pipelined.Lanes, Notes: notes, Metrics: m}, l.Outbox("far"))
		return r
	}
	r := start()
	for n, both := range []bool{false, false, true, true} {
		go fill(t, l, n*each, (n+1)*each)
		at := int64(n*each + each/3)
		real.Eventually(t, time.Minute, "messages", func() (bool, string) { return delivered() > at, fmt.Sprint(delivered()) })
		real.Eventually(t, time.Minute, "a heartbeat that came back", func() (bool, string) { return r.clients[0].life.got() > 0, "none has" })
		if both {
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		}
		if err := broker.Stop(); err != nil {
			t.Logf("broker: %v", err)
		}
		broker.Up()
		if both {
			r = start()
		}
		to := int64((n + 1) * each)
		real.Eventually(t, time.Minute, "all", func() (bool, string) { return delivered() == to, fmt.Sprint(delivered()) })
	}
	m.PossibleDuplicate.Each(func(cause string, n int64) {
		if n > 0 {
			t.Errorf("%d messages went out again, marked: %s", n, cause)
		}
	})
}

// A broker that takes the client id from the user name, and one that keeps nothing: everything arrives, unmarked.
func TestOddBrokers(t *testing.T) {
	for _, tt := range []struct{ name, user, line string }{
		{"client id from user name", "press", "use_username_as_clientid true"},
		{"keeps no retained messages", "", "retain_available false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broker := real.StartBroker(t, tt.line)
			c := testConfig(fmt.Sprintf("127.0.0.1:%d", broker.Port))
			c.Username = tt.user
			m := new(bridge.Metrics)
			l := bridgetest.NewLedger(t, "far")
			startRemote(t, c, Options{Lanes: pipelined.Lanes, Notes: newMemory(), Metrics: m}, l.Outbox("far"))
			for n := range 3 {
				fill(t, l, n*9000, (n+1)*9000)
				to := int64(n+1) * 9000
				real.Eventually(t, time.Minute, "all", func() (bool, string) {
					return m.MessagesDelivered.At("far").Load() == to, fmt.Sprint(m.MessagesDelivered.At("far").Load())
				})
				if err := broker.Stop(); err != nil {
					t.Logf("broker: %v", err)
				}
				broker.Up()
			}
			m.PossibleDuplicate.Each(func(cause string, n int64) {
				if n > 0 {
					t.Errorf("%d messages went out again, marked: %s", n, cause)
				}
			})
		})
	}
}

func signal(t *testing.T, b *real.Broker, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(b.Pid(), s); err != nil {
		t.Fatal(err)
	}
}

// fill appends messages, 90 at a time, as a sender would that is not held up.
func fill(t *testing.T, l *bridgetest.Ledger, from, to int) {
	for at := from; at < to; at += 90 {
		a := &bridge.Append{Pipeline: "p", Stream: "bucket/a"}
		for i := range 90 {
			a.Keys = append(a.Keys, bridge.Key{Time: int64(at + i + 1)})
			a.Verdicts = append(a.Verdicts, bridge.Verdict{Kind: bridge.Passed, Outputs: 1})
			a.Messages = append(a.Messages, bridge.Message{Record: bridge.Record{Time: int64(at + i + 1), Payload: []byte("x")}})
		}
		if err := l.Append(t.Context(), a); err != nil {
			return // the test has ended
		}
	}
}

// ear is a subscriber that notes each identity. QoS 0, so that nothing of its own session matters: what Mosquitto hands on it writes at once.
type ear struct {
	mu    sync.Mutex
	ids   map[string][]bool // marked or not, for each arrival; guarded by mu
	total int
}

func listenAt(t *testing.T, address string) *ear {
	e := &ear{ids: make(map[string][]bool)}
	e.again(t, address)
	return e
}

// again subscribes, for the first time or after the broker went away.
func (e *ear) again(t *testing.T, address string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	client := paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){e.hear}})
	if _, err := client.Connect(t.Context(), &paho.Connect{ClientID: "ear", CleanStart: true, KeepAlive: 60}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "#"}}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
}

func (e *ear) hear(p paho.PublishReceived) (bool, error) {
	id := p.Packet.Properties.User.Get(nameID)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.total++
	e.ids[id] = append(e.ids[id], p.Packet.Properties.User.Get(nameMark) != "")
	return true, nil
}

func (e *ear) count() int     { e.mu.Lock(); defer e.mu.Unlock(); return e.total }
func (e *ear) different() int { e.mu.Lock(); defer e.mu.Unlock(); return len(e.ids) }

// doubles returns how many messages came twice, and how many of those had no mark.
func (e *ear) doubles() (n, unmarked int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, marks := range e.ids {
		if len(marks) < 2 || strings.HasPrefix(id, "$") {
			continue
		}
		n++
		if !slices.Contains(marks[1:], true) {
			unmarked++
		}
	}
	return n, unmarked
}

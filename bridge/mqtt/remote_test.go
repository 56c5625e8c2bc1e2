package mqtt

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

func testConfig(address string) Config {
	c := Default()
	c.Broker, c.ClientID, c.Topic = "mqtt://"+address, "press-7", "factory/{entry}"
	c.QoS = 2
	c.BackoffMin, c.BackoffMax = bridge.Duration(time.Millisecond), bridge.Duration(20*time.Millisecond)
	c.Linger = bridge.Duration(2 * time.Second)
	return c
}

// startRemote runs a remote until the returned function is called, which waits for its end.
func startRemote(t testing.TB, c Config, o Options, out bridge.Outbox) (r *Remote, stop func() error) {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	r, err := New("far", c, o)
	if err != nil {
		t.Fatal(err)
	}
	r.quiet = 5 * time.Millisecond
	for _, k := range r.clients {
		k.denied = 0
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, out) }()
	var end error
	ended := false
	stop = func() error {
		if !ended {
			cancel()
			end, ended = <-done, true
		}
		return end
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r, stop
}

// appendRows stores rows of per messages each, of the streams in turn; payloads are "row.index" counted from 0.
func appendRows(t testing.TB, l *bridgetest.Ledger, from, rows, per int, streams ...string) {
	t.Helper()
	for n := from; n < from+rows; n++ {
		a := bridge.Append{Pipeline: "p", Stream: streams[n%len(streams)]}
		for i := range per {
			at := int64(n*per+i) + 1
			a.Keys = append(a.Keys, bridge.Key{Time: at})
			a.Verdicts = append(a.Verdicts, bridge.Verdict{Kind: bridge.Passed, Outputs: 1})
			a.Messages = append(a.Messages, bridge.Message{Record: bridge.Record{
				Time: at, ContentType: []byte("text/plain"), Payload: fmt.Appendf(nil, "%d.%d", n, i),
				Labels: []bridge.Label{{Name: []byte("device"), Value: []byte("d1")}, {Name: []byte("ort"), Value: []byte("Köln")}},
			}})
		}
		if err := l.Append(t.Context(), &a); err != nil {
			t.Fatal(err)
		}
	}
}

// delivered returns how many messages got there, and fails on an unmarked double or on one out of order within its topic.
func checkGot(t testing.TB, got []packets.Packet) (distinct, marked int) {
	t.Helper()
	seen, last := map[string]bool{}, map[string][2]int{}
	for _, p := range got {
		key := p.TopicName + " " + string(p.Payload)
		if seen[key] {
			if property(p, nameMark) == "" {
				t.Errorf("%s came twice without a mark", key)
			}
			marked++
			continue
		}
		seen[key] = true
		var at [2]int
		if _, err := fmt.Sscanf(string(p.Payload), "%d.%d", &at[0], &at[1]); err != nil {
			t.Fatalf("payload %q: %v", p.Payload, err)
		}
		if l, ok := last[p.TopicName]; ok && (at[0] < l[0] || at[0] == l[0] && at[1] < l[1]) {
			t.Errorf("%s came after %v", key, l)
		}
		last[p.TopicName] = at
	}
	return len(seen), marked
}

func property(p packets.Packet, name string) string {
	for _, u := range p.Properties.User {
		if u.Key == name {
			return u.Val
		}
	}
	return ""
}

func settled(t testing.TB, r *Remote, o *bridgetest.Outbox) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if rows, err := o.Next(ctx, 0, 1); err == nil {
		t.Errorf("row %d of %d is still to be sent", rows[0].Number, len(rows))
	}
}

func TestRemoteDelivers(t *testing.T) {
	for _, ordering := range []bridge.Ordering{bridge.Strict, bridge.Pipelined, bridge.Unordered} {
		for qos := range 3 {
			for _, connections := range []int{1, 3} {
				t.Run(fmt.Sprintf("QoS %d %v %d connections", qos, ordering, connections), func(t *testing.T) {
					b := startBroker(t, brokerOptions{})
					l := bridgetest.NewLedger(t, "far")
					c := testConfig(b.address)
					c.QoS, c.Connections = qos, connections
					metrics := new(bridge.Metrics)
					o := Options{Lanes: map[string]bridge.Lane{"p": {Ordering: ordering}}, Metrics: metrics}
					appendRows(t, l, 0, 10, 20, "bucket/a", "bucket/b", "bucket/c/d")
					r, stop := startRemote(t, c, o, l.Outbox("far"))
					appendRows(t, l, 10, 10, 20, "bucket/a", "bucket/b", "bucket/c/d")
					b.hook.wait(t, "400 messages", func(got, _ []packets.Packet) bool { return len(got) == 400 })
					if err := stop(); err != nil {
						t.Fatal(err)
					}
					if ordering != bridge.Unordered {
						if n, marked := checkGot(t, b.hook.all()); n != 400 || marked != 0 {
							t.Errorf("got %d messages and %d marked doubles, want 400 and 0", n, marked)
						}
					}
					settled(t, r, l.Outbox("far"))
					if n := metrics.MessagesDelivered.At("far").Load(); n != 400 {
						t.Errorf("counted %d delivered, want 400", n)
					}
					checkProperties(t, b.hook.all()[0], qos)
				})
			}
		}
	}
}

func checkProperties(t *testing.T, p packets.Packet, qos int) {
	t.Helper()
	if int(p.FixedHeader.Qos) != qos {
		t.Errorf("QoS %d, want %d", p.FixedHeader.Qos, qos)
	}
	if !strings.HasPrefix(p.TopicName, "factory/") {
		t.Errorf("topic %q", p.TopicName)
	}
	if p.Properties.ContentType != "text/plain" {
		t.Errorf("content type %q", p.Properties.ContentType)
	}
	at := property(p, nameTime)
	for name, want := range map[string]string{
		"device": "d1", "ort": "Köln", nameMark: "", nameID: "bucket/" + strings.TrimPrefix(p.TopicName, "factory/") + "@" + at,
	} {
		if got := property(p, name); got != want {
			t.Errorf("property %s is %q, want %q", name, got, want)
		}
	}
}

// handPump drives a remote as its pump does, by hand, and plays its client.
type handPump struct {
	t     *testing.T
	r     *Remote
	o     bridge.Outbox
	after uint64
}

func newHandPump(t *testing.T, c Config, o bridge.Outbox) *handPump {
	t.Helper()
	r, err := New("far", c, pipelined)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.restore(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return &handPump{t: t, r: r, o: o}
}

// take gives the remote the rows that are there.
func (s *handPump) take() {
	s.t.Helper()
	rows, err := s.o.Next(s.t.Context(), s.after, 100)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, row := range rows {
		if err := s.r.Take(row); err != nil {
			s.t.Fatal(err)
		}
		s.after = row.Number
	}
}

// ready is a new network connection. What it sends is in the link, CONNECT in the channel.
func (s *handPump) ready() (*link, <-chan opening) {
	near, far := net.Pipe()
	s.t.Cleanup(func() { near.Close(); far.Close() })
	l, connect := newLink(near, func(session.Packet) {}, func() {}), make(chan opening, 1)
	s.r.events.add(event{kind: ready, link: l, connect: connect})
	return l, connect
}

// connect is a network connection whose CONNECT is accepted.
func (s *handPump) connect() *link {
	s.t.Helper()
	l, connect := s.ready()
	s.turn()
	<-connect
	s.r.events.add(event{kind: accepted, most: 10})
	s.turn()
	return l
}

// turn goes on until nothing is left to commit.
func (s *handPump) turn() bridge.Progress {
	s.t.Helper()
	for {
		at, err := s.r.Turn(false)
		if err != nil {
			s.t.Fatal(err)
		}
		step := s.r.Step()
		if step == nil {
			return at
		}
		if err := s.o.Commit(s.t.Context(), step); err != nil {
			s.t.Fatal(err)
		}
		if err := s.r.Done(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestTurnAcrossConnections has one turn find an acknowledgement, the end of its connection and the next connection: what the acknowledgement lets
// go is of the old one, and nothing goes out on the new one before CONNECT (rule 13).
func TestTurnAcrossConnections(t *testing.T) {
	l := bridgetest.NewLedger(t, "far")
	appendRows(t, l, 0, 1, 5, "bucket/a")
	c := testConfig("127.0.0.1:1")
	c.QoS, c.Window = 1, 1
	s := newHandPump(t, c, l.Outbox("far"))
	s.take()
	if first := s.connect(); len(first.out) == 0 {
		t.Fatal("nothing was sent on the first connection")
	}
	s.r.events.add(event{kind: acked, packet: session.Packet{Kind: session.Puback, ID: 1}})
	s.r.events.add(event{kind: lost})
	second, _ := s.ready()
	if _, err := s.r.Turn(false); err != nil {
		t.Fatal(err)
	}
	if len(second.out) > 0 {
		t.Errorf("the new connection got % x before CONNECT", second.out)
	}
}

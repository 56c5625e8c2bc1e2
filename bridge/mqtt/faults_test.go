package mqtt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
)

var pipelined = Options{Lanes: map[string]bridge.Lane{"p": {Ordering: bridge.Pipelined}}}

func count(n int) func(got, connects []packets.Packet) bool {
	return func(got, _ []packets.Packet) bool { return len(got) >= n }
}

func distinct(n int) func(got, connects []packets.Packet) bool {
	return func(got, _ []packets.Packet) bool {
		seen := map[string]bool{}
		for _, p := range got {
			seen[string(p.Payload)] = true
		}
		return len(seen) == n
	}
}

// TestConnectionCut ends the connection from the broker's side again and again; the session stays (rules 13 and 14).
func TestConnectionCut(t *testing.T) {
	for _, qos := range []int{1, 2} {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			b := startBroker(t, brokerOptions{})
			l := bridgetest.NewLedger(t, "far")
			c := testConfig(b.address)
			c.QoS = qos
			cuts := 0
			b.hook.refuse = func(pk packets.Packet) byte {
				if len(b.hook.got)%100 == 99 && cuts < len(b.hook.got)/100+1 {
					cuts++
					if cl, ok := b.server.Clients.Get(c.ClientID); ok {
						cl.Stop(errors.New("cut by the test"))
					}
				}
				return 0
			}
			appendRows(t, l, 0, 40, 20, "bucket/a", "bucket/b")
			_, stop := startRemote(t, c, pipelined, l.Outbox("far"))
			b.hook.wait(t, "800 messages", distinct(800))
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if cuts < 5 {
				t.Errorf("%d cuts, want at least 5", cuts)
			}
			n, marked := checkGot(t, b.hook.all())
			if n != 800 {
				t.Errorf("got %d messages, want 800", n)
			}
			t.Logf("%d cuts, %d marked doubles", cuts, marked)
		})
	}
}

// TestSessionLost restarts the broker, which forgets its sessions, while messages are open: those and no others come marked (rule 14).
func TestSessionLost(t *testing.T) {
	b := startBroker(t, brokerOptions{})
	l := bridgetest.NewLedger(t, "far")
	c := testConfig(b.address)
	c.Window = 7
	metrics := new(bridge.Metrics)
	o := pipelined
	o.Metrics = metrics
	b.hook.refuse = func(pk packets.Packet) byte {
		if len(b.hook.got) >= 50 {
			return mute
		}
		return 0
	}
	appendRows(t, l, 0, 5, 20, "bucket/a")
	_, stop := startRemote(t, c, o, l.Outbox("far"))
	b.hook.wait(t, "7 messages without an answer", func(_, _ []packets.Packet) bool { return b.hook.muted >= 7 })
	b.stop()
	b.hook.set(func() { b.hook.refuse = nil })
	startBroker(t, brokerOptions{address: b.address, hook: b.hook})
	b.hook.wait(t, "100 messages", distinct(100))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	marked := 0
	for _, p := range b.hook.all() {
		if property(p, nameMark) == "session-lost" {
			marked++
		}
	}
	if n, doubles := checkGot(t, b.hook.all()); n != 100 || marked != 7 || doubles > 0 {
		t.Errorf("got %d messages, %d marked, %d twice; want 100, 7, 0", n, marked, doubles)
	}
	if n := metrics.PossibleDuplicate.At("far/session-lost").Load(); n != 7 {
		t.Errorf("counted %d possible duplicates, want 7", n)
	}
}

// TestRefused has the broker refuse a message (rule 16).
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name     string
		code     byte
		times    int
		onError  string
		ordering bridge.Ordering
		parked   int
	}{
		{"for good, strict", 0x99, 1000, "park", bridge.Strict, 1},
		{"for good, pipelined", 0x87, 1000, "park", bridge.Pipelined, 1},
		{"for now, strict", 0x97, 3, "park", bridge.Strict, 0},
		{"for now, unordered", 0x97, 3, "park", bridge.Unordered, 0},
		{"for now, pipelined", 0x97, 1, "park", bridge.Pipelined, 1},
		{"for good, held", 0x87, 3, "hold", bridge.Strict, 0},
	} {
		for _, qos := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, QoS %d", tt.name, qos), func(t *testing.T) {
				b := startBroker(t, brokerOptions{})
				l := bridgetest.NewLedger(t, "far")
				c := testConfig(b.address)
				c.QoS, c.OnError = qos, tt.onError
				times := tt.times
				b.hook.refuse = func(pk packets.Packet) byte {
					if string(pk.Payload) != "1.1" || times == 0 {
						return 0
					}
					times--
					return tt.code
				}
				appendRows(t, l, 0, 4, 5, "bucket/a", "bucket/b")
				r, stop := startRemote(t, c, Options{Lanes: map[string]bridge.Lane{"p": {Ordering: tt.ordering}}}, l.Outbox("far"))
				b.hook.wait(t, "the messages", count(20-tt.parked))
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				if s := r.Status(); s.Parked != tt.parked || strings.Contains(s.Note(), "parked since") != (tt.parked > 0) {
					t.Errorf("status %+v, want %d parked", s, tt.parked)
				}
				got := b.hook.all()
				if tt.ordering != bridge.Unordered {
					if n, marked := checkGot(t, got); n != 20-tt.parked || marked != 0 {
						t.Errorf("got %d messages and %d doubles, want %d and 0", n, marked, 20-tt.parked)
					}
				}
				parked := l.Parked()
				if len(parked) != tt.parked {
					t.Fatalf("%d parked, want %d", len(parked), tt.parked)
				}
				if tt.parked > 0 && (string(parked[0].Payload) != "1.1" || !strings.Contains(parked[0].Reason, fmt.Sprintf("0x%02X", tt.code))) {
					t.Errorf("parked %q with reason %q", parked[0].Payload, parked[0].Reason)
				}
				if times > 0 && times < 900 {
					t.Errorf("%d refusals never fired", times)
				}
			})
		}
	}
}

// TestQuota has the broker refuse a burst on a pipelined lane by a code that passes: all are parked, counted and in the status, and the log gets
// a line for the first and one for the others (rules 16 and 20).
func TestQuota(t *testing.T) {
	b := startBroker(t, brokerOptions{})
	l := bridgetest.NewLedger(t, "far")
	b.hook.refuse = func(packets.Packet) byte { return 0x97 }
	appendRows(t, l, 0, 10, 10, "bucket/a")
	var log bytes.Buffer
	o := pipelined
	o.Metrics, o.Log = new(bridge.Metrics), slog.New(slog.NewTextHandler(&log, nil))
	r, stop := startRemote(t, testConfig(b.address), o, l.Outbox("far"))
	late := time.After(15 * time.Second)
	for r.Status().Parked < 100 {
		select {
		case <-late:
			t.Fatalf("%d parked, want 100", r.Status().Parked)
		case <-time.After(time.Millisecond):
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]int{`msg="message parked"`: 1, `msg="more messages parked"`: 1, "messages=99": 1, "quota exceeded (0x97)": 2} {
		if n := strings.Count(log.String(), what); n != want {
			t.Errorf("log has %q %d times, want %d:\n%s", what, n, want, log.String())
		}
	}
	s := r.Status()
	if note := s.Note(); !strings.Contains(note, "100 messages parked") || !strings.Contains(note, "quota exceeded") || !strings.Contains(note, "pipelined") {
		t.Errorf("note %q", note)
	}
	if n := o.Metrics.RecordsParked.At("far").Load(); n != 100 || len(l.Parked()) != 100 {
		t.Errorf("%d counted and %d parked, want 100", n, len(l.Parked()))
	}
	if n := o.Metrics.Pubacks.At("0x97").Load(); n != 100 {
		t.Errorf("%d acknowledgements 0x97 counted, want 100", n)
	}
}

// TestUnsendable has messages that our own checks refuse.
func TestUnsendable(t *testing.T) {
	b := startBroker(t, brokerOptions{})
	l := bridgetest.NewLedger(t, "far")
	c := testConfig(b.address)
	c.Topic, c.MaxPacket = "factory/{label:device}", 1000
	label := func(value string) []bridge.Label {
		return []bridge.Label{{Name: []byte("device"), Value: []byte(value)}}
	}
	a := bridge.Append{Pipeline: "p", Stream: "bucket/a"}
	for i, m := range []bridge.Message{
		{Record: bridge.Record{Labels: label("good"), Payload: []byte("0.0")}},
		{Record: bridge.Record{Labels: label("good"), Payload: make([]byte, 1001)}},
		{Record: bridge.Record{Labels: label("a+b")}},
		{Record: bridge.Record{Labels: label("")}},
		{Record: bridge.Record{Labels: label("a\x00b")}},
		{Record: bridge.Record{Labels: label("a\xffb")}},
		{Record: bridge.Record{}},
		{Record: bridge.Record{Labels: label("good"), ContentType: []byte("a\nb")}},
		{Record: bridge.Record{Labels: label("good"), Payload: []byte("0.1")}, Topic: []byte("alarm")},
	} {
		m.Time = int64(i + 1)
		a.Keys = append(a.Keys, bridge.Key{Time: m.Time})
		a.Verdicts = append(a.Verdicts, bridge.Verdict{Kind: bridge.Passed})
		a.Messages = append(a.Messages, m)
	}
	if err := l.Append(t.Context(), &a); err != nil {
		t.Fatal(err)
	}
	_, stop := startRemote(t, c, pipelined, l.Outbox("far"))
	b.hook.wait(t, "2 messages", count(2))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	got := b.hook.all()
	if len(got) != 2 || got[0].TopicName != "factory/good" || got[1].TopicName != "factory/good/alarm" {
		t.Errorf("got %d messages: %v", len(got), got)
	}
	wants := []string{"too large", "wildcard", "empty level", "U+0000", "not UTF-8", "no label device", "U+000A"}
	parked := l.Parked()
	if len(parked) != len(wants) {
		t.Fatalf("%d parked, want %d", len(parked), len(wants))
	}
	for i, want := range wants {
		if !strings.Contains(parked[i].Reason, want) {
			t.Errorf("reason %q, want one with %q", parked[i].Reason, want)
		}
	}
}

// TestPoison has a message that makes the broker end the connection without a word (mochi does so over its packet size, and does not say it).
func TestPoison(t *testing.T) {
	for _, qos := range []int{1, 2} {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			b := startBroker(t, brokerOptions{change: func(c *mochi.Capabilities) { c.MaximumPacketSize = 1000 }})
			l := bridgetest.NewLedger(t, "far")
			c := testConfig(b.address)
			c.QoS, c.BackoffMax = qos, bridge.Duration(2*time.Millisecond)
			appendRows(t, l, 0, 2, 10, "bucket/a")
			if err := l.Append(t.Context(), &bridge.Append{
				Pipeline: "p", Stream: "bucket/a", Messages: []bridge.Message{{Record: bridge.Record{Time: 1000, Payload: make([]byte, 1001)}}},
			}); err != nil {
				t.Fatal(err)
			}
			appendRows(t, l, 2, 2, 10, "bucket/a")
			_, stop := startRemote(t, c, pipelined, l.Outbox("far"))
			b.hook.wait(t, "40 messages", distinct(40))
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if parked := l.Parked(); len(parked) != 1 || parked[0].Time != 1000 || !strings.Contains(parked[0].Reason, "ended the connection") {
				t.Errorf("parked %+v, want the large one", parked)
			}
			if n, _ := checkGot(t, b.hook.all()); n != 40 {
				t.Errorf("got %d messages, want 40", n)
			}
		})
	}
}

// TestCommitFails has steps fail, and once their outcome unknown.
func TestCommitFails(t *testing.T) {
	b := startBroker(t, brokerOptions{})
	l := bridgetest.NewLedger(t, "far")
	c := testConfig(b.address)
	out := l.Outbox("far")
	appendRows(t, l, 0, 10, 10, "bucket/a")
	out.Plan(bridgetest.Fails, bridgetest.Works, bridgetest.Fails, bridgetest.UnknownStored)
	r, err := New("far", c, pipelined)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context(), out); !errors.Is(err, bridge.ErrUnknown) {
		t.Fatalf("Run: %v, want %v", err, bridge.ErrUnknown)
	}
	out.Restart()
	_, stop := startRemote(t, c, pipelined, out)
	b.hook.wait(t, "100 messages", distinct(100))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if n, marked := checkGot(t, b.hook.all()); n != 100 || marked != 0 {
		t.Errorf("got %d messages and %d marked doubles, want 100 and 0", n, marked)
	}
}

// TestFewerConnections restarts with one connection instead of three while messages are open on all (rules 14 and 15).
func TestFewerConnections(t *testing.T) {
	b := startBroker(t, brokerOptions{})
	l := bridgetest.NewLedger(t, "far")
	c := testConfig(b.address)
	c.Connections, c.Linger = 3, 0
	streams := []string{"bucket/a", "bucket/b", "bucket/c", "bucket/d", "bucket/e", "bucket/f"}
	b.hook.refuse = func(pk packets.Packet) byte {
		if len(b.hook.got) >= 20 {
			return mute
		}
		return 0
	}
	appendRows(t, l, 0, 12, 5, streams...)
	_, stop := startRemote(t, c, pipelined, l.Outbox("far"))
	b.hook.wait(t, "40 messages without an answer", func(_, _ []packets.Packet) bool { return b.hook.muted == 40 })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.hook.set(func() { b.hook.refuse = nil })
	c.Connections = 1
	r, stop := startRemote(t, c, pipelined, l.Outbox("far"))
	b.hook.wait(t, "60 messages", distinct(60))
	for {
		gone := true
		for _, name := range []string{"press-7-2", "press-7-3"} {
			if cl, ok := b.server.Clients.Get(name); ok && !(cl.Closed() && cl.Properties.Props.SessionExpiryInterval == 0) {
				gone = false
			}
		}
		if restored, err := l.Outbox("far").Restore(t.Context(), r.far()); err != nil || len(restored.Next) <= 1 && gone {
			break
		}
		select {
		case <-t.Context().Done():
			t.Fatal("removed connections were not drained")
		case <-time.After(time.Millisecond):
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if n, marked := checkGot(t, b.hook.all()); n != 60 || marked != 0 {
		t.Errorf("got %d messages and %d doubles, want 60 and 0", n, marked)
	}
}

// TestOtherBroker restarts in front of another broker while messages are open.
func TestOtherBroker(t *testing.T) {
	h := newHook()
	first, second := startBroker(t, brokerOptions{hook: h}), startBroker(t, brokerOptions{hook: h})
	l := bridgetest.NewLedger(t, "far")
	c := testConfig(first.address)
	c.Linger, c.Window = 0, 5
	h.refuse = func(pk packets.Packet) byte {
		if len(h.got) >= 10 {
			return mute
		}
		return 0
	}
	appendRows(t, l, 0, 3, 10, "bucket/a")
	_, stop := startRemote(t, c, pipelined, l.Outbox("far"))
	h.wait(t, "5 messages without an answer", func(_, _ []packets.Packet) bool { return h.muted == 5 })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	h.set(func() { h.refuse = nil })
	c.Broker = "tcp://" + second.address
	o := pipelined
	o.Metrics = new(bridge.Metrics)
	_, stop = startRemote(t, c, o, l.Outbox("far"))
	h.wait(t, "30 messages", distinct(30))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	marked := 0
	for _, p := range h.all() {
		if property(p, nameMark) != "" {
			marked++
		}
	}
	// After a restart nobody knows which of the open claims were sent: those that were only claimed ahead are marked too.
	if n, doubles := checkGot(t, h.all()); n != 30 || marked != 20 || doubles != 0 {
		t.Errorf("got %d messages, %d marked, %d doubles; want 30, 20, 0", n, marked, doubles)
	}
	if n := o.Metrics.PossibleDuplicate.At("far/far-changed").Load(); n != 20 {
		t.Errorf("counted %d because the far end changed, want 20", n)
	}
}

// TestShutdown ends with messages open that nobody will acknowledge.
func TestShutdown(t *testing.T) {
	b := startBroker(t, brokerOptions{})
	l := bridgetest.NewLedger(t, "far")
	c := testConfig(b.address)
	c.Linger = bridge.Duration(30 * time.Millisecond)
	b.hook.refuse = func(packets.Packet) byte { return mute }
	appendRows(t, l, 0, 1, 3, "bucket/a")
	r, stop := startRemote(t, c, pipelined, l.Outbox("far"))
	b.hook.wait(t, "3 messages", func(_, _ []packets.Packet) bool { return b.hook.muted == 3 })
	if s := r.Status(); s.Inflight != 3 || len(s.Connections) != 1 || !s.Connections[0].Connected || s.Bound == "" {
		t.Errorf("status %+v, want 3 in flight on one connection", s)
	}
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	open, err := l.Outbox("far").Restore(t.Context(), r.far())
	if err != nil || len(open.Claims) != 3 {
		t.Errorf("%d open claims and %v, want 3", len(open.Claims), err)
	}
}

// listen serves connections with one function each, in turn; the last one serves all that follow.
func listen(t *testing.T, serve ...func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); ln.Close() })
	go func() {
		for n := 0; ; n++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				context.AfterFunc(ctx, func() { conn.Close() })
				serve[min(n, len(serve)-1)](conn)
				conn.Close()
			}()
		}
	}()
	return ln.Addr().String()
}

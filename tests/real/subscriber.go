package real

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"
)

// Received is one message as a subscriber saw it.
type Received struct {
	Topic, ID, ContentType string
	Properties             map[string]string
	Payload                []byte
	Marked                 bool // carried possible-duplicate
	Late                   bool // carried sluice-late
}

// Subscriber keeps what arrives at a broker, over reconnects, in one session that the broker remembers (QoS 2).
type Subscriber struct {
	mu       sync.Mutex
	received []Received      // guarded by mu
	ids      map[string]bool // of received; guarded by mu
	sessions int             // guarded by mu
}

// Subscribe subscribes to topic with QoS 2 until the test ends, and returns once the broker has granted it.
func Subscribe(t testing.TB, b *Broker, topic string) *Subscriber {
	t.Helper()
	s := &Subscriber{}
	ctx, cancel := context.WithCancel(context.Background())
	ended, granted := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		s.run(ctx, fmt.Sprintf("127.0.0.1:%d", b.Port), topic, sync.OnceFunc(func() { close(granted) }))
	}()
	t.Cleanup(func() { cancel(); <-ended })
	select {
	case <-granted:
	case <-time.After(10 * time.Second):
		t.Fatalf("subscribe to %s: no answer in 10 s", topic)
	}
	return s
}

// run keeps one session connected until ctx ends. The broker being down is part of many tests: then it is tried again soon.
func (s *Subscriber) run(ctx context.Context, addr, topic string, granted func()) {
	session := state.NewInMemory()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for ctx.Err() == nil {
		if conn, err := net.Dial("tcp", addr); err == nil {
			s.serve(ctx, paho.NewClient(paho.ClientConfig{Conn: conn, Session: session,
				OnPublishReceived: []func(paho.PublishReceived) (bool, error){s.take}}), topic, granted)
			conn.Close()
		}
		<-retry.C
	}
}

func (s *Subscriber) serve(ctx context.Context, c *paho.Client, topic string, granted func()) {
	expiry, receive := uint32(3600), uint16(1000)
	hello := &paho.Connect{ClientID: "subscriber-" + strings.ReplaceAll(topic, "/", "-"), KeepAlive: 60,
		Properties: &paho.ConnectProperties{SessionExpiryInterval: &expiry, ReceiveMaximum: &receive}}
	if _, err := c.Connect(ctx, hello); err != nil {
		return
	}
	if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 2}}}); err != nil {
		return
	}
	s.mu.Lock()
	s.sessions++
	s.mu.Unlock()
	granted()
	select {
	case <-c.Done():
	case <-ctx.Done():
		c.Disconnect(&paho.Disconnect{})
	}
}

func (s *Subscriber) take(p paho.PublishReceived) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := Received{Topic: p.Packet.Topic, Payload: p.Packet.Payload, ContentType: p.Packet.Properties.ContentType, Properties: map[string]string{}}
	for _, u := range p.Packet.Properties.User {
		m.Properties[u.Key] = u.Value
	}
	m.ID = m.Properties["sluice-id"]
	_, m.Marked = m.Properties["possible-duplicate"]
	_, m.Late = m.Properties["sluice-late"]
	s.received = append(s.received, m)
	if s.ids == nil {
		s.ids = make(map[string]bool)
	}
	s.ids[m.ID] = true
	return true, nil
}

// Sessions returns how often the broker has granted the subscription so far.
func (s *Subscriber) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// Distinct returns how many different messages came so far.
func (s *Subscriber) Distinct() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ids)
}

// Has reports whether a message has come.
func (s *Subscriber) Has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id]
}

// Count returns how many messages came so far.
func (s *Subscriber) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.received)
}

// Messages returns what came so far, in the order it came.
func (s *Subscriber) Messages() []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Received(nil), s.received...)
}

// Await waits until n messages have come.
func (s *Subscriber) Await(t testing.TB, n int, limit time.Duration) {
	t.Helper()
	Eventually(t, limit, fmt.Sprintf("%d messages", n), func() (bool, string) {
		have := s.Count()
		return have >= n, fmt.Sprintf("%d", have)
	})
}

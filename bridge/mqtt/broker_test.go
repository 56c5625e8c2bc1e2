package mqtt

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// fakeBroker is a real broker in this process, with a record of what was published to it.
type fakeBroker struct {
	t       testing.TB
	address string
	server  *mochi.Server
	hook    *hook
	once    sync.Once
}

type brokerOptions struct {
	address string // empty: any free port
	tls     *tls.Config
	change  func(*mochi.Capabilities)
	hook    *hook // empty: a new one; given: one that outlives a broker
}

// hook keeps what brokers got.
type hook struct {
	mochi.HookBase
	mu       sync.Mutex
	got      []packets.Packet
	connects []packets.Packet
	refuse   func(pk packets.Packet) byte // reason code, 0 = take it, mute = no answer
	muted    int
	deny     func(pk packets.Packet) bool // of CONNECT
	quiet    bool
	more     chan struct{} // has a value after every change
}

const mute = 0xff

// set changes what the hook does while brokers run.
func (h *hook) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// quietHook is for benchmarks: it keeps nothing.
func quietHook() *hook {
	h := newHook()
	h.quiet = true
	return h
}

func newHook() *hook { return &hook{more: make(chan struct{}, 1)} }

func (h *hook) ID() string { return "test" }
func (h *hook) Provides(b byte) bool {
	return bytes.Contains([]byte{mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnPublish, mochi.OnConnect}, []byte{b})
}
func (h *hook) OnConnectAuthenticate(_ *mochi.Client, pk packets.Packet) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.deny == nil || !h.deny(pk)
}
func (h *hook) OnACLCheck(*mochi.Client, string, bool) bool { return true }
func (h *hook) OnConnect(_ *mochi.Client, pk packets.Packet) error {
	h.mu.Lock()
	h.connects = append(h.connects, pk)
	h.mu.Unlock()
	h.signal()
	return nil
}
func (h *hook) OnPublish(_ *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if h.quiet {
		return pk, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		switch code := h.refuse(pk); code {
		case 0:
		case mute:
			h.muted++
			h.signal()
			return pk, packets.ErrRejectPacket
		default:
			h.signal()
			return pk, packets.Code{Code: code, Reason: "the test says so"}
		}
	}
	h.got = append(h.got, pk.Copy(false))
	h.got[len(h.got)-1].FixedHeader = pk.FixedHeader
	h.signal()
	return pk, nil
}
func (h *hook) signal() {
	select {
	case h.more <- struct{}{}:
	default:
	}
}

// wait blocks until ok says so of what came so far.
func (h *hook) wait(t testing.TB, what string, ok func(got, connects []packets.Packet) bool) {
	t.Helper()
	late := time.After(15 * time.Second)
	for {
		h.mu.Lock()
		yes := ok(h.got, h.connects)
		h.mu.Unlock()
		if yes {
			return
		}
		select {
		case <-h.more:
		case <-late:
			t.Fatalf("waited for %s", what)
		}
	}
}

func (h *hook) all() []packets.Packet {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]packets.Packet(nil), h.got...)
}

func startBroker(t testing.TB, o brokerOptions) *fakeBroker {
	t.Helper()
	if o.address == "" {
		o.address = "127.0.0.1:0"
	}
	if o.hook == nil {
		o.hook = newHook()
	}
	caps := mochi.NewDefaultServerCapabilities()
	if o.change != nil {
		o.change(caps)
	}
	s := mochi.New(&mochi.Options{Capabilities: caps, InlineClient: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := s.AddHook(o.hook, nil); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", o.address)
	if err != nil {
		t.Fatal(err)
	}
	if o.tls != nil {
		ln = tls.NewListener(ln, o.tls)
	}
	if err := s.AddListener(listeners.NewNet("test", ln)); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	b := &fakeBroker{t: t, address: ln.Addr().String(), server: s, hook: o.hook}
	t.Cleanup(b.stop)
	return b
}

func (b *fakeBroker) stop() { b.once.Do(func() { _ = b.server.Close() }) }

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// demoBroker is an MQTT broker for `sluice demo`, with a subscriber inside that holds the bridge to its promise.
type demoBroker struct {
	server *mochi.Server

	mu     sync.Mutex
	last   map[string]int64 // time of the last message by stream; guarded by mu
	counts arrivals         // guarded by mu
}

// arrivals is what the subscriber saw.
type arrivals struct {
	messages int64
	wrong    int64 // not after the last message of their stream: doubles, or out of order
}

func newDemoBroker(address string) (*demoBroker, error) {
	b := &demoBroker{last: make(map[string]int64)}
	b.server = mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := b.server.AddHook(new(auth.AllowHook), nil); err != nil {
		return nil, fmt.Errorf("demo broker: %w", err)
	}
	if err := b.server.AddListener(listeners.NewTCP(listeners.Config{ID: "demo", Address: address})); err != nil {
		return nil, fmt.Errorf("demo broker on %s: %w", address, err)
	}
	if err := b.server.Subscribe("#", 1, b.arrived); err != nil {
		return nil, fmt.Errorf("demo broker: %w", err)
	}
	return b, nil
}

// run serves until ctx ends.
func (b *demoBroker) run(ctx context.Context) error {
	if err := b.server.Serve(); err != nil {
		return err
	}
	<-ctx.Done()
	return b.server.Close()
}

// arrived checks that the messages of a stream ascend in time, as the site's records do.
func (b *demoBroker) arrived(_ *mochi.Client, _ packets.Subscription, p packets.Packet) {
	i := slices.IndexFunc(p.Properties.User, func(u packets.UserProperty) bool { return u.Key == "sluice-id" })
	if i < 0 {
		return // the broker's own
	}
	id := p.Properties.User[i].Val
	at := strings.LastIndexByte(id, '@')
	stream := id[:max(at, 0)]
	t, err := strconv.ParseInt(id[at+1:], 10, 64)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts.messages++
	if err != nil || t <= b.last[stream] {
		b.counts.wrong++
	}
	b.last[stream] = max(b.last[stream], t)
}

func (b *demoBroker) seen() arrivals {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts
}

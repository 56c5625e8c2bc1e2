package mqtt

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/paho/log"
)

// pinger is paho's Pinger. The library's own ends a connection whose PINGREQ waits behind a message that takes longer than the keep-alive to
// upload, again and again.
type pinger struct {
	l    *link
	open atomic.Bool // a PINGREQ has no answer yet
}

// Run asks once every keepAlive seconds, and fails when for so long neither an answer came nor bytes of a message could be written.
func (p *pinger) Run(ctx context.Context, _ net.Conn, keepAlive uint16) error {
	if keepAlive == 0 { // the broker wants none
		return nil
	}
	every := time.Duration(keepAlive) * time.Second
	t := time.NewTicker(every)
	defer t.Stop()
	p.open.Store(false)
	for seen := int64(0); ; {
		moved := p.l.moved.Load()
		switch {
		case !p.open.Swap(true):
			p.l.Lock()
			_, err := p.l.Write([]byte{0xc0, 0}) // PINGREQ; only queued, so that this never waits
			p.l.Unlock()
			if err != nil {
				return fmt.Errorf("PINGREQ: %w", err)
			}
		case moved == seen:
			return fmt.Errorf("no answer to PINGREQ for %v", every)
		}
		seen = moved
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// PingResp is called when a PINGRESP was read.
func (p *pinger) PingResp() { p.open.Store(false) }

// PacketSent, PacketReceived and SetDebug are of no use here: acknowledgements do not pass through the client.
func (p *pinger) PacketSent()         {}
func (p *pinger) PacketReceived()     {}
func (p *pinger) SetDebug(log.Logger) {}

// stall is the watchdog's memory.
type stall struct {
	still int
	seen  int64
}

// tick is called twice in the watchdog's time, and reports whether for two whole ticks something waited for the broker and nothing moved.
func (s *stall) tick(awaited, progress int64) bool {
	if s.still++; s.seen != progress || awaited == 0 {
		s.still, s.seen = 0, progress
	}
	return s.still >= 2
}

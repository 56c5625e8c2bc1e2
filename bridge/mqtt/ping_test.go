package mqtt

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// TestPingSlowUpload has a message that takes 20 times the keep-alive to upload: the connection lives as long as bytes move, and for a keep-alive
// after that.
func TestPingSlowUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		l := newLink(near, func(session.Packet) {}, func() {})
		go l.write()
		p := &pinger{l: l}
		start := time.Now()
		done := make(chan error, 1)
		go func() { done <- p.Run(t.Context(), l, 10) }()
		synctest.Wait()
		if _, err := io.ReadFull(far, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		p.PingResp()
		l.fill(func(dst []byte) ([]byte, uint16, bool) { return append(dst, make([]byte, 30*chunk)...), 0, false })
		read := make([]byte, chunk)
		for n := range 25 {
			<-time.After(8 * time.Second)
			if _, err := io.ReadFull(far, read); err != nil {
				t.Fatalf("chunk %d after %v: %v", n, time.Since(start), err)
			}
		}
		if len(done) > 0 {
			t.Fatalf("ended during the upload: %v", <-done)
		}
		stopped := time.Now()
		err := <-done
		if d := time.Since(stopped); err == nil || !strings.Contains(err.Error(), "no answer to PINGREQ") || d > 20*time.Second {
			t.Errorf("got %v after %v, want an end within two keep-alives after the last byte", err, d)
		}
		far.Close()
		_ = l.Close()
	})
}

// TestPing: one PINGREQ each keep-alive while they are answered; the end of the context is none of the connection.
func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		l := newLink(near, func(session.Packet) {}, func() {})
		go l.write()
		p := &pinger{l: l}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		start := time.Now()
		go func() { done <- p.Run(ctx, l, 10) }()
		ping := make([]byte, 2)
		for range 5 {
			if _, err := io.ReadFull(far, ping); err != nil || ping[0] != 0xc0 || ping[1] != 0 {
				t.Fatalf("got % x, %v; want PINGREQ", ping, err)
			}
			p.PingResp()
		}
		if d := time.Since(start); d != 40*time.Second {
			t.Errorf("5 PINGREQs took %v, want 40s", d)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("after the end of the context: %v", err)
		}
		far.Close()
		_ = l.Close()
	})
}

func TestStall(t *testing.T) {
	type tick struct {
		awaited, progress int64
		want              bool
	}
	for name, ticks := range map[string][]tick{
		"silence":                 {{1, 5, false}, {1, 5, false}, {1, 5, true}},
		"nothing waits":           {{0, 5, false}, {0, 5, false}, {0, 5, false}, {0, 5, false}},
		"bytes of a message move": {{1, 5, false}, {1, 6, false}, {1, 7, false}, {1, 8, false}, {1, 8, false}, {1, 8, true}},
		"our own commit is slow":  {{1, 5, false}, {1, 5, false}, {0, 5, false}, {1, 5, false}, {1, 5, true}},
	} {
		s := stall{seen: -1}
		for i, k := range ticks {
			if got := s.tick(k.awaited, k.progress); got != k.want {
				t.Errorf("%s: tick %d: %v, want %v", name, i, got, k.want)
			}
		}
	}
}

func TestBrokerEnded(t *testing.T) {
	for err, want := range map[error]bool{
		io.EOF: true, &refusal{code: 0x8d}: true, &refusal{code: 0x95}: true, &refusal{code: 0x8b}: false, &refusal{code: 0x8e}: false,
		context.Canceled: false,
	} {
		if got := brokerEnded(err); got != want {
			t.Errorf("%#v: %v, want %v", err, got, want)
		}
	}
}

package mqtt

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// TestLinkOrder fills a link far beyond what the network takes at once, to a far end that reads only then: what the filler wrote itself and what
// the writer did are in order, and nothing is missing.
func TestLinkOrder(t *testing.T) {
	const packets, size = 4096, 2048 // 8 MiB
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	room := make(chan struct{}, 1)
	l := newLink(quick(near.(*net.TCPConn)), func(session.Packet) {}, func() { room <- struct{}{} })
	var writer, reader sync.WaitGroup
	writer.Go(l.write)
	read := func() {
		packet := make([]byte, size)
		for want := range uint64(packets) {
			if _, err := io.ReadFull(far, packet); err != nil {
				t.Errorf("packet %d: %v", want, err)
				return
			}
			if got := binary.BigEndian.Uint64(packet); got != want {
				t.Errorf("packet %d, want %d", got, want)
				return
			}
		}
	}
	waited := 0
	for n := uint64(0); n < packets; {
		l.fill(func(dst []byte) ([]byte, uint16, bool) {
			dst = append(binary.BigEndian.AppendUint64(dst, n), make([]byte, size-8)...)
			n++
			return dst, 0, n%7 > 0 && n < packets
		})
		l.mu.Lock()
		full := l.full
		l.mu.Unlock()
		if full {
			if waited++; waited == 1 {
				reader.Go(read)
			}
			<-room
		}
	}
	reader.Wait()
	if err := l.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	writer.Wait()
	if waited == 0 {
		t.Error("the network took everything at once")
	}
}

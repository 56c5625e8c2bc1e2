package crash

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// wiretap reads along what a bridge and its broker say to each other, and knows which messages the broker has completed: at QoS 2 by PUBCOMP, at
// QoS 1 by PUBACK. From then on they are the broker's.
type wiretap struct {
	mu        sync.Mutex
	under     map[uint16]string // identifiers of messages by packet identifier; guarded by mu
	completed map[string]bool   // guarded by mu
	err       error             // guarded by mu
}

func newWiretap() *wiretap {
	return &wiretap{under: make(map[uint16]string), completed: make(map[string]bool)}
}

// listen is for real.Proxy.Tap.
func (w *wiretap) listen() (up, down io.WriteCloser) { return &ear{w: w}, &ear{w: w} }

// ear gets one direction of one connection.
type ear struct {
	w   *wiretap
	buf []byte
}

// Write takes in what was said before it is heard: an answer never overtakes its question.
func (e *ear) Write(p []byte) (int, error) {
	e.buf = append(e.buf, p...)
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	for len(e.buf) > 1 {
		length, n := binary.Uvarint(e.buf[1:])
		if size := 1 + n + int(length); n > 0 && len(e.buf) >= size {
			e.w.hear(e.buf[:size])
			e.buf = e.buf[size:]
			continue
		}
		break
	}
	return len(p), nil
}

func (e *ear) Close() error { return nil }

func (w *wiretap) hear(packet []byte) {
	switch packet[0] >> 4 {
	case packets.PUBLISH, packets.PUBACK, packets.PUBCOMP:
	default:
		return
	}
	c, err := packets.ReadPacket(bytes.NewReader(packet))
	if err != nil {
		w.err = err
		return
	}
	switch p := c.Content.(type) {
	case *packets.Publish:
		for _, u := range p.Properties.User {
			if u.Key == "sluice-id" {
				w.under[p.PacketID] = u.Value
			}
		}
	case *packets.Puback:
		w.complete(p.PacketID, p.ReasonCode)
	case *packets.Pubcomp:
		w.complete(p.PacketID, p.ReasonCode)
	}
}

func (w *wiretap) complete(id uint16, code byte) {
	if code < 0x80 {
		w.completed[w.under[id]] = true
	}
}

// excuse takes what the broker had completed out of what is lost, and returns how much that was.
func (w *wiretap) excuse(t *testing.T, r *report) (n int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || len(w.completed) == 0 {
		t.Errorf("%d completions overheard, %v", len(w.completed), w.err)
	}
	missing := r.missing
	r.lost, r.missing = finding{}, nil
	for _, id := range missing {
		if w.completed[id] {
			n++
			continue
		}
		r.lost.add(id)
	}
	return n
}

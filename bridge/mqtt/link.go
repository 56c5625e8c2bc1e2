package mqtt

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

const (
	maxIncoming = 64 << 10        // largest packet taken from a broker: acknowledgements are tiny. Announced in CONNECT
	highWater   = 1 << 20         // bytes waiting for the writer at which no more packets are encoded
	maxKept     = 4 * highWater   // a buffer that a single huge message has made larger is not kept for ever
	chunk       = 16 << 10        // written at a time, TLS's record; the progress of a huge message is seen in these
	lastWrites  = 2 * time.Second // how long Close waits for what is still to be written
)

// link is a network connection to a broker under a paho.Client. It gathers what is written and writes it in one go once the burst ends,
// and it picks acknowledgements out of what is read, so that neither way costs an allocation a message; all other packets are the client's.
type link struct {
	net.Conn
	r    *bufio.Reader
	left int // bytes of the packet that the client is reading
	on   func(session.Packet)
	wake func() // there is room again

	moved atomic.Int64 // whole chunks that the writer has written; a PINGREQ is none

	packet sync.Mutex // held while a packet is written: paho writes one in pieces (sync.Locker)

	mu      sync.Mutex
	out     []byte   // to be written
	ids     []uint16 // QoS 0: packets in out, acknowledged once written
	full    bool
	closing bool
	writing bool          // the writer has taken out and is writing it
	err     error         // the first, of either way
	kick    chan struct{} // out has something, or closing
	done    chan struct{} // the writer has ended
}

// newLink starts nothing; write must run until Close.
func newLink(c net.Conn, on func(session.Packet), wake func()) *link {
	return &link{
		Conn: c, r: bufio.NewReaderSize(c, maxIncoming), on: on, wake: wake,
		kick: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// Lock and Unlock make the writes between them one packet. paho.Client calls them.
func (l *link) Lock()   { l.packet.Lock() }
func (l *link) Unlock() { l.packet.Unlock() }

// Write queues p. The caller holds Lock if p is not a whole packet.
func (l *link) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	l.out = append(l.out, p...)
	l.signal()
	return len(p), nil
}

// fill lets add append whole packets until it says that it has no more, or enough bytes wait.
func (l *link) fill(add func(dst []byte) (out []byte, id uint16, more bool)) {
	l.packet.Lock()
	defer l.packet.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for more := true; more; {
		if l.full = len(l.out) >= highWater; l.full {
			break
		}
		var id uint16
		if l.out, id, more = add(l.out); id != 0 {
			l.ids = append(l.ids, id)
		}
	}
	if !l.writeNow() {
		l.signal()
	}
}

// writeNow writes what is queued as far as the network takes it without waiting, and reports whether nothing is left to the writer: waking
// it would cost more than the write. The caller holds mu.
func (l *link) writeNow() bool {
	c, ok := l.Conn.(interface{ tryWrite(p []byte) int })
	if !ok || l.writing || l.full || len(l.ids) > 0 || l.err != nil {
		return false
	}
	if len(l.out) == 0 {
		return true
	}
	n := c.tryWrite(l.out)
	l.out = l.out[:copy(l.out, l.out[n:])]
	if len(l.out) > 0 {
		return false
	}
	if cap(l.out) > maxKept {
		l.out = nil
	}
	return true
}

// locked writes packets that are whole.
type locked struct{ l *link }

func (w locked) Write(p []byte) (int, error) {
	w.l.Lock()
	defer w.l.Unlock()
	return w.l.Write(p)
}

func (l *link) signal() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// write writes what is queued until Close or an error. What gathers while one write is under way goes out with the next.
func (l *link) write() {
	defer close(l.done)
	var spare []byte
	var ids []uint16
	for range l.kick {
		l.mu.Lock()
		spare, l.out = l.out, spare[:0]
		ids, l.ids = l.ids, ids[:0]
		closing, wasFull := l.closing, l.full
		l.full, l.writing = false, len(spare) > 0
		l.mu.Unlock()
		if err := l.writeAll(spare); err != nil {
			l.fail(fmt.Errorf("write: %w", err))
			return
		}
		l.mu.Lock()
		l.writing = false
		l.mu.Unlock()
		for _, id := range ids {
			l.on(session.Packet{Kind: session.Puback, ID: id})
		}
		if wasFull {
			l.wake()
		}
		if closing {
			return
		}
		if cap(spare) > maxKept {
			spare = nil
		}
	}
}

func (l *link) writeAll(p []byte) error {
	for ; len(p) >= chunk; p = p[chunk:] {
		if _, err := l.Conn.Write(p[:chunk]); err != nil {
			return err
		}
		l.moved.Add(1)
	}
	if len(p) == 0 {
		return nil
	}
	_, err := l.Conn.Write(p)
	return err
}

// fail notes the first error and ends the connection.
func (l *link) fail(err error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = err
	}
	l.mu.Unlock()
	_ = l.Conn.Close()
}

// failure returns what ended the connection, nil if nothing did.
func (l *link) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close writes what is queued, for lastWrites at most, and ends the connection. After fail it returns at once.
func (l *link) Close() error {
	l.mu.Lock()
	first := !l.closing
	l.closing = true
	l.mu.Unlock()
	if first {
		_ = l.Conn.SetWriteDeadline(time.Now().Add(lastWrites))
		l.signal()
	}
	<-l.done
	return l.Conn.Close()
}

// Read gives the client its packets, and acknowledgements to on.
func (l *link) Read(p []byte) (int, error) {
	for l.left == 0 {
		if err := l.next(); err != nil {
			if !errors.Is(err, io.EOF) {
				err = fmt.Errorf("read: %w", err)
			}
			l.fail(err)
			return 0, err
		}
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	if err != nil {
		l.fail(fmt.Errorf("read: %w", err))
	}
	return n, err
}

// next looks at the next packet: an acknowledgement is taken, of any other left is set.
func (l *link) next() error {
	head, err := l.r.Peek(2)
	if err != nil {
		return err
	}
	length, n := binary.Uvarint(head[1:])
	for size := 3; n == 0 && size <= 5; size++ { // the same encoding as MQTT's, which ends after 4 bytes
		if head, err = l.r.Peek(size); err != nil {
			return err
		}
		length, n = binary.Uvarint(head[1:])
	}
	if n <= 0 || length > maxIncoming-5 {
		return fmt.Errorf("packet of type %d that is too large or has no length", head[0]>>4)
	}
	size := 1 + n + int(length)
	kind := acks[head[0]>>4]
	if kind == 0 {
		l.left = size
		return nil
	}
	raw, err := l.r.Peek(size)
	if err != nil {
		return err
	}
	p, err := parseAck(kind, raw, raw[1+n:])
	if err != nil {
		return err
	}
	if _, err := l.r.Discard(size); err != nil {
		return err
	}
	l.on(p)
	return nil
}

var acks = [16]session.PacketKind{
	packets.PUBACK: session.Puback, packets.PUBREC: session.Pubrec, packets.PUBCOMP: session.Pubcomp,
}

// parseAck reads | packet id 2 B | reason code 1 B, may be missing | properties, may be missing |.
func parseAck(kind session.PacketKind, raw, body []byte) (session.Packet, error) {
	if len(body) < 2 {
		return session.Packet{}, fmt.Errorf("acknowledgement of %d B", len(raw))
	}
	p := session.Packet{Kind: kind, ID: binary.BigEndian.Uint16(body)}
	if len(body) > 2 {
		p.Code = body[2]
	}
	if p.Code >= 0x80 {
		p.Reason = reasonText(p.Code, said(raw))
	}
	return p, nil
}

// said returns the reason string of an acknowledgement, "" if it has none that can be read.
func said(raw []byte) string {
	p, err := packets.ReadPacket(bytes.NewReader(raw))
	if err != nil {
		return ""
	}
	switch c := p.Content.(type) {
	case *packets.Puback:
		return c.Properties.ReasonString
	case *packets.Pubrec:
		return c.Properties.ReasonString
	case *packets.Pubcomp:
		return c.Properties.ReasonString
	}
	return ""
}

package mqtt

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// BenchmarkSend compares the remote (pump, machine, outbox, paho.Client) with a bare loop that only writes PUBLISHes and PUBRELs and reads
// acknowledgements at the same window, against the same broker in this process. The interesting figure is the ratio of their msg/s. The
// window is small for mochi, which walks all that is in flight for every packet.
func BenchmarkSend(b *testing.B) {
	for _, qos := range []int{1, 2} {
		for _, where := range []string{"null", "mochi"} {
			address, window := startNull(b), 1024
			if where == "mochi" {
				address, window = startBroker(b, brokerOptions{hook: quietHook()}).address, 64
			}
			for _, wait := range []time.Duration{0, 200 * time.Microsecond} {
				b.Run(fmt.Sprintf("%s/qos%d/remote/commit+%v", where, qos, wait), func(b *testing.B) { benchRemote(b, address, qos, window, wait) })
			}
			b.Run(fmt.Sprintf("%s/qos%d/bare", where, qos), func(b *testing.B) { benchBare(b, address, qos, window) })
		}
	}
}

// benchOutbox has n messages of 200 B in rows of 85, and forgets what it is told.
type benchOutbox struct {
	n    int
	wait time.Duration
	row  []bridge.Message
	left atomic.Int64
	done chan struct{}
}

func newBenchOutbox(n int, wait time.Duration) *benchOutbox {
	o := &benchOutbox{n: n, wait: wait, done: make(chan struct{})}
	for i := range 85 {
		o.row = append(o.row, bridge.Message{Record: bridge.Record{
			Time: int64(1_700_000_000_000_000 + i), ContentType: []byte("application/octet-stream"), Payload: make([]byte, 200),
			Labels: []bridge.Label{{Name: []byte("device"), Value: []byte("press-7")}},
		}})
	}
	o.left.Store(int64(n))
	return o
}

func (o *benchOutbox) Restore(context.Context, string) (bridge.Restored, error) {
	return bridge.Restored{}, nil
}

func (o *benchOutbox) Next(ctx context.Context, after uint64, most int) (rows []bridge.Row, err error) {
	for n := after + 1; len(rows) < most && int(n-1)*85 < o.n; n++ {
		rows = append(rows, bridge.Row{
			Number: n, Pipeline: "p", Stream: fmt.Sprintf("bucket/entry-%d", n%8), Count: min(85, o.n-int(n-1)*85), Bytes: 85 * 300, Appended: 1,
		})
	}
	if len(rows) == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return rows, nil
}

func (o *benchOutbox) Messages(uint64) ([]bridge.Message, error) { return o.row, nil }

func (o *benchOutbox) Commit(_ context.Context, s *bridge.Step) error {
	for start := time.Now(); time.Since(start) < o.wait; {
		time.Sleep(o.wait - time.Since(start))
	}
	ended := 0
	for i := range s.Acks {
		if s.Acks[i].Kind != bridge.AckReceived {
			ended++
		}
	}
	if ended > 0 && o.left.Add(-int64(ended)) == 0 {
		close(o.done)
	}
	return nil
}

func benchRemote(b *testing.B, address string, qos, window int, wait time.Duration) {
	c := testConfig(address)
	c.QoS, c.Window = qos, window
	o := newBenchOutbox(b.N, wait)
	r, err := New("far", c, Options{Lanes: map[string]bridge.Lane{"p": {Ordering: bridge.Pipelined}}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	b.ReportAllocs()
	b.ResetTimer()
	go func() { ended <- r.Run(ctx, o) }()
	<-o.done
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.StopTimer()
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

// benchBare is what no client with a session of its own can beat: no ledger, no order, no library.
func benchBare(b *testing.B, address string, qos, window int) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReaderSize(quick(conn.(*net.TCPConn)), 64<<10)
	connect := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: 5,
		Connect: packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: "bare", Keepalive: 60, Clean: true},
	}
	bareConnect(b, conn, r, connect)
	c := testConfig(address)
	c.QoS = qos
	e, err := newEncoder(&c)
	if err != nil {
		b.Fatal(err)
	}
	row := newBenchOutbox(1, 0).row
	b.ReportAllocs()
	b.ResetTimer()
	var out []byte
	sent, ended := 0, 0
	for ended < b.N {
		for sent < b.N && sent-ended < window {
			f := session.Frame{Number: uint64(sent), ID: uint16(sent%65535 + 1), Ref: bridge.Ref{Row: uint64(sent / 85)}}
			if out, err = e.publish(out, &f, "bucket/entry", &row[sent%85], 0); err != nil {
				b.Fatal(err)
			}
			sent++
		}
		if len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				b.Fatal(err)
			}
			out = out[:0]
		}
		for first := true; first || r.Buffered() >= 4; first = false {
			kind, id := bareAck(b, r)
			if kind == packets.Pubrec {
				out = pubrel(out, id)
			} else {
				ended++
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func bareConnect(b *testing.B, conn net.Conn, r *bufio.Reader, pk packets.Packet) {
	b.Helper()
	var buf bytes.Buffer
	if err := pk.ConnectEncode(&buf); err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Write(buf.Bytes()); err != nil {
		b.Fatal(err)
	}
	head, err := r.Peek(2)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := r.Discard(2 + int(head[1])); err != nil {
		b.Fatal(err)
	}
}

func bareAck(b *testing.B, r *bufio.Reader) (kind byte, id uint16) {
	head, err := r.Peek(4)
	if err != nil {
		b.Fatal(err)
	}
	kind, id = head[0]>>4, binary.BigEndian.Uint16(head[2:])
	if _, err := r.Discard(2 + int(head[1])); err != nil {
		b.Fatal(err)
	}
	return kind, id
}

// startNull starts a broker that costs next to nothing: it answers, and throws everything away.
func startNull(b *testing.B) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go nullServe(conn)
		}
	}()
	return ln.Addr().String()
}

func nullServe(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 256<<10)
	var out []byte
	for {
		head, err := r.Peek(2)
		if err != nil {
			return
		}
		first := head[0]
		if _, err := r.Discard(1); err != nil {
			return
		}
		size, err := binary.ReadUvarint(r)
		if err != nil {
			return
		}
		body, err := r.Peek(min(int(size), 2048))
		if err != nil {
			return
		}
		switch first >> 4 {
		case packets.Connect:
			out = append(out, 0x20, 3, 0, 0, 0)
		case packets.Publish:
			at := 2 + int(binary.BigEndian.Uint16(body))
			out = append(out, []byte{0, 0x40, 0x50}[first>>1&3], 2, body[at], body[at+1])
		case packets.Pubrel:
			out = append(out, 0x70, 2, body[0], body[1])
		case packets.Pingreq:
			out = append(out, 0xd0, 0)
		case packets.Disconnect:
			return
		}
		if _, err := r.Discard(int(size)); err != nil {
			return
		}
		if r.Buffered() == 0 || len(out) > 32<<10 {
			if _, err := conn.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
	}
}

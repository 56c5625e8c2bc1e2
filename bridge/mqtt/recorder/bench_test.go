package recorder

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// BenchmarkRecord is messages of 200 B from a broker in this process that costs next to nothing, into a file on the disk of the test's directory.
func BenchmarkRecord(b *testing.B) {
	for _, qos := range []byte{1, 2} {
		for _, window := range []int{20, 1000} {
			b.Run(fmt.Sprintf("QoS %d, window %d", qos, window), func(b *testing.B) { benchmarkRecord(b, qos, window) })
		}
	}
}

func benchmarkRecord(b *testing.B, qos byte, window int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	path := filepath.Join(b.TempDir(), "record")
	f, err := Open(path, testSession, false)
	if err != nil {
		b.Fatal(err)
	}
	r := New(f, Config{Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	conn, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	server := &quickBroker{in: bufio.NewReaderSize(conn, 64<<10), out: bufio.NewWriterSize(conn, 64<<10), qos: qos}
	if err := server.greet(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	if err := server.serve(b.N, window); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64(info.Size())/float64(b.N), "B/message")
}

// quickBroker sends messages as fast as they are taken.
type quickBroker struct {
	in  *bufio.Reader
	out *bufio.Writer
	qos byte
}

func (q *quickBroker) greet() error {
	for _, answer := range []packets.Packet{
		&packets.Connack{Properties: &packets.Properties{}}, &packets.Suback{PacketID: 1, Reasons: []byte{2}, Properties: &packets.Properties{}},
	} {
		if _, err := packets.ReadPacket(q.in); err != nil {
			return err
		}
		if _, err := answer.WriteTo(q.out); err != nil {
			return err
		}
		if err := q.out.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (q *quickBroker) serve(n, window int) error {
	var message bytes.Buffer
	_, err := (&packets.Publish{Topic: "site/acc-1", QoS: q.qos, PacketID: 1, Payload: make([]byte, 200), Properties: &packets.Properties{
		User: []packets.User{{Key: "device", Value: "press-7"}, {Key: "sluice-id", Value: "gate/acc-1@1764000000000000"}}}}).WriteTo(&message)
	if err != nil {
		return err
	}
	id := message.Bytes()[bytes.Index(message.Bytes(), []byte("site/acc-1"))+len("site/acc-1"):]
	last, ack := byte(packets.PUBACK<<4), make([]byte, 4)
	if q.qos == 2 {
		last = packets.PUBCOMP << 4
	}
	for sent, done := 0, 0; done < n; {
		for ; sent < n && sent-done < window; sent++ {
			binary.BigEndian.PutUint16(id, uint16(sent%65535)+1)
			if _, err := q.out.Write(message.Bytes()); err != nil {
				return err
			}
		}
		if q.in.Buffered() == 0 {
			if err := q.out.Flush(); err != nil {
				return err
			}
		}
		if _, err := io.ReadFull(q.in, ack); err != nil {
			return err
		}
		if ack[0] == last {
			done++
			continue
		}
		if _, err := q.out.Write([]byte{packets.PUBREL<<4 | 2, 2, ack[2], ack[3]}); err != nil {
			return err
		}
	}
	return nil
}

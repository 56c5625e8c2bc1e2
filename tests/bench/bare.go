package bench

import (
	"bufio"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// bareClient publishes with a session of its own and nothing else: no ledger, no modules, no lanes; messages are known beforehand, a window of
// packet identifiers is kept full, acknowledgements only free their place. It is what the protocol costs.
type bareClient struct {
	conn   net.Conn
	w      *bufio.Writer
	r      *bufio.Reader
	window int
	qos    byte
}

// quickReader asks for an immediate TCP acknowledgement after each read, as Sluice's connection does: without it a stock Mosquitto answers
// every 44 ms and the comparison would be won by that alone.
type quickReader struct{ net.Conn }

func (q quickReader) Read(b []byte) (int, error) {
	n, err := q.Conn.Read(b)
	if raw, rawErr := q.Conn.(*net.TCPConn).SyscallConn(); rawErr == nil {
		raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1) })
	}
	return n, err
}

func dialBare(addr, id string, qos byte) (*bareClient, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	c := &bareClient{conn: conn, w: bufio.NewWriterSize(conn, 64<<10), r: bufio.NewReaderSize(quickReader{conn}, 64<<10), window: 65535, qos: qos}
	hello := packets.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: id, CleanStart: true, KeepAlive: 600, Properties: &packets.Properties{}}
	if _, err := hello.WriteTo(conn); err != nil {
		return nil, fmt.Errorf("connect %s: %w", id, err)
	}
	p, err := packets.ReadPacket(c.r)
	if err != nil {
		return nil, fmt.Errorf("connect %s: %w", id, err)
	}
	ack, ok := p.Content.(*packets.Connack)
	if !ok || ack.ReasonCode != 0 {
		return nil, fmt.Errorf("connect %s: answer %v", id, p)
	}
	if ack.Properties.ReceiveMaximum != nil {
		c.window = int(*ack.Properties.ReceiveMaximum)
	}
	return c, nil
}

func (c *bareClient) close() { c.conn.Close() }

// publish sends n messages made by make, in order, and returns how long it took until the last was acknowledged.
func (c *bareClient) publish(n int, make func(i int) *packets.Publish) (time.Duration, error) {
	start := time.Now()
	open, next := 0, 0
	for done := 0; done < n; {
		for open < c.window && next < n {
			p := make(next)
			p.QoS, p.PacketID = c.qos, uint16(next%65535+1)
			if _, err := p.WriteTo(c.w); err != nil {
				return 0, fmt.Errorf("publish %d: %w", next, err)
			}
			next, open = next+1, open+1
		}
		if err := c.w.Flush(); err != nil {
			return 0, fmt.Errorf("publish: %w", err)
		}
		ended, err := c.read()
		if err != nil {
			return 0, err
		}
		done, open = done+ended, open-ended
	}
	return time.Since(start), nil
}

// read takes one acknowledgement and those that came with it; it answers PUBREC by PUBREL.
func (c *bareClient) read() (ended int, err error) {
	for first := true; first || c.r.Buffered() > 0; first = false {
		p, err := packets.ReadPacket(c.r)
		if err != nil {
			return 0, fmt.Errorf("read acknowledgement: %w", err)
		}
		switch ack := p.Content.(type) {
		case *packets.Puback, *packets.Pubcomp:
			ended++
		case *packets.Pubrec:
			release := packets.Pubrel{PacketID: ack.PacketID}
			if _, err := release.WriteTo(c.w); err != nil {
				return 0, fmt.Errorf("release: %w", err)
			}
		}
	}
	return ended, nil
}

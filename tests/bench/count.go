package bench

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"github.com/eclipse/paho.golang/packets"
)

// counter is a subscriber that costs as little as one can: it counts PUBLISH packets and their bytes and acknowledges them (QoS 1), no more.
type counter struct {
	conn            net.Conn
	messages, bytes atomic.Int64
}

// subscribe connects to a broker and returns once topic is granted; counting goes on until close.
func subscribe(addr, topic string) (*counter, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	r := bufio.NewReaderSize(quickReader{conn}, 256<<10)
	hello := packets.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: "counter", CleanStart: true, KeepAlive: 0, Properties: &packets.Properties{}}
	if _, err := hello.WriteTo(conn); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if _, err := packets.ReadPacket(r); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	ask := packets.Subscribe{PacketID: 1, Properties: &packets.Properties{}, Subscriptions: []packets.SubOptions{{Topic: topic, QoS: 1}}}
	if _, err := ask.WriteTo(conn); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	if _, err := packets.ReadPacket(r); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	c := &counter{conn: conn}
	go c.run(r) // ends with the connection
	return c, nil
}

func (c *counter) close() { c.conn.Close() }

func (c *counter) run(r *bufio.Reader) {
	w := bufio.NewWriterSize(c.conn, 64<<10)
	for {
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		if c.take(r, w) != nil {
			return
		}
	}
}

// take reads one packet: type and flags, remaining length, and of a PUBLISH the topic's length and the packet identifier (MQTT 5.0 section 3.3).
func (c *counter) take(r *bufio.Reader, w *bufio.Writer) error {
	head, err := r.ReadByte()
	if err != nil {
		return err
	}
	length, err := binary.ReadUvarint(r) // the same coding as MQTT's variable byte integer
	if err != nil {
		return err
	}
	if head>>4 != packets.PUBLISH {
		_, err = r.Discard(int(length))
		return err
	}
	topic, err := c.uint16(r)
	if err != nil {
		return err
	}
	if _, err := r.Discard(topic); err != nil {
		return err
	}
	left := int(length) - 2 - topic
	if head&6 != 0 {
		id, err := c.uint16(r)
		if err != nil {
			return err
		}
		left -= 2
		if _, err := w.Write([]byte{packets.PUBACK << 4, 2, byte(id >> 8), byte(id)}); err != nil {
			return err
		}
	}
	if _, err := r.Discard(left); err != nil {
		return err
	}
	c.bytes.Add(int64(length))
	c.messages.Add(1)
	return nil
}

func (c *counter) uint16(r io.Reader) (int, error) {
	var b [2]byte
	_, err := io.ReadFull(r, b[:])
	return int(binary.BigEndian.Uint16(b[:])), err
}

package recorder

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/eclipse/paho.golang/packets"
)

const (
	maxOther      = 64 << 10 // bytes of a packet that is no PUBLISH
	maxProperties = 1 << 20  // bytes of a PUBLISH's properties; longer ones are not looked at
)

var errPacket = errors.New("malformed packet")

// scanner reads packets. What it keeps of a PUBLISH is bounded: its payload is summed up and thrown away.
type scanner struct {
	r     *bufio.Reader
	left  int // bytes of the packet
	sum   uint32
	props []byte
}

// head reads a fixed header: its first byte, and the length of the rest, which is in left.
func (s *scanner) head() (first byte, err error) {
	if first, err = s.r.ReadByte(); err != nil {
		return 0, err
	}
	length, shift := 0, 0
	for {
		b, err := s.r.ReadByte()
		if err != nil {
			return 0, err
		}
		if length |= int(b&0x7f) << shift; b < 0x80 {
			s.left = length
			return first, nil
		}
		if shift += 7; shift > 21 {
			return 0, fmt.Errorf("%w: length", errPacket)
		}
	}
}

// take returns the next n bytes of the packet, in dst's memory.
func (s *scanner) take(dst []byte, n int) ([]byte, error) {
	if n > s.left {
		return nil, fmt.Errorf("%w: %d B where %d are left", errPacket, n, s.left)
	}
	s.left -= n
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	dst = dst[:n]
	_, err := io.ReadFull(s.r, dst)
	return dst, err
}

// other reads the rest of a packet that is no PUBLISH.
func (s *scanner) other(first byte) (*packets.ControlPacket, error) {
	if s.left > maxOther {
		return nil, fmt.Errorf("%w: type %d of %d B", errPacket, first>>4, s.left)
	}
	raw := binary.AppendUvarint([]byte{first}, uint64(s.left)) // the same encoding as MQTT's
	body, err := s.take(nil, s.left)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 && first>>4 == packets.DISCONNECT { // a reason code of 0 may be left out, which paho does not know here
		return packets.NewControlPacket(packets.DISCONNECT), nil
	}
	p, err := packets.ReadPacket(bytes.NewReader(append(raw, body...)))
	if err != nil {
		return nil, fmt.Errorf("%w: type %d: %w", errPacket, first>>4, err)
	}
	return p, nil
}

// publish reads the rest of a PUBLISH:
//
//	| 0x30 dup<<3 qos<<1 retain | remaining length | topic: len 2 B, bytes | packet id 2 B, not for QoS 0 | properties: length, bytes | payload |
func (s *scanner) publish(first byte, d *Delivery) error {
	d.qos = first >> 1 & 3
	if d.qos == 3 {
		return fmt.Errorf("%w: QoS 3", errPacket)
	}
	b, err := s.take(s.props, 2)
	if err != nil {
		return err
	}
	topic, err := s.take(s.props, int(binary.BigEndian.Uint16(b)))
	if err != nil {
		return err
	}
	s.sum = crc32.Update(0, castagnoli, topic)
	d.Topic = string(topic)
	if d.qos > 0 {
		if b, err = s.take(s.props, 2); err != nil {
			return err
		}
		d.pid = binary.BigEndian.Uint16(b)
	}
	if err := s.properties(d); err != nil {
		return err
	}
	s.sum = crc32.Update(s.sum, castagnoli, []byte(d.ID))
	if err := s.discard(s.left); err != nil {
		return err
	}
	d.sum = s.sum
	return nil
}

// discard sums up the next n bytes of the packet and forgets them.
func (s *scanner) discard(n int) error {
	for n > 0 {
		b, err := s.r.Peek(min(n, max(1, s.r.Buffered())))
		if err != nil {
			return err
		}
		s.sum = crc32.Update(s.sum, castagnoli, b)
		if _, err := s.r.Discard(len(b)); err != nil {
			return err
		}
		n, s.left = n-len(b), s.left-len(b)
	}
	return nil
}

// properties reads those of a PUBLISH, and what a bridge says of itself in them. A message whose properties are too many to be ours is
// recorded without.
func (s *scanner) properties(d *Delivery) error {
	n, shift := 0, 0
	for {
		b, err := s.take(s.props, 1)
		if err != nil {
			return err
		}
		n |= int(b[0]&0x7f) << shift
		if b[0] < 0x80 {
			break
		}
		if shift += 7; shift > 21 {
			return fmt.Errorf("%w: length of properties", errPacket)
		}
	}
	if n > s.left {
		return fmt.Errorf("%w: %d B of properties where %d are left", errPacket, n, s.left)
	}
	if n > maxProperties {
		return s.discard(n)
	}
	all, err := s.take(s.props, n)
	if err != nil {
		return err
	}
	s.props = all
	return d.describe(all)
}

// The properties that a PUBLISH may have (2.2.2.2), and what a value is.
const (
	oneByte = iota + 1
	twoBytes
	fourBytes
	varint
	text // 2 B of length, and bytes
	pair // two texts
)

var publishProperties = [...]uint8{
	0x01: oneByte, 0x02: fourBytes, 0x03: text, 0x08: text, 0x09: text, 0x0b: varint, 0x23: twoBytes, 0x26: pair,
}

// describe takes from properties what the bridge says of a message: the first of each name counts.
func (d *Delivery) describe(props []byte) error {
	for len(props) > 0 {
		id := int(props[0])
		if id >= len(publishProperties) || publishProperties[id] == 0 {
			return fmt.Errorf("%w: property 0x%02x in PUBLISH", errPacket, id)
		}
		kind := publishProperties[id]
		name, value, rest, ok := value(kind, props[1:])
		if !ok {
			return fmt.Errorf("%w: property 0x%02x is cut off", errPacket, id)
		}
		props = rest
		if kind != pair {
			continue
		}
		switch {
		case string(name) == "sluice-id" && d.ID == "":
			d.ID = string(value)
		case string(name) == "possible-duplicate" && d.Mark == "":
			d.Mark = string(value)
		case string(name) == "sluice-late":
			d.Late = true
		}
	}
	return nil
}

// value takes a property's value; name is that of a pair.
func value(kind uint8, b []byte) (name, value, rest []byte, ok bool) {
	n := 0
	switch kind {
	case oneByte:
		n = 1
	case twoBytes:
		n = 2
	case fourBytes:
		n = 4
	case varint:
		_, n = binary.Uvarint(b)
	case pair:
		if name, b, ok = cutText(b); !ok {
			return nil, nil, nil, false
		}
		fallthrough
	case text:
		value, rest, ok = cutText(b)
		return name, value, rest, ok
	}
	if n <= 0 || n > len(b) {
		return nil, nil, nil, false
	}
	return nil, nil, b[n:], true
}

func cutText(b []byte) (text, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if n > len(b) {
		return nil, nil, false
	}
	return b[2:n], b[n:], true
}

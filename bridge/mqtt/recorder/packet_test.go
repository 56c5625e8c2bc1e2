package recorder

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// FuzzPublish: whatever a broker sends is a delivery or an error; what paho can read is read to the same.
func FuzzPublish(f *testing.F) {
	var b bytes.Buffer
	(&packets.Publish{Topic: "a/b", QoS: 2, PacketID: 5, Payload: []byte("xyz"), Properties: &packets.Properties{
		ContentType: "text/plain", User: []packets.User{{Key: "sluice-id", Value: "s@1"}, {Key: "possible-duplicate", Value: "session-lost"}}}}).WriteTo(&b)
	f.Add(b.Bytes())
	f.Add([]byte{0x30, 3, 0, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := scanner{r: bufio.NewReader(bytes.NewReader(raw))}
		first, err := s.head()
		if err != nil || first>>4 != packets.PUBLISH {
			return
		}
		var d Delivery
		if err := s.publish(first, &d); err != nil {
			return
		}
		if s.left != 0 {
			t.Fatalf("%d bytes of the packet are left", s.left)
		}
		p, err := packets.ReadPacket(bytes.NewReader(raw))
		if err != nil {
			return // paho is stricter with properties
		}
		c := p.Content.(*packets.Publish)
		if c.Topic != d.Topic || c.PacketID != d.pid || c.QoS != d.qos {
			t.Errorf("got %+v, paho says topic %q, identifier %d, QoS %d", d, c.Topic, c.PacketID, c.QoS)
		}
	})
}

// BenchmarkPublish is the reading of a message of 200 B with what a bridge sends along.
func BenchmarkPublish(b *testing.B) {
	var out bytes.Buffer
	(&packets.Publish{Topic: "site/acc-1", QoS: 2, PacketID: 5, Payload: make([]byte, 200), Properties: &packets.Properties{
		ContentType: "application/json", User: []packets.User{{Key: "device", Value: "press-7"}, {Key: "rpm", Value: "1500"},
			{Key: "sluice-id", Value: "gate/acc-1@1764000000000000"}, {Key: "sluice-time", Value: "1764000000000000"}}}}).WriteTo(&out)
	raw := bytes.NewReader(out.Bytes())
	s := scanner{r: bufio.NewReaderSize(raw, 64<<10), props: make([]byte, 0, 1024)}
	var line []byte
	for b.Loop() {
		raw.Reset(out.Bytes())
		s.r.Reset(raw)
		first, err := s.head()
		if err != nil {
			b.Fatal(err)
		}
		var d Delivery
		if err := s.publish(first, &d); err != nil {
			b.Fatal(err)
		}
		line = appendMessage(line[:0], &d)
	}
}

package recorder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

var testSession = Session{Broker: "broker:1883", Client: "watcher", Topic: "site/#", QoS: 2}

// broker is the other end of a connection, played by the test.
type broker struct {
	t     *testing.T
	conn  net.Conn
	dials chan net.Conn
}

// attach starts a recorder over path and returns its broker's side. stop ends it as SIGTERM does and returns what Run said.
func attach(t *testing.T, path string) (b *broker, stop func() error) {
	t.Helper()
	f, err := Open(path, testSession, false)
	if err != nil {
		t.Fatal(err)
	}
	return attachTo(t, f)
}

func attachTo(t *testing.T, f *File) (b *broker, stop func() error) {
	b = &broker{t: t, dials: make(chan net.Conn)}
	r := New(f, Config{Dial: func(ctx context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case b.dials <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, BackoffMin: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = func() error {
		cancel()
		err := <-ended
		return errors.Join(err, f.Close())
	}
	return b, stop
}

// accept takes the next connection and answers CONNECT and SUBSCRIBE.
func (b *broker) accept(present bool) {
	b.t.Helper()
	b.conn = <-b.dials
	c := b.expect(packets.CONNECT).Content.(*packets.Connect)
	if c.ClientID != testSession.Client || c.CleanStart || *c.Properties.SessionExpiryInterval != 0xffffffff {
		b.t.Errorf("CONNECT %v, want client %s, no clean start, a session for ever", c, testSession.Client)
	}
	b.send(&packets.Connack{SessionPresent: present, Properties: &packets.Properties{}})
	s := b.expect(packets.SUBSCRIBE).Content.(*packets.Subscribe)
	if len(s.Subscriptions) != 1 || s.Subscriptions[0].Topic != testSession.Topic || s.Subscriptions[0].QoS != 2 {
		b.t.Errorf("SUBSCRIBE %v, want %s at QoS 2", s, testSession.Topic)
	}
	b.send(&packets.Suback{PacketID: s.PacketID, Reasons: []byte{2}, Properties: &packets.Properties{}})
}

func (b *broker) expect(kind byte) *packets.ControlPacket {
	b.t.Helper()
	p, err := packets.ReadPacket(b.conn)
	if err != nil {
		b.t.Fatalf("wait for packet of type %d: %v", kind, err)
	}
	if p.Type != kind {
		b.t.Fatalf("got %v, want type %d", p, kind)
	}
	return p
}

// acked waits for an acknowledgement of an identifier.
func (b *broker) acked(kind byte, pid uint16) {
	b.t.Helper()
	if got := b.expect(kind).PacketID(); got != pid {
		b.t.Fatalf("type %d for %d, want for %d", kind, got, pid)
	}
}

func (b *broker) send(p packets.Packet) {
	b.t.Helper()
	var out bytes.Buffer // or paho would write a packet in pieces
	if _, err := p.WriteTo(&out); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.conn.Write(out.Bytes()); err != nil {
		b.t.Fatalf("send %v: %v", p, err)
	}
}

// publish sends a message of identity id.
func (b *broker) publish(qos byte, pid uint16, dup bool, id string, more ...packets.User) {
	b.t.Helper()
	b.send(&packets.Publish{Topic: "site/acc-1", QoS: qos, PacketID: pid, Duplicate: dup, Payload: []byte("payload of " + id),
		Properties: &packets.Properties{ContentType: "text/plain", User: append([]packets.User{{Key: "sluice-id", Value: id}}, more...)}})
}

// hangUp ends the connection without a word.
func (b *broker) hangUp() { b.conn.Close() }

// recorded returns the identities in a file, in order.
func recorded(t *testing.T, path string) (ids []string) {
	t.Helper()
	for _, d := range deliveries(t, path) {
		ids = append(ids, d.ID)
	}
	return ids
}

func deliveries(t *testing.T, path string) (ds []Delivery) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(bytes.NewReader(text), func(d *Delivery) error { ds = append(ds, *d); return nil }); err != nil {
		t.Fatal(err)
	}
	return ds
}

func wantRecorded(t *testing.T, path string, want ...string) {
	t.Helper()
	if got := recorded(t, path); !slices.Equal(got, want) {
		t.Fatalf("recorded %v, want %v", got, want)
	}
}

// TestAcknowledged: what is acknowledged is in the file (rule 1, on the other side), and a PUBREL is there before its PUBCOMP.
func TestAcknowledged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	b, stop := attach(t, path)
	b.accept(false)
	b.publish(2, 7, false, "s@1")
	b.acked(packets.PUBREC, 7)
	wantRecorded(t, path, "s@1")
	b.publish(1, 8, false, "s@2", packets.User{Key: "possible-duplicate", Value: "session-lost"}, packets.User{Key: "sluice-late", Value: "true"})
	b.acked(packets.PUBACK, 8)
	wantRecorded(t, path, "s@1", "s@2")
	b.publish(0, 0, false, "s@3")
	b.send(&packets.Pubrel{PacketID: 7, Properties: &packets.Properties{}})
	b.acked(packets.PUBCOMP, 7)
	if text, _ := os.ReadFile(path); !strings.Contains(string(text), "\nR\t7\t") {
		t.Errorf("PUBCOMP is out and the file says nothing of it:\n%s", text)
	}
	ended := make(chan error)
	go func() { ended <- stop() }()
	bye := make([]byte, 2)
	if _, err := io.ReadFull(b.conn, bye); err != nil || !bytes.Equal(bye, []byte{0xe0, 0}) {
		t.Errorf("at the end: % x, %v, want DISCONNECT", bye, err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for i, want := range []Delivery{
		{ID: "s@1", Topic: "site/acc-1"}, {ID: "s@2", Mark: "session-lost", Late: true, Topic: "site/acc-1"}, {ID: "s@3", Topic: "site/acc-1"},
	} {
		got := deliveries(t, path)[i]
		if time.Since(got.Received) > time.Hour {
			t.Errorf("received %v", got.Received)
		}
		got.Received, got.pid, got.qos, got.sum = time.Time{}, 0, 0, 0
		if got != want {
			t.Errorf("delivery %d: got %+v, want %+v", i, got, want)
		}
	}
}

// TestRepeated: what a broker sends again after the connection broke, or after kill -9 (the file is opened anew), is written once; what
// only looks alike is written.
func TestRepeated(t *testing.T) {
	rel := func(b *broker, pid uint16) {
		b.send(&packets.Pubrel{PacketID: pid, Properties: &packets.Properties{}})
		b.acked(packets.PUBCOMP, pid)
	}
	tests := []struct {
		name    string
		present bool // the broker kept the session
		before  func(b *broker)
		after   func(b *broker)
		want    []string
	}{
		{"QoS 2, PUBREC lost", true,
			func(b *broker) { b.publish(2, 7, false, "s@1"); b.acked(packets.PUBREC, 7) },
			func(b *broker) { b.publish(2, 7, true, "s@1"); b.acked(packets.PUBREC, 7); rel(b, 7) }, []string{"s@1"}},
		{"QoS 2, a broker that forgets DUP", true,
			func(b *broker) { b.publish(2, 7, false, "s@1"); b.acked(packets.PUBREC, 7) },
			func(b *broker) { b.publish(2, 7, false, "s@1"); b.acked(packets.PUBREC, 7) }, []string{"s@1"}},
		{"QoS 2, PUBCOMP lost, identifier used anew", true,
			func(b *broker) { b.publish(2, 7, false, "s@1"); b.acked(packets.PUBREC, 7); rel(b, 7) },
			func(b *broker) { rel(b, 7); b.publish(2, 7, true, "s@2"); b.acked(packets.PUBREC, 7) }, []string{"s@1", "s@2"}},
		{"QoS 2, the same message published twice", true,
			func(b *broker) { b.publish(2, 7, false, "s@1"); b.acked(packets.PUBREC, 7); rel(b, 7) },
			func(b *broker) { b.publish(2, 7, true, "s@1"); b.acked(packets.PUBREC, 7) }, []string{"s@1", "s@1"}},
		{"QoS 2, a broker that went back in time", true,
			func(b *broker) { b.publish(2, 7, false, "s@1"); b.acked(packets.PUBREC, 7) },
			func(b *broker) { b.publish(2, 7, true, "s@2"); b.acked(packets.PUBREC, 7) }, []string{"s@1", "s@2"}},
		{"QoS 2, session lost", false,
			func(b *broker) { b.publish(2, 7, false, "s@1"); b.acked(packets.PUBREC, 7) },
			func(b *broker) { b.publish(2, 7, false, "s@1"); b.acked(packets.PUBREC, 7) }, []string{"s@1", "s@1"}},
		{"QoS 1, PUBACK lost", true,
			func(b *broker) { b.publish(1, 7, false, "s@1"); b.acked(packets.PUBACK, 7) },
			func(b *broker) { b.publish(1, 7, true, "s@1"); b.acked(packets.PUBACK, 7) }, []string{"s@1"}},
		{"QoS 1, the same message published twice", true,
			func(b *broker) { b.publish(1, 7, false, "s@1"); b.acked(packets.PUBACK, 7) },
			func(b *broker) { b.publish(1, 7, false, "s@1"); b.acked(packets.PUBACK, 7) }, []string{"s@1", "s@1"}},
		{"QoS 1, never came before", true,
			func(b *broker) {},
			func(b *broker) { b.publish(1, 7, true, "s@1"); b.acked(packets.PUBACK, 7) }, []string{"s@1"}},
	}
	for _, tt := range tests {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed %v", tt.name, killed), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "record")
				b, stop := attach(t, path)
				b.accept(false)
				tt.before(b)
				if killed { // all that a kill leaves is the file as it is: it is durable before anything is answered
					whole, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					b.hangUp()
					stop()
					if err := os.WriteFile(path, whole, 0o600); err != nil {
						t.Fatal(err)
					}
					b, stop = attach(t, path)
				} else {
					b.hangUp()
				}
				b.accept(tt.present)
				tt.after(b)
				b.hangUp()
				stop()
				wantRecorded(t, path, tt.want...)
			})
		}
	}
}

// TestDiskFails: nothing is acknowledged that is not durable, and the recorder ends.
func TestDiskFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	f, err := Open(path, testSession, false)
	if err != nil {
		t.Fatal(err)
	}
	b, stop := attachTo(t, f)
	b.accept(false)
	b.publish(2, 1, false, "s@1")
	b.acked(packets.PUBREC, 1)
	f.file.Close() // every write fails from here on
	b.publish(2, 2, false, "s@2")
	if p, err := packets.ReadPacket(b.conn); err == nil {
		t.Errorf("got %v for a message that could not be written", p)
	}
	if err := stop(); !errors.Is(err, errDisk) {
		t.Errorf("Run: %v, want %v", err, errDisk)
	}
}

// TestRefused: a subscription that a broker will never grant ends the recorder with its words.
func TestRefused(t *testing.T) {
	for _, code := range []byte{0x87, 1} {
		b, stop := attach(t, filepath.Join(t.TempDir(), "record"))
		b.conn = <-b.dials
		b.expect(packets.CONNECT)
		b.send(&packets.Connack{Properties: &packets.Properties{}})
		b.expect(packets.SUBSCRIBE)
		b.send(&packets.Suback{PacketID: 1, Reasons: []byte{code}, Properties: &packets.Properties{}})
		if p, err := packets.ReadPacket(b.conn); err == nil {
			t.Errorf("0x%02x: got %v", code, p)
		}
		if err := stop(); !errors.Is(err, errRefused) {
			t.Errorf("0x%02x: Run: %v, want %v", code, err, errRefused)
		}
	}
}

// TestSilence: a connection without messages is kept up by PINGREQ, and given up where that has no answer.
func TestSilence(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	synctest.Test(t, func(t *testing.T) {
		b, stop := attach(t, path)
		b.accept(false)
		start := time.Now()
		for range 3 {
			b.expect(packets.PINGREQ)
			b.send(&packets.Pingresp{})
		}
		if took := time.Since(start); took < 40*time.Second || took > 50*time.Second {
			t.Errorf("three pings in %v, want about 45s", took)
		}
		b.expect(packets.PINGREQ)
		b.accept(true) // it dials again by itself
		b.hangUp()
		stop()
	})
}

// TestNonsense: what no broker should send ends the connection, never the recorder, and leaves the file readable.
func TestNonsense(t *testing.T) {
	tests := map[string][]byte{
		"QoS 3":                       {0x36, 9, 0, 1, 'a', 0, 1, 0, 'x', 'y', 'z'},
		"a length without end":        {0x30, 0xff, 0xff, 0xff, 0xff, 0xff},
		"a huge packet of no message": {0x90, 0xff, 0xff, 0xff, 0x7f},
		"a topic beyond the packet":   {0x32, 4, 0xff, 0xff, 'a', 'b'},
		"properties beyond it":        {0x32, 6, 0, 1, 'a', 0, 1, 0x7f},
		"an unknown property":         {0x32, 8, 0, 1, 'a', 0, 1, 2, 0x05, 0},
		"a property cut off":          {0x32, 9, 0, 1, 'a', 0, 1, 3, 0x26, 0, 9},
		"CONNECT from a broker":       {0x10, 0},
		"DISCONNECT":                  {0xe0, 2, 0x8e, 0},
		"DISCONNECT without reason":   {0xe0, 0},
		"type 0":                      {0, 0},
		"an empty SUBACK":             {0x90, 0},
	}
	for name, raw := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "record")
			b, stop := attach(t, path)
			b.accept(false)
			go b.conn.Write(raw) // the recorder may hang up before it has read all
			b.accept(true)
			b.publish(1, 1, false, "s@1")
			b.acked(packets.PUBACK, 1)
			b.hangUp()
			stop()
			wantRecorded(t, path, "s@1")
		})
	}
}

package recorder

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// Config of a Recorder.
type Config struct {
	Dial     func(context.Context) (net.Conn, error) // connects to the broker, TLS included
	Username string                                  // empty = none
	Password []byte                                  // empty = none
	Log      *slog.Logger                            // nil: none

	// The waits; 0 is the default.
	KeepAlive  time.Duration // 30 s; also how long a broker may take for an answer
	BackoffMin time.Duration // 200 ms
	BackoffMax time.Duration // 5 s
}

// receiveMaximum is how many deliveries a broker may have open here.
const receiveMaximum = 1024

// Recorder receives for one file.
type Recorder struct {
	c    Config
	file *File

	// Of one connection.
	conn  net.Conn
	in    scanner
	acks  []byte // to be written once the batch is durable
	wrote time.Time
	asked bool          // a PINGREQ has no answer yet
	alive time.Duration // keep-alive; the broker may set another

	// Stats, of Run's goroutine; to be read when it has returned.
	Messages int64 // written down
	Repeated int64 // deliveries that came again and were not written down
}

// New returns a recorder that Run makes work.
func New(f *File, c Config) *Recorder {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.KeepAlive, 30 * time.Second}, {&c.BackoffMin, 200 * time.Millisecond}, {&c.BackoffMax, 5 * time.Second}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Recorder{c: c, file: f}
}

// errDisk is what ends a recorder: what the file has is not known any more.
var errDisk = errors.New("record")

// errRefused is what a broker will say again: only a person can change it.
var errRefused = errors.New("broker refused")

// Run records until ctx ends, over as many connections as it takes. It returns an error where the file cannot be written, or the broker
// refuses the subscription.
func (r *Recorder) Run(ctx context.Context) error {
	for wait := r.c.BackoffMin; ; {
		before := r.Messages + r.Repeated
		err := r.connection(ctx)
		if errors.Is(err, errDisk) || errors.Is(err, errRefused) {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		if r.Messages+r.Repeated > before {
			wait = r.c.BackoffMin
		}
		pause := wait/2 + rand.N(wait/2+1) // so that many do not come at once
		r.c.Log.Warn("connection to broker ended", "error", err, "again_in", pause)
		wait = min(2*wait, r.c.BackoffMax)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// connection lives through one network connection.
func (r *Recorder) connection(ctx context.Context) error {
	dialing, cancel := context.WithTimeout(ctx, r.c.KeepAlive)
	conn, err := r.c.Dial(dialing)
	cancel()
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	r.conn, r.alive, r.asked = conn, r.c.KeepAlive, false
	r.in = scanner{r: bufio.NewReaderSize(readFunc(func(p []byte) (int, error) { return r.read(ctx, p) }), 64<<10), props: make([]byte, 0, 1024)}
	r.acks = r.acks[:0]
	if err := r.connect(); err != nil {
		return err
	}
	for {
		err := r.turn(ctx)
		if ctx.Err() != nil && !errors.Is(err, errDisk) && !errors.Is(err, errRefused) {
			return errors.Join(ctx.Err(), r.write([]byte{0xe0, 0})) // DISCONNECT; the session stays
		}
		if err != nil {
			return err
		}
	}
}

// connect asks for the session and for the subscription, which a session that was kept has already: a broker must not send retained
// messages again for it.
func (r *Recorder) connect() error {
	s, forever, most := r.file.Session(), uint32(0xffffffff), uint16(receiveMaximum)
	var b bytes.Buffer
	_, err := (&packets.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: s.Client, KeepAlive: uint16((r.c.KeepAlive + time.Second - 1) / time.Second),
		Username: r.c.Username, UsernameFlag: r.c.Username != "", Password: r.c.Password, PasswordFlag: len(r.c.Password) > 0,
		Properties: &packets.Properties{SessionExpiryInterval: &forever, ReceiveMaximum: &most},
	}).WriteTo(&b)
	if err != nil {
		return fmt.Errorf("CONNECT: %w", err)
	}
	if err := r.write(b.Bytes()); err != nil {
		return err
	}
	if err := r.accepted(); err != nil {
		return err
	}
	b.Reset()
	p := packets.NewControlPacket(packets.SUBSCRIBE)
	sub := p.Content.(*packets.Subscribe)
	sub.PacketID = 1
	sub.Subscriptions = []packets.SubOptions{{Topic: s.Topic, QoS: s.QoS, RetainHandling: packets.RetainSendOnSubscribeIfNew}}
	if _, err := p.WriteTo(&b); err != nil {
		return fmt.Errorf("SUBSCRIBE: %w", err)
	}
	return r.write(b.Bytes())
}

// accepted reads CONNACK.
func (r *Recorder) accepted() error {
	first, err := r.in.head()
	if err != nil {
		return fmt.Errorf("read CONNACK: %w", err)
	}
	p, err := r.in.other(first)
	if err != nil {
		return fmt.Errorf("read CONNACK: %w", err)
	}
	ack, ok := p.Content.(*packets.Connack)
	switch {
	case !ok:
		return fmt.Errorf("%w: %s in place of CONNACK", errPacket, p.PacketType())
	case ack.ReasonCode >= 0x80:
		return fmt.Errorf("broker refused CONNECT: 0x%02X %s %s", ack.ReasonCode, ack.Reason(), ack.Properties.ReasonString)
	}
	if x := ack.Properties.ServerKeepAlive; x != nil && *x > 0 {
		r.alive = time.Duration(*x) * time.Second
	}
	if x := ack.Properties.SessionExpiryInterval; x != nil && *x != 0xffffffff {
		r.c.Log.Warn("broker keeps the session for a limited time only: what comes in a longer absence is not recorded", "seconds", *x)
	}
	if !ack.SessionPresent {
		if !r.file.fresh {
			r.c.Log.Warn("broker has lost the session: what it had for this subscriber is not in the record")
		}
		r.file.newSession(time.Now())
	}
	r.file.fresh = false
	r.c.Log.Info("connected to broker", "client", r.file.Session().Client, "session_present", ack.SessionPresent)
	return nil
}

// turn reads what is there, makes it durable, and acknowledges it.
func (r *Recorder) turn(ctx context.Context) error {
	if err := r.wait(ctx); err != nil {
		return err
	}
	var err error
	for more := true; more && err == nil; more = r.in.r.Buffered() > 0 && !r.file.full() {
		err = r.packet()
	}
	if broken := r.commit(); broken != nil {
		return broken // the file's trouble, or the same as err
	}
	return err
}

// wait waits for a packet, with a PINGREQ where for long none comes.
func (r *Recorder) wait(ctx context.Context) error {
	for {
		if time.Since(r.wrote) >= r.alive/2 && !r.asked {
			if err := r.write([]byte{0xc0, 0}); err != nil {
				return err
			}
			r.asked = true
		}
		_, err := r.in.r.Peek(1)
		var late net.Error
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &late) || !late.Timeout():
			return fmt.Errorf("read: %w", err)
		case ctx.Err() != nil:
			return ctx.Err()
		case r.asked && time.Since(r.wrote) >= r.alive:
			return fmt.Errorf("no answer to PINGREQ for %v", r.alive)
		}
	}
}

// readFunc makes a reader of a function.
type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// read gives each read half the keep-alive, so that a large message may take as long as it needs. The check comes last: the end of ctx
// sets a deadline that this one would undo.
func (r *Recorder) read(ctx context.Context, p []byte) (int, error) {
	if err := r.conn.SetReadDeadline(time.Now().Add(r.alive / 2)); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return r.conn.Read(p)
}

// packet takes one packet.
func (r *Recorder) packet() error {
	first, err := r.in.head()
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if first>>4 == packets.PUBLISH {
		return r.publish(first)
	}
	p, err := r.in.other(first)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	switch c := p.Content.(type) {
	case *packets.Pubrel:
		r.file.release(c.PacketID)
		r.ack(packets.PUBCOMP<<4, c.PacketID)
	case *packets.Suback:
		return r.subscribed(c)
	case *packets.Pingresp:
		r.asked = false
	case *packets.Disconnect:
		return fmt.Errorf("broker sent DISCONNECT: 0x%02X %s", c.ReasonCode, c.Properties.ReasonString)
	default:
		return fmt.Errorf("%w: %s from a broker", errPacket, p.PacketType())
	}
	return nil
}

func (r *Recorder) publish(first byte) error {
	d := Delivery{Received: time.Now()}
	if err := r.in.publish(first, &d); err != nil {
		return fmt.Errorf("read PUBLISH: %w", err)
	}
	if r.file.state.repeats(&d, first&8 != 0) {
		r.Repeated++
	} else {
		r.file.message(&d)
		r.Messages++
	}
	switch d.qos {
	case 1:
		r.ack(packets.PUBACK<<4, d.pid)
	case 2:
		r.ack(packets.PUBREC<<4, d.pid)
	}
	return nil
}

func (r *Recorder) ack(head byte, pid uint16) {
	r.acks = binary.BigEndian.AppendUint16(append(r.acks, head, 2), pid)
}

func (r *Recorder) subscribed(ack *packets.Suback) error {
	s := r.file.Session()
	if len(ack.Reasons) != 1 || ack.Reasons[0] >= 0x80 {
		return fmt.Errorf("%w the subscription to %s: 0x%02X %s", errRefused, s.Topic, ack.Reasons, ack.Properties.ReasonString)
	}
	if ack.Reasons[0] < s.QoS {
		return fmt.Errorf("%w QoS %d for %s, it allows QoS %d", errRefused, s.QoS, s.Topic, ack.Reasons[0])
	}
	r.c.Log.Info("subscribed", "topic", s.Topic)
	return nil
}

// commit makes the batch durable and then sends the acknowledgements. PUBCOMP waits as well: once it is sent the broker may use the
// identifier for another message, which a file that shows it as open would take for a repetition.
func (r *Recorder) commit() error {
	if err := r.file.commit(); err != nil {
		return fmt.Errorf("%w: %w", errDisk, err)
	}
	if len(r.acks) == 0 {
		return nil
	}
	err := r.write(r.acks)
	r.acks = r.acks[:0]
	return err
}

func (r *Recorder) write(p []byte) error {
	if err := r.conn.SetWriteDeadline(time.Now().Add(r.c.KeepAlive)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if _, err := r.conn.Write(p); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	r.wrote = time.Now()
	return nil
}

package mqtt

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// A broker that is killed may come back with sessions as they were at its last autosave: half an hour old with a Mosquitto as shipped. Such a session is
// "present", and worse than none. What the broker had received since is gone, although our R says that it has it; and identifiers that were in use then
// swallow new messages, and hand on old ones once more. No packet tells. So a broker that says how long it runs is asked, and
// a session that is older than its broker is not trusted, unless the broker has kept our last heartbeat: a retained message that is saved together
// with the sessions.
//
//	broker's start      known     the same ───────────────────────────▶ trusted
//	                              another: our heartbeat there ───────▶ trusted (it was shut down in order)
//	                                       heartbeat old, or none ────▶ not trusted: the session is ended, what is open goes out again, marked
//	                    not told, or never known before ─────────────▶ trusted
//
// At QoS 2 only: at QoS 1 a session holds nothing of ours.

const (
	uptimeTopic = "$SYS/broker/uptime"   // retained; "N seconds", or N
	beatTopic   = "$sluice/heartbeat/"   // + client id; subscribers of # do not get it
	beatEvery   = 200 * time.Millisecond // while there is traffic: what a copy of the sessions hides that was made in between
	askTime     = 2 * time.Second        // for the broker to tell
	bornAlike   = 12 * time.Second       // two guesses at one start are nearer: Mosquitto tells its uptime every 10 s. A broker that lived shorter is not told from the next
	lifeNote    = "start of the broker of client "
)

// Notes are small facts that outlive the process. *ledger.Log has them.
type Notes interface {
	Note(ctx context.Context, name, value string) error // durable on return
	Noted(name string) string                           // "" where there is none
}

// told is what a broker says of itself.
type told struct {
	born time.Time // when it was started, about; zero: it does not say
	beat string    // our heartbeat that it has; "" for none
}

// life is what a client knows of its broker's. It has one user, the client's run.
type life struct {
	client string
	ask    func(context.Context) (told, error)
	notes  Notes // nil: nothing outlives the process
	log    *slog.Logger

	born  time.Time // of the broker that our session is of; zero: not known
	nonce string    // of this process
	beats int       // written so far
	acks  int64     // of the connection, at the last one
	sure  string    // the last heartbeat that the broker has processed for certain
	open  []written
	mute  bool // the broker does not say when it was started: it is not asked again
}

// written is a heartbeat that the broker may have processed or not.
type written struct {
	beat    string
	packets int64 // of the connection before it; -1: that connection has ended
}

// maxOpen bounds what waits for acknowledgements; each heartbeat follows one.
const maxOpen = 256

func newLife(client string, notes Notes, log *slog.Logger, ask func(context.Context) (told, error)) *life {
	l := &life{client: client, ask: ask, notes: notes, log: log, nonce: strconv.FormatUint(rand.Uint64(), 36)}
	if notes == nil {
		return l
	}
	if at, err := strconv.ParseInt(notes.Noted(l.note()), 10, 64); err == nil {
		l.born = time.Unix(at, 0)
	}
	return l
}

// note names the fact in the ledger. Hex, because a client id may hold anything.
func (l *life) note() string { return lifeNote + hex.EncodeToString([]byte(l.client)) }

// settle takes note of how many packets of the connection are acknowledged: brokers read them in their order, so a heartbeat was read before any packet
// behind it was acknowledged.
func (l *life) settle(acks int64) {
	for i, w := range slices.Backward(l.open) {
		if w.packets >= 0 && acks > w.packets {
			l.sure, l.open = w.beat, slices.Delete(l.open, 0, i+1)
			return
		}
	}
}

// ended is the end of a connection on which so many packets were acknowledged.
func (l *life) ended(acks int64) {
	l.settle(acks)
	for i := range l.open {
		l.open[i].packets = -1
	}
	l.acks = 0
}

// has reports whether a broker with that heartbeat has all that it ever acknowledged.
func (l *life) has(beat string) bool {
	return beat != "" && (beat == l.sure || slices.ContainsFunc(l.open, func(w written) bool { return w.beat == beat }))
}

// outlived reports whether a session that is present is older than its broker and not whole.
func (l *life) outlived(t told) bool {
	return !l.born.IsZero() && !t.born.IsZero() && t.born.Sub(l.born).Abs() > bornAlike && !l.has(t.beat)
}

// trust decides on a session, present or just made. It remembers the broker's start only where the session is trusted: one that is not must still
// not be after a crash, until it has been ended.
func (l *life) trust(ctx context.Context, present bool) bool {
	if l.mute {
		return true
	}
	t, err := l.ask(ctx)
	if err != nil || t.born.IsZero() {
		l.mute = ctx.Err() == nil && l.born.IsZero() // one that told before will again
		return true
	}
	if present && l.outlived(t) {
		l.log.Warn("broker was started anew with an old session: what is in flight is sent again, marked", "client", l.client,
			"started", t.born.UTC(), "session_of", l.born.UTC())
		return false
	}
	if t.born.Sub(l.born).Abs() > bornAlike && l.notes != nil {
		// Not durable only means that a restart of both at once may go unseen.
		if err := l.notes.Note(ctx, l.note(), strconv.FormatInt(t.born.Unix(), 10)); err != nil {
			l.log.Warn("the broker's start could not be noted", "client", l.client, "error", err)
		}
	}
	l.born = t.born
	return true
}

// beat returns the packet of the next heartbeat, nil while it would say nothing new: the broker tells no start, or nothing was acknowledged since. acks and
// packets are those of the connection so far.
func (l *life) beat(acks, packets int64) []byte {
	l.settle(acks)
	if l.born.IsZero() || acks == l.acks && l.beats > 0 || strings.ContainsAny(l.client, "+#\x00") {
		return nil
	}
	l.acks = acks
	l.beats++
	payload := l.nonce + " " + strconv.Itoa(l.beats)
	if len(l.open) == maxOpen {
		l.open = slices.Delete(l.open, 0, 1)
	}
	l.open = append(l.open, written{payload, packets})
	topic := beatTopic + l.client
	p := append([]byte{0x31}, appendLength(nil, 2+len(topic)+1+len(payload))...) // PUBLISH, QoS 0, retained, no properties
	p = appendString(p, topic)
	return append(append(p, 0), payload...)
}

func appendLength(dst []byte, n int) []byte {
	for n >= 0x80 {
		dst, n = append(dst, byte(n)|0x80), n>>7
	}
	return append(dst, byte(n))
}

// watchBroker makes the client look at its broker's life, where that matters.
func (c *client) watchBroker(notes Notes) {
	if c.c.CheckBroker && c.c.QoS == 2 {
		c.life = newLife(c.name, notes, c.log, c.askBroker)
	}
}

// heartbeat writes one where it says something.
func (c *client) heartbeat(l *link) {
	l.Lock()
	defer l.Unlock()
	if p := c.life.beat(c.acks.Load()-c.before, l.packets); p != nil {
		_, _ = l.Write(p) // an error ends the connection by itself
	}
}

// askBroker reads the broker's start and our heartbeat over a connection of its own, whose session is nobody's: a broker that
// ends connections over subscriptions it does not allow does no harm.
func (c *client) askBroker(ctx context.Context) (t told, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return told{}, fmt.Errorf("dial: %w", err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline) // an error shows at the next read
	secret, err := c.c.password()
	if err != nil {
		return told{}, err
	}
	hello := packets.NewControlPacket(packets.CONNECT)
	x := hello.Content.(*packets.Connect)
	x.ClientID, x.CleanStart, x.KeepAlive = c.name+"-ask", true, 30
	x.Username, x.UsernameFlag, x.Password, x.PasswordFlag = c.c.Username, c.c.Username != "", secret, len(secret) > 0
	if _, err := hello.WriteTo(conn); err != nil {
		return told{}, fmt.Errorf("CONNECT: %w", err)
	}
	in := bufio.NewReader(conn)
	p, err := readSmall(in)
	if err != nil {
		return told{}, fmt.Errorf("CONNECT: %w", err)
	}
	if ack, ok := p.Content.(*packets.Connack); !ok || ack.ReasonCode >= 0x80 {
		return told{}, errors.New("CONNECT: refused")
	}
	return c.readTold(conn, in)
}

// readTold subscribes and reads what is retained. A topic that has nothing is silent, so a PINGREQ behind the subscriptions ends the wait: a broker that
// answers it before it has sent what is retained is taken for one that does not tell.
func (c *client) readTold(conn net.Conn, in *bufio.Reader) (t told, err error) {
	for id, topic := range []string{uptimeTopic, beatTopic + c.name} {
		ask := packets.NewControlPacket(packets.SUBSCRIBE)
		s := ask.Content.(*packets.Subscribe)
		s.PacketID, s.Subscriptions = uint16(id+1), []packets.SubOptions{{Topic: topic}}
		if _, err := ask.WriteTo(conn); err != nil {
			return t, fmt.Errorf("SUBSCRIBE: %w", err)
		}
	}
	ping := packets.NewControlPacket(packets.PINGREQ)
	if _, err := ping.WriteTo(conn); err != nil {
		return t, fmt.Errorf("PINGREQ: %w", err)
	}
	for {
		p, err := readSmall(in)
		if err != nil {
			return t, fmt.Errorf("read what is retained: %w", err)
		}
		switch x := p.Content.(type) {
		case *packets.Pingresp:
			return t, nil
		case *packets.Publish:
			t.read(x)
		}
	}
}

// read takes a retained message.
func (t *told) read(p *packets.Publish) {
	if p.Topic != uptimeTopic {
		t.beat = string(p.Payload)
		return
	}
	number, _, _ := strings.Cut(string(p.Payload), " ")
	if s, err := strconv.ParseInt(number, 10, 64); err == nil && s >= 0 && s < 1<<32 {
		t.born = time.Now().Add(-time.Duration(s) * time.Second)
	}
}

// readSmall reads a packet of up to 64 KiB: paho would allocate whatever a broker announces.
func readSmall(in *bufio.Reader) (*packets.ControlPacket, error) {
	length, shift := 0, 0
	for n := 2; n <= 5; n++ {
		head, err := in.Peek(n)
		if err != nil {
			return nil, err
		}
		b := head[n-1]
		length |= int(b&0x7f) << shift
		if shift += 7; b < 0x80 {
			break
		}
	}
	if length > maxIncoming {
		return nil, fmt.Errorf("packet of %d B, want at most %d", length, maxIncoming)
	}
	return packets.ReadPacket(in)
}

package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// client keeps one connection to the broker: dials, connects, watches, and starts again. What it learns goes to the pump as events; what
// the pump wants sent goes straight to its link.
type client struct {
	c      *Config
	id     uint16
	name   string // client id at the broker
	broker broker
	tls    *tls.Config
	dial   func(ctx context.Context) (net.Conn, error)
	events *events
	log    *slog.Logger
	denied time.Duration // shortest wait after a refusal of the client itself
	erase  chan struct{} // has a value: end the session for good
	wiped  bool          // of run: the last connection ended the broker's session, the next one makes ours
	life   *life         // of run; nil: sessions are trusted unasked

	inflight atomic.Int64 // sent and not acknowledged, as the pump sees it
	awaited  atomic.Int64 // of inflight: the broker's turn, not ours
	unsure   atomic.Int64 // sent on an earlier network connection, and neither acknowledged nor sent again
	acks     atomic.Int64 // read so far

	mu     sync.Mutex
	status Connection
	gone   *packets.Disconnect // why the broker ended this network connection
}

// afterDenial is longer than a wait for a network that comes back: only a person can change the answer, and asking more often would lock the
// account.
const afterDenial = 30 * time.Second

func newClient(c *Config, id uint16, b broker, t *tls.Config) *client {
	name := c.ClientID
	if id > 0 {
		name = fmt.Sprintf("%s-%d", c.ClientID, int(id)+1)
	}
	k := &client{c: c, id: id, name: name, broker: b, tls: t, denied: afterDenial, erase: make(chan struct{}, 1),
		status: Connection{ClientID: name}}
	k.dial = k.dialBroker
	return k
}

// refusal is an answer of the broker that says no.
type refusal struct {
	code byte
	text string
}

func (r *refusal) Error() string { return r.text }

// errErased: the session was ended for good, the client is not needed any more.
var errErased = errors.New("session erased")

// run keeps the client connected until ctx ends.
func (c *client) run(ctx context.Context) {
	wait := time.Duration(c.c.BackoffMin)
	for ctx.Err() == nil {
		before := c.acks.Load()
		err := c.connection(ctx)
		what := "cannot connect to broker"
		if c.ended(err) {
			what = "connection to broker ended"
		}
		if errors.Is(err, errErased) {
			return
		}
		if c.acks.Load() > before {
			wait = time.Duration(c.c.BackoffMin) // it worked; a connection that breaks before any acknowledgement did not
		}
		pause := c.pause(wait, err)
		if ctx.Err() == nil && !c.wiped {
			c.log.Warn(what, "client", c.name, "error", err, "again_in", pause)
		}
		if !c.wiped { // else the pause is for brokers that close a connection before they have forgotten its session
			wait = min(2*wait, time.Duration(c.c.BackoffMax))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-c.erase: // the connection broke meanwhile: the broker keeps an empty session for ever, nothing else is left
			return
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// pause is how long to wait before connecting again after err: half of wait to all of it, so that many clients do not come at once.
func (c *client) pause(wait time.Duration, err error) time.Duration {
	if r := (*refusal)(nil); errors.As(err, &r) && denies(r.code) {
		return max(c.denied, time.Duration(c.c.BackoffMax))
	}
	return wait/2 + rand.N(wait/2+1)
}

// connection lives through one network connection.
func (c *client) connection(ctx context.Context) (err error) {
	dialing, cancel := context.WithTimeout(ctx, time.Duration(c.c.Connect))
	conn, err := c.dial(dialing)
	cancel()
	if err != nil {
		return fmt.Errorf("dial %s: %w", c.broker.address, err)
	}
	l := newLink(conn, func(p session.Packet) {
		c.acks.Add(1)
		c.events.add(event{kind: acked, conn: c.id, packet: p})
	}, c.events.poke)
	var writer sync.WaitGroup
	writer.Go(l.write)
	defer func() {
		_ = l.Close()
		writer.Wait()
		c.events.add(event{kind: lost, conn: c.id, blame: brokerEnded(err)}) // the last word about this link
	}()
	connect := make(chan opening, 1)
	c.events.add(event{kind: ready, conn: c.id, link: l, connect: connect})
	select {
	case o := <-connect:
		return c.serve(ctx, l, o)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// opening is how the pump wants a connection to begin.
type opening struct {
	clean bool   // wipe out the old session first
	spare uint16 // packet identifier that no message has, or soon will have
}

// serve sends CONNECT and stays until the connection ends. Where a clean session is wanted, the first connection only wipes out the old one
// and the second, which must find none, makes ours: mosquitto does not keep a session over its own restart that was made by a clean start.
func (c *client) serve(ctx context.Context, l *link, o opening) error {
	fresh := o.clean && c.wiped
	c.wiped = false
	if o.clean && !fresh {
		return c.wipe(ctx, l)
	}
	m := &manager{c: c, fresh: fresh}
	client, ca, err := c.connect(ctx, l, m)
	if err != nil {
		return err
	}
	c.log.Info("connected to broker", "client", c.name, "session_present", ca.SessionPresent)
	if err = c.judge(ctx, client, l, m, o.spare); err == nil {
		err = c.watch(ctx, client, l)
	} else {
		l.fail(err)
	}
	<-client.Done()
	if c.life != nil {
		c.life.ended()
	}
	return errors.Join(err, c.why(l))
}

// judge tells the pump what to think of a session. After an error the connection has to end.
func (c *client) judge(ctx context.Context, client *paho.Client, l *link, m *manager, spare uint16) error {
	if c.life == nil {
		c.events.add(m.accepted)
		return nil
	}
	if m.forgets {
		c.life.stop("the broker keeps no retained messages")
	}
	trusted, err := c.life.begin(ctx, line{locked{l}, client.Done(), spare, time.Duration(c.c.Connect)}, m.accepted.present)
	switch {
	case err == nil && trusted:
		c.events.add(m.accepted)
	case err == nil:
		c.events.add(event{kind: outlived, conn: c.id})
	case m.accepted.present:
		c.events.add(event{kind: rejected, conn: c.id}) // CONNACK was an answer, and the session is as it was
	}
	if err != nil {
		return fmt.Errorf("ask for our heartbeat: %w", err)
	}
	return nil
}

// connect sends CONNECT and waits for CONNACK. Without an error the caller waits for the client's Done.
func (c *client) connect(ctx context.Context, l *link, m *manager) (*paho.Client, *paho.Connack, error) {
	cp, err := c.connectPacket(m.wiping)
	if err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	c.gone = nil
	c.mu.Unlock()
	client := paho.NewClient(paho.ClientConfig{
		ClientID: c.name, Conn: l, Session: m, PacketTimeout: time.Duration(c.c.Connect),
		PingHandler: &pinger{l: l}, AuthHandler: noAuth{},
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){c.heard},
	})
	bridge.CrashPoint("mqtt.connect.before")
	ca, err := client.Connect(ctx, cp)
	if err == nil {
		return client, ca, nil
	}
	if ca != nil && ca.ReasonCode >= 0x80 {
		c.events.add(event{kind: rejected, conn: c.id})
		return nil, nil, &refusal{ca.ReasonCode, "broker refused CONNECT: " + reasonText(ca.ReasonCode, ca.Properties.ReasonString)}
	}
	return nil, nil, errors.Join(fmt.Errorf("connect: %w", err), l.failure())
}

// errWiped: the session at the broker was ended, nothing of it is left.
var errWiped = errors.New("session wiped out")

// farewell is how long a broker is given to close the connection after our DISCONNECT, which says that the session has ended.
const farewell = time.Second

// wipe ends whatever session the broker has: a clean start whose own session ends with the connection. It never returns nil.
func (c *client) wipe(ctx context.Context, l *link) error {
	client, _, err := c.connect(ctx, l, &manager{c: c, wiping: true})
	if err != nil {
		return err
	}
	l.Lock()
	_, err = l.Write([]byte{0xe0, 0}) // DISCONNECT. paho's would close the connection before the broker has
	l.Unlock()
	late := time.NewTimer(farewell)
	defer late.Stop()
	select {
	case <-client.Done():
	case <-late.C:
	case <-ctx.Done():
	}
	l.fail(errWiped)
	<-client.Done()
	if err != nil {
		return fmt.Errorf("end old session: %w", err)
	}
	c.log.Info("what an earlier user of this client id left at the broker is cleared: the ledger has no session there yet", "client", c.name)
	c.wiped = true
	return errWiped
}

// watch waits for the end of a connection, or brings it about.
func (c *client) watch(ctx context.Context, client *paho.Client, l *link) error {
	var tick, beat <-chan time.Time
	if c.life != nil {
		t := time.NewTicker(beatEvery)
		defer t.Stop()
		beat = t.C
	}
	if c.c.Watchdog > 0 {
		t := time.NewTicker(max(time.Duration(c.c.Watchdog)/2, time.Millisecond))
		defer t.Stop()
		tick = t.C
	}
	for s := (stall{seen: -1}); ; {
		select {
		case <-client.Done():
			return nil
		case <-ctx.Done():
			return errors.Join(ctx.Err(), client.Disconnect(&paho.Disconnect{}))
		case <-c.erase:
			if c.life != nil {
				c.life.forget(locked{l})
			}
			never := uint32(0)
			bye := &paho.Disconnect{Properties: &paho.DisconnectProperties{SessionExpiryInterval: &never}}
			return errors.Join(errErased, client.Disconnect(bye)) // whether it arrives or not, nobody needs the session
		case <-beat:
			c.life.beat(ctx, locked{l}, c.acks.Load())
		case <-tick:
			if s.tick(c.awaited.Load(), c.acks.Load()+l.moved.Load()) {
				l.fail(fmt.Errorf("watchdog: %d messages in flight and no acknowledgement for %v",
					c.awaited.Load(), time.Duration(c.c.Watchdog)))
				return nil
			}
		}
	}
}

// why returns what ended the connection.
func (c *client) why(l *link) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.gone; d != nil {
		return &refusal{d.ReasonCode, "broker sent DISCONNECT: " + reasonText(d.ReasonCode, d.Properties.ReasonString)}
	}
	return l.failure()
}

// connectPacket asks for the session and keeps it for ever, or wipes it out.
func (c *client) connectPacket(wipe bool) (*paho.Connect, error) {
	secret, err := c.c.password()
	if err != nil {
		return nil, err
	}
	expiry, one, most := uint32(0xffffffff), uint16(1), uint32(maxIncoming-5)
	if wipe {
		expiry = 0
	}
	return &paho.Connect{
		ClientID: c.name, CleanStart: wipe, KeepAlive: uint16((time.Duration(c.c.KeepAlive) + time.Second - 1) / time.Second),
		Username: c.c.Username, UsernameFlag: c.c.Username != "", Password: secret, PasswordFlag: len(secret) > 0,
		Properties: &paho.ConnectProperties{
			// Without a Receive Maximum paho makes room for 65,535 incoming messages.
			SessionExpiryInterval: &expiry, ReceiveMaximum: &one, MaximumPacketSize: &most, RequestProblemInfo: true,
		},
	}, nil
}

func (c *client) dialBroker(ctx context.Context) (net.Conn, error) { return dial(ctx, c.broker, c.tls) }

// ended notes the end of a connection for the status, and reports whether it had begun.
func (c *client) ended(err error) (had bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	had = c.status.Connected
	c.status.Connected, c.status.Since = false, time.Now()
	if err != nil && !errors.Is(err, errErased) && !errors.Is(err, errWiped) && !errors.Is(err, context.Canceled) {
		c.status.LastError = err.Error()
	}
	return had
}

// brokerEnded reports whether a connection ended for a reason that what was sent may have given.
func brokerEnded(err error) bool {
	if r := (*refusal)(nil); errors.As(err, &r) {
		switch r.code {
		case 0x80, 0x81, 0x82, 0x83, 0x8D, 0x90, 0x94, 0x95, 0x99, 0x9A, 0x9B: // 0x8D: a message may take longer than the keep-alive to come
			return true
		}
		return false
	}
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// noAuth answers a broker that wants an authentication which we did not offer. Without a handler paho dies of it.
type noAuth struct{}

func (noAuth) Authenticate(*paho.Auth) *paho.Auth {
	return &paho.Auth{ReasonCode: packets.AuthContinueAuthentication}
}
func (noAuth) Authenticated() {}

// heard takes a message of QoS 0: a heartbeat, or one of a subscription that somebody made under our client id, which is not ours.
func (c *client) heard(p paho.PublishReceived) (bool, error) {
	if c.life != nil {
		c.life.heard(p.Packet.Topic, p.Packet.Payload, p.Packet.Retain)
	}
	return true, nil
}

// watchBroker makes the client tell an old session from its own, where that matters.
func (c *client) watchBroker(far string, notes Notes) {
	if c.c.CheckBroker && c.c.QoS == 2 && notes != nil {
		c.life = newLife(far, c.name, notes, c.log)
	}
}

// Package mqtt sends to an MQTT 5 broker: at QoS 2 exactly once as long as the broker keeps its session, and after that with a mark on
// exactly those messages that may be there already. How, and what is not obvious about it, is in DESIGN.md.
package mqtt

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// Options of a Remote that do not come from its own table.
type Options struct {
	Lanes   map[string]bridge.Lane // by pipeline; one that is missing is strict by stream
	Epoch   string                 // identity of the data directory: another than last time means that the ledger is not the one that claimed
	Notes   Notes                  // nil: an old session is not told from ours (see life.go)
	Metrics *bridge.Metrics        // may be nil
	Log     *slog.Logger           // nil: none
}

// Remote sends what is appended for it to a broker. It implements bridge.Sender for its own pump.
type Remote struct {
	name    string
	c       Config
	o       Options
	encode  *encoder
	clients []*client // as configured
	metrics counters
	limiter *bridge.Limiter // of Run's goroutine; nil: nothing is limited
	quiet   time.Duration   // how long a connection must live before a suspected message is sent on it

	// Of Run's goroutine.
	m       *session.Machine
	rows    *rows
	ends    []*end // by connection number; nil: none
	step    *bridge.Step
	retry   *time.Timer
	retryIn time.Duration
	fired   chan struct{} // the timer has
	refuse  []refused
	burst   burst
	anew    bool // all rows are to be read once more

	events  *events
	mu      sync.Mutex // guards all that follows
	all     []*client  // those that run, also such as are only to be drained
	held    int
	heldWhy string // the last of them is
	full    bool   // no room for rows
	parked  int
	why     string         // the last one was parked
	limit   bridge.Limiter // as of the last turn
}

// end is the pump's side of a client.
type end struct {
	*client
	link    *link
	connect chan<- opening
	frames  []session.Frame
	at      int // frames[at:] are still to be written
	size    int // largest packet
}

type refused struct {
	conn   uint16
	number uint64
	reason string
}

// New checks c and reads the files it names. Nothing is started.
func New(name string, c Config, o Options) (*Remote, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("remote %s: %w", name, err)
	}
	for pipeline, l := range o.Lanes {
		if c.OnError == "hold" && l.Ordering != bridge.Strict {
			return nil, fmt.Errorf("remote %s: on_error: hold, but ordering of pipeline %s is %v, want strict", name, pipeline, l.Ordering)
		}
	}
	b, err := parseBroker(c.Broker)
	if err != nil {
		return nil, fmt.Errorf("remote %s: %w", name, err)
	}
	t, err := c.tlsConfig(b)
	if err != nil {
		return nil, fmt.Errorf("remote %s: %w", name, err)
	}
	e, err := newEncoder(&c)
	if err != nil {
		return nil, fmt.Errorf("remote %s: %w", name, err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With("remote", name)
	r := &Remote{name: name, c: c, o: o, encode: e, events: newEvents(), fired: make(chan struct{}, 1), quiet: time.Second}
	r.burst.length = 10 * time.Second
	if c.Drain.Limits() || c.Drain.Jitter > 0 {
		r.limiter = bridge.NewLimiter(c.Drain)
	}
	for id := range c.Connections {
		r.clients = append(r.clients, newClient(&r.c, uint16(id), b, t))
	}
	for _, k := range r.clients {
		k.events, k.log = r.events, o.Log
		k.watchBroker(r.far(), o.Notes)
	}
	r.all = r.clients
	r.metrics = newCounters(name, o.Metrics)
	return r, nil
}

// far names what the claims belong to: a session is of one broker and client id, and its identifiers mean something at one QoS only.
func (r *Remote) far() string {
	return r.clients[0].broker.address + " " + r.c.ClientID + " qos" + strconv.Itoa(r.c.QoS) + " " + r.o.Epoch
}

// Run sends what the outbox has until ctx ends; then it waits up to Linger for open acknowledgements and returns nil. It is called once.
func (r *Remote) Run(ctx context.Context, o bridge.Outbox) error {
	if err := r.restore(ctx, o); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("remote %s: %w", r.name, err)
	}
	var running sync.WaitGroup
	defer running.Wait()
	connected, disconnect := context.WithCancel(context.WithoutCancel(ctx)) // clients outlive the pump's last acknowledgements
	defer disconnect()
	defer r.events.close()
	for _, e := range r.ends {
		if e != nil {
			running.Go(func() { e.run(connected) })
		}
	}
	defer r.stopRetry()
	defer r.burstOver() // what was not said yet
	p := bridge.Pump{Outbox: o, Sender: r, Wake: r.events.wake, Log: r.o.Log, Linger: time.Duration(r.c.Linger)}
	if err := p.Run(ctx); err != nil {
		return fmt.Errorf("remote %s: %w", r.name, err)
	}
	return nil
}

// restoreTime bounds the wait for rows of open claims, which are in the outbox or never come.
const restoreTime = time.Minute

func (r *Remote) restore(ctx context.Context, o bridge.Outbox) error {
	ctx, cancel := context.WithTimeout(ctx, restoreTime)
	defer cancel()
	far := r.far()
	open, err := o.Restore(ctx, far)
	if err != nil {
		return err
	}
	other := open.Far != "" && open.Far != far
	if other && len(open.Claims) > 0 {
		r.o.Log.Warn("far end or ledger is another than before: what was open there is sent again, marked",
			"before", open.Far, "now", far, "messages", len(open.Claims))
	}
	r.rows = newRows(o)
	if err := r.rows.restore(ctx, open.Claims); err != nil {
		return err
	}
	c := session.Config{QoS: byte(r.c.QoS), Connections: r.c.Connections, Window: r.c.Window, Hold: r.c.OnError == "hold", Clean: other}
	r.drain(&c)
	r.m = session.New(c)
	err = r.m.Restore(open, func(ref bridge.Ref) (session.Lane, error) {
		x, message, err := r.rows.find(ref)
		if err != nil {
			return session.Lane{}, err
		}
		return r.lane(x, message), nil
	})
	if err != nil {
		return err
	}
	r.makeEnds()
	return nil
}

// makeEnds makes a client for each connection, also for those that are only there to end what they had open.
func (r *Remote) makeEnds() {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := r.clients[0]
	r.all = nil
	for _, id := range r.m.Connections() {
		for int(id) >= len(r.ends) {
			r.ends = append(r.ends, nil)
		}
		if int(id) < len(r.clients) {
			r.ends[id] = &end{client: r.clients[id]}
		} else {
			r.ends[id] = &end{client: newClient(&r.c, id, first.broker, first.tls)}
			r.ends[id].events, r.ends[id].log = r.events, r.o.Log
			r.ends[id].watchBroker(r.far(), r.o.Notes)
		}
		r.all = append(r.all, r.ends[id].client)
	}
}

func (r *Remote) lane(x *row, m *bridge.Message) session.Lane {
	l := r.o.Lanes[x.pipeline]
	lane := session.Lane{Hash: l.Hash(x.pipeline, x.stream, m), Ordering: l.Ordering}
	if l.Ordering == bridge.Unordered {
		lane.Hash += x.number * 0x9e3779b97f4a7c15 // no order to keep: each row is a lane, so that all connections get some
	}
	return lane
}

// Take implements bridge.Sender.
func (r *Remote) Take(b bridge.Row) error {
	if b.Count == 0 {
		r.rows.passed(b.Number)
		r.m.Offer(&b, nil)
		return nil
	}
	x := r.rows.add(&b, true)
	if x == nil {
		return nil
	}
	l := r.o.Lanes[x.pipeline]
	if !l.PerMessage() {
		lane := r.lane(x, nil)
		r.m.Offer(&b, func(int) session.Lane { return lane })
		return nil
	}
	if err := r.rows.load(x); err != nil {
		return err
	}
	if len(x.messages) < b.Count {
		return fmt.Errorf("%d messages, want %d: %w", len(x.messages), b.Count, bridge.ErrCorrupt)
	}
	r.m.Offer(&b, func(i int) session.Lane { return r.lane(x, &x.messages[i]) })
	return nil
}

// Step implements bridge.Sender.
func (r *Remote) Step() *bridge.Step {
	r.step = r.m.Step()
	return r.step
}

// Done implements bridge.Sender.
func (r *Remote) Done() error {
	now := time.Now().UnixMicro()
	for i := range r.step.Acks {
		a := &r.step.Acks[i]
		if a.Kind != bridge.AckDelivered && a.Kind != bridge.AckRefused {
			continue
		}
		ref, ok := r.m.Find(a.Conn, a.Number)
		if !ok {
			return fmt.Errorf("acknowledgement of claim %d of connection %d, which is not open: %w", a.Number, a.Conn, bridge.ErrCorrupt)
		}
		x := r.rows.ended(ref)
		r.metrics.ended(a.Kind, x, now)
		if a.Kind == bridge.AckRefused {
			r.park(ref, a.Reason)
		}
	}
	r.m.Done()
	return r.carry()
}

// Turn implements bridge.Sender.
func (r *Remote) Turn(stopping bool) (bridge.Progress, error) {
	if stopping {
		r.m.Stop()
	}
	if r.limiter != nil {
		r.limiter.At(time.Now())
	}
	list := r.events.take()
	for i := range list {
		r.happened(&list[i])
	}
	r.tryHeld()
	if err := r.carry(); err != nil {
		return bridge.Progress{}, err
	}
	at := bridge.Progress{Room: r.m.Room(), LiveRoom: r.m.LiveRoom(), Anew: r.anew, Idle: r.m.Idle(), Lazy: r.m.Lazy(), Again: r.wait()}
	r.anew = false
	r.mu.Lock()
	r.held, r.heldWhy, r.full = r.m.Held(), r.m.HeldWhy(), !at.Room
	r.mu.Unlock()
	return at, nil
}

func (r *Remote) happened(e *event) {
	x := r.ends[e.conn]
	switch e.kind {
	case acked:
		if r.c.QoS > 0 {
			r.metrics.acked(e.packet.Code)
		}
		r.m.Packet(e.conn, e.packet)
		bridge.CrashPoint(crashRead[e.packet.Kind])
	case ready:
		x.link, x.connect = e.link, e.connect
		r.m.Ready(e.conn)
	case accepted:
		r.accepted(x, *e)
	case rejected:
		r.m.Rejected(e.conn)
	case burstEnded:
		r.burstOver()
	case takenOver:
		r.o.Log.Error("another client has connected with our client id: messages in flight are sent again, marked", "client", x.name)
		r.m.Distrust(e.conn)
	case outlived:
		r.m.Distrust(e.conn)
	case lost:
		for _, f := range r.m.Frames() {
			r.route(f) // those of this connection end with it: the next one may be ready in the same turn, and wants CONNECT first
		}
		x.link, x.connect = nil, nil
		x.frames, x.at = x.frames[:0], 0
		r.m.Lost(e.conn, e.blame)
	}
}

// accepted passes a CONNACK on; after a while only, if a message is suspected to end the connection, which must be seen to live without it.
func (r *Remote) accepted(x *end, e event) {
	if r.m.Suspects(e.conn) && !e.waited {
		e.waited, e.link = true, x.link
		time.AfterFunc(r.quiet, func() { r.events.add(e) })
		return
	}
	if e.waited && e.link != x.link {
		return
	}
	x.size = e.size
	r.cameBack()
	r.m.Accepted(e.conn, e.present, e.most)
	bridge.CrashPoint("mqtt.connack.read")
}

// carry brings the machine's frames to the links.
func (r *Remote) carry() error {
	for {
		for _, f := range r.m.Frames() {
			r.route(f)
		}
		for _, e := range r.ends {
			if e == nil {
				continue
			}
			n, awaited := r.m.Flying(e.id)
			e.inflight.Store(int64(n))
			e.awaited.Store(int64(awaited))
			e.unsure.Store(int64(r.m.Unsure(e.id)))
			if err := r.flush(e); err != nil {
				return err
			}
		}
		if len(r.refuse) == 0 {
			return nil
		}
		for _, x := range r.refuse {
			r.m.Refuse(x.conn, x.number, x.reason)
		}
		r.refuse = r.refuse[:0]
	}
}

func (r *Remote) route(f session.Frame) {
	e := r.ends[f.Conn]
	if e.link == nil {
		return // gone meanwhile; the event is on its way
	}
	switch f.Kind {
	case session.Connect:
		e.connect <- opening{f.Clean, f.ID}
	case session.Drop:
		e.link.fail(errDistrust)
	case session.Erase:
		e.erase <- struct{}{}
	default:
		e.frames = append(e.frames, f)
	}
}

var errDistrust = fmt.Errorf("the session at the broker is not ours any more")

// flush encodes the frames of a client as far as its link has room.
func (r *Remote) flush(e *end) (err error) {
	if e.link == nil || e.at == len(e.frames) {
		return nil
	}
	e.link.fill(func(dst []byte) ([]byte, uint16, bool) {
		f := &e.frames[e.at]
		var id uint16
		if dst, id, err = r.frame(dst, e, f); err != nil {
			return dst, 0, false
		}
		e.at++
		return dst, id, e.at < len(e.frames)
	})
	if e.at > 0 {
		bridge.CrashPoint(crashWritten[e.frames[e.at-1].Kind])
	}
	if e.at == len(e.frames) {
		e.frames, e.at = e.frames[:0], 0
	}
	return err
}

// Names of crash points, by what was read or written last.
var (
	crashRead    = [...]string{session.Puback: "mqtt.puback.read", session.Pubrec: "mqtt.pubrec.read", session.Pubcomp: "mqtt.pubcomp.read"}
	crashWritten = [...]string{session.Publish: "mqtt.publish.written", session.Pubrel: "mqtt.pubrel.written"}
)

// frame encodes one frame. id is the identifier of a QoS 0 packet, which the link acknowledges once it is written.
func (r *Remote) frame(dst []byte, e *end, f *session.Frame) (out []byte, id uint16, err error) {
	if f.Kind == session.Pubrel {
		return pubrel(dst, f.ID), 0, nil
	}
	x, message, err := r.rows.find(f.Ref)
	if err != nil {
		return dst, 0, err
	}
	dst, bad := r.encode.publish(dst, f, x.stream, message, e.size)
	if bad != nil {
		r.refuse = append(r.refuse, refused{f.Conn, f.Number, bad.Error()})
		return dst, 0, nil
	}
	if why := cause(f, message); why != "" {
		r.metrics.marked(why)
	}
	if r.c.QoS == 0 {
		id = f.ID
	}
	return dst, id, nil
}

// tryHeld lets held lanes go on when their time has come, later and later while they are refused again.
func (r *Remote) tryHeld() {
	select {
	case <-r.fired:
		r.retry = nil
		r.m.Retry()
	default:
	}
	held := r.m.Held()
	switch {
	case held > 0 && r.retry == nil:
		r.retryIn = max(time.Duration(r.c.BackoffMin), min(2*r.retryIn, time.Duration(r.c.BackoffMax)))
		r.retry = time.AfterFunc(r.retryIn, func() {
			r.fired <- struct{}{}
			r.events.poke()
		})
	case held == 0 && r.retry == nil && r.m.Idle():
		r.retryIn = 0
	}
}

func (r *Remote) stopRetry() {
	if r.retry != nil {
		r.retry.Stop()
	}
}

package mqtt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// A broker that is killed may come back with sessions as they were at its last autosave: half an hour old with a Mosquitto as shipped. Such a session is
// "present", and worse than none. What the broker had received since is gone, although our R says that it has it; and identifiers that were in use then
// swallow new messages, and hand on old ones once more. No packet tells. So each session holds a heartbeat: a numbered, retained message,
// which the broker saves together with its sessions, and hands back when it is subscribed to.
//
//	payload      16 hex digits (whose: far end and ledger) │ ' ' │ number, decimal
//
//	in the ledger      last ── may have been written, durable before it is
//	                   sure ── the highest that came back: the broker has it, and all that it had acknowledged before
//	session present    retained ≥ sure ─────────▶ trusted
//	                   retained < sure, or none ▶ older than what it has acknowledged: ended; what is open goes out again, marked
//	session made       sure = 0, nothing to compare until one has come back
//
// What a copy of the sessions hides is what was acknowledged in the last beat or two before it was made. At QoS 2 only: at QoS 1 a session holds nothing of ours.

const (
	beatTopic = "$sluice/heartbeat/"   // + client id; subscribers of # do not get it
	beatEvery = 200 * time.Millisecond // while acknowledgements come
	beatGrace = time.Second            // for a retained message to come, after SUBACK
	deaf      = 25                     // heartbeats of which none came back: the broker does not take them
	patience  = 5                      // connections in a row that end before the broker has answered. Then what it once sent back is not trusted any more; and of one
	seldom    = 20                     // that never did only each so manieth connection asks: it may be the question that ends them
	holes     = 5                      // times in a row that the broker had no heartbeat at all: it does not keep them
)

// Notes are small facts that outlive the process. *ledger.Log has them.
type Notes interface {
	Note(ctx context.Context, name, value string) error // durable on return
	Noted(name string) string                           // "" where there is none
}

// life tells a session that is older than what it has acknowledged. The client's run calls it; answered and heard come from paho's goroutines.
type life struct {
	client, topic string
	mark          string // of payloads
	notes         Notes
	log           *slog.Logger

	last    int64 // see above; here and in the ledger
	kept    int64 // sure as it is in the ledger
	missing int   // times in a row that there was no heartbeat; in the ledger, too
	acks    int64 // at the last heartbeat
	beats   int   // of this connection
	asking  bool  // on this connection
	silent  int   // connections in a row that ended before the broker had answered
	turns   int   // connections

	mu      sync.Mutex
	sure    int64      // see above; guarded by mu
	echoed  bool       // one came back on this connection; guarded by mu
	replied bool       // SUBACK came on it; guarded by mu
	suback  chan byte  // gets its reason code; guarded by mu
	found   chan int64 // gets the number of the retained heartbeat; guarded by mu
	off     string     // why nothing is compared any more; guarded by mu
}

// newLife reads what is known of the session of client at a far end.
func newLife(far, client string, notes Notes, log *slog.Logger) *life {
	sum := sha256.Sum256([]byte(far + " " + client))
	l := &life{client: client, topic: beatTopic + client, mark: hex.EncodeToString(sum[:8]), notes: notes, log: log}
	if strings.ContainsAny(client, "+#\x00") {
		l.off = "its client id cannot be part of a topic"
	}
	// A note that cannot be read is none: the session is trusted, as on the first day.
	_, _ = fmt.Sscanf(notes.Noted(l.note()), "%d %d %d", &l.last, &l.sure, &l.missing)
	l.kept = l.sure
	return l
}

func (l *life) note() string { return "heartbeat " + l.mark }

// save makes last, sure and missing durable.
func (l *life) save(ctx context.Context) error {
	sure := l.got()
	err := l.notes.Note(ctx, l.note(), fmt.Sprintf("%d %d %d", l.last, sure, l.missing))
	if err == nil {
		l.kept = sure
	}
	return err
}

// got returns the highest heartbeat that came back.
func (l *life) got() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sure
}

// unchecked says why sessions are trusted unasked, "" where they are not.
func (l *life) unchecked() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.off
}

// stop ends the comparing until the process does. It is said once.
func (l *life) stop(why string) {
	l.mu.Lock()
	said := l.off == why
	l.off = why
	l.mu.Unlock()
	if said {
		return
	}
	l.log.Warn("a session that its broker brings back from an old copy would not be noticed", "client", l.client, "because", why)
}

// line is the connection as life needs it.
type line struct {
	io.Writer                 // packets, whole
	down      <-chan struct{} // closed when it has ended
	spare     uint16          // packet identifier that no message has, or soon will have
	limit     time.Duration   // for the broker to answer
}

// begin asks for the heartbeat on a new connection and, where there is something to compare, waits for it. It returns whether the session may be trusted; an
// error ends the connection, so that a broker that does not answer is asked again; after a while its session is given up, never taken for one that was checked.
func (l *life) begin(ctx context.Context, on line, present bool) (trusted bool, err error) {
	l.turns++
	l.beats, l.asking = 0, l.unchecked() == "" && (l.got() > 0 || l.silent < patience || l.turns%seldom == 0)
	l.mu.Lock()
	l.echoed, l.replied, l.suback, l.found = false, false, make(chan byte, 1), make(chan int64, 1)
	l.mu.Unlock()
	if l.asking {
		if _, err := on.Write(l.question(on.spare)); err != nil {
			return false, fmt.Errorf("SUBSCRIBE to %s: %w", l.topic, err)
		}
	}
	if !present && l.got() > 0 {
		l.mu.Lock()
		l.sure = 0
		l.mu.Unlock()
		return true, l.save(ctx) // before anything is sent: else a restart compares with what an earlier session had
	}
	if !present || !l.asking || l.got() == 0 {
		return true, nil
	}
	trusted, err = l.compare(ctx, on)
	if err != nil && ctx.Err() == nil && l.silent >= patience {
		l.log.Warn("broker does not tell whether its session is ours: what is in flight is sent again, marked", "client", l.client, "error", err)
		return false, nil
	}
	return trusted, err
}

// question is a SUBSCRIBE.
func (l *life) question(id uint16) []byte {
	p := packets.NewControlPacket(packets.SUBSCRIBE)
	s := p.Content.(*packets.Subscribe)
	s.PacketID, s.Subscriptions = id, []packets.SubOptions{{Topic: l.topic}}
	var b bytes.Buffer
	_, _ = p.WriteTo(&b) // a buffer takes everything
	return b.Bytes()
}

// compare waits for the retained heartbeat and judges it.
func (l *life) compare(ctx context.Context, on line) (trusted bool, err error) {
	l.mu.Lock()
	suback, found := l.suback, l.found
	l.mu.Unlock()
	code, came, err := await(ctx, on.down, suback, on.limit)
	switch {
	case err != nil:
		return false, fmt.Errorf("wait for SUBACK: %w", err)
	case !came:
		return false, fmt.Errorf("no SUBACK in %v", on.limit)
	case code >= 0x80: // from a broker that took it before
		return false, fmt.Errorf("SUBSCRIBE to %s refused: %s", l.topic, reasonText(code, ""))
	}
	number, _, err := await(ctx, on.down, found, beatGrace)
	if err != nil {
		return false, fmt.Errorf("wait for %s: %w", l.topic, err)
	}
	return l.judge(ctx, number)
}

// await waits for a value, no longer than limit; came is false then. An error says that none will come.
func await[T any](ctx context.Context, down <-chan struct{}, c <-chan T, limit time.Duration) (v T, came bool, err error) {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case v = <-c:
		return v, true, nil
	case <-late.C:
	case <-down:
		err = errors.New("the connection has ended")
	case <-ctx.Done():
		err = ctx.Err()
	}
	return v, false, err
}

// judge decides by the number of the retained heartbeat, 0 for none.
func (l *life) judge(ctx context.Context, number int64) (trusted bool, err error) {
	sure := l.got()
	if number > 0 {
		l.missing = 0
	}
	if number >= sure {
		return true, nil
	}
	if number == 0 {
		if l.missing++; l.missing >= holes {
			l.stop("the broker does not keep " + l.topic)
			return true, l.save(ctx)
		}
		if err := l.save(ctx); err != nil {
			return false, err
		}
	}
	l.log.Warn("broker came back with an old session: what is in flight is sent again, marked", "client", l.client, "heartbeat", number, "want", sure)
	return false, nil
}

// answered takes a SUBACK. A broker that refuses and never sent a heartbeat back will not.
func (l *life) answered(codes []byte) {
	if len(codes) != 1 {
		return
	}
	l.mu.Lock()
	l.replied = codes[0] < 0x80
	never := !l.replied && l.sure == 0
	put(l.suback, codes[0])
	l.mu.Unlock()
	if never {
		l.stop("the broker refuses a subscription to " + l.topic + ": " + reasonText(codes[0], ""))
	}
}

// heard takes a message of the broker. Heartbeats of other ledgers, and what others publish there, say nothing.
func (l *life) heard(topic string, payload []byte, retained bool) {
	mark, text, _ := strings.Cut(string(payload), " ")
	number, err := strconv.ParseInt(text, 10, 64)
	if topic != l.topic || mark != l.mark || err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if retained {
		put(l.found, number)
		return
	}
	l.echoed = true
	l.sure = max(l.sure, number)
}

// put gives c its first value.
func put[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

// beat writes a heartbeat where it says something new: acks is how many acknowledgements were read so far.
func (l *life) beat(ctx context.Context, w io.Writer, acks int64) {
	if !l.asking || l.unchecked() != "" {
		return
	}
	if acks == l.acks {
		if l.got() > l.kept {
			_ = l.save(ctx) // that the last one came back; if not now, then at the next tick
		}
		return
	}
	l.mu.Lock()
	echoed := l.echoed
	l.mu.Unlock()
	if l.beats++; l.beats > deaf && !echoed {
		l.stop("the broker does not hand on " + l.topic)
		return
	}
	l.last++
	if l.save(ctx) != nil {
		return // the next one tries again: a heartbeat that is late hides a little more
	}
	l.acks = acks
	_, _ = w.Write(l.packet(l.mark + " " + strconv.FormatInt(l.last, 10))) // an error ends the connection by itself
}

// packet is a PUBLISH, QoS 0, retained, without properties.
func (l *life) packet(payload string) []byte {
	p := binary.AppendUvarint([]byte{0x31}, uint64(2+len(l.topic)+1+len(payload)))
	return append(append(appendString(p, l.topic), 0), payload...)
}

// forget takes the heartbeat from a broker that will not be used any more.
func (l *life) forget(w io.Writer) {
	if l.asking {
		_, _ = w.Write(l.packet("")) // whether it arrives or not: it is small
	}
}

// ended looks at a connection that is over: one that ended while the broker owed an answer may have ended because of the question.
func (l *life) ended() {
	if !l.asking {
		return
	}
	l.mu.Lock()
	owes := !l.replied || l.beats > 0 && !l.echoed
	l.mu.Unlock()
	if owes {
		l.silent++
		return
	}
	l.silent = 0
}

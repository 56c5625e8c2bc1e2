package mqtt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	mochipackets "github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
	"github.com/sluicebridge/sluice/tests/real"
)

// memory is Notes that live as long as a test.
type memory struct {
	of     map[string]string
	broken error // Note fails with it
}

func newMemory() *memory { return &memory{of: make(map[string]string)} }

func (m *memory) Note(_ context.Context, name, value string) error {
	if m.broken == nil {
		m.of[name] = value
	}
	return m.broken
}
func (m *memory) Noted(name string) string { return m.of[name] }

func quietLife(notes Notes) *life {
	return newLife("broker:1883 press-7 qos2 epoch", "press-7", notes, slog.New(slog.DiscardHandler))
}

// asked is a broker's side: it answers each question.
type asked struct {
	bytes.Buffer
	answer func()
}

func (a *asked) Write(p []byte) (int, error) {
	if p[0]>>4 == 8 { // SUBSCRIBE
		a.answer()
	}
	return a.Buffer.Write(p)
}

// lineTo is a connection whose broker answers with what it has retained; broken: it ends instead.
func lineTo(l *life, code byte, retained string, broken bool) (line, *asked) {
	down := make(chan struct{})
	a := &asked{answer: func() {
		if broken {
			close(down)
			return
		}
		l.answered([]byte{code})
		if retained != "" {
			l.heard(l.topic, []byte(retained), true)
		}
	}}
	return line{a, down, 65535, time.Second}, a
}

// Rule 14: the ledger knows heartbeats up to 5, of which 4 came back. Whether the process lives on or is a new one makes no difference.
func TestLife(t *testing.T) {
	for _, tt := range []struct {
		name     string
		present  bool
		code     byte
		retained string // number; "" none
		broken   bool
		trusted  bool
		err      bool
		sure     int64 // afterwards
	}{
		{name: "the last that came back", present: true, retained: "4", trusted: true, sure: 4},
		{name: "the last that was written", present: true, retained: "5", trusted: true, sure: 4},
		{name: "an older one", present: true, retained: "3", sure: 4},
		{name: "none", present: true, sure: 4},
		{name: "a session that was just made", retained: "3", trusted: true},
		{name: "no answer", present: true, broken: true, err: true, sure: 4},
		{name: "the broker refuses to tell", present: true, code: 0x87, err: true, sure: 4},
	} {
		for _, anew := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, new process %v", tt.name, anew), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					notes := newMemory()
					l := quietLife(notes)
					notes.of[l.note()] = "5 4 0"
					l = quietLife(notes)
					if !anew {
						l.last, l.sure = 5, 4
					}
					text := ""
					if tt.retained != "" {
						text = l.mark + " " + tt.retained
					}
					on, _ := lineTo(l, tt.code, text, tt.broken)
					trusted, err := l.begin(t.Context(), on, tt.present)
					synctest.Wait() // nobody else is still speaking
					if trusted != tt.trusted || (err != nil) != tt.err || l.got() != tt.sure {
						t.Errorf("trusted %v, %v, sure of %d; want %v, an error %v, %d", trusted, err, l.got(), tt.trusted, tt.err, tt.sure)
					}
					if again := quietLife(notes); again.got() != tt.sure {
						t.Errorf("after a crash sure of %d, want %d", again.got(), tt.sure)
					}
				})
			})
		}
	}
}

// What is not ours says nothing: another ledger's heartbeat, another topic, no number.
func TestLifeHears(t *testing.T) {
	l := quietLife(newMemory())
	other := newLife("another", "press-7", newMemory(), slog.New(slog.DiscardHandler))
	l.heard(l.topic, []byte(other.mark+" 9"), false)
	l.heard(l.topic+"-2", []byte(l.mark+" 9"), false)
	l.heard(l.topic, []byte(l.mark+" many"), false)
	l.heard(l.topic, nil, false)
	if l.got() != 0 {
		t.Errorf("sure of %d, want 0", l.got())
	}
	l.heard(l.topic, []byte(l.mark+" 9"), false)
	if l.got() != 9 {
		t.Errorf("sure of %d, want 9", l.got())
	}
}

// TestHeartbeat: one for each tick in which something was acknowledged, durable before it is written, numbered on by the next process.
func TestHeartbeat(t *testing.T) {
	notes := newMemory()
	l := quietLife(notes)
	on, sent := lineTo(l, 0, "", false)
	if trusted, err := l.begin(t.Context(), on, false); !trusted || err != nil {
		t.Fatalf("trusted %v, %v", trusted, err)
	}
	if !bytes.Contains(sent.Bytes(), []byte("\xff\xff")) || !strings.Contains(sent.String(), l.topic) {
		t.Errorf("question %q, want a SUBSCRIBE of %s under 65535", sent, l.topic)
	}
	beat := func(acks int64) string {
		sent.Reset()
		l.beat(t.Context(), sent, acks)
		return sent.String()
	}
	if got := beat(0); got != "" {
		t.Errorf("nothing was acknowledged, the heartbeat is %q", got)
	}
	if got := beat(3); !strings.HasPrefix(got, "1") || !strings.HasSuffix(got, l.topic+"\x00"+l.mark+" 1") {
		t.Errorf("first heartbeat %q", got)
	}
	notes.broken = errors.New("disk full")
	if got := beat(4); got != "" {
		t.Errorf("the note failed, the heartbeat is %q", got)
	}
	notes.broken = nil
	if got := beat(4); !strings.HasSuffix(got, " 3") { // a note that failed may be durable all the same
		t.Errorf("next heartbeat %q, want 3", got)
	}
	l.heard(l.topic, []byte(l.mark+" 3"), false)
	if got := beat(4); got != "" {
		t.Errorf("nothing was acknowledged since, the heartbeat is %q", got)
	}
	again := quietLife(notes)
	if again.got() != 3 {
		t.Errorf("the next process is sure of %d, want 3, which came back", again.got())
	}
	if again.last != 3 {
		t.Errorf("the next process goes on from %d, want 3", again.last)
	}
}

// A broker that does not do its part is left alone, and the status says so; one that ends connections because of it is asked seldom.
func TestLifeGivesUp(t *testing.T) {
	for _, tt := range []struct {
		name string
		want string
		play func(ctx context.Context, l *life) *life
	}{
		{"no heartbeat comes back", "does not hand on", func(ctx context.Context, l *life) *life {
			on, sent := lineTo(l, 0, "", false)
			_, _ = l.begin(ctx, on, true)
			for acks := range int64(deaf + 2) {
				l.beat(ctx, sent, acks+1)
			}
			return l
		}},
		{"it refuses", "refuses a subscription", func(ctx context.Context, l *life) *life {
			on, _ := lineTo(l, 0x87, "", false)
			_, _ = l.begin(ctx, on, true)
			synctest.Wait()
			return l
		}},
		{"none is kept", "does not keep", func(ctx context.Context, l *life) *life {
			for range holes {
				l.sure = 4
				on, _ := lineTo(l, 0, "", false)
				_, _ = l.begin(ctx, on, true)
			}
			return l
		}},
		{"a client id that cannot be in a topic", "cannot be part", func(context.Context, *life) *life {
			return newLife("far", "no/#/topic", newMemory(), slog.New(slog.DiscardHandler))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := tt.play(t.Context(), quietLife(newMemory()))
				if !strings.Contains(l.unchecked(), tt.want) {
					t.Errorf("unchecked because %q, want %q", l.unchecked(), tt.want)
				}
				sent := new(bytes.Buffer)
				if trusted, err := l.begin(t.Context(), line{Writer: sent}, true); !trusted || err != nil || sent.Len() > 0 {
					t.Errorf("afterwards: trusted %v, %v, sent %q; want true and silence", trusted, err, sent)
				}
			})
		})
	}
	checkAskedSeldom(t)
}

// A broker that sent a heartbeat back and does not answer any more is asked again and again, and then not trusted: it may have an old session. It is never taken for
// one that was checked.
func TestLifeUnanswered(t *testing.T) {
	for _, code := range []byte{0, 0x83} { // no answer, and a refusal
		synctest.Test(t, func(t *testing.T) {
			l := quietLife(newMemory())
			l.last, l.sure = 5, 4
			for n := range 2 * patience {
				on, sent := lineTo(l, code, "", code == 0)
				trusted, err := l.begin(t.Context(), on, true)
				synctest.Wait()
				if want := n < patience; trusted || sent.Len() == 0 || (err != nil) != want {
					t.Errorf("connection %d: trusted %v, %v, asked with %d B; want false, an error %v, a question", n+1, trusted, err, sent.Len(), want)
				}
				l.ended()
			}
			if why := l.unchecked(); why != "" {
				t.Errorf("unchecked because %q, want to go on", why)
			}
		})
	}
}

// What is missing now and then is not missing always.
func TestLifeMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := quietLife(newMemory())
		for n := range 3 * holes {
			l.last, l.sure = 5, 4
			kept := ""
			if n%holes == holes-1 {
				kept = l.mark + " 4"
			}
			on, _ := lineTo(l, 0, kept, false)
			if trusted, err := l.begin(t.Context(), on, true); err != nil || trusted != (kept != "") {
				t.Errorf("connection %d: trusted %v, %v", n+1, trusted, err)
			}
		}
		if why := l.unchecked(); why != "" {
			t.Errorf("unchecked because %q, want to go on", why)
		}
	})
}

func checkAskedSeldom(t *testing.T) {
	t.Helper()
	l := quietLife(newMemory())
	asked := 0
	for range 100 {
		sent := new(bytes.Buffer)
		_, _ = l.begin(t.Context(), line{Writer: sent}, false)
		if sent.Len() > 0 {
			asked++
		}
		l.ended()
	}
	if want := patience + 100/seldom; asked > want || asked < want-1 {
		t.Errorf("a broker that ends each connection was asked %d times in 100, want %d", asked, want)
	}
}

// Rule 14, in a broker that comes back with the heartbeat of long ago: what is open goes out again, marked; with ours it goes out unmarked.
func TestOldSession(t *testing.T) {
	for _, old := range []bool{true, false} {
		t.Run(fmt.Sprintf("old %v", old), func(t *testing.T) {
			b := startBroker(t, brokerOptions{})
			l, m, notes := bridgetest.NewLedger(t, "far"), new(bridge.Metrics), newMemory()
			r, _ := startRemote(t, testConfig(b.address), Options{Lanes: pipelined.Lanes, Notes: notes, Metrics: m}, l.Outbox("far"))
			life := r.clients[0].life
			fill(t, l, 0, 90)
			real.Eventually(t, 15*time.Second, "a heartbeat that came back", func() (bool, string) { return life.got() > 0, "none has" })
			b.hook.set(func() {
				b.hook.refuse = func(pk mochipackets.Packet) byte {
					if strings.HasPrefix(pk.TopicName, "$") {
						return 0
					}
					return mute
				}
			})
			fill(t, l, 90, 180)
			b.hook.wait(t, "messages without an answer", func([]mochipackets.Packet, []mochipackets.Packet) bool { return b.hook.muted == 90 })
			if old {
				_ = b.server.Publish(life.topic, []byte(life.mark+" 0"), true, 0)
			}
			b.hook.set(func() { b.hook.refuse = nil })
			for _, c := range b.server.Clients.GetAll() {
				c.Stop(errors.New("cut by the test"))
			}
			real.Eventually(t, time.Minute, "all messages", func() (bool, string) {
				return m.MessagesDelivered.At("far").Load() == 180, fmt.Sprint(m.MessagesDelivered.At("far").Load())
			})
			want := int64(0)
			if old {
				want = 90
			}
			if n := m.PossibleDuplicate.At("far/session-lost").Load(); n != want {
				t.Errorf("%d messages went out again, marked; want %d", n, want)
			}
		})
	}
}

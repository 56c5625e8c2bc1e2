package mqtt

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// memory is Notes that live as long as a test.
type memory map[string]string

func (m memory) Note(_ context.Context, name, value string) error { m[name] = value; return nil }
func (m memory) Noted(name string) string                         { return m[name] }

// asked is a broker that answers as told.
type asked struct {
	told
	err   error
	times int
}

func (a *asked) ask(context.Context) (told, error) { a.times++; return a.told, a.err }

func TestLife(t *testing.T) {
	began := time.Unix(1_000_000, 0)
	later := began.Add(time.Hour)
	for _, tt := range []struct {
		name    string
		noted   bool // began is known
		beats   int  // written by this process
		present bool
		answer  func(l *life) told
		err     error
		trusted bool
		known   time.Time // afterwards
	}{
		{"first contact", false, 0, true, func(*life) told { return told{born: later} }, nil, true, later},
		{"the same broker", true, 3, true, func(*life) told { return told{born: began.Add(9 * time.Second)} }, nil, true, began.Add(9 * time.Second)},
		{"started anew, with a heartbeat that it had surely read", true, 5, true, func(l *life) told { return told{later, l.nonce + " 4"} }, nil, true, later},
		{"started anew, with one that it may have read", true, 5, true, func(l *life) told { return told{later, l.nonce + " 5"} }, nil, true, later},
		{"started anew, with an older one", true, 5, true, func(l *life) told { return told{later, l.nonce + " 3"} }, nil, false, began},
		{"started anew, no heartbeat", true, 3, true, func(*life) told { return told{born: later} }, nil, false, began},
		{"started anew while we were not there", true, 0, true, func(*life) told { return told{later, "another 7"} }, nil, false, began},
		{"started anew, without a session", true, 3, false, func(*life) told { return told{born: later} }, nil, true, later},
		{"it does not tell", true, 3, true, func(*life) told { return told{} }, nil, true, began},
		{"it cannot be asked", true, 3, true, func(*life) told { return told{} }, errors.New("refused"), true, began},
	} {
		t.Run(tt.name, func(t *testing.T) {
			notes := memory{}
			if tt.noted {
				notes[lifeNote+"6e616d65"] = "1000000"
			}
			a := &asked{err: tt.err}
			l := newLife("name", notes, slog.New(slog.DiscardHandler), a.ask)
			for n := range int64(tt.beats) {
				l.beat(n*10, n*10+15) // each 15 packets ahead of what is acknowledged
			}
			l.ended(int64(tt.beats) * 10)
			a.told = tt.answer(l)
			if got := l.trust(t.Context(), tt.present); got != tt.trusted || !l.born.Equal(tt.known) {
				t.Errorf("trusted %v, the broker's start is %v; want %v, %v", got, l.born, tt.trusted, tt.known)
			}
			again := newLife("name", notes, nil, nil)
			if !again.born.Equal(tt.known.Truncate(time.Second)) && tt.known.Sub(again.born).Abs() > bornAlike {
				t.Errorf("after a new start of ours the broker's is %v, want %v", again.born, tt.known)
			}
		})
	}
}

// TestLifeMute: a broker that never says when it was started is asked once.
func TestLifeMute(t *testing.T) {
	a := &asked{}
	l := newLife("name", nil, nil, a.ask)
	for range 3 {
		if !l.trust(t.Context(), true) {
			t.Error("a session is not trusted that nothing speaks against")
		}
	}
	if a.times != 1 || l.beat(1, 1) != nil {
		t.Errorf("asked %d times, heartbeat %v; want once, and none", a.times, l.beat(1, 1))
	}
}

// TestHeartbeat: one for each tick in which something was acknowledged, the first at once.
func TestHeartbeat(t *testing.T) {
	l := newLife("name", nil, nil, nil)
	l.born = time.Unix(1, 0)
	first := l.beat(0, 0)
	if len(first) == 0 || first[0] != 0x31 || !strings.Contains(string(first), "$sluice/heartbeat/name") || !strings.HasSuffix(string(first), l.nonce+" 1") {
		t.Errorf("first heartbeat %q", first)
	}
	if again := l.beat(0, 5); again != nil {
		t.Errorf("nothing was acknowledged, the heartbeat is %q", again)
	}
	if next := l.beat(7, 9); !strings.HasSuffix(string(next), l.nonce+" 2") {
		t.Errorf("after an acknowledgement: heartbeat %q", next)
	}
	l.client = "no/#/topic"
	if got := l.beat(8, 9); got != nil {
		t.Errorf("for a client id that cannot be in a topic: %q", got)
	}
}

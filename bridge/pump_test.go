package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
)

// echo is a sender to a far end that acknowledges everything once the claim is durable, window messages at a time.
type echo struct {
	window  int
	mute    bool // the far end says nothing
	broken  error
	queue   []bridge.Ref
	acks    []bridge.Ack
	step    bridge.Step
	next    uint64
	open    int
	sent    []bridge.Ref
	stopped bool
}

func (s *echo) Turn(stopping bool) (bridge.Progress, error) {
	s.stopped = stopping
	return bridge.Progress{Room: len(s.queue) < 100, Idle: s.open == 0}, s.broken
}

func (s *echo) Take(r bridge.Row) error {
	for i := range r.Count {
		if !r.Settled.Has(i) {
			s.queue = append(s.queue, bridge.Ref{Row: r.Number, Index: uint32(i)})
		}
	}
	return nil
}

func (s *echo) Step() *bridge.Step {
	s.step = bridge.Step{Acks: s.acks}
	s.acks = nil
	for len(s.queue) > 0 && s.open < s.window && !s.stopped {
		s.step.Claims = append(s.step.Claims, bridge.Claim{Ref: s.queue[0], Number: s.next})
		s.queue = s.queue[1:]
		s.next++
		s.open++
	}
	if len(s.step.Acks)+len(s.step.Claims) == 0 {
		return nil
	}
	return &s.step
}

func (s *echo) Done() error {
	s.open -= len(s.step.Acks)
	for _, c := range s.step.Claims {
		s.sent = append(s.sent, c.Ref)
		if !s.mute {
			s.acks = append(s.acks, bridge.Ack{Number: c.Number, Kind: bridge.AckDelivered})
		}
	}
	return nil
}

func fill(t *testing.T, l *bridgetest.Ledger, rows int) {
	t.Helper()
	for n := range rows {
		a := bridge.Append{Pipeline: "p", Stream: "b/e"}
		for i := range 3 {
			at := int64(n*3 + i + 1)
			a.Keys = append(a.Keys, bridge.Key{Time: at})
			a.Verdicts = append(a.Verdicts, bridge.Verdict{Kind: bridge.Passed, Outputs: 1})
			a.Messages = append(a.Messages, bridge.Message{Record: bridge.Record{Time: at}})
		}
		if err := l.Append(t.Context(), &a); err != nil {
			t.Fatal(err)
		}
	}
}

// run starts a pump in a bubble of its own time, waits until nothing moves, and ends it.
func run(t *testing.T, p *bridge.Pump) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	time.Sleep(time.Minute) // of the bubble: returns once nothing is left to do
	synctest.Wait()
	cancel()
	return <-done
}

func TestPumpDelivers(t *testing.T) {
	for _, window := range []int{1, 2, 100} {
		for _, plan := range [][]bridgetest.Fault{nil, {bridgetest.Fails, bridgetest.Full, bridgetest.Works, bridgetest.Fails}} {
			t.Run(fmt.Sprintf("window %d, %d faults", window, len(plan)), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := bridgetest.NewLedger(t, "far")
					fill(t, l, 40)
					o := l.Outbox("far")
					o.Plan(plan...)
					s := &echo{window: window}
					if err := run(t, &bridge.Pump{Outbox: o, Sender: s}); err != nil {
						t.Fatal(err)
					}
					if len(s.sent) != 120 || s.sent[0] != (bridge.Ref{Row: 1}) || s.sent[119] != (bridge.Ref{Row: 40, Index: 2}) {
						t.Errorf("sent %d messages, want 120 from 1.0 to 40.2", len(s.sent))
					}
					ctx, cancel := context.WithCancel(t.Context())
					cancel()
					if rows, err := o.Next(ctx, 0, 1); err == nil {
						t.Errorf("%d rows are left", len(rows))
					}
				})
			})
		}
	}
}

// TestPumpEnds has every way in which a pump ends by itself. Trying a step again whose outcome is unknown could claim twice.
func TestPumpEnds(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name  string
		fault bridgetest.Fault
		s     echo
		want  error
		text  string
	}{
		{"unknown", bridgetest.Unknown, echo{window: 10}, bridge.ErrUnknown, "commit 10 claims"},
		{"unknown, yet stored", bridgetest.UnknownStored, echo{window: 10}, bridge.ErrUnknown, "commit 10 claims"},
		{"sender", bridgetest.Works, echo{window: 10, broken: broken}, broken, "send: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := bridgetest.NewLedger(t, "far")
				fill(t, l, 10)
				if tt.fault != bridgetest.Works {
					l.Outbox("far").Plan(tt.fault)
				}
				err := run(t, &bridge.Pump{Outbox: l.Outbox("far"), Sender: &tt.s})
				if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("got %v, want %v with %q", err, tt.want, tt.text)
				}
				if len(tt.s.sent) > 0 {
					t.Errorf("sent %d messages before their claims were durable (rule 8)", len(tt.s.sent))
				}
			})
		})
	}
}

// TestPumpLingers stops with acknowledgements open that never come, and with a commit that hangs.
func TestPumpLingers(t *testing.T) {
	for _, tt := range []struct {
		name string
		plan []bridgetest.Fault
		s    echo
		want int // sent
	}{
		{"no acknowledgements", nil, echo{window: 2, mute: true}, 2},
		{"a commit hangs", []bridgetest.Fault{bridgetest.Hang}, echo{window: 2}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := bridgetest.NewLedger(t, "far")
				fill(t, l, 10)
				l.Outbox("far").Plan(tt.plan...)
				p := &bridge.Pump{Outbox: l.Outbox("far"), Sender: &tt.s, Linger: 3 * time.Second}
				start := time.Now()
				if err := run(t, p); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start) - time.Minute; took != p.Linger {
					t.Errorf("took %v after the stop, want %v", took, p.Linger)
				}
				if len(tt.s.sent) != tt.want {
					t.Errorf("sent %d messages, want %d", len(tt.s.sent), tt.want)
				}
			})
		})
	}
}

// drip is a sender that gets an acknowledgement every millisecond, which nothing waits for unless it is pressing.
type drip struct {
	acks    int
	lazy    bool
	commits int
	step    bridge.Step
}

func (d *drip) Turn(bool) (bridge.Progress, error) {
	return bridge.Progress{Idle: true, Lazy: d.lazy && d.acks > 0}, nil
}
func (d *drip) Take(bridge.Row) error { return nil }
func (d *drip) Step() *bridge.Step {
	if d.acks == 0 {
		return nil
	}
	d.acks = 0
	d.commits++
	return &d.step
}
func (d *drip) Done() error { return nil }

// TestPumpGathers: a step that nothing waits for gathers for 5 ms, any other is committed at once, and a stopping pump does not wait (rule 12).
func TestPumpGathers(t *testing.T) {
	for _, tt := range []struct {
		lazy bool
		want int
	}{{true, 20}, {false, 100}} {
		synctest.Test(t, func(t *testing.T) {
			d := &drip{lazy: tt.lazy}
			wake, done := make(chan struct{}), make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			p := bridge.Pump{Outbox: bridgetest.NewLedger(t, "far").Outbox("far"), Sender: d, Wake: wake}
			go func() { done <- p.Run(ctx) }()
			for range 100 {
				synctest.Wait()
				d.acks++
				wake <- struct{}{}
				time.Sleep(time.Millisecond) // of the bubble
			}
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if d.commits < tt.want-3 || d.commits > tt.want+1 || d.acks > 0 {
				t.Errorf("lazy %v: %d commits, %d acknowledgements left; want about %d and 0", tt.lazy, d.commits, d.acks, tt.want)
			}
		})
	}
}

// metered is a sender that may send one message a second, and says so. Its acknowledgements come with wake.
type metered struct {
	echo
	start time.Time
	turns int
}

func (m *metered) Turn(stopping bool) (bridge.Progress, error) {
	m.turns++
	m.window = m.open
	due := time.Duration(len(m.sent)+1) * time.Second
	at, err := m.echo.Turn(stopping)
	if since := time.Since(m.start); since >= due {
		m.window++
	} else if len(m.queue) > 0 {
		at.Again = due - since
	}
	return at, err
}

// TestPumpComesBack: a sender that may not send yet is asked again when it said, not before, and a stop does not wait for it.
func TestPumpComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bridgetest.NewLedger(t, "far")
		fill(t, l, 100)
		s := &metered{start: time.Now()}
		if err := run(t, &bridge.Pump{Outbox: l.Outbox("far"), Sender: s, Linger: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if len(s.sent) < 59 || len(s.sent) > 60 {
			t.Errorf("sent %d messages in a minute, want one a second", len(s.sent))
		}
		if s.turns > 400 {
			t.Errorf("%d turns for %d messages", s.turns, len(s.sent))
		}
		if took := time.Since(s.start); took > time.Minute {
			t.Errorf("the stop took %v", took-time.Minute)
		}
	})
}

// returning is a sender whose far end comes back now and then: it forgets what it has, and has room for a few rows that are not live.
type returning struct {
	anew bool
	few  int
	rows []bridge.Row // in the order they came, since the last time
}

func (r *returning) Turn(bool) (bridge.Progress, error) {
	at := bridge.Progress{Room: r.old() < r.few, LiveRoom: true, Anew: r.anew, Idle: true}
	if r.anew {
		r.anew, r.rows = false, nil
	}
	return at, nil
}

func (r *returning) old() (n int) {
	for _, row := range r.rows {
		if !row.Live {
			n++
		}
	}
	return n
}

func (r *returning) Take(row bridge.Row) error {
	r.rows = append(r.rows, row)
	return nil
}
func (r *returning) Step() *bridge.Step { return nil }
func (r *returning) Done() error        { return nil }

// TestPumpReadsAnew: from the moment a sender says so it gets what was there then, with an end, and beside it what is appended; the one does not wait
// for the other. Each row comes once.
func TestPumpReadsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bridgetest.NewLedger(t, "far")
		s := &returning{few: 1000}
		wake, done := make(chan struct{}), make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		p := bridge.Pump{Outbox: l.Outbox("far"), Sender: s, Wake: wake}
		go func() { done <- p.Run(ctx) }()
		check := func(what, want string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for _, r := range s.rows {
				switch {
				case r.Live:
					got = append(got, fmt.Sprintf("live %d", r.Number))
				case r.Count == 0:
					got = append(got, fmt.Sprintf("end %d", r.Number))
				default:
					got = append(got, fmt.Sprint(r.Number))
				}
			}
			if g := strings.Join(got, ", "); g != want {
				t.Errorf("%s: got %s, want %s", what, g, want)
			}
		}
		fill(t, l, 3)
		check("before the first connection", "1, 2, 3")
		s.anew = true
		wake <- struct{}{}
		check("connected", "1, 2, 3, end 3")
		fill(t, l, 2)
		check("appended since", "1, 2, 3, end 3, live 4, live 5")
		s.anew, s.few = true, 0
		wake <- struct{}{}
		check("no room for the backlog", "")
		fill(t, l, 1)
		check("live ones do not wait for it", "live 6")
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

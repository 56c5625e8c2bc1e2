package reduct

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// Rule 19: by any moment no more than rate × time and one page is looked at, whatever the pages have and however many ask at once.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		name  string
		rate  int64
		pages []int64
		asked int // at once
		page  int64
	}{
		{"full pages", 1000, []int64{85, 85, 85, 85}, 1, 85},
		{"half a page", 1000, []int64{85, 40, 85, 1, 0, 85}, 1, 85},
		{"several at once", 1000, []int64{85, 85, 85, 85, 85, 85}, 3, 85},
		{"pages larger than usual", 500, []int64{1000, 1000, 1000}, 1, 1000},
		{"slower than a page a second", 20, []int64{85, 85, 85}, 2, 85},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := pace{rate: c.rate}
			began := time.Unix(1000, 0)
			now, looked := began, int64(0)
			for at := 0; at < len(c.pages); {
				var shares []int64
				var waits []time.Duration
				for range min(c.asked, len(c.pages)-at) {
					wait, share := p.ask(now)
					waits, shares = append(waits, wait), append(shares, share)
				}
				begin := now
				for i, wait := range waits { // they ascend
					now = begin.Add(wait)
					looked += c.pages[at]
					if most := int64(now.Sub(began).Seconds()*float64(c.rate)) + c.page; looked > most {
						t.Errorf("page %d: %d looked at after %v, want at most %d", at, looked, now.Sub(began), most)
					}
					p.got(shares[i], c.pages[at])
					at++
				}
			}
			if least := time.Duration(looked-c.page) * time.Second / time.Duration(c.rate); now.Sub(began) > 2*least+time.Second {
				t.Errorf("%d records took %v, want about %v", looked, now.Sub(began), least)
			}
			_, share := p.ask(now.Add(time.Hour))
			if wait, _ := p.ask(now.Add(time.Hour)); wait != p.cost(share) {
				t.Errorf("after a pause: got a wait of %v for the second page, want %v", wait, p.cost(share))
			}
		})
	}
}

// madeTime is a clock that jumps to the end of every wait.
type madeTime struct {
	mu  sync.Mutex
	now time.Time
}

func (m *madeTime) clock() clock {
	return clock{
		now: func() time.Time { m.mu.Lock(); defer m.mu.Unlock(); return m.now },
		after: func(d time.Duration) <-chan time.Time {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.now = m.now.Add(d)
			c := make(chan time.Time, 1)
			c <- m.now
			return c
		},
	}
}

// Heads and payloads of a pass count alike.
func TestPassPace(t *testing.T) {
	for _, c := range []struct {
		name string
		rate int
		want time.Duration
	}{
		{"no bound", 0, 0},
		{"bound", 1000, 1915 * time.Millisecond}, // of 2,000 looked at the last page costs nothing
	} {
		r := newRig(t, func(cfg *Config) { cfg.Source.Rate = c.rate })
		began := time.Unix(1000, 0)
		m := madeTime{now: began}
		r.clock = m.clock()
		r.edge.fill("e", 1, 1000)
		r.pass(t)
		if got := m.now.Sub(began); got < c.want || got > c.want+100*time.Millisecond {
			t.Errorf("%s: a pass over 1,000 records waited %v, want %v", c.name, got, c.want)
		}
		wantTimes(t, r.intake, "dst/e", upTo(1, 1000))
	}
}

// A sender that comes while a pass is in the middle of its stream does not wait for the pace.
func TestPaceEndsForSenders(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.Source.Rate = 1000 })
	r.edge.fill("e", 1, 500)
	r.settlers(t)
	waits := make(chan struct{}, 100)
	r.clock.after = func(time.Duration) <-chan time.Time { waits <- struct{}{}; return nil }
	passed := make(chan error, 1)
	go func() { passed <- r.Pass(t.Context()) }()
	<-waits // would wait for ever
	err := r.Settle(t.Context(), Waiting{Stream: "dst/e", Accepted: time.Now(), Batch: hold.Batch{Times: []int64{500}}})
	if err != nil {
		t.Fatalf("settle: got %v, want nil", err)
	}
	r.Release("dst/e")
	if err := <-passed; err != nil {
		t.Errorf("pass: got %v, want nil", err)
	}
	wantTimes(t, r.intake, "dst/e", upTo(1, 500))
}

// What a sender waits for has no pace at all.
func TestSettleHasNoPace(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.Source.Rate = 100 })
	r.edge.fill("e", 1, 500)
	r.settlers(t)
	r.clock.after = func(time.Duration) <-chan time.Time { return nil } // would wait for ever
	err := r.Settle(t.Context(), Waiting{Stream: "dst/e", Accepted: time.Now(), Batch: hold.Batch{Times: upTo(401, 500)}})
	if err != nil {
		t.Fatalf("settle: got %v, want nil", err)
	}
	r.Release("dst/e")
	wantTimes(t, r.intake, "dst/e", upTo(1, 400))
}

// A wait for the pace ends with its context, and the share is given back.
func TestPaceCancelled(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.Source.Rate = 1000 })
	r.edge.fill("e", 1, 500)
	ctx, cancel := context.WithCancel(t.Context())
	r.clock.after = func(time.Duration) <-chan time.Time { cancel(); return nil }
	if err := r.Pass(ctx); err == nil {
		t.Error("pass: got nil, want an error")
	}
}

// Several entries are compared at once, as many as source.parallel says.
func TestPassParallel(t *testing.T) {
	for _, parallel := range []int{1, 3} {
		r := newRig(t, func(cfg *Config) { cfg.Source.Parallel = parallel })
		for _, entry := range []string{"a", "b", "c", "d", "f"} {
			r.edge.fill(entry, 1, 20)
		}
		var mu sync.Mutex
		busy, most := 0, 0
		met := make(chan struct{})
		r.edge.onGet = func() {
			mu.Lock()
			busy++
			if most = max(most, busy); busy == parallel {
				select {
				case <-met:
				default:
					close(met)
				}
			}
			mu.Unlock()
			<-met
			mu.Lock()
			busy--
			mu.Unlock()
		}
		r.pass(t)
		if most != parallel {
			t.Errorf("parallel = %d: got %d entries at once", parallel, most)
		}
		for _, entry := range []string{"a", "b", "c", "d", "f"} {
			wantTimes(t, r.intake, "dst/"+entry, upTo(1, 20))
		}
	}
}

// Rule 6: streams with gaps come first, and in each what is missing before a gap comes before it.
func TestPassGapsFirst(t *testing.T) {
	r := newRig(t, nil)
	for _, entry := range []string{"a", "z"} {
		r.edge.fill(entry, 1, 30)
		mustDeliver(t, r.intake, "dst/"+entry, upTo(1, 10)...)
	}
	if err := r.gaps.NoteGap(t.Context(), bridge.Gap{Stream: "dst/z", From: 15, To: 17, Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	r.pass(t)
	wantTimes(t, r.intake, "dst/z", upTo(1, 30))
	wantTimes(t, r.intake, "dst/a", upTo(1, 30))
	r.edge.mu.Lock()
	defer r.edge.mu.Unlock()
	first := slices.IndexFunc(r.edge.log, func(s string) bool { return strings.HasSuffix(s, "/q") })
	if first < 0 || r.edge.log[first] != "POST /b/src/z/q" {
		t.Errorf("queries: got %v, want the one for z first", r.edge.log)
	}
}

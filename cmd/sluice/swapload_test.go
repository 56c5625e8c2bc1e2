package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

const (
	loadStreams = 4
	loadBatch   = 80
)

// number reads how much a test does from the environment; make crash sets more than go test.
func number(t *testing.T, name string, short int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return short
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%s: want a number", name, text)
	}
	return n
}

// swapLoad is records on their way through the intake while the module is exchanged. It goes on until all swaps are
// through, and waits for each: where none is on trial, the records of one more swap at most are ahead.
type swapLoad struct {
	b       *bench
	g       *gate
	records int // of each stream, at least
	swaps   int
	taken   atomic.Int64
	done    atomic.Int64 // swaps
	mu      sync.Mutex
	took    []time.Duration // of every batch; guarded by mu
}

// stream delivers the records of one stream.
func (l *swapLoad) stream(name string) {
	rs := make([]bridge.Record, loadBatch)
	for n := 0; n < l.records || l.done.Load() < int64(l.swaps); n += loadBatch {
		l.b.until(l.g, "swap", l.wanted)
		for i := range rs {
			rs[i] = bridge.Record{Time: int64(n+i+1) * 100, Payload: []byte("a record")}
		}
		began := time.Now()
		if err := l.g.intakes["p"].Deliver(l.b.t.Context(), &bridge.Batch{Stream: name, Records: rs}); err != nil {
			l.b.t.Errorf("%s: %v", name, err)
			return
		}
		l.mu.Lock()
		l.took = append(l.took, time.Since(began))
		l.mu.Unlock()
		l.taken.Add(loadBatch)
	}
}

// wanted tells whether records are to come now.
func (l *swapLoad) wanted() bool {
	l.g.swaps.mu.Lock()
	defer l.g.swaps.mu.Unlock()
	done := l.done.Load()
	return done == int64(l.swaps) || l.g.swaps.seats["guest"].trial != nil || l.taken.Load() <= (done+1)*int64(loadStreams*l.records/l.swaps)
}

// exchange swaps the module again and again; every tenth time a candidate comes first that has to be refused.
func (l *swapLoad) exchange() {
	come := func(what, name string, code ...[]byte) {
		outcome := l.g.metrics.ModuleSwaps.At("guest/" + what)
		before := outcome.Load()
		l.b.counter(name, "1", code...)
		l.g.swaps.lookNow()
		l.b.until(l.g, what, func() bool { return outcome.Load() > before })
	}
	for n := range l.swaps {
		if n%10 == 5 {
			come("refused", fmt.Sprint("bad ", n), trap)
		}
		come("promoted", fmt.Sprint("good ", n))
		l.done.Add(1)
	}
}

// TestSwapUnderLoad: modules that count records are exchanged under load, and every record is there once, in order, with the number that it would have
// had without (rules 3 and 4). make crash runs it with 100 swaps in 1,000,000 records.
func TestSwapUnderLoad(t *testing.T) {
	b := newBench(t)
	path := b.write(strings.Replace(b.swapping(), "[admin]", "[ledger]\nquota = \"4GiB\"\n[admin]", 1))
	b.counter("first", "1")
	g, stop := b.start(path)
	defer stop()
	l := &swapLoad{b: b, g: g, swaps: number(t, "SWAPS", 6)}
	l.records = number(t, "SWAP_RECORDS", 24_000) / loadStreams
	began := time.Now()
	var running sync.WaitGroup
	for n := range loadStreams {
		running.Go(func() { l.stream(fmt.Sprint("gate/", n)) })
	}
	running.Go(l.exchange)
	running.Wait()
	took := time.Since(began)
	if got := b.ordered(g, loadStreams, -1); got != int(l.taken.Load()) {
		t.Errorf("%d records, want %d", got, l.taken.Load())
	}
	slices.Sort(l.took)
	t.Logf("| %d swaps | %d records | %.0f a second | %d refused candidates | batch of %d: median %v, 99%% %v, longest %v |", l.swaps, l.taken.Load(),
		float64(l.taken.Load())/took.Seconds(), g.metrics.ModuleSwaps.At("guest/refused").Load(), loadBatch,
		l.took[len(l.took)/2], l.took[len(l.took)*99/100], l.took[len(l.took)-1])
}

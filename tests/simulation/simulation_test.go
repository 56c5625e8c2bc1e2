package simulation

import (
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluicebridge/sluice/bridge"
)

var (
	schedules = flag.Int("schedules", plenty, "schedules of all variants together")
	firstSeed = flag.Uint64("seed", 0, "first seed")
)

const (
	plenty = 110_000 // schedules of `make test`
	enough = 5_000   // of a variant: fewer may miss the rarest faults
)

// common is what must have happened in the schedules of every variant.
var common = []string{
	"crash", "crash: commit in progress is durable", "crash: commit in progress is gone", "network cut", "broker killed",
	"sender's connection cut", "sender cut: 503 never read", "sender cut: answer never read", "sender cut: request read", "sender cut: request unread",
	"edge store killed", "replication log lost", "task made after the data", "held", "reconciled", "gap and 422", "query failed",
	"disk full", "disk hangs", "outcome of a commit unknown", "commit not begun in time", "process ended: outcome of a step unknown", "quota reached",
	"another number of clients", "removed client drained", "identifiers wrapped", "CONNECT rejected", "clean start",
	"cut after the old session was ended", "waited for the limit", "tick",
}

// variants are the worlds that are played, each with what must have happened in it beside that.
var variants = []struct {
	variant
	fires []string
}{
	{variant{name: "QoS 2, strict, sessions kept", qos: 2}, []string{"0x91", "0x92 to a PUBREL", "CONNECT unanswered", "start with a CONNECT unanswered"}},
	{variant{name: "QoS 2, pipelined, no CONNECT left unanswered", qos: 2, ordering: bridge.Pipelined, calm: true}, []string{"0x91"}},
	{variant{name: "QoS 2, pipelined, sessions lost", qos: 2, ordering: bridge.Pipelined, loses: true, lates: true},
		[]string{"session lost", "marked double", "CONNECT unanswered", "start with a CONNECT unanswered", "written late"}},
	{variant{name: "QoS 2, strict, refusals, sessions lost", qos: 2, loses: true, refuses: true, updates: true},
		[]string{"refused for now", "refused for good", "lane held and tried again"}},
	{variant{name: "QoS 2, strict, refused messages held", qos: 2, loses: true, refuses: true, hold: true}, []string{"lane held and tried again"}},
	{variant{name: "QoS 2, unordered", qos: 2, ordering: bridge.Unordered, loses: true, refuses: true, lates: true}, []string{"lane held and tried again"}},
	{variant{name: "QoS 2, another far end", qos: 2, ordering: bridge.Pipelined, farChange: true, loses: true}, []string{"another far end"}},
	{variant{name: "QoS 2, a message ends its connection", qos: 2, ordering: bridge.Pipelined, poisons: true}, []string{"connection ended on a message"}},
	{variant{name: "QoS 2, pipelined, replication logs overrun, updates", qos: 2, ordering: bridge.Pipelined, overruns: true, updates: true, lates: true},
		[]string{"replication log overrun", "lines popped that were never sent"}},
	{variant{name: "QoS 2, two tasks on the same entries", qos: 2, ordering: bridge.Pipelined, twins: true, loses: true}, nil},
	{variant{name: "QoS 2, two tasks, updates, late", qos: 2, ordering: bridge.Pipelined, twins: true, updates: true, lates: true}, nil},
	{variant{name: "QoS 2, stale sessions", qos: 2, ordering: bridge.Pipelined, stale: true}, []string{"stale session"}},
	{variant{name: "QoS 2, the store evicts", qos: 2, ordering: bridge.Pipelined, evicts: true}, []string{"evicted", "evicted before it was fetched", "evicted before it was compared"}},
	{variant{name: "QoS 2, modules ask again", qos: 2, ordering: bridge.Pipelined, modules: true, updates: true}, []string{"module asks again later"}},
	{variant{name: "QoS 1, pipelined, sessions lost", qos: 1, ordering: bridge.Pipelined, loses: true, updates: true}, []string{"session lost", "marked double"}},
	{variant{name: "QoS 1, a message ends its connection", qos: 1, poisons: true}, []string{"connection ended on a message"}},
	{variant{name: "QoS 1, strict, refusals", qos: 1, refuses: true}, []string{"refused for now", "refused for good"}},
	{variant{name: "QoS 2, strict, live first, refusals, sessions lost", qos: 2, live: true, refuses: true, loses: true, lates: true},
		[]string{"late", "phase after phase", "live row while the backlog fills its queue", "lane held and tried again", "session lost"}},
	{variant{name: "QoS 2, pipelined, live first, another far end, updates", qos: 2, ordering: bridge.Pipelined, live: true, farChange: true, updates: true},
		[]string{"late", "phase after phase", "live row while the backlog fills its queue", "another far end"}},
	{variant{name: "QoS 2, unordered, live first", qos: 2, ordering: bridge.Unordered, live: true, refuses: true}, []string{"phase after phase"}},
	{variant{name: "QoS 1, strict, live first, refused messages held", qos: 1, live: true, refuses: true, hold: true},
		[]string{"late", "phase after phase", "lane held and tried again"}},
	{variant{name: "QoS 1, pipelined, live first, sessions lost", qos: 1, ordering: bridge.Pipelined, live: true, loses: true},
		[]string{"late", "phase after phase", "live row while the backlog fills its queue", "session lost"}},
}

// TestSchedules plays schedules of every variant. A fault that never fired fails the test.
func TestSchedules(t *testing.T) {
	n := *schedules / len(variants)
	if want := enough * len(variants); *schedules == plenty && plenty < want {
		t.Fatalf("%d schedules are too few for the rarest faults of %d variants, want %d", plenty, len(variants), want)
	}
	if testing.Short() {
		n /= 20
	}
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			fired := explore(t, v.variant, *firstSeed, n)
			t.Logf("%d schedules%s", n, table(fired))
			for _, what := range append(v.fires, common...) {
				if fired[what] == 0 && n >= enough {
					t.Errorf("never fired: %s", what)
				}
			}
			if v.calm && fired["marked double"] > 0 {
				t.Errorf("%d doubles although no session was lost", fired["marked double"])
			}
		})
	}
}

// TestRapid is another way through the same worlds. What it finds it makes short.
func TestRapid(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				w := newWorld(v.variant, drawn(t), map[string]int{})
				w.tell = true
				if what := w.run(); what != "" {
					t.Fatalf("%s\n%s", what, w.schedule())
				}
			})
		})
	}
}

// TestShrink: a schedule that fails is told in few lines. The world fails here because its broker comes back with old sessions and says nothing of it, which
// no client can notice.
func TestShrink(t *testing.T) {
	v := variant{qos: 2, ordering: bridge.Pipelined, stale: true, silent: true}
	for seed := range uint64(1000) {
		c := seeded(seed)
		if newWorld(v, c, map[string]int{}).run() == "" {
			continue
		}
		what, plan := shorter(v, c.made)
		if len(plan) > len(c.made)/2 || what == "" {
			t.Errorf("seed %d: %d of %d choices are left, and it says %q", seed, len(plan), len(c.made), what)
		}
		return
	}
	t.Error("no schedule failed")
}

// explore plays n schedules on all cores and returns what happened in them. The first that fails is told, shrunk.
func explore(t *testing.T, v variant, first uint64, n int) map[string]int {
	var next atomic.Uint64
	var mu sync.Mutex
	total := make(map[string]int)
	failed := uint64(n)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			fired := make(map[string]int)
			for at := next.Add(1) - 1; at < uint64(n); at = next.Add(1) - 1 {
				if newWorld(v, seeded(first+at), fired).run() != "" {
					mu.Lock()
					failed = min(failed, at)
					mu.Unlock()
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for what, times := range fired {
				total[what] += times
			}
		})
	}
	workers.Wait()
	if failed < uint64(n) {
		c := seeded(first + failed)
		what := newWorld(v, c, map[string]int{}).run()
		story, plan := shorter(v, c.made)
		t.Fatalf("seed %d: %s\nshrunk from %d choices to %d:\n%s", first+failed, what, len(c.made), len(plan), story)
	}
	return total
}

// shorter shrinks a failing schedule and tells it.
func shorter(v variant, made []uint16) (story string, plan []uint16) {
	fails := func(plan []uint16) string {
		kind, _, _ := strings.Cut(newWorld(v, replayed(plan), map[string]int{}).run(), ":")
		return kind
	}
	kind := fails(made)
	plan = shrink(made, func(plan []uint16) bool { return fails(plan) == kind })
	w := newWorld(v, replayed(plan), map[string]int{})
	w.tell = true
	if w.run() == "" {
		return "", plan
	}
	return w.schedule(), plan
}

func table(fired map[string]int) string {
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(fired)) {
		fmt.Fprintf(&b, "\n%8d %s", fired[what], what)
	}
	return b.String()
}

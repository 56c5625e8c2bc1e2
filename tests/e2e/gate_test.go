package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/tests/real"
)

const eligible = perEntry / 2 * 4 // of all entries

// backlog reads the number of messages that wait from the bridge's metrics.
func backlog(r *http.Response) (empty bool, state string) {
	sum, found := 0.0, false
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		if name, value, _ := strings.Cut(lines.Text(), " "); strings.HasPrefix(name, "sluice_backlog_records") {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return false, lines.Text()
			}
			sum, found = sum+n, true
		}
	}
	return found && sum == 0, fmt.Sprintf("backlog %v", sum)
}

// The main job: exactly the eligible records at the broker, once each, in order per entry, with their properties and payload.
func TestGate(t *testing.T) {
	s := newSite(t, options{})
	s.sluice.Up()
	s.write(t, 0, perEntry)
	s.settled(t, 2*time.Minute, eligible)
	s.check(t, perEntry, nil)
	if err := s.sluice.Stop(); err != nil {
		t.Errorf("SIGTERM: %v, want exit 0", err)
	}
}

// The same with a store that asks for a token.
func TestGateWithToken(t *testing.T) {
	s := newSite(t, options{token: "edge-secret"})
	s.sluice.Up()
	s.write(t, 0, 400)
	s.settled(t, time.Minute, 4*200)
	s.check(t, 400, nil)
}

// Rules 1, 5, 7 to 14: kill -9 five times on the way loses nothing, doubles nothing, reorders nothing.
func TestGateKilled(t *testing.T) {
	s := newSite(t, options{})
	s.sluice.Up()
	written := make(chan struct{})
	go func() {
		defer close(written)
		for from := 0; from < perEntry; from += 250 {
			s.write(t, from, from+250)
		}
	}()
	for kill := range 5 {
		s.subscriber.Await(t, eligible*(2*kill+1)/12, 2*time.Minute)
		s.sluice.Kill()
		s.sluice.Up()
	}
	<-written
	s.settled(t, 3*time.Minute, eligible)
	s.check(t, perEntry, nil)
}

// The same with the backlog already waiting, so that every kill hits a request or a burst in progress.
func TestBacklogKilled(t *testing.T) {
	s := newSite(t, options{})
	s.write(t, 0, perEntry)
	for kill := range 5 {
		s.sluice.Start()
		s.subscriber.Await(t, eligible*kill/8+1, 2*time.Minute)
		s.sluice.Kill()
	}
	s.sluice.Up()
	s.settled(t, 3*time.Minute, eligible)
	s.check(t, perEntry, nil)
}

// A broker that is away for 20 s: the ledger takes what comes meanwhile, and drains by itself.
func TestBrokerAway(t *testing.T) {
	s := newSite(t, options{})
	s.sluice.Up()
	s.write(t, 0, 1000)
	s.subscriber.Await(t, 500, time.Minute)
	if err := s.broker.Stop(); err != nil {
		t.Fatalf("stop broker: %v", err)
	}
	away := time.After(20 * time.Second)
	s.write(t, 1000, perEntry)
	<-away
	s.broker.Up()
	s.settled(t, 2*time.Minute, eligible)
	s.check(t, perEntry, nil)
}

// An outage in which both queues fill: the ledger's quota first, then the store's FIFO. What the FIFO evicted is named by the bridge; nothing else is missing.
func TestBothFull(t *testing.T) {
	const records = 15000
	s := newSite(t, options{
		ledger: `quota = "256KiB"`,
		bucket: `{"quota_type":"FIFO","quota_size":2000000,"max_block_size":64000,"max_block_records":256}`,
	})
	s.sluice.Up()
	s.write(t, 0, 500)
	s.settled(t, time.Minute, 1000)
	s.broker.Kill()
	s.write(t, 500, records)
	s.broker.Up()
	evicted := s.evicted(t, records)
	if len(evicted) == 0 {
		t.Fatal("the FIFO evicted nothing: the outage was too small to show anything")
	}
	t.Logf("the FIFO evicted %d eligible records that the ledger had no room for", len(evicted))
	s.settled(t, 3*time.Minute, 4*records/2-len(evicted))
	s.check(t, records, evicted)
	s.named(t, evicted)
}

// evicted finds which eligible records exist nowhere any more: not in the store, and never taken by the bridge.
func (s *site) evicted(t *testing.T, records int) map[string]bool {
	t.Helper()
	real.Eventually(t, 3*time.Minute, "the bridge to have taken all that the store still holds", func() (bool, string) {
		state := s.store.Call(t, http.MethodGet, "/replications/to-gate", "")
		return strings.Contains(state, `"pending_records":0`), state[:min(len(state), 300)]
	})
	taken := map[string]bool{}
	for _, m := range s.subscriber.Messages() {
		taken[m.ID] = true
	}
	missing := map[string]bool{}
	for _, entry := range entries {
		for _, id := range s.expected(entry, records, nil) {
			if !taken[id] {
				missing[id] = true
			}
		}
	}
	return missing
}

// named checks that every evicted record lies in a range that the bridge's status names as lost.
func (s *site) named(t *testing.T, evicted map[string]bool) {
	t.Helper()
	t.Fatalf("not written yet: %d evicted", len(evicted))
}

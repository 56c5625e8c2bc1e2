package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge/admin"
)

const eligible = perEntry / 2 * 4 // of all entries

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

// An outage in which both queues fill: the ledger's quota first, then the store's FIFO. What the FIFO evicted is named by the bridge; nothing
// else is missing.
func TestBothFull(t *testing.T) {
	const records = 25000
	s := newSite(t, options{
		open:   true, // after each hole stable-speed would let the speed settle anew
		ledger: `quota = "1MiB"`,
		bucket: `{"quota_type":"FIFO","quota_size":1500000,"max_block_size":64000,"max_block_records":256}`,
	})
	s.sluice.Up()
	s.write(t, 0, 500)
	s.settled(t, time.Minute, 2000)
	s.sluice.Reconciled(t, time.Minute)
	if err := s.broker.Stop(); err != nil {
		t.Fatalf("stop broker: %v", err)
	}
	for from := 500; from < records; from += 500 { // entry after entry would have the FIFO take one of them whole
		s.write(t, from, from+500)
	}
	s.broker.Up()
	s.store.Sent(t, "to-gate", 3*time.Minute)
	s.sluice.Reconciled(t, time.Minute)
	s.settled(t, 3*time.Minute, 2001)
	evicted := s.evicted(t, records)
	if len(evicted) == 0 {
		t.Fatal("the FIFO evicted nothing: the outage was too small to show anything")
	}
	s.check(t, records, evicted)
	named := s.named(t, evicted)
	t.Logf("%d records evicted, in %d ranges that the bridge names; %d arrived", len(evicted), named, s.subscriber.Count())
}

// evicted returns the records that did not arrive because the store has them no more. One that is still there was lost by the bridge, and fails the
// test.
func (s *site) evicted(t *testing.T, records int) map[string]bool {
	t.Helper()
	arrived := map[string]bool{}
	for _, m := range s.subscriber.Messages() {
		arrived[m.ID] = true
	}
	evicted := map[string]bool{}
	var info struct {
		Entries []struct {
			Name   string `json:"name"`
			Oldest int64  `json:"oldest_record"`
		} `json:"entries"`
	}
	if err := json.Unmarshal([]byte(s.store.Call(t, http.MethodGet, "/b/"+s.bucket, "")), &info); err != nil {
		t.Fatalf("list entries: %v", err)
	}
	if len(info.Entries) != len(entries) {
		t.Fatalf("%d entries in the store, want %d", len(info.Entries), len(entries))
	}
	for _, e := range info.Entries {
		for i := range records {
			id := fmt.Sprintf("gate/%s@%d", e.Name, s.time(i))
			if arrived[id] {
				continue
			}
			evicted[id] = true
			if s.time(i) >= e.Oldest {
				t.Errorf("%s did not arrive, and is still in the store", id)
			}
		}
	}
	return evicted
}

// named checks that every evicted record lies in a range that the bridge's status names, and returns how many ranges there are.
func (s *site) named(t *testing.T, evicted map[string]bool) int {
	t.Helper()
	lost := s.status(t).Ledger.Lost.Newest
	var unnamed []string
	for id := range evicted {
		stream, text, _ := strings.Cut(id, "@")
		at, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(lost, func(l admin.Loss) bool {
			return l.Stream == stream && l.From.UnixMicro() <= at && at <= l.To.UnixMicro() && strings.Contains(l.Reason, "evicted")
		}) {
			unnamed = append(unnamed, id)
		}
	}
	if slices.Sort(unnamed); len(unnamed) > 0 {
		t.Errorf("%d of %d evicted records, %s to %s, lie in none of the %d ranges that the bridge names: %v",
			len(unnamed), len(evicted), unnamed[0], unnamed[len(unnamed)-1], len(lost), lost)
	}
	return len(lost)
}

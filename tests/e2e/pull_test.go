package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/tests/real"
)

// Without a replication task: kill -9 five times while records are written loses nothing, doubles nothing, reorders nothing.
func TestPullKilled(t *testing.T) {
	s := newSite(t, options{pull: true})
	s.sluice.Up()
	written := s.writeAll(t, 250)
	for kill := range 5 {
		s.subscriber.Await(t, eligible*(2*kill+1)/12, 2*time.Minute)
		s.sluice.Kill()
		s.sluice.Up()
	}
	<-written
	s.settled(t, 3*time.Minute, eligible)
	s.check(t, perEntry, nil)
}

// The same with the backlog already there, so that every kill hits a read in progress.
func TestPullBacklogKilled(t *testing.T) {
	s := newSite(t, options{pull: true, open: true})
	s.write(t, 0, perEntry)
	for kill := range 5 {
		s.sluice.Start()
		s.subscriber.Await(t, perEntry*4*kill/8+1, 2*time.Minute)
		s.sluice.Kill()
	}
	s.sluice.Up()
	s.settled(t, 3*time.Minute, perEntry*4)
	s.check(t, perEntry, nil)
}

// A full ledger, a store that is killed, and one that is away are waited out; then status, reconcile and verify know the input as any other.
func TestPullWaits(t *testing.T) {
	const records = 15000
	s := newSite(t, options{pull: true, open: true, ledger: `quota = "1MiB"`})
	r := newRecord(t, s.broker, "site/#")
	r.Start()
	r.subscribed(t)
	s.sluice.Up()
	s.write(t, 0, 500)
	s.settled(t, time.Minute, 2000)
	if err := s.broker.Stop(); err != nil {
		t.Fatalf("stop broker: %v", err)
	}
	s.write(t, 500, records-500)
	real.Eventually(t, time.Minute, "a full ledger", func() (bool, string) {
		in := s.status(t).Inputs[0]
		if in.Kind != "reduct" || in.Forecast == nil {
			return false, fmt.Sprintf("%+v", in)
		}
		return in.Forecast.Stalled && in.Forecast.UnsentRecords > 1000, in.Forecast.Text
	})
	s.store.Kill()
	s.broker.Up()
	real.Eventually(t, time.Minute, "an empty ledger", func() (bool, string) {
		n := s.status(t).Remotes[0].Backlog.Records
		return n == 0, fmt.Sprint(n)
	})
	s.store.Up()
	s.write(t, records-500, records)
	r.await(t, records*4) // the recorder counts, not the subscriber: a Mosquitto that was stopped may hand on once more what that one had, and say nothing of it
	s.sluice.Drained(t, time.Minute)
	if code, reports := s.reconcile(t, "--whole"); code != 0 || !reports[0].OK() || reports[0].Compared < records*4 {
		t.Errorf("sluice reconcile: exit %d, %+v", code, reports[0].Summary)
	}
	s.wantFindings(t, "", []string{"--far", "record:" + r.file})
}

package crash

import (
	"fmt"
	"testing"

	"github.com/sluicebridge/sluice/tests/real"
)

// Rule 14: kill -9 of a broker that keeps its sessions in memory. What it had not completed comes again, marked and counted; what it had
// completed and not handed on is lost with it, and no publisher can save that.
func TestBrokerKilled(t *testing.T) {
	t.Parallel()
	kills := length(t, "CRASH_KILLS", 4)
	for _, qos := range []int{2, 1} {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			t.Parallel()
			s, chance, tap := newSite(t, options{qos: qos, wires: true}), random(t), newWiretap()
			s.uplink.Tap(tap.listen)
			s.sluice.Up()
			s.load.begin(t, kills*perFault)
			for range kills {
				s.load.await(t, 1+chance.IntN(perFault))
				s.uplink.Refuse(true) // until the subscriber is there: to whom else should the broker hand on
				s.broker.Kill()
				s.brokerUp(t)
			}
			r := s.finish(t)
			excused := tap.excuse(t, &r)
			figures(t, fmt.Sprintf("kill -9 of the broker, QoS %d", qos), kills, r, fmt.Sprintf("%d more were completed by the broker and lost in it", excused))
			for _, f := range r.faults(repeats) {
				t.Error(f)
			}
			s.counted(t, r.marked)
		})
	}
}

// A broker that is stopped in order keeps its sessions: nothing is lost, nothing comes twice, nothing out of order.
func TestBrokerRestarted(t *testing.T) {
	t.Parallel()
	restarts := length(t, "CRASH_RESTARTS", 2)
	s, chance := newSite(t, options{qos: 2, wires: true}), random(t)
	s.sluice.Up()
	s.load.begin(t, restarts*perFault)
	for range restarts {
		s.settled(t)
		s.load.await(t, 1+chance.IntN(perFault))
		s.uplink.Refuse(true)
		if err := s.broker.Stop(); err != nil {
			t.Fatalf("stop broker: %v", err)
		}
		s.brokerUp(t)
	}
	r := s.finish(t)
	figures(t, "restart of the broker, QoS 2", restarts, r, "")
	for _, f := range r.faults() {
		t.Error(f)
	}
	s.alive(t)
}

// brokerUp starts the broker and lets the bridge in when the subscriber is there.
func (s *site) brokerUp(t *testing.T) {
	t.Helper()
	before := s.subscriber.Sessions()
	s.broker.Up()
	real.Eventually(t, limit, "the subscriber to be back", func() (bool, string) { return s.subscriber.Sessions() > before, "it is away" })
	s.uplink.Refuse(false)
}

// counted checks that the bridge knows of every mark that was seen.
func (s *site) counted(t *testing.T, marked int) {
	t.Helper()
	s.alive(t)
	status, err := s.sluice.Status()
	if err != nil {
		t.Fatal(err)
	}
	if n := status.Remotes[0].PossibleDuplicates; n < int64(marked) {
		t.Errorf("the bridge counts %d possible duplicates, and %d came", n, marked)
	}
}

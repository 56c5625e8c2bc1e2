package crash

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/tests/real"
)

// Rules 8 to 14: the network to the broker is cut under load, by FIN and by RST, in the middle of packets, and the session stays. At QoS 2 nothing
// is lost, nothing comes twice, nothing out of order; at QoS 1 what was in flight may come twice, marked.
func TestBrokerCut(t *testing.T) {
	t.Parallel()
	cuts := length(t, "CRASH_CUTS", 5)
	for _, qos := range []int{2, 1} {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			t.Parallel()
			s, chance := newSite(t, options{qos: qos, wires: true}), random(t)
			s.sluice.Up()
			s.load.begin(t, cuts*perFault)
			for i := range cuts {
				s.uplink.Delay(time.Duration(i/2%2) * 5 * time.Millisecond) // the slower the network, the more is on its way
				s.settled(t)
				s.load.await(t, 1+chance.IntN(perFault))
				cut(t, s.uplink, i)
			}
			s.uplink.Delay(0)
			r := s.finish(t)
			figures(t, fmt.Sprintf("network to the broker cut, QoS %d", qos), cuts, r, "")
			for _, f := range r.faults(ofQoS(qos)...) {
				t.Error(f)
			}
			s.alive(t)
		})
	}
}

// settled waits until the bridge has a session at the broker, and has gone on in it. A CONNECT whose answer is lost in a cut is another matter: what is
// open then comes again, marked.
func (s *site) settled(t *testing.T) {
	t.Helper()
	real.Eventually(t, limit, "a connection to the broker", func() (bool, string) {
		status, err := s.sluice.Status()
		return err == nil && len(status.Remotes) == 1 && status.Remotes[0].Connected == 1, fmt.Sprint(status.Remotes, err)
	})
	s.load.await(t, 100) // more than the broker may still have had on its way
}

// cut cuts whatever is connected through p, in turn by FIN and by RST, and waits until something is.
func cut(t *testing.T, p *real.Proxy, i int) {
	t.Helper()
	how := []func() int{p.CutFIN, p.CutRST}[i%2]
	real.Eventually(t, limit, "a connection to cut", func() (bool, string) { return how() > 0, "nothing is connected" })
}

// Rules 1 to 7: the network between the store and the bridge is cut under load, in both directions of asking: the sender forgets what was on
// its way, and the reconciler, cut itself, finds it before anything newer passes.
func TestStoreCut(t *testing.T) {
	t.Parallel()
	cuts := length(t, "CRASH_CUTS", 6)
	s, chance := newSite(t, options{qos: 2, wires: true}), random(t)
	s.sluice.Up()
	s.load.begin(t, cuts*perFault)
	for i := range cuts {
		s.load.await(t, 1+chance.IntN(perFault))
		cut(t, []*real.Proxy{s.edge, s.edge, s.ask}[i%3], i/3)
	}
	r := s.finish(t)
	figures(t, "network to the store cut, QoS 2", cuts, r, "")
	if r.late.n > 0 {
		t.Errorf("called late: %v; want none, every connection was new", r.late)
	}
	for _, f := range r.faults() {
		t.Error(f)
	}
	s.alive(t)
}

// A network that swallows everything and says nothing. What comes back goes on where it was; what does not is given up by the watchdog. Nothing is
// lost, nothing comes twice, nothing out of order.
func TestSilence(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{qos: 2, wires: true, remote: `watchdog = "2s"`})
	s.sluice.Up()
	s.load.begin(t, 0)
	silences := 0
	for range length(t, "CRASH_SILENCES", 1) {
		for _, p := range []*real.Proxy{s.uplink, s.edge, s.ask} {
			s.load.await(t, perFault)
			silences++
			p.Hold()
			<-time.After(4 * time.Second) // longer than the watchdog, and than a sender's patience where it has one
			p.Resume()
		}
		s.settled(t)
		s.load.await(t, perFault)
		silences++
		real.Eventually(t, limit, "a connection to bury", func() (bool, string) { return s.uplink.Bury() > 0, "nothing is connected" })
	}
	s.load.await(t, perFault)
	if said := strings.Count(s.sluice.Tail(1<<30), "error=\"watchdog"); said < silences/2 {
		t.Errorf("the watchdog barked %d times, want %d", said, silences/2)
	}
	r := s.finish(t)
	figures(t, "silence, QoS 2", silences, r, "")
	for _, f := range r.faults() {
		t.Error(f)
	}
	s.alive(t)
}

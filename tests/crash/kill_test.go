package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// length reads from the environment how often something is broken; make crash sets more than make e2e.
func length(t *testing.T, name string, short int) int {
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

// perFault is how many records are written for each kill or cut, at least.
const perFault = 1000

// random is seeded anew each time; the seed is in the log of a test that fails.
func random(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// Rules 1 to 14: kill -9 of the bridge at random under load. At QoS 2 nothing is lost, nothing comes twice, nothing out of order. At QoS 1 what
// was claimed and not acknowledged at a kill may come twice, and nothing else; each second copy is marked.
func TestBridgeKilled(t *testing.T) {
	t.Parallel()
	kills := length(t, "CRASH_KILLS", 5)
	for _, qos := range []int{2, 1} {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			t.Parallel()
			s, chance := newSite(t, options{qos: qos}), random(t)
			var open tries
			s.load.begin(t, kills*perFault)
			for range kills {
				s.sluice.Start()
				s.load.await(t, 1+chance.IntN(perFault))
				s.sluice.Kill()
				if qos == 1 {
					open = append(open, openClaims(t, s.data))
				}
			}
			s.sluice.Up()
			r := s.finish(t)
			for _, f := range r.faults(ofQoS(qos)...) {
				t.Error(f)
			}
			what := fmt.Sprintf("kill -9 of the bridge, QoS %d", qos)
			if qos == 2 {
				figures(t, what, kills, r, "")
				if r.marked > 0 {
					t.Errorf("%d messages were marked, want none", r.marked)
				}
				return
			}
			copies, most := open.explain(t, s.subscriber.Messages())
			figures(t, what, kills, r, fmt.Sprintf("%.1f copies a kill, of at most %d open claims", float64(copies)/float64(kills), most))
		})
	}
}

// ofQoS is what is forgiven where a connection or a bridge breaks: at QoS 1 nobody can tell what had arrived.
func ofQoS(qos int) []string {
	if qos == 1 {
		return []string{repeats}
	}
	return nil
}

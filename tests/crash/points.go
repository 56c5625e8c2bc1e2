package crash

import (
	"net/http"
	"strings"
	"testing"
)

// point is a place in the bridge where it can be made to die: bridge.CrashPoint of that name.
type point struct {
	name    string
	chance  int                     // dies in one of so many passes, so that it dies under load and not at its first record
	provoke func(*testing.T, *site) // brings the bridge there; nil: the load does
	unsure  bool                    // between a CONNECT and the note of its answer: what is open goes out again, marked
	qos     int                     // 0: 2
	both    bool                    // also at QoS 1
}

// points is all of them, but ledger.ballast.removed, which needs a disk that is full: TestBallastCrash.
var points = []point{
	{name: "intake.appended", chance: 20, both: true},
	{name: "ledger.commit.before", chance: 60, both: true},
	{name: "ledger.commit.after", chance: 60, both: true},
	{name: "ledger.checkpoint.before"},
	{name: "ledger.checkpoint.after"},
	{name: "ledger.epoch"},
	{name: "target.answer", chance: 20},
	{name: "target.gap.noted", provoke: nonsense},
	{name: "reconcile.gap.filled"}, // the one that target.gap.noted has left
	{name: "reconcile.fetched"},
	{name: "reconcile.mark"},
	{name: "pump.committed", chance: 60, both: true},
	{name: "mqtt.publish.written", chance: 20, both: true},
	{name: "mqtt.pubrec.read", chance: 200},
	{name: "mqtt.pubrel.written", chance: 50},
	{name: "mqtt.pubcomp.read", chance: 200},
	{name: "mqtt.puback.read", chance: 200, qos: 1},
	{name: "mqtt.connect.before", unsure: true},
	{name: "mqtt.connack.read", unsure: true},
	{name: "stage.0.stopped", provoke: sigterm},
	{name: "stage.1.stopped", provoke: sigterm},
	{name: "stage.2.stopped", provoke: sigterm},
	{name: "ledger.drain", provoke: sigterm},
	{name: "stage.3.stopped", provoke: sigterm},
	{name: "stage.4.stopped", provoke: sigterm},
}

// sigterm stops the bridge once it works.
func sigterm(t *testing.T, s *site) {
	t.Helper()
	s.load.await(t, 1)
	s.sluice.Terminate()
}

// nonsense sends a batch that cannot be taken: its header tells times that the store has records of, and no lengths.
func nonsense(t *testing.T, s *site) {
	t.Helper()
	s.load.await(t, 1)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.sluice.Target+"/api/v1/b/gate/acc-1/batch", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		r.Header.Set("x-reduct-time-"+strings.TrimPrefix(id(0, i), "gate/acc-1@"), "nonsense,text/plain")
	}
	if resp, err := http.DefaultClient.Do(r); err == nil {
		resp.Body.Close()
		t.Errorf("a batch of nonsense was answered %s, want no answer: the bridge dies before it", resp.Status)
	}
}

package crash

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/tests/real"
)

// A wall clock that jumps under load, past the records' times and back, changes nothing: times of records are keys, waiting goes by the monotonic
// clock.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{qos: 2})
	c := clock(filepath.Join(t.TempDir(), "clock"))
	s.sluice.Use(shop.jumping(t), clockEnv+"="+string(c))
	c.jump(t, 0)
	s.sluice.Up()
	s.load.begin(t, 0)
	jumps := []time.Duration{time.Hour, -time.Hour, 10 * 365 * 24 * time.Hour, 0}
	for _, by := range jumps {
		s.load.await(t, perFault)
		c.jump(t, by)
		s.reads(t, by)
	}
	s.load.await(t, perFault)
	r := s.finish(t)
	figures(t, "clock jumps, QoS 2", len(jumps), r, "")
	for _, f := range r.faults() {
		t.Error(f)
	}
	if r.marked > 0 {
		t.Errorf("%d messages were marked, want none", r.marked)
	}
	s.alive(t)
}

// reads waits until a reconcile has ended at a time that the bridge's clock can only have after the jump.
func (s *site) reads(t *testing.T, by time.Duration) {
	t.Helper()
	real.Eventually(t, limit, fmt.Sprintf("a clock that is off by %v", by), func() (bool, string) {
		status, err := s.sluice.Status()
		if err != nil || status.Inputs[0].LastReconcile == nil {
			return false, fmt.Sprint(err)
		}
		off := time.Until(*status.Inputs[0].LastReconcile) - by
		return off.Abs() < 10*time.Minute, status.Inputs[0].LastReconcile.String()
	})
}

package crash

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/tests/real"
)

// Rules 1, 3, 4 and 19: a disk that is full for a while under load. The sender is held, what is in the ledger goes out in the room of the ballast, the
// bridge lives, and afterwards goes on by itself. Nothing is lost, doubled, or counted twice by the module.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	long := time.Duration(length(t, "CRASH_FULL", 12)) * time.Second
	d := newDisk(t, 96)
	s := newSite(t, options{qos: 2, wires: true, data: filepath.Join(d.at, "data")})
	s.load.pad = 4000
	s.sluice.Up()
	s.load.begin(t, 0)
	s.load.await(t, perFault)
	d.fill()
	s.uplink.Hold() // so that the ledger has to grow
	refused := s.refused(t, 0)
	full := time.After(long)
	s.refused(t, refused+1)
	s.uplink.Resume()
	<-full
	s.alive(t)
	refused = s.refused(t, 0) - refused
	d.clear()
	s.load.await(t, ahead)
	s.recovered(t, fmt.Sprintf("full disk for %v, QoS 2", long), refused)
}

// The bridge dies at the moment at which it has given its ballast away: nobody knows yet what there is room for. It is there again when there is room.
func TestBallastCrash(t *testing.T) {
	t.Parallel()
	d := newDisk(t, 96)
	s := newSite(t, options{qos: 2, wires: true, data: filepath.Join(d.at, "data")})
	live := s.sluice.Path()
	s.load.pad = 4000
	s.sluice.Use(shop.dying(t), "SLUICE_CRASH=ledger.ballast.removed:1")
	s.sluice.Up()
	s.load.begin(t, 0)
	s.load.await(t, perFault)
	d.fill()
	s.uplink.Hold() // so that the ledger has to grow
	s.died(t, "at ledger.ballast.removed")
	s.uplink.Resume()
	d.clear()
	s.sluice.Use(live)
	s.sluice.Up()
	s.load.await(t, perFault)
	r := s.finish(t)
	figures(t, "crash point on a full disk, QoS 2", 1, r, "")
	for _, f := range r.faults() {
		t.Error(f)
	}
	s.alive(t)
}

// Rules 1, 3, 4 and 5: a disk that hangs for a while under load. The sender is held, the bridge lives and answers, and afterwards goes on by itself.
// Where the whole file system stands still, as while a picture is taken of it, the bridge may stand still with it: then it is silent until the end of
// that, and the sender waits.
func TestDiskHangs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		at      func(*disk) string
		answers bool
	}{
		{"device", func(d *disk) string { return d.outer }, true},
		{"file system", func(d *disk) string { return d.at }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			long := time.Duration(length(t, "CRASH_HANG", 10)) * time.Second
			d := newDisk(t, 96)
			s := newSite(t, options{qos: 2, data: filepath.Join(d.at, "data")})
			s.sluice.Up()
			s.load.begin(t, 0)
			s.load.await(t, perFault)
			refused := s.refused(t, 0)
			d.freeze(tt.at(d))
			defer d.thaw(tt.at(d)) // before anything waits for the bridge to end
			hung := time.After(long)
			if tt.answers {
				s.refused(t, refused+1)
			}
			<-hung
			s.alive(t)
			d.thaw(tt.at(d))
			refused = s.refused(t, 0) - refused
			s.load.await(t, ahead)
			s.recovered(t, fmt.Sprintf("%s hangs for %v, QoS 2", tt.name, long), refused)
		})
	}
}

// refused waits until the sender was answered 503 at least so many times, and returns how many it was.
func (s *site) refused(t *testing.T, least int) (n int) {
	t.Helper()
	real.Eventually(t, limit, fmt.Sprintf("%d answers of 503", least), func() (bool, string) {
		s.alive(t)
		sum, err := s.sluice.Metric("sluice_batch_responses_total", `status="503"`)
		n = int(sum)
		return err == nil && n >= least, fmt.Sprintf("%d, %v", n, err)
	})
	return n
}

// recovered ends the load and checks that nothing of it shows what the disk did.
func (s *site) recovered(t *testing.T, what string, refused int) {
	t.Helper()
	r := s.finish(t)
	figures(t, what, 1, r, fmt.Sprintf("%d answers of 503", refused))
	for _, f := range r.faults() {
		t.Error(f)
	}
	if r.marked > 0 {
		t.Errorf("%d messages were marked, want none", r.marked)
	}
	s.alive(t)
}

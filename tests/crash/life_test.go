package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/tests/real"
)

// SIGTERM under load, at both QoS: exit 0, what is in flight is answered, and nothing is lost, doubled, marked or out of order.
func TestBridgeRestarted(t *testing.T) {
	t.Parallel()
	restarts := length(t, "CRASH_RESTARTS", 2)
	for _, qos := range []int{2, 1} {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			t.Parallel()
			s, chance := newSite(t, options{qos: qos}), random(t)
			s.load.begin(t, restarts*perFault)
			for range restarts {
				s.sluice.Start()
				s.load.await(t, 1+chance.IntN(perFault))
				if err := s.sluice.Stop(); err != nil {
					t.Errorf("SIGTERM: %v, want exit 0:\n%s", err, s.sluice.Tail(2000))
				}
			}
			s.sluice.Up()
			r := s.finish(t)
			figures(t, fmt.Sprintf("restart of the bridge, QoS %d", qos), restarts, r, "")
			for _, f := range r.faults() {
				t.Error(f)
			}
			if r.marked > 0 {
				t.Errorf("%d messages were marked, want none", r.marked)
			}
		})
	}
}

// A second bridge on the same data directory refuses and names the first, which goes on.
func TestSecondProcess(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{qos: 2})
	s.sluice.Up()
	s.load.begin(t, 0)
	s.load.await(t, perFault)
	second := real.NewSluice(t, t.TempDir(), s.config)
	second.Start()
	real.Eventually(t, limit, "the second bridge to refuse", func() (bool, string) { return second.Exited(), "it runs" })
	if how, want := second.Outcome(), "exit status 1"; how != want {
		t.Errorf("the second bridge ended with %q, want %q", how, want)
	}
	if said, want := second.Tail(2000), fmt.Sprintf("process %d has it", s.sluice.Pid()); !strings.Contains(said, want) {
		t.Errorf("the second bridge said:\n%s\nwant %q", said, want)
	}
	s.load.await(t, perFault)
	for _, f := range s.finish(t).faults() {
		t.Error(f)
	}
	s.alive(t)
}

// An older copy of the ledger that was put back. Nothing is lost: what was taken in since is fetched again, and comes a second time where it had been
// delivered, without a mark, because nobody is left who knows of it; what had been delivered before the copy was made does not. Both times all of it
// comes in order, and the module counts on from where the copy was. Where the database alone was put back that is noticed and said until it is
// whole. A data directory that was put back whole agrees with itself: it cannot be told from one that was only stopped for long.
func TestOldCopyPutBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		noticed bool
		restore func(t *testing.T, old, data string)
	}{
		{"database", true, func(t *testing.T, old, data string) {
			if err := copyFile(filepath.Join(old, "ledger", "ledger.db"), filepath.Join(data, "ledger", "ledger.db")); err != nil {
				t.Fatal(err)
			}
		}},
		{"data directory", false, func(t *testing.T, old, data string) {
			if err := os.RemoveAll(data); err != nil {
				t.Fatal(err)
			}
			copyTree(t, old, data)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, options{qos: 2})
			old := filepath.Join(t.TempDir(), "old")
			s.sluice.Up()
			s.through(t, 240)
			copied := s.load.counts()
			s.stop(t)
			copyTree(t, s.data, old)

			s.sluice.Up()
			s.through(t, 240)
			s.stop(t)
			lost, delivered := s.load.counts(), s.subscriber.Count()
			tt.restore(t, old, s.data)

			s.sluice.Up()
			s.through(t, 240)
			if noticed := strings.Contains(s.sluice.Tail(1<<20), "older copy of itself"); noticed != tt.noticed {
				t.Errorf("noticed: %v, want %v", noticed, tt.noticed)
			}
			real.Eventually(t, limit, "the ledger to be called whole", func() (bool, string) {
				status, err := s.sluice.Status()
				return err == nil && status.Ledger.Restored == "", status.Ledger.Restored
			})
			messages := s.subscriber.Messages()
			for _, f := range check(s.load.between(counts{}, lost), messages[:delivered]).faults() {
				t.Errorf("before: %s", f)
			}
			for _, f := range check(s.load.between(copied, s.load.counts()), messages[delivered:]).faults() {
				t.Errorf("after: %s", f)
			}
		})
	}
}

// through writes n records of each entry, and waits until all that was written has arrived, and what the bridge fetches has too.
func (s *site) through(t *testing.T, n int) {
	t.Helper()
	for e := range entries {
		s.load.write(t, e, n)
	}
	s.store.Sent(t, "to-gate", limit)
	s.sluice.Reconciled(t, limit)
	s.sluice.Drained(t, limit)
	s.last(t)
}

func (s *site) stop(t *testing.T) {
	t.Helper()
	if err := s.sluice.Stop(); err != nil {
		t.Fatalf("SIGTERM: %v, want exit 0:\n%s", err, s.sluice.Tail(2000))
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

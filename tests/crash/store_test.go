package crash

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Rules 1 to 7: kill -9 of the edge store under load. Whatever the store has afterwards arrives, once: it may have lost its replication log, and the end of
// what it was being given, which its writer writes again. It need not arrive in order: a log that lost its end and still has a backlog before it goes on
// behind the hole on the same connection, and only the next pass finds that.
func TestStoreKilled(t *testing.T) {
	t.Parallel()
	kills := length(t, "CRASH_RESTARTS", 3)
	s, chance := newSite(t, options{qos: 2}), random(t)
	s.sluice.Up()
	s.load.begin(t, kills*perFault)
	for range kills {
		s.load.await(t, 1+chance.IntN(perFault))
		s.store.Kill()
		s.store.Up()
	}
	r := s.finish(t)
	gone := s.forgotten(t, &r)
	figures(t, "kill -9 of the store, QoS 2", kills, r, fmt.Sprintf("%d more were lost in the store", gone))
	for _, f := range r.faults(disorders) {
		t.Error(f)
	}
	s.alive(t)
}

// forgotten takes out of what is lost what the store itself has not kept, and returns how much that was: it is not there, or will be called
// still being written for ever.
func (s *site) forgotten(t *testing.T, r *report) (n int) {
	t.Helper()
	missing := r.missing
	r.lost, r.missing = finding{}, nil
	for _, id := range missing {
		entry, at, _ := strings.Cut(strings.TrimPrefix(id, "gate/"), "@")
		switch status := s.store.Status(t, http.MethodHead, "/b/vib/"+entry+"?ts="+at); status {
		case http.StatusNotFound, http.StatusTooEarly:
			n++
		default:
			r.lost.add(fmt.Sprintf("%s, which the store answers with %d", id, status))
		}
	}
	return n
}

// The store stopped in order, under load.
func TestStoreRestarted(t *testing.T) {
	t.Parallel()
	restarts := length(t, "CRASH_RESTARTS", 2)
	s, chance := newSite(t, options{qos: 2}), random(t)
	s.sluice.Up()
	s.load.begin(t, restarts*perFault)
	for range restarts {
		s.load.await(t, 1+chance.IntN(perFault))
		if err := s.store.Stop(); err != nil {
			t.Logf("the store ended with %v", err)
		}
		s.store.Up()
	}
	r := s.finish(t)
	figures(t, "restart of the store, QoS 2", restarts, r, "")
	for _, f := range r.faults() {
		t.Error(f)
	}
	s.alive(t)
}

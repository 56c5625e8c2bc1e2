package crash

import "testing"

// figures writes one line of the table that `make crash` is run for.
func figures(t *testing.T, what string, faults int, r report, more string) {
	t.Helper()
	t.Logf("| %s | %d | %d records | %d lost | %d doubled | %d doubled, marked | %d marked | %d misordered | %d called late | %s |", what, faults,
		r.records, r.lost.n, r.doubled.n, r.repeated.n, r.marked, r.misordered.n, r.late.n, more)
}

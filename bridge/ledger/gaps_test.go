package ledger

import (
	"context"
	"fmt"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// TestLosses: the list is bounded (rule 19), and the sums that memory has of it are those of its rows, after a start too.
func TestLosses(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	start(t, dir, testConfig()).stop()
	damage(t, dir, "WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n+1 FROM c WHERE n<997)"+
		" INSERT INTO loss(stream, first, last, records, reason, noted) SELECT 'b/e', 10*n, 10*n+1, n%3-1, 'evicted', 0 FROM c")
	l := start(t, dir, testConfig())
	for n := range int64(12) {
		loss := bridge.Loss{Stream: "b/e", From: 10*n - 7, To: 10*n - 6, Records: n%3 - 1, Reason: fmt.Sprintf("reason %d", n)}
		if err := l.Lose(ctx, loss); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Lose(ctx, bridge.Loss{Stream: "b/f", Records: 9, Reason: "evicted"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		list := l.allLosses()
		var want lossSum
		for _, x := range list {
			want.count(x, 1)
		}
		st := l.Stats()
		if got := (lossSum{st.Losses, st.LostRecords, st.LostUnknown}); got != want || want.rows != 1001 || want.unknown < 334 {
			t.Errorf("sums %+v of a list with %+v, want those of 1001 rows", got, want)
		}
		newest, err := l.Log.Losses(ctx, 3)
		if err != nil || len(newest) != 3 || newest[0] != list[1000] || newest[2] != list[998] {
			t.Errorf("got %+v and %v, want three from %+v back", newest, err, list[1000])
		}
		l.stop()
		l = start(t, dir, testConfig())
	}
}

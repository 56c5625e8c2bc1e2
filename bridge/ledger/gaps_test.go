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
	l := start(t, dir, testConfig())
	for n := range int64(1010) {
		loss := bridge.Loss{Stream: "b/e", From: 10 * n, To: 10*n + 1, Records: n%3 - 1, Reason: "evicted"}
		if n >= 1000 { // the list is full
			loss.From, loss.To = 10*(n-900)+3, 10*(n-900)+4
			loss.Reason = fmt.Sprintf("reason %d", n)
		}
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
		page, err := l.Log.Losses(ctx, list[499].ID, 3)
		if err != nil || len(page) != 3 || page[0] != list[500] {
			t.Errorf("got page %+v and %v, want three from %+v", page, err, list[500])
		}
		l.stop()
		l = start(t, dir, testConfig())
	}
}

package bridge_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// TestLossInto: losses of one reason that leave no time between them are one, and the list is bounded (rule 19).
func TestLossInto(t *testing.T) {
	list := func(ls ...bridge.Loss) []bridge.Loss {
		for i := range ls {
			ls[i].ID = int64(i + 1)
		}
		return ls
	}
	row := func(from, to, records int64, reason string) bridge.Loss {
		return bridge.Loss{Stream: "b/e", From: from, To: to, Records: records, Reason: reason, Noted: time.UnixMicro(from)}
	}
	var full []bridge.Loss
	for i := range int64(1000) {
		full = append(full, row(10*i, 10*i+1, 1, "r"))
	}
	full[7].Reason = "other"
	for _, c := range []struct {
		name string
		list []bridge.Loss
		loss bridge.Loss
		want string
	}{
		{"first", nil, row(1, 2, 3, "r"), "0: 1-2 3 r, replaces []"},
		{"apart", list(row(1, 2, 3, "r")), row(4, 5, 6, "r"), "0: 4-5 6 r, replaces []"},
		{"behind it", list(row(1, 2, 3, "r")), row(3, 5, 6, "r"), "1: 1-5 9 r, replaces [1]"},
		{"before it", list(row(4, 5, 3, "r")), row(2, 3, 6, "r"), "1: 2-5 9 r, replaces [1]"},
		{"inside", list(row(1, 9, 3, "r")), row(4, 5, 6, "r"), "1: 1-9 9 r, replaces [1]"},
		{"around", list(row(4, 5, 3, "r")), row(1, 9, 6, "r"), "1: 1-9 9 r, replaces [1]"},
		{"between two", list(row(6, 7, 3, "r"), row(1, 2, 1, "r")), row(3, 5, 6, "r"), "1: 1-7 10 r, replaces [1 2]"},
		{"other reason", list(row(1, 9, 3, "s")), row(4, 5, 6, "r"), "0: 4-5 6 r, replaces []"},
		{"unknown", list(row(1, 2, 3, "r")), row(3, 3, -1, "r"), "1: 1-3 -1 r, replaces [1]"},
		{"with an unknown one", list(row(1, 2, -1, "r")), row(3, 3, 7, "r"), "1: 1-3 -1 r, replaces [1]"},
		{"all of time", list(row(math.MinInt64, math.MinInt64, 1, "r"), row(math.MaxInt64, math.MaxInt64, 1, "r")), row(0, 0, 1, "r"), "0: 0-0 1 r, replaces []"},
		{"full, near one of its reason", list(full...), row(54, 54, 1, "r"), "6: 50-54 2 r, replaces [6]"},
		{"full, near one of another", list(full...), row(68, 68, 1, "r"),
			"8: 68-71 2 more losses than a stream may have, taken together; the last: r, replaces [8]"},
		{"full, it adjoins", list(full...), row(62, 64, 1, "r"), "7: 60-64 2 r, replaces [7]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, replaces := c.loss.Into(c.list)
			got := fmt.Sprintf("%d: %d-%d %d %s, replaces %v", l.ID, l.From, l.To, l.Records, l.Reason, replaces)
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

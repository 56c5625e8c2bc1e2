package bridge_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// slow takes its time for each record, and gives up with the batch's context, as a host does.
type slow struct {
	*counting
	each time.Duration
}

func (s *slow) Apply(ctx context.Context, stream string, rs []bridge.Record, out *bridge.Results) error {
	for range rs {
		select {
		case <-time.After(s.each):
		case <-ctx.Done():
			return fmt.Errorf("in the middle: %w", bridge.ErrRetry)
		}
	}
	return s.counting.Apply(ctx, stream, rs, out)
}

// TestSlowModules: a batch that takes longer than its sender waits gets done all the same, each record once and in order (rules 2 and 4).
func TestSlowModules(t *testing.T) {
	const patience = 5 * time.Second
	for _, tt := range []struct {
		name  string
		each  time.Duration
		tries int // at most
	}{
		{"fast", time.Millisecond, 1},
		{"slow", 100 * time.Millisecond, 4},
		{"as slow as may be", 4 * time.Second, 95},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, l, c := newIntake(t)
				in.Chain = &slow{c, tt.each}
				var want []string
				b := batchOf()
				for i := range int64(85) {
					b.Records = append(b.Records, bridge.Record{Time: i})
					want = append(want, fmt.Sprint(i+1))
				}
				tries := 0
				for err := error(bridge.ErrRetry); err != nil; tries++ {
					if tries == tt.tries {
						t.Fatalf("not done after %d tries: %v", tries, err)
					}
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					err = in.Deliver(ctx, b)
					cancel()
				}
				if got := numbers(l); got != strings.Join(want, " ") {
					t.Errorf("got %s, want each record counted once", got)
				}
				t.Logf("%d tries, %d Appends", tries, l.Appends())
				in.Chain = &slow{c, 0}
				for i := range int64(10) {
					b := batchOf()
					for n := range int64(85) {
						b.Records = append(b.Records, bridge.Record{Time: 1000*(i+1) + n})
					}
					if err := in.Deliver(t.Context(), b); err != nil {
						t.Fatal(err)
					}
				}
				before := l.Appends()
				if err := in.Deliver(t.Context(), batchOf(20_000, 20_001, 20_002)); err != nil || l.Appends() != before+1 {
					t.Errorf("%d Appends, %v, want one: the modules are fast again", l.Appends()-before, err)
				}
			})
		})
	}
}

package reduct

import (
	"errors"
	"slices"
	"testing"
)

// Rule 7 at the end of an entry that is being written: the list counts its records, a query passes over them, and may go on behind them. So a pass waits
// for the newest; where that is never written, the next one does without.
func TestPassWhileWriting(t *testing.T) {
	for _, tt := range []struct {
		name  string
		looks int
		first error
		want  int64
	}{
		{"soon written", 2, nil, 10},
		{"never written", 1 << 30, errWriting, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			r.edge.fill("e", 1, 10)
			r.edge.writing, r.edge.looks = 6, tt.looks
			if err := r.Pass(t.Context()); !errors.Is(err, tt.first) {
				t.Errorf("first pass: got %v, want %v", err, tt.first)
			}
			if got, marked := r.marks.Reconciled("dst/e"); tt.first != nil && marked {
				t.Errorf("the first pass put a mark at %d", got)
			}
			r.pass(t)
			if got, want := r.intake.times("dst/e"), upTo(1, tt.want); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

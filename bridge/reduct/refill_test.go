package reduct

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// Rule 6: what stays of a gap is noted before the gap is closed, or a crash between the two would leave it named nowhere.
func TestGapRest(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.MaxRecord = 10 })
	r.edge.fill("e", 1, 20)
	r.edge.mu.Lock()
	r.edge.entries["e"][7].payload = "more than ten bytes"
	r.edge.mu.Unlock()
	r.edge.evict("e", 7)
	r.marks.reconciled = map[string]int64{"dst/e": 1e15}
	if err := r.gaps.NoteGap(t.Context(), bridge.Gap{Stream: "dst/e", From: 5, To: 8, Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	r.gaps.fail = full
	if err := r.Pass(t.Context()); !errors.Is(err, full) {
		t.Errorf("pass: got %v, want %v", err, full)
	}
	wantOpen(t, r, "5..8")
	wantLost(t, r, "dst/e")
	r.gaps.fail = nil
	r.pass(t)
	wantOpen(t, r, "7..8")
	wantLost(t, r, "dst/e", "5..6 -1")
}

// wantOpen checks the ranges of the open gaps.
func wantOpen(t *testing.T, r *rig, want ...string) {
	t.Helper()
	open, _ := r.gaps.OpenGaps()
	var got []string
	for _, g := range open {
		got = append(got, fmt.Sprintf("%d..%d", g.From, g.To))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("open gaps: got %v, want %v", got, want)
	}
}

// Gaps are filled in the order of their records, whichever was noted first: an older one that is filled later is late.
func TestGapsByTime(t *testing.T) {
	r := newRig(t, nil)
	r.edge.fill("e", 1, 20)
	r.marks.reconciled = map[string]int64{"dst/e": 1e15} // else what is before a gap comes with it
	for _, from := range []int64{15, 9, 3} {
		if err := r.gaps.NoteGap(t.Context(), bridge.Gap{Stream: "dst/e", From: from, To: from + 1, Reason: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	r.pass(t)
	wantTimes(t, r.intake, "dst/e", []int64{3, 4, 9, 10, 15, 16})
	wantOpen(t, r)
}

// Rule 19: of gaps that cannot be made whole those that are open are remembered, not every one that ever was.
func TestHopelessForgotten(t *testing.T) {
	r := newRig(t, nil)
	r.edge.fill("e", 1, 20)
	r.marks.reconciled = map[string]int64{"dst/e": 1e15} // nothing else is asked for
	for n := range int64(30) {                           // a sender that is wrong again and again, where each gap takes the place of the one before
		g := bridge.Gap{Stream: "dst/e", From: 100, To: 100 + n, Reason: "test"}
		if err := r.gaps.NoteGap(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		if err := r.gaps.CloseGap(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		r.pass(t)
	}
	wantOpen(t, r, "100..129")
	before := r.edge.requests("/q")
	r.pass(t)
	if got := r.edge.requests("/q") - before; got > 1 {
		t.Errorf("queries of a pass without work: got %d, want the one for attachments at most: the gap was tried", got)
	}
	if got := len(r.course("dst/e").hopeless); got != 1 {
		t.Errorf("gaps that are remembered: got %d, want the open one", got)
	}
}

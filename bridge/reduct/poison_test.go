package reduct

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// picky is an intake that refuses records from a time on for good, as the ledger does beyond the range of its keys.
type picky struct {
	*intake
	from int64
}

func (p picky) Deliver(ctx context.Context, b *bridge.Batch) error {
	for _, r := range b.Records {
		if r.Time >= p.from {
			return fmt.Errorf("time %d: %w", r.Time, bridge.ErrRejected)
		}
	}
	return p.intake.Deliver(ctx, b)
}

// wantAside checks that the open gaps are of single records that are left in the edge store.
func wantAside(t *testing.T, g *gaps, times ...int64) {
	t.Helper()
	open, _ := g.OpenGaps()
	var got []int64
	for _, o := range open {
		if got = append(got, o.From); o.To != o.From {
			t.Errorf("open gap: got %+v, want one record", o)
		}
	}
	if !slices.Equal(got, times) {
		t.Errorf("open gaps: got %v %+v, want %v", got, open, times)
	}
}

// A record that is refused for good stays in the edge store and is named (rule 6); those beside it are taken in, from a pass, from the sender
// and from a gap, and no batch after it is refused for it.
func TestRejectedRecord(t *testing.T) {
	for _, bad := range []int64{1 << 61, math.MaxInt64} {
		t.Run(fmt.Sprint(bad), func(t *testing.T) {
			s, r := primed(t, nil)
			p := picky{r.intake, bad}
			s.target.part.Intake, r.Reconciler.mind.Intake = p, p
			r.edge.fill("e", 11, 40)
			c := s.dial()
			want(t, c.send(r.edge.post("e", upTo(11, 15)...)), 200)
			r.edge.write("e", stored{bad, "a", nil, "x"}) // the connection is settled: no walk to the end of the store names it
			asked := r.edge.requests("")
			want(t, c.send(r.edge.post("e", append(upTo(16, 20), bad)...)), 200)
			wantAside(t, r.gaps, bad)
			if got := r.edge.requests("") - asked; got != 0 {
				t.Errorf("requests to the edge store for the batch: got %d, want 0: the target itself has to name the record", got)
			}
			want(t, s.send(r.edge.post("e", bad)), 422)
			for from := int64(21); from < 31; from += 5 {
				want(t, s.send(r.edge.post("e", upTo(from, from+4)...)), 200)
			}
			r.pass(t)
			r.pass(t)
			wantTimes(t, r.intake, "dst/e", upTo(1, 40))
			if got := r.metrics.ReconcileMissing.At("edge").Load(); got != 40 {
				t.Errorf("reconcile_missing: got %d, want 40: 1..10 and, held before the first batch, all that is behind it", got)
			}
		})
	}
}

// What cannot be delivered for another reason is kept by its sender, whatever was refused before it.
func TestRejectedThenFull(t *testing.T) {
	s := serve(t, testConfig(), nil)
	s.intake.before = slices.Concat([]error{bridge.ErrRejected, bridge.ErrRejected}, slices.Repeat([]error{bridge.ErrFull}, 100))
	batch := batchOf("ab", "x-reduct-time-1: 1,t", "x-reduct-time-2: 1,t")
	want(t, s.send(batch), 503)
	s.intake.before = nil
	want(t, s.send(batch), 200)
	wantTimes(t, s.intake, "b/e", []int64{1, 2})
	wantAside(t, s.gaps)
}

// A record whose labels cannot be read keeps none of the others out.
func TestGarbledRecord(t *testing.T) {
	s, r := primed(t, nil)
	r.edge.fill("e", 11, 15)
	r.edge.fill("e", 17, 30)
	r.edge.write("e", stored{16, "a", map[string]string{`we"ird`: "1"}, "x"})
	want(t, s.send(r.edge.post("e", upTo(11, 14)...)), 200)
	want(t, s.send(r.edge.post("e", 16)), 422)
	want(t, s.send(r.edge.post("e", upTo(21, 30)...)), 200)
	wantTimes(t, r.intake, "dst/e", slices.Concat(upTo(1, 15), upTo(17, 30)))
	wantAside(t, r.gaps, 16)
	r.pass(t)
	wantAside(t, r.gaps, 16)
}

// A reconcile that fails for what the edge store holds is no reason to refuse the batch that waits for it.
func TestHoldRejected(t *testing.T) {
	h := &holder{errs: []error{bridge.ErrRejected}}
	s := serve(t, testConfig(), h)
	want(t, s.send(capture(t, "plain.http")), 503)
	want(t, s.send(capture(t, "plain.http")), 200)
	wantAside(t, s.gaps)
}

// A record over max_record that nobody has seen is named before the mark moves past it; one that is named already is not named again.
func TestOversizedUnseen(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxRecord, c.MaxBody = 100, 200 })
	large := strings.Repeat("x", 101)
	r.edge.write("e", stored{1, "a", nil, "x"}, stored{2, "a", nil, large}, stored{3, "a", nil, "y"}, stored{5, "a", nil, large})
	if err := r.gaps.NoteGap(t.Context(), bridge.Gap{Stream: "dst/e", From: 4, To: 6, Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.pass(t)
	}
	wantTimes(t, r.intake, "dst/e", []int64{1, 3})
	if mark, _ := r.marks.Reconciled("dst/e"); mark != 5 {
		t.Errorf("mark: got %d, want 5", mark)
	}
	open, _ := r.gaps.OpenGaps()
	if len(open) != 2 || open[1].From != 2 || open[1].To != 2 || !strings.Contains(open[1].Reason, "101 bytes over max_record (100B)") {
		t.Errorf("open gaps: got %+v, want the one of 4..6 and one of 2", open)
	}
}

// What was left in the edge store is tried once by each run: another one may have another max_record.
func TestOversizedAfterRestart(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxRecord, c.MaxBody = 100, 200 })
	r.edge.write("e", stored{1, "a", nil, strings.Repeat("x", 101)}, stored{2, "a", nil, "y"})
	r.pass(t)
	wantAside(t, r.gaps, 1)
	before := r.edge.requests("HEAD")
	r.pass(t)
	if got := r.edge.requests("HEAD") - before; got != 1 {
		t.Errorf("comparisons of the next pass: got %d, want its own and none for the gap", got)
	}
	cfg := Default()
	cfg.Source = r.cfg
	next := NewReconciler(cfg, r.mind)
	t.Cleanup(next.source.close)
	if err := next.Pass(t.Context()); err != nil {
		t.Fatalf("pass: got %v, want nil", err)
	}
	wantTimes(t, r.intake, "dst/e", []int64{2, 1})
	wantAside(t, r.gaps)
}

// Rule 19: a sender that repeats one and the same malformed request costs one gap; one that sends ever others costs so many.
func TestGapsBounded(t *testing.T) {
	h := &holder{}
	s := serve(t, testConfig(), h)
	bad := func(at int) []byte {
		return rawRequest("POST", "/api/v1/b/b/e/batch", "x", fmt.Sprintf("x-reduct-time-%d: 1,a,nonsense", at))
	}
	for range 5 {
		want(t, s.send(bad(16)), 422)
	}
	if len(s.gaps.all) != 1 || len(h.noted) != 5 {
		t.Errorf("five times the same: got %d gaps and %d holds, want 1 and 5", len(s.gaps.all), len(h.noted))
	}
	list, ctx := new(gaps), t.Context()
	for i := range int64(maxGaps + 100) {
		for _, g := range []bridge.Gap{
			{Stream: "b/e", From: 10 * i, To: 10*i + 1, Reason: fmt.Sprintf("cause %d", i)},
			{Stream: "b/e", From: 10 * i, To: 10*i + 1, Reason: fmt.Sprintf("%s%d", updateReason, i)},
		} {
			if err := noteGap(ctx, list, g); err != nil {
				t.Fatal(err)
			}
		}
	}
	open, _ := list.OpenGaps()
	if len(open) != 2*maxGaps {
		t.Errorf("open gaps: got %d, want %d of each kind", len(open), maxGaps)
	}
	for _, k := range []string{"", updateReason} {
		for i := range int64(maxGaps + 100) {
			if !slices.ContainsFunc(open, func(g bridge.Gap) bool { return kind(g) == k && g.From <= 10*i && 10*i+1 <= g.To }) {
				t.Fatalf("gap %d of kind %q is not covered any more", i, k)
			}
		}
	}
}

// The labels of a refused update cannot be compared: its gap is not closed because the records are there.
func TestGapOfUpdates(t *testing.T) {
	s, r := primed(t, nil)
	want(t, s.send(rawRequest("PATCH", "/api/v1/b/dst/e/batch", "", "x-reduct-time-5: 0,,n")), 422)
	r.edge.fill("e", 11, 20)
	want(t, s.send(r.edge.post("e", upTo(11, 20)...)), 200)
	r.pass(t)
	open, _ := r.gaps.OpenGaps()
	if len(open) != 1 || open[0].From != 5 || open[0].To != 5 || !strings.HasPrefix(open[0].Reason, updateReason) {
		t.Errorf("open gaps: got %+v, want the one of the update", open)
	}
}

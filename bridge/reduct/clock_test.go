package reduct

import (
	"testing"
	"time"
)

// A record from the future, written by a clock that was wrong for a moment, is taken in like any other. It takes neither the hold (rule 7)
// nor the passes away from what is written after it.
func TestClockAhead(t *testing.T) {
	now := time.Now().UnixMicro()
	future := now + (365 * 24 * time.Hour).Microseconds()
	for _, c := range []struct {
		name   string
		settle bool // a new connection comes after the loss; else only the next passes
	}{
		{"hold", true},
		{"pass", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, r := primed(t, nil)
			r.edge.fill("e", now-100, now-91)
			r.edge.fill("e", future, future)
			want(t, s.send(r.edge.post("e", append(upTo(now-100, now-91), future)...)), 200)
			r.pass(t)
			r.pass(t)
			if mark, _ := r.marks.Reconciled("dst/e"); mark != now-91 {
				t.Errorf("mark: got %d, want %d, the last record that is not in the future", mark, now-91)
			}
			r.edge.fill("e", now-90, now-61) // of which 20 are forgotten
			taken := append(append(upTo(1, 10), upTo(now-100, now-91)...), future)
			if c.settle {
				want(t, s.send(r.edge.post("e", upTo(now-70, now-61)...)), 200)
				wantTimes(t, r.intake, "dst/e", append(taken, upTo(now-90, now-61)...))
				return
			}
			mustDeliver(t, r.intake, "dst/e", upTo(now-70, now-61)...)
			r.pass(t)
			wantTimes(t, r.intake, "dst/e", append(append(taken, upTo(now-70, now-61)...), upTo(now-90, now-71)...))
		})
	}
}

// An entry with nothing but a record from the future has no mark yet, and later no gap before what comes first.
func TestClockAheadAlone(t *testing.T) {
	r := newRig(t, nil)
	now := time.Now().UnixMicro()
	r.edge.fill("e", now+time.Hour.Microseconds(), now+time.Hour.Microseconds())
	r.pass(t)
	if mark, marked := r.marks.Reconciled("dst/e"); marked {
		t.Errorf("mark: got %d, want none", mark)
	}
	r.edge.fill("e", now-5, now-1)
	r.pass(t)
	if lost := r.gaps.lost; len(lost) != 0 {
		t.Errorf("lost: got %+v, want none", lost)
	}
	if mark, _ := r.marks.Reconciled("dst/e"); mark != now-1 {
		t.Errorf("mark: got %d, want %d", mark, now-1)
	}
}

// The quota passes over all but a record from the future: what may be missing ends now, and so does the mark.
func TestClockAheadOvertaken(t *testing.T) {
	r := newRig(t, nil)
	r.edge.fill("e", 1, 10)
	r.pass(t)
	before := time.Now().UnixMicro()
	future := before + time.Hour.Microseconds()
	r.edge.fill("e", future, future)
	r.edge.evict("e", 11)
	r.pass(t)
	if lost := r.gaps.lost; len(lost) != 1 || lost[0].From != 11 || lost[0].To < before-1 || lost[0].To > time.Now().UnixMicro() {
		t.Errorf("lost: got %+v, want one range from 11 to now", lost)
	}
	if mark, _ := r.marks.Reconciled("dst/e"); mark > time.Now().UnixMicro() {
		t.Errorf("mark: got %d, want none in the future", mark)
	}
}

package mqtt

import (
	"errors"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
)

func TestRowsForget(t *testing.T) {
	l := bridgetest.NewLedger(t, "far")
	appendRows(t, l, 0, 4, 2, "b/e")
	o := l.Outbox("far")
	stored, err := o.Next(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	r := newRows(o)
	for i := range stored {
		stored[i].Bytes = maxLoaded/2 + 1 // two rows are one too many
		r.add(&stored[i], true)
	}
	for n := uint64(1); n <= 4; n++ {
		x, m, err := r.find(bridge.Ref{Row: n, Index: 1})
		if err != nil || x.stream != "b/e" || m.Time != int64(2*n) {
			t.Fatalf("row %d: %+v, %v", n, m, err)
		}
		if r.bytes > maxLoaded/2+1 {
			t.Errorf("%d B are kept, want at most one row", r.bytes)
		}
	}
	for n := uint64(1); n <= 4; n++ {
		r.ended(bridge.Ref{Row: n})
		if _, _, err := r.find(bridge.Ref{Row: n}); err != nil { // read again
			t.Errorf("row %d with a message left: %v", n, err)
		}
		r.ended(bridge.Ref{Row: n, Index: 1})
		if _, _, err := r.find(bridge.Ref{Row: n}); !errors.Is(err, bridge.ErrCorrupt) {
			t.Errorf("row %d, all ended: %v, want it unknown", n, err)
		}
	}
	if len(r.byNo) > 0 || r.bytes != 0 {
		t.Errorf("%d rows and %d B are left", len(r.byNo), r.bytes)
	}
}

// TestRowsRestored: a row of an open claim is known before it comes, and may be done by then.
func TestRowsRestored(t *testing.T) {
	l := bridgetest.NewLedger(t, "far")
	appendRows(t, l, 0, 3, 1, "b/e")
	o := l.Outbox("far")
	r := newRows(o)
	open := []bridge.OpenClaim{{Claim: bridge.Claim{Ref: bridge.Ref{Row: 2}}}, {Claim: bridge.Claim{Ref: bridge.Ref{Row: 3}}}}
	if err := r.restore(t.Context(), open); err != nil {
		t.Fatal(err)
	}
	if len(r.byNo) != 2 {
		t.Errorf("%d rows, want those of the two claims", len(r.byNo))
	}
	r.ended(bridge.Ref{Row: 2})
	stored, err := o.Next(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, true} {
		if x := r.add(&stored[i], true); (x != nil) != want {
			t.Errorf("row %d: to be offered %v, want %v", i+1, x != nil, want)
		}
	}
	if _, ok := r.byNo[2]; ok {
		t.Error("row 2 is done and still there")
	}
}

// TestRowsPassed: the outbox leaves out a row of an open claim that is settled before the pump comes to it, and it is forgotten all the same; also
// where the pump hears of the settling only after it has passed.
func TestRowsPassed(t *testing.T) {
	l := bridgetest.NewLedger(t, "far")
	appendRows(t, l, 0, 4, 1, "b/e")
	o := l.Outbox("far")
	r := newRows(o)
	var open []bridge.OpenClaim
	for n := uint64(1); n <= 3; n++ {
		open = append(open, bridge.OpenClaim{Claim: bridge.Claim{Ref: bridge.Ref{Row: n}}})
	}
	if err := r.restore(t.Context(), open); err != nil {
		t.Fatal(err)
	}
	stored, err := o.Next(t.Context(), 0, 10)
	if err != nil || len(stored) != 4 {
		t.Fatalf("%d rows, %v", len(stored), err)
	}
	r.ended(bridge.Ref{Row: 1})
	if r.add(&stored[3], true) == nil {
		t.Error("row 4 is not to be offered")
	}
	if r.byNo[1] != nil {
		t.Error("row 1, settled and passed, is still there")
	}
	for n := uint64(2); n <= 3; n++ {
		if _, _, err := r.find(bridge.Ref{Row: n}); err != nil {
			t.Errorf("row %d, not settled yet: %v", n, err)
		}
		r.ended(bridge.Ref{Row: n})
	}
	if len(r.byNo) != 1 || len(r.early) != 0 {
		t.Errorf("%d rows and %d early ones are left, want row 4", len(r.byNo), len(r.early))
	}
}

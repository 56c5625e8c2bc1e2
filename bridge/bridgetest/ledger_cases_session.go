package bridgetest

import (
	"context"

	"github.com/sluicebridge/sluice/bridge"
)

func caseReturned(r *ledgerRun) {
	r.restore("a")
	r.append("b/e", 1, 2)
	r.commit("a", bridge.Step{Claims: claims(0, 1, 0, 1)})
	r.commit("a", bridge.Step{Acks: acks(bridge.AckReturned, 0)})
	r.reopen()
	r.want("settled", r.rows("a")[0].Settled.Has(0), false)
	r.want("claims", r.restore("a").Claims, []bridge.OpenClaim{open(claims(1, 1, 1)[0], false, false)})
	r.want("marked", len(r.restore("a").Marked), 0)
	r.commit("a", bridge.Step{Acks: acks(bridge.AckReturned, 1), Claims: claims(2, 1, 0, 1)})
	r.want("claims again", len(r.restore("a").Claims), 2)
}

func caseLost(r *ledgerRun) {
	r.restore("a")
	r.append("b/e", 1, 2, 3)
	cs := claims(0, 1, 0, 1)
	r.commit("a", bridge.Step{Claims: append(cs, bridge.Claim{Ref: bridge.Ref{Row: 1, Index: 2}, Conn: 1})})
	r.commit("a", bridge.Step{Acks: acks(bridge.AckReceived, 0), Notes: []bridge.Note{{Kind: bridge.NoteTrying}}})
	r.commit("a", bridge.Step{Notes: []bridge.Note{{Kind: bridge.NoteLost}}})
	for range 2 {
		got := r.restore("a")
		other := bridge.Claim{Ref: bridge.Ref{Row: 1, Index: 2}, Conn: 1}
		r.want("claims", got.Claims, []bridge.OpenClaim{open(cs[0], false, true), open(cs[1], false, true), open(other, false, false)})
		r.want("trying", len(got.Trying), 0)
		r.reopen()
	}
}

func caseTrying(r *ledgerRun) {
	r.restore("a")
	r.append("b/e", 1)
	r.commit("a", bridge.Step{Claims: claims(0, 1, 0)})
	r.commit("a", bridge.Step{Notes: []bridge.Note{{Kind: bridge.NoteTrying}}})
	r.reopen()
	r.want("trying", r.restore("a").Trying, map[uint16]bool{0: true})
	r.commit("a", bridge.Step{Notes: []bridge.Note{{Kind: bridge.NoteKept}}})
	r.reopen()
	got := r.restore("a")
	r.want("trying after the answer", len(got.Trying), 0)
	r.want("claims", got.Claims, []bridge.OpenClaim{open(claims(0, 1, 0)[0], false, false)})
}

func caseFar(r *ledgerRun) {
	ctx := context.Background()
	got, err := r.Outbox("a").Restore(ctx, "broker one")
	r.ok(err)
	r.want("far at first", got.Far, "")
	r.append("b/e", 1, 2)
	idle := bridge.Claim{Ref: bridge.Ref{Row: 1, Index: 1}, Conn: 1}
	r.commit("a", bridge.Step{Claims: append(claims(0, 1, 0), idle)})
	r.commit("a", bridge.Step{Acks: append(acks(bridge.AckReceived, 0), bridge.Ack{Conn: 1, Kind: bridge.AckDelivered})})
	got, err = r.Outbox("a").Restore(ctx, "broker one")
	r.ok(err)
	r.want("same far end", got.Claims, []bridge.OpenClaim{open(claims(0, 1, 0)[0], true, false)})
	r.want("trying at the same far end", len(got.Trying), 0)
	got, err = r.Outbox("a").Restore(ctx, "broker two")
	r.ok(err)
	r.want("far", got.Far, "broker one")
	r.want("other far end", got.Claims, []bridge.OpenClaim{open(claims(0, 1, 0)[0], false, true)})
	r.want("trying, with nothing open too", got.Trying, map[uint16]bool{0: true, 1: true})
	r.reopen()
	got, err = r.Outbox("a").Restore(ctx, "broker two")
	r.ok(err)
	r.want("far, reopened", got.Far, "broker two")
	r.want("other far end, reopened", got.Claims, []bridge.OpenClaim{open(claims(0, 1, 0)[0], false, true)})
	r.want("trying, reopened", got.Trying, map[uint16]bool{0: true, 1: true})
	r.commit("a", bridge.Step{Notes: []bridge.Note{{Conn: 1, Kind: bridge.NoteLost}}})
	r.reopen()
	r.want("trying after an answer", r.restoreAs("a", "broker two").Trying, map[uint16]bool{0: true})
}

func caseMarked(r *ledgerRun) {
	r.restore("a")
	r.append("b/e", 1, 2)
	r.commit("a", bridge.Step{Claims: claims(0, 1, 0, 1)})
	r.commit("a", bridge.Step{Notes: []bridge.Note{{Kind: bridge.NoteLost}}})
	r.commit("a", bridge.Step{Acks: acks(bridge.AckReturned, 0, 1)})
	r.reopen()
	r.want("marked", r.restore("a").Marked, []bridge.Ref{{Row: 1}, {Row: 1, Index: 1}})
	r.commit("a", bridge.Step{Claims: claims(2, 1, 0)}) // a pump that forgot: the ledger does not
	r.reopen()
	got := r.restore("a")
	r.want("marked after the claim", got.Marked, []bridge.Ref{{Row: 1, Index: 1}})
	r.want("claim", got.Claims, []bridge.OpenClaim{open(claims(2, 1, 0)[0], false, true)})
}

func casePassed(r *ledgerRun) {
	r.restore("a")
	r.append("b/e", 1, 2)
	r.append("b/f", 1)
	r.append("b/e", 3)
	newest := claims(0, 3, 0)
	r.commit("a", bridge.Step{Claims: newest, Passed: []bridge.Overtaking{{Lane: 7, Row: 3}, {Lane: 1 << 63, Row: 1}}})
	late := claims(1, 1, 0)
	late[0].Late = true
	r.commit("a", bridge.Step{Acks: acks(bridge.AckDelivered, 0), Claims: late})
	for range 2 {
		got := r.restore("a")
		r.want("claims", got.Claims, []bridge.OpenClaim{{Claim: late[0]}})
		r.want("passed, with something older", got.Passed, []bridge.Overtaking{{Lane: 7, Row: 3}})
		r.reopen()
	}
	r.commit("a", bridge.Step{Claims: claims(2, 1, 1), Passed: []bridge.Overtaking{{Lane: 7, Row: 2}}})
	r.want("passed anew", r.restore("a").Passed, []bridge.Overtaking{{Lane: 7, Row: 2}})
	r.want("of another remote", len(r.restore("b").Passed), 0)
	r.commit("a", bridge.Step{Acks: acks(bridge.AckDelivered, 1, 2)})
	r.want("nothing older is left", len(r.restore("a").Passed), 0)
	r.reopen()
	r.want("nothing older is left, reopened", len(r.restore("a").Passed), 0)
}

func caseRemoved(r *ledgerRun) {
	r.append("b/e", 1)
	r.commit("a", bridge.Step{Claims: claims(0, 1, 0)})
	removed := bridge.Step{Notes: []bridge.Note{{Kind: bridge.NoteRemoved}}}
	r.is(r.Outbox("a").Commit(context.Background(), &removed), bridge.ErrRejected)
	r.commit("a", bridge.Step{Acks: acks(bridge.AckDelivered, 0)})
	r.commit("a", removed)
	r.reopen()
	r.want("next", r.restore("a").Next, map[uint16]uint64{})
}

func caseDense(r *ledgerRun) {
	ctx := context.Background()
	r.restore("a")
	r.append("b/e", 1, 2, 3)
	for _, s := range []bridge.Step{
		{Claims: claims(1, 1, 0)},
		{Claims: append(claims(0, 1, 0), claims(2, 1, 1)...)},
		{Claims: claims(0, 1, 3)},
		{Claims: claims(0, 2, 0)},
		{Claims: claims(0, 0, 0)},
	} {
		r.is(r.Outbox("a").Commit(ctx, &s), bridge.ErrRejected)
	}
	r.want("claims", len(r.restore("a").Claims), 0)
	r.commit("a", bridge.Step{Claims: claims(0, 1, 0)})
}

func caseClaimedTwice(r *ledgerRun) {
	ctx := context.Background()
	r.append("b/e", 1, 2)
	r.commit("a", bridge.Step{Claims: claims(0, 1, 0)})
	r.is(r.Outbox("a").Commit(ctx, &bridge.Step{Claims: claims(1, 1, 0)}), bridge.ErrRejected)
	r.is(r.Outbox("a").Commit(ctx, &bridge.Step{Claims: claims(1, 1, 1, 1)}), bridge.ErrRejected)
	r.reopen()
	r.is(r.Outbox("a").Commit(ctx, &bridge.Step{Claims: claims(1, 1, 0)}), bridge.ErrRejected)
	r.is(r.Outbox("a").Commit(ctx, &bridge.Step{Acks: acks(bridge.AckDelivered, 0), Claims: claims(1, 1, 0)}), bridge.ErrRejected)
	r.commit("a", bridge.Step{Acks: acks(bridge.AckDelivered, 0)})
	r.is(r.Outbox("a").Commit(ctx, &bridge.Step{Claims: claims(1, 1, 0)}), bridge.ErrRejected)
}

func caseNext(r *ledgerRun) {
	type answer struct {
		rows []bridge.Row
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		rows, err := r.Outbox("a").Next(r.Context(), 0, 10)
		got <- answer{rows, err}
	}()
	r.append("b/e", 1)
	a := <-got
	r.ok(a.err)
	r.want("rows", len(a.rows), 1)
	r.append("b/e", 2)
	r.append("b/f", 1)
	rows, err := r.Outbox("a").Next(r.Context(), a.rows[0].Number, 1)
	r.ok(err)
	r.want("number", rows[0].Number, a.rows[0].Number+1)
	r.want("at most", len(rows), 1)
}

func caseNextEnds(r *ledgerRun) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := r.Outbox("a").Next(ctx, 0, 10)
	r.is(err, context.Canceled)
}

func caseGaps(r *ledgerRun) {
	ctx := context.Background()
	r.ok(r.Gaps.NoteGap(ctx, bridge.Gap{Stream: "b/e", From: 10, To: 20, Reason: "body broke"}))
	r.ok(r.Gaps.NoteGap(ctx, bridge.Gap{Stream: "b/f", From: 1, To: 2, Reason: "header"}))
	r.reopen()
	gaps, err := r.Gaps.OpenGaps()
	r.ok(err)
	r.want("gaps", len(gaps), 2)
	g := gaps[0]
	r.want("gap", []any{g.Stream, g.From, g.To, g.Reason, g.Noted.IsZero()}, []any{"b/e", int64(10), int64(20), "body broke", false})
	r.ok(r.Gaps.CloseGap(ctx, g.ID))
	r.ok(r.Gaps.CloseGap(ctx, g.ID))
	r.reopen()
	gaps, err = r.Gaps.OpenGaps()
	r.ok(err)
	r.want("gaps left", len(gaps), 1)
	r.want("stream left", gaps[0].Stream, "b/f")
}

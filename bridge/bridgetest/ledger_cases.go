package bridgetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

func caseFresh(r *ledgerRun) {
	r.want("before", r.fresh("b/e", records(1, 2, 3)), []bool{true, true, true})
	r.append("b/e", 1, 2)
	r.want("after", r.fresh("b/e", records(1, 2, 3)), []bool{false, false, true})
	r.want("another stream", r.fresh("b/f", records(1, 2, 3)), []bool{true, true, true})
	r.reopen()
	r.want("reopened", r.fresh("b/e", records(1, 2, 3)), []bool{false, false, true})
}

func caseLate(r *ledgerRun) {
	r.append("b/e", 100, 200, 300)
	r.want("late", r.fresh("b/e", records(50, 100, 150, 300)), []bool{true, false, true, false})
	r.append("b/e", 150)
	r.append("b/e", 50, 400)
	r.reopen()
	r.want("taken", r.fresh("b/e", records(50, 60, 150, 200, 250, 400)), []bool{false, true, false, false, true, false})
}

func caseLateFlag(r *ledgerRun) {
	late := func(stream string, flags bridge.Flags, times ...int64) string {
		rs := records(times...)
		for i := range rs {
			rs[i].Flags = bridge.Replayed | flags
			rs[i].Labels = someLabels
		}
		return r.late(stream, rs)
	}
	r.want("first records", late("b/e", 0, -5, 0, 5), "...")
	r.append("b/e", -5, 10)
	r.asked("b/e", bridge.Key{Time: -5, Revision: bridge.LabelHash(someLabels)}, bridge.Key{Time: 10, Revision: bridge.LabelHash(someLabels)})
	for range 2 {
		r.want("older than the newest, an update of it", late("b/e", 0, -9, -5, 3, 10, 11), "LLL..")
		r.want("out of order in their batch", late("b/e", 0, 20, 19, 21, 20), ".L.L")
		r.want("in order, said to be late", late("b/e", bridge.Late, 11, 12), "..")
		r.want("another stream", late("b/f", 0, 3), ".")
		r.reopen()
	}
	a := batch("b/e", 3, 5, 12, 12, 14)
	a.Keys[3].Revision = 7
	a.Verdicts = []bridge.Verdict{
		{Kind: bridge.Passed, Outputs: 1, Late: true}, {Kind: bridge.Dropped, Module: 2, Reason: 9, Late: true},
		{Kind: bridge.Passed, Outputs: 2}, {Kind: bridge.Absorbed, Late: true}, {Kind: bridge.Parked, Module: 1},
	}
	r.ok(r.Ledger.Append(context.Background(), a))
	want := map[bridge.Key]bridge.Verdict{{Time: -5}: {Kind: bridge.Passed, Outputs: 1}, {Time: 10}: {Kind: bridge.Passed, Outputs: 1}}
	for i, k := range a.Keys {
		want[k] = a.Verdicts[i]
	}
	for range 2 {
		r.want("verdicts", r.Verdicts("p", "b/e"), want)
		r.reopen()
	}
}

func caseTwice(r *ledgerRun) {
	r.want("twice", r.fresh("b/e", records(1, 1, 2)), []bool{true, false, true})
}

func caseDropped(r *ledgerRun) {
	a := batch("b/e", 1, 2)
	a.Messages = nil
	a.Verdicts = []bridge.Verdict{{Kind: bridge.Dropped, Reason: 7}, {Kind: bridge.Absorbed}}
	r.ok(r.Ledger.Append(context.Background(), a))
	r.reopen()
	r.want("fresh", r.fresh("b/e", records(1, 2, 3)), []bool{false, false, true})
	r.want("rows", len(r.rows("a")), 0)
}

// caseReleased: the key comes once more, behind those of its batch, and the later verdict counts.
func caseReleased(r *ledgerRun) {
	a := batch("b/e", 1, 2)
	a.Messages = nil
	a.Verdicts = []bridge.Verdict{{Kind: bridge.Absorbed}, {Kind: bridge.Absorbed, Late: true}}
	r.ok(r.Ledger.Append(context.Background(), a))
	r.reopen()
	b := batch("b/e", 3, 1, 2)
	b.Verdicts[2] = bridge.Verdict{Kind: bridge.Passed, Outputs: 1, Late: true}
	r.ok(r.Ledger.Append(context.Background(), b))
	for range 2 {
		r.want("verdicts", r.Verdicts("p", "b/e"), map[bridge.Key]bridge.Verdict{{Time: 1}: b.Verdicts[1], {Time: 2}: b.Verdicts[2], {Time: 3}: b.Verdicts[0]})
		r.want("fresh", r.fresh("b/e", records(1, 2, 3, 4)), []bool{false, false, false, true})
		r.reopen()
	}
}

var someLabels = []bridge.Label{{Name: []byte("status"), Value: []byte("1")}}

func caseWanted(r *ledgerRun) {
	rev := bridge.LabelHash(someLabels)
	r.append("b/e", 1, 2)
	r.want("known", r.asked("b/e", bridge.Key{Time: 1, Revision: rev}), []bool{false})
	r.reopen()
	rs := records(1, 2)
	rs[0].Labels, rs[1].Labels = someLabels, someLabels
	r.want("fresh", r.fresh("b/e", rs), []bool{true, false})
	r.want("revision", rs[0].Revision, rev)
	a := batch("b/e", 1)
	a.Keys[0].Revision = rev
	r.ok(r.Ledger.Append(context.Background(), a))
	rs[0].Revision = 0
	r.want("once", r.fresh("b/e", rs), []bool{false, false})
	r.reopen()
	r.want("once, reopened", r.fresh("b/e", rs), []bool{false, false})
}

func caseWantedUnseen(r *ledgerRun) {
	rev := bridge.LabelHash(someLabels)
	r.asked("b/e", bridge.Key{Time: 5, Revision: rev})
	r.reopen()
	rs := records(5, 6)
	rs[0].Labels = someLabels
	r.want("fresh", r.fresh("b/e", rs), []bool{true, true})
	r.want("revision", []uint64{rs[0].Revision, rs[1].Revision}, []uint64{rev, 0})
}

func caseKnown(r *ledgerRun) {
	a := batch("b/e", 1, 2, 3)
	const rev = bridge.MaxFlush + 77
	a.Keys[1].Revision = rev
	r.ok(r.Ledger.Append(context.Background(), a))
	r.reopen()
	keys := []bridge.Key{{Time: 2, Revision: rev}, {Time: 2, Revision: rev + 1}, {Time: 1, Revision: rev}}
	r.want("known", r.asked("b/e", keys...), []bool{true, false, false})
}

// caseFlushed: what comes of a flush hides no record, has an identity that no other has, and says nothing about labels.
func caseFlushed(r *ledgerRun) {
	_, found, err := r.Ledger.NextFlush("p", "b/e")
	r.ok(err)
	r.want("found before the first record", found, false)
	r.append("b/e", 1, 5)
	r.append("b/e", 3)
	seen := make(map[bridge.Key]bool)
	for range 3 {
		k, found, err := r.Ledger.NextFlush("p", "b/e")
		r.ok(err)
		r.want("found, newest, a number, not seen before", []any{found, k.Time, k.Flushed(), seen[k]}, []any{true, int64(5), true, false})
		seen[k] = true
		r.revised("b/e", k.Time, k.Revision)
		r.append("b/e", 4+int64(len(seen))*-10)
		r.reopen()
	}
	r.want("fresh", r.fresh("b/e", records(4, 5, 6)), []bool{true, false, true})
	r.want("known as first written", r.asked("b/e", bridge.Key{Time: 5}), []bool{true})
	r.want("verdicts", len(r.Verdicts("p", "b/e")), 9)
}

// revised appends an update that was asked for.
func (r *ledgerRun) revised(stream string, t int64, revision uint64) {
	r.Helper()
	a := batch(stream, t)
	a.Keys[0].Revision, a.Messages[0].Revision = revision, revision
	r.ok(r.Ledger.Append(context.Background(), a))
}

func caseChangedBack(r *ledgerRun) {
	first, second := labelled("1"), labelled("2")
	a, b := bridge.LabelHash(first[0].Labels), bridge.LabelHash(second[0].Labels)
	r.append("b/e", 1, 2)
	for n, rev := range []uint64{a, b, a, b} {
		r.want("known before", r.asked("b/e", bridge.Key{Time: 1, Revision: rev}), []bool{false})
		rs := [][]bridge.Record{first, second}[n%2]
		r.want("fresh", r.fresh("b/e", rs), []bool{true})
		r.want("revision", rs[0].Revision, rev)
		r.revised("b/e", 1, rev)
		r.append("b/e", int64(10+n)) // so that blocks of keys are merged, if the ledger merges them
		r.reopen()
		r.want("once", r.fresh("b/e", rs), []bool{false})
		r.want("known after", r.asked("b/e", bridge.Key{Time: 1, Revision: rev}), []bool{true})
	}
}

func caseWantedAgain(r *ledgerRun) {
	first, second := labelled("1"), labelled("2")
	a, b := bridge.LabelHash(first[0].Labels), bridge.LabelHash(second[0].Labels)
	r.append("b/e", 1)
	r.want("known", r.asked("b/e", bridge.Key{Time: 1, Revision: a}), []bool{false})
	r.want("known", r.asked("b/e", bridge.Key{Time: 1, Revision: b}), []bool{false})
	r.reopen()
	r.want("the one before", r.fresh("b/e", first), []bool{false})
	r.want("the last", r.fresh("b/e", second), []bool{true})
	r.revised("b/e", 1, b)
	r.reopen()
	r.want("after", append(r.fresh("b/e", first), r.fresh("b/e", second)...), []bool{false, false})
}

// labelled is a record at time 1 with a status.
func labelled(status string) []bridge.Record {
	return []bridge.Record{{Time: 1, Labels: []bridge.Label{{Name: []byte("status"), Value: []byte(status)}}}}
}

func caseStates(r *ledgerRun) {
	a := batch("b/e", 1)
	a.States = []bridge.State{{Module: "m", SHA256: "ab", Version: 3, Bytes: []byte("state")}}
	a.Parked = []bridge.Parking{{Message: a.Messages[0], Module: "m", SHA256: "ab", Reason: "odd"}}
	a.Verdicts[0], a.Messages = bridge.Verdict{Kind: bridge.Parked}, nil
	r.ok(r.Ledger.Append(context.Background(), a))
	r.reopen()
	s, found, err := r.States.State("p", "b/e", "m")
	r.ok(err)
	r.want("found", found, true)
	r.want("state", s, a.States[0])
	_, found, err = r.States.State("p", "b/e", "other")
	r.ok(err)
	r.want("other found", found, false)
	r.want("parked", r.Parked(), a.Parked)
	a = batch("b/e", 2)
	a.States = []bridge.State{{Module: "m", SHA256: "ab", Version: 3, Bytes: []byte("newer")}}
	r.ok(r.Ledger.Append(context.Background(), a))
	s, _, err = r.States.State("p", "b/e", "m")
	r.ok(err)
	r.want("newer state", s, a.States[0])
}

func caseMessages(r *ledgerRun) {
	labels := []bridge.Label{{Name: []byte("a"), Value: []byte("1")}, {Name: []byte("b"), Value: []byte("\x00\xff")}}
	a := batch("b/e", 10, 20, 30, 40)
	a.Messages = []bridge.Message{
		{Record: bridge.Record{Time: 10, ContentType: []byte("text/plain"), Labels: labels, Payload: []byte("one")}},
		{Record: bridge.Record{Time: 10, ContentType: []byte("text/plain"), Flags: bridge.Late, Payload: []byte("two")}, Index: 1},
		{Record: bridge.Record{Time: 20, Revision: 99, ContentType: []byte("a/b"), Labels: labels[:1]}, Topic: []byte("sub/topic")},
		{Record: bridge.Record{Time: 5}},
		{Record: bridge.Record{Time: 35, Payload: []byte("moved")}, Shift: 5},
		{Record: bridge.Record{Time: 35, Payload: []byte("moved back")}, Shift: -5},
	}
	began := time.Now()
	r.ok(r.Ledger.Append(context.Background(), a))
	rows := r.rows("a")
	r.want("rows", len(rows), 1)
	r.want("row", []any{rows[0].Pipeline, rows[0].Stream, rows[0].Count, rows[0].Settled}, []any{"p", "b/e", 6, bridge.Bitmap(nil)})
	got, err := r.Outbox("a").Messages(rows[0].Number)
	r.ok(err)
	r.want("messages", got, a.Messages)
	appended := time.UnixMicro(rows[0].Appended)
	if appended.Before(began.Truncate(time.Microsecond)) || appended.After(time.Now()) {
		r.Errorf("appended at %v, want between %v and now", appended, began)
	}
	r.reopen()
	r.want("appended, reopened", r.rows("a")[0].Appended, rows[0].Appended)
	got, err = r.Outbox("a").Messages(r.rows("a")[0].Number)
	r.ok(err)
	r.want("messages, reopened", got, a.Messages)
}

func caseCopies(r *ledgerRun) {
	a := batch("b/e", 1)
	payload := []byte("as it came")
	a.Messages[0].Payload = payload
	r.ok(r.Ledger.Append(context.Background(), a))
	copy(payload, "overwritten")
	a.Messages[0].Time = 9
	got, err := r.Outbox("a").Messages(1)
	r.ok(err)
	r.want("payload", string(got[0].Payload), "as it came")
	r.want("time", got[0].Time, int64(1))
}

func caseRejected(r *ledgerRun) {
	for name, a := range map[string]*bridge.Append{
		"undecided":   {Pipeline: "p", Stream: "b/e", Keys: []bridge.Key{{Time: 1}}, Verdicts: []bridge.Verdict{{}}},
		"unknown":     {Pipeline: "p", Stream: "b/e", Keys: []bridge.Key{{Time: 1}}, Verdicts: []bridge.Verdict{{Kind: bridge.Parked + 1}}},
		"no verdicts": {Pipeline: "p", Stream: "b/e", Keys: []bridge.Key{{Time: 1}}},
	} {
		if err := r.Ledger.Append(context.Background(), a); !errors.Is(err, bridge.ErrRejected) {
			r.Errorf("%s: got %v, want %v", name, err, bridge.ErrRejected)
		}
	}
	r.want("fresh", r.fresh("b/e", records(1)), []bool{true})
}

func caseRefill(r *ledgerRun) {
	ctx := context.Background()
	r.append("b/e", 1, 2)
	for name, remotes := range map[string][]string{"unknown": {"a", "nobody"}, "none": {}} {
		a := batch("b/e", 3)
		a.Remotes = remotes
		if err := r.Ledger.Append(ctx, a); !errors.Is(err, bridge.ErrRejected) {
			r.Errorf("%s: got %v, want %v", name, err, bridge.ErrRejected)
		}
	}
	refill := batch("b/e", 2)
	refill.Keys, refill.Verdicts, refill.Remotes = nil, nil, []string{"b"}
	refill.Messages[0].Flags = bridge.Replayed | bridge.Late
	r.ok(r.Ledger.Append(ctx, refill))
	r.append("b/e", 3)
	for range 2 {
		r.want("rows", len(r.rows("a")), 2)
		rows := r.rows("b")
		r.want("rows of the one that it names", len(rows), 3)
		ms, err := r.Outbox("b").Messages(rows[1].Number)
		r.ok(err)
		r.want("refilled", ms, refill.Messages)
		r.is(r.Outbox("a").Commit(ctx, &bridge.Step{Claims: claims(0, rows[1].Number, 0)}), bridge.ErrRejected)
		r.want("seen", r.fresh("b/e", records(1, 2, 3, 4)), []bool{false, false, false, true})
		r.reopen()
	}
	r.commit("b", bridge.Step{Claims: claims(0, r.rows("b")[1].Number, 0)})
	r.commit("b", bridge.Step{Acks: acks(bridge.AckDelivered, 0)})
	r.want("rows when it is delivered", len(r.rows("b")), 2)
	r.want("rows of the other", len(r.rows("a")), 2)
}

func caseClaims(r *ledgerRun) {
	r.restore("a")
	r.append("b/e", 1, 2, 3, 4)
	r.append("b/f", 5, 6)
	cs := append(claims(0, 1, 2, 0, 1), bridge.Claim{Ref: bridge.Ref{Row: 2, Index: 1}, Conn: 1})
	r.commit("a", bridge.Step{Claims: cs})
	r.commit("a", bridge.Step{Claims: claims(3, 2, 0)})
	r.reopen()
	got := r.restore("a")
	want := []bridge.OpenClaim{open(cs[0], false, false), open(cs[1], false, false), open(cs[2], false, false),
		open(claims(3, 2, 0)[0], false, false), open(cs[3], false, false)}
	r.want("claims", got.Claims, want)
	r.want("next", got.Next, map[uint16]uint64{0: 4, 1: 1})
	r.want("far", got.Far, "far")
	r.want("claims of the other remote", r.restore("b").Claims, []bridge.OpenClaim(nil))
}

func caseReceived(r *ledgerRun) {
	r.restore("a")
	r.append("b/e", 1, 2)
	cs := claims(0, 1, 0, 1)
	r.commit("a", bridge.Step{Claims: cs})
	r.commit("a", bridge.Step{Acks: acks(bridge.AckReceived, 1)})
	r.want("claims", r.restore("a").Claims, []bridge.OpenClaim{open(cs[0], false, false), open(cs[1], true, false)})
	r.reopen()
	r.want("claims, reopened", r.restore("a").Claims, []bridge.OpenClaim{open(cs[0], false, false), open(cs[1], true, false)})
}

func caseDelivered(r *ledgerRun) {
	r.append("b/e", 1, 2, 3)
	r.append("b/e", 4)
	r.commit("a", bridge.Step{Claims: claims(0, 1, 0, 1, 2)})
	r.commit("a", bridge.Step{Acks: acks(bridge.AckDelivered, 1), Claims: claims(3, 2, 0)})
	for range 2 {
		rows := r.rows("a")
		r.want("rows", len(rows), 2)
		r.want("settled", []bool{rows[0].Settled.Has(0), rows[0].Settled.Has(1), rows[0].Settled.Has(2)}, []bool{false, true, false})
		r.want("settled for the other", r.rows("b")[0].Settled, bridge.Bitmap(nil))
		r.reopen()
	}
	r.commit("a", bridge.Step{Acks: acks(bridge.AckDelivered, 0, 2, 3)})
	for range 2 {
		r.want("rows at the end", len(r.rows("a")), 0)
		r.want("rows of the other at the end", len(r.rows("b")), 2)
		r.want("claims at the end", len(r.restore("a").Claims), 0)
		r.want("next at the end", r.restore("a").Next, map[uint16]uint64{0: 4})
		r.reopen()
	}
}

func caseUnknownAck(r *ledgerRun) {
	r.append("b/e", 1)
	r.commit("a", bridge.Step{Claims: claims(0, 1, 0)})
	r.commit("a", bridge.Step{Acks: []bridge.Ack{
		{Number: 7, Kind: bridge.AckDelivered}, {Conn: 3, Kind: bridge.AckRefused, Reason: "x"}, {Number: 0, Kind: bridge.AckNone},
	}})
	r.commit("a", bridge.Step{Acks: acks(bridge.AckDelivered, 0, 0)})
	r.commit("a", bridge.Step{Acks: append(acks(bridge.AckReturned, 0), acks(bridge.AckRefused, 0)...)})
	r.want("parked", len(r.Parked()), 0)
	r.reopen()
	r.want("rows", len(r.rows("a")), 0)
}

func caseRefused(r *ledgerRun) {
	r.append("b/e", 1, 2)
	r.commit("a", bridge.Step{Claims: claims(0, 1, 0, 1)})
	r.commit("a", bridge.Step{Acks: []bridge.Ack{{Number: 1, Kind: bridge.AckRefused, Reason: "0x99 payload format invalid"}}})
	r.reopen()
	want := []bridge.Parking{{Message: batch("b/e", 1, 2).Messages[1], Module: "a", Reason: "0x99 payload format invalid"}}
	r.want("parked", r.Parked(), want)
	r.want("settled", r.rows("a")[0].Settled.Has(1), true)
	r.want("claims", len(r.restore("a").Claims), 1)
}

func caseLose(r *ledgerRun) {
	ctx := context.Background()
	for from := range int64(3) {
		r.ok(r.Gaps.NoteGap(ctx, bridge.Gap{Stream: "b/e", From: 10 * from, To: 10*from + 5, Reason: "body broke"}))
	}
	gaps, err := r.Gaps.OpenGaps()
	r.ok(err)
	noted := time.UnixMicro(1_700_000_000_000_000)
	r.ok(r.Gaps.Lose(ctx, bridge.Loss{Stream: "b/e", From: 0, To: 25, Records: 4, Reason: "evicted", Noted: noted}, gaps[2].ID, gaps[0].ID, 99))
	r.ok(r.Gaps.Lose(ctx, bridge.Loss{Stream: "b/f", From: -7, To: -7, Records: -1, Reason: "overtaken", Noted: noted}))
	r.is(r.Gaps.Lose(ctx, bridge.Loss{Stream: "b/e", From: 2, To: 1, Reason: "evicted"}, gaps[1].ID), bridge.ErrRejected)
	for range 2 {
		left, err := r.Gaps.OpenGaps()
		r.ok(err)
		r.want("gaps left", len(left), 1)
		r.want("gap left", left[0].ID, gaps[1].ID)
		r.want("losses", r.Losses(), []bridge.Loss{
			{ID: 1, Stream: "b/e", From: 0, To: 25, Records: 4, Reason: "evicted", Noted: noted},
			{ID: 2, Stream: "b/f", From: -7, To: -7, Records: -1, Reason: "overtaken", Noted: noted},
		})
		r.reopen()
	}
}

func caseLossesGrow(r *ledgerRun) {
	noted := time.UnixMicro(1_700_000_000_000_000)
	lose := func(stream string, from, to, records int64, reason string) {
		r.ok(r.Gaps.Lose(context.Background(), bridge.Loss{
			Stream: stream, From: from, To: to, Records: records, Reason: reason, Noted: noted.Add(time.Duration(from) * time.Second),
		}))
	}
	lose("b/e", 10, 19, 3, "evicted")
	lose("b/e", 30, 39, 1, "evicted")
	lose("b/e", 15, 25, 9, "other reason")
	lose("b/f", 20, 29, 9, "evicted")
	lose("b/e", 20, 22, 2, "evicted") // adjoins the first
	r.reopen()
	lose("b/e", 50, 59, -1, "evicted")
	r.want("losses", fmt.Sprint(r.shortLosses()), "[b/e 10-22 5 evicted b/e 30-39 1 evicted b/e 15-25 9 other reason b/f 20-29 9 evicted b/e 50-59 -1 evicted]")
	lose("b/e", 23, 30, 10, "evicted") // joins the first and the second
	r.want("joined", fmt.Sprint(r.shortLosses()), "[b/e 10-39 16 evicted b/e 15-25 9 other reason b/f 20-29 9 evicted b/e 50-59 -1 evicted]")
	r.want("noted", r.Losses()[0].Noted.Equal(noted.Add(10*time.Second)), true)
	lose("b/e", 40, 49, 7, "evicted")
	r.reopen()
	r.want("unknown", fmt.Sprint(r.shortLosses()), "[b/e 10-59 -1 evicted b/e 15-25 9 other reason b/f 20-29 9 evicted]")
}

func (r *ledgerRun) shortLosses() (out []string) {
	for _, l := range r.Losses() {
		out = append(out, fmt.Sprintf("%s %d-%d %d %s", l.Stream, l.From, l.To, l.Records, l.Reason))
	}
	return out
}

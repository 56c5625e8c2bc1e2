package bridgetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// Opened is a ledger under test: pipeline "p" has a route to remotes "a" and "b".
type Opened struct {
	Ledger bridge.Ledger
	States bridge.States
	Gaps   bridge.Gaps
	Outbox func(remote string) bridge.Outbox
	Losses func() []bridge.Loss
	Parked func() []bridge.Parking
	// Verdicts is what was decided on a stream's keys, the last where one was taken in more than once.
	Verdicts func(pipeline, stream string) map[bridge.Key]bridge.Verdict
	Close    func() // what was durable must be there when the directory is opened again
}

// RunLedger checks that a ledger behaves as bridge/ledger.go, bridge/outbox.go and INVARIANTS.md say. open opens the one in dir; each
// case uses a directory of its own, and opens it again in the middle to see that what it knows is durable.
func RunLedger(t *testing.T, open func(t *testing.T, dir string) Opened) {
	for _, c := range ledgerCases {
		t.Run(c.name, func(t *testing.T) {
			r := &ledgerRun{T: t, dir: t.TempDir(), open: open}
			r.Opened = open(t, r.dir)
			c.run(r)
			r.Close()
		})
	}
}

var ledgerCases = []struct {
	name string
	run  func(*ledgerRun)
}{
	{"rule 2: a key is fresh until it was appended", caseFresh},
	{"rule 2: a late record is fresh", caseLate},
	{"a late record is told from one in order", caseLateFlag},
	{"rule 2: the same time twice in a batch is one key", caseTwice},
	{"rule 1: dropped records are durable without a message", caseDropped},
	{"an absorbed record is decided anew by a later batch", caseReleased},
	{"an update that was asked for passes once", caseWanted},
	{"an unseen record that was asked for passes with its revision", caseWantedUnseen},
	{"a revision that was appended is known", caseKnown},
	{"a flush has a key of its own and hides no record", caseFlushed},
	{"rule 2: labels that were changed back are another update", caseChangedBack},
	{"the update that was wanted last is waited for", caseWantedAgain},
	{"rule 3: states and parked records come with the batch", caseStates},
	{"messages come back as they were", caseMessages},
	{"the caller's memory is free after Append", caseCopies},
	{"a batch without verdicts is rejected", caseRejected},
	{"a refill goes to the remote that it names", caseRefill},
	{"rule 8: claims are restored in claim order", caseClaims},
	{"rule 9: R is restored", caseReceived},
	{"rule 10: delivered messages are settled for their remote only", caseDelivered},
	{"an acknowledgement of nothing changes nothing", caseUnknownAck},
	{"rule 16: a refused message is parked and settled", caseRefused},
	{"rule 16: a returned message can be claimed again", caseReturned},
	{"rule 14: a lost session marks its claims and forgets R", caseLost},
	{"rule 14: trying is restored until an answer is noted", caseTrying},
	{"rule 14: another far end is a lost session", caseFar},
	{"a mark outlives a return", caseMarked},
	{"a removed connection is forgotten", caseRemoved},
	{"what went before older messages is known until they are gone", casePassed},
	{"rule 11: a claim out of order is rejected whole", caseDense},
	{"a message is not claimed twice", caseClaimedTwice},
	{"Next waits for a batch", caseNext},
	{"Next ends with its context", caseNextEnds},
	{"rule 6: a gap is there until it is closed", caseGaps},
	{"rule 20: a loss takes the place of its gaps", caseLose},
	{"rule 19: losses grow into one another", caseLossesGrow},
}

// ledgerRun is one case's ledger.
type ledgerRun struct {
	*testing.T
	Opened
	dir  string
	open func(t *testing.T, dir string) Opened
}

func (r *ledgerRun) reopen() {
	r.Helper()
	r.Close()
	r.Opened = r.open(r.T, r.dir)
}

func (r *ledgerRun) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *ledgerRun) want(what string, got, want any) {
	r.Helper()
	if !reflect.DeepEqual(got, want) {
		r.Fatalf("%s: got %+v, want %+v", what, got, want)
	}
}

func (r *ledgerRun) is(err, want error) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Fatalf("got error %v, want %v", err, want)
	}
}

// batch is an Append that passes records of these times, each with a payload that names it.
func batch(stream string, times ...int64) *bridge.Append {
	a := &bridge.Append{Pipeline: "p", Stream: stream}
	for _, t := range times {
		a.Keys = append(a.Keys, bridge.Key{Time: t})
		a.Verdicts = append(a.Verdicts, bridge.Verdict{Kind: bridge.Passed, Outputs: 1})
		a.Messages = append(a.Messages, bridge.Message{Record: bridge.Record{Time: t, Payload: fmt.Appendf(nil, "%s@%d", stream, t)}})
	}
	return a
}

func (r *ledgerRun) append(stream string, times ...int64) {
	r.Helper()
	r.ok(r.Ledger.Append(context.Background(), batch(stream, times...)))
}

func records(times ...int64) []bridge.Record {
	var rs []bridge.Record
	for _, t := range times {
		rs = append(rs, bridge.Record{Time: t})
	}
	return rs
}

func (r *ledgerRun) fresh(stream string, rs []bridge.Record) []bool {
	r.Helper()
	fresh := make([]bool, len(rs))
	r.ok(r.Ledger.Fresh("p", stream, rs, fresh))
	return fresh
}

// late returns what Fresh says of records, - where it is not fresh, of one that passes as an update too.
func (r *ledgerRun) late(stream string, rs []bridge.Record) (out string) {
	r.Helper()
	for i, fresh := range r.fresh(stream, rs) {
		switch {
		case !fresh:
			out += "-"
		case rs[i].Flags == bridge.Replayed|bridge.Late:
			out += "L"
		case rs[i].Flags == bridge.Replayed:
			out += "."
		default:
			r.Fatalf("record %d of %s: flags %b, want no other than Late changed", rs[i].Time, stream, rs[i].Flags)
		}
	}
	return out
}

func (r *ledgerRun) asked(stream string, keys ...bridge.Key) []bool {
	r.Helper()
	known := make([]bool, len(keys))
	r.ok(r.Ledger.Want(context.Background(), "p", stream, keys, known))
	return known
}

func (r *ledgerRun) commit(remote string, s bridge.Step) {
	r.Helper()
	r.ok(r.Outbox(remote).Commit(context.Background(), &s))
}

func (r *ledgerRun) restore(remote string) bridge.Restored {
	r.Helper()
	return r.restoreAs(remote, "far")
}

func (r *ledgerRun) restoreAs(remote, far string) bridge.Restored {
	r.Helper()
	got, err := r.Outbox(remote).Restore(context.Background(), far)
	r.ok(err)
	return got
}

// rows returns what a remote has to send without waiting.
func (r *ledgerRun) rows(remote string) []bridge.Row {
	r.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	rows, err := r.Outbox(remote).Next(ctx, 0, 1000)
	if len(rows) == 0 && err == nil {
		r.Fatal("got neither rows nor an error")
	}
	return rows
}

// claims gives messages of a row to connection 0 under consecutive numbers.
func claims(number, row uint64, indexes ...uint32) []bridge.Claim {
	var cs []bridge.Claim
	for i, index := range indexes {
		cs = append(cs, bridge.Claim{Ref: bridge.Ref{Row: row, Index: index}, Number: number + uint64(i)})
	}
	return cs
}

func open(c bridge.Claim, received, marked bool) bridge.OpenClaim {
	c.Marked = marked
	return bridge.OpenClaim{Claim: c, Received: received}
}

func acks(kind bridge.AckKind, numbers ...uint64) []bridge.Ack {
	var as []bridge.Ack
	for _, n := range numbers {
		as = append(as, bridge.Ack{Number: n, Kind: kind})
	}
	return as
}

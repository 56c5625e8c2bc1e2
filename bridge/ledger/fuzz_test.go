package ledger

import (
	"slices"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// The formats are read from a disk that may hold anything: whatever it is, an error, never a panic, and no more memory than the limits
// allow (rule 17).

func FuzzRow(f *testing.F) {
	a := benchAppend("b/e", 3, 20)
	a.Messages[1].Revision, a.Messages[1].Index, a.Messages[1].Topic = 7, 2, []byte("t")
	a.Messages[2].Shift = -9
	f.Add(appendMessages(nil, []uint32{1, 2}, a.Messages), 3)
	f.Add([]byte{rowVersion, 0}, 0)
	f.Fuzz(func(t *testing.T, data []byte, count int) {
		ms, err := readRow(data, count)
		if err == nil && len(ms) != count {
			t.Errorf("got %d messages, want %d", len(ms), count)
		}
	})
}

func FuzzBlock(f *testing.F) {
	ks := steady(100, 3)
	vs := make([]bridge.Verdict, len(ks))
	for i := range vs {
		vs[i] = bridge.Verdict{Kind: bridge.Passed, Outputs: uint16(i / 40), Reason: uint16(i / 30), Late: i/50 == 1}
	}
	f.Add(appendBlock(nil, ks, vs))
	f.Fuzz(func(t *testing.T, data []byte) {
		ks, vs, err := readBlock(data)
		if err != nil {
			return
		}
		if len(ks) != len(vs) || len(ks) > maxCount {
			t.Errorf("got %d keys and %d verdicts, want at most %d of both", len(ks), len(vs), maxCount)
		}
		// What was read can be written and read again: it is told apart in every field.
		ks2, vs2, err := readBlock(appendBlock(nil, ks, vs))
		if err != nil || !slices.Equal(ks2, ks) || !slices.Equal(vs2, vs) {
			t.Errorf("written again, %v %v are %v %v and %v", ks, vs, ks2, vs2, err)
		}
	})
}

func FuzzJournal(f *testing.F) {
	f.Add(appendFar(nil, "broker"))
	f.Add(appendStep(nil, &bridge.Step{
		Acks: []bridge.Ack{
			{Number: 1, Kind: bridge.AckDelivered}, {Number: 2, Kind: bridge.AckDelivered}, {Kind: bridge.AckRefused, Reason: "r"},
		},
		Notes:  []bridge.Note{{Conn: 1, Kind: bridge.NoteLost}},
		Claims: []bridge.Claim{{Ref: bridge.Ref{Row: 5, Index: 1}, Number: 3}, {Ref: bridge.Ref{Row: 5, Index: 2}, Number: 4, Marked: true}},
	}))
	f.Add(appendStep(nil, &bridge.Step{
		Claims: []bridge.Claim{{Ref: bridge.Ref{Row: 5, Index: 1}, Number: 3, Late: true}}, Passed: []bridge.Overtaking{{Lane: 1 << 63, Row: 7}},
	}))
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := readRecord(data)
		if err == nil && (len(rec.step.Acks) > maxStep || len(rec.step.Claims) > maxStep) {
			t.Errorf("got %d acknowledgements and %d claims, want at most %d", len(rec.step.Acks), len(rec.step.Claims), maxStep)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	o := fuzzOutbox()
	o.conn(1).claims = []claim{{ref: bridge.Ref{Row: 1}, open: true}}
	o.shares[1].settled = bridge.Bitmap{2}
	o.marked[bridge.Ref{Row: 1, Index: 2}] = true
	f.Add(o.appendCheckpoint(nil))
	o.passed[9] = 2
	f.Add(o.appendCheckpoint(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		o := fuzzOutbox()
		if o.readCheckpoint(1, data) == nil && len(o.shares) > 1 {
			t.Errorf("got %d rows, want at most the one there is", len(o.shares))
		}
	})
}

// fuzzOutbox is one that has a row of 85 messages to send.
func fuzzOutbox() *Outbox {
	l := &Log{outboxes: make(map[uint32]*Outbox)}
	o := newOutbox(l, 1, "a")
	l.outboxes[1] = o
	l.addRow(&row{number: 1, stream: new(stream), count: 85, remotes: []uint32{1}})
	return o
}

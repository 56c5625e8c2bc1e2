package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
)

// smallLimits makes everything happen that in production happens after a million records.
func smallLimits() limits {
	return limits{
		idle: time.Hour, tend: time.Hour,
		blockKeys: 24, mergeAt: 4, ranges: 8,
		journal: 1 << 20, journalRows: 7,
		drops: 3, dropBytes: 1 << 20, dropAt: 1, rewrites: 1, rewriteBytes: 1, rewriteAge: 3,
		wal: 1 << 40, ballast: 64 << 10,
	}
}

const modelTimes = 400 // record times of the model are below

var modelStreams = []string{"b/e", "b/f", "c/e"}

// model drives a ledger and the fake beside it with the same random writes.
type model struct {
	t    testing.TB
	rng  *rand.Rand
	fake bridgetest.Opened
	next map[string]int64 // of a stream
}

func newModel(t testing.TB, seed uint64) *model {
	f := bridgetest.NewLedger(t, "a", "b")
	return &model{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), next: make(map[string]int64),
		fake: bridgetest.Opened{
			Ledger: f, States: f, Gaps: f, Losses: f.Losses, Parked: f.Parked, Verdicts: f.Verdicts, Close: func() {},
			Outbox: func(remote string) bridge.Outbox { return f.Outbox(remote) },
		},
	}
}

// op is one durable write, to be done to any ledger.
type op func(bridgetest.Opened) error

// choose returns the next write, chosen by what the fake holds.
func (m *model) choose() op {
	ctx := context.Background()
	switch n := m.rng.IntN(20); {
	case n < 9:
		a := m.batch(modelStreams[m.rng.IntN(len(modelStreams))])
		return func(o bridgetest.Opened) error { return o.Ledger.Append(ctx, a) }
	case n < 10:
		stream := modelStreams[m.rng.IntN(len(modelStreams))]
		keys := []bridge.Key{{Time: m.rng.Int64N(modelTimes), Revision: bridge.LabelHash(labelsOf(int(m.rng.Int64N(3))))}}
		var want []bool // what the first ledger asked, the fake, says
		return func(o bridgetest.Opened) error {
			known := make([]bool, 1)
			err := o.Ledger.Want(ctx, "p", stream, keys, known)
			if want == nil {
				want = known
			}
			if known[0] != want[0] {
				return fmt.Errorf("want %v of %s: known %v, want %v", keys, stream, known, want)
			}
			return err
		}
	case n < 11:
		g := bridge.Gap{Stream: "b/e", From: m.rng.Int64N(100), To: 100, Reason: "test"}
		return func(o bridgetest.Opened) error { return o.Gaps.NoteGap(ctx, g) }
	case n < 12:
		gaps, _ := m.fake.Gaps.OpenGaps()
		if len(gaps) == 0 {
			return m.choose()
		}
		id := gaps[m.rng.IntN(len(gaps))].ID
		if m.rng.IntN(2) == 0 {
			from := m.rng.Int64N(100)
			loss := bridge.Loss{Stream: "b/e", From: from, To: from + m.rng.Int64N(3), Records: m.rng.Int64N(9) - 1, Reason: "test"}
			return func(o bridgetest.Opened) error { return o.Gaps.Lose(ctx, loss, id) }
		}
		return func(o bridgetest.Opened) error { return o.Gaps.CloseGap(ctx, id) }
	default:
		remote := []string{"a", "b"}[m.rng.IntN(2)]
		s := m.step(remote)
		return func(o bridgetest.Opened) error { return o.Outbox(remote).Commit(ctx, s) }
	}
}

func labelsOf(n int) []bridge.Label {
	return []bridge.Label{{Name: []byte("n"), Value: fmt.Appendf(nil, "%d", n)}}
}

// batch makes an Append of fresh records: mostly newer ones, some late, some updates.
func (m *model) batch(stream string) *bridge.Append {
	a := &bridge.Append{Pipeline: "p", Stream: stream}
	rs := m.freshRecords(stream)
	for _, r := range rs {
		v := bridge.Verdict{Kind: bridge.Passed, Outputs: 1}
		switch m.rng.IntN(6) {
		case 0:
			v = bridge.Verdict{Kind: bridge.Dropped, Module: 1, Reason: uint16(m.rng.IntN(3))}
		case 1:
			v = bridge.Verdict{Kind: bridge.Parked, Module: 2}
			a.Parked = append(a.Parked, bridge.Parking{Message: bridge.Message{Record: r}, Module: "m", SHA256: "00", Reason: "model"})
		case 2:
			v.Outputs = 2
		}
		for i := range v.Outputs {
			a.Messages = append(a.Messages, bridge.Message{Record: r, Index: i})
		}
		v.Late = r.Flags&bridge.Late != 0
		a.Keys = append(a.Keys, bridge.Key{Time: r.Time, Revision: r.Revision})
		a.Verdicts = append(a.Verdicts, v)
	}
	switch m.rng.IntN(12) {
	case 0:
		a.Remotes = []string{"a"}
	case 1: // a refill: what was seen is sent once more
		a.Keys, a.Verdicts, a.Parked, a.Remotes = nil, nil, nil, []string{"b"}
	}
	if m.rng.IntN(3) == 0 {
		a.States = []bridge.State{{Module: "m", SHA256: "00", Version: 1, Bytes: fmt.Appendf(nil, "%d", m.rng.Uint64())}}
	}
	return a
}

func (m *model) freshRecords(stream string) []bridge.Record {
	var rs []bridge.Record
	for range 1 + m.rng.IntN(6) {
		t := m.rng.Int64N(modelTimes)
		if m.rng.IntN(4) > 0 && m.next[stream] < modelTimes {
			t = m.next[stream]
			m.next[stream] += 1 + m.rng.Int64N(2)
		}
		rs = append(rs, bridge.Record{
			Time: t, Labels: labelsOf(m.rng.IntN(3)), Payload: []byte(strings.Repeat("x", m.rng.IntN(200))),
			ContentType: []byte([]string{"", "text/plain", "a/b"}[m.rng.IntN(3)]),
		})
	}
	slices.SortFunc(rs, func(a, b bridge.Record) int { return int(a.Time - b.Time) })
	fresh := make([]bool, len(rs))
	if err := m.fake.Ledger.Fresh("p", stream, rs, fresh); err != nil {
		m.t.Fatal(err)
	}
	var out []bridge.Record
	for i := range rs {
		if fresh[i] {
			out = append(out, rs[i])
		}
	}
	return out
}

// step makes a step as a pump would: acknowledgements of open claims, notes, claims of what is free, on two connections.
func (m *model) step(remote string) *bridge.Step {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	out := m.fake.Outbox(remote)
	open, err := out.Restore(ctx, "far")
	if err != nil {
		m.t.Fatal(err)
	}
	s := &bridge.Step{}
	claimed := make(map[bridge.Ref]bool)
	for _, c := range open.Claims {
		claimed[c.Ref] = true
		kinds := []bridge.AckKind{
			bridge.AckNone, bridge.AckNone, bridge.AckReceived, bridge.AckDelivered, bridge.AckDelivered, bridge.AckDelivered, bridge.AckReturned,
		}
		kind := kinds[m.rng.IntN(len(kinds))]
		if m.rng.IntN(30) == 0 {
			kind = bridge.AckRefused
		}
		if kind != bridge.AckNone {
			s.Acks = append(s.Acks, bridge.Ack{Conn: c.Conn, Number: c.Number, Kind: kind, Reason: reasonOf(kind)})
		}
	}
	if m.rng.IntN(4) == 0 {
		kind := bridge.NoteTrying + bridge.NoteKind(m.rng.IntN(3))
		s.Notes = append(s.Notes, bridge.Note{Conn: uint16(m.rng.IntN(2)), Kind: kind})
	}
	rows, _ := out.Next(ctx, 0, 4)
	for _, r := range rows {
		for i := range r.Count {
			ref := bridge.Ref{Row: r.Number, Index: uint32(i)}
			// The first rows are left behind now and then: a blocked lane.
			if r.Settled.Has(i) || claimed[ref] || m.rng.IntN(3) == 0 {
				continue
			}
			conn := uint16(m.rng.IntN(2))
			s.Claims = append(s.Claims, bridge.Claim{Ref: ref, Conn: conn, Number: open.Next[conn], Late: m.rng.IntN(4) == 0})
			open.Next[conn]++
			if m.rng.IntN(8) == 0 {
				s.Passed = append(s.Passed, bridge.Overtaking{Lane: m.rng.Uint64N(3), Row: r.Number})
			}
		}
	}
	return s
}

func reasonOf(k bridge.AckKind) string {
	if k == bridge.AckRefused {
		return "no"
	}
	return ""
}

// dump is all that can be asked of a ledger, as text.
func dump(t testing.TB, o bridgetest.Opened) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var b strings.Builder
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	rs, fresh := make([]bridge.Record, modelTimes), make([]bool, modelTimes)
	for _, stream := range modelStreams {
		for n := range 3 {
			for i := range rs {
				rs[i] = bridge.Record{Time: int64(i), Labels: labelsOf(n)}
			}
			must(o.Ledger.Fresh("p", stream, rs, fresh))
			for i := range fresh {
				if fresh[i] == (rs[i].Revision != 0) {
					fmt.Fprintf(&b, "%d~%x ", i, rs[i].Revision)
				}
			}
		}
		fmt.Fprintf(&b, "\n%s verdicts %v\n", stream, o.Verdicts("p", stream))
		rs[0], rs[1] = bridge.Record{Time: modelTimes + 1}, bridge.Record{Time: modelTimes}
		must(o.Ledger.Fresh("p", stream, rs[:2], fresh))
		fmt.Fprintf(&b, "late %b %b\n", rs[0].Flags, rs[1].Flags)
		s, found, err := o.States.State("p", stream, "m")
		must(err)
		fmt.Fprintf(&b, "\n%s state %v %q\n", stream, found, s.Bytes)
	}
	for _, remote := range []string{"a", "b"} {
		r, err := o.Outbox(remote).Restore(ctx, "far")
		must(err)
		fmt.Fprintf(&b, "%s %+v\n", remote, r)
		rows, err := o.Outbox(remote).Next(ctx, 0, 1000)
		if !errors.Is(err, context.Canceled) {
			must(err)
		}
		for _, row := range rows {
			ms, err := o.Outbox(remote).Messages(row.Number)
			must(err)
			fmt.Fprintf(&b, "row %d %s %d\n", row.Number, row.Stream, row.Count)
			for i, m := range ms {
				if !row.Settled.Has(i) {
					fmt.Fprintf(&b, "  %d: %+v\n", i, m)
				}
			}
		}
	}
	for _, p := range o.Parked() {
		fmt.Fprintf(&b, "parked %+v\n", p)
	}
	gaps, err := o.Gaps.OpenGaps()
	must(err)
	for _, g := range gaps {
		fmt.Fprintf(&b, "gap %d %s %d-%d %s\n", g.ID, g.Stream, g.From, g.To, g.Reason)
	}
	for _, l := range o.Losses() {
		fmt.Fprintf(&b, "loss %d %s %d-%d %d %s\n", l.ID, l.Stream, l.From, l.To, l.Records, l.Reason)
	}
	return b.String()
}

// firstDifference shows where two dumps part.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d:\n got  %s\n want %s", i, g[i], w[i])
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}

// TestModel does random writes to the ledger and to the fake, opens the ledger again at random places, and compares all that can be asked:
// recovery and normal work end the same (rule 18), with merged blocks, checkpoints, rewritten and deleted rows.
func TestModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed)
			dir := t.TempDir()
			r := startWith(t, dir, testConfig(), smallLimits())
			restoreBoth(t, r.opened(), m.fake)
			for n := range 300 {
				do := m.choose()
				for _, o := range []bridgetest.Opened{m.fake, r.opened()} {
					if err := do(o); err != nil {
						t.Fatalf("write %d: %v", n, err)
					}
				}
				if m.rng.IntN(25) == 0 {
					r.stop()
					r = startWith(t, dir, testConfig(), smallLimits())
				}
				if m.rng.IntN(10) == 0 || n == 299 {
					if got, want := dump(t, r.opened()), dump(t, m.fake); got != want {
						t.Fatalf("after write %d: %s", n, firstDifference(got, want))
					}
				}
			}
		})
	}
}

func restoreBoth(t testing.TB, os ...bridgetest.Opened) {
	t.Helper()
	for _, o := range os {
		for _, remote := range []string{"a", "b"} {
			if _, err := o.Outbox(remote).Restore(context.Background(), "far"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// snapshot is the database as it was on the disk when a write had been acknowledged.
type snapshot struct{ db, wal []byte }

func takeSnapshot(t testing.TB, dir string) (s snapshot) {
	t.Helper()
	var err error
	if s.db, err = os.ReadFile(filepath.Join(dir, dbFile)); err != nil {
		t.Fatal(err)
	}
	if s.wal, err = os.ReadFile(filepath.Join(dir, dbFile+"-wal")); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s snapshot) put(t testing.TB, dir string) {
	t.Helper()
	for name, b := range map[string][]byte{dbFile: s.db, dbFile + "-wal": s.wal} {
		if b == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
}

// torn returns a crash image: everything of s, and of what next's write changed in the log a part, cut or garbled.
func torn(rng *rand.Rand, s, next snapshot) snapshot {
	const head, frame = 32, pageSize + 24
	from, to := changed(s.wal, next.wal)
	db := s.db
	switch {
	case from == to:
		return s
	case from < head: // the log began anew, which it does when the database has all of the old one
		db, from = next.db, 0
	default:
		from -= (from - head) % frame
	}
	cut := from + rng.IntN(to-from+1)
	switch rng.IntN(4) {
	case 0: // all of it had reached the disk
		return snapshot{db: db, wal: next.wal}
	case 1: // whole frames, the one with the commit mark perhaps not
		cut = min(to, from+frame*rng.IntN((to-from)/frame+2))
	}
	wal := slices.Concat(next.wal[:cut], s.wal[min(cut, len(s.wal)):])
	for range rng.IntN(4) {
		if cut > from {
			wal[from+rng.IntN(cut-from)] ^= byte(1 + rng.IntN(255))
		}
	}
	return snapshot{db: db, wal: wal}
}

// changed returns the part of next, which is not shorter, that differs from old.
func changed(old, next []byte) (from, to int) {
	for from < len(old) && old[from] == next[from] {
		from++
	}
	to = len(next)
	for to > from && to <= len(old) && old[to-1] == next[to-1] {
		to--
	}
	return from, to
}

// TestCrash cuts and garbles what was written after an acknowledged write, and opens that: all that was acknowledged is there, of the
// write after it all or nothing (rules 1 and 3). Other seeds each time; CRASH_SEED repeats those of a run.
func TestCrash(t *testing.T) {
	first := crashSeed(t)
	for seed := first; seed != first+3; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed)
			dir := t.TempDir()
			limits := smallLimits()
			limits.wal = 400 << 10
			r := startWith(t, dir, testConfig(), limits)
			restoreBoth(t, r.opened(), m.fake)
			states, images := []string{dump(t, m.fake)}, []snapshot{takeSnapshot(t, dir)}
			for n := range 60 {
				do := m.choose()
				for _, o := range []bridgetest.Opened{m.fake, r.opened()} {
					if err := do(o); err != nil {
						t.Fatalf("write %d: %v", n, err)
					}
				}
				states, images = append(states, dump(t, m.fake)), append(images, takeSnapshot(t, dir))
			}
			r.stop()
			checkImages(t, m.rng, states, images)
		})
	}
}

// crashSeed is CRASH_SEED, or of the clock; it is shown where the test fails.
func crashSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("CRASH_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CRASH_SEED: %v", err)
		}
	}
	t.Logf("CRASH_SEED=%d", seed)
	return seed
}

func checkImages(t *testing.T, rng *rand.Rand, states []string, images []snapshot) {
	t.Helper()
	before, after := 0, 0
	defer func() {
		if !t.Failed() && (before == 0 || after == 0) {
			t.Errorf("%d images kept the write that was torn, %d did not; want both to happen", after, before)
		}
	}()
	for n := range len(images) - 1 {
		dir := t.TempDir()
		torn(rng, images[n], images[n+1]).put(t, dir)
		r := startWith(t, dir, testConfig(), smallLimits())
		got := dump(t, r.opened())
		r.stop()
		if got != states[n] && got != states[n+1] {
			t.Fatalf("opened after write %d: %s", n, firstDifference(got, states[n]))
		}
		if got == states[n] {
			before++
		} else {
			after++
		}
	}
}

package ledger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// everything is a filter that leaves nothing out.
var everything = ViewFilter{From: math.MinInt64, To: math.MaxInt64}

// site makes a ledger with something of all kinds: closed ranges, exact keys, late ones, updates, messages that wait for both remotes or
// one, that were refused, parked records, gaps, losses.
func site(t *testing.T) (l *running, dir string, cfg Config) {
	t.Helper()
	ctx := context.Background()
	cfg = testConfig()
	cfg.Exact = 30
	dir = t.TempDir()
	l = startWith(t, dir, cfg, smallLimits())
	for n := range int64(40) {
		a := passing("b/e", 20, n*10, n*10+1, n*10+2)
		a.Verdicts[1] = bridge.Verdict{Kind: bridge.Dropped, Reason: 3}
		a.Verdicts[2] = bridge.Verdict{Kind: bridge.Parked, Module: 1}
		a.Parked = []bridge.Parking{{Message: a.Messages[2], Module: "m", Reason: "odd"}}
		a.Messages = a.Messages[:1]
		a.Messages[0].Time, a.Messages[0].Shift = n*10+4, 4
		mustAppend(t, l, a)
		mustAppend(t, l, passing("c/f", 20, n))
	}
	late := passing("b/e", 20, 305, 345)
	late.Verdicts[0].Late, late.Verdicts[1].Late = true, true
	late.Keys[1].Revision, late.Messages[1].Revision = 77, 77
	mustAppend(t, l, late)
	settleRow(t, l.Outbox("a"), 1)
	settleRow(t, l.Outbox("b"), 1)
	settleRow(t, l.Outbox("a"), 81)
	refused := &bridge.Step{Claims: []bridge.Claim{{Ref: bridge.Ref{Row: 79}, Number: 3}}}
	if err := l.Outbox("a").Commit(ctx, refused); err != nil {
		t.Fatal(err)
	}
	refused = &bridge.Step{Acks: []bridge.Ack{{Number: 3, Kind: bridge.AckRefused, Reason: "0x99"}}}
	if err := l.Outbox("a").Commit(ctx, refused); err != nil {
		t.Fatal(err)
	}
	if err := l.NoteGap(ctx, bridge.Gap{Stream: "b/e", From: 1, To: 2, Reason: "broke"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Lose(ctx, bridge.Loss{Stream: "b/e", From: 3, To: 4, Records: -1, Reason: "evicted"}); err != nil {
		t.Fatal(err)
	}
	if err := l.SetReconciled(ctx, "b/e", 222); err != nil {
		t.Fatal(err)
	}
	return l, dir, cfg
}

func mustView(t *testing.T, dir string, f ViewFilter) *View {
	t.Helper()
	v, err := OpenView(context.Background(), dir, f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// keysOf lists what a View or a Log has seen, in their order.
func keysOf(seen func(yield func(bridge.Key, bridge.Verdict) bool)) (out []taken) {
	for k, v := range seen {
		out = append(out, taken{k, v})
	}
	return out
}

// TestView: a view of a ledger that is in use, and of one that is not, says what the ledger says.
func TestView(t *testing.T) {
	l, dir, cfg := site(t)
	v := mustView(t, dir, everything)
	checkViewLists(t, v, l)
	checkViewStreams(t, v, l)
	epoch := v.log.Epoch()
	l.stop()
	before := listing(t, dir)
	v = mustView(t, dir, everything)
	if after := listing(t, dir); after != before {
		t.Errorf("the directory has %s, want %s as before", after, before)
	}
	if v.log.Epoch() != epoch {
		t.Errorf("epoch %s when it is closed, want %s", v.log.Epoch(), epoch)
	}
	l = startWith(t, dir, cfg, smallLimits())
	checkViewStreams(t, v, l)
	v = mustView(t, dir, everything)
	checkViewLists(t, v, l)
	checkViewStreams(t, v, l)
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s of %d at %d", e.Name(), info.Size(), info.ModTime().UnixNano()))
	}
	return strings.Join(out, ", ")
}

func checkViewLists(t *testing.T, v *View, l *running) {
	t.Helper()
	upTo, found := v.log.Reconciled("b/e")
	gaps, _ := l.OpenGaps()
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"identity", v.log.Identity() + " " + v.log.Epoch() + v.log.Restored(), l.Identity() + " " + l.Epoch()},
		{"reconciled", fmt.Sprint(upTo, found), "222 true"},
		{"gaps", fmt.Sprint(len(v.Gaps()), v.Gaps()[0].ID, v.Gaps()[0].Reason), fmt.Sprint(len(gaps), gaps[0].ID, gaps[0].Reason)},
		{"losses", fmt.Sprint(len(v.Losses()), v.Losses()[0].From, v.Losses()[0].Records), "1 3 -1"},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, c.got, c.want)
		}
	}
}

func checkViewStreams(t *testing.T, v *View, l *running) {
	t.Helper()
	compare := func(a, b StreamInfo) int { return strings.Compare(a.Stream, b.Stream) }
	got, want := v.Streams(), l.Streams()
	slices.SortFunc(got, compare)
	slices.SortFunc(want, compare)
	if !slices.Equal(got, want) || len(got) != 2 {
		t.Errorf("streams %+v, want %+v", got, want)
	}
	var err error
	for _, stream := range []string{"b/e", "c/f"} {
		got, want := keysOf(v.Seen("p", stream)), keysOf(l.Seen("p", stream, math.MinInt64, math.MaxInt64, &err))
		if err == nil && (!slices.Equal(got, want) || len(got) < 25) {
			t.Errorf("%s: seen %v, want %v", stream, got, want)
		}
		if got, want := v.Closed("p", stream), l.Closed("p", stream); !slices.Equal(got, want) || stream == "b/e" && len(got) == 0 {
			t.Errorf("%s: closed %+v, want %+v", stream, got, want)
		}
	}
	a, b := v.Waiting("a", "p", "b/e"), v.Waiting("b", "p", "b/e")
	// Rows 1, 79 and 81 are settled by a, row 1 by b; row 2n+1 has record 10n.
	if len(b) != 39+2 || len(a) != 39-1 || b[0] != (bridge.ID{Key: bridge.Key{Time: 10}}) || b[40] != (bridge.ID{Key: bridge.Key{Time: 345, Revision: 77}}) {
		t.Errorf("%d wait for a, for b %v; want 38, and records 10 to 390, 305 and the update of 345", len(a), b)
	}
	parked := v.Parked("p", "b/e")
	if len(parked) != 41 || parked[3] != (ParkedID{bridge.ID{Key: bridge.Key{Time: 32}}, "m", "odd"}) ||
		parked[40] != (ParkedID{bridge.ID{Key: bridge.Key{Time: 390}}, "a", "0x99"}) {
		t.Errorf("parked %v, want 40 by m and one by a", parked)
	}
}

// TestViewFilter: a view has what is asked for, and nothing else.
func TestViewFilter(t *testing.T) {
	_, dir, _ := site(t)
	v := mustView(t, dir, ViewFilter{Streams: func(pipeline, stream string) bool { return pipeline == "p" && stream == "b/e" }, From: 300, To: 311})
	var keys []int64
	for k := range v.Seen("p", "b/e") {
		keys = append(keys, k.Time)
	}
	if want := []int64{300, 301, 302, 310, 311, 305}; !slices.Equal(keys, want) {
		t.Errorf("seen %v, want %v", keys, want)
	}
	ids := func(list []bridge.ID) string {
		var out []int64
		for _, id := range list {
			out = append(out, id.Time)
		}
		return fmt.Sprint(out)
	}
	if got, want := ids(v.Waiting("b", "p", "b/e")), "[300 310 305]"; got != want {
		t.Errorf("waiting %s, want %s", got, want)
	}
	if got := v.Parked("p", "b/e"); len(got) != 1 || got[0].Time != 302 {
		t.Errorf("parked %v, want record 302", got)
	}
	if got := v.Closed("p", "b/e"); len(got) != 0 {
		t.Errorf("closed %v, want none: all are before the period", got)
	}
	if got := v.Streams(); len(got) != 1 || got[0].Stream != "b/e" || got[0].Newest != 392 {
		t.Errorf("streams %v, want b/e", got)
	}
	if n := len(v.Waiting("a", "p", "c/f")) + len(keysOf(v.Seen("p", "c/f"))) + len(v.Closed("p", "c/f")); n > 0 {
		t.Errorf("%d things of a stream that was not asked for", n)
	}
	v = mustView(t, dir, ViewFilter{From: 0, To: 12})
	if got := v.Closed("p", "b/e"); len(got) == 0 || got[0].From != 0 {
		t.Errorf("closed %v, want those that touch the period", got)
	}
}

// TestViewErrors: what is no ledger of this version is said, and no file is made.
func TestViewErrors(t *testing.T) {
	copied := func(t *testing.T, names ...string) string {
		l := start(t, t.TempDir(), testConfig())
		mustAppend(t, l, passing("b/e", 1, 1))
		dir := t.TempDir()
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(l.dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o640); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for _, c := range []struct {
		name string
		dir  func(t *testing.T) string
		says string
		is   error
	}{
		{"empty directory", func(t *testing.T) string { return t.TempDir() }, "there is none", os.ErrNotExist},
		{"no directory", func(t *testing.T) string { return filepath.Join(t.TempDir(), "x") }, "there is none", os.ErrNotExist},
		{"schema 2", func(t *testing.T) string { return putSchema2(t, snapshot{db: schema2(t).db}) }, "has schema 2, this program knows 3", nil},
		{"log without -shm", func(t *testing.T) string { return copied(t, dbFile, dbFile+"-wal") }, "copy that too", errNoShm},
		{"no database", func(t *testing.T) string {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, dbFile), []byte(strings.Repeat("no database ", 1000)), 0o640); err != nil {
				t.Fatal(err)
			}
			return dir
		}, "not a database", bridge.ErrCorrupt},
		{"damaged row", func(t *testing.T) string {
			dir := filled(t)
			damage(t, dir, "UPDATE batch SET crc=crc+1 WHERE number=7")
			return dir
		}, "row 7 has checksum", bridge.ErrCorrupt},
		{"damaged keys", func(t *testing.T) string {
			dir := filled(t)
			damage(t, dir, "UPDATE seen SET crc=crc+1")
			return dir
		}, "have checksum", bridge.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := c.dir(t)
			before, _ := filepath.Glob(filepath.Join(dir, "*"))
			_, err := OpenView(context.Background(), dir, everything)
			if err == nil || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v, want an error that says %q", err, c.says)
			}
			if after, _ := filepath.Glob(filepath.Join(dir, "*")); !slices.Equal(after, before) {
				t.Errorf("the directory has %v, want %v", after, before)
			}
		})
	}
}

// TestViewCut: each view of a ledger that is being written is one moment of it: whatever was seen and passed waits for the remote that takes
// nothing. The writer is not disturbed, and its log is gone when it closes.
func TestViewCut(t *testing.T) {
	dir := t.TempDir()
	limits := smallLimits()
	limits.wal = 256 << 10
	l := startWith(t, dir, testConfig(), limits)
	ctx, stop := context.WithCancel(context.Background())
	wrote := make(chan error, 2)
	go func() {
		_, err := settleAll(ctx, l.Outbox("a"))
		wrote <- err
	}()
	go func() {
		var err error
		for n := int64(0); err == nil && ctx.Err() == nil; n++ {
			err = l.Append(context.Background(), passing("b/e", 300, 2*n, 2*n+1))
		}
		wrote <- err
	}()
	last := 0
	for n := 0; n < 25 || last == 0 && len(wrote) == 0; n++ { // a slow disk has none in the first 25
		last = mustCut(t, mustView(t, dir, everything), last)
	}
	stop()
	for range 2 {
		if err := <-wrote; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("write while views were opened: %v", err)
		}
	}
	if last == 0 {
		t.Error("no view had a record")
	}
	l.stop()
	if _, err := os.Stat(filepath.Join(dir, dbFile+"-wal")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log is still there (%v), want it copied and gone with the last connection", err)
	}
}

// cut compares keys and messages of one view, and returns the number of keys, which does not fall.
func cut(v *View, before int) (keys int, err error) {
	keys = len(keysOf(v.Seen("p", "b/e")))
	waiting := v.Waiting("b", "p", "b/e")
	if len(waiting) != keys || keys < before {
		return keys, fmt.Errorf("%d keys, %d messages wait for b, %d keys were there before", keys, len(waiting), before)
	}
	for i, id := range waiting {
		if id.Time != waiting[0].Time+int64(i) {
			return keys, fmt.Errorf("message %d that waits is %d, want none missing after %d", i, id.Time, waiting[0].Time)
		}
	}
	if a := v.Waiting("a", "p", "b/e"); len(a) > keys {
		return keys, fmt.Errorf("%d messages wait for a, %d were seen", len(a), keys)
	}
	return keys, nil
}

func mustCut(t *testing.T, v *View, before int) int {
	t.Helper()
	keys, err := cut(v, before)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestViewLog: a view leaves nothing behind that keeps the write-ahead log from being reset.
func TestViewLog(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, testConfig())
	mustAppend(t, l, passing("b/e", 100_000, 1))
	mustView(t, dir, everything)
	var busy, frames, done int
	// RESTART waits for readers; the busy timeout is a thing of the connection, and none is asked for here.
	if err := l.reader.QueryRow("PRAGMA wal_checkpoint(RESTART)").Scan(&busy, &frames, &done); err != nil || busy != 0 || done != frames {
		t.Errorf("checkpoint: busy %d, %d of %d frames and %v, want all of them", busy, done, frames, err)
	}
	size := walSize(t, dir)
	mustAppend(t, l, passing("b/e", 10, 2))
	if got := walSize(t, dir); got != size {
		t.Errorf("the log has grown from %d to %d, want it to begin anew", size, got)
	}
}

func walSize(t *testing.T, dir string) int64 {
	t.Helper()
	st, err := os.Stat(filepath.Join(dir, dbFile+"-wal"))
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// TestViewProcess looks at the ledger of another process, which appends all the time and is killed in the end: what it had said was durable
// is in the next view, and views are of one moment.
func TestViewProcess(t *testing.T) {
	dir := t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killDir+"="+dir)
	var stderr strings.Builder
	child.Stderr = &stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	lines := bufio.NewScanner(out)
	acknowledged := 0
	for range 12 {
		for range 10 {
			if !lines.Scan() {
				t.Fatalf("the child ended by itself: %s", stderr.String())
			}
		}
		if acknowledged, err = strconv.Atoi(lines.Text()); err != nil {
			t.Fatal(err)
		}
		mustCut(t, mustView(t, dir, everything), acknowledged)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		if acknowledged, err = strconv.Atoi(lines.Text()); err != nil {
			t.Fatal(err)
		}
	}
	seen := mustCut(t, mustView(t, dir, everything), acknowledged)
	l := startWith(t, dir, testConfig(), smallLimits())
	if rows := l.Stats().Rows; uint64(seen) != rows {
		t.Errorf("the view after the kill had %d records, the ledger has %d", seen, rows)
	}
}

// TestViewMoves: a ledger that is opened and closed all the time is seen as it was, or not at all.
func TestViewMoves(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, testConfig()).stop()
	ctx, stop := context.WithCancel(context.Background())
	looked := make(chan error, 1)
	go func() {
		last := 0
		for ctx.Err() == nil {
			v, err := OpenView(context.Background(), dir, everything)
			if err == nil {
				last, err = cut(v, last)
			}
			if err != nil && !errors.Is(err, errMoved) && !errors.Is(err, errNoShm) {
				looked <- err
				return
			}
		}
		looked <- nil
	}()
	for n := range int64(25) {
		l := start(t, dir, testConfig())
		mustAppend(t, l, passing("b/e", 10, n))
		l.stop()
	}
	stop()
	if err := <-looked; err != nil {
		t.Error(err)
	}
	if n := mustCut(t, mustView(t, dir, everything), 25); n != 25 {
		t.Errorf("the last view had %d records, want 25", n)
	}
}

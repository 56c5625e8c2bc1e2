package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

func TestBlock(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name string
		keys []bridge.Key
		size int // at most, bytes
	}{
		{"one", []bridge.Key{{Time: -5}}, 12},
		{"steady", steady(10_000, 0), 100},
		{"jitter", steady(10_000, 50), 40_000},
		{"revisions in the order they came", []bridge.Key{{Time: 1}, {Time: 1, Revision: 9}, {Time: 1, Revision: 7}, {Time: 1, Revision: 9}, {Time: 1 << 60}}, 60},
		{"random", func() (ks []bridge.Key) {
			for range 500 {
				ks = append(ks, bridge.Key{Time: rng.Int64N(1 << 40), Revision: rng.Uint64N(2)})
			}
			slices.SortFunc(ks, compareTimes)
			return ks
		}(), 10_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			vs := make([]bridge.Verdict, len(c.keys))
			for i := range vs {
				vs[i] = bridge.Verdict{Kind: bridge.Passed, Outputs: uint16(1 + i/1000), Late: i/1000 == 3}
			}
			data := appendBlock(nil, c.keys, vs)
			ks, got, err := readBlock(data)
			if err != nil || !slices.Equal(ks, c.keys) || !slices.Equal(got, vs) {
				t.Fatalf("got %d keys, %d verdicts and %v, want %d as they were", len(ks), len(got), err, len(c.keys))
			}
			if len(data) > c.size {
				t.Errorf("%d bytes, want at most %d", len(data), c.size)
			}
		})
	}
}

// TestBlockKeepsEveryField: a verdict that was read back is the one that was stored, in every field (rule 18).
func TestBlockKeepsEveryField(t *testing.T) {
	whole := bridge.Verdict{Kind: bridge.Parked, Outputs: 65_535, Module: 255, Reason: 65_535, Late: true}
	wantNoZeroField(t, reflect.ValueOf(whole))
	_, vs, err := readBlock(appendBlock(nil, []bridge.Key{{Time: 1}}, []bridge.Verdict{whole}))
	if err != nil || len(vs) != 1 || vs[0] != whole {
		t.Errorf("got %+v and %v, want %+v", vs, err, whole)
	}
}

// steady is n keys 10 ms apart, each off by up to jitter µs.
func steady(n int, jitter int64) []bridge.Key {
	var ks []bridge.Key
	for i := range int64(n) {
		ks = append(ks, bridge.Key{Time: 1_700_000_000_000_000 + i*10_000 + i*i%(jitter+1)})
	}
	return ks
}

func TestSplitRanges(t *testing.T) {
	for _, c := range []struct {
		name   string
		times  []int64
		others []keyRange
		want   string
	}{
		{"none", nil, nil, "[]"},
		{"one", []int64{5}, nil, "[5-5:1]"},
		{"steady", []int64{1, 2, 2, 3}, nil, "[1-3:4]"},
		{"one late record does not cover the year", []int64{0, 1_000_000, 1_000_001, 1_000_002}, nil, "[0-0:1 1000000-1000002:3]"},
		{"ranges between", []int64{1, 2, 3, 5, 6, 10}, []keyRange{{first: -9, last: 0}, {first: 4, last: 4}, {first: 7, last: 8}, {first: 11, last: 20}},
			"[1-3:3 5-6:2 10-10:1]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ks []bridge.Key
			for _, n := range c.times {
				ks = append(ks, bridge.Key{Time: n})
			}
			got := []string{}
			for _, r := range splitRanges(ks, c.others) {
				got = append(got, fmt.Sprintf("%d-%d:%d", r.first, r.last, r.count))
				if r.sums != (sums{known: true}) {
					t.Errorf("%+v, want it to be known, with nothing added yet", r)
				}
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

// TestExact: the newest keys are exact, across merges and restarts; older ones are ranges that count as seen, and nothing outside them is.
func TestExact(t *testing.T) {
	cfg := testConfig()
	cfg.Exact = 200
	dir := t.TempDir()
	l := startWith(t, dir, cfg, smallLimits())
	const n = 2000
	for i := int64(0); i < n; i += 5 {
		// Even times only, with a pause of 1,000 in the middle.
		var ts []int64
		for j := i; j < i+5; j++ {
			ts = append(ts, evenTime(j))
		}
		mustAppend(t, l, passing("b/e", 0, ts...))
	}
	for range 2 {
		info := l.Streams()[0]
		if info.Seen != n || info.Exact < cfg.Exact || info.Exact > 2*cfg.Exact || info.Newest != evenTime(n-1) {
			t.Fatalf("got %+v, want %d seen, the last %d exact", info, n, cfg.Exact)
		}
		s := l.streams[streamKey{"p", "b/e"}]
		if len(s.closed) > l.limits.ranges || len(s.segments) > 40 {
			t.Errorf("%d ranges and %d blocks, want them bounded", len(s.closed), len(s.segments))
		}
		for j := int64(n - 200); j < n; j++ {
			for _, off := range []int64{0, 1} {
				if fresh, err := isFresh(l, "b/e", evenTime(j)+off); err != nil || fresh != (off == 1) {
					t.Fatalf("time %d: got fresh %v and %v", evenTime(j)+off, fresh, err)
				}
			}
		}
		for j := range int64(n) {
			if fresh, err := isFresh(l, "b/e", evenTime(j)); err != nil || fresh {
				t.Fatalf("time %d: got fresh %v and %v, want it to be seen", evenTime(j), fresh, err)
			}
		}
		if fresh, err := isFresh(l, "b/e", -10); err != nil || !fresh {
			t.Errorf("before all: got fresh %v and %v, want it to be fresh", fresh, err)
		}
		l.stop()
		l = startWith(t, dir, cfg, smallLimits())
	}
}

func evenTime(i int64) int64 {
	if i >= 1000 {
		return 2*i + 1000
	}
	return 2 * i
}

// TestSeen walks keys with their verdicts, also of records that made no message.
func TestSeen(t *testing.T) {
	l := startWith(t, t.TempDir(), testConfig(), smallLimits())
	for i := range int64(50) {
		a := passing("b/e", 0, i)
		a.Verdicts[0] = bridge.Verdict{Kind: bridge.Dropped, Module: 3, Reason: uint16(i % 3)}
		a.Messages = nil
		mustAppend(t, l, a)
	}
	var err error
	var got []string
	for k, v := range l.Seen("p", "b/e", 10, 13, &err) {
		got = append(got, fmt.Sprint(k.Time, v.Kind == bridge.Dropped, v.Module, v.Reason))
	}
	want := []string{"10 true 3 1", "11 true 3 2", "12 true 3 0", "13 true 3 1"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v and %v, want %v", got, err, want)
	}
}

func TestWantedIsBounded(t *testing.T) {
	l := start(t, t.TempDir(), testConfig())
	keys := make([]bridge.Key, maxWanted)
	for i := range keys {
		keys[i] = bridge.Key{Time: int64(i), Revision: 1}
	}
	ctx := context.Background()
	if err := l.Want(ctx, "p", "b/e", keys, make([]bool, len(keys))); err != nil {
		t.Fatal(err)
	}
	err := l.Want(ctx, "p", "b/e", []bridge.Key{{Time: -1, Revision: 1}}, []bool{false})
	if err == nil {
		t.Error("one more was taken, want ErrFull")
	}
}

func TestReconciled(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, testConfig())
	if _, found := l.Reconciled("b/e"); found {
		t.Error("a new ledger knows of a reconcile")
	}
	if err := l.SetReconciled(context.Background(), "b/e", 42); err != nil {
		t.Fatal(err)
	}
	l.stop()
	l = start(t, dir, testConfig())
	if got, found := l.Reconciled("b/e"); !found || got != 42 {
		t.Errorf("got %d, %v, want 42", got, found)
	}
}

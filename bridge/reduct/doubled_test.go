package reduct

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// A repeated payload is taken out where that can be done in one way only; the rest is malformed, and its gap has it fetched.
func TestDoubled(t *testing.T) {
	same := strings.Repeat("same ", 20)
	for _, c := range []struct {
		name, body string
		sizes      []int64
		want       []string // nil: refused
	}{
		{"the first", "abab" + "cd", []int64{2, 2}, []string{"ab", "cd"}},
		{"the last", "ab" + "cdcd", []int64{2, 2}, []string{"ab", "cd"}},
		{"three times", "ababab" + "cd", []int64{2, 2}, []string{"ab", "cd"}},
		{"both", "abab" + "cdcd", []int64{2, 2}, []string{"ab", "cd"}},
		{"of two that are alike", "ab" + "abab", []int64{2, 2}, []string{"ab", "ab"}},
		{"beside an empty one", "" + "abab" + "", []int64{0, 2, 0}, []string{"", "ab", ""}},
		{"greed would take too much", "a" + "aab" + "aab", []int64{1, 3}, []string{"a", "aab"}},
		{"two ways, from both ends alike", "a" + "abab" + "bb", []int64{1, 2, 1}, nil},
		{"two ways", "aa" + "ba" + "a", []int64{1, 2, 1}, nil},
		{"not doubled", "ab" + "cd" + "ef", []int64{2, 2}, nil},
		{"doubled and more", "abab" + "cd" + "e", []int64{2, 2}, nil},
		{"a hundred that are alike, ten of them doubled", strings.Repeat(same, 110), slices.Repeat([]int64{100}, 100), slices.Repeat([]string{same}, 100)},
		{"too much alike", strings.Repeat("a", 40000), slices.Repeat([]int64{1}, 20000), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := head{}
			for i, n := range c.sizes {
				h.items, h.total = append(h.items, item{time: int64(i), size: n}), h.total+n
			}
			rs := make([]bridge.Record, len(c.sizes))
			err := layDoubled([]byte(c.body), &h, rs)
			if c.want == nil {
				if !errors.Is(err, errBody) {
					t.Errorf("got %v %.100v, want %v", err, show(rs), errBody)
				}
				return
			}
			var got []string
			for _, r := range rs {
				got = append(got, string(r.Payload))
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %q %v, want %q", got, err, c.want)
			}
		})
	}
}

// A batch that can be read in two ways is refused with a gap, as any that makes no sense.
func TestDoubledAmbiguous(t *testing.T) {
	s := serve(t, testConfig(), nil)
	var headers []string
	for i, n := range []int{1, 2, 1} {
		headers = append(headers, fmt.Sprintf("x-reduct-time-%d: %d,t", i+1, n))
	}
	want(t, s.send(batchOf("aababbb", headers...)), 422)
	if len(s.gaps.all) != 1 || s.gaps.all[0].From != 1 || s.gaps.all[0].To != 3 || len(s.intake.streams) != 0 {
		t.Errorf("got gaps %+v and streams %v, want a gap of 1..3 and none", s.gaps.all, s.intake.streams)
	}
}

package crash

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/tests/real"
)

// A checker that overlooks a fault would make every test of this package worthless: each fault is planted, alone.
func TestCheckNotices(t *testing.T) {
	type messages = []real.Received
	swap := func(i, j int) func(messages) messages {
		return func(ms messages) messages { ms[i], ms[j] = ms[j], ms[i]; return ms }
	}
	again := func(i int, marked bool) func(messages) messages {
		return func(ms messages) messages {
			m := ms[i]
			m.Marked = marked
			return append(ms, m)
		}
	}
	for _, tt := range []struct {
		name  string
		plant func(messages) messages
		want  string // faults
		marks string // faults where marked doubles are forgiven
	}{
		{"nothing", func(ms messages) messages { return ms }, "", ""},
		{"hole", func(ms messages) messages { return slices.Delete(ms, 2, 3) }, "lost: 1 (gate/a@1)", "lost: 1 (gate/a@1)"},
		{"hole at the end", func(ms messages) messages { return ms[:len(ms)-1] }, "lost: 1 (gate/b@3)", "lost: 1 (gate/b@3)"},
		{"double", again(1, false), "doubled without a mark: 1 (gate/b@0)", "doubled without a mark: 1 (gate/b@0)"},
		{"marked double", again(1, true), "doubled with a mark: 1 (gate/b@0)", ""},
		{"first copy marked", func(ms messages) messages { ms[3].Marked = true; return ms }, "", ""},
		{"mark on the first copy, not on the second", func(ms messages) messages {
			m := ms[7]
			ms[7].Marked = true
			return append(ms, m)
		}, "doubled without a mark: 1 (gate/b@3)", "doubled without a mark: 1 (gate/b@3)"},
		{"swap", swap(2, 4), "misordered: 1 (gate/a@1 after gate/a@2)", "misordered: 1 (gate/a@1 after gate/a@2)"},
		{"swap of other entries", swap(2, 3), "", ""},
		{"called late", func(ms messages) messages {
			ms = swap(2, 4)(ms)
			ms[4].Late = true
			return ms
		}, "", ""},
		{"stranger", func(ms messages) messages { return append(ms, real.Received{ID: "gate/c@1", Topic: "site/c"}) },
			`of no record: 1 ("gate/c@1" on site/c)`, `of no record: 1 ("gate/c@1" on site/c)`},
		{"payload of another", func(ms messages) messages { ms[0].Payload = ms[1].Payload; return ms },
			`garbled: 1 (gate/a@0: "b 0", want "a 0")`, `garbled: 1 (gate/a@0: "b 0", want "a 0")`},
		{"number twice", number(4, "2"), "miscounted: 1 (gate/a@2 is number 2)", "miscounted: 1 (gate/a@2 is number 2)"},
		{"number too high", number(4, "5"), "miscounted: 1 (gate/a@2 is number 5)", "miscounted: 1 (gate/a@2 is number 5)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want, got := planted()
			r := check(want, tt.plant(got))
			for _, c := range []struct {
				forgiven []string
				want     string
			}{{nil, tt.want}, {[]string{repeats}, tt.marks}} {
				if faults := strings.Join(r.faults(c.forgiven...), "; "); faults != c.want {
					t.Errorf("forgiving %v: got %q, want %q", c.forgiven, faults, c.want)
				}
			}
		})
	}
}

func number(i int, n string) func([]real.Received) []real.Received {
	return func(ms []real.Received) []real.Received { ms[i].Properties["count"] = n; return ms }
}

// planted is four records of two entries, and their messages as they should arrive, the entries in turn.
func planted() (want []wanted, got []real.Received) {
	for _, entry := range []string{"a", "b"} {
		w := wanted{entry: entry, payloads: func(i int) string { return fmt.Sprint(entry, " ", i) }}
		for i := range 4 {
			w.ids = append(w.ids, fmt.Sprintf("gate/%s@%d", entry, i))
		}
		want = append(want, w)
	}
	for i := range 4 {
		for _, w := range want {
			got = append(got, real.Received{Topic: "site/" + w.entry, ID: w.ids[i], Payload: []byte(w.payloads(i)),
				Properties: map[string]string{"count": strconv.Itoa(i + 1)}})
		}
	}
	return want, got
}

func TestCheckCounts(t *testing.T) {
	want, got := planted()
	got[1].Marked = true
	r := check(want, append(got, got[1], got[0]))
	if r.records != 8 || r.arrived != 10 || r.marked != 2 || r.repeated.n != 1 || r.doubled.n != 1 {
		t.Errorf("got %+v, want 8 records, 10 messages, 2 of them marked, 1 double marked and 1 not", r)
	}
}

package host

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
)

// fewLayouts makes records of a few sets of labels, names twice in some, so that neighbours often have the same names. Values all differ.
func fewLayouts(rnd *rand.Rand, n, times int) (rs []bridge.Record) {
	names := [...]string{"", "a", "b", "ab", "bab", "bb", "cab", "aab", "ba", "abcabc"}
	for i := range n {
		var ls []bridge.Label
		for j, c := range names[rnd.IntN(4)*rnd.IntN(4)] {
			ls = append(ls, bridge.Label{Name: []byte{byte(c)}, Value: fmt.Append(nil, i, j)})
		}
		rs = append(rs, bridge.Record{Time: int64(rnd.IntN(times)), Labels: ls})
	}
	return rs
}

// TestNeighboursChangeNothing: whatever records stand in a batch before it, a record becomes what it becomes alone.
func TestNeighboursChangeNothing(t *testing.T) {
	b := newBench(t)
	for _, manifest := range []string{"", `labels = ["a"]`, `labels = ["b", "a"]`, `labels = ["*"]`} {
		g := newGuest(manifest + "\noutputs_max = 2")
		var codes [][]byte
		for _, make := range []func(*abi.Builder){
			func(b *abi.Builder) { b.RenameLabel([]byte("a"), []byte("c")) },
			func(b *abi.Builder) { b.RenameLabel([]byte("a"), []byte("b")) },
			func(b *abi.Builder) { b.SetLabel([]byte("a"), []byte("set")); b.SetLabel([]byte("d"), nil) },
			func(b *abi.Builder) { b.DeleteLabel([]byte("b")); b.DeleteLabel([]byte("x")) },
			func(b *abi.Builder) { b.ClearLabels(); b.SetLabel([]byte("a"), []byte("only")) },
			func(b *abi.Builder) { b.DeleteLabel([]byte("a")); b.SetTopic([]byte("t")) },
			func(b *abi.Builder) {
				b.DeleteLabel([]byte("a"))
				b.Output()
				b.RenameLabel([]byte("b"), []byte("a"))
				b.SetPayload([]byte("p"))
			},
		} {
			codes = append(codes, g.canned(built(make)))
		}
		codes = append(codes, asm.Int64(abi.ShortAnswer(abi.Drop, 0)))
		c := b.chain(t, testConfig(), nil, nil, answers(g, codes...))
		rnd := rand.New(rand.NewPCG(7, uint64(len(manifest))))
		for range 50 {
			rs := fewLayouts(rnd, 40, len(codes)+1)
			got := apply(t, c, "b/e", rs).Messages
			for i := range rs {
				alone := apply(t, c, "b/e", rs[i:i+1]).Messages
				if len(got) < len(alone) || !reflect.DeepEqual(clean(got[:len(alone)]), clean(alone)) {
					t.Fatalf("%s: record %d with%s at time %d: got %v, alone %v", manifest, i, text(rs[i].Labels), rs[i].Time, got[:min(len(got), 2)], alone)
				}
				got = got[len(alone):]
			}
		}
	}
}

// clean leaves out that a record alone is the last of its batch, and takes what is empty for what is not there.
func clean(ms []bridge.Message) (out []string) {
	for _, m := range ms {
		out = append(out, fmt.Sprintf("%s %s %q %q %d", m.AppendID(nil, ""), text(m.Labels), m.Topic, m.Payload, m.Time))
	}
	return out
}

// TestSlotsHoldTheFirstLabelOfTheirName, also where the record before had it elsewhere, not or twice.
func TestSlotsHoldTheFirstLabelOfTheirName(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, names := range []string{"a", "ab", "xbca"} {
		s := stage{run: &run{}, link: &link{Module: &Module{}}, in: &instance{}}
		for _, n := range names {
			s.maskNames = append(s.maskNames, []byte(string(n)))
		}
		for i, r := range fewLayouts(rnd, 2000, 1) {
			s.slots(r.Labels)
			for slot, name := range s.maskNames {
				want := []byte(nil)
				for _, l := range r.Labels {
					if string(l.Name) == string(name) {
						want = l.Value
						break
					}
				}
				if got := s.in.fields.Slots[slot]; string(got) != string(want) || (got == nil) != (want == nil) {
					t.Fatalf("record %d with%s: slot %s is %q, want %q", i, text(r.Labels), name, got, want)
				}
			}
		}
	}
}

package verify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

func all(string) bool { return true }

// TestList: one identity a line, or a database's export with columns and a header.
func TestList(t *testing.T) {
	a, b := id(1).Append(nil, "b/e"), output(2, 3).Append(nil, "b/f")
	for _, tt := range []struct {
		name, text string
		foreign    int64
	}{
		{"plain", fmt.Sprintf("%s\n%s\n", a, b), 0},
		{"without end", fmt.Sprintf("%s\n%s", a, b), 0},
		{"CRLF and empty lines", fmt.Sprintf("%s\r\n\r\n%s\r\n", a, b), 0},
		{"CSV with a header", fmt.Sprintf("sluice_id,received,rpm\n%s,2026-11-24 01:02:03 UTC,1500\n%s,,\n", a, b), 0},
		{"quoted, with a byte order mark", fmt.Sprintf("\ufeff\"id\",\"x\"\n\"%s\",\"a, b\"\n\"%s\"\n", a, b), 0},
		{"tabs and semicolons", fmt.Sprintf("id\tn\n%s\t1\n%s;2\n", a, b), 0},
		{"other lines in between", fmt.Sprintf("%s\nnone\nb/e@x\n%s\n", a, b), 2},
		{"other times and none of its first line", fmt.Sprintf("b/e@5\n%s\n%s\n", a, b), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			far := NewArrivals(testPeriod, all, List(strings.NewReader(tt.text)))
			names, err := far.Streams(t.Context())
			if err != nil || !slices.Equal(names, []string{"b/e", "b/f"}) {
				t.Fatalf("streams %v, %v", names, err)
			}
			var got []bridge.ID
			for _, name := range names {
				far.Each(t.Context(), name, testPeriod, func(a Arrival) { got = append(got, a.ID) })
			}
			if want := []bridge.ID{id(1), output(2, 3)}; !slices.Equal(got, want) || far.Foreign != tt.foreign {
				t.Errorf("got %v and %d foreign lines, want %v and %d", got, far.Foreign, want, tt.foreign)
			}
		})
	}
}

// TestManyStreams: a list of something else ends with an error, not with the memory (rule 19).
func TestManyStreams(t *testing.T) {
	far := NewArrivals(testPeriod, all, func(_ context.Context, a *Arrivals) error {
		for n := range maxStreams + 1 {
			if err := a.Add(id(1).Append(nil, fmt.Sprintf("b/%d", n)), false, false); err != nil {
				return err
			}
		}
		return nil
	})
	if _, err := far.Streams(t.Context()); err == nil || !strings.Contains(err.Error(), "65536 streams") {
		t.Errorf("got %v, want an error about the number of streams", err)
	}
}

// TestArrivalsEncoding: what is added comes back the same, in the same order.
func TestArrivalsEncoding(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var want []Arrival
	var s arrivals
	for range 10_000 {
		a := Arrival{Marked: r.IntN(9) == 0, Late: r.IntN(9) == 0, Coarse: r.IntN(9) == 0}
		a.Time = testPeriod.From + r.Int64N(1_000_000)
		if r.IntN(5) == 0 {
			a.Index = uint16(r.IntN(1 << 16))
		}
		if r.IntN(5) == 0 {
			a.Revision = r.Uint64()
		}
		want = append(want, a)
		s.add(a)
	}
	far := &Arrivals{period: testPeriod, streams: map[string]*arrivals{"b/e": &s}}
	var got []Arrival
	far.Each(t.Context(), "b/e", testPeriod, func(a Arrival) { got = append(got, a) })
	if !slices.Equal(got, want) {
		t.Errorf("%d arrivals came back as %d others", len(want), len(got))
	}
}

// TestRandom plants many differences of every kind at random and wants exactly those.
func TestRandom(t *testing.T) {
	fired := map[Kind]int{}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		s := newSite(400, "b/e", "b/f", "b/g")
		s.ledger.newest = base + 2_000_000
		var want []string
		plant := func(k Kind, stream string, id bridge.ID, more string) {
			want = append(want, string(k)+" "+string(id.Append(nil, stream))+more)
			fired[k]++
		}
		for _, stream := range []string{"b/e", "b/f", "b/g"} {
			for i := 2; i < 398; i += 4 { // apart, so that a swap is of two neighbours that are both there
				switch n := r.IntN(40); n {
				case 0:
					s.ledger.forget(stream, i)
					s.remove(stream, id(i))
					plant(HoleEdge, stream, id(i), "")
				case 1:
					s.remove(stream, id(i))
					plant(HoleFar, stream, id(i), "")
				case 2:
					at := r.IntN(len(s.far[stream]))
					s.far[stream] = slices.Insert(s.far[stream], at, Arrival{ID: id(i)})
					plant(Double, stream, id(i), " x2")
					s.ledger.set(stream, i, bridge.Verdict{Kind: bridge.Passed, Outputs: 1, Late: true}) // else its early copy is a misorder of others
				case 3:
					f := s.far[stream]
					at := slices.IndexFunc(f, func(a Arrival) bool { return a.ID == id(i) })
					if next := at + 1; next < len(f) && f[next].ID == id(i+1) {
						f[at], f[next] = f[next], f[at]
						plant(Misorder, stream, id(i), "")
					}
				case 4:
					at := r.IntN(len(s.far[stream]))
					s.far[stream] = slices.Insert(s.far[stream], at, Arrival{ID: output(i, 5)})
					plant(Stranger, stream, output(i, 5), "")
				case 5:
					s.ledger.set(stream, i, bridge.Verdict{Kind: bridge.Dropped})
					s.remove(stream, id(i))
				case 6:
					s.ledger.waiting[pipeOf(stream)] = append(s.ledger.waiting[pipeOf(stream)], id(i))
					s.remove(stream, id(i))
				}
			}
			keys := s.ledger.seen[pipeOf(stream)] // a ledger keeps them in the order of its blocks
			r.Shuffle(len(keys), func(i, k int) { keys[i], keys[k] = keys[k], keys[i] })
		}
		slices.Sort(want)
		if got := found(s.run(t)); !slices.Equal(got, want) {
			t.Fatalf("seed %d: found %q, want %q", seed, got, want)
		}
	}
	for _, k := range []Kind{HoleEdge, HoleFar, Double, Misorder, Stranger} {
		if fired[k] == 0 {
			t.Errorf("no %s was ever planted", k)
		}
	}
}

// BenchmarkCompare is a million identities of one stream, all three sides of it.
func BenchmarkCompare(b *testing.B) {
	const n = 1_000_000
	s := newSite(0)
	var list strings.Builder
	for i := range n {
		t := base + int64(i)*450_000 + int64(i*7919%1000)
		s.edge["b/e"] = append(s.edge["b/e"], t)
		k := bridge.Key{Time: t}
		s.ledger.seen[pipeOf("b/e")] = append(s.ledger.seen[pipeOf("b/e")], taken{k, bridge.Verdict{Kind: bridge.Passed, Outputs: 1}})
		list.Write(bridge.ID{Key: k}.Append(nil, "b/e"))
		list.WriteByte('\n')
	}
	s.job.Period = Period{base, base + n*450_000 + 1000}
	for b.Loop() {
		s.job.Far = NewArrivals(s.job.Period, all, List(strings.NewReader(list.String()))).InOrder()
		r, err := s.job.Run(b.Context())
		if err != nil || !r.Clean() || r.Total.Arrived != n {
			b.Fatalf("%v: %+v", err, r)
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "IDs/s")
}

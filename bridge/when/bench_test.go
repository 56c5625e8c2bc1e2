package when

import (
	"context"
	"fmt"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
)

// twelve has the labels that a vibration sensor's record has.
func twelve() bridge.Record {
	return record(1_700_000_000_000_000, "axis=z", "channel=3", "device=press-7", "firmware=2.1.4", "line=4", "prod_speed=1450.5", "range=16", "rate=25600",
		"sensor=acc-1", "site=north", "stable=true", "status=0")
}

// BenchmarkCondition asks three terms of twelve labels: under 300 ns, no allocation.
func BenchmarkCondition(b *testing.B) {
	for _, text := range []string{
		`{"&status":{"$eq":0},"&stable":{"$eq":true},"&prod_speed":{"$gt":1400}}`,
		`{"&status":{"$eq":0},"$has":"prod_speed","&prod_speed":{"$gt":150},"$each_t":"10m"}`,
		`{"$in":["&device","press-1","press-7"],"$eq":[{"$hour":["$timestamp","Europe/Berlin"]},23]}`,
	} {
		b.Run(text, func(b *testing.B) {
			f, r := newFilter(compiled(b, text), Drop), twelve()
			b.ReportAllocs()
			for b.Loop() {
				f.env.begin(&r)
				f.met(&f.env)
			}
		})
	}
}

// BenchmarkStage is a batch of 85 through the whole stage, a record.
func BenchmarkStage(b *testing.B) {
	for name, text := range map[string]string{
		"all pass":         `{"&status":{"$eq":0},"&stable":{"$eq":true},"&prod_speed":{"$gt":1400}}`,
		"none pass":        `{"&status":{"$eq":0},"&stable":{"$eq":true},"&prod_speed":{"$gt":2000}}`,
		"held for a while": `{"#ctx_before":20,"&status":{"$eq":0},"$each_n":40}`,
	} {
		b.Run(name, func(b *testing.B) {
			s := NewStage(Options{Pipeline: "p", Condition: compiled(b, text)}, bridgetest.PassAll{})
			rs := make([]bridge.Record, 85)
			for i := range rs {
				rs[i] = twelve()
				rs[i].Time += int64(i)
			}
			var out bridge.Results
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				if err := s.Apply(context.Background(), "b/e", rs, &out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(rs)), "ns/record")
		})
	}
}

// TestNoAllocation: what is asked of every record must not make work for the collector.
func TestNoAllocation(t *testing.T) {
	for _, text := range []string{
		`{"&status":{"$eq":0},"&stable":{"$eq":true},"&prod_speed":{"$gt":1400}}`, `{"&firmware":{"$gt":1},"&missing":{"$eq":1}}`,
		`{"$contains":["&prod_speed","45"],"$has":["device","site"],"$each_t":"1s","$gate":["1s","&status"]}`, `{"$in":["&device","press-1","press-7"],"$eq":[{"$add":["&line",1]},5]}`,
	} {
		f, r := newFilter(compiled(t, text), Drop), twelve()
		if n := testing.AllocsPerRun(100, func() { f.env.begin(&r); f.met(&f.env) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", text, n)
		}
	}
	s := NewStage(Options{Pipeline: "p", Condition: compiled(t, `{"#select_labels":["device"],"&status":{"$eq":0},"$each_n":3}`)}, bridgetest.PassAll{})
	rs := []bridge.Record{twelve(), twelve(), twelve()}
	var out bridge.Results
	if n := testing.AllocsPerRun(100, func() {
		out.Reset()
		if err := s.Apply(context.Background(), "b/e", rs, &out); err != nil {
			t.Fatal(fmt.Sprint(err))
		}
	}); n != 0 {
		t.Errorf("stage: %v allocations a batch, want 0", n)
	}
}

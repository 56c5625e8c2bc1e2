package guests

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/golden"
	"github.com/sluicebridge/sluice/runtime/host"
)

// generators are readings of five of them in one stream, one of which is silent for a while and then comes late.
func generators(n int) (rs []bridge.Record) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range n {
		at, id := int64(i), rnd.IntN(5)
		if id == 3 && i > n/4 && i < n/2 {
			id = 2
		}
		if rnd.IntN(20) == 0 {
			at -= int64(rnd.IntN(60))
		}
		payload := fmt.Appendf(nil, `{"generatorID":"g-%d","fuel":%.1f,"state":"%s"}`, id, 60-float64(i)/20+rnd.Float64(), []string{"run", "stop"}[rnd.IntN(2)])
		rs = append(rs, bridge.Record{Time: 1_767_225_600_000_000 + at*1_000_000, ContentType: []byte("application/json"), Labels: labels("site=north"), Payload: payload})
	}
	return rs
}

// stateful are the modules that remember, each over records that make it do all it can.
var stateful = []guest{
	{"downsample", table{"key": "field:generatorID", "fields": []any{"field:fuel|last,min,max,mean,count", "field:state", "label:site"}, "window": "30s",
		"lateness": "5s", "revise": "1m", "idle": "90s", "alarm_field": "field:fuel", "alarm_below": 20.0}},
	{"dedupe-change", table{"key": "field:generatorID", "fields": []any{"field:fuel|2%", "field:state"}, "max_silence": "1m"}},
}

// Whatever the batches, and whether the process that takes the next one is the same, a new one, or one whose Append failed: the same comes out, under the
// same identities (rule 4).
func TestStatefulModulesAnyBatches(t *testing.T) {
	rs := generators(1000)
	for _, g := range stateful {
		t.Run(g.name, func(t *testing.T) {
			want, wantVerdicts := text(apply(t, shop.chain(t, new(states), g), rs)), apply(t, shop.chain(t, new(states), g), rs).Verdicts
			if strings.Count(want, "\n") < 20 {
				t.Fatalf("%d messages: %.2000s", strings.Count(want, "\n"), want)
			}
			rnd, kept, got, verdicts := rand.New(rand.NewPCG(2, 2)), new(states), "", []bridge.Verdict(nil)
			c := shop.chain(t, kept, g)
			for rest := rs; len(rest) > 0; {
				n := min(1+rnd.IntN(85), len(rest))
				switch rnd.IntN(6) {
				case 0:
					c = shop.chain(t, kept, g)
				case 1: // its Append failed
					apply(t, c, rest[:n])
					c.Discard(stream)
				}
				out := apply(t, c, rest[:n])
				kept.commit(stream, out)
				got += text(out)
				verdicts = append(verdicts, out.Verdicts...)
				rest = rest[n:]
			}
			if got != want || !slices.Equal(verdicts, wantVerdicts) {
				t.Errorf("in batches:\n%.3000s\nat once:\n%.3000s", got, want)
			}
		})
	}
}

// A window belongs to the record that ended it: several to one are its outputs, in order, each a record of its own for whoever takes it.
func TestDownsampledWindows(t *testing.T) {
	c := shop.chain(t, new(states), guest{"downsample", table{"key": "label:id", "fields": []any{"label:v|last,mean"}, "window": "10s", "lateness": "0s", "revise": "0s",
		"idle": "10s", "output": "labels"}})
	var rs []bridge.Record
	for _, r := range []struct {
		second int64
		labels string
	}{{0, "id=a v=1"}, {1, "id=b v=2"}, {3, "id=b v=4"}, {25, "id=c v=5"}, {30, "v=5"}} {
		rs = append(rs, bridge.Record{Time: r.second * 1_000_000, ContentType: []byte("text/plain"), Labels: labels(r.labels), Payload: []byte("reading")})
	}
	out := apply(t, c, rs)
	const want = "vib/acc-1@25000000 topic  type  id=a v=1 v_mean=1 revision=0 payload \n" +
		"vib/acc-1@25000000#1 topic  type  id=b v=4 v_mean=3 revision=0 payload \n" +
		"parked vib/acc-1@30000000 by downsample: no label:id\n"
	if got := text(out); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	for _, m := range out.Messages {
		if m.Time != 0 {
			t.Errorf("a window's time is %d, want its start, 0", m.Time)
		}
	}
}

// The features of the site's own waveforms, out of the built module: what reshape says of them, and the line of each record's rotation.
func TestVibrationFeaturesOfTheSite(t *testing.T) {
	rs := batches(1)[0]
	c := shop.chain(t, new(states), guest{"vibration-features", table{"features": []any{"rms", "kurtosis"}, "digits": int64(5), "rate": 5120.0, "bands": table{"all": []any{0.0, 2561.0}},
		"speed_label": "prod_speed", "bearing": table{"bpfo": 3.58}, "missing": "null"}})
	ref := shop.chain(t, new(states), guest{"reshape", table{"input": "f32", "template": `{"rms":{{rms|5}},"kurtosis":{{kurtosis|5}}}`}})
	got, want := apply(t, c, rs), apply(t, ref, rs)
	if len(got.Messages) != len(rs) || len(want.Messages) != len(rs) {
		t.Fatalf("%d and %d messages of %d records: %.500s", len(got.Messages), len(want.Messages), len(rs), text(got))
	}
	for i := range rs {
		var a, b struct{ RMS, Kurtosis, Energy_all, BPFO float64 }
		if err := json.Unmarshal(got.Messages[i].Payload, &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(want.Messages[i].Payload, &b); err != nil {
			t.Fatal(err)
		}
		if near := func(x, y float64) bool { return x-y < 1e-4*y+2e-5 && y-x < 1e-4*y+2e-5 }; !near(a.RMS, b.RMS) || !near(a.Kurtosis, b.Kurtosis) || a.Energy_all <= 0 {
			t.Errorf("record %d: %s, want %s and an energy", i, got.Messages[i].Payload, want.Messages[i].Payload)
		}
	}
}

// Waveforms of any length, one after the other, fit the memory that a module has without being asked, or are parked with a text that says what to do.
func TestVibrationFeaturesFitTheirMemory(t *testing.T) {
	rt, cfg := shop.runtime(t), host.Default()
	cfg.Path, cfg.Config, cfg.BudgetUnits = shop.path(bearing.name), bearing.config, golden.Units
	m, err := rt.Load(context.Background(), bearing.name, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	c, err := rt.Chain("p", []*host.Module{m}, new(states), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, samples := range []int{65536, 16_000, 4096, 50_000, 65536, 32768, 16_000, 65536} {
		out := apply(t, c, benchBatch(manyLabels, 4*samples)[:1])
		if samples == 50_000 {
			if len(out.Parked) != 1 || !strings.Contains(out.Parked[0].Reason, "the tables for 50000 samples take 19 MiB, want at most tables = 8") {
				t.Errorf("%d samples: %.500s, want them parked", samples, text(out))
			}
		} else if len(out.Messages) != 1 {
			t.Errorf("%d: %d samples: %.1000s", i, samples, text(out))
		}
	}
}

package guests

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/host"
)

// The chain of tests/bench, which asks how many records a second the whole bridge takes: its modules cost this much of that.
var (
	steady = guest{"stable-speed", table{"label": "rpm", "min": 1400.0, "max": 1600.0, "tolerance": 1.0, "window": "1ms", "hold": "0s", "gap": "1h"}}
	remap  = guest{"label-remap", table{"rename": table{"device": "asset"}}}
	remapC = guest{"label-remap-c", remap.config}
	shape  = guest{"reshape", table{
		"template": `{"seq":{{field:seq}},"rms":{{field:rms|4}},"peak":{{field:peak|1}},"time":{{time|ms}},"pad":{{field:pad}}}`}}
	shapeWave = guest{"reshape", table{"input": "f32", "missing": "null",
		"template": `{"asset":{{label:asset}},"rms":{{rms|4}},"peak":{{peak|4}},"time":{{time|ms}}}`}}

	// These absorb and drop what they can: one window of one key, and what has not changed.
	gather       = guest{"downsample", table{"fields": []any{"field:rms|last,min,max,mean", "field:peak"}, "window": "1h"}}
	gatherLabels = guest{"downsample", table{"key": "label:device", "fields": []any{"label:rpm|last,min,max,mean", "label:status"}, "window": "1h"}}
	same         = guest{"dedupe-change", table{"fields": []any{"field:rms|0.5", "field:peak|2%"}}}
	sameLabels   = guest{"dedupe-change", table{"key": "label:device", "fields": []any{"label:rpm|2%", "label:status"}}}

	moments = guest{"vibration-features", table{}}
	bands   = guest{"vibration-features", table{"rate": 25600.0, "bands": table{"low": []any{10.0, 1000.0}, "high": []any{1000.0, 10000.0}}}}
	bearing = guest{"vibration-features", table{"rate": 25600.0, "bands": bands.config["bands"], "speed_label": "rpm", "envelope_band": []any{2000.0, 8000.0},
		"bearing": table{"balls": 9.0, "ball": 0.3126, "pitch": 1.537}}}
)

const (
	fewLabels  = "rpm=1500 device=press-7 axis=x status=0 site=north"
	manyLabels = "axis=x batch=2026-11-23/4 cell=press-7 device=acc-17 firmware=3.2.1 line=4 operator=0815 rpm=1500 shift=early site=north stable=true tool=T-1138"
)

// benchBatch is 85 records, what the sender puts into a batch, with JSON of 200 bytes or a waveform of as many as are asked for.
func benchBatch(with string, waveform int) (rs []bridge.Record) {
	for i := range 85 {
		p := fmt.Appendf(nil, `{"seq":%d,"rms":0.1234,"peak":1.5,"pad":"`, i)
		p = append(p, strings.Repeat("x", 198-len(p))+`"}`...)
		if waveform > 0 {
			p = nil
			for n := range waveform / 4 {
				p = binary.LittleEndian.AppendUint32(p, math.Float32bits(float32(math.Sin(float64(n*(i+1))/20))))
			}
		}
		rs = append(rs, bridge.Record{Time: 1_767_225_600_000_000 + int64(i)*1000, ContentType: []byte("application/json"), Labels: labels(with), Payload: p})
	}
	return rs
}

// BenchmarkChain is each module alone and all of them on batches of 85 records. best_ns is the fastest batch's time for a record: the one figure
// that other programs on the machine hardly change. units is what the meter counted.
func BenchmarkChain(b *testing.B) {
	few, many := benchBatch(fewLabels, 0), benchBatch(manyLabels, 0)
	for _, c := range []struct {
		name string
		rs   []bridge.Record
		in   []guest
	}{
		{"stable-speed", many, []guest{steady}},
		{"label-remap/5", few, []guest{remap}},
		{"label-remap/12", many, []guest{remap}},
		{"label-remap-c/12", many, []guest{remapC}},
		{"reshape/json", many, []guest{shape}},
		{"reshape/200B", benchBatch(manyLabels, 200), []guest{shapeWave}},
		{"reshape/16KiB", benchBatch(manyLabels, 16<<10), []guest{shapeWave}},
		{"vibration/4096/moments", benchBatch(manyLabels, 16<<10), []guest{moments}},
		{"vibration/4096/bands", benchBatch(manyLabels, 16<<10), []guest{bands}},
		{"vibration/4096/bearing", benchBatch(manyLabels, 16<<10), []guest{bearing}},
		{"vibration/1000/bearing", benchBatch(manyLabels, 4000), []guest{bearing}},
		{"downsample/json", many, []guest{gather}},
		{"downsample/labels/5", few, []guest{gatherLabels}},
		{"downsample/labels/12", many, []guest{gatherLabels}},
		{"dedupe-change/json", many, []guest{same}},
		{"dedupe-change/labels/5", few, []guest{sameLabels}},
		{"dedupe-change/labels/12", many, []guest{sameLabels}},
		{"all/json/5", few, []guest{steady, remap, shape}},
		{"all/json/12", many, []guest{steady, remap, shape}},
		{"all/200B/5", benchBatch(fewLabels, 200), []guest{steady, remap, shapeWave}},
		{"all/200B/12", benchBatch(manyLabels, 200), []guest{steady, remap, shapeWave}},
	} {
		b.Run(c.name, func(b *testing.B) {
			if c.in[0].name == remapC.name {
				shop.buildGuest(b, remapC.name, remapSource)
			}
			chain, metrics := shop.measured(b, c.in...)
			best(b, chain, c.rs)
			units := int64(0)
			for _, g := range c.in {
				units += metrics.ModuleFuel.At(g.name).Load()
			}
			b.ReportMetric(float64(units)/float64(b.N*len(c.rs)), "units/record")
		})
	}
}

// best applies the chain b.N times.
func best(b *testing.B, c *host.Chain, rs []bridge.Record) {
	b.Helper()
	out, least := new(bridge.Results), time.Hour
	b.ReportAllocs()
	for b.Loop() {
		begun := time.Now()
		out.Reset()
		if err := c.Apply(context.Background(), stream, rs, out); err != nil {
			b.Fatal(err)
		}
		least = min(least, time.Since(begun))
	}
	if len(out.Parked) > 0 {
		b.Fatalf("%d messages of %d records: %.1000s", len(out.Messages), len(rs), text(out))
	}
	b.ReportMetric(float64(len(out.Messages))/float64(len(rs)), "messages/record")
	b.ReportMetric(float64(least.Nanoseconds())/float64(len(rs)), "best_ns/record")
}

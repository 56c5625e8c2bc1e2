package bench

import (
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge/site"
	"github.com/sluicebridge/sluice/tests/real"
)

const cModule = `
modules = ["label-remap"]
[modules.label-remap]
path = "{root}/wasm-modules/dist/label-remap-c.wasm"
config = { rename = { device = "asset" } }
`

// Memory of a bridge that is ready and idle, and the time from its start until it is ready with the compile cache warm.
func BenchmarkIdle(b *testing.B) {
	for _, c := range []struct{ name, modules string }{
		{"c-guest", cModule}, {"three-go-guests", fromWaveform},
	} {
		b.Run(c.name, func(b *testing.B) {
			far := newFarEnd(b)
			defer far.close()
			bridge := far.bridge(b, fmt.Sprintf("127.0.0.1:%d", real.Port(b)), c.modules)
			var idle, ready []float64
			for range pairs {
				bridge.Kill()
				start := time.Now()
				bridge.Start()
				await(b, "readiness", func() bool {
					r, err := http.Get(bridge.Admin + "/readyz")
					if err != nil {
						return false
					}
					r.Body.Close()
					return r.StatusCode == http.StatusOK
				})
				ready = append(ready, float64(time.Since(start).Milliseconds()))
				idle = append(idle, memory(b, bridge.Pid(), "VmRSS"))
			}
			bridge.Kill()
			b.ReportMetric(median(idle), "idle_MiB")
			b.ReportMetric(median(ready), "ready_ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkSoak loads a bridge fully for SOAK (20m is what RESULTS.md has; a tenth of a minute if unset) and reports how much its memory grew between a
// quarter of that time and its end.
func BenchmarkSoak(b *testing.B) {
	length := 6 * time.Second
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			b.Fatalf("SOAK: %v", err)
		}
	}
	far := newFarEnd(b)
	defer far.close()
	addr := fmt.Sprintf("127.0.0.1:%d", real.Port(b))
	bridge := far.bridge(b, addr, fromWaveform)
	defer bridge.Kill()
	early := make(chan float64, 1)
	timer := time.AfterFunc(length/4, func() { early <- memory(b, bridge.Pid(), "VmRSS") })
	defer timer.Stop()
	report, err := site.RunLoad(b.Context(), site.LoadConfig{
		Target: "http://" + addr, Bucket: "gate", Token: "t", Size: logSize, Connections: 2, Entries: 8, Duration: length})
	if err != nil {
		b.Fatalf("load: %v", err)
	}
	late, first := memory(b, bridge.Pid(), "VmRSS"), <-early
	b.ReportMetric(report.PerSecond(), "records/s")
	b.ReportMetric(first, "early_MiB")
	b.ReportMetric(late, "late_MiB")
	b.ReportMetric(100*(late/first-1), "growth_%")
	b.ReportMetric(0, "ns/op")
}

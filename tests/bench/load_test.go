package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/sluicebridge/sluice/bridge/site"
	"github.com/sluicebridge/sluice/tests/real"
)

const loadTime = 5 * time.Second

// load drives a target with the sender's own requests for loadTime and returns the rate at which messages arrived at the far end.
func (f *farEnd) load(b *testing.B, target string, cfg site.LoadConfig) float64 {
	b.Helper()
	cfg.Target, cfg.Bucket, cfg.Token, cfg.Duration = target, "gate", "t", loadTime
	before, start := f.subscriber.messages.Load(), time.Now()
	report, err := site.RunLoad(b.Context(), cfg)
	if err != nil {
		b.Fatalf("load %s: %v", target, err)
	}
	if report.Forgotten > 0 {
		b.Fatalf("load %s: %d records would have been forgotten", target, report.Forgotten)
	}
	settling := int64(cfg.Entries) // the first record of each entry may not pass
	await(b, "the last message", func() bool { return f.subscriber.messages.Load()-before >= report.Records-settling })
	return float64(report.Records) / time.Since(start).Seconds()
}

// Synthetic load without a ReductStore, 200 B, QoS 1, no modules: what arrives, against the bare client.
func BenchmarkLoad(b *testing.B) {
	compare(b, "records/s", func() float64 { return bareRate(b, 200_000, record) }, func() float64 {
		far := newFarEnd(b)
		defer far.close()
		addr := fmt.Sprintf("127.0.0.1:%d", real.Port(b))
		bridge := far.bridge(b, addr, noModules)
		defer bridge.Kill()
		return far.load(b, "http://"+addr, site.LoadConfig{Size: logSize, Connections: 2, Entries: 2})
	})
}

// Waveforms: 85 x 100 kB a batch, in MB/s; the bridge's memory is reported beside it.
func BenchmarkWaveforms(b *testing.B) {
	const size = 100_000
	payload := func(int) []byte { return make([]byte, size) }
	peak := 0.0
	compare(b, "MB/s", func() float64 { return bareRate(b, 5_000, payload) * size / 1e6 }, func() float64 {
		far := newFarEnd(b)
		defer far.close()
		addr := fmt.Sprintf("127.0.0.1:%d", real.Port(b))
		bridge := far.bridge(b, addr, noModules)
		defer bridge.Kill()
		rate := far.load(b, "http://"+addr, site.LoadConfig{Size: size, Connections: 1, Entries: 1})
		peak = max(peak, memory(b, bridge.Pid(), "VmHWM"))
		return rate * size / 1e6
	})
	b.ReportMetric(peak, "peak_RSS_MiB")
}

// bareRate is the rate at which a bare client's messages arrive.
func bareRate(b *testing.B, n int, payload func(int) []byte) float64 {
	b.Helper()
	far := newFarEnd(b)
	defer far.close()
	d := far.bare(b, n, 1, func(i int) *packets.Publish {
		p := publishRecord(i)
		p.Payload = payload(i)
		return p
	})
	return float64(n) / d.Seconds()
}

// Bento at the same work as far as it goes, then the bridge: once with the broker as shipped, once at the peer's best.
func BenchmarkBento(b *testing.B) {
	program := bento(b)
	for _, broker := range []struct {
		name  string
		lines []string
	}{
		{"stock", nil},
		{"nodelay", []string{"set_tcp_nodelay true"}},
	} {
		b.Run(broker.name, func(b *testing.B) {
			compare(b, "records/s", func() float64 { return bentoRate(b, program, broker.lines) }, func() float64 {
				far := newFarEnd(b, broker.lines...)
				defer far.close()
				addr := fmt.Sprintf("127.0.0.1:%d", real.Port(b))
				bridge := far.bridge(b, addr, fromWaveform)
				defer bridge.Kill()
				return far.load(b, "http://"+addr, site.LoadConfig{Size: logSize, Connections: 1, Entries: 1})
			})
		})
	}
}

// bento builds the peer from its own module, once, outside the tree.
func bento(b *testing.B) string {
	b.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Fatal(err)
	}
	program := filepath.Join(cache, "sluice", "bento-1.10.0")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = "bento"
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build the peer: %v\n%s", err, out)
	}
	return program
}

func bentoRate(b *testing.B, program string, lines []string) float64 {
	b.Helper()
	far := newFarEnd(b, lines...)
	defer far.close()
	port := real.Port(b)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	p := real.NewProcess(b, program, []string{"-c", "bento/gate.yaml"},
		[]string{"TARGET=" + addr, "BROKER=tcp://" + far.addr()})
	p.Start()
	defer p.Kill()
	p.Listening(port)
	return far.load(b, "http://"+addr, site.LoadConfig{Size: logSize, Connections: 1, Entries: 1})
}

package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/sluicebridge/sluice/tests/real"
)

const (
	logRecords = 40_000
	logEntries = 2
	logSize    = 200
)

// fullLog makes a store's directory with a replication log of 40,000 records that nobody has taken yet, addressed to a loopback port.
func fullLog(b *testing.B, port int) (dir string) {
	b.Helper()
	dir = b.TempDir()
	s := real.StartStore(b, dir, "")
	s.Bucket(b, "vib", "")
	s.Replicate(b, "to-gate", fmt.Sprintf(
		`{"src_bucket":"vib","dst_bucket":"gate","dst_host":"http://127.0.0.1:%d","dst_token":"t","entries":["acc-*"]}`, port))
	start := time.Now().Add(-time.Hour).UnixMicro()
	for e := range logEntries {
		samples := make([]real.Sample, logRecords/logEntries)
		for i := range samples {
			samples[i] = real.Sample{Time: start + int64(i)*1000, ContentType: "application/json", Payload: record(i),
				Labels: map[string]string{"rpm": "1500", "device": "press-7", "axis": "x", "status": "0", "site": "north"}}
		}
		s.Write(b, "vib", fmt.Sprintf("acc-%d", e+1), samples)
	}
	if err := s.Stop(); err != nil {
		b.Fatalf("stop store: %v", err)
	}
	return dir
}

func record(i int) []byte {
	p := fmt.Appendf(nil, `{"seq":%d,"rms":0.1234,"peak":1.5,"pad":"`, i)
	return append(p, strings.Repeat("x", logSize-len(p)-2)+`"}`...)
}

// The real sender's log of 40,000 records against a target that only answers 200, then against the bridge at its whole work: three modules, ledger on
// disk, MQTT QoS 1. The second figure is what arrives at the subscriber, against a bare client publishing while the null target drains the same log.
func BenchmarkRealSender(b *testing.B) {
	port := real.Port(b)
	dir := fullLog(b, port)
	var arrivals []float64
	var bare float64
	compare(b, "records/s",
		func() float64 {
			taken, arrived := drainNull(b, dir, port)
			bare = arrived
			return taken
		},
		func() float64 {
			taken, arrived := drainSluice(b, dir, port)
			arrivals = append(arrivals, arrived/bare)
			return taken
		})
	b.ReportMetric(median(arrivals), "arrived/bare")
	b.Logf("arrived, ours to bare: %.2f", arrivals)
}

// drainNull returns the rates at which the null target took the log, and at which a bare client's messages arrived meanwhile.
func drainNull(b *testing.B, dir string, port int) (taken, arrived float64) {
	b.Helper()
	far := newFarEnd(b)
	defer far.close()
	var target nullTarget
	stop, err := target.listen(fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	store := real.StartStore(b, copyDir(b, dir), "")
	defer store.Kill()
	await(b, "the sender", func() bool { return target.records.Load() > 0 })
	d := far.bare(b, logRecords, 1, publishRecord)
	await(b, "the null target", func() bool { return target.records.Load() >= logRecords })
	return logRecords / target.elapsed().Seconds(), logRecords / d.Seconds()
}

// publishRecord makes the message that the bridge makes of record i.
func publishRecord(i int) *packets.Publish {
	entry := fmt.Sprintf("acc-%d", 1+i%logEntries)
	user := func(k, v string) packets.User { return packets.User{Key: k, Value: v} }
	return &packets.Publish{Topic: "site/" + entry, Payload: record(i), Properties: &packets.Properties{ContentType: "application/json", User: []packets.User{
		user("asset", "press-7"), user("axis", "x"), user("rpm", "1500"), user("site", "north"), user("status", "0"),
		user("sluice-id", fmt.Sprintf("gate/%s@%d", entry, 1_700_000_000_000_000+i*1000)), user("sluice-time", fmt.Sprint(1_700_000_000_000_000+i*1000)),
	}}}
}

// drainSluice returns the rates at which the bridge took the log and at which its messages arrived.
func drainSluice(b *testing.B, dir string, port int) (taken, arrived float64) {
	b.Helper()
	far := newFarEnd(b)
	defer far.close()
	bridge := far.bridge(b, fmt.Sprintf("127.0.0.1:%d", port), fromJSON)
	defer bridge.Kill()
	store := real.StartStore(b, copyDir(b, dir), "")
	defer store.Kill()
	in, out := stopwatch{goal: logRecords}, stopwatch{goal: logRecords - logEntries} // the first of each entry settles
	await(b, "the bridge", func() bool {
		in.see(metric(bridge.Admin, "sluice_records_received_total"))
		out.see(float64(far.subscriber.messages.Load()))
		return in.done() && out.done()
	})
	return logRecords / in.elapsed().Seconds(), logRecords / out.elapsed().Seconds()
}

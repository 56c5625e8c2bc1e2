package mqtt

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/tests/real"
)

// BenchmarkStock sends to a Mosquitto as shipped (Nagle on, Receive Maximum 20) in the pattern of a ReductStore's replication: 85 messages, then the next
// 85 when all of those are acknowledged. "plain" is the same client behind a relay that does not acknowledge at once what it reads, as any client without
// TCP_QUICKACK: each batch waits for the kernel's delayed acknowledgement. "flow" has more to send at all times: what QoS 2 costs.
func BenchmarkStock(b *testing.B) {
	broker := real.StartBroker(b, "max_inflight_messages 100")
	direct := fmt.Sprintf("127.0.0.1:%d", broker.Port)
	for _, qos := range []int{1, 2} {
		b.Run(fmt.Sprintf("qos%d/quickack", qos), func(b *testing.B) { benchStock(b, direct, qos) })
		b.Run(fmt.Sprintf("qos%d/plain", qos), func(b *testing.B) { benchStock(b, plainRelay(b, direct), qos) })
		b.Run(fmt.Sprintf("qos%d/flow", qos), func(b *testing.B) { benchRemote(b, direct, qos, 1024, 0) })
	}
}

// turns lets a row out when everything before it is acknowledged. When that is committed is of no matter to a broker.
type turns struct {
	*benchOutbox
	acks func() int64 // so far
	each int64        // acknowledgements a message
}

func (o *turns) Next(ctx context.Context, after uint64, _ int) ([]bridge.Row, error) {
	for before := min(int64(after)*85, int64(o.n)); o.acks() < before*o.each; {
		select {
		case <-time.After(50 * time.Microsecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return o.benchOutbox.Next(ctx, after, 1)
}

func benchStock(b *testing.B, address string, qos int) {
	c := testConfig(address)
	c.QoS, c.Window, c.ClientID = qos, 1024, fmt.Sprintf("stock-%d-%d", qos, time.Now().UnixNano())
	m := new(bridge.Metrics)
	o := &turns{benchOutbox: newBenchOutbox(b.N, 0), each: int64(qos), acks: func() (n int64) {
		m.Pubacks.Each(func(_ string, count int64) { n += count })
		return n
	}}
	r, err := New("far", c, Options{Lanes: map[string]bridge.Lane{"p": {Ordering: bridge.Pipelined}}, Metrics: m})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	b.ResetTimer()
	go func() { ended <- r.Run(ctx, o) }()
	<-o.done
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.StopTimer()
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

// plainRelay listens and passes bytes on both ways. It reads as Go does, without TCP_QUICKACK.
func plainRelay(b *testing.B, to string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go relay(conn, to)
		}
	}()
	return l.Addr().String()
}

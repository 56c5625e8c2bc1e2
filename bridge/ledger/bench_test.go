package ledger

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// benchAppend makes an Append of n records that look like a sensor's, with payloads of size bytes.
func benchAppend(stream string, n, size int) *bridge.Append {
	a := &bridge.Append{
		Pipeline: "p", Stream: stream,
		Keys: make([]bridge.Key, n), Verdicts: make([]bridge.Verdict, n), Messages: make([]bridge.Message, n),
	}
	labels := []bridge.Label{{Name: []byte("device"), Value: []byte("press-7")}, {Name: []byte("rpm"), Value: []byte("1480.25")}}
	for i := range n {
		a.Verdicts[i] = bridge.Verdict{Kind: bridge.Passed, Outputs: 1}
		payload := make([]byte, size)
		for j := range payload {
			payload[j] = byte(i*31 + j*7)
		}
		a.Messages[i].Record = bridge.Record{ContentType: []byte("application/octet-stream"), Labels: labels, Payload: payload}
	}
	return a
}

// at moves the Append's records to the nth batch, ten milliseconds apart and a little off, as clocks are.
func at(a *bridge.Append, n int) {
	for i := range a.Keys {
		k := int64(n*len(a.Keys) + i)
		t := 1_700_000_000_000_000 + k*10_000 + k*7919%97
		a.Keys[i].Time, a.Messages[i].Time = t, t
	}
}

// settleAll is a pump without a far end: it claims what is there and calls it delivered with the next claim. Rows are deleted behind it, as
// in life.
func settleAll(ctx context.Context, o *Outbox) (steps int, err error) {
	var after, next uint64
	var step bridge.Step
	for {
		rows, err := o.Next(ctx, after, 16)
		if err != nil {
			return steps, nil
		}
		step.Acks = step.Acks[:0]
		for _, c := range step.Claims {
			step.Acks = append(step.Acks, bridge.Ack{Conn: c.Conn, Number: c.Number, Kind: bridge.AckDelivered})
		}
		step.Claims = step.Claims[:0]
		for _, r := range rows {
			for i := range r.Count {
				step.Claims = append(step.Claims, bridge.Claim{Ref: bridge.Ref{Row: r.Number, Index: uint32(i)}, Number: next})
				next++
			}
			after = r.Number
		}
		if err := o.Commit(ctx, &step); err != nil {
			return steps, err
		}
		steps++
	}
}

// BenchmarkAppend is what an intake gets: batches of 85 records, appended one after the other (or by several streams at once), while a pump
// claims and settles them. A commit is an Append or a step of the pump, a transaction one or more of them, fsync-µs what the disk takes for a
// transaction's bytes just before and after. fsync+5ms adds 5 ms before a commit is reported, as on a slow disk.
func BenchmarkAppend(b *testing.B) {
	for _, delay := range []time.Duration{0, 5 * time.Millisecond} {
		for _, c := range []struct {
			name    string
			size    int
			streams int
		}{{"200B", 200, 1}, {"4KiB", 4 << 10, 1}, {"16KiB", 16 << 10, 1}, {"100kB", 100_000, 1}, {"200B-8streams", 200, 8}} {
			b.Run(fmt.Sprintf("85x%s/fsync+%v", c.name, delay), func(b *testing.B) { benchmarkAppend(b, c.size, c.streams, delay) })
		}
	}
}

func benchmarkAppend(b *testing.B, size, streams int, delay time.Duration) {
	alone := fsyncAlone(b)
	l, run := openBench(b, delay)
	var pump sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	steps := 0
	pump.Go(func() {
		var err error
		if steps, err = settleAll(ctx, l.Outbox("r")); err != nil && ctx.Err() == nil {
			b.Error(err)
		}
	})
	b.ReportAllocs()
	b.ResetTimer()
	began := time.Now()
	var work sync.WaitGroup
	for s := range streams {
		work.Go(func() {
			a := benchAppend(fmt.Sprintf("bucket/entry-%d", s), 85, size)
			for n := s; n < b.N; n += streams {
				at(a, n)
				for {
					err := l.Append(ctx, a)
					if err == nil {
						break
					}
					b.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	took := time.Since(began).Seconds()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/took, "appends/s")
	b.ReportMetric(float64(b.N)*85*float64(size)/1e6/took, "MB/s")
	stop()
	pump.Wait()
	run()
	_, transactions, _ := l.cfg.Metrics.LedgerFsync.Read()
	b.ReportMetric(float64(b.N+steps)/took, "commits/s")
	b.ReportMetric(float64(transactions)/took, "transactions/s")
	b.ReportMetric(float64(alone+fsyncAlone(b))/2e3, "fsync-µs")
}

func openBench(b *testing.B, delay time.Duration) (l *Log, stop func()) {
	cfg := Default()
	cfg.Quota, cfg.Metrics = 4<<30, new(bridge.Metrics)
	cfg.Routes = map[string][]string{"p": {"r"}}
	l, err := Open(context.Background(), b.TempDir(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	if delay > 0 {
		l.after = func() error {
			time.Sleep(delay)
			return nil
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	return l, func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	}
}

// fsyncAlone is the disk alone: 20 kB, which is what a batch of 85 x 200 B is, written over and synced.
func fsyncAlone(b *testing.B) time.Duration {
	f, err := os.Create(filepath.Join(b.TempDir(), "f"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 20_000)
	const n = 256
	var began time.Time
	for i := range 2 * n { // the second half over the first
		if i == n {
			began = time.Now()
		}
		if _, err := f.WriteAt(block, int64(i%n*len(block))); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began) / n
}

// waiting makes a ledger with 100 MB that wait, in 25,000 messages, and a million seen keys that jitter.
func waiting(b *testing.B) (dir string, cfg Config) {
	dir = b.TempDir()
	cfg = Default()
	cfg.Routes = map[string][]string{"p": {"r"}}
	l := start(b, dir, cfg)
	for n := range 250 {
		a := benchAppend("bucket/entry", 100, 4000)
		at(a, n)
		mustAppend(b, l, a)
	}
	for n := range 100 {
		a := benchAppend("bucket/keys", 10_000, 0)
		a.Messages = a.Messages[:0]
		for i := range a.Keys {
			a.Keys[i].Time = int64(n*10_000+i)*10_000 + int64(i)*7919%97
		}
		mustAppend(b, l, a)
	}
	l.stop()
	return dir, cfg
}

// BenchmarkView is what another process pays to look at such a ledger, and how much it holds in memory then.
func BenchmarkView(b *testing.B) {
	dir, _ := waiting(b)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	var v *View
	for b.Loop() {
		var err error
		if v, err = OpenView(context.Background(), dir, everything); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(heap()-before)/1e6, "MB-held")
	runtime.KeepAlive(v)
}

// BenchmarkOpen is a start, which reads all that waits to see that it is whole.
func BenchmarkOpen(b *testing.B) {
	dir, cfg := waiting(b)
	for b.Loop() {
		l, err := Open(context.Background(), dir, cfg)
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFresh is a look-up of 85 records: all new, which is the rule, or sent again from the middle of a million keys.
func BenchmarkFresh(b *testing.B) {
	cfg := Default()
	cfg.Routes = map[string][]string{"p": {"r"}}
	l := start(b, b.TempDir(), cfg)
	for n := range 250 {
		a := benchAppend("bucket/entry", 4000, 0)
		at(a, n)
		a.Messages = nil
		mustAppend(b, l, a)
	}
	rs, fresh := make([]bridge.Record, 85), make([]bool, 85)
	for _, c := range []struct {
		name string
		from int
	}{{"new", 1_000_000}, {"seen", 500_000}} {
		b.Run(c.name, func(b *testing.B) {
			for i := range rs {
				k := int64(c.from + i)
				rs[i].Time = 1_700_000_000_000_000 + k*10_000 + k*7919%97
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := l.Fresh("p", "bucket/entry", rs, fresh); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

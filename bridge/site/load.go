package site

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// LoadConfig is a load of the sender's own requests, from several connections at once. The zero value of a field stands for its default.
type LoadConfig struct {
	Target, Bucket, Token string

	Rate        float64       // records a second, all connections together; 0 = as fast as the target takes them
	Size        int           // bytes of a payload; default 200
	Batch       int           // records of a request; default 85
	Connections int           // default 1
	Entries     int           // default one for each connection; an entry belongs to one connection, so that its order is kept
	Duration    time.Duration // default 10s
	RetryAfter  time.Duration // pause before a batch that the target has not taken goes again; default 250ms
	Start       time.Time     // timestamp of each entry's first record; default now. Two runs with the same start send the same records
}

func (c LoadConfig) withDefaults() LoadConfig {
	c.Size = orDefault(c.Size, 200)
	c.Batch = orDefault(c.Batch, 85)
	c.Connections = orDefault(c.Connections, 1)
	c.Entries = max(orDefault(c.Entries, c.Connections), c.Connections)
	c.Duration = orDefault(c.Duration, 10*time.Second)
	c.RetryAfter = orDefault(c.RetryAfter, 250*time.Millisecond)
	if c.Start.IsZero() {
		c.Start = time.Now()
	}
	return c
}

// LoadReport is what a load came to. Latencies are of one request, with Rate set from when it was due: a target that stalls delays all that follows,
// and that is counted.
type LoadReport struct {
	Records   int64 // taken: answered 2xx without an error of their own
	Bytes     int64 // of their payloads
	Batches   int64
	Kept      int64 // batches that were not taken at first and sent again
	Forgotten int64 // records that a real sender would have forgotten
	Elapsed   time.Duration

	P50, P90, P99, Max time.Duration
}

// PerSecond returns the rate of records taken.
func (r LoadReport) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Records) / r.Elapsed.Seconds()
}

// load is a run in progress.
type load struct {
	cfg  LoadConfig
	wire wire
	from time.Time

	mu     sync.Mutex
	report LoadReport // guarded by mu
	spans  spans      // guarded by mu
}

// RunLoad sends until the duration has passed or ctx ends, and reports. A target that cannot be reached is waited for, as the sender does.
func RunLoad(ctx context.Context, cfg LoadConfig) (LoadReport, error) {
	cfg = cfg.withDefaults()
	w, err := newWire(cfg.Target, cfg.Bucket, "", cfg.Token, Identity{NodeID: "load", StoreID: "load", LicenseHash: "null"})
	if err != nil {
		return LoadReport{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Duration)
	defer cancel()
	l := &load{cfg: cfg, wire: w, from: time.Now()}
	errs := make([]error, cfg.Connections)
	var wg sync.WaitGroup
	for i := range cfg.Connections {
		wg.Go(func() { errs[i] = l.connection(ctx, i) })
	}
	wg.Wait()
	l.report.Elapsed = time.Since(l.from)
	l.report.P50, l.report.P90, l.report.P99 = l.spans.quantile(0.5), l.spans.quantile(0.9), l.spans.quantile(0.99)
	l.report.Max = l.spans.longest
	return l.report, errors.Join(errs...)
}

// connection sends its share of the entries' batches in turn.
func (l *load) connection(ctx context.Context, number int) error {
	c := conn{host: l.wire.host, idle: 90 * time.Second}
	defer c.close()
	var requests []*template
	for e := number; e < l.cfg.Entries; e += l.cfg.Connections {
		t, err := l.template(fmt.Sprintf("load-%d", e))
		if err != nil {
			return err
		}
		requests = append(requests, t)
	}
	step := time.Duration(0)
	if l.cfg.Rate > 0 {
		step = time.Duration(float64(l.cfg.Batch*l.cfg.Connections) / l.cfg.Rate * float64(time.Second))
	}
	due := l.from.Add(step * time.Duration(number) / time.Duration(l.cfg.Connections))
	for n := 0; ctx.Err() == nil; n++ {
		if step == 0 {
			due = time.Now()
		} else if due = due.Add(step); wait(ctx, time.Until(due)) != nil {
			return nil
		}
		l.one(ctx, &c, requests[n%len(requests)], due)
	}
	return nil
}

// one sends one batch until the target has answered for it.
func (l *load) one(ctx context.Context, c *conn, t *template, due time.Time) {
	t.stamp()
	for {
		got, err := c.exchange(ctx, http.MethodPost, t.request, NoFault)
		if ctx.Err() != nil {
			return
		}
		kept := errors.Is(err, errConnect) || errors.Is(err, errTimeout) || got.status == http.StatusServiceUnavailable ||
			got.status == http.StatusTooManyRequests || got.status == http.StatusBadGateway || got.status == http.StatusGatewayTimeout
		if !kept {
			l.settle(got, due)
			return
		}
		l.mu.Lock()
		l.report.Kept++
		l.mu.Unlock()
		if wait(ctx, l.cfg.RetryAfter) != nil {
			return
		}
	}
}

func (l *load) settle(got answer, due time.Time) {
	taken := 0
	if got.status/100 == 2 {
		taken = l.cfg.Batch - len(got.errors)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Batches++
	l.report.Records += int64(taken)
	l.report.Bytes += int64(taken * l.cfg.Size)
	l.report.Forgotten += int64(l.cfg.Batch - taken)
	l.spans.add(time.Since(due))
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// template is an entry's request, built once: only the timestamps change, and all of them have 16 digits (until the year 2286).
type template struct {
	request []byte
	at      []int // where the timestamps are, youngest first
	next    int64
}

func (l *load) template(entry string) (*template, error) {
	site := NewVibration(VibrationConfig{Start: l.cfg.Start, Samples: 1})
	label := site.Fill(new(Sample), 0, 20) // in its stable stretch
	start := l.cfg.Start.UnixMicro()
	payload := make([]byte, l.cfg.Size)
	records := make([]bridge.Record, l.cfg.Batch)
	for i := range records {
		records[i] = bridge.Record{Time: start + int64(i), ContentType: contentType, Labels: label.Labels, Payload: payload}
	}
	request, err := l.wire.batch(nil, http.MethodPost, entry, "", records)
	if err != nil {
		return nil, err
	}
	t := &template{request: request, next: start}
	for from := 0; len(t.at) < len(records); {
		from += bytes.Index(request[from:], []byte("x-reduct-time-")) + len("x-reduct-time-")
		t.at = append(t.at, from)
	}
	return t, nil
}

// stamp writes the next batch's timestamps, a millisecond apart.
func (t *template) stamp() {
	const apart = 1000
	for i, at := range t.at {
		strconv.AppendInt(t.request[at:at], t.next+int64(len(t.at)-1-i)*apart, 10)
	}
	t.next += int64(len(t.at)) * apart
}

// spans counts durations in buckets a sixteenth of an octave wide, from 1 µs to about 71 minutes: bounded memory, 4.5 % exact.
type spans struct {
	buckets [512]int64
	total   int64
	longest time.Duration
}

func (s *spans) add(d time.Duration) {
	i := 0
	if us := float64(d) / float64(time.Microsecond); us > 1 {
		i = min(int(16*math.Log2(us)), len(s.buckets)-1)
	}
	s.buckets[i]++
	s.total++
	s.longest = max(s.longest, d)
}

// quantile returns the upper end of the bucket that the q-th part of the durations ends in.
func (s *spans) quantile(q float64) time.Duration {
	left := int64(math.Ceil(q * float64(s.total)))
	for i, n := range s.buckets[:len(s.buckets)-1] {
		if left -= n; left <= 0 && s.total > 0 {
			return min(time.Duration(math.Exp2(float64(i+1)/16)*float64(time.Microsecond)), s.longest)
		}
	}
	return s.longest
}

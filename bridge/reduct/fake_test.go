package reduct

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// intake is a fake: it remembers what it took, and fails as told before or after it took it. As the ledger, it knows the labels of updates
// only.
type intake struct {
	mu      sync.Mutex
	streams map[string][]bridge.Record // in the order of arrival
	wants   map[string]map[bridge.Key]bool
	before  []error // one for each Deliver to come; nil: none
	after   []error
	calls   int
	block   chan struct{} // not nil: Deliver waits for it
	entered chan struct{} // gets one for each Deliver that waits
	ranges  []hold.Range  // times that count as seen, in every stream
}

func (f *intake) Deliver(ctx context.Context, b *bridge.Batch) error {
	if f.block != nil {
		f.entered <- struct{}{}
		select {
		case <-f.block:
		case <-ctx.Done():
			return bridge.ErrUnknown
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if err := pop(&f.before); err != nil {
		return err
	}
	if f.streams == nil {
		f.streams = make(map[string][]bridge.Record)
	}
	newest, some := f.newest(b.Stream)
	for _, r := range b.Records {
		r.Flags &^= bridge.Late
		if some && r.Time < newest { // as the ledger does
			r.Flags |= bridge.Late
		}
		newest, some = max(newest, r.Time), true
		rev := bridge.LabelHash(r.Labels)
		wanted := f.wants[b.Stream][bridge.Key{Time: r.Time, Revision: rev}]
		if f.has(b.Stream, r.Time) && !wanted {
			continue
		}
		if wanted {
			r.Revision = rev
			delete(f.wants[b.Stream], bridge.Key{Time: r.Time, Revision: rev})
		}
		f.streams[b.Stream] = append(f.streams[b.Stream], clone(r))
	}
	return pop(&f.after)
}

func (f *intake) Unseen(_ context.Context, stream string, times []int64, unseen []bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, t := range times {
		unseen[i] = !f.has(stream, t) && !slices.ContainsFunc(f.ranges, func(r hold.Range) bool { return r.From <= t && t <= r.To })
	}
	return nil
}

func (f *intake) Untouched(ctx context.Context, stream string, times []int64, untouched []bool) error {
	return f.Unseen(ctx, stream, times, untouched)
}

func (f *intake) Update(_ context.Context, stream string, keys []bridge.Key, known []bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := pop(&f.before); err != nil {
		return err
	}
	for i, k := range keys {
		for _, r := range f.streams[stream] {
			known[i] = known[i] || r.Time == k.Time && r.Revision == k.Revision
		}
		if !known[i] {
			if f.wants == nil {
				f.wants = make(map[string]map[bridge.Key]bool)
			}
			if f.wants[stream] == nil {
				f.wants[stream] = make(map[bridge.Key]bool)
			}
			f.wants[stream][k] = true
		}
	}
	return nil
}

func (f *intake) has(stream string, t int64) bool {
	return slices.ContainsFunc(f.streams[stream], func(r bridge.Record) bool { return r.Time == t })
}

// newest returns the newest time of a stream. The caller holds mu.
func (f *intake) newest(stream string) (t int64, some bool) {
	for _, r := range f.streams[stream] {
		t, some = max(t, r.Time), true
	}
	return t, some
}

// times returns what was taken of a stream, in the order of arrival.
func (f *intake) times(stream string) []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ts []int64
	for _, r := range f.streams[stream] {
		ts = append(ts, r.Time)
	}
	return ts
}

func (f *intake) records(stream string) []bridge.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.streams[stream])
}

func clone(r bridge.Record) bridge.Record {
	r.ContentType, r.Payload = bytes.Clone(r.ContentType), bytes.Clone(r.Payload)
	labels := r.Labels
	r.Labels = nil
	for _, l := range labels {
		r.Labels = append(r.Labels, bridge.Label{Name: bytes.Clone(l.Name), Value: bytes.Clone(l.Value)})
	}
	return r
}

func pop(errs *[]error) error {
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	*errs = (*errs)[1:]
	return err
}

// gaps is a fake of the durable list.
type gaps struct {
	mu     sync.Mutex
	all    []bridge.Gap
	closed map[int64]bool
	lost   []bridge.Loss
	losses int64 // so far
	fail   error
}

func (g *gaps) NoteGap(_ context.Context, gap bridge.Gap) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail != nil {
		return g.fail
	}
	gap.ID = int64(len(g.all) + 1)
	g.all = append(g.all, gap)
	return nil
}

func (g *gaps) OpenGaps() ([]bridge.Gap, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var open []bridge.Gap
	for _, gap := range g.all {
		if !g.closed[gap.ID] {
			open = append(open, gap)
		}
	}
	return open, nil
}

func (g *gaps) CloseGap(_ context.Context, id int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = make(map[int64]bool)
	}
	g.closed[id] = true
	return nil
}

func (g *gaps) Lose(ctx context.Context, l bridge.Loss, closes ...int64) error {
	g.mu.Lock()
	var list []bridge.Loss
	for _, o := range g.lost {
		if o.Stream == l.Stream {
			list = append(list, o)
		}
	}
	whole, replaces := l.Into(list)
	g.lost = slices.DeleteFunc(g.lost, func(o bridge.Loss) bool { return slices.Contains(replaces, o.ID) })
	g.losses++
	whole.ID = g.losses
	g.lost = append(g.lost, whole)
	g.mu.Unlock()
	for _, id := range closes {
		if err := g.CloseGap(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// lostOf returns the losses of a stream as FROM..TO RECORDS.
func (g *gaps) lostOf(stream string) (all []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range g.lost {
		if l.Stream == stream {
			all = append(all, fmt.Sprintf("%d..%d %d", l.From, l.To, l.Records))
		}
	}
	return all
}

// holder is a fake reconciler: it fails as told and remembers what it was asked.
type holder struct {
	mu    sync.Mutex
	errs  []error
	asked []string
	noted []string
}

// waiting is a batch of a connection.
func waiting(stream string, accepted time.Time, times ...int64) Waiting {
	return Waiting{Stream: stream, Accepted: accepted, Batch: hold.Batch{Times: times}}
}

func (h *holder) Settle(_ context.Context, w Waiting) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, fmt.Sprintf("%s<=%d", w.Stream, w.Last()))
	if w.Accepted.IsZero() {
		return errors.New("no time of the connection")
	}
	return pop(&h.errs)
}

func (h *holder) Release(string) {}

func (h *holder) Noted(stream string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noted = append(h.noted, stream)
}

func (h *holder) Take(ctx context.Context, in Intake, b *bridge.Batch) error {
	return in.Deliver(ctx, b)
}

func (h *holder) Took(string, int64, []bridge.Label) bool { return false }

// site is a target that serves on a port of its own.
type site struct {
	t      *testing.T
	addr   string
	intake *intake
	gaps   *gaps
	target *Target
	stop   func() error // ends Serve and returns what it returned
}

// testConfig has a short hold.
func testConfig() Config {
	cfg := Default()
	cfg.Hold = bridge.Duration(200 * time.Millisecond)
	return cfg
}

func serve(t *testing.T, cfg Config, h Holder) *site {
	t.Helper()
	s := &site{t: t, intake: &intake{entered: make(chan struct{}, 8)}, gaps: &gaps{}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	s.addr = ln.Addr().String()
	s.target = NewTarget(cfg, Parts{Intake: s.intake, Gaps: s.gaps, Holder: h, Metrics: new(bridge.Metrics), Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.target.Serve(ctx, ln) }()
	s.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("serve: got %v, want nil", err)
		}
	})
	return s
}

// client is one connection of a sender.
type client struct {
	t *testing.T
	net.Conn
	br *bufio.Reader
}

func (s *site) dial() *client {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatalf("dial: %v", err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{t: s.t, Conn: c, br: bufio.NewReader(c)}
}

// send writes a raw request and reads the answer.
func (c *client) send(raw []byte) *http.Response {
	c.t.Helper()
	if _, err := c.Write(raw); err != nil {
		c.t.Fatalf("write request: %v", err)
	}
	return c.answer(raw)
}

func (c *client) answer(raw []byte) *http.Response {
	c.t.Helper()
	method, _, _ := strings.Cut(string(raw), " ")
	resp, err := http.ReadResponse(c.br, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("read answer: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("read answer's body: %v", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp
}

// send opens a connection for one request.
func (s *site) send(raw []byte) *http.Response {
	s.t.Helper()
	c := s.dial()
	defer c.Close()
	return c.send(raw)
}

// capture returns a request of the real sender.
func capture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../tests/data/reduct", name))
	if err != nil {
		t.Fatalf("read capture: %v", err)
	}
	if !strings.HasSuffix(name, ".gz") {
		return b
	}
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("open capture: %v", err)
	}
	if b, err = io.ReadAll(zr); err != nil {
		t.Fatalf("read capture: %v", err)
	}
	return b
}

// request builds a request with a Content-Length.
func rawRequest(method, path, body string, headers ...string) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n%s\r\n%s",
		method, path, len(body), strings.Join(append(headers, ""), "\r\n"), body)
}

// headerSection returns what stands between request line and body.
func headerSection(raw []byte) []byte {
	_, rest, _ := bytes.Cut(raw, []byte("\r\n"))
	end := bytes.Index(rest, []byte("\r\n\r\n"))
	return rest[:end+4]
}

// show writes records as the tests expect them: time content-type name=value… "payload".
func show(rs []bridge.Record) []string {
	var out []string
	for _, r := range rs {
		s := fmt.Sprintf("%d %s", r.Time, r.ContentType)
		for _, l := range r.Labels {
			s += fmt.Sprintf(" %s=%s", l.Name, l.Value)
		}
		if len(r.Payload) > 40 {
			s += fmt.Sprintf(" %d bytes", len(r.Payload))
		} else {
			s += fmt.Sprintf(" %q", r.Payload)
		}
		out = append(out, s)
	}
	return out
}

// drain takes everything and keeps nothing.
type drain struct{}

func (drain) Deliver(context.Context, *bridge.Batch) error               { return nil }
func (drain) Unseen(context.Context, string, []int64, []bool) error      { return nil }
func (drain) Untouched(context.Context, string, []int64, []bool) error   { return nil }
func (drain) Update(context.Context, string, []bridge.Key, []bool) error { return nil }

package reduct

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// twin is two pipelines behind one intake, as the wiring makes them.
type twin struct{ a, b *intake }

func (p twin) Deliver(ctx context.Context, b *bridge.Batch) error {
	if err := p.a.Deliver(ctx, &bridge.Batch{Stream: b.Stream, Records: slices.Clone(b.Records)}); err != nil {
		return err
	}
	return p.b.Deliver(ctx, b)
}

func (p twin) Unseen(ctx context.Context, stream string, times []int64, unseen []bool) error {
	return both(unseen, func(a, b bool) bool { return a || b }, func(in *intake, one []bool) error { return in.Unseen(ctx, stream, times, one) }, p)
}

func (p twin) Untouched(ctx context.Context, stream string, times []int64, untouched []bool) error {
	return both(untouched, func(a, b bool) bool { return a && b }, func(in *intake, one []bool) error { return in.Unseen(ctx, stream, times, one) }, p)
}

func (p twin) Update(ctx context.Context, stream string, keys []bridge.Key, known []bool) error {
	return both(known, func(a, b bool) bool { return a && b }, func(in *intake, one []bool) error { return in.Update(ctx, stream, keys, one) }, p)
}

// both asks both and joins what they say.
func both(all []bool, join func(a, b bool) bool, ask func(in *intake, one []bool) error, p twin) error {
	one := make([]bool, len(all))
	if err := errors.Join(ask(p.a, all), ask(p.b, one)); err != nil {
		return err
	}
	for i := range all {
		all[i] = join(all[i], one[i])
	}
	return nil
}

// A record that one pipeline took with its first labels, and the other, which had failed, with its second: the update that follows is news to
// the first.
func TestRecentOfTwoPipelines(t *testing.T) {
	s := serve(t, testConfig(), nil)
	p := twin{&intake{}, &intake{before: []error{errors.New("disk gone")}}}
	s.target.part.Intake = p
	c := s.dial()
	want(t, c.send(batchOf("a", "x-reduct-time-1: 1,t,l=0")), 503)
	want(t, c.send(batchOf("a", "x-reduct-time-1: 1,t,l=1")), 200) // the sender reads a record when it sends it
	patch := rawRequest("PATCH", "/api/v1/b/b/e/batch", "", "x-reduct-time-1: 0,t,l=1")
	resp := c.send(patch)
	want(t, resp, 200)
	if got := resp.Header.Get("x-reduct-error-1"); !strings.HasPrefix(got, "404") {
		t.Fatalf("update: got %q, want 404", got)
	}
	want(t, c.send(batchOf("a", "x-reduct-time-1: 1,t,l=1")), 200)
	for name, in := range map[string]*intake{"a": p.a, "b": p.b} {
		rs := show(in.records("b/e"))
		if got := rs[len(rs)-1]; got != `1 t l=1 "a"` {
			t.Errorf("pipeline %s ends with %s, want the second labels", name, got)
		}
	}
	// Taken by both at once, its labels are remembered.
	want(t, c.send(batchOf("a", "x-reduct-time-2: 1,t,l=1")), 200)
	resp = c.send(rawRequest("PATCH", "/api/v1/b/b/e/batch", "", "x-reduct-time-2: 0,t,l=1"))
	want(t, resp, 200)
	if got := resp.Header.Get("x-reduct-error-2"); got != "" {
		t.Errorf("update with the labels that both have: got %q, want none", got)
	}
}

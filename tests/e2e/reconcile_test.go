package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/ledger"
	"github.com/sluicebridge/sluice/bridge/reduct"
	"github.com/sluicebridge/sluice/tests/real"
)

// reconcile runs the command and returns its exit code and what it says.
func (s *site) reconcile(t *testing.T, args ...string) (code int, reports []reduct.Report) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(real.Binary(t), "bin", "sluice"),
		append([]string{"reconcile", "--json", "--url", s.sluice.Admin}, args...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &reports); err != nil || len(reports) != 1 {
		t.Fatalf("sluice reconcile: exit code %d, %v in %q; %s", cmd.ProcessState.ExitCode(), err, &out, &said)
	}
	return cmd.ProcessState.ExitCode(), reports
}

// Records written with old times while no task was there to send them: no pass looks so far back, a whole reconcile finds exactly them. They arrive once,
// after the newer ones.
func TestReconcileWhole(t *testing.T) {
	s := newSite(t, options{open: true, source: `overlap = "0s"`})
	s.sluice.Up()
	const records = 1000 // of each entry
	hole := func(i int) bool { return i%100 == 7 || i >= 500 && i < 520 }
	write := func(which func(i int) bool) (n int) {
		for _, entry := range entries {
			var samples []real.Sample
			for i := range records {
				if which(i) {
					samples = append(samples, real.Sample{Time: s.time(i), ContentType: "application/json", Payload: payload(entry, i),
						Labels: map[string]string{"rpm": "1500", "device": "press-7", "note": "a, b"}})
				}
			}
			n += len(samples)
			s.store.Write(t, "vib", entry, samples)
		}
		return n
	}
	n := write(func(i int) bool { return !hole(i) })
	s.settled(t, time.Minute, n)
	passed := func() {
		t.Helper()
		began := time.Now()
		real.Eventually(t, time.Minute, "a pass", func() (bool, string) {
			in := s.status(t).Inputs[0]
			return in.LastPass != nil && in.LastPass.Began.After(began) && in.LastPass.Error == "", fmt.Sprintf("%+v", in.LastPass)
		})
	}
	passed()
	before := s.status(t).Inputs[0].ReconcileMissing // a pass may be faster than the sender
	s.store.Call(t, http.MethodDelete, "/replications/to-gate", "")
	holes := write(hole)
	s.replicate(t)
	passed()
	if got := s.status(t).Inputs[0].ReconcileMissing - before; got != 0 {
		t.Fatalf("passes found %d records, want none: the test is about what they do not find", got)
	}

	code, reports := s.reconcile(t, "--stream", "acc-9", "--whole")
	if code != 0 || reports[0].Compared != 0 {
		t.Errorf("another stream: got %d and %+v, want 0 and nothing", code, reports[0].Counts)
	}
	code, reports = s.reconcile(t, "--whole")
	want := reduct.Counts{Compared: n + holes, Missing: holes, Fetched: holes, Late: holes}
	if code != 3 || reports[0].Counts != want || len(reports[0].Streams) != len(entries) {
		t.Errorf("got %d and %+v, want 3 and %+v", code, reports[0], want)
	}
	s.settled(t, time.Minute, n+holes)
	s.wantLast(t, records, hole)
	want = reduct.Counts{Compared: n + holes}
	if code, reports = s.reconcile(t, "--whole"); code != 0 || reports[0].Counts != want {
		t.Errorf("again: got %d and %+v, want 0 and %+v", code, reports[0].Counts, want)
	}
	in := s.status(t).Inputs[0]
	if in.ReconcileMissing-before != int64(holes) || in.ReconcileLate != int64(holes) || in.LastAsked == nil || in.LastAsked.Compared != n+holes {
		t.Errorf("status: got %+v and %+v, want what was found", in, in.LastAsked)
	}
}

// wantLast compares what the subscriber has of each entry: all records in order, and those that are late after them.
func (s *site) wantLast(t *testing.T, records int, late func(i int) bool) {
	t.Helper()
	for _, entry := range entries {
		var want, last, got []string
		for i := range records {
			if id := s.id(entry, i); late(i) {
				last = append(last, id)
			} else {
				want = append(want, id)
			}
		}
		for _, m := range s.subscriber.Messages() {
			if m.Topic == "site/"+entry {
				got = append(got, m.ID)
			}
		}
		compare(t, entry, got, append(want, last...))
	}
}

// one is an intake as a reconciler wants it.
type one struct{ *bridge.Intake }

func (o one) Untouched(ctx context.Context, stream string, times []int64, untouched []bool) error {
	return o.Unseen(ctx, stream, times, untouched)
}

// marks is what a reconciler asks of the ledger.
type marks struct{ *ledger.Log }

func (m marks) Newest(stream string) (int64, bool) { return m.Log.Newest("p", stream) }

func (m marks) Closed(stream string) (all []reduct.Closed) {
	for _, r := range m.Log.Closed("p", stream) {
		all = append(all, reduct.Closed{Pipeline: "p", ClosedRange: r})
	}
	return all
}

// A ledger that keeps few keys one by one: what lies before them is compared by number and hash, with the store's real answers.
func TestReconcileClosedRanges(t *testing.T) {
	store := real.StartStore(t, "", "")
	store.Bucket(t, "vib", "")
	store.Replicate(t, "to-gate", `{"src_bucket":"vib","dst_bucket":"gate","dst_host":"http://127.0.0.1:1","entries":[]}`)
	c := ledger.Config{Exact: 1000, Routes: map[string][]string{"p": {"far"}}}
	log, err := ledger.Open(t.Context(), t.TempDir(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- log.Run(ctx) }()
	defer func() {
		stop()
		if err := errors.Join(<-done, log.Close()); err != nil {
			t.Error(err)
		}
	}()

	const records = 20_000
	at := func(i int) int64 { return 1_700_000_000_000_000 + int64(i)*1000 + int64(i*i%700) }
	lost, recent := at(1234), []int64{at(records - 50), at(records - 49), at(records - 3)}
	in := one{&bridge.Intake{Pipeline: "p", Ledger: log}}
	var samples []real.Sample
	batch := bridge.Batch{Stream: "gate/e"}
	for i := range records {
		samples = append(samples, real.Sample{Time: at(i), Payload: []byte("x")})
		if at(i) != lost && !slices.Contains(recent, at(i)) {
			batch.Records = append(batch.Records, bridge.Record{Time: at(i), Payload: []byte("x")})
		}
		if len(batch.Records) == 500 || i == records-1 {
			if err := in.Deliver(t.Context(), &batch); err != nil {
				t.Fatal(err)
			}
			batch.Records = nil
		}
	}
	store.Write(t, "vib", "e", samples)
	if err := log.SetReconciled(t.Context(), "gate/e", at(records)); err != nil {
		t.Fatal(err)
	}
	ranges := log.Closed("p", "gate/e")
	if len(ranges) < 2 {
		t.Fatalf("closed ranges: got %+v, want some", ranges)
	}

	cfg := reduct.Default()
	cfg.Source.URL, cfg.Source.Replication, cfg.Source.Overlap, cfg.Source.Rate = store.URL, "to-gate", 0, 0
	rec := reduct.NewReconciler(cfg, reduct.Mind{Name: "edge", Intake: in, Gaps: log, Marks: marks{log}, Log: slog.New(slog.DiscardHandler)})
	got, err := rec.Reconcile(t.Context(), reduct.Want{Whole: true})
	want := reduct.Counts{Compared: records, Missing: 3, Fetched: 3, Late: 3, Ranges: len(ranges), Different: 1}
	if err != nil || got.Counts != want {
		t.Fatalf("got %+v %v, want %+v", got.Counts, err, want)
	}
	if d := got.Streams[0].Differences; len(d) != 1 || d[0].Lacks != lost || d[0].Store != d[0].Ledger+1 {
		t.Errorf("differences: got %+v, want the one that lacks %d", d, lost)
	}
	t.Logf("%d records compared in %.2f s, %d of them in %d closed ranges", got.Compared, got.Seconds, closedKeys(ranges), len(ranges))

	// What was evicted, here by an operator, is not called different: the store cannot say any more what it had.
	remove := fmt.Sprintf(`{"query_type":"REMOVE","start":0,"stop":%d}`, at(2000))
	if text := store.Call(t, http.MethodPost, "/b/vib/e/q", remove); !strings.Contains(text, "removed_records") {
		t.Fatalf("remove: got %s", text)
	}
	got, err = rec.Reconcile(t.Context(), reduct.Want{Whole: true})
	if err != nil || got.Different != 0 || got.Incomparable == 0 || got.Ranges+got.Incomparable != len(ranges) || got.Missing != 0 {
		t.Errorf("after an eviction: got %+v %v, want ranges that cannot be compared, and none that differs", got.Counts, err)
	}
}

func closedKeys(ranges []bridge.ClosedRange) (n int64) {
	for _, r := range ranges {
		n += r.Keys
	}
	return n
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge/admin"
	"github.com/sluicebridge/sluice/bridge/reduct"
)

// answering is a running bridge as far as reconcile can tell.
type answering struct {
	reports any
	refuse  string
	asked   admin.ReconcileRequest
}

func (a *answering) Status() admin.Status { return admin.Status{} }

func (a *answering) Reconcile(_ context.Context, q admin.ReconcileRequest) (any, error) {
	if a.asked = q; a.refuse != "" {
		return nil, fmt.Errorf("%s", a.refuse)
	}
	return a.reports, nil
}

func reportOf(n reduct.Counts, streams ...reduct.StreamReport) []reduct.Report {
	return []reduct.Report{{Input: "edge", Summary: reduct.Summary{Seconds: 1.5, Counts: n}, Streams: streams}}
}

func TestReconcileCommand(t *testing.T) {
	fine := reduct.Counts{Compared: 100}
	holes := reduct.Counts{Compared: 100, Missing: 6, Fetched: 3, Late: 2, Left: 2, Lost: 1, Losses: 1}
	apart := reduct.Counts{Compared: 100, Ranges: 2, Different: 2, Incomparable: 1}
	failed := reportOf(holes)
	failed[0].Error = "edge store does not answer"
	from := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC).UnixMicro()
	for _, c := range []struct {
		name string
		args []string
		give any
		code int
		out  []string
		err  string
		want admin.ReconcileRequest
	}{
		{"nothing missing", nil, reportOf(fine), 0, []string{"input edge: 100 records compared in 1.5s, nothing is missing\n"}, "", admin.ReconcileRequest{}},
		{"a part", []string{"--input", "edge", "--stream", "acc-*", "--whole"}, reportOf(fine), 0, nil, "",
			admin.ReconcileRequest{Input: "edge", Stream: "acc-*", Whole: true}},
		{"a range is everything in it", []string{"--from", "2026-01-31T00:00:00Z", "--to", "2026-01-31T01:00:00+01:00"}, reportOf(fine), 0, nil, "",
			admin.ReconcileRequest{Whole: true, From: from, To: from}},
		{"holes", nil, reportOf(holes, reduct.StreamReport{Stream: "dst/e", Counts: holes}), 3, []string{
			"6 were missing: 3 fetched, 2 of them too late for their order, 2 left in the edge store, 1 lost, 1 ranges went into the list of losses\n",
			"dst/e   100       6        3"}, "", admin.ReconcileRequest{}},
		{"ranges that differ", nil, reportOf(apart, reduct.StreamReport{Stream: "dst/e", Counts: apart, Differences: []reduct.Difference{
			{Pipeline: "p", From: from, To: from + 1e6, Store: 100, Ledger: 99, Lacks: from + 5},
		}}), 3, []string{
			"2 of 3 closed ranges by number and hash, 2 ranges differ\n",
			"dst/e, pipeline p, 2026-01-31T00:00:00Z to 2026-01-31T00:00:01Z: the edge store has 100 records, the ledger 99; it lacks 2026-01-31T00:00:00.000005Z (",
			"dst/e: and 1 ranges more\n"}, "", admin.ReconcileRequest{}},
		{"not all of it", nil, failed, 1, []string{"6 were missing"}, "input edge: edge store does not answer", admin.ReconcileRequest{}},
		{"refused", nil, "no input x", 1, nil, "400 Bad Request: no input x", admin.ReconcileRequest{}},
		{"another program's port", nil, map[string]int{"x": 1}, 1, nil, "read the answer of http://", admin.ReconcileRequest{}},
		{"no time", []string{"--from", "yesterday"}, nil, 2, nil, `--from: "yesterday", want a time such as`, admin.ReconcileRequest{}},
		{"an argument too many", []string{"e"}, nil, 2, nil, `unexpected argument "e"`, admin.ReconcileRequest{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &answering{reports: c.give}
			a.refuse, _ = c.give.(string)
			server := httptest.NewServer(admin.Handler(nil, a))
			defer server.Close()
			var out, err bytes.Buffer
			code := run(t.Context(), append([]string{"reconcile", "--url", server.URL}, c.args...), &out, &err)
			if code != c.code || !strings.Contains(err.String(), c.err) {
				t.Errorf("exit code: got %d, want %d; complaints: got %q, want %q in it", code, c.code, &err, c.err)
			}
			for _, want := range c.out {
				if !strings.Contains(out.String(), want) {
					t.Errorf("output: got\n%s\nwant %q in it", &out, want)
				}
			}
			if a.asked != c.want {
				t.Errorf("asked: got %+v, want %+v", a.asked, c.want)
			}
		})
	}
}

func TestReconcileCommandJSON(t *testing.T) {
	want := reportOf(reduct.Counts{Compared: 5, Missing: 1, Fetched: 1}, reduct.StreamReport{Stream: "dst/e", Counts: reduct.Counts{Compared: 5}})
	server := httptest.NewServer(admin.Handler(nil, &answering{reports: want}))
	defer server.Close()
	var out, err bytes.Buffer
	code := run(t.Context(), []string{"reconcile", "--json", "--url", server.URL}, &out, &err)
	var got []reduct.Report
	if e := json.Unmarshal(out.Bytes(), &got); e != nil || code != 3 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %d %s %v %s, want 3 and the report", code, &out, e, &err)
	}
}

// No bridge, or none that lets itself be asked: the error names the address.
func TestReconcileCommandAlone(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	var out, err bytes.Buffer
	if code := run(t.Context(), []string{"reconcile", "--url", gone.URL}, &out, &err); code != 1 || !strings.Contains(err.String(), "ask the bridge at "+gone.URL) {
		t.Errorf("got %d %s, want 1 and the address", code, &err)
	}
	err.Reset()
	b := newBench(t)
	path := b.write(strings.Replace(b.config(), `listen = "127.0.0.1:0"`, `listen = ""`, 1))
	if code := run(t.Context(), []string{"reconcile", "--config", path}, &out, &err); code != 2 || !strings.Contains(err.String(), "[admin] listen is empty") {
		t.Errorf("got %d %s, want 2 and why", code, &err)
	}
}

// The bridge itself: what cannot be asked is said, and nothing is done.
func TestGateReconcile(t *testing.T) {
	b := newBench(t)
	g, stop := b.start(b.write(b.config()))
	defer stop()
	for _, c := range []struct {
		q    admin.ReconcileRequest
		want string
	}{
		{admin.ReconcileRequest{Input: "x"}, `no input "x"`},
		{admin.ReconcileRequest{}, "no source"},
		{admin.ReconcileRequest{From: 7, To: 6}, "from 7 to 6"},
		{admin.ReconcileRequest{From: -1}, "from -1"},
	} {
		if got, err := g.Reconcile(t.Context(), c.q); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v %v, want %s", c.q, got, err, c.want)
		}
	}
}

// What was lost, and what the last pass found, stand in the status.
func TestStatusOfReconcile(t *testing.T) {
	at := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	s := admin.Status{
		Remotes: []admin.Remote{{Name: "far", Unsure: 5, HeldLanes: 2, HeldReason: "0x97 quota exceeded", PossibleDuplicates: 3,
			Doubles: map[string]int64{"session-lost": 1, "sent-before": 2}}},
		Inputs: []admin.Input{{Name: "edge", Kind: "replication", GapsOpen: 2, Gaps: []admin.Gap{{Stream: "b/e", From: at, To: at, Noted: at, Reason: "cut off"}}, ReconcileMissing: 7, ReconcileLate: 2,
			LastPass: &admin.Look{Began: at, Seconds: 0.5, Compared: 1000, Missing: 3, Error: "edge store does not answer"},
			Forecast: &admin.Forecast{At: at, UnsentRecords: 5, Loses: true, Text: "five wait"}}, {Name: "other", Forecast: &admin.Forecast{Text: "none waits"}}},
		Ledger: admin.Ledger{Lost: admin.Lost{Ranges: 3, Records: 12, Unknown: 1, Newest: []admin.Loss{
			{Stream: "b/e", From: at, To: at.Add(time.Second), Records: 12, Reason: "evicted", Noted: at},
			{Stream: "b/f", From: at, To: at, Records: -1, Reason: "overtaken", Noted: at},
		}}},
	}
	var out bytes.Buffer
	if err := printStatus(&out, s); err != nil {
		t.Fatal(err)
	}
	text, noted := strings.Join(strings.Fields(out.String()), " "), at.Local().Format(time.DateTime)
	for _, want := range []string{
		": 1000 compared in 500ms, 3 missing, failed",
		"0s 0 5 2 (0x97 quota exceeded) 3 (2 sent-before) (1 session-lost) 0 -",
		"b/e 2026-01-31T00:00:00Z 2026-01-31T00:00:00Z " + noted + " cut off", "and 1 gaps more",
		"RECORDS ARE ABOUT TO BE LOST: edge: five wait (as of " + at.Local().Format(time.TimeOnly) + ")",
		"LOST FOR GOOD: 12 records, and 1 ranges of which nobody knows how many",
		"b/e 2026-01-31T00:00:00Z 2026-01-31T00:00:01Z 12 " + noted + " evicted", "b/f 2026-01-31T00:00:00Z 2026-01-31T00:00:00Z ? " + noted + " overtaken",
		"and 1 older ranges",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("status: got\n%s\nwant %q in it", &out, want)
		}
	}
}

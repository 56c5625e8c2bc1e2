package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
	"github.com/sluicebridge/sluice/bridge/when"
	"github.com/sluicebridge/sluice/tests/real"
)

const (
	askedRecords    = 200
	askedConditions = 500
	askedSeed       = 20261124
)

// TestWhen: what a real ReductStore answers to a query with a condition is what a pipeline with the same condition passes, labels included; what it
// refuses is refused here, and nothing else is.
func TestWhen(t *testing.T) {
	store := real.StartStore(t, "", "")
	store.Bucket(t, "when", "")
	samples := askedSamples(rand.New(rand.NewPCG(askedSeed, 1)))
	store.Write(t, "when", "e", samples)
	count := make(map[string]int)
	for i := range askedConditions {
		w := writer{rand.New(rand.NewPCG(askedSeed, uint64(i)+2))}
		text, strict := w.condition(), i%2 == 0
		theirs, their := ask(t, store, text, strict)
		ours, our := passed(w.Rand, text, samples)
		if strict && our.failed && our.err == nil {
			our.err = errors.New("a record without an answer")
		}
		switch {
		case (their.err != nil) != (our.err != nil) || their.refused != our.refused:
			t.Errorf("%d: %s strict %v: the store says %v, here it is %v", i, text, strict, their.err, our.err)
		case their.refused:
			count["refused"]++
		case their.err != nil:
			count["failed"]++
		case our.failed && our.after:
			count["not compared"]++ // a query takes no answer for no, a replication task and a pipeline do not let such a record be context
		case !slices.Equal(theirs, ours):
			t.Errorf("%d: %s strict %v: the store passes %d, here %d pass; %s", i, text, strict, len(theirs), len(ours), firstDifference(theirs, ours))
		default:
			count["equal"]++
			if n := len(ours); n > 0 && n < askedRecords {
				count["of them neither all nor none"]++
			}
		}
	}
	t.Logf("%d conditions, %d records: %v", askedConditions, askedRecords, count)
	for what, least := range map[string]int{"refused": 30, "failed": 30, "equal": 250, "of them neither all nor none": 100} {
		if count[what] < least {
			t.Errorf("%s: %d, want at least %d: the conditions show nothing", what, count[what], least)
		}
	}
}

// TestWhenReplicated: the same with replication tasks, which never take no answer for no.
func TestWhenReplicated(t *testing.T) {
	store := real.StartStore(t, "", "")
	store.Bucket(t, "when", "")
	store.Bucket(t, "far", "")
	samples := askedSamples(rand.New(rand.NewPCG(askedSeed, 1)))
	type task struct {
		text string
		want []string
	}
	tasks := make(map[string]task)
	failed := 0
	for i := uint64(0); len(tasks) < 40; i++ {
		w := writer{rand.New(rand.NewPCG(askedSeed+1, i))}
		text := w.condition()
		want, our := passed(w.Rand, text, samples)
		if our.refused || strings.Contains(text, "#select_labels") || !our.after && !our.failed || len(want) == 0 {
			continue
		}
		if our.failed {
			failed++
		}
		name := fmt.Sprintf("t%d", len(tasks))
		store.Replicate(t, name, fmt.Sprintf(`{"src_bucket":"when","dst_bucket":"far","dst_host":%q,"dst_token":"","dst_prefix":%q,"entries":["e"],"when":%s}`,
			store.URL, name, text))
		tasks[name] = task{text, want}
	}
	store.Write(t, "when", "e", samples)
	for name, c := range tasks {
		store.Sent(t, name, time.Minute)
		var got []string
		real.Eventually(t, 20*time.Second, "records of "+name, func() (bool, string) {
			got, _ = read(t, store, "/b/far/"+name+"/e", `{"query_type":"QUERY"}`)
			return slices.Equal(got, c.want), fmt.Sprintf("%s: the task sent %d, here %d pass; %s", c.text, len(got), len(c.want), firstDifference(got, c.want))
		})
	}
	t.Logf("%d tasks, %d of them with records without an answer", len(tasks), failed)
}

func firstDifference(theirs, ours []string) string {
	for i := range max(len(theirs), len(ours)) {
		a, b := "nothing", "nothing"
		if i < len(theirs) {
			a = theirs[i]
		}
		if i < len(ours) {
			b = ours[i]
		}
		if a != b {
			return fmt.Sprintf("the first difference: there %s, here %s", a, b)
		}
	}
	return "no difference"
}

// askedSamples have labels of every kind that a condition can tell apart, some of them not always.
func askedSamples(r *rand.Rand) []real.Sample {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	samples := make([]real.Sample, askedRecords)
	for i := range samples {
		labels := map[string]string{
			"n": strconv.Itoa(r.IntN(10)), "neg": strconv.Itoa(r.IntN(9) - 4), "f": pick("0.5", "1.50", "2.25", "-3.75", "1e1", ".5", "5."),
			"b": pick("true", "false"), "s": pick("abc", "abd", "run", "idle", "s3", "xyz", "TRUE"), "odd": pick("1.0", "007", "+3", "inf", "NaN", "0x10", "1_0", "5m", "infinity", "-0"),
			"which": pick("n", "b", "f", "nowhere"), "zone": pick("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Nowhere/Land"),
			"big": pick("9223372036854775807", "9223372036854775808", "-9223372036854775808", "1e300"), "gate": pick("0", "1", "1"),
		}
		if r.IntN(4) > 0 {
			labels["often"] = strconv.Itoa(i % 7)
		}
		if r.IntN(4) == 0 {
			labels["seldom"] = "x"
		}
		samples[i] = real.Sample{
			Time: 1_700_000_000_000_000 + int64(i)*3_700_000 + int64(r.IntN(1000)), ContentType: "text/plain", Labels: labels, Payload: fmt.Append(nil, i),
		}
	}
	return samples
}

// outcome is what became of a condition as a whole.
type outcome struct {
	err     error
	refused bool // before a record was asked about
	failed  bool // a record had no answer
	after   bool // there is a #ctx_after
}

// ask queries the store and returns what passes, one text for each record.
func ask(t *testing.T, store *real.Store, text string, strict bool) ([]string, outcome) {
	t.Helper()
	got, err := read(t, store, "/b/when/e", fmt.Sprintf(`{"query_type":"QUERY","strict":%v,"when":%s}`, strict, text))
	return got, outcome{err: err, refused: err != nil && strings.HasPrefix(err.Error(), "refused")}
}

func read(t *testing.T, store *real.Store, path, query string) (all []string, err error) {
	t.Helper()
	answer := struct {
		ID uint64 `json:"id"`
	}{}
	body, status := post(t, store, path+"/q", query)
	if status != http.StatusOK {
		return nil, fmt.Errorf("refused: %d %s", status, body)
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("answer %q: %v", body, err)
	}
	for {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, fmt.Sprintf("%s/api/v1%s/batch?q=%d", store.URL, path, answer.ID), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatalf("read %s: %v", query, err)
		}
		resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusNoContent:
			return all, nil
		case http.StatusOK:
		default:
			return all, fmt.Errorf("%d %s", resp.StatusCode, resp.Header.Get("X-Reduct-Error"))
		}
		var times []int64
		heads := make(map[int64]string)
		for name, values := range resp.Header {
			if text, found := strings.CutPrefix(name, "X-Reduct-Time-"); found {
				at, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				times, heads[at] = append(times, at), values[0]
			}
		}
		slices.Sort(times)
		for _, at := range times {
			fields := strings.Split(heads[at], ",")[2:] // after length and content type
			slices.Sort(fields)
			all = append(all, fmt.Sprint(at, " ", strings.Join(fields, ",")))
		}
		if resp.Header.Get("X-Reduct-Last") == "true" {
			return all, nil
		}
	}
}

func post(t *testing.T, store *real.Store, path, body string) (string, int) {
	t.Helper()
	resp, err := http.Post(store.URL+"/api/v1"+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatalf("ask %s: %v", body, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.Header.Get("X-Reduct-Error"), resp.StatusCode
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("ask %s: read answer: %v", body, err)
	}
	return string(text), resp.StatusCode
}

// passed runs the records through a pipeline's condition, in batches, with the state read back now and then.
func passed(r *rand.Rand, text string, samples []real.Sample) (all []string, o outcome) {
	c, err := when.Parse([]byte(text))
	if err != nil {
		return nil, outcome{err: err, refused: true}
	}
	o.after = strings.Contains(text, "#ctx_after")
	var metrics bridge.Metrics
	ledger := make(states)
	stage := when.NewStage(when.Options{Pipeline: "p", Condition: c, States: ledger, Metrics: &metrics}, bridgetest.PassAll{})
	var out bridge.Results
	for len(samples) > 0 {
		n := min(1+r.IntN(60), len(samples))
		if c.Stateful() && strings.Contains(text, "$limit") {
			n = 1 // a query ends there, a pipeline looks at what comes after it
		}
		out.Reset()
		if err := stage.Apply(context.Background(), "when/e", records(samples[:n]), &out); err != nil {
			return nil, outcome{err: err}
		}
		samples = samples[n:]
		for _, m := range out.Messages {
			all = append(all, lineOf(&m.Record))
		}
		for _, s := range out.States {
			s.Bytes = slices.Clone(s.Bytes)
			ledger[s.Module] = s
		}
		if r.IntN(3) == 0 {
			stage.Discard("when/e")
		}
		if n == 1 && out.Verdicts[0].Kind != bridge.Passed && out.Verdicts[0].Reason == uint16(when.Ended) {
			break
		}
	}
	for _, why := range []when.Reason{when.Absent, when.Mistyped, when.NoResult} {
		o.failed = o.failed || metrics.Conditions.At("p/"+why.String()).Load() > 0
	}
	return all, o
}

func records(samples []real.Sample) (rs []bridge.Record) {
	for _, s := range samples {
		r := bridge.Record{Time: s.Time, ContentType: []byte(s.ContentType), Payload: s.Payload}
		for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
			r.Labels = append(r.Labels, bridge.Label{Name: []byte(name), Value: []byte(s.Labels[name])})
		}
		rs = append(rs, r)
	}
	return rs
}

func lineOf(r *bridge.Record) string {
	var fields []string
	for _, l := range r.Labels {
		fields = append(fields, string(l.Name)+"="+string(l.Value))
	}
	slices.Sort(fields)
	return fmt.Sprint(r.Time, " ", strings.Join(fields, ","))
}

// states is a ledger's, of one stream.
type states map[string]bridge.State

func (s states) State(_, _, module string) (bridge.State, bool, error) {
	st, found := s[module]
	return st, found, nil
}

package when

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
)

// plant is a pipeline over a ledger that fails as planned.
type plant struct {
	ledger  *bridgetest.Ledger
	intake  *bridge.Intake
	metrics bridge.Metrics
}

func newPlant(t testing.TB, onError Policy, text string, modules bridge.Chain) *plant {
	p := &plant{ledger: bridgetest.NewLedger(t, "far")}
	p.use(t, onError, text, modules)
	return p
}

// use puts another condition, or none, before the modules, as a restart does.
func (p *plant) use(t testing.TB, onError Policy, text string, modules bridge.Chain) {
	p.intake = &bridge.Intake{Pipeline: "p", Ledger: p.ledger, Metrics: &p.metrics, Chain: modules}
	if text == "" {
		return
	}
	newest := func(pipeline, stream string) (newest int64, found bool) {
		for k := range p.ledger.Verdicts(pipeline, stream) {
			if !found || k.Time > newest {
				newest, found = k.Time, true
			}
		}
		return newest, found
	}
	o := Options{Pipeline: "p", Condition: compiled(t, text), OnError: onError, States: p.ledger, Metrics: &p.metrics, Newest: newest}
	p.intake.Chain = NewStage(o, modules)
}

func (p *plant) deliver(t testing.TB, rs ...bridge.Record) {
	t.Helper()
	if err := p.intake.Deliver(context.Background(), &bridge.Batch{Stream: "b/e", Records: rs}); err != nil {
		t.Fatalf("deliver: %v", err)
	}
}

// sent lists the times of what goes out, "late" behind those that are.
func (p *plant) sent() string {
	var all []string
	for _, m := range p.ledger.Messages("p", "b/e") {
		text := strings.TrimPrefix(string(m.AppendID(nil, "b/e")), "b/e@")
		if m.Flags&bridge.Late != 0 {
			text += " late"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func (p *plant) counted() string {
	var all []string
	p.metrics.Conditions.Each(func(name string, n int64) {
		if n > 0 {
			all = append(all, fmt.Sprintf("%s %d", strings.TrimPrefix(name, "p/"), n))
		}
	})
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// hits makes a record a microsecond; where the text has an X it meets {"&hit":{"$eq":1}}.
func hits(text string, from int64) (rs []bridge.Record) {
	for i, c := range text {
		rs = append(rs, record(from+int64(i), map[bool]string{true: "hit=1", false: "hit=0"}[c == 'X']))
		rs[i].Payload, rs[i].ContentType = fmt.Append(nil, "payload ", from+int64(i)), []byte("text/plain")
	}
	return rs
}

// TestContext: what goes out around hits, over batches and a restart between each two of them (rules 3 and 4).
func TestContext(t *testing.T) {
	tests := []struct {
		name, when string
		batches    []string
		want       string
		counted    string
	}{
		{"before", `{"#ctx_before":2,"&hit":{"$eq":1}}`, []string{"....X..", ".X"}, "2 3 4 6 7 8", "not met 3"},
		{"before, over batches", `{"#ctx_before":3,"&hit":{"$eq":1}}`, []string{"..", ".", "X", "X."}, "0 1 2 3 4", ""},
		{"before, in time", `{"#ctx_before":"2us","&hit":{"$eq":1}}`, []string{"....", "X..", "X"}, "2 3 4 5 6 7", "not met 2"},
		{"after", `{"#ctx_after":2,"&hit":{"$eq":1}}`, []string{".X", "...", ".X"}, "1 2 3 6", "not met 3"},
		{"after, in time", `{"#ctx_after":"1us","&hit":{"$eq":1}}`, []string{".X", "...", ".X"}, "1 2 6", "not met 4"},
		{"both", `{"#ctx_before":1,"#ctx_after":1,"&hit":{"$eq":1}}`, []string{"..", "X", "..", "..X"}, "1 2 3 6 7", "not met 3"},
		{"a counter goes on", `{"&hit":{"$eq":1},"$each_n":2}`, []string{"X", "X.", "X", "X"}, "1 4", "not met 3"},
		{"a limit stays", `{"&hit":{"$eq":1},"$limit":2}`, []string{"X", ".X", "X", "X"}, "0 2", "limit reached 2, not met 1"},
	}
	for _, tt := range tests {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.name, " restart ", restart), func(t *testing.T) {
				p := newPlant(t, Drop, tt.when, bridgetest.PassAll{})
				var at int64
				for _, b := range tt.batches {
					p.deliver(t, hits(b, at)...)
					if at += int64(len(b)); restart {
						p.use(t, Drop, tt.when, bridgetest.PassAll{})
					}
				}
				if got := p.sent(); got != tt.want {
					t.Errorf("sent %s, want %s", got, tt.want)
				}
				if got := p.counted(); got != tt.counted {
					t.Errorf("counted %q, want %q", got, tt.counted)
				}
				for _, m := range p.ledger.Messages("p", "b/e") {
					if want := fmt.Sprint("payload ", m.Time); string(m.Payload) != want || string(m.ContentType) != "text/plain" || len(m.Labels) != 1 {
						t.Errorf("message %d is %q %s %v, want %q", m.Time, m.Payload, m.ContentType, m.Labels, want)
					}
				}
			})
		}
	}
}

// TestFaults: an Append that fails in any way leaves neither the counters nor what is held ahead of the ledger or behind it (rule 4): all goes out as
// without faults, and the verdicts are the same.
func TestFaults(t *testing.T) {
	conditions := []string{
		`{"#ctx_before":3,"&hit":{"$eq":1}}`, `{"#ctx_before":"4us","#ctx_after":2,"&hit":{"$eq":1},"$each_n":3}`, `{"$each_t":"7us"}`, `{"$gate":["5us","&hit"],"$limit":9}`,
		`{"#select_labels":["hit"],"$each_n":4}`,
	}
	faults := []bridgetest.Fault{bridgetest.Works, bridgetest.Works, bridgetest.Fails, bridgetest.FailsStored, bridgetest.Full, bridgetest.Unknown, bridgetest.UnknownStored}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		text := conditions[r.IntN(len(conditions))]
		calm, rough := newPlant(t, Drop, text, bridgetest.PassAll{}), newPlant(t, Drop, text, bridgetest.PassAll{})
		for at := int64(0); at < 60; {
			n := 1 + r.IntN(6)
			var b strings.Builder
			for range n {
				b.WriteByte(".X"[r.IntN(4)/3])
			}
			calm.deliver(t, hits(b.String(), at)...)
			for fault := bridgetest.Fails; fault != bridgetest.Works; {
				fault = faults[r.IntN(len(faults))]
				rough.ledger.Plan(fault)
				before := rough.ledger.Appends()
				err := rough.intake.Deliver(context.Background(), &bridge.Batch{Stream: "b/e", Records: hits(b.String(), at)})
				rough.ledger.Report("p", "b/e")
				if rough.ledger.Appends() == before { // it was stored by the try before
					rough.used(t)
					break
				}
				if (err == nil) != (fault == bridgetest.Works) {
					t.Fatalf("seed %d: fault %d: %v", seed, fault, err)
				}
			}
			at += int64(n)
		}
		if got, want := rough.sent(), calm.sent(); got != want {
			t.Fatalf("seed %d: %s\nsent %s\nwant %s", seed, text, got, want)
		}
		if got, want := rough.ledger.Verdicts("p", "b/e"), calm.ledger.Verdicts("p", "b/e"); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("seed %d: %s\nverdicts %v\nwant     %v", seed, text, got, want)
		}
	}
}

// used uses up a fault that nothing came for.
func (p *plant) used(t testing.TB) {
	t.Helper()
	a := &bridge.Append{Pipeline: "other", Stream: "b/e", Keys: []bridge.Key{{Time: 1}}, Verdicts: []bridge.Verdict{{Kind: bridge.Dropped}}}
	_ = p.ledger.Append(context.Background(), a)
	p.ledger.Report("other", "b/e")
}

// TestOnError: what has no answer is counted whatever becomes of it.
func TestOnError(t *testing.T) {
	rs := []bridge.Record{record(1, "a=1"), record(2), record(3, "a=1"), record(4, "a=x")}
	const text = `{"$gt":[{"$add":["&a",1]},1]}`
	tests := []struct {
		onError       Policy
		text          string
		sent, counted string
	}{
		{Drop, text, "1 3", "label missing 1, not a number 1"},
		{Keep, text, "1 2 3 4", "label missing, kept 1, not a number, kept 1"},
		{Park, text, "1 3", "label missing, parked 1, not a number, parked 1"},
		{Drop, `{"#ctx_before":1,"#ctx_after":1,` + text[1:], "1 2 3", "label missing 1, not a number 1"}, // it may go before a hit, and not after one
		{Park, `{"#ctx_before":1,"#ctx_after":1,` + text[1:], "1 3", "label missing, parked 1, not a number, parked 1"},
	}
	for _, tt := range tests {
		p := newPlant(t, tt.onError, tt.text, bridgetest.PassAll{})
		p.deliver(t, rs...)
		if got := p.sent(); got != tt.sent {
			t.Errorf("%v %s: sent %s, want %s", tt.onError, tt.text, got, tt.sent)
		}
		if got := p.counted(); got != tt.counted {
			t.Errorf("%v %s: counted %q, want %q", tt.onError, tt.text, got, tt.counted)
		}
		parked := p.ledger.Parked()
		if tt.onError != Park {
			continue
		}
		if len(parked) != 2 || parked[0].Time != 2 || parked[0].Module != Name || !strings.Contains(parked[0].Reason, "at $gt[0].$add[0]: label missing") {
			t.Errorf("parked %+v, want what failed and where", parked)
		}
		if n := p.metrics.RecordsParked.At("p").Load(); n != 2 {
			t.Errorf("%d parked, want 2", n)
		}
	}
}

// TestVerdicts: what is held is absorbed, and decided anew when it leaves, the modules' word among it.
func TestVerdicts(t *testing.T) {
	p := newPlant(t, Drop, `{"#ctx_before":2,"&hit":{"$eq":1}}`, dropOdd{})
	p.deliver(t, hits("....", 0)...)
	want := map[int64]bridge.Kind{0: bridge.Dropped, 1: bridge.Dropped, 2: bridge.Absorbed, 3: bridge.Absorbed}
	check := func() {
		t.Helper()
		for at, kind := range want {
			if v, _ := p.ledger.Seen("p", "b/e", bridge.Key{Time: at}); v.Kind != kind {
				t.Errorf("record %d is %d, want %d", at, v.Kind, kind)
			}
		}
	}
	check()
	if v, _ := p.ledger.Seen("p", "b/e", bridge.Key{Time: 0}); v.Module != Place || Reason(v.Reason) != Unmet {
		t.Errorf("verdict %+v, want the condition's own", v)
	}
	p.deliver(t, hits("X", 4)...)
	want[2], want[3], want[4] = bridge.Passed, bridge.Dropped, bridge.Passed
	check()
	if got := p.sent(); got != "2 4" {
		t.Errorf("sent %s, want 2 4", got)
	}
	if n := p.metrics.RecordsReleased.At("p").Load(); n != 1 {
		t.Errorf("%d released, want 1", n)
	}
}

// dropOdd is a module that drops odd times.
type dropOdd struct{ bridgetest.PassAll }

func (dropOdd) Apply(_ context.Context, _ string, rs []bridge.Record, out *bridge.Results) error {
	for _, r := range rs {
		if r.Time%2 != 0 {
			out.Verdicts = append(out.Verdicts, bridge.Verdict{Kind: bridge.Dropped})
			continue
		}
		out.Verdicts = append(out.Verdicts, bridge.Verdict{Kind: bridge.Passed, Outputs: 1})
		out.Messages = append(out.Messages, bridge.Message{Record: r})
	}
	return nil
}

// TestLateAndRevised: a late record is held like any other and stays marked; one that was updated is held in its newest form only.
func TestLateAndRevised(t *testing.T) {
	p := newPlant(t, Drop, `{"#ctx_before":5,"&hit":{"$eq":1}}`, bridgetest.PassAll{})
	p.deliver(t, hits("..", 10)...)
	p.deliver(t, hits(".", 5)...)
	update := hits(".", 10)
	update[0].Labels[0].Value = []byte("2")
	key := bridge.Key{Time: 10, Revision: bridge.LabelHash(update[0].Labels)}
	if err := p.intake.Update(context.Background(), "b/e", []bridge.Key{key}, make([]bool, 1)); err != nil {
		t.Fatal(err)
	}
	p.deliver(t, update...)
	p.deliver(t, hits("X", 20)...)
	if got, want := p.sent(), fmt.Sprintf("11 5 late 10~%x late 20", key.Revision); got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
	if v, _ := p.ledger.Seen("p", "b/e", bridge.Key{Time: 5}); !v.Late || v.Kind != bridge.Passed {
		t.Errorf("verdict %+v, want passed late", v)
	}
}

// TestAnotherCondition: a state is its condition's alone; and what was held while others decided does not come behind them.
func TestAnotherCondition(t *testing.T) {
	const text = `{"#ctx_before":5,"&hit":{"$eq":1}}`
	p := newPlant(t, Drop, text, bridgetest.PassAll{})
	p.deliver(t, hits("..", 0)...)
	p.use(t, Drop, "", bridgetest.PassAll{})
	p.deliver(t, hits("..", 2)...)
	p.use(t, Drop, text, bridgetest.PassAll{})
	p.deliver(t, hits(".X", 4)...)
	if got := p.sent(); got != "2 3 4 5" {
		t.Errorf("sent %s, want 2 3 4 5", got)
	}
	p.deliver(t, hits(".", 6)...)
	p.use(t, Drop, `{"#ctx_before":6,"&hit":{"$eq":1}}`, bridgetest.PassAll{})
	p.deliver(t, hits("X", 7)...)
	if got := p.sent(); got != "2 3 4 5 7" {
		t.Errorf("with another condition sent %s, want 2 3 4 5 7", got)
	}
}

// TestNoRoom: what is held keeps to the limit of a state, the oldest leave, and are counted (rule 19).
func TestNoRoom(t *testing.T) {
	p := newPlant(t, Drop, `{"#ctx_before":100,"&hit":{"$eq":1}}`, bridgetest.PassAll{})
	rs := hits(".......", 0)
	for i := range rs {
		rs[i].Payload = make([]byte, 300<<10)
	}
	p.deliver(t, rs[:2]...)
	p.deliver(t, rs[2:6]...)
	st, found, _ := p.ledger.State("p", "b/e", Name)
	if !found || len(st.Bytes) > maxState || len(st.Bytes) < 3*300<<10 {
		t.Errorf("state of %d bytes, want 3 records and at most %d", len(st.Bytes), maxState)
	}
	if got := p.counted(); got != "no room to hold 3" {
		t.Errorf("counted %q, want 3 without room", got)
	}
	rs[6].Payload = make([]byte, maxState)
	p.deliver(t, rs[6])
	p.deliver(t, hits("X", 7)...)
	if got := p.sent(); got != "7" {
		t.Errorf("sent %s, want 7: the last one had no room", got)
	}
}

// TestBrokenState: our own corruption is an error and nothing is decided on it (rule 17).
func TestBrokenState(t *testing.T) {
	c := compiled(t, `{"$each_n":2}`)
	for _, b := range [][]byte{nil, {1}, {2, 0}, {1, 0, 0, 0, 0, 0, 0}, {1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9}, {1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}} {
		s := NewStage(Options{Pipeline: "p", Condition: c, States: oneState{c.SHA256(), b}}, bridgetest.PassAll{})
		var out bridge.Results
		if err := s.Apply(context.Background(), "b/e", hits("X", 0), &out); !errors.Is(err, bridge.ErrCorrupt) || len(out.Verdicts) > 0 {
			t.Errorf("state %v: got %v and %d verdicts, want corrupt", b, err, len(out.Verdicts))
		}
	}
}

type oneState struct {
	sha   string
	bytes []byte
}

func (o oneState) State(string, string, string) (bridge.State, bool, error) {
	return bridge.State{Module: Name, SHA256: o.sha, Version: stateVersion, Bytes: o.bytes}, true, nil
}

// FuzzParse: no text makes it panic, and one that is taken is asked, shown and taken again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{`{"&a":{"$eq":1},"$each_t":"10m","#ctx_before":2}`, `{"$or":[{"$in":["&a","s3",5.0]},{"$not":["$timestamp"]}]}`, `{"$eq":[{"$rem":[-9223372036854775808,-1]},"$$x"]}`,
		`{"$hour":["$timestamp","Europe/Berlin"]}`, `{"$gate":[1e300,true],"#select_labels":["a"]}`, `{"$cast":[{"$div_num":["&a","&b"]},"duration"]}`, `{"a":{"\ud800":"é"}}`} {
		f.Add(text, int64(1_700_000_000_000_000), "5", "x")
	}
	f.Fuzz(func(t *testing.T, text string, at int64, a, b string) {
		c, err := Parse([]byte(text))
		if err != nil {
			return
		}
		c.Warnings()
		again, err := Parse([]byte(c.String()))
		if err != nil || again.String() != c.String() {
			t.Fatalf("%s is %s, and that is %v %v", text, c, again, err)
		}
		s := NewStage(Options{Pipeline: "p", Condition: c}, bridgetest.PassAll{})
		var out bridge.Results
		if err := s.Apply(context.Background(), "b/e", []bridge.Record{record(at, "a="+a, "b="+b), record(at+1, "a="+b)}, &out); err != nil {
			t.Fatal(err)
		}
		if len(out.Verdicts) != 2 {
			t.Fatalf("%d verdicts, want 2", len(out.Verdicts))
		}
		for _, st := range out.States {
			if err := newFilter(c, Drop).readState(st.Bytes); err != nil || len(st.Bytes) > maxState {
				t.Fatalf("its own state of %d bytes: %v", len(st.Bytes), err)
			}
		}
	})
}

// FuzzState: no state makes it panic, and one that is read is written alike.
func FuzzState(f *testing.F) {
	c := compiled(f, `{"#ctx_before":3,"$each_n":2,"$gate":["1s","&hit"]}`)
	filled := newFilter(c, Drop)
	for i, r := range hits("...", 5) {
		filled.take(i, &r)
	}
	filled.finish()
	f.Add(filled.appendState(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		x := newFilter(c, Drop)
		if x.readState(slices.Clone(b)) != nil {
			return
		}
		y := newFilter(c, Drop)
		if err := y.readState(x.appendState(nil)); err != nil || !slices.Equal(x.appendState(nil), y.appendState(nil)) {
			t.Fatalf("%v is written as %v: %v", b, x.appendState(nil), err)
		}
	})
}

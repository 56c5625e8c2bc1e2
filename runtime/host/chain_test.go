package host

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
)

// answers makes a guest that answers a record by its time: the n-th with codes[n], the rest with PASS.
func answers(g *guest, codes ...[]byte) *guest {
	body := [][]byte{}
	for i, c := range codes {
		body = append(body, asm.Int(bufferAt), asm.Load(8), asm.Int(int32(i)), asm.Op(asm.I32Eq), asm.If(c, asm.Op(asm.Return)))
	}
	g.process(append(body, pass)...)
	return g
}

func built(make func(*abi.Builder)) []byte {
	var b abi.Builder
	b.Reset()
	make(&b)
	return b.Bytes()
}

func emit(names ...string) []byte {
	return built(func(b *abi.Builder) {
		for _, n := range names {
			b.Output()
			b.SetLabel([]byte(n), []byte("1"))
		}
	})
}

func TestVerdicts(t *testing.T) {
	drop := func(reason uint16) []byte { return asm.Int64(abi.ShortAnswer(abi.Drop, reason)) }
	cases := []struct {
		name   string
		guests func() []*guest
		n      int
		want   string
	}{
		{"pass", func() []*guest { return []*guest{answers(newGuest("version = \"1\""))} }, 2, "passed passed m:@0,n=0 m:@1,n=1"},
		{"drop", func() []*guest { return []*guest{answers(newGuest("version = \"1\""), drop(0))} }, 2, "dropped passed m:@1,n=1"},
		{"absorb", func() []*guest {
			return []*guest{answers(newGuest("version = \"1\""), asm.Int64(abi.ShortAnswer(abi.Absorb, 0)))}
		}, 1, "absorbed"},
		{"split", func() []*guest {
			g := newGuest("outputs_max = 2")
			return []*guest{answers(g, g.canned(emit("x", "y")))}
		}, 2, "passed passed m:@0,n=0,x=1 m:@0#1,n=0,y=1 m:@1,n=1"},
		{"split, then drop all", func() []*guest {
			g := newGuest("outputs_max = 2")
			return []*guest{answers(g, g.canned(emit("x", "y"))), answers(newGuest("version = \"1\""), drop(0))}
		}, 1, "dropped"},
		{"split twice", func() []*guest {
			g, h := newGuest("outputs_max = 2"), newGuest("outputs_max = 2")
			return []*guest{answers(g, g.canned(emit("x", "y"))), answers(h, h.canned(emit("v", "w")))}
		}, 1, "passed m:@0,n=0,x=1,v=1 m:@0#1,n=0,x=1,w=1 m:@0#2,n=0,y=1,v=1 m:@0#3,n=0,y=1,w=1"},
		{"park as the module saw it", func() []*guest {
			g, h := newGuest("version = \"1\""), newGuest("version = \"1\"")
			bad := h.canned(built(func(b *abi.Builder) { b.Decide(abi.Park, 0, []byte("bad")) }))
			return []*guest{answers(g, g.canned(emit("x"))), answers(h, bad)}
		}, 2, "parked passed m:@1,n=1 p:b@0,n=0,x=1"},
		{"mask", func() []*guest {
			return []*guest{answers(newGuest(`labels = ["none", "n"]`), asm.Int64(abi.MaskAnswer(2)), asm.Int64(abi.MaskAnswer(1)))}
		}, 2, "passed passed m:@0,n=0 m:@1"},
	}
	b := newBench(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			chain := b.chain(t, testConfig(), nil, nil, c.guests()...)
			for range 2 { // the second batch finds everything reused
				if got := describe(apply(t, chain, "b/e", records(c.n))); got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
			}
		})
	}
}

func TestChangesOfAnOutput(t *testing.T) {
	g := newGuest("version = \"1\"")
	answer := g.canned(built(func(b *abi.Builder) {
		b.DeleteLabel([]byte("gone"))
		b.DeleteLabel([]byte("never"))
		b.SetLabel([]byte("kept"), []byte("new"))
		b.RenameLabel([]byte("first"), []byte("second"))
		b.RenameLabel([]byte("absent"), []byte("same"))
		b.SetTopic([]byte("t/x"))
		b.SetType([]byte("text/plain"))
		b.CutPayload(1, 2)
		b.SetTime(7_000_000)
		b.Output()
		b.ClearLabels()
		b.SetPayload([]byte("whole"))
	}))
	g.manifest = "outputs_max = 2"
	b := newBench(t)
	c := b.chain(t, testConfig(), nil, nil, answers(g, answer))
	in := bridge.Record{Time: 0, Labels: labels("gone", "1", "first", "0", "kept", "2", "same", "3", "second", "4"), Payload: []byte("abcd"), ContentType: []byte("was")}
	out := apply(t, c, "b/e", []bridge.Record{in})
	if len(out.Messages) != 2 {
		t.Fatal(describe(out))
	}
	one, two := out.Messages[0], out.Messages[1]
	if got := text(one.Labels); got != ",second=0,kept=new,same=3" {
		t.Errorf("labels: got %s", got)
	}
	if string(one.Topic) != "t/x" || string(one.ContentType) != "text/plain" || string(one.Payload) != "bc" || one.Time != 7_000_000 {
		t.Errorf("got topic %q type %q payload %q time %d", one.Topic, one.ContentType, one.Payload, one.Time)
	}
	if id := string(one.AppendID(nil, "s")); id != "s@0" {
		t.Errorf("the identity changed with the time: %s", id)
	}
	if len(two.Labels) != 0 || string(two.Payload) != "whole" || string(two.ContentType) != "was" || two.Time != 0 {
		t.Errorf("the second output is not made from the record: %+v", two)
	}
	if got := text(in.Labels); got != ",gone=1,first=0,kept=2,same=3,second=4" {
		t.Errorf("the input was changed: %s", got)
	}
}

// TestWhatTheGuestSees has a guest check the record it gets: each byte of the record goes to the log.
func TestWhatTheGuestSees(t *testing.T) {
	cases := []struct {
		manifest string
		want     abi.Fields
	}{
		{`labels = ["b", "x", "e"]`, abi.Fields{Slots: [][]byte{[]byte("2"), nil, {}}}},
		{`labels = ["*"]`, abi.Fields{Slots: [][]byte{[]byte("a"), []byte("1"), []byte("b"), []byte("2"), []byte("e"), {}}}},
		{`payload = "head:3"`, abi.Fields{Payload: []byte("pay")}},
		{`payload = "full"`, abi.Fields{Payload: []byte("payload")}},
		{`payload = "pull"`, abi.Fields{}},
	}
	b := newBench(t)
	in := bridge.Record{
		Time: 5, Flags: bridge.Late, ContentType: []byte("ct"), Payload: []byte("payload"),
		Labels: append(labels("a", "1", "b", "2"), bridge.Label{Name: []byte("e")}),
	}
	for _, c := range cases {
		g := newGuest(c.manifest + "\noutputs_max = 1")
		// The answer is made where the record lies: an EMIT whose payload is the record. Its head is written around the 256 bytes before.
		g.process(
			asm.Int(1000), asm.Int(0x00010001), asm.Store(0), // EMIT, 1 output
			asm.Int(1000), asm.Get(1), asm.Int(16), asm.Op(asm.I32Add), asm.Store(4),
			asm.Int(1000), asm.Get(1), asm.Int(8), asm.Op(asm.I32Add), asm.Store(8),
			asm.Int(1000), asm.Int(1), asm.Store(12), // 1 op
			asm.Int(1000), asm.Int(int32(abi.SetPayload)), asm.Store(16),
			asm.Int(1000), asm.Get(1), asm.Store(20),
			asm.Int(1024), asm.Int(bufferAt), asm.Get(1), asm.Op(0xfc, 10, 0, 0), // memory.copy
			asm.Get(1), asm.Int(24), asm.Op(asm.I32Add), asm.Op(asm.I64ExtendU), asm.Int64(1000<<32), asm.Op(asm.I64Or),
		)
		out := apply(t, b.chain(t, testConfig(), nil, nil, g), "bucket/some/entry", []bridge.Record{in})
		if len(out.Messages) != 1 || len(out.Parked) > 0 {
			t.Fatalf("%s: %s %s", c.manifest, describe(out), out.Parked[0].Reason)
		}
		want := c.want
		want.Time, want.Flags, want.ContentType, want.Entry, want.PayloadLen = 5, abi.Late|abi.LastOfBatch, []byte("ct"), []byte("some/entry"), 7
		buf := make([]byte, 1000)
		n, err := abi.PutRecord(buf, &want)
		if err != nil {
			t.Fatal(err)
		}
		if got := out.Messages[0].Payload; string(got) != string(buf[:n]) {
			t.Errorf("%s: the guest saw %x, want %x", c.manifest, got, buf[:n])
		}
	}
}

func TestRetryDecidesNothing(t *testing.T) {
	b := newBench(t)
	g := newGuest(`state = "explicit"`)
	g.stateful()
	wait := g.canned(built(func(b *abi.Builder) { b.Decide(abi.Retry, 0, []byte("not yet")) }))
	c := b.chain(t, testConfig(), &memoryStates{}, nil, answers(g, pass, wait))
	out := &bridge.Results{}
	err := c.Apply(context.Background(), "b/e", records(3)[1:], out)
	if !errors.Is(err, bridge.ErrRetry) || !strings.Contains(err.Error(), `module a on b/e: it asks for the batch again: "not yet"`) {
		t.Errorf("got %v", err)
	}
	if c.links[0].pool.alive != 0 {
		t.Error("an instance that is ahead of the ledger is alive (rule 4)")
	}
}

func TestFlushBelongsToTheLastRecord(t *testing.T) {
	g := newGuest("outputs_max = 4")
	answer := g.canned(emit("sum"))
	park := g.canned(built(func(b *abi.Builder) { b.Decide(abi.Park, 0, nil) }))
	answers(g, asm.Int64(abi.ShortAnswer(abi.Absorb, 0)), asm.Int64(abi.ShortAnswer(abi.Absorb, 0)), park)
	g.Func(abi.ExportFlush, []byte{asm.I32}, []byte{asm.I64}, 0, answer)
	b := newBench(t)
	c := b.chain(t, testConfig(), nil, nil, g, answers(newGuest("version = \"1\"")))
	for n, want := range map[int]string{
		2: "absorbed passed m:@1,n=1,sum=1",
		3: "absorbed passed parked m:@1,n=1,sum=1 p:a@2,n=2",
		4: "absorbed absorbed parked passed m:@3,n=3 m:@3#1,n=3,sum=1 p:a@2,n=2",
	} {
		if got := describe(apply(t, c, "b/e", records(n))); got != want {
			t.Errorf("%d records: got  %s\nwant %s", n, got, want)
		}
	}
}

// TestFlushKnowsWhatWasAbsorbedBeforeATrap: a module without a state may hold records back until the end of the batch. One that fails later must
// not take them along (rules 3 and 4).
func TestFlushKnowsWhatWasAbsorbedBeforeATrap(t *testing.T) {
	b := newBench(t)
	g := newGuest("outputs_max = 1")
	sum := g.canned(emit("sum"))
	g.process(
		asm.Int(bufferAt), asm.Load(8), asm.Int(2), asm.Op(asm.I32Eq), asm.If(asm.Op(asm.Unreachable)),
		count, asm.Int64(abi.ShortAnswer(abi.Absorb, 0)),
	)
	g.Func(abi.ExportFlush, []byte{asm.I32}, []byte{asm.I64}, 0, asm.Int(stateAt), asm.Load(0), asm.Int(3), asm.Op(asm.I32Eq), asm.If(sum, asm.Op(asm.Return)), pass)
	c := b.chain(t, testConfig(), nil, nil, g)
	want := "absorbed absorbed parked passed m:@3,n=3,sum=1 p:a@2,n=2"
	if got := describe(apply(t, c, "b/e", records(4))); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCountersOfDrops(t *testing.T) {
	b, metrics := newBench(t), &bridge.Metrics{}
	drop := func(reason uint16) []byte { return asm.Int64(abi.ShortAnswer(abi.Drop, reason)) }
	c := b.chain(t, testConfig(), nil, metrics, answers(newGuest(`reasons = ["idle", "too fast"]`), drop(1), drop(0), drop(1), drop(9)))
	apply(t, c, "b/e", records(5))
	for name, want := range map[string]int64{"a/idle": 1, "a/too fast": 2, "a/other": 1, "a/fault": 0} {
		if got := metrics.ModuleDrops.At(name).Load(); got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
	if metrics.ModuleFuel.At("a").Load() < 5 {
		t.Error("no units were counted")
	}
}

func TestSameStatefulModuleTwice(t *testing.T) {
	b := newBench(t)
	g := newGuest(`state = "explicit"`)
	g.stateful()
	m := b.load(t, "a", answers(g).bytes(), testConfig())
	if _, err := b.Chain("p", []*Module{m, m}, nil, nil); err == nil || !strings.Contains(err.Error(), "there twice") {
		t.Errorf("got %v", err)
	}
}

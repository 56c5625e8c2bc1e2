package main

import (
	"math"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/sluicebridge/sluice/runtime/abi"
	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// start is when the tests' first record was made.
const start = int64(1_700_000_000_000_000)

func configured(t *testing.T, config string) settings {
	t.Helper()
	j, err := sluice.ParseJSON([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSettings(j)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// step is a stretch of records: one each 500 ms from a time on, until another, in seconds after start.
type step struct {
	from, to float64
	speed    func(second float64) float64
}

func constant(v float64) func(float64) float64 { return func(float64) float64 { return v } }

// wobble changes by so much of its value to either side, over a second.
func wobble(v, by float64) func(float64) float64 {
	return func(s float64) float64 { return v * (1 + by*math.Sin(math.Pi*s)) }
}

// story returns the verdicts one letter each: m(issing) o(ut of band) u(nsteady) s(ettling) P(asses), runs counted: "s10P3".
func story(s *settings, h *history, steps []step) string {
	var told strings.Builder
	last, n := byte(0), 0
	flush := func() {
		if n > 0 {
			told.WriteByte(last)
			told.WriteString(string(sluice.AppendFloat(nil, float64(n), 0)))
		}
	}
	for _, st := range steps {
		for at := st.from; at < st.to; at += 0.5 {
			v := st.speed(at)
			letter := "mousP"[h.judge(s, start+int64(at*1e6), v, !math.IsNaN(v))]
			if letter != last {
				flush()
				last, n = letter, 0
			}
			n++
		}
	}
	flush()
	return told.String()
}

func TestJudge(t *testing.T) {
	const short = `{"window":"4s","hold":"2s","min":100,"max":2000}`
	for _, c := range []struct {
		name, config string
		steps        []step
		want         string
	}{
		{"window, then hold, then passes", short, []step{{0, 10, constant(1500)}}, "s12P8"},
		{"defaults: 10 s and 5 s", `{}`, []step{{0, 20, constant(1500)}}, "s30P10"},
		{"no hold", `{"window":"4s","hold":"0s"}`, []step{{0, 6, constant(1500)}}, "s8P4"},
		{"below the band", short, []step{{0, 2, constant(99)}}, "o4"},
		{"above the band", short, []step{{0, 2, constant(2001)}}, "o4"},
		{"edges of the band are in it", short, []step{{0, 1, constant(100)}, {1, 2, constant(2000)}}, "s2u2"},
		{"standstill is never in it", `{"window":"1s","hold":"0s"}`, []step{{0, 3, constant(0)}}, "o6"},
		{"no limit above", `{"window":"1s","hold":"0s"}`, []step{{0, 2, constant(1e6)}}, "s2P2"},
		{"within the tolerance", short, []step{{0, 8, wobble(1500, 0.009)}}, "s12P4"},
		{"beyond the tolerance", short, []step{{0, 5, wobble(1500, 0.02)}}, "s3u7"},
		{"a wider tolerance", `{"window":"4s","hold":"2s","tolerance":0.05}`, []step{{0, 8, wobble(1500, 0.02)}}, "s12P4"},
		{"a step is unsteady until it has left the window, then held", short, []step{{0, 7, constant(1500)}, {7, 16, constant(1600)}}, "s12P2u8s4P6"},
		{"out of the band settles anew", short, []step{{0, 7, constant(1500)}, {7, 8, constant(50)}, {8, 15, constant(1500)}}, "s12P2o2s12P2"},
		{"missing settles anew", short, []step{{0, 7, constant(1500)}, {7, 8, constant(math.NaN())}, {8, 15, constant(1500)}}, "s12P2m2s12P2"},
		{"silence settles anew", short, []step{{0, 7, constant(1500)}, {12, 19, constant(1500)}}, "s12P2s12P2"},
		{"silence shorter than the gap does not", `{"window":"4s","hold":"2s","gap":"10s"}`, []step{{0, 7, constant(1500)}, {12, 13, constant(1500)}}, "s12P4"},
		{"late in the steady stretch passes, before it does not", short, []step{{0, 9, constant(1500)}, {7, 8, constant(1500)}, {2, 3, constant(1500)}, {9, 10, constant(1500)}},
			"s12P8s2P2"},
		{"late and out of the band", short, []step{{0, 7, constant(1500)}, {5, 6, constant(50)}, {7, 8, constant(1500)}}, "s12P2o2P2"},
	} {
		s := configured(t, c.config)
		if got := story(&s, new(history), c.steps); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// The history saved and loaded between any two records changes nothing, and stays small.
func TestStateGoesOn(t *testing.T) {
	s := configured(t, `{"window":"3s","hold":"1s"}`)
	speed := wobble(1500, 0.011)
	var whole, parted history
	for i := range 5000 {
		at := float64(i) / 100
		saved := parted.save(nil, s.width())
		if len(saved) > stateHead+maxPieces*pieceSize {
			t.Fatalf("state of %d bytes, want at most %d", len(saved), stateHead+maxPieces*pieceSize)
		}
		parted = history{}
		if err := parted.load(saved, s.width()); err != nil {
			t.Fatal(err)
		}
		time, v := start+int64(at*1e6), speed(at)
		if want, got := whole.judge(&s, time, v, true), parted.judge(&s, time, v, true); got != want {
			t.Fatalf("record %d: %d, want %d", i, got, want)
		}
	}
}

// A state of another window is begun anew, whether the window grew or shrank, and whatever comes of it can be loaded again.
func TestStateOfAnotherWindow(t *testing.T) {
	for _, c := range []struct{ name, before, after string }{
		{"grown", "1s", "10s"}, {"shrunk", "10s", "1s"}, {"by a little", "10s", "10001ms"}, {"shortest", "10s", "1ms"}, {"longest", "1ms", "24h"},
	} {
		before, after := configured(t, `{"window":"`+c.before+`"}`), configured(t, `{"window":"`+c.after+`"}`)
		var h history
		for i := range int64(200) {
			h.judge(&before, start+i*50_000, 1500, true)
		}
		if err := h.load(h.save(nil, before.width()), after.width()); err != nil || h.began != 0 || len(h.pieces) > 0 {
			t.Fatalf("%s: %v, began %d with %d pieces, want a fresh history", c.name, err, h.began, len(h.pieces))
		}
		for i := range int64(2000) {
			h.judge(&after, start+10_000_000+i*max(after.width()/3, 1), 1500, true)
			if err := h.load(h.save(nil, after.width()), after.width()); err != nil {
				t.Fatalf("%s: after record %d its own state is refused: %v", c.name, i, err)
			}
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	var h history
	for _, n := range []int{1, stateHead - 1, stateHead + 1, stateHead + (maxPieces+1)*pieceSize} {
		if err := h.load(make([]byte, n), 1); err == nil {
			t.Errorf("state of %d bytes was taken", n)
		}
	}
	h.began = 7
	if err := h.load(nil, 1); err != nil || h.began != 0 {
		t.Errorf("empty state: %v and began %d, want a fresh history", err, h.began)
	}
}

func TestSettingsRefuse(t *testing.T) {
	for _, c := range []struct{ config, want string }{
		{`{"min":-1}`, "min: -1"}, {`{"max":"x"}`, `max: "x"`}, {`{"min":10,"max":5}`, "max: below min"}, {`{"tolerance":true}`, "tolerance: true"},
		{`{"window":"10"}`, "window: duration"}, {`{"hold":5}`, "hold: duration"}, {`{"gap":"-1s"}`, "gap: duration"}, {`{"window":"999us"}`, "window: too short"},
	} {
		j, err := sluice.ParseJSON([]byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readSettings(j); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.config, err, c.want)
		}
	}
}

func TestManifest(t *testing.T) {
	var m abi.Manifest
	meta, err := toml.Decode(manifest, &m)
	if err != nil || len(meta.Undecoded()) > 0 {
		t.Fatalf("%v, unknown keys %v", err, meta.Undecoded())
	}
	m.Normal()
	if bad := m.Validate(); bad != nil {
		t.Error(bad)
	}
	if len(m.Reasons) != int(passes) {
		t.Errorf("%d reasons, want %d", len(m.Reasons), passes)
	}
}

// record is what the host would send: the slots of the manifest's labels.
func record(time int64, slots ...[]byte) sluice.Record {
	b := make([]byte, 256)
	n, err := abi.PutRecord(b, &abi.Fields{Time: time, Entry: []byte("acc-1"), Slots: slots})
	if err != nil {
		panic(err)
	}
	return sluice.Record(b[:n])
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		name, config string
		slots        [][]byte
		want         sluice.Verdict
	}{
		{"rpm by default", `{"window":"1ms","hold":"0s","gap":"1h"}`, [][]byte{[]byte("1500"), nil, nil}, sluice.Pass},
		{"another slot", `{"window":"1ms","hold":"0s","gap":"1h","label":"speed"}`, [][]byte{nil, nil, []byte("12")}, sluice.Pass},
		{"no label", `{}`, [][]byte{nil, nil, nil}, sluice.Drop(missing)},
		{"no number", `{}`, [][]byte{[]byte("fast"), nil, nil}, sluice.Drop(missing)},
		{"undeclared label, which a test has not", `{"label":"v"}`, [][]byte{[]byte("1500"), nil, nil}, sluice.Drop(missing)},
		{"field of a payload, which a test has not", `{"field":"drive.rpm"}`, [][]byte{[]byte("1500"), nil, nil}, sluice.Drop(missing)},
	} {
		f, out := new(filter), new(sluice.Out)
		config, err := sluice.ParseJSON([]byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Init(config); err != nil {
			t.Fatal(err)
		}
		f.Process(record(start, c.slots...), out)
		if got := f.Process(record(start+1_000_000, c.slots...), out); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, int64(got), int64(c.want))
		}
	}
}

func TestFilterAllocatesNothing(t *testing.T) {
	f, out := new(filter), new(sluice.Out)
	if err := f.Init(sluice.JSON(`{}`)); err != nil {
		t.Fatal(err)
	}
	r, state := record(start, []byte("1500.5"), nil, nil), []byte(nil)
	n := testing.AllocsPerRun(1000, func() {
		f.Process(r, out)
		state = f.Save(state[:0])
	})
	if n != 0 {
		t.Errorf("%v allocations a record, want 0", n)
	}
}

func BenchmarkProcess(b *testing.B) {
	f, out := new(filter), new(sluice.Out)
	if err := f.Init(sluice.JSON(`{}`)); err != nil {
		b.Fatal(err)
	}
	r := record(start, []byte("1500.5"), nil, nil)
	for b.Loop() {
		f.Process(r, out)
	}
}

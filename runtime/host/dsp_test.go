package host

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
)

// wave is two periods of a sine of amplitude 2 about 1, in a format of the ABI.
func wave(format int32) (b []byte) {
	for i := range 64 {
		v := 1 + 2*math.Sin(float64(i)*2*math.Pi/32)
		switch format {
		case abi.F32:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
		case abi.F64:
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		case abi.I16:
			b = binary.LittleEndian.AppendUint16(b, uint16(int16(1000*v)))
		case abi.I32:
			b = binary.LittleEndian.AppendUint32(b, uint32(int32(1000*v)))
		}
	}
	return b
}

func TestStats(t *testing.T) {
	names := [...]string{"count", "mean", "rms", "least", "most", "peak", "crest", "kurtosis"}
	want := [...]float64{64, 1, math.Sqrt(3), -1, 3, 3, math.Sqrt(3), 1.5}
	for format, scale := range map[int32]float64{abi.F32: 1, abi.F64: 1, abi.I16: 1000, abi.I32: 1000} {
		var out [64]byte
		if !stats(&out, wave(format), format) {
			t.Fatalf("format %d: refused", format)
		}
		for i, name := range names {
			got := math.Float64frombits(binary.LittleEndian.Uint64(out[8*i:]))
			if i >= 1 && i <= 5 {
				got /= scale
			}
			if math.Abs(got-want[i]) > 0.002 {
				t.Errorf("format %d: %s: got %v, want %v", format, name, got, want[i])
			}
		}
	}
	var out [64]byte
	if stats(&out, []byte{1, 2, 3}, abi.F32) || stats(&out, nil, abi.F32) || stats(&out, []byte{1, 2, 3, 4}, 9) || stats(&out, []byte{1}, -1) {
		t.Error("took a payload that is no whole number of values")
	}
	if !stats(&out, make([]byte, 8), abi.F32) || math.Float64frombits(binary.LittleEndian.Uint64(out[56:])) != 0 {
		t.Error("the kurtosis of silence is not 0")
	}
}

// TestImports has a guest answer with what the host's functions gave it.
func TestImports(t *testing.T) {
	const at = 2048
	cases := map[string]struct {
		name, signature string
		args            [][]byte
		returns         int32
		wrote           string
	}{
		"payload":            {abi.ImportPayload, "iiii:i", [][]byte{asm.Int(0), asm.Int(1), asm.Int(at), asm.Int(2)}, 2, "bc"},
		"payload, its end":   {abi.ImportPayload, "iiii:i", [][]byte{asm.Int(0), asm.Int(3), asm.Int(at), asm.Int(9)}, 1, "d"},
		"payload, behind it": {abi.ImportPayload, "iiii:i", [][]byte{asm.Int(0), asm.Int(-1), asm.Int(at), asm.Int(9)}, 0, ""},
		"payload of another": {abi.ImportPayload, "iiii:i", [][]byte{asm.Int(1), asm.Int(0), asm.Int(at), asm.Int(9)}, -1, ""},
		"label":              {abi.ImportLabel, "iiiii:i", [][]byte{asm.Int(0), asm.Int(100), asm.Int(4), asm.Int(at), asm.Int(9)}, 5, "value"},
		"label, no room":     {abi.ImportLabel, "iiiii:i", [][]byte{asm.Int(0), asm.Int(100), asm.Int(4), asm.Int(at), asm.Int(4)}, 5, ""},
		"label, absent":      {abi.ImportLabel, "iiiii:i", [][]byte{asm.Int(0), asm.Int(100), asm.Int(3), asm.Int(at), asm.Int(9)}, -1, ""},
		"dsp, unknown kind":  {abi.ImportDSP, "iiiii:i", [][]byte{asm.Int(0), asm.Int(7), asm.Int(0), asm.Int(at), asm.Int(64)}, -1, ""},
		"dsp, wrong format":  {abi.ImportDSP, "iiiii:i", [][]byte{asm.Int(0), asm.Int(1), asm.Int(1), asm.Int(at), asm.Int(64)}, -1, ""},
		"dsp, one number":    {abi.ImportDSP, "iiiii:i", [][]byte{asm.Int(0), asm.Int(1), asm.Int(0), asm.Int(at), asm.Int(15)}, 8, "\x00\x00\x00\x00\x00\x00\xf0\x3f"},
	}
	b := newBench(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := newGuest("version = \"1\"")
			f := g.imports(c.name, c.signature)
			g.Data(100, []byte("name"))
			// One output whose payload is the result and what follows at.
			head := built(func(b *abi.Builder) { b.SetPayload(make([]byte, 4+len(c.wrote))) })
			g.Data(at-4-int32(len(head))+4+int32(len(c.wrote)), head[:len(head)-4-len(c.wrote)])
			code := append([][]byte{asm.Int(at - 4)}, c.args...)
			g.process(append(code, asm.Call(f), asm.Store(0), asm.Int64(abi.LongAnswer(uint32(at-len(head)+len(c.wrote)), uint32(len(head)))))...)
			in := bridge.Record{Payload: []byte("abcd"), Labels: labels("name", "value")}
			out := apply(t, b.chain(t, testConfig(), nil, nil, g), "b/e", []bridge.Record{in})
			if len(out.Messages) != 1 {
				t.Fatalf("%s %+v", describe(out), out.Parked)
			}
			got := out.Messages[0].Payload
			if n := int32(binary.LittleEndian.Uint32(got)); n != c.returns || string(got[4:]) != c.wrote {
				t.Errorf("got %d %q, want %d %q", n, got[4:], c.returns, c.wrote)
			}
		})
	}
}

func TestTallies(t *testing.T) {
	var ts tallies
	ts.add([]byte("rms"), 3, true)
	ts.add([]byte("rms"), -1, true)
	for i := range 100 {
		ts.add([]byte{'n', byte(i)}, 1, false)
	}
	got := ts.copy()
	if want := (Tally{Observed: true, N: 2, Sum: 2, Low: -1, High: 3}); got["rms"] != want {
		t.Errorf("got %+v, want %+v", got["rms"], want)
	}
	long := []byte(strings.Repeat("rms", 1<<20))
	ts = tallies{}
	ts.add(long, 1, true)
	ts.add(long[:maxTallyName+1], 2, true)
	if cut := ts.copy()[string(long[:maxTallyName])]; cut.N != 2 {
		t.Errorf("a long name was counted %d times under its beginning, want 2", cut.N)
	}
	if len(got) != maxTallies+1 || got["other"].Sum != 37 {
		t.Errorf("got %d names and %v others, want %d and 37 (rule 19)", len(got), got["other"].Sum, maxTallies+1)
	}
}

func TestLimiter(t *testing.T) {
	var l limiter
	now := time.Unix(100, 0)
	for i := range linesPerSecond + 5 {
		if _, ok := l.allow(now); ok != (i < linesPerSecond) {
			t.Fatalf("line %d: allowed %v", i, ok)
		}
	}
	if held, ok := l.allow(now.Add(time.Second)); !ok || held != 5 {
		t.Errorf("a second later: got %v with %d held back, want 5", ok, held)
	}
}

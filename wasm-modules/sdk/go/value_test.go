package sluice

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

func TestFloat(t *testing.T) {
	for _, text := range []string{"0", "-0", "1450.5", "+7", ".5", "5.", "1e5", "-2.5E-3", "123456789012345", "1234567890.123456789", "0.1", "1e308"} {
		want, err := strconv.ParseFloat(text, 64)
		if got, ok := Float([]byte(text)); err != nil || !ok || got != want {
			t.Errorf("%s: %v %v, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "-", ".", "1.2.3", "12a", "true", "0x10", "1_000", "nan", "inf", "1e999", " 1", strings.Repeat("1", 500)} {
		if got, ok := Float([]byte(text)); ok {
			t.Errorf("%q: %v, want no number", text, got)
		}
	}
	text := []byte("1450.5")
	if n := testing.AllocsPerRun(100, func() { Float(text) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestAppendFloat(t *testing.T) {
	for _, c := range []struct {
		value  float64
		digits int
		want   string
	}{{1.005, 2, "1.00"}, {0.1, -1, "0.1"}, {-2, 0, "-2"}, {1e-9, -1, "1e-09"}, {1e21, -1, "1e+21"}, {math.NaN(), 3, "null"}, {math.Inf(-1), 3, "null"}} {
		got := string(AppendFloat(nil, c.value, c.digits))
		if got != c.want || !json.Valid([]byte(got)) {
			t.Errorf("%v with %d digits: %s, want %s", c.value, c.digits, got, c.want)
		}
	}
}

// Numbers are written as strconv writes them, ties, signs and all.
func TestAppendFloatAgainstTheLibrary(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	values := []float64{0, math.Copysign(0, -1), 0.5, 1.5, 2.5, -0.125, 0.375, 1 << 33, 1<<33 - 0.5, 8589934591.999999, 1e-30, 0x1p-75, 0x1p-76, math.MaxFloat64, 9.995, 99999999.5}
	for range 200_000 {
		switch v := rnd.Float64(); rnd.IntN(5) {
		case 0:
			values = append(values, v*1e4)
		case 1:
			values = append(values, float64(rnd.Int64N(1<<40))/float64(uint64(1)<<rnd.IntN(60)))
		case 2:
			values = append(values, float64(rnd.IntN(1e6))/whole[rnd.IntN(len(whole))])
		case 3:
			values = append(values, math.Float64frombits(rnd.Uint64()))
		default:
			values = append(values, -v*math.Pow(10, float64(rnd.IntN(30)-20)))
		}
	}
	for i, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		digits := i % 10
		if got, want := string(AppendFloat(nil, v, digits)), strconv.FormatFloat(v, 'f', digits, 64); got != want {
			t.Fatalf("%v with %d digits: %s, want %s", v, digits, got, want)
		}
	}
}

var whole = [...]float64{1, 10, 100, 1000, 8, 64, 16}

// A field is written as AppendFloat writes its value, be it copied or not.
func TestFieldsAppendFloat(t *testing.T) {
	fields := NewFields("a", "b")
	for _, text := range []string{"0", "-0", "-0.0", "1.5", "-1.5", "12.25", "1e2", "1.5e1", "0.1234", "0.12345", "-0.1234", "1234567", "12345678", "123456.8", "99.995", `"1.5"`, "true"} {
		if err := fields.Parse([]byte(`{"a":` + text + `,"b":"` + strings.Repeat("x", 40) + `"}`)); err != nil {
			t.Fatal(err)
		}
		for digits := -1; digits < 10; digits++ {
			want := ""
			if v, ok := JSON(text).Float(); ok {
				want = string(AppendFloat(nil, v, digits))
			}
			if got := string(fields.AppendFloat(make([]byte, 0, 64), 0, digits)); got != want {
				t.Errorf("%s with %d digits: %s, want %s", text, digits, got, want)
			}
		}
	}
}

func TestAppendInt(t *testing.T) {
	values := []int64{0, 9, 10, -1, math.MinInt64, math.MaxInt64, 99_999_999, 100_000_000, 1_767_225_600_037, 12_345_678}
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 10_000 {
		values = append(values, rnd.Int64()>>rnd.IntN(64), -(rnd.Int64() >> rnd.IntN(64)))
	}
	for _, v := range values {
		if got, want := string(AppendInt([]byte("x"), v)), "x"+strconv.FormatInt(v, 10); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

func TestWords(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 100_000 {
		b := make([]byte, rnd.IntN(8))
		for i := range b {
			b[i] = byte(rnd.IntN(256))
			if rnd.IntN(2) == 0 {
				b[i] = "a0\\\"\n /:\x7f\x80"[rnd.IntN(10)]
			}
		}
		inString, digit := len(b), len(b)
		for i, c := range b {
			if c < ' ' || c == '"' || c == '\\' {
				inString = min(inString, i)
			}
			if c < '0' || c > '9' {
				digit = min(digit, i)
			}
		}
		x := tail(b, 0, 'x')
		if got := min(first(special(x)), len(b)); got != inString {
			t.Fatalf("%q: special at %d, want %d", b, got, inString)
		}
		if got := first(noDigits(x)); got != digit && len(b) > 0 {
			t.Fatalf("%q: no digit at %d, want %d", b, got, digit)
		}
		if got := string(Append(make([]byte, 1, 20), b)); got != "\x00"+string(b) {
			t.Fatalf("%q appended: %q", b, got)
		}
	}
}

func TestMicroseconds(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64
	}{{"4s", 4e6}, {"1m30s", 90e6}, {"500ms", 5e5}, {"2.5s", 25e5}, {"10us", 10}, {"0s", 0}, {"1h", 36e8}} {
		if got, err := Microseconds(c.text); err != nil || got != c.want {
			t.Errorf("%s: %d %v, want %d", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"", "5", "s", "-1s", "1d", "1 s", "1..5s", "99999999999999h"} {
		if got, err := Microseconds(text); err == nil {
			t.Errorf("%q: %d, want an error", text, got)
		}
	}
}

const sample = ` {"a" : {"b":[1, 2.5e1 ,{"c":"x\n\u00e9\ud83d\ude00\/\"\\"}]}, "t":true,"f":false,"n":null,"e":{},"l":[], "k\u0065y":"v" } `

func TestJSON(t *testing.T) {
	j, err := ParseJSON([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, want string }{
		{"a.b.0", "1"}, {"a.b.1", "2.5e1"}, {"t", "true"}, {"f", "false"}, {"n", "null"}, {"e", "{}"}, {"l", "[]"}, {"key", `"v"`},
		{"a.b", `[1, 2.5e1 ,{"c":"x\n\u00e9\ud83d\ude00\/\"\\"}]`}, {"a.b.3", ""}, {"a.b.x", ""}, {"a.x.y", ""}, {"t.x", ""}, {"l.0", ""}, {"e.x", ""},
	} {
		if got := string(j.Path(c.path)); got != c.want {
			t.Errorf("%s: %s, want %s", c.path, got, c.want)
		}
	}
	if got, want := j.Path("a.b.2.c").Text(), "x\né😀/\"\\"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if v, ok := j.Path("a.b.1").Float(); !ok || v != 25 {
		t.Errorf("float %v %v, want 25", v, ok)
	}
	if _, ok := j.Get("t").Float(); ok || JSON(nil).Kind() != 0 || JSON(nil).Text() != "" || JSON(nil).Get("x") != nil {
		t.Error("what is no number, or not there, has a value")
	}
}

func TestJSONAgainstTheLibrary(t *testing.T) {
	texts := []string{
		``, ` `, `{}`, `[`, `]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `[1,]`, `[1 2]`, `01`, `-`, `-0`, `1.`, `.1`, `1e`, `1e+`, `1E5`, `"a`, "\"\n\"", `"\x"`, `"\u12g4"`, `"\u1234"`, `tru`,
		`true false`, `{1:2}`, `nul`, `"\ud800"`, `[[[]]]`, `{"a":{"b":[]}} x`, `+1`, `1.5e-3`, `"\`, `{"a":1 "b":2}`,
		`{"a":{},"a":{"b":[1,2]}}`, `{"a":1,"t":2,"a":3}`, `[{"a":1}]`, `{"a" :1}`, `{"a": 1}`, `{"key":12345678901234567890.5e+10,"t":"` + strings.Repeat("long ", 20) + `"}`, `{"t`, `{"t"`, `{"t":`,
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 { // one byte of a valid text changed or lost
		b := []byte(sample)
		at := rnd.IntN(len(b))
		if rnd.IntN(2) == 0 {
			b = append(b[:at], b[at+1:]...)
		} else {
			b[at] = sample[rnd.IntN(len(sample))]
		}
		texts = append(texts, string(b))
	}
	fields := NewFields("a.b.1", "t", "a", "key", "a.b.2.c", "gone", "l.0", "l")
	for _, text := range texts {
		j, err := ParseJSON([]byte(text))
		fields.Parse([]byte(text)) // the second time its names are known
		if e := fields.Parse([]byte(text)); (e == nil) != (err == nil) || err != nil && e.Error() != err.Error() {
			t.Fatalf("%q: fields %v, want %v", text, e, err)
		}
		for i, p := range fields.paths {
			if got, want := string(fields.AppendTo([]byte("x"), i)), "x"+string(j.Path(p.whole)); got != want {
				t.Fatalf("%q: field %s appended is %s, want %s", text, p.whole, got, want)
			}
			if got, want := fields.Value(i), j.Path(p.whole); string(got) != string(want) || (got == nil) != (want == nil) {
				t.Fatalf("%q: field %s is %q, want %q", text, p.whole, got, want)
			}
		}
		if want := json.Valid([]byte(text)); (err == nil) != want {
			t.Fatalf("%q: %v, the library says %v", text, err, want)
		}
		var v map[string]any
		if err != nil || json.Unmarshal([]byte(text), &v) != nil {
			continue
		}
		n := 0
		j.Members(func(key, value JSON) bool {
			if _, ok := v[key.Text()]; !ok {
				t.Fatalf("%q: member %s is not in %v", text, key, v)
			}
			n++
			return true
		})
		if n < len(v) {
			t.Fatalf("%q: %d members, want %d", text, n, len(v))
		}
	}
	if _, err := ParseJSON([]byte(strings.Repeat("[", 65) + strings.Repeat("]", 65))); err == nil {
		t.Error("65 arrays in one another were taken, want a limit of 64")
	}
}

func TestWriter(t *testing.T) {
	var w Writer
	for range 2 { // a writer is used again
		w.Reset()
		w.Text("a", []byte("q\"\\\n\r\t\x01é\xff"))
		w.Float("b", 1.25, 1)
		w.Raw("c", []byte(`[1]`))
		if got, want := string(w.Bytes()), `{"a":"q\"\\\n\r\t\u0001é`+"\ufffd"+`","b":1.2,"c":[1]}`; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	w.Reset()
	if got := string(w.Bytes()); got != "{}" {
		t.Errorf("%s, want {}", got)
	}
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(1, math.Abs(b)) }

func TestFeatures(t *testing.T) {
	const n = 4096
	floats, ints := make([]float32, n), make([]int16, n)
	var want Features
	for i := range floats {
		v := 100 + math.Sin(2*math.Pi*float64(i)/64)
		ints[i] = int16(1000 * v / 10)
		floats[i] = float32(v)
		want.Peak = max(want.Peak, float64(floats[i]))
	}
	got := FeaturesF32(floats)
	if !near(got.Mean, 100) || !near(got.RMS, math.Sqrt(10_000.5)) || got.Peak != want.Peak || math.Abs(got.Kurtosis-1.5) > 1e-3 || got.Count != n {
		t.Errorf("sine on a constant: %+v, want mean 100, rms 100.0025, peak %v, kurtosis 1.5", got, want.Peak)
	}
	if g := FeaturesI16(ints, 0.01); math.Abs(g.Mean-100) > 0.01 || math.Abs(g.Kurtosis-1.5) > 0.01 || g.Peak != 101 || !near(g.Crest, g.Peak/g.RMS) {
		t.Errorf("the same as int16: %+v", g)
	}
	doubles := make([]float64, n)
	for i, v := range floats {
		doubles[i] = float64(v)
	}
	if g := FeaturesF64(doubles); g != got || math.Abs(g.Skewness) > 1e-3 {
		t.Errorf("the same as float64: %+v, want %+v", g, got)
	}
	slope := []float64{0, 0, 0, 4} // about its mean -1 -1 -1 3
	if g := FeaturesF64(slope); !near(g.Skewness, 6/math.Pow(3, 1.5)) || !near(FeaturesI16([]int16{0, 0, 0, 4}, -2).Skewness, -g.Skewness) {
		t.Errorf("skewness of %v: %v, want %v, and the contrary turned over", slope, g.Skewness, 6/math.Pow(3, 1.5))
	}
	if g := FeaturesF32([]float32{-3, 1}); g.Peak != 3 {
		t.Errorf("peak of a negative value: %v, want 3", g.Peak)
	}
	if g := FeaturesI16([]int16{math.MinInt16}, 1); g.Peak != 32768 {
		t.Errorf("peak of the least int16: %v, want 32768", g.Peak)
	}
	nan := FeaturesF32([]float32{1, float32(math.NaN())})
	if !math.IsNaN(nan.RMS) || !math.IsNaN(nan.Peak) || !math.IsNaN(FeaturesF32([]float32{2, 2}).Kurtosis) {
		t.Errorf("with a NaN: %+v, want NaNs", nan)
	}
	if FeaturesF32(nil) != (Features{}) || FeaturesI16(nil, 1) != (Features{}) {
		t.Error("features of nothing, want zeros")
	}
}

func TestViews(t *testing.T) {
	raw := make([]byte, 32)
	for off := range 4 {
		b := raw[off : off+9]
		copy(b, []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 9})
		if got := F32(b); len(got) != 2 || got[0] != 1 || got[1] != 2 {
			t.Errorf("at offset %d: %v, want [1 2]", off, got)
		}
		if got := I16(b); len(got) != 4 || got[1] != 0x3f80 {
			t.Errorf("at offset %d: %v", off, got)
		}
	}
	if got := F64(append(make([]byte, 0, 16), 0, 0, 0, 0, 0, 0, 0xf0, 0xbf, 9)); len(got) != 1 || got[0] != -1 {
		t.Errorf("%v, want [-1]", got)
	}
	if F32(raw[:3]) != nil {
		t.Error("values of 3 bytes, want none")
	}
}

func BenchmarkFeatures(b *testing.B) {
	wave := make([]float32, 4096)
	for i := range wave {
		wave[i] = float32(math.Sin(float64(i)))
	}
	b.SetBytes(16 << 10)
	for b.Loop() {
		FeaturesF32(wave)
	}
}

package reduct

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

func parsed(h *head) []string {
	var rs []bridge.Record
	for _, it := range h.items {
		rs = append(rs, bridge.Record{Time: it.time, ContentType: it.contentType, Labels: h.labels[it.from:it.to],
			Payload: fmt.Append(nil, it.size)})
	}
	return show(rs)
}

func TestParseCaptures(t *testing.T) {
	const base = "170000000000"
	for _, c := range []struct {
		file  string
		first []string // the first records in time
		n     int
	}{
		{"plain.http", []string{base + `0000 application/json rpm=1480 seq=0 stable=true status=0 "9"`, base + `1000 application/json rpm=1480 seq=1 stable=true status=0 "9"`}, 5},
		{"empty.http", []string{base + `6000 text/plain "0"`, base + `7000 application/octet-stream a=1 "0"`, base + `8000 application/octet-stream "1"`}, 3},
		{"patch-known.http", []string{base + `0000  rpm=1500 seq=0 stable=true status=0 "0"`}, 2},
		{"quoted.http", []string{base + `0001 text/plain a=x,y b=say "hi" c=k=v "2"`, base + `0002 text/plain; charset=utf-8 f=a b g= "2"`}, 2},
		// c and the comma-less "x before it cannot be told apart, see cutValue.
		{"raw-quotes.http", []string{base + `0000 text/plain a="x" b=x,c="x,"y" d="x,y" e="p","q" "1"`}, 1},
		{"zstd.http", []string{base + `0000 application/json rpm=1480 seq=0 stable=true status=0 "56"`}, 85},
		{"large-head.http", []string{base + `0000 application/octet-stream rpm=1480 stable=true status=0 "100000"`}, 80},
		{"metadata.http.gz", nil, 80},
	} {
		var h head
		if err := h.parse(headerSection(capture(t, c.file))); err != nil {
			t.Errorf("%s: got %v, want nil", c.file, err)
			continue
		}
		if len(h.items) != c.n {
			t.Errorf("%s: got %d records, want %d", c.file, len(h.items), c.n)
		}
		if got := parsed(&h)[:len(c.first)]; !slices.Equal(got, c.first) {
			t.Errorf("%s:\ngot  %q\nwant %q", c.file, got, c.first)
		}
	}
}

func TestParse(t *testing.T) {
	many := strings.Repeat("a=,", maxLabels) + "a="
	for _, c := range []struct {
		name, raw string
		want      []string // nil: refused
	}{
		{"order", "x-reduct-time-2: 1,b\r\nx-reduct-time-1: 2,a\r\n", []string{`1 a "2"`, `2 b "1"`}},
		{"any case, no space, bare newline", "X-Reduct-TIME-7:3,a\n", []string{`7 a "3"`}},
		{"other headers", "x-reduct-timeout: 1\r\nhost: x\r\n", []string{}},
		{"trailing space is the value's", "x-reduct-time-1: 0,a,b=c \r\n", []string{`1 a b=c  "0"`}},
		{"bytes that are no text", "x-reduct-time-1: 0,a,b=\xff\xfe\r\n", []string{"1 a b=\xff\xfe \"0\""}},
		{"largest time", "x-reduct-time-9223372036854775807: 0,a\r\n", []string{`9223372036854775807 a "0"`}},
		{"no content type", "x-reduct-time-1: 0,\r\n", []string{`1  "0"`}},
		{"empty quotes", `x-reduct-time-1: 0,,a="",b=1`, []string{`1  a="" b=1 "0"`}},
		{"quoted last", `x-reduct-time-1: 0,,a=",",b=","`, []string{`1  a=, b=, "0"`}},
		{"quote never closed", `x-reduct-time-1: 0,,a="x,b=y`, []string{`1  a="x b=y "0"`}},
		{"time overflows", "x-reduct-time-9223372036854775808: 0,a\r\n", nil},
		{"time of twenty digits", "x-reduct-time-00000000000000000001: 0,a\r\n", nil},
		{"negative time", "x-reduct-time--1: 0,a\r\n", nil},
		{"no time", "x-reduct-time-: 0,a\r\n", nil},
		{"negative length", "x-reduct-time-1: -1,a\r\n", nil},
		{"length overflows", "x-reduct-time-1: 9223372036854775808,a\r\n", nil},
		{"sum overflows", "x-reduct-time-1: 9223372036854775807,a\r\nx-reduct-time-2: 1,a\r\n", nil},
		{"no comma", "x-reduct-time-1: 5\r\n", nil},
		{"no colon", "x-reduct-time-1\r\n", nil},
		{"twice", "x-reduct-time-1: 0,a\r\nx-reduct-time-1: 0,a\r\n", nil},
		{"twice, leading zero", "x-reduct-time-1: 0,a\r\nx-reduct-time-01: 0,a\r\n", nil},
		{"label without =", "x-reduct-time-1: 0,a,b\r\n", nil},
		{"label without name", "x-reduct-time-1: 0,a,=b\r\n", nil},
		{"comma at the end", "x-reduct-time-1: 0,a,b=c,\r\n", nil},
		{"folded", "x-reduct-time-1: 0,a,\r\n b=c\r\n", nil},
		{"too many labels", "x-reduct-time-1: 0,a," + many, nil},
	} {
		var h head
		err := h.parse([]byte(c.raw))
		if (err != nil) != (c.want == nil) || err != nil && !errors.Is(err, errHead) {
			t.Errorf("%s: got error %v, want refused: %v", c.name, err, c.want == nil)
		} else if got := parsed(&h); err == nil && !slices.Equal(got, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, got, c.want)
		}
	}
}

func TestSpan(t *testing.T) {
	for _, c := range []struct {
		raw      string
		from, to int64
		ok       bool
	}{
		{"x-reduct-time-5: nonsense\r\nx-reduct-time-3: 1,a\r\nx-reduct-time-9: \r\n", 3, 9, true},
		{"x-reduct-time-5: 1,a\r\nx-reduct-time-x: 1,a\r\n", 0, 0, false},
		{"host: x\r\n", 0, 0, false},
	} {
		if from, to, ok := span([]byte(c.raw)); from != c.from || to != c.to || ok != c.ok {
			t.Errorf("%q: got %d %d %v, want %d %d %v", c.raw, from, to, ok, c.from, c.to, c.ok)
		}
	}
}

func FuzzHeader(f *testing.F) {
	for _, name := range []string{"plain.http", "empty.http", "quoted.http", "raw-quotes.http", "patch-known.http", "zstd.http", "meta.http"} {
		f.Add(headerSection(capture(f, name)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var h head
		if h.parse(raw) != nil {
			return
		}
		last, sum := int64(-1), int64(0)
		for _, it := range h.items {
			if it.time <= last || it.size < 0 || it.from > it.to || it.to > len(h.labels) {
				t.Fatalf("item %+v after time %d", it, last)
			}
			last, sum = it.time, sum+it.size
			for _, l := range h.labels[it.from:it.to] {
				if len(l.Name) == 0 {
					t.Fatalf("record %d: label without a name", it.time)
				}
			}
		}
		if sum != h.total {
			t.Fatalf("total: got %d, want %d", h.total, sum)
		}
		if from, to, ok := span(raw); len(h.items) > 0 && (!ok || from != h.items[0].time || to != last) {
			t.Fatalf("span: got %d %d %v, want %d %d", from, to, ok, h.items[0].time, last)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var raw []byte
	for i := range 85 {
		raw = fmt.Appendf(raw, "x-reduct-time-%d: 200,application/json", 1700000000000000+(i*37%85)*1000)
		for k := range 12 {
			raw = fmt.Appendf(raw, ",label-%02d=value-%d", k, i*k)
		}
		raw = append(raw, "\r\n"...)
	}
	var h head
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if err := h.parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

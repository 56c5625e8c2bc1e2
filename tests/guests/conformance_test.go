package guests

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/golden"
)

const sdks = "../../wasm-modules/sdk/"

// inGo and the samples of the other SDKs do the same job; Go's is the one that they are compared with, for it needs no other toolchain.
const inGo = "sample"

var samples = []struct{ name, source string }{
	{"sample-c", sdks + "c/sample/main.c"},
	{"sample-rust", sdks + "rust/sample/lib.rs"},
	{"sample-zig", sdks + "zig/sample/main.zig"},
	{"sample-as", sdks + "assemblyscript/sample/main.ts"},
}

// set is records as a module gets them, in batches.
type set struct {
	config  table
	batches []bridge.Batch
}

// transcript is all that crosses the border when a module is given a set of records, byte for byte. Each batch has an instance of its own.
func transcript(tb testing.TB, name string, s set) (lines []string) {
	tb.Helper()
	state := []byte(nil)
	for _, b := range s.batches {
		h := newRaw(tb, shop.path(name), 1024, s.config)
		if h.manifest.State == abi.StateExplicit {
			lines = append(lines, "load "+h.give(abi.ExportLoad, state))
		}
		for _, r := range b.Records {
			lines = append(lines, fmt.Sprintf("%s: %s", r.Labels, h.process(b.Stream, r)))
			lines = append(lines, h.told...)
			h.told = nil
		}
		if h.has(abi.ExportFlush) {
			lines = append(lines, "flush "+h.answer(h.call(abi.ExportFlush, uint64(abi.FlushBatch))))
		}
		if h.manifest.State == abi.StateExplicit {
			state = h.saved()
			lines = append(lines, fmt.Sprintf("save %q", state))
		}
	}
	return lines
}

// All samples answer to all records what the files want, and with the same bytes.
func TestConformance(t *testing.T) {
	files, err := filepath.Glob(sdks + "conformance/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	sets := map[string]set{"broken texts": brokenTexts()}
	for _, path := range files {
		f, err := golden.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		sets[filepath.Base(path)] = set{f.Config, f.Batches()}
		shop.golden(t, inGo, path)
	}
	want := make(map[string][]string)
	for name, s := range sets {
		want[name] = transcript(t, inGo, s)
	}
	for _, s := range samples {
		t.Run(s.name, func(t *testing.T) {
			shop.buildGuest(t, s.name, s.source)
			for _, path := range files {
				shop.golden(t, s.name, path)
			}
			for name, set := range sets {
				got := transcript(t, s.name, set)
				for i := range max(len(got), len(want[name])) {
					if i >= len(got) || i >= len(want[name]) || got[i] != want[name][i] {
						t.Errorf("%s, line %d:\n%.2000s\nthe sample in Go:\n%.2000s", name, i, at(got, i), at(want[name], i))
						break
					}
				}
			}
		})
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "nothing"
}

// brokenTexts are labels that are no UTF-8, which no file of records can hold, a text and a label's name that are too long, and every length of text.
func brokenTexts() set {
	b := bridge.Batch{Stream: stream}
	add := func(label, payload []byte, what string) {
		b.Records = append(b.Records, bridge.Record{Time: 1, Payload: payload, Labels: []bridge.Label{
			{Name: []byte("device"), Value: label}, {Name: []byte("do"), Value: []byte(what)}, {Name: []byte("value"), Value: label},
		}})
	}
	for _, s := range []string{"\xff", "a\xc3", "\xc3(", "\xc0\x80", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82", "\xe2\x82x", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
		"\xf0\x9f\x98", "\xf0\x9f\x98\x80\x80", "\xf5\x80\x80\x80", "\x80\x80", "é\xffé"} {
		add([]byte(s), nil, "json")
	}
	for n := range 40 {
		add([]byte(strings.Repeat("x", n)), nil, "json")
		add([]byte(strings.Repeat("x", n)), nil, "patch")
	}
	add(bytes.Repeat([]byte("é"), 3000), nil, "park") // 4 KiB of it go out
	add(nil, bytes.Repeat([]byte("k"), 1<<16-1), "name")
	add(nil, bytes.Repeat([]byte("k"), 1<<16), "name")
	for n := range 25 { // numbers of every length
		add([]byte("0.1234567890123456789012345"[:n+2]), nil, "json")
		add([]byte("1234567890123456789012345"[:n]), nil, "json")
		add(fmt.Appendf(nil, "1.7e%d", 13*n), nil, "json")
		add(fmt.Appendf(nil, "3e-%d", n), nil, "json")
	}
	return set{batches: []bridge.Batch{b}}
}

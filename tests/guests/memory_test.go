package guests

import (
	"os"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
)

// A module that makes garbage of every record lives on within its memory: its collector gets its turns. Without them the one in Go
// dies under 32 MiB after 320,000 records; with them it has 10 MiB after a million, which `make e2e` takes.
func TestMemoryStays(t *testing.T) {
	const limit = 32 << 20
	r := bridge.Record{Time: 1, Labels: labels(manyLabels)}
	for _, g := range []struct {
		name    string
		file    string
		records int // of `make test`
		build   func()
	}{
		{"Go", "maps", 350_000, func() {
			if err := shop.buildGo("./testdata/maps"); err != nil {
				t.Fatal(err)
			}
		}},
		{"AssemblyScript", "maps-as", 50_000, func() { shop.buildGuest(t, "maps-as", "testdata/maps.ts") }},
	} {
		t.Run(g.name, func(t *testing.T) {
			g.build()
			records := g.records
			if os.Getenv("E2E") != "" {
				records = 1_000_000
			}
			h := newRaw(t, shop.path(g.file), limit/(64<<10), nil)
			h.process(stream, r)
			process := h.mod.ExportedFunction(abi.ExportProcess)
			var stack [2]uint64
			for i := range records {
				stack = [2]uint64{1, 4096}
				if err := process.CallWithStack(h.ctx, stack[:]); err != nil {
					t.Fatalf("record %d of %d, %d KiB of memory: %v", i, records, h.mod.Memory().Size()>>10, err)
				}
			}
			got := h.answer(int64(stack[0]))
			if !strings.Contains(got, "speed1500") {
				t.Errorf("the last answer: %s", got)
			}
			t.Logf("%d records: %d KiB of memory, of %d", records, h.mod.Memory().Size()>>10, limit>>10)
		})
	}
}

// What ends a filter in the middle of a record: its words are in what the host says of the record, the instance ends, and the next record is decided.
func TestPanics(t *testing.T) {
	shop.buildGuest(t, "sample-rust", sdks+"rust/sample/lib.rs")
	shop.buildGuest(t, "sample-as", sdks+"assemblyscript/sample/main.ts")
	for _, c := range []struct{ name, want string }{
		{inGo, "panic: told to crash"},
		{"sample-rust", "panicked at 'told to crash'"},
		{"sample-as", "told to crash at wasm-modules/sdk/assemblyscript/sample/main.ts:"},
	} {
		chain := shop.chain(t, new(states), guest{c.name, nil})
		out := apply(t, chain, []bridge.Record{{Time: 1, Labels: labels("do=crash")}, {Time: 2, Labels: labels("do=park device=next")}})
		if len(out.Parked) != 2 || !strings.Contains(out.Parked[0].Reason, c.want) || out.Parked[1].Reason != "next" {
			t.Errorf("%s: %s, want the first parked with %q, the second with its own text", c.name, text(out), c.want)
		}
	}
}

package guests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host"
	"github.com/sluicebridge/sluice/runtime/host/meter"
)

// rawHost runs one instance of a module as ABI.md says, without the meter and the checks of the real host, and keeps what the guest wrote: the bytes
// themselves, of which the real host shows only what it makes of them.
type rawHost struct {
	tb       testing.TB
	ctx      context.Context
	mod      api.Module
	manifest *abi.Manifest
	buffer   uint32
	size     int
	record   bridge.Record
	told     []string // what it was told by log, count and observe
}

const slice = 20 // units: few enough that most loops call the host

// newRaw starts the module and gives it its config.
func newRaw(tb testing.TB, path string, memory uint32, config table) *rawHost {
	tb.Helper()
	h := &rawHost{tb: tb, ctx: context.Background()}
	cache, err := wazero.NewCompilationCacheWithDir(filepath.Join(shop.dir, "raw"))
	if err != nil {
		tb.Fatal(err)
	}
	rt := wazero.NewRuntimeWithConfig(h.ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(memory).WithCompilationCache(cache))
	tb.Cleanup(func() { rt.Close(h.ctx) })
	wasi_snapshot_preview1.MustInstantiate(h.ctx, rt)
	h.offer(rt)
	wasm, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	h.mod, err = rt.InstantiateWithConfig(h.ctx, wasm, wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	if err != nil {
		tb.Fatal(err)
	}
	h.manifest, err = host.ParseManifest(h.describe(wasm))
	if err != nil {
		tb.Fatal(err)
	}
	if refusal := h.give(abi.ExportInit, h.config(config)); refusal != "" {
		tb.Fatalf("config refused: %s", refusal)
	}
	return h
}

// offer makes what a guest may import.
func (h *rawHost) offer(rt wazero.Runtime) {
	b := rt.NewHostModuleBuilder(abi.ImportModule)
	add := func(name string, f any) { b = b.NewFunctionBuilder().WithFunc(f).Export(name) }
	add(abi.ImportLog, func(level, ptr, n uint32) { h.told = append(h.told, fmt.Sprintf("log %d %s", level, h.read(ptr, n))) })
	add(abi.ImportCount, func(ptr, n uint32, by int64) { h.told = append(h.told, fmt.Sprintf("count %s %d", h.read(ptr, n), by)) })
	add(abi.ImportObserve, func(ptr, n uint32, v float64) {
		h.told = append(h.told, fmt.Sprintf("observe %s %v", h.read(ptr, n), v))
	})
	add(abi.ImportNow, func() int64 { return h.record.Time })
	add(abi.ImportPayload, func(_, off, dst, n uint32) uint32 {
		part := h.record.Payload[min(int(off), len(h.record.Payload)):]
		part = part[:min(int(n), len(part))]
		h.mod.Memory().Write(dst, part)
		return uint32(len(part))
	})
	add(abi.ImportLabel, func(_, key, n, dst, room uint32) uint32 {
		for _, l := range h.record.Labels {
			if string(l.Name) == string(h.read(key, n)) {
				if len(l.Value) <= int(room) {
					h.mod.Memory().Write(dst, l.Value)
				}
				return uint32(len(l.Value))
			}
		}
		return math.MaxUint32
	})
	add(abi.ImportDSP, func(_, kind, format, dst, room uint32) uint32 {
		if kind != uint32(abi.DSPStats) || format != uint32(abi.F32) || room < 64 || len(h.record.Payload)%4 != 0 {
			return math.MaxUint32
		}
		for i := range uint32(8) { // any numbers: what the guest makes of them is what counts
			h.mod.Memory().WriteFloat64Le(dst+8*i, float64(i)+0.5)
		}
		return 64
	})
	if _, err := b.Instantiate(h.ctx); err != nil {
		h.tb.Fatal(err)
	}
	tick := func(_ context.Context, mod api.Module) { // for a module that the test has metered
		g := mod.ExportedGlobal("sluice.units").(api.MutableGlobal)
		g.Set(uint64(max(int64(g.Get()), 0) + slice))
	}
	if _, err := rt.NewHostModuleBuilder(meter.TickModule).NewFunctionBuilder().WithFunc(tick).Export(meter.TickName).Instantiate(h.ctx); err != nil {
		h.tb.Fatal(err)
	}
}

func (h *rawHost) read(ptr, n uint32) []byte {
	h.tb.Helper()
	b, ok := h.mod.Memory().Read(ptr, n)
	if !ok {
		h.tb.Fatalf("%d bytes at %d lie outside the memory", n, ptr)
	}
	return bytes.Clone(b)
}

// describe finds the manifest in its section, or asks for it.
func (h *rawHost) describe(wasm []byte) []byte {
	h.tb.Helper()
	if f := h.mod.ExportedFunction(abi.ExportDescribe); f != nil {
		v := h.call(abi.ExportDescribe)
		return h.read(uint32(v>>32), uint32(v))
	}
	text, err := meter.Custom(wasm, abi.ManifestSection)
	if err != nil || text == nil {
		h.tb.Fatalf("no manifest: %v", err)
	}
	return text
}

// config is the config with the defaults of the manifest, as the host hands it over.
func (h *rawHost) config(set table) []byte {
	h.tb.Helper()
	full := make(table)
	for _, k := range h.manifest.Config {
		if k.Default != nil {
			full[k.Name] = k.Default
		}
	}
	for k, v := range set {
		full[k] = v
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(full); err != nil {
		h.tb.Fatal(err)
	}
	return bytes.TrimSpace(b.Bytes())
}

func (h *rawHost) has(export string) bool { return h.mod.ExportedFunction(export) != nil }

func (h *rawHost) call(name string, params ...uint64) int64 {
	h.tb.Helper()
	out, err := h.mod.ExportedFunction(name).Call(h.ctx, params...)
	if err != nil {
		h.tb.Fatalf("%s: %v", name, err)
	}
	return int64(out[0])
}

// room has the guest make room for n bytes.
func (h *rawHost) room(n int) {
	h.tb.Helper()
	if n <= h.size && h.buffer != 0 {
		return
	}
	h.size = max(n, 4096)
	if h.buffer = uint32(h.call(abi.ExportIn, uint64(h.size))); h.buffer == 0 || h.buffer%16 != 0 {
		h.tb.Fatalf("%s: buffer at %d, want a multiple of 16", abi.ExportIn, h.buffer)
	}
}

// give hands bytes to init or load, and returns the refusal.
func (h *rawHost) give(export string, b []byte) string {
	h.tb.Helper()
	h.room(len(b))
	h.mod.Memory().Write(h.buffer, b)
	status := int32(h.call(export, uint64(len(b))))
	if status == 0 {
		return ""
	}
	text := h.read(uint32(status), min(4096, h.mod.Memory().Size()-uint32(status)))
	return string(text[:bytes.IndexByte(text, 0)])
}

// process gives the guest a record of a stream and returns its answer.
func (h *rawHost) process(stream string, r bridge.Record) string {
	h.tb.Helper()
	h.record = r
	f := abi.Fields{Time: r.Time, Flags: uint16(r.Flags), ContentType: r.ContentType, Entry: []byte(bridge.Entry(stream)), Payload: r.Payload, PayloadLen: len(r.Payload)}
	all := slices.Equal(h.manifest.Labels, []string{abi.AllLabels})
	for _, l := range r.Labels {
		if all {
			f.Slots = append(f.Slots, l.Name, append([]byte{}, l.Value...))
		}
	}
	for _, name := range h.manifest.Labels {
		if all {
			break
		}
		var v []byte
		for _, l := range r.Labels {
			if name == abi.AllLabels {
				f.Slots = append(f.Slots, l.Name, l.Value)
			} else if string(l.Name) == name {
				v = append([]byte{}, l.Value...)
			}
		}
		if name != abi.AllLabels {
			f.Slots = append(f.Slots, v)
		}
	}
	h.room(f.Size())
	b := make([]byte, f.Size())
	n, err := abi.PutRecord(b, &f)
	if err != nil {
		h.tb.Fatal(err)
	}
	h.mod.Memory().Write(h.buffer, b[:n])
	return h.answer(h.call(abi.ExportProcess, 1, uint64(n)))
}

// answer shows an answer: its number where it is short, else its bytes, wherever they lie.
func (h *rawHost) answer(v int64) string {
	h.tb.Helper()
	if v < 0 || v>>62 != 0 {
		return fmt.Sprintf("%016x", uint64(v))
	}
	return fmt.Sprintf("%q", h.read(uint32(v>>32), uint32(v)))
}

// saved is the state.
func (h *rawHost) saved() []byte {
	h.tb.Helper()
	v := h.call(abi.ExportSave)
	return h.read(uint32(v>>32), uint32(v))
}

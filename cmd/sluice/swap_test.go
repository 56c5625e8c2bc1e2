package main

import (
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge/admin"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
)

const stateAt = 64

// counter writes a module that numbers the records of a stream, in the topic: a state of 4 bytes. name tells versions apart; code runs before each record.
func (b *bench) counter(name string, stateVersion string, code ...[]byte) {
	var m asm.Module
	m.Memory(abi.ExportMemory, 2)
	m.Func(abi.ExportVersion, nil, nil, 0)
	m.Func(abi.ExportIn, []byte{asm.I32}, []byte{asm.I32}, 0, asm.Int(1<<16))
	count := asm.Code(asm.Int(stateAt), asm.Int(stateAt), asm.Load(0), asm.Int(1), asm.Op(asm.I32Add), asm.Store(0))
	m.Data(answerAt, numbered())
	write := asm.Code(asm.Int(answerAt+numberAt), asm.Int(stateAt), asm.Load(0), asm.Store(0))
	answer := asm.Int64(abi.LongAnswer(answerAt, uint32(len(numbered()))))
	m.Func(abi.ExportProcess, []byte{asm.I32, asm.I32}, []byte{asm.I64}, 1, asm.Code(code...), count, write, answer)
	m.Func(abi.ExportSave, nil, []byte{asm.I64}, 0, asm.Int64(abi.LongAnswer(stateAt, 4)))
	m.Func(abi.ExportLoad, []byte{asm.I32}, []byte{asm.I32}, 0,
		asm.Int(stateAt), asm.Int(0), asm.Store(0), asm.Get(0), asm.If(asm.Int(stateAt), asm.Int(1<<16), asm.Load(0), asm.Store(0)), asm.Int(0))
	m.Custom(abi.ManifestSection, []byte("abi = 1\nname = \"counter\"\nversion = \""+name+"\"\nstate = \"explicit\"\nstate_version = "+stateVersion+"\n"))
	b.install(m.Bytes())
}

const (
	answerAt = 1 << 12
	numberAt = 8 + 8 + 8 // of the answer: its head, an output's, an op's
)

// numbered is the answer whose payload is a number of 4 bytes.
func numbered() []byte {
	var a abi.Builder
	a.Reset()
	a.Output()
	a.SetPayload(make([]byte, 4))
	return a.Bytes()
}

// install puts a module's file into its place whole, as a careful person does.
func (b *bench) install(wasm []byte) {
	b.t.Helper()
	next := filepath.Join(b.dir, "next")
	if err := os.WriteFile(next, wasm, 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(b.dir, "guest.wasm")); err != nil {
		b.t.Fatal(err)
	}
}

// becomes waits for something to be true of the module.
func (b *bench) becomes(g *gate, what string, f func(admin.Module) bool) (m admin.Module) {
	b.t.Helper()
	b.until(g, what, func() bool {
		m = b.status(g).Modules[0]
		return f(m)
	})
	return m
}

// swapping is a configuration in which nothing leaves the ledger, and a candidate is tried on 6 batches.
func (b *bench) swapping() string {
	text := strings.Replace(b.config(), "guest.wasm'", "guest.wasm'\nshadow_batches = 6", 1)
	return strings.Replace(text, "mqtt://"+b.address(), "mqtt://127.0.0.1:1", 1)
}

// TestSwap: a file that changes is tried in the shadow, promoted with the state, and taken back on request (rules 3 and 4).
func TestSwap(t *testing.T) {
	b := newBench(t)
	path := b.write(b.swapping())
	b.counter("1", "1")
	g, stop := b.start(path)
	defer stop()
	b.send(g, 0, 100)
	first := b.status(g).Modules[0]
	if first.Shadow != nil || first.LastSwap != "" {
		t.Errorf("before: %+v", first)
	}

	b.counter("2", "1")
	g.swaps.lookNow()
	b.becomes(g, "a trial", func(m admin.Module) bool { return m.Shadow != nil })
	b.send(g, 100, 200) // two batches of each of two streams
	if m := b.status(g).Modules[0]; m.SHA256 != first.SHA256 || m.Shadow == nil || m.Shadow.Of != 6 || m.Shadow.Records != 200 || m.Shadow.Different != 0 {
		t.Errorf("in the shadow: %+v %+v", m, m.Shadow)
	}
	b.send(g, 200, 300)
	second := b.becomes(g, "a promotion", func(m admin.Module) bool { return m.SHA256 != first.SHA256 })
	if !strings.HasSuffix(second.LastSwap, " promoted") || second.Refused || second.Shadow != nil {
		t.Errorf("promoted: %+v", second)
	}
	b.send(g, 300, 400)

	var answer admin.RollbackAnswer
	if err := ask(t.Context(), strings.TrimSuffix(g.page(), "/")+"/rollback", admin.RollbackRequest{Module: "guest"}, &answer); err != nil {
		t.Fatal(err)
	}
	if m := b.status(g).Modules[0]; answer.SHA256 != first.SHA256 || answer.Was != second.SHA256 || m.SHA256 != first.SHA256 {
		t.Errorf("rolled back: %+v, module %+v", answer, m)
	}
	b.send(g, 400, 500)
	b.exact(g, 2, 500)
	for name, want := range map[string]int64{"guest/promoted": 1, "guest/rolled back": 1, "guest/refused": 0} {
		if got := g.metrics.ModuleSwaps.At(name).Load(); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}

// TestSwapRefused: whatever is wrong with a candidate, the module in its place stays there, and it is said (rule 20).
func TestSwapRefused(t *testing.T) {
	b := newBench(t)
	path := b.write(b.swapping())
	b.counter("1", "1")
	g, stop := b.start(path)
	defer stop()
	b.send(g, 0, 100)
	sent := 100
	first := b.status(g).Modules[0].SHA256
	for i, tt := range []struct {
		name    string
		install func()
		want    string
	}{
		{"half a file", func() { b.install([]byte("\x00asm\x01\x00\x00\x00\x01")) }, "module guest: "},
		{"traps at a record", func() { b.counter("2", "1", trap) }, "sluice_process: wasm error: unreachable"},
		{"never ends", func() { b.counter("3", "1", asm.Loop(asm.Br(0))) }, "budget used up"},
		{"refuses the state", func() { b.stubborn() }, "sluice_load: refused with code 7"},
	} {
		tt.install()
		g.swaps.lookNow()
		b.becomes(g, "a look at a candidate that is "+tt.name, func(m admin.Module) bool {
			return m.Shadow != nil || m.Refused && g.metrics.ModuleSwaps.At("guest/refused").Load() > int64(i)
		})
		b.send(g, sent, sent+100)
		sent += 100
		m := b.becomes(g, "the end of a trial", func(m admin.Module) bool { return m.Shadow == nil })
		if m.SHA256 != first || !m.Refused || !strings.Contains(m.LastSwap, tt.want) {
			t.Errorf("%s: %+v, want %q", tt.name, m, tt.want)
		}
	}
	b.exact(g, 2, sent)
	var answer admin.RollbackAnswer
	err := ask(t.Context(), strings.TrimSuffix(g.page(), "/")+"/rollback", admin.RollbackRequest{Module: "guest"}, &answer)
	if got := errorText(err); !strings.Contains(got, "there is none before it since the start") {
		t.Errorf("rollback: got %q", got)
	}
}

// stubborn writes a module that takes no state.
func (b *bench) stubborn() {
	var m asm.Module
	m.Memory(abi.ExportMemory, 2)
	m.Func(abi.ExportVersion, nil, nil, 0)
	m.Func(abi.ExportIn, []byte{asm.I32}, []byte{asm.I32}, 0, asm.Int(1<<16))
	m.Func(abi.ExportProcess, []byte{asm.I32, asm.I32}, []byte{asm.I64}, 1, pass)
	m.Func(abi.ExportSave, nil, []byte{asm.I64}, 0, asm.Int64(abi.LongAnswer(stateAt, 4)))
	m.Func(abi.ExportLoad, []byte{asm.I32}, []byte{asm.I32}, 0, asm.Get(0), asm.If(asm.Int(-7), asm.Op(asm.Return)), asm.Int(0))
	m.Custom(abi.ManifestSection, []byte("abi = 1\nname = \"counter\"\nstate = \"explicit\"\nstate_version = 1\n"))
	b.install(m.Bytes())
}

// TestSwapReset: a module of another state_version begins anew, and a rollback goes on where the module before had been.
func TestSwapReset(t *testing.T) {
	b := newBench(t)
	path := b.write(strings.Replace(b.swapping(), "= 6", "= 0", 1))
	b.counter("1", "1")
	g, stop := b.start(path)
	defer stop()
	b.send(g, 0, 10)
	first := b.status(g).Modules[0].SHA256
	b.counter("2", "2")
	b.becomes(g, "a swap that nobody asked for", func(m admin.Module) bool { return m.SHA256 != first }) // the file is watched
	b.send(g, 10, 20)
	if _, err := g.Rollback(t.Context(), admin.RollbackRequest{Module: "guest"}); err != nil {
		t.Fatal(err)
	}
	b.send(g, 20, 30)
	for _, stream := range []string{"gate/acc-1", "gate/acc-2"} {
		for module, want := range map[string]byte{"guest": 20, "guest@1": 10} {
			st, found, err := g.store.State("p", stream, module)
			if err != nil || !found || st.Bytes[0] != want {
				t.Errorf("%s of %s: %v %v %v, want %d", module, stream, st.Bytes, found, err, want)
			}
		}
	}
}

// TestReloadMoves: a table that names another file, or another pin, brings what it names as a file that has changed comes; one that names what
// cannot be loaded is refused whole.
func TestReloadMoves(t *testing.T) {
	b := newBench(t)
	text := b.swapping()
	path := b.write(text)
	b.counter("1", "1")
	g, stop := b.start(path)
	defer stop()
	b.send(g, 0, 10)
	first := b.status(g).Modules[0].SHA256
	b.write(strings.Replace(text, "shadow_batches", "sha256 = \""+strings.Repeat("ab", 32)+"\"\nshadow_batches", 1))
	if got := errorText(g.reload(t.Context())); !strings.Contains(got, "want abab") {
		t.Errorf("another pin: got %q", got)
	}
	b.counter("2", "1")
	next, err := os.ReadFile(filepath.Join(b.dir, "guest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "other.wasm"), next, 0o600); err != nil {
		t.Fatal(err)
	}
	b.counter("1", "1")
	b.write(strings.Replace(text, "guest.wasm", "other.wasm", 1))
	if err := g.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m := b.status(g).Modules[0]; m.Shadow == nil || m.SHA256 != first {
		t.Errorf("after the reload: %+v, want a trial", m)
	}
	b.send(g, 10, 300)
	b.becomes(g, "a promotion", func(m admin.Module) bool { return m.SHA256 != first })
	b.send(g, 300, 320)
	b.exact(g, 2, 320)
}

// exact reads the ledger: each stream's records are there once, in order, numbered from 1.
func (b *bench) exact(g *gate, streams, each int) {
	b.t.Helper()
	b.ordered(g, streams, each)
}

// ordered is exact for streams of any length where each is -1. It returns how many records there are.
func (b *bench) ordered(g *gate, streams, each int) (all int) {
	b.t.Helper()
	ended, cancel := context.WithCancel(b.t.Context())
	cancel()
	last, numbers := map[string]int64{}, map[string]int{}
	for after := uint64(0); ; {
		rows, _ := g.store.Outbox("far").Next(ended, after, 100)
		if len(rows) == 0 {
			break
		}
		for _, r := range rows {
			after = r.Number
			ms, err := g.store.Outbox("far").Messages(r.Number)
			if err != nil {
				b.t.Fatal(err)
			}
			for i := range ms {
				n := numbers[r.Stream] + 1
				if got := int(binary.LittleEndian.Uint32(ms[i].Payload)); got != n || ms[i].Time <= last[r.Stream] {
					b.t.Fatalf("%s@%d after %d is number %d, want %d", r.Stream, ms[i].Time, last[r.Stream], got, n)
				}
				numbers[r.Stream], last[r.Stream] = n, ms[i].Time
			}
		}
	}
	for stream, n := range numbers {
		all += n
		if each >= 0 && n != each {
			b.t.Errorf("%s: %d records, want %d", stream, n, each)
		}
	}
	if len(numbers) != streams {
		b.t.Errorf("%d streams, want %d", len(numbers), streams)
	}
	return all
}

// TestSwapSigned: a module that came before its signature takes its place when that has come too.
func TestSwapSigned(t *testing.T) {
	b := newBench(t)
	text := strings.Replace(b.swapping(), "shadow_batches = 6", "shadow_batches = 0\ntrust = '"+b.dir+"/site.pub'", 1)
	path, wasm := b.write(text), filepath.Join(b.dir, "guest.wasm")
	sluice := func(args ...string) {
		t.Helper()
		if code := run(t.Context(), args, io.Discard, io.Discard); code != exitOK {
			t.Fatalf("sluice %s: exit %d", args, code)
		}
	}
	sluice("module", "keygen", "--into", filepath.Join(b.dir, "site"))
	sign := func() { sluice("module", "sign", "--key", filepath.Join(b.dir, "site.key"), wasm) }
	b.counter("1", "1")
	sign()
	g, stop := b.start(path)
	defer stop()
	first := b.status(g).Modules[0].SHA256
	b.counter("2", "1")
	g.swaps.lookNow()
	refused := b.becomes(g, "a refusal", func(m admin.Module) bool { return m.Refused })
	if !strings.Contains(refused.LastSwap, "not the one that was signed") || refused.SHA256 != first {
		t.Errorf("refused: %+v", refused)
	}
	sign()
	g.swaps.lookNow()
	b.becomes(g, "the second module", func(m admin.Module) bool { return m.SHA256 != first && !m.Refused })
}

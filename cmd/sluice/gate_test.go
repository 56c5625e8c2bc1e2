package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluicebridge/sluice/bridge/admin"
	"github.com/sluicebridge/sluice/bridge/site"
	"github.com/sluicebridge/sluice/runtime/abi"
	"github.com/sluicebridge/sluice/runtime/host/asm"
)

// bench is a broker that tells what arrives, and a place for a bridge.
type bench struct {
	t       *testing.T
	dir     string
	broker  *demoBroker
	arrived chan string // identities
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir(), arrived: make(chan string, 10000)}
	var err error
	if b.broker, err = newDemoBroker("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	err = b.broker.server.Subscribe("out/#", 2, func(_ *mochi.Client, _ packets.Subscription, p packets.Packet) {
		for _, u := range p.Properties.User {
			if u.Key == "sluice-id" {
				b.arrived <- u.Val
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.broker.server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.broker.server.Close() })
	return b
}

// config is a bridge from a free port through the module at guest.wasm to the broker.
func (b *bench) config() string {
	l, _ := b.broker.server.Listeners.Get("demo")
	b.guest(pass)
	return fmt.Sprintf(`
data_dir = '%[1]s/data'
[admin]
listen = "127.0.0.1:0"
[inputs.replication.edge]
listen = "127.0.0.1:0"
bucket = "gate"
token = "t"
[modules.guest]
path = '%[1]s/guest.wasm'
[pipelines.p]
inputs = ["edge"]
modules = ["guest"]
remotes = ["far"]
[remotes.mqtt.far]
broker = "mqtt://%[2]s"
client_id = "c"
topic = "out/{entry}"
qos = 2
password = "hush"
`, b.dir, l.Address())
}

var (
	pass = asm.Int64(abi.ShortAnswer(abi.Pass, 0))
	drop = asm.Int64(abi.ShortAnswer(abi.Drop, 0))
	trap = asm.Op(asm.Unreachable)
)

// guest writes a module that does the same with every record.
func (b *bench) guest(code []byte) {
	if err := os.WriteFile(filepath.Join(b.dir, "guest.wasm"), guestOf(code), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func guestOf(code []byte) []byte {
	var m asm.Module
	m.Memory(abi.ExportMemory, 2)
	m.Func(abi.ExportVersion, nil, nil, 0)
	m.Func(abi.ExportIn, []byte{asm.I32}, []byte{asm.I32}, 0, asm.Int(1<<16))
	m.Func(abi.ExportProcess, []byte{asm.I32, asm.I32}, []byte{asm.I64}, 1, code)
	m.Custom(abi.ManifestSection, []byte("abi = 1\nname = \"guest\"\nreasons = [\"no\"]\n"))
	return m.Bytes()
}

func (b *bench) write(text string) string {
	path := filepath.Join(b.dir, "c.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// start opens and runs a bridge; stop ends it as a signal does.
func (b *bench) start(path string) (g *gate, stop func()) {
	b.t.Helper()
	g, err := open(b.t.Context(), path, slog.New(slog.DiscardHandler))
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- g.run(ctx) }()
	return g, func() {
		b.t.Helper()
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("run: %v, want nil", err)
		}
		if err := g.close(); err != nil {
			b.t.Errorf("close: %v, want nil", err)
		}
	}
}

// send replicates records from..to of each of two sensors, as an edge store that was just started would.
func (b *bench) send(g *gate, from, to int) {
	b.t.Helper()
	machine := site.NewVibration(site.VibrationConfig{Sensors: 2, Samples: 16})
	s, err := site.NewSender(site.SenderConfig{Target: "http://" + g.inputs[0].listener.Addr().String(), Bucket: "gate", Token: "t"}, machine)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := from; i < to; i++ {
		for sensor := range 2 {
			s.Notify(machine.Entry(sensor), machine.Time(sensor, i), false)
		}
	}
	if err := s.Drain(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	if c := s.Counters(); c.Forgotten > 0 || c.Sent != int64(2*(to-from)) {
		b.t.Fatalf("the sender has %+v, want all sent", c)
	}
}

// await takes n identities from the broker.
func (b *bench) await(n int) {
	b.t.Helper()
	for i := range n {
		select {
		case <-b.arrived:
		case <-time.After(30 * time.Second):
			b.t.Fatalf("%d of %d messages arrived", i, n)
		}
	}
}

func (b *bench) status(g *gate) (s admin.Status) {
	b.t.Helper()
	s, err := fetchStatus(b.t.Context(), strings.TrimSuffix(g.page(), "/"))
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// Rules 1, 2 and 18: what was answered arrives once and in order, across a restart, and what comes again is known.
func TestRecordsFlow(t *testing.T) {
	b := newBench(t)
	path := b.write(b.config())
	g, stop := b.start(path)
	b.send(g, 0, 200)
	b.await(400)
	b.send(g, 100, 300)
	b.await(200)
	s := b.status(g)
	if p := s.Pipelines[0]; p.Received != 800 || p.Duplicates != 200 || p.Parked != 0 {
		t.Errorf("pipeline: got %+v, want 800 received, 200 seen before", p)
	}
	if !s.Ready || s.Version != version || len(s.Modules) != 1 || s.Modules[0].SHA256 == "" || s.Remotes[0].Connected != 1 {
		t.Errorf("status: got %+v", s)
	}
	stop()

	g, stop = b.start(path)
	b.send(g, 250, 301)
	b.await(2)
	stop()
	if got := b.broker.seen(); got.messages != 602 || got.wrong != 0 {
		t.Errorf("broker saw %+v, want 602 messages in order", got)
	}
}

// TestFanOut: an input that two pipelines read fills both.
func TestFanOut(t *testing.T) {
	b := newBench(t)
	g, stop := b.start(b.write(b.config() + `
[pipelines.q]
inputs = ["edge"]
remotes = ["far2"]
[remotes.mqtt.far2]
broker = "mqtt://` + b.address() + `"
topic = "out/two/{entry}"
`))
	for i, want := range []string{"c", "sluice-" + g.store.Identity()[:8]} {
		if got := g.remotes[i].mqtt.Status().Connections[0].ClientID; got != want {
			t.Errorf("client id: got %q, want %q", got, want)
		}
	}
	b.send(g, 0, 50)
	b.await(200)
	stop()
}

func (b *bench) address() string {
	l, _ := b.broker.server.Listeners.Get("demo")
	return l.Address()
}

// TestReload: modules change between two batches; what cannot be taken over changes nothing.
func TestReload(t *testing.T) {
	b := newBench(t)
	text := b.config()
	path := b.write(text)
	g, stop := b.start(path)
	defer stop()
	b.send(g, 0, 10)
	b.await(20)

	b.guest(drop)
	before := b.status(g).Modules[0].SHA256
	b.write(text + "[modules.guest.config]\nother = true\n")
	if err := g.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.send(g, 10, 20)
	s := b.status(g)
	if p := s.Pipelines[0]; p.Filtered != 20 || s.Modules[0].SHA256 == before || s.Modules[0].Drops["no"] != 20 {
		t.Errorf("after a reload: got %+v %+v, want 20 filtered by another module", p, s.Modules[0])
	}

	refused := []struct{ name, text, want string }{
		{"wrong", strings.Replace(text, "qos = 2", "qos = 3", 1), "c.toml:19: remotes.mqtt.far.qos: "},
		{"restart", strings.Replace(text, "qos = 2", "qos = 1", 1), "a restart is needed for remotes.mqtt.far.qos"},
		{"restart for a secret", strings.Replace(text, "hush", "hash", 1), "a restart is needed for a secret"},
		{"no module", strings.Replace(text, "guest.wasm", "none.wasm", 1), "c.toml:9: modules.guest: "},
	}
	for _, tt := range refused {
		b.write(tt.text)
		if got := errorText(g.reload(t.Context())); !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	b.send(g, 20, 30)
	if p := b.status(g).Pipelines[0]; p.Filtered != 40 {
		t.Errorf("after refused reloads: got %+v, want 40 filtered", p)
	}
	b.write(strings.Replace(text, `modules = ["guest"]`, `modules = []`, 1))
	if err := g.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.send(g, 30, 40)
	b.await(20)
}

// TestReloadOn: a signal reloads, and the metrics tell a refused one.
func TestReloadOn(t *testing.T) {
	b := newBench(t)
	text := b.config()
	path := b.write(text)
	var log lines
	g, err := open(t.Context(), path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	hangups := make(chan os.Signal)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- g.reloadOn(ctx, hangups) }()
	hangups <- os.Interrupt
	hangups <- os.Interrupt // the first has been handled when this one is taken
	b.write(text + "nonsense = 1\n")
	hangups <- os.Interrupt
	cancel()
	if err := <-done; err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if !g.Status().LastReloadFailed || !strings.Contains(log.String(), "nonsense") || strings.Count(log.String(), "msg=reloaded") < 1 {
		t.Errorf("failed %v, log %s", g.Status().LastReloadFailed, log.String())
	}
}

type lines struct{ bytes.Buffer }

func TestCheck(t *testing.T) {
	b := newBench(t)
	text := b.config()
	tests := []struct {
		name, text, out, err string
		code                 int
		guest                []byte
	}{
		{"fine", text, "module guest  (", "", exitOK, pass},
		{"warns", strings.NewReplacer("127.0.0.1:0\"\nbucket", "0.0.0.0:0\"\nbucket", `token = "t"`, "").Replace(text), "whoever reaches 0.0.0.0:0 can write", "", exitOK, pass},
		{"no source", text, "warning: inputs.replication.edge: no source", "", exitOK, pass},
		{"trap", text, "", "c.toml:9: modules.guest: trial record: ", exitConfig, trap},
		{"no file", strings.Replace(text, "guest.wasm", "none.wasm", 1), "", "c.toml:9: modules.guest: ", exitConfig, pass},
		{"data_dir is a file", strings.Replace(text, "/data'", "/guest.wasm'", 1), "", "c.toml:2: data_dir: ", exitConfig, pass},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b.guest(tt.guest)
			var out, errs bytes.Buffer
			code := run(t.Context(), []string{"check", "--config", b.write(tt.text)}, &out, &errs)
			if code != tt.code || !strings.Contains(out.String(), tt.out) || !strings.Contains(errs.String(), tt.err) {
				t.Errorf("got %d, out %q, err %q", code, out.String(), errs.String())
			}
			if entries, _ := filepath.Glob(filepath.Join(b.dir, "*")); len(entries) != 2 {
				t.Errorf("left behind: %v", entries)
			}
		})
	}
}

func TestCommands(t *testing.T) {
	b := newBench(t)
	path := b.write(b.config())
	wrong := writeConfig(t, "data_dri = 1\n[pipelines.p]\ninputs = [\"x\"]\n")
	tests := []struct {
		args     string
		code     int
		out, err string
	}{
		{"", exitUsage, "", "usage: sluice COMMAND"},
		{"help", exitOK, "simulate vibration", ""},
		{"fly", exitUsage, "", `no command "fly"`},
		{"config", exitUsage, "", `no command "config"`},
		{"version", exitOK, "sluice " + version, ""},
		{"version --json", exitOK, `"version": "` + version, ""},
		{"version now", exitUsage, "", `unexpected argument "now"`},
		{"version --nope", exitUsage, "", "flag provided but not defined"},
		{"run --help", exitOK, "", "-config FILE"},
		{"run --config " + wrong, exitConfig, "", ":1: data_dri: unknown key, did you mean data_dir?"},
		{"run --config " + wrong, exitConfig, "", `:3: pipelines.p.inputs: "x" does not exist`},
		{"run --config /nowhere", exitConfig, "", "/nowhere: open /nowhere: no such file"},
		{"check --config " + path + " --json", exitOK, `"warnings": [`, ""},
		{"config example", exitOK, "[remotes.mqtt.site]", ""},
		{"config schema", exitOK, `"$schema"`, ""},
		{"config print --config " + path, exitOK, `password = "***"`, ""},
		{"config print --json --config " + path, exitOK, `"password": "***"`, ""},
		{"simulate vibration", exitUsage, "", "want exactly one of"},
		{"simulate vibration --quota 5 --into x", exitUsage, "", "want a number with a unit"},
		{"status --url http://127.0.0.1:1", exitRuntime, "", "ask the running bridge"},
		{"demo --config " + wrong, exitConfig, "", "unknown key"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(t.Context(), strings.Fields(tt.args), &out, &errs)
			if code != tt.code || !strings.Contains(out.String(), tt.out) || !strings.Contains(errs.String(), tt.err) {
				t.Errorf("got %d, want %d\nout: %s\nerr: %s", code, tt.code, out.String(), errs.String())
			}
			if strings.Contains(tt.args, "json") && !json.Valid(out.Bytes()) {
				t.Errorf("not JSON: %s", out.String())
			}
		})
	}
}

// TestRunAndStatus: the command itself, stopped as by a signal; and what status prints of it.
func TestRunAndStatus(t *testing.T) {
	b := newBench(t)
	path := b.write(b.config())
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"run", "--config", path}, io.Discard, writer) }()
	page := ""
	line := make([]byte, 4096)
	for page == "" {
		n, err := reader.Read(line)
		if err != nil {
			t.Fatal(err)
		}
		if _, after, found := strings.Cut(string(line[:n]), "page="); found {
			page, _, _ = strings.Cut(strings.TrimSpace(after), " ")
		}
	}
	go io.Copy(io.Discard, reader)
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"status", "--url", page}, &out, &errs); code != exitOK || !strings.Contains(out.String(), "PIPELINE") {
		t.Errorf("status: %d %s %s", code, out.String(), errs.String())
	}
	reply, err := http.Get(page + "readyz")
	if err != nil {
		t.Fatal(err)
	}
	reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		t.Errorf("readyz: %d, want 200", reply.StatusCode)
	}
	cancel()
	if code := <-done; code != exitOK {
		t.Errorf("run ended with %d, want 0", code)
	}
}

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/tests/real"
)

// command runs sluice in the bridge's directory; arguments have no spaces in them.
func (s *site) command(t *testing.T, args string) (code int, out string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(real.Binary(t), "bin", "sluice"), strings.Fields(args)...)
	cmd.Dir = s.dir
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("sluice %s: %v", args, err)
	}
	return cmd.ProcessState.ExitCode(), string(b)
}

func (s *site) must(t *testing.T, args string) string {
	t.Helper()
	code, out := s.command(t, args)
	if code != 0 {
		t.Fatalf("sluice %s: exit %d\n%s", args, code, out)
	}
	return out
}

// remapSum is the digest of the module in use.
func (s *site) remapSum(t *testing.T) string {
	t.Helper()
	for _, m := range s.status(t).Modules {
		if m.Name == "label-remap" {
			return m.SHA256
		}
	}
	t.Fatal("no module label-remap")
	return ""
}

// moduleOf copies the built module, with what may stand behind a module and changes nothing but its digest: a custom section.
func (s *site) moduleOf(t *testing.T, name string, section byte) (wasm []byte, sum string) {
	t.Helper()
	wasm, err := os.ReadFile(filepath.Join(real.Binary(t), "wasm-modules", "dist", "label-remap.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	wasm = append(wasm, 0, 2, 1, section)
	if err := os.WriteFile(filepath.Join(s.dir, name), wasm, 0o600); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(wasm)
	return wasm, hex.EncodeToString(digest[:])
}

// TestRegistry: a signed module comes from the edge store, a newer one on SIGHUP, an altered one never, and the last good one while the store
// is down.
func TestRegistry(t *testing.T) {
	s := newSite(t, options{remap: true})
	file := filepath.Join(s.dir, "config.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(real.Binary(t), "wasm-modules", "dist", "label-remap.wasm")
	config := strings.Replace(string(text), fmt.Sprintf("path = %q", path),
		fmt.Sprintf("path = \"reduct://modules/site?name=label-remap\"\ntrust = %q\nshadow_batches = 0", s.dir+"/site.pub"), 1) + fmt.Sprintf("\n[registry]\nurl = %q\n", s.store.URL)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.store.Bucket(t, "modules", "")
	push := "module push --url " + s.store.URL + " %s reduct://modules/site"
	s.must(t, "module keygen --into site")
	s.must(t, "module keygen --into other")

	_, first := s.moduleOf(t, "first.wasm", 1)
	s.must(t, fmt.Sprintf(push, "first.wasm"))
	if code, out := s.command(t, "check --config config.toml"); code != 78 || !strings.Contains(out, "not signed") {
		t.Fatalf("check of an unsigned module: exit %d\n%s", code, out)
	}
	s.must(t, "module sign --key site.key first.wasm")
	s.must(t, fmt.Sprintf(push, "first.wasm"))
	s.must(t, "check --config config.toml")
	s.sluice.Up()
	s.write(t, 0, 100)
	s.settled(t, time.Minute, 400)
	if got := s.remapSum(t); got != first {
		t.Fatalf("module %s, want %s", got, first)
	}

	// Altered on its way: the digest is right, for whoever can write it can write that too; the signature is not.
	altered, sum := s.moduleOf(t, "altered.wasm", 2)
	signature, err := os.ReadFile(filepath.Join(s.dir, "first.wasm.sig"))
	if err != nil {
		t.Fatal(err)
	}
	s.store.Write(t, "modules", "site", []real.Sample{{Time: time.Now().UnixMicro(), ContentType: "application/wasm", Payload: altered,
		Labels: map[string]string{"name": "label-remap", "sha256": sum, "signature": strings.TrimSpace(string(signature))}}})
	s.refuses(t)
	if code, out := s.command(t, "check --config config.toml"); code != 78 || !strings.Contains(out, "the file is not the one that was signed") {
		t.Errorf("check of an altered module: exit %d\n%s", code, out)
	}
	s.must(t, "module sign --key other.key altered.wasm")
	s.must(t, fmt.Sprintf(push, "altered.wasm"))
	s.refuses(t)
	if code, out := s.command(t, "check --config config.toml"); code != 78 || !strings.Contains(out, "signed by a key that is not trusted") {
		t.Errorf("check of a module signed by another: exit %d\n%s", code, out)
	}
	s.write(t, 100, 200)
	s.settled(t, time.Minute, 800)
	if got := s.remapSum(t); got != first {
		t.Errorf("module %s, want %s", got, first)
	}

	_, second := s.moduleOf(t, "second.wasm", 3)
	s.must(t, "module sign --key site.key second.wasm")
	s.must(t, fmt.Sprintf(push, "second.wasm"))
	s.hangUp(t)
	real.Eventually(t, time.Minute, "the second module", func() (bool, string) { got := s.remapSum(t); return got == second, got })

	s.sluice.Kill()
	s.store.Kill()
	s.sluice.Up()
	if got := s.remapSum(t); got != second {
		t.Errorf("while the store is down: module %s, want %s", got, second)
	}
	s.store.Up()
	s.write(t, 200, 300)
	s.settled(t, time.Minute, 1200)
	s.check(t, 300, nil)
	s.records(t)
}

// hangUp has the bridge look for newer modules.
func (s *site) hangUp(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(s.sluice.Pid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// refuses has the bridge look, and waits until it has refused what it found.
func (s *site) refuses(t *testing.T) {
	t.Helper()
	const said = "module refused"
	before := strings.Count(s.sluice.Tail(1<<20), said)
	s.hangUp(t)
	real.Eventually(t, time.Minute, "a refusal", func() (bool, string) {
		text := s.sluice.Tail(1 << 20)
		return strings.Count(text, said) > before, text[max(0, len(text)-500):]
	})
}

// records saves some of what the store has, lets a module say what it makes of them, and finds that it makes the same of them again.
func (s *site) records(t *testing.T) {
	t.Helper()
	now := time.Now().UnixMicro()
	s.store.Write(t, "vib", "now-1", []real.Sample{
		{Time: now - 3_000_000, ContentType: "application/json", Payload: []byte(`{"a": 1}`), Labels: map[string]string{"rpm": "1", "note": "a, b"}},
		{Time: now - 2_000_000, Payload: []byte{0, 1, 2}, Labels: map[string]string{"rpm": "2"}},
		{Time: now - 1_000_000, Payload: []byte("x"), Labels: map[string]string{"rpm": "3"}},
	})
	s.must(t, "module record --url "+s.store.URL+" --bucket vib --entry now-1 --last 1h --limit 2 --into records.toml")
	text, err := os.ReadFile(filepath.Join(s.dir, "records.toml"))
	if err != nil || !strings.Contains(string(text), `base64 = "AAEC"`) || strings.Contains(string(text), "a, b") || !strings.Contains(string(text), `entry = "vib/now-1"`) {
		t.Errorf("%v, %s, want the last two records", err, text)
	}
	s.must(t, "module test second.wasm records.toml --update --config set.source=edge")
	if code, out := s.command(t, "module test second.wasm records.toml --config set.source=cloud"); code != 3 || !strings.Contains(out, `label "source": "cloud", want "edge"`) {
		t.Errorf("test with another config: exit %d\n%s", code, out)
	}
	s.must(t, "module test second.wasm records.toml --config set.source=edge")
	s.must(t, "module record --config config.toml --entry acc-1 --last 1000000h --limit 3 --into acc.toml")
}

package host

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/runtime/host/sign"
)

// shelf is a Fetcher of one path that remembers what it was told to keep.
type shelf struct {
	path   string
	has    Source
	fails  error
	kept   []Source
	keeps  error
	looked int
}

func (s *shelf) Fetches(path string) bool { return path == s.path }

func (s *shelf) Fetch(context.Context, string) (Source, error) {
	s.looked++
	return s.has, s.fails
}

func (s *shelf) Keep(_ string, kept Source) error {
	s.kept = append(s.kept, kept)
	return s.keeps
}

func plainGuest() []byte {
	g := newGuest("version = \"1\"")
	g.process(pass)
	return g.bytes()
}

// What is not trusted is refused before anything looks into it: the module of the refused cases would not even compile.
func TestTrust(t *testing.T) {
	site, err := sign.Generate()
	if err != nil {
		t.Fatal(err)
	}
	other, err := sign.Generate()
	if err != nil {
		t.Fatal(err)
	}
	good, bad := plainGuest(), []byte("no module")
	signature := func(k sign.Private, b []byte) *string { s := k.Sign(sha256.Sum256(b)); return &s }
	text := func(s string) *string { return &s }
	long := text(strings.Repeat("#\n", sign.MaxText))
	tests := []struct {
		name      string
		wasm      []byte
		signature *string // nil: there is no such file
		keys      *string
		want      string
	}{
		{"signed", good, signature(site, good), text(site.Public().Text()), ""},
		{"unsigned", bad, nil, text(site.Public().Text()), "trust: PATH: not signed"},
		{"empty signature", bad, text(""), text(site.Public().Text()), "trust: PATH: not signed"},
		{"wrong key", bad, signature(other, bad), text(site.Public().Text()), "trust: PATH: signed by a key that is not trusted: " + other.Public().IDs()[0]},
		{"altered file", bad, signature(site, good), text(site.Public().Text()), "trust: PATH: the file is not the one that was signed"},
		{"truncated signature", bad, text((*signature(site, bad))[:50]), text(site.Public().Text()), "trust: PATH: signature: malformed"},
		{"long signature", bad, long, text(site.Public().Text()), "trust: PATH.sig is not a file of at most 65536 bytes"},
		{"no keys", bad, signature(site, bad), nil, "trust: stat KEYS: no such file"},
		{"malformed keys", bad, signature(site, bad), text("x"), "trust: KEYS: malformed"},
	}
	b := newBench(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := testConfig()
			cfg.Path, cfg.Trust = filepath.Join(dir, "m.wasm"), filepath.Join(dir, "site.pub")
			for path, text := range map[string]*string{cfg.Path: text(string(tt.wasm)), cfg.Path + SignatureSuffix: tt.signature, cfg.Trust: tt.keys} {
				if text == nil {
					continue
				}
				if err := os.WriteFile(path, []byte(*text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			m, err := b.Load(context.Background(), "m", cfg)
			got := ""
			if err != nil {
				got = strings.NewReplacer(cfg.Path, "PATH", cfg.Trust, "KEYS").Replace(err.Error())
			} else {
				m.Close()
			}
			if (got == "") != (tt.want == "") || !strings.HasPrefix(strings.TrimPrefix(got, "module m: "), tt.want) {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// What a fetcher gives is checked as a file is, and kept only once it proved good.
func TestFetcher(t *testing.T) {
	site, err := sign.Generate()
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(t.TempDir(), "site.pub")
	if err := os.WriteFile(keys, []byte(site.Public().Text()), 0o600); err != nil {
		t.Fatal(err)
	}
	good := plainGuest()
	signature := site.Sign(sha256.Sum256(good))
	const where = "store:module"
	tests := []struct {
		name  string
		shelf shelf
		path  string
		pin   string
		want  string
		kept  int
	}{
		{"good", shelf{has: Source{good, signature}}, where, "", "", 1},
		{"another path", shelf{has: Source{good, signature}}, "none.wasm", "", "path: stat none.wasm", 0},
		{"fetch fails", shelf{fails: errors.New("store is down")}, where, "", "path: store is down", 0},
		{"unsigned", shelf{has: Source{good, ""}}, where, "", "trust: store:module: not signed", 0},
		{"altered", shelf{has: Source{append([]byte(nil), good[:len(good)-1]...), signature}}, where, "", "trust: store:module: the file is not", 0},
		{"another than pinned", shelf{has: Source{good, signature}}, where, strings.Repeat("a", 64), "sha256: store:module is", 0},
		{"cannot be kept", shelf{has: Source{good, signature}, keeps: errors.New("disk full")}, where, "", "path: keep a copy of store:module: disk full", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			s := tt.shelf
			s.path = where
			b.FetchWith(&s)
			cfg := testConfig()
			cfg.Path, cfg.SHA256, cfg.Trust = tt.path, tt.pin, keys
			m, err := b.Load(context.Background(), "m", cfg)
			got := ""
			if err != nil {
				got = strings.TrimPrefix(err.Error(), "module m: ")
			} else {
				m.Close()
			}
			if (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) || len(s.kept) != tt.kept {
				t.Errorf("%s, kept %d, want %s, %d", got, len(s.kept), tt.want, tt.kept)
			}
			if looked := s.looked > 0; looked != (tt.path == where) {
				t.Errorf("fetched: %t", looked)
			}
		})
	}
}

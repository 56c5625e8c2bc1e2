package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/config"
	"github.com/sluicebridge/sluice/bridge/reduct"
	"github.com/sluicebridge/sluice/runtime/host"
)

// registryConfig is the table [registry]: the store that modules with a path reduct://… come from.
type registryConfig struct {
	URL   string `toml:"url"`   // such as http://127.0.0.1:8383; empty: none
	Token string `toml:"token"` // read access to the buckets
}

// Validate reports what is wrong with c.
func (c *registryConfig) Validate() error {
	u, err := url.Parse(c.URL)
	if c.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return fmt.Errorf("url: %q, want http://HOST:PORT", c.URL)
	}
	return nil
}

// registryScheme is how the path of a module in the registry begins.
const registryScheme = "reduct://"

// Labels of a module's record.
const (
	nameLabel      = "name"
	versionLabel   = "version"
	sumLabel       = "sha256"    // of the file, hex
	signatureLabel = "signature" // as in FILE.sig
)

// address is reduct://BUCKET/ENTRY?name=NAME&version=VERSION.
type address struct {
	bucket, entry string
	labels        map[string]string // that the record must have
}

func parseAddress(path string) (address, error) {
	bad := func(why string) (address, error) {
		return address{}, fmt.Errorf("%q: %s, want %sBUCKET/ENTRY?name=NAME&version=VERSION", path, why, registryScheme)
	}
	rest, found := strings.CutPrefix(path, registryScheme)
	if !found {
		return bad("another scheme")
	}
	where, query, _ := strings.Cut(rest, "?")
	a := address{labels: make(map[string]string)}
	if a.bucket, a.entry, _ = strings.Cut(where, "/"); a.bucket == "" || a.entry == "" {
		return bad("no bucket or no entry")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return bad(err.Error())
	}
	for name, all := range values {
		if name != nameLabel && name != versionLabel || len(all) != 1 || all[0] == "" {
			return bad("it asks for " + name)
		}
		a.labels[name] = all[0]
	}
	return a, nil
}

// matches tells whether a record has the labels that are asked for.
func (a address) matches(labels []bridge.Label) bool {
	for name, want := range a.labels {
		if labelOf(labels, name) != want {
			return false
		}
	}
	return true
}

func labelOf(labels []bridge.Label, name string) string {
	for _, l := range labels {
		if string(l.Name) == name {
			return string(l.Value)
		}
	}
	return ""
}

// registry is a host.Fetcher: modules are records of a ReductStore, of which the newest that fits is the one. What was loaded last from an address
// is kept in a file, so that the bridge starts while the store is down.
type registry struct {
	config registryConfig
	dir    string // of the copies
	frozen bool   // no copy is written
	log    *slog.Logger

	mu sync.Mutex // held while a copy is written
}

// registry is where modules with a path reduct://… come from.
func (f *file) registry(log *slog.Logger) *registry {
	return &registry{config: f.Registry, dir: filepath.Join(f.DataDir, "registry"), log: log}
}

// Fetches implements host.Fetcher.
func (r *registry) Fetches(path string) bool { return strings.HasPrefix(path, registryScheme) }

// Fetch implements host.Fetcher. Where the store cannot be asked, or has no such record any more, it is what was kept, and said so. A record
// that is not what its labels say is refused: that is no outage.
func (r *registry) Fetch(ctx context.Context, path string) (host.Source, error) {
	a, err := parseAddress(path)
	if err != nil {
		return host.Source{}, err
	}
	s, err := r.ask(ctx, a)
	if err == nil || errors.Is(err, errMismatch) {
		return s, err
	}
	kept, none := r.kept(path)
	if none != nil {
		return s, fmt.Errorf("%w; and no copy of it: %w", err, none)
	}
	r.log.Warn("module comes from its copy: the registry does not have it", "path", path, "sha256", sumOf(kept.Bytes), "why", err)
	return kept, nil
}

var (
	errMismatch = errors.New("not what its label says")
	errNoModule = errors.New("no such module")
)

func (r *registry) ask(ctx context.Context, a address) (s host.Source, err error) {
	store := reduct.SurveyBucket(r.config.URL, r.config.Token, a.bucket, "")
	defer store.Close()
	newest, some := int64(0), false
	err = store.Each(ctx, a.entry, 0, math.MaxInt64, func(t int64, labels []bridge.Label) {
		if a.matches(labels) {
			newest, some = t, true
		}
	})
	if err == nil && some {
		some, err = store.Record(ctx, a.entry, newest, func(rec *bridge.Record) (err error) {
			s, err = sourceOf(rec)
			return err
		})
	}
	if err == nil && !some {
		err = errNoModule
	}
	if err != nil {
		return s, fmt.Errorf("registry: %s/%s %v: %w", a.bucket, a.entry, a.labels, err)
	}
	return s, nil
}

// sourceOf copies a module out of its record.
func sourceOf(rec *bridge.Record) (host.Source, error) {
	if n := len(rec.Payload); n > host.MaxModule {
		return host.Source{}, fmt.Errorf("record %d: %d bytes, want at most %d", rec.Time, n, host.MaxModule)
	}
	if want, got := labelOf(rec.Labels, sumLabel), sumOf(rec.Payload); want != "" && !strings.EqualFold(got, want) {
		return host.Source{}, fmt.Errorf("record %d: %w: sha256 is %s, want %s", rec.Time, errMismatch, got, want)
	}
	return host.Source{Bytes: bytes.Clone(rec.Payload), Signature: labelOf(rec.Labels, signatureLabel)}, nil
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// A copy is a line of text and what follows it:
//
//	"sluice-copy 1 " sha256 of all behind this line, hex, newline
//	signature: one line, empty where there is none
//	the file
//
// Its name is that of the address, hashed: one copy an address.
const copyWord = "sluice-copy 1 "

func (r *registry) copyOf(path string) string {
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(r.dir, hex.EncodeToString(sum[:16]))
}

// Keep implements host.Fetcher. The copy is durable on return.
func (r *registry) Keep(path string, s host.Source) error {
	if r.frozen {
		return nil
	}
	body := strings.TrimSpace(s.Signature) + "\n" + string(s.Bytes)
	text := copyWord + sumOf([]byte(body)) + "\n" + body
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, err := config.ReadFile(r.copyOf(path), maxCopy); err == nil && old == text {
		return nil
	}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	return replaceFile(r.copyOf(path), text)
}

// maxCopy is the most bytes of a copy.
const maxCopy = host.MaxModule + 64<<10

// kept reads a copy. One that is damaged is none.
func (r *registry) kept(path string) (host.Source, error) {
	text, err := config.ReadFile(r.copyOf(path), maxCopy)
	if err != nil {
		return host.Source{}, err
	}
	head, body, _ := strings.Cut(text, "\n")
	if head != copyWord+sumOf([]byte(body)) {
		return host.Source{}, fmt.Errorf("%s is damaged", r.copyOf(path))
	}
	signature, file, _ := strings.Cut(body, "\n")
	return host.Source{Bytes: []byte(file), Signature: signature}, nil
}

// checkRegistry tells whether a module is in a registry that cannot be asked for it.
func (f *file) checkRegistry(name string, bad func(string, ...any)) {
	m := f.Modules[name]
	for _, named := range [...][2]string{{"path", m.Path}, {"script", m.Script}} {
		key, path := named[0], named[1]
		if !strings.HasPrefix(path, registryScheme) {
			continue
		}
		if _, err := parseAddress(path); err != nil {
			bad("modules.%s.%s: %w", name, key, err)
		} else if f.Registry.URL == "" {
			bad("modules.%s.%s: %q, but registry.url is empty, want the store that has it", name, key, path)
		}
	}
}

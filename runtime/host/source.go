package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sluicebridge/sluice/runtime/host/sign"
)

// MaxModule is the most bytes of a module's file.
const MaxModule = 16 << 20

// SignatureSuffix makes of a file's name that of its signature.
const SignatureSuffix = ".sig"

// Source is a file that a module is made of, with what vouches for it.
type Source struct {
	Bytes     []byte
	Signature string // as package sign writes it; empty: there is none
}

// Fetcher has modules that are no files here. Its methods may be called concurrently.
type Fetcher interface {
	// Fetches tells whether a path of the configuration is one of its own.
	Fetches(path string) bool
	// Fetch returns what is at a path now, at most MaxModule bytes.
	Fetch(ctx context.Context, path string) (Source, error)
	// Keep is told what was loaded, once it proved good.
	Keep(path string, s Source) error
}

// FetchWith has f give the modules whose paths are its own. Call it before the first Load.
func (rt *Runtime) FetchWith(f Fetcher) { rt.fetcher = f }

// sources are what a module is made of.
type sources struct {
	module Source // of a script its engine
	script Source // empty: the module has none
}

// sources is where every byte of a module comes from. It fills in cfg.Path where that is the engine which came along; that one is as much to be
// trusted as the executable it came with.
func (rt *Runtime) sources(ctx context.Context, cfg *Config) (s sources, err error) {
	trust := cfg.Trust
	if cfg.Script != "" {
		if s.script, err = rt.source(ctx, "script", cfg.Script, trust); err != nil {
			return s, err
		}
	}
	if cfg.Path == "" {
		trust = ""
		if cfg.Path, err = findEngine(); err != nil {
			return s, err
		}
	}
	s.module, err = rt.source(ctx, "path", cfg.Path, trust)
	return s, err
}

// sum is the digest of what a module is made of: the file's, for a script that of the engine with the script behind it.
func (s *sources) sum() [sha256.Size]byte {
	h := sha256.New()
	h.Write(s.module.Bytes)
	h.Write(s.script.Bytes)
	return [sha256.Size]byte(h.Sum(nil))
}

// source is the file that a key of the config names, or what the fetcher has under its name. Each Load asks anew. Where the
// config names keys, nothing is returned that none of them signed: an untrusted module is never looked into.
func (rt *Runtime) source(ctx context.Context, key, path, trust string) (s Source, err error) {
	if rt.fetches(path) {
		s, err = rt.fetcher.Fetch(ctx, path)
	} else {
		s.Bytes, err = readModule(path)
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", key, err)
	}
	if trust == "" {
		return s, nil
	}
	text, err := readText(trust)
	if err != nil {
		return s, fmt.Errorf("trust: %w", err)
	}
	keys, err := sign.ParsePublic(text)
	if err != nil {
		return s, fmt.Errorf("trust: %s: %w", trust, err)
	}
	if !rt.fetches(path) {
		if s.Signature, err = readText(path + SignatureSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s, fmt.Errorf("trust: %w", err)
		}
	}
	if err := keys.Verify(sha256.Sum256(s.Bytes), s.Signature); err != nil {
		return s, fmt.Errorf("trust: %s: %w", path, err)
	}
	return s, nil
}

func (rt *Runtime) fetches(path string) bool { return rt.fetcher != nil && rt.fetcher.Fetches(path) }

// keep tells the fetcher that what it gave is good.
func (rt *Runtime) keep(path string, s Source) error {
	if !rt.fetches(path) {
		return nil
	}
	if err := rt.fetcher.Keep(path, s); err != nil {
		return fmt.Errorf("path: keep a copy of %s: %w", path, err)
	}
	return nil
}

func readModule(path string) ([]byte, error) { return readAtMost(path, MaxModule) }

// readText reads a file of keys or a signature.
func readText(path string) (string, error) {
	b, err := readAtMost(path, sign.MaxText)
	return string(bytes.TrimPrefix(b, []byte("\ufeff"))), err
}

func readAtMost(path string, most int64) ([]byte, error) {
	f, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !f.Mode().IsRegular() || f.Size() > most {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, most)
	}
	return os.ReadFile(path)
}

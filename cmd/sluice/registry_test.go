package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
)

// store answers queries on one entry, b/modules, as ReductStore does.
type store struct {
	*httptest.Server
	mu      sync.Mutex
	records []stored // guarded by mu; ascending
	queries []query  // guarded by mu
}

type stored struct {
	time   int64
	labels string
	body   []byte
}

type query struct{ Start, Stop uint64 }

func newStore(t *testing.T, records ...stored) *store {
	s := &store{records: records}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != "Bearer secret":
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/api/v1/b/b/modules/q":
		var q query
		_ = json.NewDecoder(r.Body).Decode(&q)
		s.queries = append(s.queries, q)
		fmt.Fprintf(w, `{"id": %d}`, len(s.queries)-1)
	case r.URL.Path == "/api/v1/b/b/modules/batch":
		var id int
		fmt.Sscan(r.URL.Query().Get("q"), &id)
		q := s.queries[id]
		var body []byte
		for _, rec := range s.records {
			if t := uint64(rec.time); t >= q.Start && t < q.Stop {
				w.Header().Set(fmt.Sprintf("x-reduct-time-%d", rec.time), fmt.Sprintf("%d,application/wasm,%s", len(rec.body), rec.labels))
				body = append(body, rec.body...)
			}
		}
		w.Header().Set("x-reduct-last", "true")
		_, _ = w.Write(body)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (s *store) put(records ...stored) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = records
}

func TestRegistry(t *testing.T) {
	one, two := []byte("module one"), []byte("module two")
	s := newStore(t,
		stored{1, "name=vib,version=1.3", []byte("old")},
		stored{2, "name=vib,sha256=" + sumOf(one) + ",signature=sluice-signature 1 k AA==,version=1.4", one},
		stored{3, "name=other,version=1.4", two},
		stored{4, "name=bad,sha256=" + sumOf(one), two},
	)
	r := &registry{config: registryConfig{URL: s.URL, Token: "secret"}, dir: t.TempDir(), log: slog.New(slog.DiscardHandler)}
	tests := []struct{ path, body, signature, err string }{
		{"reduct://b/modules?name=vib", "module one", "sluice-signature 1 k AA==", ""},
		{"reduct://b/modules?name=vib&version=1.3", "old", "", ""},
		{"reduct://b/modules?version=1.4", "module two", "", ""},
		{"reduct://b/modules?name=bad", "", "", "sha256 is " + sumOf(two) + ", want " + sumOf(one)},
		{"reduct://b/modules?name=vib&version=2", "", "", "no such module; and no copy of it"},
		{"reduct://b/none?name=vib", "", "", "no such module; and no copy of it"},
		{"reduct://b/modules?colour=red", "", "", "it asks for colour, want reduct://BUCKET/ENTRY?name=NAME&version=VERSION"},
		{"reduct://b?name=vib", "", "", "no bucket or no entry"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			got, err := r.Fetch(context.Background(), tt.path)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || string(got.Bytes) != tt.body || got.Signature != tt.signature {
				t.Errorf("%q signed %q, %v, want %q signed %q", got.Bytes, got.Signature, err, tt.body, tt.signature)
			}
		})
	}
}

// What was kept is what a store that is down, or has it no more, is replaced by; never what is not what it says.
func TestRegistryCopies(t *testing.T) {
	const path = "reduct://b/modules?name=vib"
	one := []byte("module\none")
	good := stored{1, "name=vib,sha256=" + sumOf(one) + ",signature=sluice-signature 1 k AA==", one}
	s := newStore(t, good)
	r := &registry{config: registryConfig{URL: s.URL, Token: "secret"}, dir: t.TempDir() + "/registry", log: slog.New(slog.DiscardHandler)}
	fetched, err := r.Fetch(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	frozen := &registry{dir: r.dir, frozen: true}
	if err := frozen.Keep(path, fetched); err != nil {
		t.Fatal(err)
	}
	s.put()
	if got, err := r.Fetch(context.Background(), path); err == nil || !strings.Contains(err.Error(), "no copy of it") {
		t.Errorf("what nobody kept: %q, %v", got.Bytes, err)
	}
	for range 2 {
		if err := r.Keep(path, fetched); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when string) {
		t.Helper()
		if got, err := r.Fetch(context.Background(), path); err != nil || string(got.Bytes) != string(one) || got.Signature != fetched.Signature {
			t.Errorf("%s: %q signed %q, %v", when, got.Bytes, got.Signature, err)
		}
	}
	want("no such record")
	s.put(stored{2, "name=vib,sha256=" + sumOf(one), []byte("altered")})
	if got, err := r.Fetch(context.Background(), path); err == nil || !strings.Contains(err.Error(), "not what its label says") {
		t.Errorf("altered: %q, %v", got.Bytes, err)
	}
	s.Close()
	want("store down")
	if err := os.WriteFile(r.copyOf(path), []byte(copyWord+sumOf(one)+"\n\nmodule\ntwo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Fetch(context.Background(), path); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("damaged copy: %q, %v", got.Bytes, err)
	}
}

// The bridge starts from a copy while the store is down, check finds it too and leaves nothing behind; the token is shown nowhere.
func TestRegistryOfBridge(t *testing.T) {
	b := newBench(t)
	text := b.config()
	s := newStore(t, stored{1, "name=guest", guestOf(pass)})
	text = strings.Replace(text, "path = '"+b.dir+"/guest.wasm'", "path = 'reduct://b/modules?name=guest'", 1) +
		fmt.Sprintf("[registry]\nurl = %q\ntoken = \"secret\"\n", s.URL)
	path := b.write(text)
	checked := func() (int, string) {
		var out, errs strings.Builder
		code := run(t.Context(), []string{"check", "--config", path}, &out, &errs)
		return code, out.String() + errs.String()
	}
	if code, out := checked(); code != exitOK || !strings.Contains(out, "module guest") {
		t.Errorf("check: %d %s", code, out)
	}
	if _, err := os.Stat(b.dir + "/data"); err == nil {
		t.Error("check left data behind")
	}
	g, stop := b.start(path)
	b.send(g, 0, 10)
	b.await(10)
	stop()
	s.Close()
	g, stop = b.start(path)
	b.send(g, 10, 20)
	b.await(10)
	stop()
	if code, out := checked(); code != exitOK || !strings.Contains(out, "module comes from its copy") || strings.Contains(out, "secret") {
		t.Errorf("check while the store is down: %d %s", code, out)
	}
	var out strings.Builder
	if code := run(t.Context(), []string{"config", "print", "--config", path}, &out, &out); code != exitOK || strings.Contains(out.String(), `"secret"`) {
		t.Errorf("config print: %d %s", code, out.String())
	}
	for _, tt := range []struct{ old, new, want string }{
		{"url = \"http", "url = \"ftp", "registry.url: \"ftp"},
		{"url = \"" + s.URL + "\"", "url = \"\"", "registry.url is empty"},
		{"reduct://b/modules", "reduct://b", "no bucket or no entry"},
		{"path = 'reduct://b/modules", "script = 'reduct://b", "modules.guest.script: \"reduct://b?name=guest\": no bucket or no entry"},
	} {
		path = b.write(strings.Replace(text, tt.old, tt.new, 1))
		if code, out := checked(); code != exitConfig || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %d %s", tt.new, code, out)
		}
	}
}

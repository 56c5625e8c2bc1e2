package reduct

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// These tests run a real ReductStore, and only where E2E is set. E2E=require makes a missing server a failure.
const install = "cargo install reductstore --version 1.21.5 --no-default-features --features fs-backend --root ~/.cache/sluice/reductstore-1.21.5"

func binary(t testing.TB) string {
	t.Helper()
	if os.Getenv("E2E") == "" {
		t.Skip("E2E is not set")
	}
	candidates := []string{os.Getenv("REDUCTSTORE_BIN")}
	if p, err := exec.LookPath("reductstore"); err == nil {
		candidates = append(candidates, p)
	}
	if home, err := os.UserHomeDir(); err == nil {
		candidates = append(candidates, filepath.Join(home, ".cache/sluice/reductstore-1.21.5/bin/reductstore"))
	}
	for _, p := range candidates {
		if info, err := os.Stat(p); err == nil && !info.IsDir() {
			return p
		}
	}
	if os.Getenv("E2E") == "require" {
		t.Fatalf("reductstore is missing; install it: %s", install)
	}
	t.Skip("reductstore is missing; install it: " + install)
	return ""
}

// store is a running ReductStore.
type store struct {
	t    testing.TB
	url  string
	port int
	data string
	cmd  *exec.Cmd
}

func startStore(t testing.TB) *store {
	t.Helper()
	s := &store{t: t, data: t.TempDir(), port: freePort(t)}
	s.url = fmt.Sprintf("http://127.0.0.1:%d", s.port)
	s.start(binary(t))
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	s.ask("POST", "/b/src", "{}", nil)
	return s
}

func (s *store) start(bin string) {
	s.t.Helper()
	s.cmd = exec.Command(bin)
	s.cmd.Env = append(os.Environ(), "RS_DATA_PATH="+s.data, "RS_HOST=127.0.0.1", fmt.Sprintf("RS_PORT=%d", s.port),
		"RS_DISABLE_AUTH=true", "RS_LOG_LEVEL=ERROR")
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("start reductstore: %v", err)
	}
	eventually(s.t, "reductstore answers", func() bool {
		resp, err := http.Get(s.url + "/api/v1/list") // /alive answers while the buckets are still being loaded
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func freePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// eventually waits for a foreign process.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-tick.C {
		if f() {
			return
		}
	}
	t.Fatalf("waited 30 s in vain: %s", what)
}

func (s *store) ask(method, path, body string, headers map[string]string) []byte {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode >= 300 {
		s.t.Fatalf("%s %s: %s %s", method, path, resp.Status, b)
	}
	return b
}

func (s *store) replicate(addr string, change map[string]any) {
	s.t.Helper()
	task := map[string]any{"src_bucket": "src", "dst_bucket": "dst", "dst_host": "http://" + addr, "entries": []string{}}
	for k, v := range change {
		task[k] = v
	}
	b, _ := json.Marshal(task)
	s.ask("POST", "/replications/task", string(b), nil)
}

func (s *store) mode(mode string) {
	s.t.Helper()
	s.ask("PATCH", "/replications/task/mode", `{"mode":"`+mode+`"}`, nil)
}

// write stores records with the times from..to, 80 a request.
func (s *store) write(entry string, from, to int64) {
	s.t.Helper()
	for at := from; at <= to; at += 80 {
		h, body := map[string]string{}, ""
		for ts := at; ts <= min(at+79, to); ts++ {
			p := fmt.Sprintf("p%d", ts)
			h[fmt.Sprintf("x-reduct-time-%d", ts)] = fmt.Sprintf("%d,text/plain,n=%d", len(p), ts)
			body += p
		}
		s.ask("POST", "/b/src/"+entry+"/batch", body, h)
	}
}

func (s *store) pending() int {
	var a struct {
		Info struct {
			Pending int `json:"pending_records"`
		} `json:"info"`
	}
	if err := json.Unmarshal(s.ask("GET", "/replications/task", "", nil), &a); err != nil {
		s.t.Fatal(err)
	}
	return a.Info.Pending
}

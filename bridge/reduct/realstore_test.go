package reduct

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	servers "github.com/sluicebridge/sluice/tests/real"
)

// store is a running ReductStore.
type store struct {
	t    testing.TB
	url  string
	port int
	data string
	bin  string
	cmd  *exec.Cmd
}

func startStore(t testing.TB) *store {
	t.Helper()
	s := &store{t: t, data: t.TempDir(), port: freePort(t), bin: servers.Need(t, servers.ReductStore())}
	s.url = fmt.Sprintf("http://127.0.0.1:%d", s.port)
	s.start(s.bin)
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

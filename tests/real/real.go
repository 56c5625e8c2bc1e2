// Package real starts the servers that Sluice works with, and Sluice itself, as processes for tests. It installs nothing: what is missing
// skips the test with the command that installs it, and fails it under E2E=require. Every server listens on loopback only, keeps its data in the
// test's temporary directory and is ended by its process id when the test ends.
package real

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A Tool is a program that tests need and users of `make test` do not.
type Tool struct {
	Name    string // of the executable
	Env     string // names the executable where it is not in PATH
	Cached  string // below the user's cache directory, where .ci/run puts it
	Install string // the command that installs it
}

// The tools that the tests know.
func ReductStore() Tool {
	return Tool{Name: "reductstore", Env: "REDUCTSTORE_BIN", Cached: "sluice/reductstore-1.21.5/bin/reductstore",
		Install: "cargo install reductstore --version 1.21.5 --no-default-features --features fs-backend --root ~/.cache/sluice/reductstore-1.21.5"}
}

// Mosquitto is the broker as Debian ships it.
func Mosquitto() Tool {
	return Tool{Name: "mosquitto", Env: "MOSQUITTO_BIN", Install: "apt-get install --no-install-recommends mosquitto"}
}

// Need returns the path of a tool. Without E2E in the environment it skips: real servers are for `make e2e`.
func Need(t testing.TB, tool Tool) string {
	t.Helper()
	mode := os.Getenv("E2E")
	if mode == "" {
		t.Skip("uses a real server; run `make e2e`")
	}
	if path, err := tool.find(); err == nil {
		return path
	}
	message := fmt.Sprintf("%s is not installed; install it with: %s", tool.Name, tool.Install)
	if mode == "require" {
		t.Fatal(message)
	}
	t.Skip(message)
	return ""
}

func (tool Tool) find() (string, error) {
	if path := os.Getenv(tool.Env); path != "" {
		return exec.LookPath(path)
	}
	if cache, err := os.UserCacheDir(); err == nil && tool.Cached != "" {
		if path, err := exec.LookPath(filepath.Join(cache, tool.Cached)); err == nil {
			return path, nil
		}
	}
	if path, err := exec.LookPath(tool.Name); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", tool.Name)) // where Debian puts servers, often outside a user's PATH
}

// Port returns a loopback port that was free a moment ago and is given to nobody else of this process. It is none that the kernel gives to clients: a
// server that is killed and started again would else find a client in its place.
func Port(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 15000 + rand.IntN(16000)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port found")
	return 0
}

var given sync.Map

// Process is a program under test. It can be started again after it ended.
type Process struct {
	t    testing.TB
	name string
	path string
	args []string
	env  []string
	log  string // file that gets stdout and stderr, appended over restarts
	cmd  *exec.Cmd
	done chan error
}

// NewProcess describes a program; log is the file for its output. It ends with the test, and its log is shown when the test failed.
func NewProcess(t testing.TB, path string, args, env []string) *Process {
	name := filepath.Base(path)
	p := &Process{t: t, name: name, path: path, args: args, env: env, log: filepath.Join(t.TempDir(), name+".log")}
	t.Cleanup(func() {
		if p.cmd != nil {
			p.Kill()
		}
		if t.Failed() {
			t.Logf("last output of %s:\n%s", name, p.Tail(4000))
		}
	})
	return p
}

// Use makes every later Start run another program, with these variables in its environment instead of the earlier ones.
func (p *Process) Use(path string, env ...string) { p.path, p.env = path, env }

// Path is the program's file.
func (p *Process) Path() string { return p.path }

// Start starts the program.
func (p *Process) Start() {
	p.t.Helper()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatalf("open log of %s: %v", p.name, err)
	}
	defer out.Close()
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	p.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan<- error) { done <- cmd.Wait() }(p.cmd, p.done)
}

// Kill ends the program at once, as kill -9 does.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.done
	p.cmd = nil
}

// Terminate sends SIGTERM and does not wait.
func (p *Process) Terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("stop %s: %v", p.name, err)
	}
}

// Stop ends the program by SIGTERM and returns how it ended; after a minute it is killed and the test fails.
func (p *Process) Stop() error {
	p.t.Helper()
	p.Terminate()
	select {
	case err := <-p.done:
		p.cmd = nil
		return err
	case <-time.After(time.Minute):
		p.t.Errorf("%s did not stop in a minute", p.name)
		p.Kill()
		return errors.New("killed")
	}
}

// Pid is the process id while the program runs.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Exited reports whether the program has ended by itself.
func (p *Process) Exited() bool {
	select {
	case err := <-p.done:
		p.done <- err
		return true
	default:
		return false
	}
}

// Outcome says how a program has ended by itself, as "exit status 1" or "signal: killed"; "" is exit 0, or not yet.
func (p *Process) Outcome() string {
	select {
	case err := <-p.done:
		p.done <- err
		if err != nil {
			return err.Error()
		}
	default:
	}
	return ""
}

// Tail returns the last n bytes of the program's output.
func (p *Process) Tail(n int) string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-n):])
}

// Eventually waits until cond is true, asking 50 times a second; after the limit the test fails with what and the last state.
func Eventually(t testing.TB, limit time.Duration, what string, cond func() (bool, string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, state := cond()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited %v for %s; now: %s", limit, what, state)
		}
	}
}

// Listening waits until something accepts connections on a loopback port.
func (p *Process) Listening(port int) {
	p.t.Helper()
	Eventually(p.t, 30*time.Second, fmt.Sprintf("%s on port %d", p.name, port), func() (bool, string) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
			return true, ""
		}
		if p.Exited() {
			p.t.Fatalf("%s ended at its start:\n%s", p.name, p.Tail(2000))
		}
		return false, err.Error()
	})
}

// Answers waits until url answers with 200.
func (p *Process) Answers(url string) {
	p.t.Helper()
	Eventually(p.t, 60*time.Second, url, func() (bool, string) {
		r, err := http.Get(url)
		if err != nil {
			if p.Exited() {
				p.t.Fatalf("%s ended at its start:\n%s", p.name, p.Tail(2000))
			}
			return false, err.Error()
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK, r.Status
	})
}

package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be sluice, so that signals meet a process.
func TestMain(m *testing.M) {
	if os.Getenv("SLUICE_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// process is a sluice that was started and told where its page is.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  *bufio.Scanner
	page string
}

func startProcess(t *testing.T, args ...string) *process {
	p := &process{t: t, cmd: exec.Command(os.Args[0], args...)}
	p.cmd.Env = append(os.Environ(), "SLUICE_TEST_MAIN=1")
	out, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(time.Minute, func() { p.cmd.Process.Kill() })
	t.Cleanup(func() {
		kill.Stop()
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	p.log = bufio.NewScanner(out)
	_, after, _ := strings.Cut(p.line("msg=running"), "page=")
	p.page, _, _ = strings.Cut(after, " ")
	return p
}

// line returns the next log line with some text in it.
func (p *process) line(text string) string {
	p.t.Helper()
	for p.log.Scan() {
		if strings.Contains(p.log.Text(), text) {
			return p.log.Text()
		}
	}
	p.t.Fatalf("the log ended without %q", text)
	return ""
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) code() int {
	for p.log.Scan() { // up to its end, or Wait would cut it off
	}
	p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

func TestSignals(t *testing.T) {
	b := newBench(t)
	text := b.config()
	path := b.write(text)
	p := startProcess(t, "run", "--config", path)
	p.signal(syscall.SIGHUP)
	p.line("msg=reloaded")
	b.write(strings.Replace(text, "qos = 2", "qos = 1", 1))
	p.signal(syscall.SIGHUP)
	p.line("a restart is needed for remotes.mqtt.far.qos")
	p.signal(syscall.SIGTERM)
	if got := p.code(); got != exitOK {
		t.Errorf("SIGTERM: exit code %d, want 0", got)
	}
}

// TestSecondSignal: a shutdown that waits for a sender ends at once when it is asked to.
func TestSecondSignal(t *testing.T) {
	b := newBench(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := l.Addr().String()
	l.Close()
	text := strings.NewReplacer("127.0.0.1:0\"\nbucket", target+"\"\nbucket", b.address(), "127.0.0.1:1").Replace(b.config())
	p := startProcess(t, "run", "--config", b.write(text))
	c, err := net.Dial("tcp", target)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("POST /api/v1/b/gate/acc-1/batch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t\r\ncontent-length: 9\r\nexpect: 100-continue\r\nx-reduct-time-1: 9,text/plain\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, len("HTTP/1.1 100"))); err != nil { // the bridge has begun to read the request
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	for { // until it is on its way down
		reply, err := http.Get(p.page + "readyz")
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		if reply.StatusCode == http.StatusServiceUnavailable {
			break
		}
	}
	p.signal(syscall.SIGTERM)
	if got := p.code(); got != exitRuntime {
		t.Errorf("second SIGTERM: exit code %d, want 1", got)
	}
}

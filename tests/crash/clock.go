package crash

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The wall clock of one process alone cannot be set from outside, and ours is linked statically. So the test builds the bridge with a copy of
// package time whose Now adds an offset that stands in a file; the monotonic clock, and with it every timer, goes on.
const (
	clockEnv  = "SLUICE_TEST_CLOCK" // names the file
	nowBefore = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	nowAfter  = nowBefore + "\tsec += testOffset.Load()\n"

	// Package time may not import os. A goroutine of its own looks at the file: Now is also called where no system call may be made.
	clockSource = `package time

import (
	"sync/atomic"
	"syscall"
)

var testOffset atomic.Int64

func init() {
	if path, found := syscall.Getenv("` + clockEnv + `"); found {
		go readTestOffset(path)
	}
}

func readTestOffset(path string) {
	for ; ; Sleep(20 * Millisecond) {
		fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		var b [32]byte
		n, _ := syscall.Read(fd, b[:])
		_ = syscall.Close(fd)
		if seconds, err := atoi(b[:max(n, 0)]); err == nil {
			testOffset.Store(int64(seconds))
		}
	}
}
`
)

// jumping builds a bridge whose wall clock can be made to jump.
func (w *workshop) jumping(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("find GOROOT: %v", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(dir, "time.go"))
	if err != nil {
		t.Fatalf("read the standard library: %v", err)
	}
	if strings.Count(string(source), nowBefore) != 1 {
		t.Fatalf("time.Now of this Go is not as this test knows it: look for %q in %s/time.go, and bring clock.go up to date", nowBefore, dir)
	}
	replaced := make(map[string]string)
	for name, text := range map[string]string{"time.go": strings.Replace(string(source), nowBefore, nowAfter, 1), "test_clock.go": clockSource} {
		path := filepath.Join(w.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replaced[filepath.Join(dir, name)] = path
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return w.build(t, "sluice-clock", []string{"CGO_ENABLED=0"}, "-overlay", path, "../../cmd/sluice")
}

// clock is the file with the offset.
type clock string

// jump sets the offset at once.
func (c clock) jump(t *testing.T, by time.Duration) {
	t.Helper()
	if err := os.WriteFile(string(c), fmt.Appendf(nil, "%d", int64(by/time.Second)), 0o600); err != nil {
		t.Fatal(err)
	}
}

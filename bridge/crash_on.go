//go:build crashpoints

package bridge

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// CrashPoint ends the process as kill -9 does where the environment variable SLUICE_CRASH is NAME:N, once in N passes by chance. It keeps
// no count, so that it needs no memory that production would not have.
func CrashPoint(name string) {
	at, chance, _ := strings.Cut(os.Getenv("SLUICE_CRASH"), ":")
	if at != name {
		return
	}
	if n, err := strconv.Atoi(chance); err == nil && n > 1 && rand.IntN(n) > 0 {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // nothing to do about an error: the test sees that it lives
	select {}
}

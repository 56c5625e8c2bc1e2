//go:build linux || darwin

package host

import (
	"syscall"

	"github.com/tetratelabs/wazero/experimental"
)

// mapped is a guest's memory outside the Go heap: the limit is reserved at once and takes memory where it is touched, so that growing
// never moves it, and Free gives it back at once. A guest of a few MiB would otherwise be scanned for and kept by the collector.
type mapped struct{ all []byte }

// allocate reserves a guest's memory; where the system refuses, it comes from the Go heap.
func allocate(_, most uint64) experimental.LinearMemory {
	if most == 0 {
		return &mapped{}
	}
	b, err := syscall.Mmap(-1, 0, int(most), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		return &heap{}
	}
	return &mapped{all: b}
}

func (m *mapped) Reallocate(size uint64) []byte {
	if size > uint64(len(m.all)) {
		return nil
	}
	return m.all[:size:len(m.all)]
}

func (m *mapped) Free() {
	if m.all != nil {
		_ = syscall.Munmap(m.all) // fails only for memory that is not ours
		m.all = nil
	}
}

package reduct

import (
	"context"
	"errors"
	"sync"
)

var errNoMemory = errors.New("no memory for the body within the hold")

// budget bounds the payload bytes of all requests in progress.
type budget struct {
	largest int64 // size of a buffer that is kept for reuse

	mu    sync.Mutex
	free  int64         // guarded by mu
	freed chan struct{} // guarded by mu; closed and replaced when bytes come back
	pools [len(leaseSizes)]sync.Pool
}

// leaseSizes are the buffer sizes that are kept for reuse; a larger buffer is made to measure and dropped.
var leaseSizes = [...]int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20}

// newBudget bounds the buffers for reuse as well. A body may take half of all bytes, beside the buffer that it outgrew: rounded up to
// a size that is kept, it might need more than there is, and never be taken.
func newBudget(bytes int64) *budget {
	return &budget{largest: bytes / 8, free: bytes, freed: make(chan struct{})}
}

// acquire takes n bytes, waiting until ctx ends. Two requests that wait for each other's bytes are parted by their deadlines.
func (b *budget) acquire(ctx context.Context, n int64) error {
	for {
		b.mu.Lock()
		if b.free >= n {
			b.free -= n
			b.mu.Unlock()
			return nil
		}
		freed := b.freed
		b.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return errNoMemory
		}
	}
}

func (b *budget) release(n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	b.free += n
	close(b.freed)
	b.freed = make(chan struct{})
	b.mu.Unlock()
}

// lease is one request's buffer. It grows as bytes arrive, not as they are announced, so that a length that lies costs nothing.
type lease struct {
	budget *budget
	buf    []byte // what was read so far
	class  int    // index into leaseSizes, or len(leaseSizes)
}

// grow makes room for at least one byte more, for a body that will have want bytes in all.
func (l *lease) grow(ctx context.Context, want int) error {
	class, size := l.next(want)
	if err := l.budget.acquire(ctx, int64(size)); err != nil {
		return err
	}
	var buf []byte
	if class < len(leaseSizes) {
		if p, ok := l.budget.pools[class].Get().(*[]byte); ok {
			buf = (*p)[:0]
		}
	}
	if buf == nil {
		buf = make([]byte, 0, size)
	}
	buf = append(buf, l.buf...)
	l.free()
	l.buf, l.class = buf, class
	return nil
}

// next picks the smallest size that is larger than what there is; past the last, exactly want.
func (l *lease) next(want int) (class, size int) {
	for class, size := range leaseSizes {
		if size > cap(l.buf) && int64(size) <= l.budget.largest {
			return class, size
		}
	}
	return len(leaseSizes), max(want, cap(l.buf)+1)
}

// free gives the buffer back. What was handed out of it is invalid then.
func (l *lease) free() {
	if cap(l.buf) == 0 {
		return
	}
	if l.class < len(leaseSizes) {
		buf := l.buf[:0]
		l.budget.pools[l.class].Put(&buf)
	}
	l.budget.release(int64(cap(l.buf)))
	l.buf = nil
}

package host

// heap is a guest's memory in the Go heap.
type heap struct{ b []byte }

func (h *heap) Reallocate(size uint64) []byte {
	if size > uint64(cap(h.b)) {
		grown := make([]byte, size, size+size/4)
		copy(grown, h.b)
		h.b = grown
	}
	h.b = h.b[:size]
	return h.b
}

func (h *heap) Free() { h.b = nil }

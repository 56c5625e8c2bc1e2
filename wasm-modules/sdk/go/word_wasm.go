package sluice

import "unsafe"

// The compiler joins loads and stores of bytes on other machines, not on WebAssembly, which is little-endian and takes any alignment.

// word loads the eight bytes from at, which is not negative. Slicing b would cost three times as much.
func word(b []byte, at int) uint64 {
	_ = b[at+7]
	return *(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), at))
}

// half loads four bytes.
func half(b []byte, at int) uint64 {
	_ = b[at+3]
	return uint64(*(*uint32)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), at)))
}

// putWord stores eight bytes.
func putWord(b []byte, at int, v uint64) {
	_ = b[at+7]
	*(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), at)) = v
}

package sluice

import "unsafe"

// The compiler joins loads and stores of bytes on other machines, not on WebAssembly, which is little-endian and takes any alignment.

// word loads eight bytes.
func word(b []byte, at int) uint64 { return *(*uint64)(unsafe.Pointer(&b[at:][:8][0])) }

// half loads four bytes.
func half(b []byte, at int) uint64 { return uint64(*(*uint32)(unsafe.Pointer(&b[at:][:4][0]))) }

// putWord stores eight bytes.
func putWord(b []byte, v uint64) { *(*uint64)(unsafe.Pointer(&b[:8][0])) = v }

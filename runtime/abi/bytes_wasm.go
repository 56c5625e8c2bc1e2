package abi

import "unsafe"

// The compiler joins loads and stores of bytes on other machines, not on WebAssembly, where one of eight bytes would be eight. WebAssembly is
// little-endian and takes any alignment.

func u16(b []byte) uint16 { return *(*uint16)(unsafe.Pointer(&b[:2][0])) }

func u32(b []byte) uint32 { return *(*uint32)(unsafe.Pointer(&b[:4][0])) }

func u64(b []byte) uint64 { return *(*uint64)(unsafe.Pointer(&b[:8][0])) }

func put16(b []byte, v uint16) { *(*uint16)(unsafe.Pointer(&b[:2][0])) = v }

func put32(b []byte, v uint32) { *(*uint32)(unsafe.Pointer(&b[:4][0])) = v }

func put64(b []byte, v uint64) { *(*uint64)(unsafe.Pointer(&b[:8][0])) = v }

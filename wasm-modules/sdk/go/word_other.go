//go:build !wasm

package sluice

import "encoding/binary"

func word(b []byte, at int) uint64       { return binary.LittleEndian.Uint64(b[at:]) }
func half(b []byte, at int) uint64       { return uint64(binary.LittleEndian.Uint32(b[at:])) }
func putWord(b []byte, at int, v uint64) { binary.LittleEndian.PutUint64(b[at:], v) }

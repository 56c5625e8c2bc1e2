//go:build !wasip1

package sluice

import "unsafe"

// Outside a host, in tests, there is nobody to tell and nothing more to ask for.

func importLog(int32, unsafe.Pointer, uint32)                    {}
func importCount(unsafe.Pointer, uint32, int64)                  {}
func importObserve(unsafe.Pointer, uint32, float64)              {}
func importPayload(_, _ int32, _ unsafe.Pointer, _ uint32) int32 { return 0 }
func importNow() int64                                           { return 0 }

func importDSP(_, _, _ int32, _ unsafe.Pointer, _ uint32) int32 { return -1 }

func importLabel(int32, unsafe.Pointer, uint32, unsafe.Pointer, uint32) int32 { return -1 }

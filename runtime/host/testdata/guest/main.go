//go:build wasip1

// A guest in Go that does what its label "do" says; the tests of the host build it with the Go toolchain alone.
package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"time"
	"unsafe"

	"github.com/sluicebridge/sluice/runtime/abi"
)

const manifest = `
abi = 1
name = "test-guest"
labels = ["do"]
payload = "none"
`

var (
	input  []byte
	answer abi.Builder
	config string
	kept   [][]byte
)

func main() {}

func pointer(b []byte) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

//go:wasmexport sluice_abi_1
func version() {}

//go:wasmexport sluice_describe
func describe() int64 {
	b := []byte(manifest)
	kept = append(kept, b)
	return abi.LongAnswer(pointer(b), uint32(len(b)))
}

//go:wasmexport sluice_in
func in(size int32) uint32 {
	input = make([]byte, size+16)
	at := -pointer(input) & 15
	input = input[at : at+uint32(size)]
	return pointer(input)
}

//go:wasmexport sluice_init
func start(n int32) int32 {
	config = string(input[:n])
	if strings.Contains(config, "refuse") {
		text := []byte("config.refuse: not today\x00")
		kept = append(kept, text)
		return int32(pointer(text))
	}
	return 0
}

//go:wasmexport sluice_process
func process(n, size int32) int64 {
	r := abi.Record(input[:size])
	text, err := do(string(r.Slot(0)))
	if err != nil {
		answer.Decide(abi.Park, 0, []byte(err.Error()))
	} else {
		answer.Reset()
		answer.SetLabel([]byte("did"), []byte(text))
	}
	return abi.LongAnswer(pointer(answer.Bytes()), uint32(len(answer.Bytes())))
}

func do(what string) (string, error) {
	switch what {
	case "config":
		return config, nil
	case "time":
		time.Sleep(time.Hour)
		return time.Now().UTC().Format(time.RFC3339), nil
	case "random":
		return fmt.Sprint(rand.Uint64()), nil
	case "environment":
		return fmt.Sprint(os.Args, os.Environ()), nil
	case "file":
		_, err := os.ReadFile("/etc/passwd")
		return "", err
	case "socket":
		_, err := net.Dial("tcp", "127.0.0.1:80")
		return "", err
	case "print":
		fmt.Fprintln(os.Stderr, "a line from the guest")
	case "panic":
		panic("the guest's own words")
	case "exit":
		os.Exit(3)
	case "loop":
		for n := 0; ; n++ {
			if n < 0 {
				break
			}
		}
	case "hog":
		for {
			kept = append(kept, make([]byte, 1<<16))
		}
	case "recurse":
		return fmt.Sprint(recurse(1)), nil
	case "garbage":
		for range 100 {
			_ = strings.Repeat(what, 1000)
		}
	}
	return what, nil
}

//go:noinline
func recurse(n int) int {
	var b [64]byte
	b[n%64] = 1
	return recurse(n+1) + int(b[0])
}

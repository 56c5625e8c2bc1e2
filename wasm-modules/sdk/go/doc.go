// Package sluice is for writing Sluice modules in Go. A module is one value of type Filter, registered by a package variable:
//
//	const manifest = `
//	abi = 1
//	name = "my-filter"
//	labels = ["rpm"]
//	`
//
//	var _ = sluice.Register(manifest, new(filter))
//
//	func main() {} // never called: the module is a library
//
//	type filter struct{}
//
//	func (f *filter) Init(config sluice.JSON) error { return nil }
//
//	func (f *filter) Process(r sluice.Record, out *sluice.Out) sluice.Verdict {
//		if string(r.Slot(0)) != "0" { // the first of labels; nil where the record has none
//			return sluice.Drop(0)
//		}
//		return sluice.Pass
//	}
//
// and built with Go alone:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w' -o filter.wasm .
//
// The package owns everything that crosses the border to the host: the exports, the input buffer, the encoding of answers. What a filter is
// given are views of that buffer, valid until Process returns. Nothing here allocates on the way of a record, and a filter should not either: a
// module's garbage collector works on its host's time. A filter needs no host to be tested: Process is an ordinary method, and
// Out says what it answered.
//
// The bytes are described in runtime/abi/ABI.md.
package sluice

// Package sdk holds the texts of the SDKs and of a first filter in each language, for `sluice module new`.
//
//	go, rust, c, assemblyscript, zig   an SDK each; LANGUAGE/sample uses all of it, LANGUAGE/new is a filter to begin with
//	js/new                             a script to begin with: the engine needs no SDK
//	new                                what is the same in all languages
//	conformance                        records to which all samples answer alike
package sdk

import "embed"

// Files are the SDKs and the filters to begin with.
//
//go:embed go/*.go go/new rust/Cargo.toml rust/src rust/new c/sluice.h c/new assemblyscript/sluice assemblyscript/new js/new new
var Files embed.FS

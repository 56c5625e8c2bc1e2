//go:build !wasip1

package abi

import "embed"

// Source is this package's own text: the SDK for Go imports it, so `sluice module new` copies both. Guests are built without it.
//
//go:embed *.go
var Source embed.FS

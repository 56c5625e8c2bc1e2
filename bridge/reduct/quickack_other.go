//go:build !linux

package reduct

import "net"

// quick does nothing where the kernel has no TCP_QUICKACK.
func quick(c net.Conn) net.Conn { return c }

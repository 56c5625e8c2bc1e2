package mqtt

import (
	"net"
	"syscall"
)

// quickConn acknowledges what it reads at once. A broker that leaves Nagle's algorithm on (mosquitto's default) sends its second packet
// only after our TCP acknowledgement of the first, which the kernel holds back 40 ms otherwise: 44 ms for every batch. The option lasts
// until the next exchange only, hence after each read.
type quickConn struct {
	*net.TCPConn
	raw syscall.RawConn
	set func(fd uintptr)
}

func quick(c *net.TCPConn) net.Conn {
	raw, err := c.SyscallConn()
	if err != nil {
		return c // the connection is closed already; reading says so
	}
	_ = raw.Control(func(fd uintptr) { // an error: a slow upload is noticed later
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowat, unsent)
	})
	return &quickConn{c, raw, func(fd uintptr) {
		// An error means 40 ms of delay, not a wrong result.
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	}}
}

// The kernel takes up to 4 MiB into its own buffer, all of which would look like written. With this much unsent it takes no more, so that what is
// written on a slow network is also on its way (link.moved).
const (
	notSentLowat = 25 // TCP_NOTSENT_LOWAT
	unsent       = 128 << 10
)

// tryWrite writes what the kernel takes at once, and returns how much that is. An error means 0 here, and will be met again by Write. No
// Write may be under way, which it would wait for.
func (c *quickConn) tryWrite(p []byte) (n int) {
	_ = c.raw.Write(func(fd uintptr) bool {
		n, _ = syscall.Write(int(fd), p)
		return true
	})
	return max(n, 0)
}

func (c *quickConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n > 0 {
		_ = c.raw.Control(c.set)
	}
	return n, err
}

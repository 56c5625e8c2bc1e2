package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// Dialer returns what connects to the broker as a remote does, for other clients; address is host:port. Only the keys about the broker and TLS
// count, and need be valid.
func (c *Config) Dialer() (address string, connect func(context.Context) (net.Conn, error), err error) {
	b, err := parseBroker(c.Broker)
	if err != nil {
		return "", nil, fmt.Errorf("broker: %w", err)
	}
	if err := errors.Join(c.validateTLS()...); err != nil {
		return "", nil, err
	}
	t, err := c.tlsConfig(b)
	if err != nil {
		return "", nil, err
	}
	return b.address, func(ctx context.Context) (net.Conn, error) { return dial(ctx, b, t) }, nil
}

// dial connects to a broker. t is nil without TLS.
func dial(ctx context.Context, b broker, t *tls.Config) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", b.address)
	if err != nil {
		return nil, err
	}
	if c, ok := conn.(*net.TCPConn); ok {
		conn = quick(c)
	}
	if t == nil {
		return conn, nil
	}
	secure := tls.Client(conn, t)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("TLS: %w", err), conn.Close())
	}
	return secure, nil
}

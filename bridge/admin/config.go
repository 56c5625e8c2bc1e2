package admin

import (
	"fmt"
	"net"
)

// Config says where the figures are shown.
type Config struct {
	// Listen is HOST:PORT of the page, the metrics and the health checks. Empty: none. Nothing here asks for a password: on a host that
	// others reach, keep it on 127.0.0.1 or behind a proxy. Default 127.0.0.1:8480.
	Listen string `toml:"listen"`
}

// Default is the configuration of a file without [admin].
func Default() Config { return Config{Listen: "127.0.0.1:8480"} }

// Validate reports what cannot work.
func (c Config) Validate() error {
	if c.Listen == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen: %q, want HOST:PORT", c.Listen)
	}
	return nil
}

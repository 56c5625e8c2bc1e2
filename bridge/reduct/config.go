package reduct

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// Config is an [inputs.replication.NAME] table: the address where we pose as a ReductStore server.
type Config struct {
	Listen    string `toml:"listen"`     // address the sender's dst_host names
	Bucket    string `toml:"bucket"`     // bucket it answers for; "*" = any
	Token     string `toml:"token"`      // bearer token the sender must show; empty = open
	TokenFile string `toml:"token_file"` // file that holds the token; read once by whoever loads the configuration
	OnUpdate  string `toml:"on_update"`  // what a label update of a known record does: "resend" the whole record | "ignore"

	Hold           bridge.Duration `toml:"hold"`            // how long an answer may wait for room or a reconcile before it is 503
	MaxRecord      bridge.Size     `toml:"max_record"`      // a larger record is left in the edge store and noted as a gap
	MaxBody        bridge.Size     `toml:"max_body"`        // payloads of one request, decompressed
	MaxHeader      bridge.Size     `toml:"max_header"`      // header section of one request
	MaxMemory      bridge.Size     `toml:"max_memory"`      // payloads of all requests in progress
	MaxConnections int             `toml:"max_connections"` // one replication task uses one; silent ones make room for new ones

	Source Source `toml:"source"` // the edge store itself; url = "" turns the reconciler off
}

// Source is the [inputs.replication.NAME.source] table: where the records come from, so that what the sender forgot can be fetched.
type Source struct {
	URL         string          `toml:"url"`         // edge store, such as http://127.0.0.1:8383; empty = no reconciler and no start hold
	Token       string          `toml:"token"`       // read access to the bucket and to the replication task
	TokenFile   string          `toml:"token_file"`  // file that holds the token
	Replication string          `toml:"replication"` // task whose bucket, entries, when and dst_prefix are read from the server
	Interval    bridge.Duration `toml:"interval"`    // time between two passes over all entries
	Overlap     bridge.Duration `toml:"overlap"`     // how far before the reconciled mark a pass looks again, in record time
	Since       string          `toml:"since"`       // RFC 3339; older records are not fetched; empty = all that the store has
	Timeout     bridge.Duration `toml:"timeout"`     // longest wait for an answer of the edge store
	Rate        int             `toml:"rate"`        // records a second that passes may look at; 0 = no bound. What a sender waits for is not bounded
	Parallel    int             `toml:"parallel"`    // entries that a pass compares at once
}

// Default returns the configuration that an empty table means.
func Default() Config {
	return Config{
		Listen: "127.0.0.1:8484", Bucket: "*", OnUpdate: "resend",
		Hold:      bridge.Duration(5 * time.Second),
		MaxRecord: 64 << 20, MaxBody: 72 << 20, MaxHeader: 1 << 20, MaxMemory: 160 << 20, MaxConnections: 64,
		Source: Source{
			Interval: bridge.Duration(time.Minute), Overlap: bridge.Duration(time.Minute), Timeout: bridge.Duration(30 * time.Second),
			Rate: 20_000, Parallel: 2,
		},
	}
}

// Validate reports everything that is wrong with c.
func (c *Config) Validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	_, _, err := net.SplitHostPort(c.Listen)
	bad(err != nil, "listen: %q, want host:port", c.Listen)
	bad(c.Bucket == "", `bucket: empty, want a name or "*"`)
	bad(c.Token != "" && c.TokenFile != "", "token_file: set beside token, want one of them")
	bad(c.OnUpdate != "resend" && c.OnUpdate != "ignore", `on_update: %q, want "resend" or "ignore"`, c.OnUpdate)
	hold := time.Duration(c.Hold)
	bad(hold < 100*time.Millisecond || hold > time.Minute, "hold: %v, want 100ms..1m", hold)
	bad(c.MaxRecord < 1, "max_record: %v, want at least 1B", c.MaxRecord)
	bad(c.MaxBody < c.MaxRecord, "max_body: %v, want at least max_record (%v)", c.MaxBody, c.MaxRecord)
	bad(c.MaxMemory < 2*c.MaxBody, "max_memory: %v, want at least twice max_body (%v)", c.MaxMemory, c.MaxBody)
	bad(c.MaxHeader < 64<<10 || c.MaxHeader > 16<<20, "max_header: %v, want 64KiB..16MiB", c.MaxHeader)
	bad(c.MaxConnections < 1 || c.MaxConnections > 4096, "max_connections: %d, want 1..4096", c.MaxConnections)
	if c.Source.URL != "" {
		bad(c.Source.Replication == "", "source.replication: empty, want the name of the replication task on the edge store")
		errs = append(errs, c.Source.validate("source."))
	}
	return errors.Join(errs...)
}

// minRate keeps the pause between two pages of a query below the time for which the edge store keeps the query.
const minRate = 100

// validate reports what is wrong, with table before the names of the keys.
func (s *Source) validate(table string) error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(table+format, args...))
		}
	}
	u, err := url.Parse(s.URL)
	bad(err != nil || u != nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == ""),
		"url: %q, want http://host:port or https://host:port", s.URL)
	bad(s.Token != "" && s.TokenFile != "", "token_file: set beside %stoken, want one of them", table)
	bad(time.Duration(s.Interval) < time.Second, "interval: %v, want at least 1s", time.Duration(s.Interval))
	bad(time.Duration(s.Timeout) < 100*time.Millisecond, "timeout: %v, want at least 100ms", time.Duration(s.Timeout))
	bad(s.Rate != 0 && s.Rate < minRate, "rate: %d, want 0 or at least %d", s.Rate, minRate)
	bad(s.Parallel < 1 || s.Parallel > 16, "parallel: %d, want 1..16", s.Parallel)
	_, err = s.since()
	bad(err != nil, "since: %q, want a time such as 2026-01-31T00:00:00Z", s.Since)
	return errors.Join(errs...)
}

// since returns Since in microseconds, 0 where there is none.
func (s *Source) since() (int64, error) {
	if s.Since == "" {
		return 0, nil
	}
	t, err := time.Parse(time.RFC3339, s.Since)
	return max(t.UnixMicro(), 0), err
}

package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// Config is [remotes.mqtt.NAME].
type Config struct {
	Broker       string `toml:"broker"`        // mqtt:// or tcp:// (port 1883), mqtts:// or ssl:// (port 8883)
	Profile      string `toml:"profile"`       // generic: topics and user properties as below
	ClientID     string `toml:"client_id"`     // names the session: fixed, nobody else's. Further connections add -2, -3, …
	Username     string `toml:"username"`      // empty = none
	Password     string `toml:"password"`      // empty = none
	PasswordFile string `toml:"password_file"` // read at every connect, one line; instead of password

	CAFile     string `toml:"ca_file"`     // PEM; empty = the system's
	CertFile   string `toml:"cert_file"`   // PEM, for mutual TLS; with key_file
	KeyFile    string `toml:"key_file"`    // PEM
	ServerName string `toml:"server_name"` // expected in the broker's certificate; empty = the host of broker
	Insecure   bool   `toml:"insecure"`    // true: the broker's certificate is not checked

	Tenant      string          `toml:"tenant"`       // {tenant} of topic
	Topic       string          `toml:"topic"`        // {bucket} {entry} {label:NAME} {tenant}; a module's topic comes after it
	QoS         int             `toml:"qos"`          // 0: delivered = written; 1: PUBACK; 2: PUBCOMP, exactly once while the session lives
	Retain      bool            `toml:"retain"`       // RETAIN flag of every message
	Expiry      bridge.Duration `toml:"expiry"`       // message expiry interval; 0s = none
	Connections int             `toml:"connections"`  // clients that lanes are spread over; each may have the broker's Receive Maximum in flight
	Window      int             `toml:"window"`       // most unacknowledged messages a connection, where the broker would allow more
	MaxPacket   bridge.Size     `toml:"max_packet"`   // largest PUBLISH; 0B = what the broker says. A larger message is parked
	IDIn        string          `toml:"id_in"`        // user-property (sluice-id, sluice-time, sluice-late) or none
	LabelsIn    string          `toml:"labels_in"`    // user-property (each under its name) or none
	CheckBroker bool            `toml:"check_broker"` // QoS 2: a session that its broker may have brought back from an old copy is not trusted; see life.go
	OnError     string          `toml:"on_error"`     // park, or hold: a refused message is tried again before its lane goes on; strict only

	KeepAlive  bridge.Duration `toml:"keep_alive"`  // of the connection, whole seconds; the broker may set another
	Watchdog   bridge.Duration `toml:"watchdog"`    // messages in flight and no acknowledgement for so long: connect anew; 0s = never
	Connect    bridge.Duration `toml:"connect"`     // longest wait for TCP, TLS and CONNACK, each
	BackoffMin bridge.Duration `toml:"backoff_min"` // first wait before connecting again, and before a held message is tried again
	BackoffMax bridge.Duration `toml:"backoff_max"` // longest; where the broker refused the client itself it is 30s at least
	Linger     bridge.Duration `toml:"linger"`      // how long a shutdown waits for open acknowledgements

	Drain bridge.Drain `toml:"drain"` // how fast what waits is sent, and in which order
}

// Default returns the values of keys that are not given.
func Default() Config {
	return Config{
		Profile: "generic", QoS: 1, Connections: 1, Window: 1024, IDIn: "user-property", LabelsIn: "user-property", OnError: "park", CheckBroker: true,
		KeepAlive: bridge.Duration(30 * time.Second), Watchdog: bridge.Duration(time.Minute), Connect: bridge.Duration(10 * time.Second),
		BackoffMin: bridge.Duration(200 * time.Millisecond), BackoffMax: bridge.Duration(5 * time.Second),
		Linger: bridge.Duration(5 * time.Second),
	}
}

// Ordering is the ordering of pipelines that say none: brokers keep the order of a connection.
func (c *Config) Ordering() bridge.Ordering {
	if c.OnError == "hold" {
		return bridge.Strict
	}
	return bridge.Pipelined
}

// Validate returns all that is wrong, each named by its key.
func (c *Config) Validate() error {
	var errs []error
	add := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if _, err := parseBroker(c.Broker); err != nil {
		add("broker: %w", err)
	}
	switch c.Profile {
	case "generic":
	case "hono":
		add("profile: hono is not available in this version, want generic")
	default:
		add("profile: %q, want generic", c.Profile)
	}
	if c.ClientID == "" {
		add("client_id: empty, want a fixed name that nobody else uses at this broker")
	} else if err := checkText([]byte(c.ClientID)); err != nil {
		add("client_id: %w", err)
	}
	if c.Password != "" && c.PasswordFile != "" {
		add("password_file: given beside password, want one of them")
	}
	errs = append(errs, c.validateTLS()...)
	errs = append(errs, c.validateMessages()...)
	errs = append(errs, c.validateTimes()...)
	errs = append(errs, c.Drain.Validate("drain."))
	return errors.Join(errs...)
}

func (c *Config) validateTLS() (errs []error) {
	if (c.CertFile == "") != (c.KeyFile == "") {
		errs = append(errs, errors.New("key_file: want cert_file and key_file, or none of them"))
	}
	if c.Insecure && c.CAFile != "" {
		errs = append(errs, errors.New("insecure: given beside ca_file, which would not be looked at"))
	}
	if b, err := parseBroker(c.Broker); err == nil && !b.tls {
		for _, k := range []struct {
			key   string
			given bool
		}{{"ca_file", c.CAFile != ""}, {"cert_file", c.CertFile != ""}, {"key_file", c.KeyFile != ""},
			{"server_name", c.ServerName != ""}, {"insecure", c.Insecure}} {
			if k.given {
				errs = append(errs, fmt.Errorf("%s: given, but broker %s is without TLS, want mqtts://", k.key, c.Broker))
			}
		}
	}
	return errs
}

func (c *Config) validateMessages() (errs []error) {
	add := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if _, err := parseTopic(c.Topic); err != nil {
		add("topic: %w", err)
	}
	for _, n := range []struct {
		key         string
		value       int64
		least, most int64
	}{
		{"qos", int64(c.QoS), 0, 2}, {"connections", int64(c.Connections), 1, 1024}, {"window", int64(c.Window), 1, 65535},
		{"max_packet", int64(c.MaxPacket), 0, maxRemaining + 5}, {"expiry", c.expirySeconds(), 0, 1<<32 - 1},
	} {
		if n.value < n.least || n.value > n.most {
			add("%s: %d, want %d..%d", n.key, n.value, n.least, n.most)
		}
	}
	for _, s := range []struct{ key, value, a, b string }{
		{"id_in", c.IDIn, "user-property", "none"}, {"labels_in", c.LabelsIn, "user-property", "none"}, {"on_error", c.OnError, "park", "hold"},
	} {
		if s.value != s.a && s.value != s.b {
			add("%s: %q, want %s or %s", s.key, s.value, s.a, s.b)
		}
	}
	return errs
}

// expirySeconds rounds up: a message never expires earlier than asked for, and what is short is not "none".
func (c *Config) expirySeconds() int64 {
	d := time.Duration(c.Expiry)
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return s
}

func (c *Config) validateTimes() (errs []error) {
	for _, d := range []struct {
		key         string
		value       bridge.Duration
		least, most time.Duration
	}{
		{"keep_alive", c.KeepAlive, time.Second, 65535 * time.Second}, {"connect", c.Connect, 10 * time.Millisecond, 10 * time.Minute},
		{"backoff_min", c.BackoffMin, time.Millisecond, time.Hour}, {"backoff_max", c.BackoffMax, time.Duration(c.BackoffMin), 24 * time.Hour},
		{"linger", c.Linger, 0, time.Hour}, {"watchdog", c.Watchdog, 0, 24 * time.Hour},
	} {
		if v := time.Duration(d.value); v < d.least || v > d.most {
			errs = append(errs, fmt.Errorf("%s: %v, want %v..%v", d.key, v, d.least, d.most))
		}
	}
	return errs
}

// broker is where to dial.
type broker struct {
	address string // host:port
	host    string
	tls     bool
}

func parseBroker(text string) (broker, error) {
	u, err := url.Parse(text)
	if err != nil {
		return broker{}, fmt.Errorf("%q, want a URL such as mqtt://host:1883", text)
	}
	b := broker{host: u.Hostname()}
	port := "1883"
	switch u.Scheme {
	case "mqtt", "tcp":
	case "mqtts", "ssl", "tls":
		b.tls, port = true, "8883"
	default:
		return broker{}, fmt.Errorf("%q, want mqtt:// or mqtts://", text)
	}
	if b.host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
		return broker{}, fmt.Errorf("%q, want only a host and a port", u.Redacted())
	}
	if u.Port() != "" {
		port = u.Port()
	}
	b.address = net.JoinHostPort(b.host, port)
	return b, nil
}

// tlsConfig reads the files. nil without TLS.
func (c *Config) tlsConfig(b broker) (*tls.Config, error) {
	if !b.tls {
		return nil, nil
	}
	t := &tls.Config{ServerName: c.ServerName, InsecureSkipVerify: c.Insecure, MinVersion: tls.VersionTLS12}
	if t.ServerName == "" {
		t.ServerName = b.host
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: no certificate in %s", c.CAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_file, key_file: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// password returns the secret as it is now.
func (c *Config) password() ([]byte, error) {
	if c.PasswordFile == "" {
		return []byte(c.Password), nil
	}
	b, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("password_file: %w", err)
	}
	return []byte(strings.TrimRight(string(b), "\r\n")), nil
}

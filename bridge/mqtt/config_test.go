package mqtt

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/sluicebridge/sluice/bridge"
)

func TestConfig(t *testing.T) {
	c := Default()
	text := `broker = "mqtts://hono.example:8883"
client_id = "press-7"
topic = "event/{tenant}/{label:device}"
qos = 2
max_packet = "2176B"
keep_alive = "1m"`
	if _, err := toml.Decode(text, &c); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Errorf("Validate: %v", err)
	}
	if c.MaxPacket != 2176 || time.Duration(c.KeepAlive) != time.Minute || c.Ordering() != bridge.Pipelined {
		t.Errorf("got %+v", c)
	}
}

func TestConfigValidate(t *testing.T) {
	for _, tt := range []struct {
		want   string
		change func(*Config)
	}{
		{"broker: ", func(c *Config) { c.Broker = "" }},
		{"broker: ", func(c *Config) { c.Broker = "http://a" }},
		{"broker: ", func(c *Config) { c.Broker = "mqtt://user:secret@a" }},
		{"profile: hono is not available", func(c *Config) { c.Profile = "hono" }},
		{"profile: ", func(c *Config) { c.Profile = "aws" }},
		{"client_id: ", func(c *Config) { c.ClientID = "" }},
		{"password_file: ", func(c *Config) { c.Password, c.PasswordFile = "a", "b" }},
		{"key_file: ", func(c *Config) { c.Broker, c.CertFile = "mqtts://a", "x" }},
		{"insecure: ", func(c *Config) { c.Broker, c.CAFile, c.Insecure = "mqtts://a", "x", true }},
		{"ca_file: ", func(c *Config) { c.CAFile = "x" }},
		{"topic: ", func(c *Config) { c.Topic = "" }},
		{"topic: ", func(c *Config) { c.Topic = "a/#" }},
		{"topic: ", func(c *Config) { c.Topic = "a/{nothing}" }},
		{"topic: ", func(c *Config) { c.Topic = "a//b" }},
		{"key_file: given, but broker", func(c *Config) { c.CertFile, c.KeyFile = "a", "b" }},
		{"expiry: 4294967296", func(c *Config) { c.Expiry = bridge.Duration((1<<32-1)*time.Second + time.Second/2) }},
		{"expiry: -1", func(c *Config) { c.Expiry = -bridge.Duration(time.Second) }},
		{"qos: 3", func(c *Config) { c.QoS = 3 }},
		{"connections: 0", func(c *Config) { c.Connections = 0 }},
		{"window: 0", func(c *Config) { c.Window = 0 }},
		{"id_in: ", func(c *Config) { c.IDIn = "bag" }},
		{"labels_in: ", func(c *Config) { c.LabelsIn = "payload" }},
		{"on_error: ", func(c *Config) { c.OnError = "drop" }},
		{"keep_alive: ", func(c *Config) { c.KeepAlive = 0 }},
		{"drain.max_records_per_s: -1", func(c *Config) { c.Drain.MaxRecordsPerS = -1 }},
		{"drain.ramp_up: ", func(c *Config) { c.Drain.RampUp = 1 }},
		{"backoff_max: ", func(c *Config) { c.BackoffMax = 1 }},
	} {
		c := testConfig("localhost:1883")
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		tt.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want an error with %q", err, tt.want)
		}
	}
}

func TestBroker(t *testing.T) {
	for text, want := range map[string]broker{
		"mqtt://a":           {"a:1883", "a", false},
		"tcp://a:1":          {"a:1", "a", false},
		"mqtts://a.b":        {"a.b:8883", "a.b", true},
		"ssl://[::1]":        {"[::1]:8883", "::1", true},
		"mqtt://127.0.0.1/":  {"127.0.0.1:1883", "127.0.0.1", false},
		"tls://example:1234": {"example:1234", "example", true},
	} {
		if got, err := parseBroker(text); err != nil || got != want {
			t.Errorf("parseBroker(%q): %+v, %v; want %+v", text, got, err, want)
		}
	}
}

// TestPause: a network that comes back is found soon, an account that was refused is left alone.
func TestPause(t *testing.T) {
	c := Default()
	k := newClient(&c, 0, broker{}, nil)
	longest := time.Duration(c.BackoffMax)
	for _, tt := range []struct {
		name        string
		err         error
		least, most time.Duration
	}{
		{"connection refused", syscall.ECONNREFUSED, longest / 2, longest},
		{"server busy", &refusal{code: 0x89}, longest / 2, longest},
		{"bad password", fmt.Errorf("connect: %w", &refusal{code: 0x86}), afterDenial, afterDenial},
		{"not authorized", &refusal{code: 0x87}, afterDenial, afterDenial},
	} {
		if got := k.pause(longest, tt.err); got < tt.least || got > tt.most {
			t.Errorf("%s: %v, want %v..%v", tt.name, got, tt.least, tt.most)
		}
	}
	if longest != 5*time.Second || afterDenial != 30*time.Second {
		t.Errorf("waits of %v and %v, config.toml says 5s and 30s", longest, afterDenial)
	}
	c.BackoffMax = bridge.Duration(time.Minute)
	if got := k.pause(time.Second, &refusal{code: 0x86}); got != time.Minute {
		t.Errorf("after a bad password: %v, want backoff_max, 1m0s", got)
	}
}

func TestHoldWantsStrict(t *testing.T) {
	c := testConfig("localhost:1883")
	c.OnError = "hold"
	if _, err := New("far", c, pipelined); err == nil || !strings.Contains(err.Error(), "on_error") {
		t.Errorf("New with hold and pipelined: %v", err)
	}
}

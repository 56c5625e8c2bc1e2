package mqtt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	pahopackets "github.com/eclipse/paho.golang/packets"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
)

// waitError waits until the first connection's last error has want in it.
func waitError(t *testing.T, r *Remote, want string) {
	t.Helper()
	late := time.After(15 * time.Second)
	for {
		s := r.Status()
		if strings.Contains(s.Connections[0].LastError, want) {
			return
		}
		select {
		case <-late:
			t.Fatalf("last error %q, want one with %q", s.Connections[0].LastError, want)
		case <-time.After(time.Millisecond):
		}
	}
}

// authority is a CA made for one test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true,
	}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.file, _ = a.issue("ca", a.cert)
	return a
}

// issue writes name.pem and name.key.
func (a *authority) issue(name string, c *x509.Certificate) (cert, key string) {
	a.t.Helper()
	own := a.key
	if name != "ca" {
		own, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &own.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, key = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cert, key
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	serverCert, serverKey := ca.issue("server", &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"broker.test"},
	})
	clientCert, clientKey := ca.issue("client", &x509.Certificate{
		SerialNumber: big.NewInt(3), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	caPEM, _ := os.ReadFile(ca.file)
	pool.AppendCertsFromPEM(caPEM)
	for _, tt := range []struct {
		name   string
		mutual bool
		change func(*Config)
		fails  string
	}{
		{"server only", false, func(c *Config) { c.CAFile = ca.file }, ""},
		{"another server name", false, func(c *Config) { c.CAFile, c.ServerName = ca.file, "broker.test" }, ""},
		{"wrong server name", false, func(c *Config) { c.CAFile, c.ServerName = ca.file, "other.test" }, "not other.test"},
		{"unknown authority", false, func(*Config) {}, "unknown authority"},
		{"insecure", false, func(c *Config) { c.Insecure = true }, ""},
		{"mutual", true, func(c *Config) { c.CAFile, c.CertFile, c.KeyFile = ca.file, clientCert, clientKey }, ""},
		{"mutual without a certificate", true, func(c *Config) { c.CAFile = ca.file }, "certificate required"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := &tls.Config{Certificates: []tls.Certificate{pair}}
			if tt.mutual {
				server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, pool
			}
			b := startBroker(t, brokerOptions{tls: server})
			l := bridgetest.NewLedger(t, "far")
			c := testConfig(b.address)
			c.Broker = "mqtts://" + b.address
			tt.change(&c)
			if tt.fails != "" {
				c.BackoffMin, c.BackoffMax = bridge.Duration(time.Hour), bridge.Duration(time.Hour)
			}
			appendRows(t, l, 0, 2, 10, "bucket/a")
			r, _ := startRemote(t, c, pipelined, l.Outbox("far"))
			if tt.fails != "" {
				waitError(t, r, tt.fails)
				return
			}
			b.hook.wait(t, "20 messages", count(20))
		})
	}
}

func TestPassword(t *testing.T) {
	b := startBroker(t, brokerOptions{})
	b.hook.deny = func(pk packets.Packet) bool {
		return string(pk.Connect.Username) != "sensor1" || string(pk.Connect.Password) != "right"
	}
	c := testConfig(b.address)
	c.Username = "sensor1"
	c.PasswordFile = filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(c.PasswordFile, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := bridgetest.NewLedger(t, "far")
	appendRows(t, l, 0, 1, 10, "bucket/a")
	r, _ := startRemote(t, c, pipelined, l.Outbox("far"))
	waitError(t, r, "bad user name or password (0x86)")
	if err := os.WriteFile(c.PasswordFile, []byte("right\n"), 0o600); err != nil { // read again at the next connect
		t.Fatal(err)
	}
	b.hook.wait(t, "10 messages", count(10))
}

// TestBrokerOffersLess has brokers whose CONNACK takes something away.
func TestBrokerOffersLess(t *testing.T) {
	for _, tt := range []struct {
		name   string
		caps   func(*mochi.Capabilities)
		change func(*Config)
		fails  string
	}{
		{"QoS 1", func(c *mochi.Capabilities) { c.MaximumQos = 1 }, func(*Config) {}, "allows QoS 1 at most"},
		{"Receive Maximum 1", func(c *mochi.Capabilities) { c.ReceiveMaximum = 1 }, func(*Config) {}, ""},
		{"Receive Maximum 3", func(c *mochi.Capabilities) { c.ReceiveMaximum = 3 }, func(*Config) {}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := startBroker(t, brokerOptions{change: tt.caps})
			c := testConfig(b.address)
			tt.change(&c)
			l := bridgetest.NewLedger(t, "far")
			appendRows(t, l, 0, 3, 10, "bucket/a")
			r, stop := startRemote(t, c, pipelined, l.Outbox("far"))
			if tt.fails != "" {
				waitError(t, r, tt.fails)
				return
			}
			b.hook.wait(t, "30 messages", count(30))
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if n, _ := checkGot(t, b.hook.all()); n != 30 {
				t.Errorf("got %d messages, want 30", n)
			}
		})
	}
}

// connack answers a CONNECT; props are its properties.
func connack(conn net.Conn, code byte, props ...byte) bool {
	buf := make([]byte, 4096)
	if _, err := conn.Read(buf); err != nil {
		return false
	}
	_, err := conn.Write(append([]byte{0x20, byte(3 + len(props)), 0, code, byte(len(props))}, props...))
	return err == nil
}

func TestNoRetainedMessages(t *testing.T) {
	c := testConfig(listen(t, func(conn net.Conn) { connack(conn, 0, 0x25, 0) }))
	c.Retain = true
	r, _ := startRemote(t, c, pipelined, bridgetest.NewLedger(t, "far").Outbox("far"))
	waitError(t, r, "no retained messages")
}

// TestWatchdog has a broker that takes messages and says nothing any more; after the watchdog's time another connection is tried.
func TestWatchdog(t *testing.T) {
	h := newHook()
	b := startBroker(t, brokerOptions{hook: h})
	address := listen(t, wiped,
		func(conn net.Conn) {
			if connack(conn, 0) {
				_, _ = io.Copy(io.Discard, conn)
			}
		},
		func(conn net.Conn) { relay(conn, b.address) },
	)
	c := testConfig(address)
	c.Watchdog = bridge.Duration(20 * time.Millisecond)
	l := bridgetest.NewLedger(t, "far")
	appendRows(t, l, 0, 1, 10, "bucket/a")
	r, _ := startRemote(t, c, pipelined, l.Outbox("far"))
	waitError(t, r, "watchdog: 10 messages in flight")
	h.wait(t, "10 messages", count(10))
}

// wiped is a broker's side of a connection that only ends a session: CONNACK, then the end at DISCONNECT.
func wiped(conn net.Conn) {
	if connack(conn, 0) {
		_, _ = conn.Read(make([]byte, 2))
	}
}

// relay joins a connection to another address.
func relay(conn net.Conn, address string) {
	far, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(far, conn)
		far.Close()
	}()
	_, _ = io.Copy(conn, far)
	conn.Close()
}

// TestNonsense has brokers that answer with what is no MQTT 5, and then a good one: bad input never stops the process (rule 17).
func TestNonsense(t *testing.T) {
	b := startBroker(t, brokerOptions{})
	for _, tt := range []struct {
		name  string
		serve func(net.Conn)
	}{
		{"text", func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }},
		{"nothing", func(net.Conn) {}},
		{"MQTT 3", func(c net.Conn) { _, _ = c.Write([]byte{0x20, 2, 0, 0}) }},
		{"a length without end", func(c net.Conn) { connack(c, 0); _, _ = c.Write(bytes.Repeat([]byte{0xff}, 10)) }},
		{"a packet of 256 MB", func(c net.Conn) { connack(c, 0); _, _ = c.Write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}) }},
		{"an acknowledgement without identifier", func(c net.Conn) { connack(c, 0); _, _ = c.Write([]byte{0x40, 0}) }},
		{"acknowledgements of nothing", func(c net.Conn) {
			connack(c, 0)
			_, _ = c.Write([]byte{0x40, 2, 0, 9, 0x50, 3, 0, 0, 0x99, 0x70, 4, 0xff, 0xff, 0, 0})
		}},
		{"a second CONNACK", func(c net.Conn) { connack(c, 0); _, _ = c.Write([]byte{0x20, 3, 0, 0, 0}) }},
		{"DISCONNECT", func(c net.Conn) { connack(c, 0); _, _ = c.Write([]byte{0xe0, 1, 0x8b}) }},
		{"server busy", func(c net.Conn) { connack(c, 0x89) }},
		{"session taken over", func(c net.Conn) { connack(c, 0); _, _ = c.Write([]byte{0xe0, 1, 0x8e}) }},
		{"an authentication that nobody asked for", func(c net.Conn) { connack(c, 0, 0x15, 0, 1, 'x'); _, _ = c.Write([]byte{0xf0, 2, 0x18, 0}) }},
		{"an authentication before CONNACK", func(c net.Conn) { _, _ = c.Write([]byte{0xf0, 2, 0x18, 0}) }},
		{"a message that nobody asked for", func(c net.Conn) { connack(c, 0); _, _ = c.Write([]byte{0x32, 6, 0, 1, 'a', 0, 1, 0}) }},
	} {
		for when, before := range map[string][]func(net.Conn){
			"while the old session is ended": {tt.serve}, "afterwards": {wiped, tt.serve},
		} {
			t.Run(tt.name+" "+when, func(t *testing.T) {
				b.hook.set(func() { b.hook.got = nil })
				c := testConfig(listen(t, append(before, func(c net.Conn) { relay(c, b.address) })...))
				c.ClientID = strings.ReplaceAll(tt.name, " ", "-") + when
				l := bridgetest.NewLedger(t, "far")
				appendRows(t, l, 0, 1, 10, "bucket/a")
				_, stop := startRemote(t, c, pipelined, l.Outbox("far"))
				b.hook.wait(t, "10 messages", distinct(10))
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				checkGot(t, b.hook.all())
			})
		}
	}
}

// TestFirstSession: what strangers left is ended by a connection of its own, and the session that is kept is made without a clean start, else
// mosquitto would not have it any more after its own restart. A start with the same ledger takes it up again.
func TestFirstSession(t *testing.T) {
	b := startBroker(t, brokerOptions{})
	l := bridgetest.NewLedger(t, "far")
	var got [2][]string // by start
	for n := range got {
		appendRows(t, l, n, 1, 10, "bucket/a")
		_, stop := startRemote(t, testConfig(b.address), pipelined, l.Outbox("far"))
		b.hook.wait(t, "the messages", count(10*n+10))
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b.hook.set(func() {
			for _, p := range b.hook.connects {
				got[n] = append(got[n], fmt.Sprintf("clean %v for %d s", p.Connect.Clean, p.Properties.SessionExpiryInterval))
			}
			b.hook.connects = nil
		})
	}
	wipe, keep := "clean true for 0 s", "clean false for 4294967295 s"
	for i := 0; i+2 < len(got[0]); i += 2 { // mochi may not have forgotten yet, then it is repeated
		if !slices.Equal(got[0][i:i+2], []string{wipe, keep}) {
			t.Errorf("first start connected %q", got[0])
		}
	}
	if n := len(got[0]); n < 2 || !slices.Equal(got[0][n-2:], []string{wipe, keep}) {
		t.Errorf("first start connected %q, want %q and %q at last", got[0], wipe, keep)
	}
	if !slices.Equal(got[1], []string{keep}) {
		t.Errorf("second start connected %q, want %q", got[1], keep)
	}
}

// TestSessionOfAnother has a broker that knows a session right after ours was ended: it is ended once more, and nothing is sent in it.
func TestSessionOfAnother(t *testing.T) {
	b := startBroker(t, brokerOptions{})
	sent := make(chan int64, 1)
	present := func(conn net.Conn) {
		if _, err := pahopackets.ReadPacket(conn); err != nil { // CONNECT, which may come in pieces
			t.Errorf("CONNECT: %v", err)
		}
		_, _ = conn.Write([]byte{0x20, 3, 1, 0, 0})
		n, _ := io.Copy(io.Discard, conn)
		sent <- n
	}
	c := testConfig(listen(t, wiped, present, func(conn net.Conn) { relay(conn, b.address) }))
	l := bridgetest.NewLedger(t, "far")
	appendRows(t, l, 0, 1, 10, "bucket/a")
	r, _ := startRemote(t, c, pipelined, l.Outbox("far"))
	waitError(t, r, "does somebody else use it?")
	b.hook.wait(t, "10 messages", count(10))
	if n := <-sent; n != 0 {
		t.Errorf("%d B were sent in the session of another", n)
	}
	if first := b.hook.connects[0]; !first.Connect.Clean {
		t.Error("the session of another was not ended")
	}
}

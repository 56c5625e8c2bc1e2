package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sluicebridge/sluice/bridge/config"
	"github.com/sluicebridge/sluice/bridge/mqtt"
	"github.com/sluicebridge/sluice/bridge/mqtt/recorder"
)

const recordHelp = `usage: sluice record mqtt --broker URL --topic FILTER --into FILE [flags]

A subscriber that writes down what arrives, one line a message, for sluice verify --far record:FILE. What it has acknowledged is on the
disk; started again with the same file it goes on where it was, until SIGTERM or Ctrl-C.

`

// recordFlags are what a record needs beside the broker's keys, which are a remote's.
type recordFlags struct {
	broker  mqtt.Config
	session recorder.Session
	into    string
}

func runRecord(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("record mqtt")
	fs.Usage = func() { fmt.Fprint(e.err, recordHelp); fs.PrintDefaults() }
	o := defineRecord(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	if o.broker.Broker == "" || o.session.Topic == "" || o.into == "" {
		return usageError{"record mqtt: want --broker, --topic and --into"}
	}
	address, dial, err := o.broker.Dialer()
	if err != nil {
		return usageError{"record mqtt: " + err.Error()}
	}
	password := o.broker.Password
	if o.broker.PasswordFile != "" {
		if password, err = config.ReadSecret(o.broker.PasswordFile); err != nil {
			return fmt.Errorf("password-file: %w", err)
		}
	}
	o.session.Broker = address
	file, err := o.open()
	if err != nil {
		return err
	}
	r := recorder.New(file, recorder.Config{Dial: dial, Username: o.broker.Username, Password: []byte(password), Log: e.log})
	e.log.Info("recording", "file", o.into, "topic", o.session.Topic, "client", file.Session().Client)
	err = errors.Join(r.Run(ctx), file.Close())
	e.log.Info("stopped", "messages", r.Messages, "repeated", r.Repeated)
	return err
}

func defineRecord(fs *flag.FlagSet) *recordFlags {
	o := &recordFlags{session: recorder.Session{QoS: 2}}
	b := &o.broker
	fs.StringVar(&b.Broker, "broker", "", "`URL` of the broker: mqtt://host:1883 or mqtts://host:8883")
	fs.StringVar(&o.session.Topic, "topic", "", "topic `FILTER` of the subscription")
	fs.StringVar(&o.into, "into", "", "`FILE` that is written, or gone on with")
	fs.StringVar(&o.session.Client, "client-id", "", "names the session at the broker; empty: the file's own, made from its path at first")
	fs.Func("qos", "`0, 1 or 2` (default 2): below 2 a crash of this or of the broker can miss or repeat a message", func(s string) error {
		if len(s) != 1 || s[0] < '0' || s[0] > '2' {
			return errors.New("want 0, 1 or 2")
		}
		o.session.QoS = s[0] - '0'
		return nil
	})
	fs.StringVar(&b.Username, "username", "", "user name")
	fs.StringVar(&b.PasswordFile, "password-file", "", "`FILE` that holds the password")
	fs.StringVar(&b.CAFile, "ca-file", "", "PEM `FILE` of the broker's authority; empty: the system's")
	fs.StringVar(&b.CertFile, "cert-file", "", "PEM `FILE` of our certificate, with --key-file")
	fs.StringVar(&b.KeyFile, "key-file", "", "PEM `FILE` of its key")
	fs.StringVar(&b.ServerName, "server-name", "", "name in the broker's certificate; empty: the host of --broker")
	fs.BoolVar(&b.Insecure, "insecure", false, "do not check the broker's certificate")
	return o
}

// open opens the file. Without --client-id a new one gets an identifier of its own: two records under one would throw each other out of
// the broker.
func (o *recordFlags) open() (*recorder.File, error) {
	if o.session.Client != "" {
		return recorder.Open(o.into, o.session, false)
	}
	path, err := filepath.Abs(o.into)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("make a client identifier, or give --client-id: %w", err)
	}
	sum := sha256.Sum256([]byte(host + ":" + path))
	o.session.Client = "sluice-record-" + hex.EncodeToString(sum[:4])
	return recorder.Open(o.into, o.session, true)
}

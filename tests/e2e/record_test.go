package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge/mqtt/recorder"
	"github.com/sluicebridge/sluice/tests/real"
)

// record is a running `sluice record mqtt`.
type record struct {
	*real.Process
	file string
}

func newRecord(t *testing.T, b *real.Broker, topic string) *record {
	t.Helper()
	file := filepath.Join(t.TempDir(), "record")
	p := real.NewProcess(t, filepath.Join(real.Binary(t), "bin", "sluice"),
		[]string{"record", "mqtt", "--broker", b.URL, "--topic", topic, "--into", file}, nil)
	return &record{p, file}
}

// deliveries reads what is recorded so far.
func (r *record) deliveries(t *testing.T) (ds []recorder.Delivery) {
	t.Helper()
	text, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := recorder.Read(bytes.NewReader(text), func(d *recorder.Delivery) error { ds = append(ds, *d); return nil }); err != nil {
		t.Fatal(err)
	}
	return ds
}

// count is how many messages the file has; a line's kind is its first byte.
func (r *record) count() int {
	text, err := os.ReadFile(r.file)
	if err != nil {
		return 0 // not made yet
	}
	return bytes.Count(text, []byte("\nM\t"))
}

func (r *record) await(t *testing.T, n int) {
	t.Helper()
	real.Eventually(t, 2*time.Minute, fmt.Sprintf("%d messages in the record", n), func() (bool, string) {
		have := r.count()
		return have >= n, fmt.Sprint(have)
	})
}

// subscribed waits until the broker has the session: what is published before is not for it.
func (r *record) subscribed(t *testing.T) {
	t.Helper()
	real.Eventually(t, time.Minute, "the subscription", func() (bool, string) {
		tail := r.Tail(4000)
		return bytes.Contains([]byte(tail), []byte("subscribed")), tail
	})
}

// kill -9 of the recorder, 20 times under load: its file has each message once, in order.
func TestRecordKilled(t *testing.T) {
	const kills, all = 20, perEntry * 4
	s := newSite(t, options{open: true})
	r := newRecord(t, s.broker, "site/#")
	r.Start()
	r.subscribed(t)
	s.sluice.Up()
	written := s.writeAll(t, 250)
	for kill := range kills {
		r.await(t, all*kill/(kills+2)+1)
		r.Kill()
		r.Start()
	}
	<-written
	s.settled(t, 3*time.Minute, all)
	r.await(t, all)
	if err := r.Stop(); err != nil {
		t.Errorf("SIGTERM: %v, want exit 0", err)
	}
	got := map[string][]string{}
	for _, d := range r.deliveries(t) {
		got[d.Topic] = append(got[d.Topic], d.ID)
		if d.Mark != "" {
			t.Errorf("%s is marked %q", d.ID, d.Mark)
		}
	}
	for _, entry := range entries {
		compare(t, entry, got["site/"+entry], s.expected(entry, perEntry, nil))
	}
	info, err := os.Stat(r.file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kills, %d messages, %d bytes a message in the file", kills, all, info.Size()/all)
}

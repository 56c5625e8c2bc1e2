// Package e2e runs the built binary between a real ReductStore and a real Mosquitto, and breaks things on the way.
package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge/admin"
	"github.com/sluicebridge/sluice/tests/real"
)

const (
	perEntry = 5000 // records of each entry, a millisecond apart
	cycle    = 100  // records from one start of the machine to the next
)

var entries = []string{"acc-1", "acc-2", "acc-3", "acc-4"}

// site is what every scenario here starts from: an edge store with a replication task, a broker with a subscriber, and a bridge between them.
type site struct {
	dir        string // of the bridge
	bucket     string // of the store, where the records are written
	store      *real.Store
	broker     *real.Broker
	sluice     *real.Sluice
	subscriber *real.Subscriber
	start      int64 // time of the first record, µs
	eligible   func(i int) bool
}

// options are where a scenario differs.
type options struct {
	token  string // API token of the store
	bucket string // settings of the source bucket, JSON
	ledger string // lines of [ledger]
	source string // lines of [inputs.replication.edge.source], or of [inputs.reduct.edge]
	pull   bool   // no replication task: the bridge asks for the records
	remote string // lines of [remotes.mqtt.site]
	broker []string
	open   bool // no module: every record is eligible
	rarely bool // reconcile at the start and then once an hour
	remap  bool // only a module without a state: every record is eligible
}

const config = `
data_dir = "{dir}/data"
[ledger]
LEDGER
[admin]
listen = "{admin}"
INPUT
[modules.stable-speed]
path = "{root}/wasm-modules/dist/stable-speed.wasm"
[modules.stable-speed.config]
label = "rpm"
min = 1400.0
max = 1600.0
tolerance = 1.0
window = "1ms"
hold = "0s"
gap = "1s"
[modules.label-remap]
path = "{root}/wasm-modules/dist/label-remap.wasm"
[modules.label-remap.config]
set = { source = "edge" }
[pipelines.vibration]
inputs = ["edge"]
modules = [MODULES]
remotes = ["site"]
[remotes.mqtt.site]
broker = "BROKER"
client_id = "gate"
topic = "site/{entry}"
qos = 2
REMOTE
`

const replicated = `
[inputs.replication.edge]
listen = "{target}"
bucket = "gate"
token = "site-token"
[inputs.replication.edge.source]
url = "STORE"
token = "TOKEN"
replication = "to-gate"
interval = "INTERVAL"
SOURCE
`

const pulled = `
[inputs.reduct.edge]
url = "STORE"
token = "TOKEN"
bucket = "gate"
entries = ["acc-*"]
SOURCE
`

func newSite(t *testing.T, o options) *site {
	t.Helper()
	s := &site{start: time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC).UnixMicro(), eligible: stable}
	modules := `"stable-speed"`
	if o.open {
		modules, s.eligible = "", func(int) bool { return true }
	}
	if o.remap {
		modules, s.eligible = `"label-remap"`, func(int) bool { return true }
	}
	interval := "2s"
	if o.rarely {
		interval = "1h"
	}
	s.store = real.StartStore(t, "", o.token)
	s.broker = real.StartBroker(t, o.broker...)
	s.subscriber = real.Subscribe(t, s.broker, "site/#")
	input := replicated
	s.bucket = "vib"
	if o.pull {
		input, s.bucket = pulled, "gate" // which is in the names of the streams
	}
	text := strings.NewReplacer("STORE", s.store.URL, "TOKEN", o.token, "BROKER", s.broker.URL,
		"LEDGER", o.ledger, "SOURCE", o.source, "REMOTE", o.remote, "MODULES", modules, "INTERVAL", interval).Replace(strings.Replace(config, "INPUT", input, 1))
	s.dir = t.TempDir()
	s.sluice = real.NewSluice(t, s.dir, text)
	s.store.Bucket(t, s.bucket, o.bucket)
	if !o.pull {
		s.replicate(t)
	}
	return s
}

// replicate makes the replication task. A new one sends what is written from then on.
func (s *site) replicate(t *testing.T) {
	t.Helper()
	s.store.Replicate(t, "to-gate", fmt.Sprintf(
		`{"src_bucket":"vib","dst_bucket":"gate","dst_host":%q,"dst_token":"site-token","entries":["acc-*"]}`, s.sluice.Target))
}

// running says whether record i was made at production speed. The first record of such a stretch does not pass (the speed has to hold for a
// millisecond, which the module knows from its state), so exactly half of a cycle is eligible.
func running(i int) bool { return i%cycle <= cycle/2 }

func stable(i int) bool { return running(i) && i%cycle > 0 }

func (s *site) time(i int) int64 { return s.start + int64(i)*1000 }

// write writes records from..to of every entry, entry by entry.
func (s *site) write(t *testing.T, from, to int) {
	t.Helper()
	for _, entry := range entries {
		samples := make([]real.Sample, 0, to-from)
		for i := from; i < to; i++ {
			rpm := "900"
			if running(i) {
				rpm = "1500"
			}
			samples = append(samples, real.Sample{Time: s.time(i), ContentType: "application/json", Payload: payload(entry, i),
				Labels: map[string]string{"rpm": rpm, "device": "press-7", "note": "a, b"}})
		}
		s.store.Write(t, s.bucket, entry, samples)
	}
}

// writeAll writes all records, step of every entry at a time, beside what the test does meanwhile. The channel is closed at the end.
func (s *site) writeAll(t *testing.T, step int) <-chan struct{} {
	written := make(chan struct{})
	go func() {
		defer close(written)
		for from := 0; from < perEntry; from += step {
			s.write(t, from, from+step)
		}
	}()
	return written
}

func payload(entry string, i int) []byte { return fmt.Appendf(nil, `{"entry":%q,"seq":%d}`, entry, i) }

// expected lists the IDs of entry's eligible records in order, leaving out those that missing names.
func (s *site) expected(entry string, records int, missing map[string]bool) []string {
	var ids []string
	for i := range records {
		if id := fmt.Sprintf("gate/%s@%d", entry, s.time(i)); s.eligible(i) && !missing[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// check compares what the subscriber saw with what it should have: exactly the eligible records, once each, in order per entry, with their
// topic, properties and payload.
func (s *site) check(t *testing.T, records int, missing map[string]bool) {
	t.Helper()
	got := map[string][]string{}
	for _, m := range s.subscriber.Messages() {
		entry := strings.TrimPrefix(m.Topic, "site/")
		got[entry] = append(got[entry], m.ID)
		if m.Marked {
			t.Errorf("%s is marked as a possible duplicate", m.ID)
		}
		s.checkContent(t, entry, m)
	}
	for _, entry := range entries {
		compare(t, entry, got[entry], s.expected(entry, records, missing))
	}
	if len(got) > len(entries) {
		t.Errorf("messages of %d entries, want %d", len(got), len(entries))
	}
}

func (s *site) checkContent(t *testing.T, entry string, m real.Received) {
	t.Helper()
	var at int64
	if _, err := fmt.Sscanf(m.ID, "gate/"+entry+"@%d", &at); err != nil {
		t.Fatalf("message ID %q on topic %q", m.ID, m.Topic)
	}
	if want := payload(entry, int((at-s.start)/1000)); string(m.Payload) != string(want) {
		t.Fatalf("%s: payload %q, want %q", m.ID, m.Payload, want)
	}
	want := map[string]string{"device": "press-7", "note": "a, b", "sluice-time": fmt.Sprint(at)}
	for name, value := range want {
		if m.Properties[name] != value {
			t.Fatalf("%s: property %s is %q, want %q", m.ID, name, m.Properties[name], value)
		}
	}
	if m.ContentType != "application/json" {
		t.Fatalf("%s: content type %q", m.ID, m.ContentType)
	}
}

// compare reports holes, doubles and misorders by their number and first example.
func compare(t *testing.T, entry string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	seen := map[string]int{}
	for _, id := range got {
		seen[id]++
	}
	var lost, twice, strange []string
	for _, id := range want {
		switch seen[id] {
		case 0:
			lost = append(lost, id)
		case 1:
		default:
			twice = append(twice, id)
		}
		delete(seen, id)
	}
	for id := range seen {
		strange = append(strange, id)
	}
	first := ""
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			first = fmt.Sprintf("message %d is %s, want %s", i, got[i], want[i])
			break
		}
	}
	t.Errorf("%s: got %d messages, want %d: %d lost %v, %d twice %v, %d not eligible %v; %s", entry, len(got), len(want),
		len(lost), head(lost), len(twice), head(twice), len(strange), head(strange), first)
}

func head(ids []string) []string { return ids[:min(len(ids), 3)] }

// settled waits until the bridge has nothing left to send.
func (s *site) settled(t *testing.T, limit time.Duration, messages int) {
	t.Helper()
	s.subscriber.Await(t, messages, limit)
	s.sluice.Drained(t, limit)
}

func (s *site) status(t *testing.T) admin.Status {
	t.Helper()
	status, err := s.sluice.Status()
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// Package crash breaks a bridge, and what is around it, between a real ReductStore and a real Mosquitto, and counts at the far end: every record
// of the edge store once, in order, as it was written. `make e2e` breaks each thing a few times, `make crash` a hundred.
package crash

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/tests/real"
)

// site is what every test here starts from: an edge store with a replication task, a bridge that numbers the records of each entry, a broker and
// a subscriber. What is written goes through all of them.
type site struct {
	store      *real.Store
	broker     *real.Broker
	sluice     *real.Sluice
	subscriber *real.Subscriber
	load       *load
	config     string // for another bridge of the same kind
	data       string // the bridge's data directory

	edge   *real.Proxy // the store's way to the bridge; nil without options.wires
	ask    *real.Proxy // the bridge's way to the store
	uplink *real.Proxy // the bridge's way to the broker
}

// options are where a test differs.
type options struct {
	qos    int
	wires  bool     // everything goes through proxies
	data   string   // the bridge's data directory; a temporary one if empty
	ledger string   // lines of [ledger]
	remote string   // lines of [remotes.mqtt.site]
	store  []string // the store's environment
	module string   // another than the one that numbers records
	late   bool     // the replication task is made by the test, not before the first record
}

const config = `
data_dir = "DATA"
[ledger]
LEDGER
[admin]
listen = "{admin}"
[inputs.replication.edge]
listen = "{target}"
bucket = "gate"
[inputs.replication.edge.source]
url = "STORE"
replication = "to-gate"
interval = "1s"
overlap = "100ms"
[modules.count]
path = "COUNT"
[pipelines.all]
inputs = ["edge"]
modules = ["count"]
remotes = ["site"]
[remotes.mqtt.site]
broker = "mqtt://BROKER"
client_id = "gate"
topic = "site/{entry}"
qos = QOS
backoff_min = "50ms"
backoff_max = "500ms"
REMOTE
`

func newSite(t *testing.T, o options) *site {
	t.Helper()
	s := &site{data: o.data}
	if s.data == "" {
		s.data = filepath.Join(t.TempDir(), "data")
	}
	s.store = real.StartStore(t, "", "", append([]string{"RS_REPLICATION_TIMEOUT=1"}, o.store...)...)
	s.broker = real.StartBroker(t)
	s.subscriber = real.Subscribe(t, s.broker, "site/#")
	source, broker := s.store.URL, fmt.Sprintf("127.0.0.1:%d", s.broker.Port)
	if o.wires {
		s.ask, s.uplink = real.NewProxy(t, strings.TrimPrefix(source, "http://")), real.NewProxy(t, broker)
		source, broker = "http://"+s.ask.Addr, s.uplink.Addr
	}
	s.config = strings.NewReplacer("DATA", s.data, "STORE", source, "BROKER", broker, "COUNT", o.guest(t), "QOS", fmt.Sprint(o.qos),
		"LEDGER", cmp.Or(o.ledger, `quota = "32MiB"`), // small: its write-ahead log is copied often
		"REMOTE", o.remote).Replace(config)
	s.sluice = real.NewSluice(t, t.TempDir(), s.config)
	if o.wires {
		s.edge = real.NewProxy(t, strings.TrimPrefix(s.sluice.Target, "http://"))
	}
	s.store.Bucket(t, "vib", "")
	if !o.late {
		s.replicate(t, s.target())
	}
	s.load = &load{site: s}
	return s
}

func (o options) guest(t *testing.T) string {
	if o.module != "" {
		return o.module
	}
	return shop.guest(t)
}

// target is where the store finds the bridge.
func (s *site) target() string {
	if s.edge != nil {
		return "http://" + s.edge.Addr
	}
	return s.sluice.Target
}

// replicate makes the replication task.
func (s *site) replicate(t *testing.T, target string) {
	t.Helper()
	s.store.Replicate(t, "to-gate", fmt.Sprintf(
		`{"src_bucket":"vib","dst_bucket":"gate","dst_host":%q,"dst_token":"","entries":["acc-*"]}`, target))
}

// limit is how long a test waits for what has to happen.
const limit = 3 * time.Minute

// finish ends the load, waits until all of it has gone through, and returns what arrived. The last records are written when nothing else is
// under way: what has not come before them, in the order of their entries, does not come any more.
func (s *site) finish(t *testing.T) report {
	t.Helper()
	s.load.end(t)
	s.store.Sent(t, "to-gate", limit)
	s.sluice.Reconciled(t, limit)
	s.sluice.Drained(t, limit)
	for e := range entries {
		s.load.write(t, e, 1)
	}
	s.last(t)
	s.sluice.Drained(t, limit)
	return check(s.load.between(counts{}, s.load.counts()), s.subscriber.Messages())
}

// last waits until the last record of each entry has come.
func (s *site) last(t *testing.T) {
	t.Helper()
	real.Eventually(t, limit, "the last record of each entry", func() (bool, string) {
		for e, n := range s.load.counts() {
			if last := id(e, n-1); !s.subscriber.Has(last) {
				return false, fmt.Sprintf("%s has not come; %d messages of %d records have", last, s.subscriber.Count(), s.load.total())
			}
		}
		return true, ""
	})
}

// died waits until the bridge has ended by itself, as by kill -9.
func (s *site) died(t *testing.T, where string) {
	t.Helper()
	real.Eventually(t, limit, "the bridge to die "+where, func() (bool, string) { return s.sluice.Exited(), "it lives" })
	if how := s.sluice.Outcome(); how != "signal: killed" {
		t.Fatalf("%s the bridge ended with %q, want a kill:\n%s", where, how, s.sluice.Tail(2000))
	}
	s.sluice.Kill()
}

// alive fails the test where the bridge has ended.
func (s *site) alive(t *testing.T) {
	t.Helper()
	if s.sluice.Exited() {
		t.Fatalf("the bridge has ended with %q:\n%s", s.sluice.Outcome(), s.sluice.Tail(2000))
	}
}

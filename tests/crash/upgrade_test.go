package crash

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluicebridge/sluice/tests/real"
)

const upgraded = `
data_dir = "%[1]s"
[admin]
listen = "{admin}"
[inputs.replication.edge]
listen = "{target}"
bucket = "b"
[pipelines.p]
inputs = ["edge"]
remotes = ["a", "b"]
[remotes.mqtt.a]
broker = "mqtt://127.0.0.1:%[2]d"
client_id = "a"
topic = "a/{entry}"
[remotes.mqtt.b]
broker = "mqtt://127.0.0.1:%[2]d"
client_id = "b"
topic = "b/{entry}"
`

// The ledger of the version before, in the hands of this one: what waits in it goes out, to each remote. The second remote has nothing on its way, and
// gets each message once; what the first had on its way is marked, for its broker is another.
func TestOlderLedger(t *testing.T) {
	t.Parallel()
	const waiting = 77 // for each remote
	data := filepath.Join(t.TempDir(), "data")
	unpack(t, "../../bridge/ledger/testdata/schema2.db.gz", filepath.Join(data, "ledger", "ledger.db"))
	broker := real.StartBroker(t)
	a, b := real.Subscribe(t, broker, "a/#"), real.Subscribe(t, broker, "b/#")
	sluice := real.NewSluice(t, t.TempDir(), fmt.Sprintf(upgraded, data, broker.Port))
	sluice.Up()
	a.Await(t, waiting, limit)
	b.Await(t, waiting, limit)
	sluice.Drained(t, limit)
	for remote, s := range map[string]*real.Subscriber{"a": a, "b": b} {
		if got := s.Distinct(); got != waiting {
			t.Errorf("%d different messages of %s, want %d", got, remote, waiting)
		}
	}
	if got := b.Count(); got != waiting {
		t.Errorf("%d messages of b, want %d", got, waiting)
	}
	if err := sluice.Stop(); err != nil {
		t.Errorf("SIGTERM: %v, want exit 0", err)
	}
}

func unpack(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	db, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, db, 0o640); err != nil {
		t.Fatal(err)
	}
}

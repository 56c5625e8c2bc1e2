package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/sluicebridge/sluice/tests/real"
)

// farEnd is a stock Mosquitto with one subscriber that counts.
type farEnd struct {
	broker     *real.Broker
	subscriber *counter
}

func newFarEnd(b *testing.B, lines ...string) *farEnd {
	b.Helper()
	f := &farEnd{broker: real.StartBroker(b, lines...)}
	var err error
	if f.subscriber, err = subscribe(f.addr(), "site/#"); err != nil {
		b.Fatal(err)
	}
	return f
}

func (f *farEnd) addr() string { return fmt.Sprintf("127.0.0.1:%d", f.broker.Port) }

func (f *farEnd) close() {
	f.subscriber.close()
	f.broker.Kill()
}

// bare publishes n messages by the bare client and returns how long they took until the last arrived at the subscriber.
func (f *farEnd) bare(b *testing.B, n int, qos byte, message func(int) *packets.Publish) time.Duration {
	b.Helper()
	client, err := dialBare(f.addr(), "bare", qos)
	if err != nil {
		b.Fatal(err)
	}
	defer client.close()
	start := time.Now()
	if _, err := client.publish(n, message); err != nil {
		b.Fatal(err)
	}
	await(b, "the bare client", func() bool { return f.subscriber.messages.Load() >= int64(n) })
	return time.Since(start)
}

// The modules of a bridge under measure, as configuration: a pipeline's list and their tables.
const (
	threeModules = `
modules = ["stable-speed", "label-remap", "reshape"]
[modules.stable-speed]
path = "{root}/wasm-modules/dist/stable-speed.wasm"
config = { label = "rpm", min = 1400.0, max = 1600.0, tolerance = 1.0, window = "1ms", hold = "0s", gap = "1h" }
[modules.label-remap]
path = "{root}/wasm-modules/dist/label-remap.wasm"
config = { rename = { device = "asset" } }
[modules.reshape]
path = "{root}/wasm-modules/dist/reshape.wasm"
[modules.reshape.config]
`
	fromJSON = threeModules + `
template = '{"seq":{{field:seq}},"rms":{{field:rms|4}},"peak":{{field:peak|1}},"time":{{time|ms}},"pad":{{field:pad}}}'
`
	fromWaveform = threeModules + `
input = "f32"
template = '{"asset":{{label:asset}},"rms":{{rms|4}},"peak":{{peak|4}},"time":{{time|ms}}}'
missing = "null"
`
	noModules = ""
)

const bridgeConfig = `
data_dir = "{dir}/data"
[ledger]
quota = "1GiB"
[admin]
listen = "{admin}"
[inputs.replication.edge]
listen = "TARGET"
bucket = "gate"
token = "t"
[remotes.mqtt.site]
broker = "BROKER"
client_id = "gate"
topic = "site/{entry}"
qos = 1
[pipelines.vibration]
inputs = ["edge"]
remotes = ["site"]
ordering = "pipelined"
MODULES
`

// bridge starts a bridge with its replication target on addr that delivers to the far end.
func (f *farEnd) bridge(b *testing.B, addr, modules string) *real.Sluice {
	b.Helper()
	s := real.NewSluice(b, b.TempDir(), strings.NewReplacer("TARGET", addr, "BROKER", f.broker.URL, "MODULES", modules).Replace(bridgeConfig))
	s.Up()
	return s
}

// sample uses everything that the SDK offers, as a record's label do says. The samples of all SDKs give the same answers, byte for byte, to the
// records of ../../conformance.
package main

import (
	"errors"
	"math"

	"github.com/sluicebridge/sluice/runtime/abi"
	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

const manifest = `abi = 1
name = "sample"
version = "1.0.0"
about = "uses everything that the SDK offers, as the label do says"
labels = ["do", "value", "device"]
payload = "full"
outputs_max = 4
state = "explicit"
state_version = 1
reasons = ["low", "no number"]
[[config]]
name = "min"
type = "float"
default = 600.0
[[config]]
name = "unit"
type = "string"
default = "g"
`

// The manifest's labels and reasons.
const (
	do, value, device = 0, 1, 2
	low, noNumber     = 0, 1
)

var _ = sluice.Register(manifest, new(filter))

func main() {} // never called: the module is a library

type filter struct {
	least float64
	unit  []byte
	json  sluice.Writer
	buf   []byte
	told  bool // that Flush has something to say

	count uint64 // the state
	sum   float64
}

func (f *filter) Init(config sluice.JSON) error {
	f.least, _ = config.Get("min").Float()
	if f.least < 0 {
		return errors.New("min: want 0 or more")
	}
	f.unit = config.Get("unit").AppendText(nil)
	return nil
}

func (f *filter) Save(dst []byte) []byte {
	return sluice.AppendUint64(sluice.AppendUint64(dst, f.count), math.Float64bits(f.sum))
}

func (f *filter) Load(state []byte) error {
	f.count, f.sum = 0, 0
	if len(state) == 16 {
		f.count, f.sum = sluice.Uint64(state), math.Float64frombits(sluice.Uint64(state[8:]))
	} else if len(state) > 0 {
		return errors.New("state: want 16 bytes")
	}
	return nil
}

func (f *filter) Process(r sluice.Record, out *sluice.Out) sluice.Verdict {
	number, ok := sluice.Float(r.Slot(value))
	f.count++
	if ok {
		f.sum += number
	} else {
		number = math.NaN()
	}
	switch string(r.Slot(do)) {
	case "", "pass", "empty":
		return out.Emit() // without an output it is Pass
	case "drop":
		switch {
		case !ok:
			return sluice.Drop(noNumber)
		case number < f.least:
			return sluice.Drop(low)
		}
		return sluice.Pass
	case "keep":
		return sluice.Keep(1<<value | 1<<device)
	case "absorb":
		return sluice.Absorb
	case "flush":
		f.told = true
		return sluice.Absorb
	case "retry":
		return sluice.Retry
	case "retry because":
		return out.RetryBecause(string(r.Slot(device)))
	case "park":
		return out.Park(string(r.Slot(device)))
	case "fail":
		return out.Park("told to fail")
	case "tell":
		sluice.Log(abi.LevelInfo, string(r.Slot(device)))
		sluice.Count("told", 2)
		sluice.Observe("value", number)
		return sluice.Pass
	case "label":
		if f.buf = sluice.Label("seq", f.buf); f.buf == nil {
			return sluice.Drop(noNumber)
		}
		out.SetLabel([]byte("copy"), f.buf)
		return out.Emit()
	case "stats":
		return f.stats(out)
	case "crash":
		panic("told to crash")
	}
	return f.emit(r, out, number)
}

// emit makes the outputs that are only a few lines each.
func (f *filter) emit(r sluice.Record, out *sluice.Out, number float64) sluice.Verdict {
	switch string(r.Slot(do)) {
	case "patch":
		out.SetLabel([]byte("speed"), r.Slot(value))
		out.SetLabel([]byte("note"), nil)
		out.DeleteLabel([]byte("seq"))
		out.RenameLabel([]byte("device"), []byte("machine"))
		out.SetTopic(r.Entry())
		out.SetType([]byte("text/plain"))
		out.SetPayload([]byte("changed"))
		out.SetTime(r.Time() + 1_000_000)
	case "same":
		out.Output()
	case "split":
		out.Output()
		out.SetLabel([]byte("part"), []byte("1"))
		out.Output()
		out.SetLabel([]byte("part"), []byte("2"))
	case "cut":
		out.CutPayload(4, 8)
	case "clear":
		out.ClearLabels()
		out.SetLabel([]byte("only"), r.Slot(device))
	case "name":
		out.SetLabel(r.Payload(), []byte("1"))
	case "pull":
		f.buf = sluice.Pull(r, f.buf)
		out.SetPayload(f.buf)
	case "json":
		f.record(r, number)
		out.SetPayload(f.json.Bytes())
		out.SetType([]byte("application/json"))
	case "wave":
		f.wave(sluice.F32(r.Payload()))
		out.SetPayload(f.json.Bytes())
	case "state":
		f.json.Reset()
		f.json.Int("count", int64(f.count))
		f.json.Float("sum", f.sum, 3)
		f.json.Int("now", sluice.Now())
		out.SetPayload(f.json.Bytes())
	default:
		return out.Park("do: nothing of that name")
	}
	return out.Emit()
}

// record writes everything about a record.
func (f *filter) record(r sluice.Record, number float64) {
	f.json.Reset()
	f.json.Text("device", r.Slot(device))
	f.json.Text("type", r.ContentType())
	f.json.Text(`unit "1"`, f.unit)
	f.json.Float("min", f.least, 1)
	f.json.Float("d0", number, 0)
	f.json.Float("d1", number, 1)
	f.json.Float("d3", number, 3)
	f.json.Float("d9", number, 9)
	f.json.Int("time", r.Time())
	f.json.Int("size", int64(r.PayloadLen()))
	f.json.Bool("late", r.Flags()&abi.Late != 0)
	f.json.Raw("list", []byte("[1,null]"))
}

func (f *filter) wave(values []float32) {
	sum := 0.0
	for _, v := range values {
		sum += float64(v)
	}
	f.json.Reset()
	f.json.Int("n", int64(len(values)))
	f.json.Float("mean", sum/float64(len(values)), 6)
}

func (f *filter) stats(out *sluice.Out) sluice.Verdict {
	s, ok := sluice.StatsOf(abi.F32)
	if !ok {
		return out.Park("no waveform")
	}
	f.json.Reset()
	f.json.Float("count", s.Count, 0)
	f.json.Float("mean", s.Mean, 4)
	f.json.Float("rms", s.RMS, 4)
	f.json.Float("least", s.Least, 4)
	f.json.Float("most", s.Most, 4)
	f.json.Float("peak", s.Peak, 4)
	f.json.Float("crest", s.Crest, 4)
	f.json.Float("kurtosis", s.Kurtosis, 4)
	out.SetPayload(f.json.Bytes())
	return out.Emit()
}

// Flush says how many records there were, once for each do = "flush".
func (f *filter) Flush(out *sluice.Out) sluice.Verdict {
	if !f.told {
		return sluice.Pass
	}
	f.told = false
	f.json.Reset()
	f.json.Int("count", int64(f.count))
	out.SetPayload(f.json.Bytes())
	return out.Emit()
}

package simulation

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/sluicebridge/sluice/bridge"
)

// guests is a chain with one stateful module: it numbers the records of a stream. What it does with a record follows from the record's
// time, so that what must arrive is known. Its memory is that of a pooled instance: ahead of the ledger until Append, loaded from it where it is not there.
type guests struct {
	g      *gate
	counts map[string]tally
}

// tally is what the module knows of a stream: its records, and up to which of them it has said that they were there.
type tally struct{ n, said uint64 }

func (t tally) bytes() []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, t.n), t.said)
}

func tallyOf(state []byte) (t tally) {
	if len(state) > 0 {
		t.n, t.said = binary.LittleEndian.Uint64(state), binary.LittleEndian.Uint64(state[8:])
	}
	return t
}

// of returns what the memory has of a stream, or the ledger.
func (c *guests) of(stream string) (tally, error) {
	if t, there := c.counts[stream]; there {
		return t, nil
	}
	s, _, err := c.g.ledger.State(pipeline, stream, moduleName)
	return tallyOf(s.Bytes), err
}

const moduleName = "count"

// fate of a record.
func fate(t int64) bridge.Verdict {
	switch t / step % 8 {
	case 3:
		return bridge.Verdict{Kind: bridge.Dropped, Reason: 1}
	case 5:
		return bridge.Verdict{Kind: bridge.Passed, Outputs: 2}
	case 6:
		return bridge.Verdict{Kind: bridge.Absorbed}
	case 7:
		return bridge.Verdict{Kind: bridge.Parked}
	}
	return bridge.Verdict{Kind: bridge.Passed, Outputs: 1}
}

// Apply implements bridge.Chain.
func (c *guests) Apply(_ context.Context, stream string, rs []bridge.Record, out *bridge.Results) error {
	t, err := c.of(stream)
	if err != nil {
		return err
	}
	for i := range rs {
		if t.n++; c.g.w.modules && c.g.w.faults > 0 && c.g.w.chance(30) {
			c.g.w.faults--
			c.g.w.fire("module asks again later")
			c.counts[stream] = t // its memory is ahead now
			return fmt.Errorf("record %d: %w", rs[i].Time, bridge.ErrRetry)
		}
		v := fate(rs[i].Time)
		c.g.applied[recordName{stream, rs[i].Time}] = versionOf(rs[i].Labels)
		out.Verdicts = append(out.Verdicts, v)
		number := out.Copy(binary.LittleEndian.AppendUint64(nil, t.n))
		for at := range v.Outputs {
			m := bridge.Message{Record: rs[i], Index: at}
			m.Payload = number
			out.Messages = append(out.Messages, m)
		}
		if v.Kind == bridge.Parked {
			out.Parked = append(out.Parked, bridge.Parking{Message: bridge.Message{Record: rs[i]}, Module: moduleName, Reason: "its fate"})
		}
	}
	c.counts[stream] = t
	out.States = append(out.States, bridge.State{Module: moduleName, SHA256: "00", Bytes: out.Copy(t.bytes())})
	return nil
}

// Flush implements bridge.Chain: it says how many records there were since it did so last.
func (c *guests) Flush(_ context.Context, stream string, f bridge.Flush, out *bridge.Results) error {
	t, err := c.of(stream)
	if err != nil || t.n == t.said {
		return err
	}
	m := bridge.Message{Record: bridge.Record{Time: f.Key.Time, Revision: f.Key.Revision}}
	m.Payload = out.Copy(binary.LittleEndian.AppendUint64(nil, t.n-t.said))
	t.said = t.n
	c.counts[stream] = t
	out.Messages = append(out.Messages, m)
	out.Verdicts = append(out.Verdicts, bridge.Verdict{Kind: bridge.Passed, Outputs: 1})
	out.States = append(out.States, bridge.State{Module: moduleName, SHA256: "00", Bytes: out.Copy(t.bytes())})
	return nil
}

// Discard implements bridge.Chain.
func (c *guests) Discard(stream string) { delete(c.counts, stream) }

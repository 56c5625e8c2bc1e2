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
	counts map[string]uint64
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
	n, there := c.counts[stream]
	if !there {
		s, _, err := c.g.ledger.State(pipeline, stream, moduleName)
		if err != nil {
			return err
		}
		if len(s.Bytes) > 0 {
			n = binary.LittleEndian.Uint64(s.Bytes)
		}
	}
	for i := range rs {
		if n++; c.g.w.modules && c.g.w.faults > 0 && c.g.w.chance(30) {
			c.g.w.faults--
			c.g.w.fire("module asks again later")
			c.counts[stream] = n // its memory is ahead now
			return fmt.Errorf("record %d: %w", rs[i].Time, bridge.ErrRetry)
		}
		v := fate(rs[i].Time)
		c.g.applied[recordName{stream, rs[i].Time}] = versionOf(rs[i].Labels)
		out.Verdicts = append(out.Verdicts, v)
		number := out.Copy(binary.LittleEndian.AppendUint64(nil, n))
		for at := range v.Outputs {
			m := bridge.Message{Record: rs[i], Index: at}
			m.Payload = number
			out.Messages = append(out.Messages, m)
		}
		if v.Kind == bridge.Parked {
			out.Parked = append(out.Parked, bridge.Parking{Message: bridge.Message{Record: rs[i]}, Module: moduleName, Reason: "its fate"})
		}
	}
	c.counts[stream] = n
	out.States = append(out.States, bridge.State{Module: moduleName, SHA256: "00", Bytes: out.Copy(binary.LittleEndian.AppendUint64(nil, n))})
	return nil
}

// Flush implements bridge.Chain: nothing is held back.
func (c *guests) Flush(context.Context, string, bridge.Flush, *bridge.Results) error { return nil }

// Discard implements bridge.Chain.
func (c *guests) Discard(stream string) { delete(c.counts, stream) }

package ledger

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// A block of seen keys, by time, revisions of one time in the order they were taken in, with their verdicts. Numbers as in a batch row.
//
//	+------+-------+---------+------------------+-------------+---------------------------+------------------------------------+
//	| 0x01 | count | ± first | steps            | revisions n | n × index step, revision  | runs of verdicts                   |
//	+------+-------+---------+------------------+-------------+---------------------------+------------------------------------+
//	step:    difference to the time before × 2; + 1 where a number of further steps of the same size follows
//	verdict: number of keys, kind (1 byte, + 128 where they were late), outputs, module (1 byte), reason
//
// Times are whole microseconds, so a sensor that keeps its rate costs no byte a key, one that jitters about three. The
// CRC32C stands beside it in the row, over the data, then row id, last, min, max (two's complement) and count, 8 bytes each.
const blockVersion = 1

// lateBit is set in the kind of a verdict on late records.
const lateBit = 1 << 7

// compareTimes orders keys. Those of one time are revisions of one record, and stand in the order they were taken in: the last is what the
// far ends have.
func compareTimes(a, b bridge.Key) int { return cmp.Compare(a.Time, b.Time) }

// appendBlock encodes keys, whose times must ascend.
func appendBlock(dst []byte, ks []bridge.Key, vs []bridge.Verdict) []byte {
	dst = append(dst, blockVersion)
	dst = binary.AppendUvarint(dst, uint64(len(ks)))
	if len(ks) == 0 {
		return dst
	}
	dst = binary.AppendVarint(dst, ks[0].Time)
	for i := 1; i < len(ks); {
		step := uint64(ks[i].Time - ks[i-1].Time)
		j := i + 1
		for j < len(ks) && uint64(ks[j].Time-ks[j-1].Time) == step {
			j++
		}
		if j-i == 1 {
			dst = binary.AppendUvarint(dst, step<<1)
		} else {
			dst = binary.AppendUvarint(dst, step<<1|1)
			dst = binary.AppendUvarint(dst, uint64(j-i-1))
		}
		i = j
	}
	dst = appendRevisions(dst, ks)
	for i := 0; i < len(vs); {
		j := i + 1
		for j < len(vs) && vs[j] == vs[i] {
			j++
		}
		dst = binary.AppendUvarint(dst, uint64(j-i))
		dst = append(dst, byte(vs[i].Kind)|bit(vs[i].Late, lateBit))
		dst = binary.AppendUvarint(dst, uint64(vs[i].Outputs))
		dst = append(dst, vs[i].Module)
		dst = binary.AppendUvarint(dst, uint64(vs[i].Reason))
		i = j
	}
	return dst
}

func appendRevisions(dst []byte, ks []bridge.Key) []byte {
	n := 0
	for i := range ks {
		if ks[i].Revision != 0 {
			n++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	last := 0
	for i := range ks {
		if ks[i].Revision != 0 {
			dst = binary.AppendUvarint(dst, uint64(i-last))
			dst = binary.LittleEndian.AppendUint64(dst, ks[i].Revision)
			last = i
		}
	}
	return dst
}

// readKeys appends the keys of a block to dst.
func readKeys(dst []bridge.Key, data []byte) ([]bridge.Key, *reader, error) {
	r := &reader{b: data}
	if v := r.byte(); r.err == nil && v != blockVersion {
		return dst, nil, fmt.Errorf("block format %d, want %d: %w", v, blockVersion, bridge.ErrCorrupt)
	}
	n := r.uvarint()
	if n > maxCount {
		return dst, nil, fmt.Errorf("%d keys in a block: %w", n, bridge.ErrCorrupt)
	}
	if n == 0 || r.err != nil {
		return dst, r, r.err
	}
	at := len(dst)
	dst = slices.Grow(dst, int(n))
	dst = append(dst, bridge.Key{Time: r.varint()})
	checkTime(r, dst[at].Time)
	for left := n - 1; left > 0 && r.err == nil; {
		step := r.uvarint()
		runs := uint64(1)
		if step&1 != 0 {
			runs += r.uvarint()
		}
		if runs > left || runs == 0 {
			r.fail("more steps than keys")
			break
		}
		left -= runs
		for t := dst[len(dst)-1].Time; runs > 0; runs-- {
			t += int64(step >> 1)
			checkTime(r, t) // what overflows is beyond it too
			dst = append(dst, bridge.Key{Time: t})
		}
	}
	i := uint64(0)
	for range r.count(9) {
		i += r.uvarint()
		if i >= n {
			r.fail("revision beyond the keys")
			break
		}
		dst[at+int(i)].Revision = r.uint64()
	}
	return dst, r, r.err
}

func checkTime(r *reader, t int64) {
	if t >= maxTime || t < -maxTime {
		r.fail("time beyond the range of a key")
	}
}

// readBlock returns the keys of a block and their verdicts.
func readBlock(data []byte) ([]bridge.Key, []bridge.Verdict, error) {
	ks, r, err := readKeys(nil, data)
	if err != nil {
		return nil, nil, err
	}
	vs := make([]bridge.Verdict, 0, len(ks))
	for len(vs) < len(ks) && r.err == nil {
		n := r.uvarint()
		v := readVerdict(r)
		if n == 0 || n > uint64(len(ks)-len(vs)) {
			r.fail("more verdicts than keys")
			break
		}
		for range n {
			vs = append(vs, v)
		}
	}
	return ks, vs, r.end()
}

func readVerdict(r *reader) bridge.Verdict {
	kind := r.byte()
	v := bridge.Verdict{Kind: bridge.Kind(kind &^ lateBit), Late: kind&lateBit != 0}
	outputs := r.uvarint()
	v.Module = r.byte()
	reason := r.uvarint()
	switch {
	case v.Kind == bridge.Undecided || v.Kind > bridge.Parked:
		r.fail(fmt.Sprintf("verdict of kind %d", v.Kind))
	case outputs > math.MaxUint16 || reason > math.MaxUint16:
		r.fail(fmt.Sprintf("verdict with %d outputs and reason %d", outputs, reason))
	}
	v.Outputs, v.Reason = uint16(outputs), uint16(reason)
	return v
}

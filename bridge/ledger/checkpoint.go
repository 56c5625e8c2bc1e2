package ledger

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/sluicebridge/sluice/bridge"
)

// A checkpoint is all that a remote's journal has led to; it replaces the journal up to its number. Numbers as in a batch row.
//
//	+------+-----+---------+----------------------------------------------------------------+----------+----------------+
//	| 0x01 | far | conns n | n × id, bits, low, claims m, m × (bits, [row, index] if open)  | marked n | n × row, index |
//	+------+-----+---------+----------------------------------------------------------------+----------+----------------+
//	             | through n | n × first, count | partly n | n × row, words m, m × 8 bytes |
//	             +-----------+------------------+----------+-------------------------------+
//	             | passed, as in passed.go: only where the first byte is 0x02 |
//	             +------------------------------------------------------------+
//	bits of a connection: 1 trying; of a claim: 1 open, 2 received, 4 marked, 8 late
//	through: runs of live rows that the remote is through with, other remotes not; partly: bitmaps of what is settled of the others
//
// The CRC32C stands beside it in the row, over the data, then remote and number, 8 bytes each.
const (
	checkpointVersion = 1
	checkpointPassed  = 2 // with passed
)

// putCheckpoint writes what is applied, and drops the journal that led to it. The committer calls it.
func (o *Outbox) putCheckpoint(t *tx) error {
	o.log.mu.Lock()
	data, number := o.appendCheckpoint(nil), o.number
	// Set before the commit: should that fail, the journal is a little longer until the next.
	o.base, o.journal = number, 0
	o.log.mu.Unlock()
	if err := t.exec(sqlOutbox, int64(o.id), int64(number), int64(seal(data, uint64(o.id), number)), data); err != nil {
		return err
	}
	return t.exec(sqlDropSteps, int64(o.id), int64(number))
}

func (o *Outbox) appendCheckpoint(dst []byte) []byte {
	passed, version := o.stillPassed(), byte(checkpointVersion)
	if len(passed) > 0 {
		version = checkpointPassed
	}
	dst = append(dst, version)
	dst = appendString(dst, o.far)
	dst = binary.AppendUvarint(dst, uint64(len(o.conns)))
	for _, id := range sortedKeys(o.conns) {
		dst = binary.AppendUvarint(dst, uint64(id))
		dst = o.conns[id].append(dst)
	}
	dst = binary.AppendUvarint(dst, uint64(len(o.marked)))
	for _, ref := range o.sortedMarked() {
		dst = binary.AppendUvarint(dst, ref.Row)
		dst = binary.AppendUvarint(dst, uint64(ref.Index))
	}
	dst = o.appendShares(dst)
	if len(passed) > 0 {
		dst = appendPassed(dst, passed)
	}
	return dst
}

func (c *conn) append(dst []byte) []byte {
	dst = append(dst, bit(c.trying, 1))
	dst = binary.AppendUvarint(dst, c.low)
	dst = binary.AppendUvarint(dst, uint64(len(c.claims)))
	for _, k := range c.claims {
		dst = append(dst, bit(k.open, 1)|bit(k.received, 2)|bit(k.marked, 4)|bit(k.late, 8))
		if k.open {
			dst = binary.AppendUvarint(dst, k.ref.Row)
			dst = binary.AppendUvarint(dst, uint64(k.ref.Index))
		}
	}
	return dst
}

func bit(on bool, b byte) byte {
	if on {
		return b
	}
	return 0
}

func (o *Outbox) appendShares(dst []byte) []byte {
	var through []span
	var partly []uint64
	for _, r := range o.log.rows.rows {
		if r.stream == nil || !r.goesTo(o.id) {
			continue
		}
		sh := o.shares[r.number]
		switch {
		case sh != nil && sh.settled != nil:
			partly = append(partly, r.number)
		case sh != nil:
		case len(through) > 0 && through[len(through)-1].last+1 == r.number:
			through[len(through)-1].last++
		default:
			through = append(through, span{r.number, r.number})
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(through)))
	for _, s := range through {
		dst = binary.AppendUvarint(dst, s.first)
		dst = binary.AppendUvarint(dst, s.last-s.first+1)
	}
	dst = binary.AppendUvarint(dst, uint64(len(partly)))
	for _, n := range partly {
		words := o.shares[n].settled
		dst = binary.AppendUvarint(dst, n)
		dst = binary.AppendUvarint(dst, uint64(len(words)))
		for _, w := range words {
			dst = binary.LittleEndian.AppendUint64(dst, w)
		}
	}
	return dst
}

// readCheckpoint sets a new outbox to what a checkpoint says; the live rows must be known.
func (o *Outbox) readCheckpoint(number uint64, data []byte) error {
	r := &reader{b: data}
	version := r.byte()
	if r.err == nil && version != checkpointVersion && version != checkpointPassed {
		return fmt.Errorf("checkpoint format %d of %s, want %d or %d: %w", version, o.name, checkpointVersion, checkpointPassed, bridge.ErrCorrupt)
	}
	o.number, o.base = number, number
	o.far = string(r.bytes())
	for range r.count(4) {
		id := uint16(r.uvarint())
		o.conns[id] = o.readConn(r)
	}
	for range r.count(2) {
		o.marked[bridge.Ref{Row: r.uvarint(), Index: uint32(r.uvarint())}] = true
	}
	o.readShares(r)
	if version == checkpointPassed {
		o.overtake(readPassed(r))
	}
	if err := r.end(); err != nil {
		return fmt.Errorf("checkpoint %d of %s: %w", number, o.name, err)
	}
	return nil
}

func (o *Outbox) readConn(r *reader) *conn {
	c := &conn{trying: r.byte()&1 != 0, low: r.uvarint()}
	for range r.count(1) {
		b := r.byte()
		k := claim{open: b&1 != 0, received: b&2 != 0, marked: b&4 != 0, late: b&8 != 0}
		if k.open {
			k.ref = bridge.Ref{Row: r.uvarint(), Index: uint32(r.uvarint())}
			if !o.hasPlace(k.ref) {
				r.fail("claim of a message beyond its row")
				return c
			}
			o.setClaimed(k.ref, true)
		}
		c.claims = append(c.claims, k)
	}
	c.next = c.low + uint64(len(c.claims))
	return c
}

// hasPlace reports whether a message is one of its row's, or the row is gone.
func (o *Outbox) hasPlace(ref bridge.Ref) bool {
	if sh := o.shares[ref.Row]; sh != nil {
		return int(ref.Index) < sh.row.count
	}
	row := o.log.rows.get(ref.Row)
	return row == nil || int(ref.Index) < row.count
}

func (o *Outbox) readShares(r *reader) {
	for range r.count(2) {
		first, n := r.uvarint(), r.uvarint()
		for at := o.log.rows.from(first); at < len(o.log.rows.rows) && o.log.rows.rows[at].number-first < n; at++ {
			if row := o.log.rows.rows[at]; o.shares[row.number] != nil {
				delete(o.shares, row.number)
				o.log.through(row)
			}
		}
	}
	for range r.count(2) {
		row := o.log.rows.get(r.uvarint())
		words := bridge.Bitmap(nil)
		for range r.count(8) {
			words = append(words, r.uint64())
		}
		if row == nil || o.shares[row.number] == nil {
			continue // settled and deleted since
		}
		if len(words) != len(bridge.NewBitmap(row.count)) {
			r.fail("bitmap of another size")
			return
		}
		sh := o.shares[row.number]
		sh.settled, sh.left = words, row.count-countBits(words)
	}
}

func countBits(b bridge.Bitmap) (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

func (r *row) goesTo(remote uint32) bool {
	for _, id := range r.remotes {
		if id == remote {
			return true
		}
	}
	return false
}

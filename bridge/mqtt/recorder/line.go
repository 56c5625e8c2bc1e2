package recorder

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"time"
)

// The file is lines of fields between tabs; the last field is the CRC32C of all before it and its tab, 8 hexadecimal digits.
//
//	sluice-record 1 | broker | client id | topic filter | QoS                            the first line
//	M | received, UTC | identity | mark | late | topic | QoS:packet identifier:sum       a message
//	R | packet identifier packet identifier …                                            PUBREL came: these deliveries are complete
//	N | when, UTC                                                                        the broker had no session: nothing is open any more
//	S | QoS:packet identifier:sum …                                                      what is open at this line
//
//	identity, mark   user properties sluice-id and possible-duplicate; - where there is none
//	late             late where user property sluice-late is there, else -
//	sum              CRC32C of topic, identity and payload: tells a delivery that is repeated from another one with the same packet identifier
//
// A backslash escapes control characters, itself, and a field that is only a dash. An S line begins what one fsync covers, so all before a
// whole one is durable: a reader of the state begins at the last. Open are the QoS 2 deliveries without PUBREL, in the order of their
// identifiers, and then the last receiveMaximum of QoS 1: their PUBACK may not have arrived.
const (
	magic       = "sluice-record 1"
	lineMessage = "M"
	lineRelease = "R"
	lineNew     = "N"
	lineState   = "S"

	maxLine  = 2 << 20   // bytes: all packet identifiers open, or an identity and a topic of 64 KiB with every byte of them escaped
	maxBatch = 5 << 20   // bytes that one fsync covers: what is torn at the end of a file is never more
	fullAt   = 512 << 10 // bytes at which a batch is written
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal ends the line that began at from.
func seal(dst []byte, from int) []byte {
	return append(fmt.Appendf(append(dst, '\t'), "%08x", crc32.Checksum(dst[from:], castagnoli)), '\n')
}

// unseal returns the fields of a line without its end, as views of it. ok is false where it is not what was written.
func unseal(line []byte) (fields [][]byte, ok bool) {
	at := bytes.LastIndexByte(line, '\t')
	if at < 0 {
		return nil, false
	}
	want, err := strconv.ParseUint(string(line[at+1:]), 16, 32)
	if err != nil || len(line)-at != 9 || uint32(want) != crc32.Checksum(line[:at], castagnoli) {
		return nil, false
	}
	return bytes.Split(line[:at], []byte{'\t'}), true
}

// appendField appends a tab and text that may be anything.
func appendField[T string | []byte](dst []byte, text T) []byte {
	dst = append(dst, '\t')
	switch {
	case len(text) == 0:
		return append(dst, '-')
	case string(text) == "-":
		return append(dst, `\-`...)
	}
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\\':
			dst = append(dst, `\\`...)
		case c < 0x20 || c == 0x7f:
			dst = fmt.Appendf(dst, `\x%02x`, c)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// field is the reverse of appendField.
func field(b []byte) (string, error) {
	if string(b) == "-" {
		return "", nil
	}
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b), nil
	}
	var out []byte
	for i := 0; i < len(b); i++ {
		switch rest := b[i:]; {
		case b[i] != '\\':
			out = append(out, b[i])
		case len(rest) > 3 && rest[1] == 'x':
			c, err := strconv.ParseUint(string(rest[2:4]), 16, 8)
			if err != nil {
				return "", fmt.Errorf("escape %q", rest[:4])
			}
			out, i = append(out, byte(c)), i+3
		case len(rest) > 1 && (rest[1] == '\\' || rest[1] == '-'):
			out, i = append(out, rest[1]), i+1
		default:
			return "", fmt.Errorf("escape at the end of %q", b)
		}
	}
	return string(out), nil
}

// Delivery is one message as it came.
type Delivery struct {
	Received time.Time
	ID       string // sluice-id; empty = it had none
	Mark     string // why it may be a duplicate; empty = it was not marked
	Late     bool   // came out of order, and said so
	Topic    string

	qos byte
	pid uint16
	sum uint32
}

func appendMessage(dst []byte, d *Delivery) []byte {
	from, late := len(dst), ""
	if d.Late {
		late = "late"
	}
	dst = append(append(dst, lineMessage...), '\t')
	dst = d.Received.UTC().AppendFormat(dst, timeFormat)
	dst = appendField(dst, d.ID)
	dst = appendField(dst, d.Mark)
	dst = appendField(dst, late)
	dst = appendField(dst, d.Topic)
	dst = fmt.Appendf(dst, "\t%d:%d:%08x", d.qos, d.pid, d.sum)
	return seal(dst, from)
}

const timeFormat = "2006-01-02T15:04:05.000000Z"

func readMessage(fields [][]byte) (d Delivery, err error) {
	if len(fields) != 7 {
		return d, fmt.Errorf("message of %d fields, want 7", len(fields))
	}
	if d.Received, err = time.Parse(timeFormat, string(fields[1])); err != nil {
		return d, err
	}
	for i, into := range []*string{&d.ID, &d.Mark, nil, &d.Topic} {
		if into == nil {
			d.Late = string(fields[2+i]) == "late"
		} else if *into, err = field(fields[2+i]); err != nil {
			return d, err
		}
	}
	d.qos, d.pid, d.sum, err = readOpen(fields[6])
	return d, err
}

func readOpen(b []byte) (qos byte, pid uint16, sum uint32, err error) {
	parts := bytes.Split(b, []byte{':'})
	if len(parts) != 3 {
		return 0, 0, 0, fmt.Errorf("delivery %q, want QoS:packet identifier:sum", b)
	}
	q, errQ := strconv.ParseUint(string(parts[0]), 10, 2)
	p, errP := strconv.ParseUint(string(parts[1]), 10, 16)
	s, errS := strconv.ParseUint(string(parts[2]), 16, 32)
	if errQ != nil || errP != nil || errS != nil || q > 2 {
		return 0, 0, 0, fmt.Errorf("delivery %q, want QoS:packet identifier:sum", b)
	}
	return byte(q), uint16(p), uint32(s), nil
}

func appendReleases(dst []byte, pids []uint16) []byte {
	from := len(dst)
	dst = append(dst, lineRelease...)
	for i, pid := range pids {
		dst = append(dst, "\t "[min(i, 1)])
		dst = strconv.AppendUint(dst, uint64(pid), 10)
	}
	return seal(dst, from)
}

func appendNew(dst []byte, when time.Time) []byte {
	from := len(dst)
	return seal(when.UTC().AppendFormat(append(dst, lineNew+"\t"...), timeFormat), from)
}

// open is what was delivered and is not complete: the receive state of a session.
type open struct {
	two   map[uint16]uint32   // QoS 2: sum by packet identifier
	one   map[uint16]repeated // QoS 1, the last receiveMaximum
	queue []uint16            // of one, oldest first
}

// repeated is the last delivery of an identifier at QoS 1, and how often the identifier is in the queue.
type repeated struct {
	sum   uint32
	times int
}

func newOpen() open { return open{two: make(map[uint16]uint32), one: make(map[uint16]repeated)} }

// repeats reports whether a delivery is one that is written down already. At QoS 1 only DUP tells a repetition from a message that was
// published twice.
func (o *open) repeats(d *Delivery, dup bool) bool {
	if d.qos == 2 {
		sum, ok := o.two[d.pid]
		return ok && sum == d.sum
	}
	last, ok := o.one[d.pid]
	return d.qos == 1 && dup && ok && last.sum == d.sum
}

// add notes a delivery that is written down.
func (o *open) add(qos byte, pid uint16, sum uint32) {
	switch qos {
	case 2:
		o.two[pid] = sum
	case 1:
		o.one[pid] = repeated{sum, o.one[pid].times + 1}
		if o.queue = append(o.queue, pid); len(o.queue) > receiveMaximum {
			o.dropOldest()
		}
	}
}

func (o *open) dropOldest() {
	pid := o.queue[0]
	o.queue = o.queue[1:]
	last := o.one[pid]
	if last.times--; last.times == 0 {
		delete(o.one, pid)
		return
	}
	o.one[pid] = last
}

func (o *open) appendState(dst []byte) []byte {
	from := len(dst)
	dst = append(dst, lineState...)
	sep := byte('\t')
	add := func(qos byte, pid uint16, sum uint32) {
		dst = fmt.Appendf(append(dst, sep), "%d:%d:%08x", qos, pid, sum)
		sep = ' '
	}
	for _, pid := range slices.Sorted(maps.Keys(o.two)) {
		add(2, pid, o.two[pid])
	}
	for _, pid := range o.queue {
		add(1, pid, o.one[pid].sum)
	}
	return seal(dst, from)
}

// replay applies a line to what is open.
func (o *open) replay(fields [][]byte) error {
	switch kind := string(fields[0]); {
	case kind == lineMessage:
		d, err := readMessage(fields)
		if err != nil {
			return err
		}
		o.add(d.qos, d.pid, d.sum)
		return nil
	case kind == lineNew:
		*o = newOpen()
		return nil
	case kind == lineState:
		*o = newOpen()
		for _, f := range words(fields) {
			qos, pid, sum, err := readOpen(f)
			if err != nil {
				return err
			}
			o.add(qos, pid, sum)
		}
		return nil
	case kind == lineRelease:
		for _, f := range words(fields) {
			pid, err := strconv.ParseUint(string(f), 10, 16)
			if err != nil {
				return fmt.Errorf("released packet identifier %q", f)
			}
			delete(o.two, uint16(pid))
		}
		return nil
	case kind == magic:
		return nil
	default:
		return fmt.Errorf("line of kind %q", kind)
	}
}

// words are the parts of a line that has one field after its kind.
func words(fields [][]byte) [][]byte {
	if len(fields) < 2 {
		return nil
	}
	return bytes.Fields(fields[1])
}

package reduct

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// A record that was written and updated between two of the sender's rounds is in its batch once for the write and once for the update
// that we answered 404: one header, two payloads side by side, and a Content-Length of both. (ReductStore 1.21.5 as the target refuses
// that with 422 and the sender forgets the batch.)

const (
	maxCuts    = 1 << 16 // states that are looked at
	maxRereads = 64      // times that the body is compared with itself
)

// cut is a place where a copy of a record's payload may end.
type cut struct {
	extra  int64 // bytes before it that the head does not announce
	copied bool  // the bytes after it are the same payload once more
	whole  bool  // from here there is a way to the end of the body
}

// doubled is a body that is longer than its head announces.
type doubled struct {
	body  []byte
	items []item
	extra int64   // bytes more than announced
	cuts  [][]cut // by item, ascending in extra
	made  int     // cuts
	read  int64   // bytes compared
}

// layDoubled cuts a body in which some payloads stand twice or more into the payloads of rs. Payloads that begin or end like their
// neighbours may be cut in several ways: where those ways differ in any payload, nothing is guessed.
func layDoubled(body []byte, h *head, rs []bridge.Record) error {
	d := doubled{body: body, items: h.items, extra: int64(len(body)) - h.total, cuts: make([][]cut, len(h.items))}
	if err := d.forward(); err != nil {
		return err
	}
	d.backward()
	end := int64(0)
	for i := range d.items {
		end += d.items[i].size
		found := false
		for _, c := range d.cuts[i] {
			if !c.whole {
				continue
			}
			p := d.payload(i, end+c.extra)
			if found && !bytes.Equal(rs[i].Payload, p) {
				return fmt.Errorf("%w: %d bytes more than announced, and which payloads stand twice cannot be told", errBody, d.extra)
			}
			rs[i].Payload, found = p, true
		}
		if !found {
			return fmt.Errorf("%w: %d bytes more than announced", errBody, d.extra)
		}
	}
	return nil
}

// payload is what ends at end.
func (d *doubled) payload(i int, end int64) []byte {
	from := end - d.items[i].size
	return d.body[from:end:end]
}

// forward finds every place where a copy of each payload may end.
func (d *doubled) forward() error {
	starts, end := []cut{{}}, int64(0)
	for i := range d.items {
		size := d.items[i].size
		end += size
		cuts := make([]cut, 0, len(starts)+1)
		for _, c := range starts {
			cuts = append(cuts, cut{extra: c.extra})
		}
		for k := 0; k < len(cuts); k++ {
			c := &cuts[k]
			next := c.extra + size
			if size == 0 || next > d.extra {
				continue
			}
			d.read += size
			if c.copied = bytes.Equal(d.payload(i, end+c.extra), d.payload(i, end+next)); !c.copied {
				continue
			}
			if at, found := find(cuts, next); !found {
				cuts = slices.Insert(cuts, at, cut{extra: next})
			}
		}
		d.cuts[i], starts = cuts, cuts
		if d.made += len(cuts); d.made > maxCuts || d.read > maxRereads*int64(len(d.body)) {
			return fmt.Errorf("%w: %d bytes more than announced, in payloads that are too much alike", errBody, d.extra)
		}
	}
	return nil
}

// backward marks the places from which the end of the body can be reached.
func (d *doubled) backward() {
	for i := len(d.items) - 1; i >= 0; i-- {
		cuts := d.cuts[i]
		for k := len(cuts) - 1; k >= 0; k-- {
			c := &cuts[k]
			if i == len(d.items)-1 {
				c.whole = c.extra == d.extra
			} else if at, found := find(d.cuts[i+1], c.extra); found {
				c.whole = d.cuts[i+1][at].whole
			}
			if !c.whole && c.copied {
				at, _ := find(cuts, c.extra+d.items[i].size)
				c.whole = cuts[at].whole
			}
		}
	}
}

func find(cuts []cut, extra int64) (int, bool) {
	return slices.BinarySearchFunc(cuts, extra, func(c cut, extra int64) int { return cmp.Compare(c.extra, extra) })
}

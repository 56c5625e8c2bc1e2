package reduct

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/sluicebridge/sluice/bridge"
)

// errBody: what came does not fit what the head announced. It will not fit the next time either.
var errBody = errors.New("malformed batch body")

// maxWindow bounds the memory of one zstd decoder; the sender's level 3 uses 2 MiB.
const maxWindow = 8 << 20

// maxRepeats is how often one payload may be repeated: a batch of the sender has 85 entries of its log.
const maxRepeats = 84

// decoders keeps decompressors for reuse: a zstd decoder costs more to make than a batch to decode.
type decoders struct {
	zstd, gzip sync.Pool
}

// open returns a reader of the decompressed body. done puts the decoder back and must be called once.
func (d *decoders) open(encoding string, body io.Reader) (r io.Reader, done func(), err error) {
	switch encoding {
	case "", "identity":
		return body, func() {}, nil
	case "zstd":
		return d.openZstd(body)
	case "gzip":
		return d.openGzip(body)
	}
	return nil, nil, fmt.Errorf("%w: content-encoding %.20q, want zstd or gzip", errBody, encoding)
}

func (d *decoders) openZstd(body io.Reader) (io.Reader, func(), error) {
	dec, ok := d.zstd.Get().(*zstd.Decoder)
	if !ok {
		var err error
		// One goroutine's worth of work, no window larger than stated: a frame may ask for gigabytes.
		dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("make a zstd decoder: %w", err)
		}
	}
	if err := dec.Reset(body); err != nil {
		return nil, nil, fmt.Errorf("zstd: %w", err)
	}
	return dec, func() {
		_ = dec.Reset(nil) // lets go of the connection
		d.zstd.Put(dec)
	}, nil
}

func (d *decoders) openGzip(body io.Reader) (io.Reader, func(), error) {
	dec, ok := d.gzip.Get().(*gzip.Reader)
	if !ok {
		dec = new(gzip.Reader)
	}
	if err := dec.Reset(body); err != nil {
		return nil, nil, fmt.Errorf("gzip: %w", err)
	}
	return dec, func() { d.gzip.Put(dec) }, nil
}

// payload reads the body of one batch into a lease.
type payload struct {
	ctx       context.Context // ends the wait for memory
	lease     *lease
	maxRecord int64
	maxBody   int64
	probe     [1]byte
}

// read sets the payloads of rs, one for each of h.items, in their order. Records over maxRecord are skipped: their payload is nil, and
// oversized tells how many there are. errNoMemory may pass; after any other error this body will not be read again.
//
// Where the body is longer than announced, the sender may have put a record in twice (see layDoubled).
func (p *payload) read(r io.Reader, h *head, rs []bridge.Record) (oversized int, err error) {
	kept := int64(0)
	for i := range h.items {
		if h.items[i].size > p.maxRecord {
			oversized++
			continue
		}
		kept += h.items[i].size
		if kept > p.maxBody {
			return 0, fmt.Errorf("%w: payloads over max_body (%v)", errBody, bridge.Size(p.maxBody))
		}
	}
	for i := range h.items {
		size := h.items[i].size
		if size > p.maxRecord {
			_, err = io.CopyN(io.Discard, r, size)
		} else {
			err = p.fill(r, size, kept)
		}
		if err != nil {
			return 0, fmt.Errorf("read record %d: %w", h.items[i].time, err)
		}
	}
	longer, err := p.excess(r, min(kept*maxRepeats, p.maxBody-kept))
	switch {
	case err != nil:
		return 0, err
	case !longer:
		lay(p.lease.buf, h, rs, p.maxRecord)
		return oversized, nil
	case oversized > 0:
		return 0, fmt.Errorf("%w: longer than announced", errBody)
	}
	return 0, layDoubled(p.lease.buf, h, rs)
}

// pick reads the payloads of the items that keep is true for and skips the others. It returns their records, whose bytes are in the lease
// and in h.
func (p *payload) pick(r io.Reader, h *head, keep func(*item) bool) ([]bridge.Record, error) {
	var rs []bridge.Record
	var sizes []int64
	total := int64(0)
	for i := range h.items {
		it := &h.items[i]
		if !keep(it) {
			if _, err := io.CopyN(io.Discard, r, it.size); err != nil {
				return nil, fmt.Errorf("skip record %d: %w", it.time, err)
			}
			continue
		}
		if total += it.size; total > p.maxBody {
			return nil, fmt.Errorf("%w: payloads over max_body (%v)", errBody, bridge.Size(p.maxBody))
		}
		if err := p.fill(r, it.size, total); err != nil {
			return nil, fmt.Errorf("read record %d: %w", it.time, err)
		}
		rs = append(rs, bridge.Record{Time: it.time, ContentType: it.contentType, Labels: h.labels[it.from:it.to:it.to]})
		sizes = append(sizes, it.size)
	}
	body := p.lease.buf
	for i, n := range sizes {
		rs[i].Payload, body = body[:n:n], body[n:]
	}
	return rs, nil
}

// fill appends n bytes of r to the lease, of a body that will have want in all.
func (p *payload) fill(r io.Reader, n, want int64) error {
	for n > 0 {
		if len(p.lease.buf) == cap(p.lease.buf) {
			if err := p.lease.grow(p.ctx, int(want)); err != nil {
				return err
			}
		}
		b := p.lease.buf
		room := b[len(b):cap(b)]
		m, err := r.Read(room[:min(int64(len(room)), n)])
		p.lease.buf = b[:len(b)+m]
		n -= int64(m)
		if n > 0 && err != nil {
			return err
		}
	}
	return nil
}

// excess reads on to the end of r, at most limit bytes, and reports whether there were any.
func (p *payload) excess(r io.Reader, limit int64) (bool, error) {
	// A byte apart, so that a full buffer need not grow to find the end.
	if _, err := io.ReadFull(r, p.probe[:]); err == io.EOF {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("read to the end: %w", err)
	}
	want := int64(len(p.lease.buf)) + limit
	if limit == 0 {
		return false, fmt.Errorf("%w: longer than announced", errBody)
	}
	if err := p.fill(bytes.NewReader(p.probe[:]), 1, want); err != nil {
		return false, err
	}
	switch err := p.fill(r, limit, want); err {
	case nil:
		return false, fmt.Errorf("%w: longer than announced", errBody)
	case io.EOF:
		return true, nil
	default:
		return false, fmt.Errorf("read to the end: %w", err)
	}
}

// lay cuts body into the payloads of the records that were kept.
func lay(body []byte, h *head, rs []bridge.Record, maxRecord int64) {
	for i := range h.items {
		if n := h.items[i].size; n <= maxRecord {
			rs[i].Payload, body = body[:n:n], body[n:]
		}
	}
}

package site

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/sluicebridge/sluice/bridge"
)

// Identity is what a ReductStore says of itself in every replication request.
type Identity struct {
	NodeID, StoreID, LicenseHash string
}

// wire knows what is the same in all requests to one target. The bytes are those of ReductStore 1.21.5, captured from its socket: names in lower
// case, content headers first, then the records, youngest first, then the client's own headers, host last.
//
//	POST /api/v1/b/<bucket>/<entry>/batch HTTP/1.1
//	content-type: application/octet-stream
//	content-length: <sum of the payloads>
//	x-reduct-time-<µs>: <length>,<content type>,<label>=<value>,…
//	accept: */*
//	x-reduct-node-id: … x-reduct-store-id: … x-reduct-license-hash: … authorization: Bearer … host: …
//
//	<payloads, oldest first>
type wire struct {
	host   string // and port
	bucket string // escaped path of the bucket
	prefix string
	tail   string
}

func newWire(target, bucket, prefix, token string, id Identity) (wire, error) {
	u, err := url.Parse(target)
	if err != nil {
		return wire{}, fmt.Errorf("target: %w", err)
	}
	if u.Scheme != "http" || u.Host == "" {
		return wire{}, fmt.Errorf("target: %q, want http://host:port", target)
	}
	host := u.Host
	if u.Port() == "" {
		host += ":80"
	}
	var tail strings.Builder
	tail.WriteString("accept: */*\r\n")
	fmt.Fprintf(&tail, "x-reduct-node-id: %s\r\nx-reduct-store-id: %s\r\nx-reduct-license-hash: %s\r\n", id.NodeID, id.StoreID, id.LicenseHash)
	if token != "" {
		fmt.Fprintf(&tail, "authorization: Bearer %s\r\n", token)
	}
	fmt.Fprintf(&tail, "host: %s\r\n\r\n", u.Host)
	return wire{
		host:   host,
		bucket: strings.TrimSuffix(u.Path, "/") + "/api/v1/b/" + url.PathEscape(bucket),
		prefix: strings.Trim(prefix, "/"),
		tail:   tail.String(),
	}, nil
}

// path returns where an entry's batches go. Slashes in the entry's name, and in the prefix, stay slashes.
func (w wire) path(entry string) string {
	if w.prefix != "" {
		entry = w.prefix + "/" + strings.TrimLeft(entry, "/")
	}
	return w.bucket + "/" + (&url.URL{Path: entry}).EscapedPath() + "/batch"
}

// probe appends a request for the bucket itself: GET asks whether it is there, POST makes it.
func (w wire) probe(dst []byte, method string) []byte {
	dst = append(dst, method+" "+w.bucket+" HTTP/1.1\r\n"...)
	if method == "POST" {
		dst = append(dst, "content-length: 0\r\n"...)
	}
	return append(dst, w.tail...)
}

// batch appends a request for records in ascending time. A record that is there twice (written, updated, and asked for by the answer to PATCH)
// gets one header but two payloads: so does the real one.
func (w wire) batch(dst []byte, method, entry, compression string, records []bridge.Record) ([]byte, error) {
	length := 0
	if method == "POST" {
		for _, r := range records {
			length += len(r.Payload)
		}
	}
	dst = append(dst, method+" "+w.path(entry)+" HTTP/1.1\r\ncontent-type: application/octet-stream\r\n"...)
	compressed := method == "POST" && compression != ""
	if compressed {
		dst = append(dst, "content-encoding: "+compression+"\r\ntransfer-encoding: chunked\r\n"...)
	} else {
		dst = append(dst, "content-length: "...)
		dst = append(strconv.AppendInt(dst, int64(length), 10), "\r\n"...)
	}
	for i := len(records) - 1; i >= 0; i-- {
		if i == len(records)-1 || records[i].Time != records[i+1].Time {
			dst = appendRecord(dst, method, records[i])
		}
	}
	dst = append(dst, w.tail...)
	if method != "POST" {
		return dst, nil
	}
	if compressed {
		return appendCompressed(dst, compression, records)
	}
	for _, r := range records {
		dst = append(dst, r.Payload...)
	}
	return dst, nil
}

func appendRecord(dst []byte, method string, r bridge.Record) []byte {
	dst = append(dst, "x-reduct-time-"...)
	dst = append(strconv.AppendInt(dst, r.Time, 10), ": "...)
	if method == "POST" {
		dst = append(strconv.AppendInt(dst, int64(len(r.Payload)), 10), ',')
		dst = append(dst, r.ContentType...)
	} else {
		dst = append(dst, "0,"...)
	}
	for _, l := range r.Labels {
		dst = append(append(append(dst, ','), l.Name...), '=')
		if bytes.IndexByte(l.Value, ',') >= 0 {
			dst = append(append(append(dst, '"'), l.Value...), '"')
		} else {
			dst = append(dst, l.Value...)
		}
	}
	return append(dst, "\r\n"...)
}

// appendCompressed appends the payloads as one compressed stream in one chunk.
func appendCompressed(dst []byte, compression string, records []bridge.Record) ([]byte, error) {
	var body bytes.Buffer
	var enc io.WriteCloser
	switch compression {
	case "gzip":
		enc = gzip.NewWriter(&body)
	case "zstd":
		z, err := zstd.NewWriter(&body, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return dst, fmt.Errorf("compress: %w", err)
		}
		enc = z
	default:
		return dst, fmt.Errorf("compression: %q, want zstd or gzip", compression)
	}
	for _, r := range records {
		if _, err := enc.Write(r.Payload); err != nil {
			return dst, fmt.Errorf("compress: %w", err)
		}
	}
	if err := enc.Close(); err != nil {
		return dst, fmt.Errorf("compress: %w", err)
	}
	dst = append(strconv.AppendInt(dst, int64(body.Len()), 16), "\r\n"...)
	return append(append(dst, body.Bytes()...), "\r\n0\r\n\r\n"...), nil
}

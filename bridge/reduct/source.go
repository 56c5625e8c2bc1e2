package reduct

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/reductstore/reduct-go/model"
)

// source reads the edge store. It takes reduct-go's types, but not its reader of batches: that one takes labels apart as text (a value
// with quotes, an empty content type and bytes that are not UTF-8 come out changed), keeps whole batches in memory, and stops for good
// where a server sends more than 100 records at once.
type source struct {
	http  *http.Client
	base  string // ends with /api/v1
	token string
}

const (
	maxAnswer       = 64 << 20 // bytes of a JSON answer; an entry in a bucket's list takes 150
	maxSourceHeader = 16 << 20 // header section of one page
)

var (
	errNotFound    = errors.New("not found")
	errUnreachable = errors.New("edge store does not answer")
)

func newSource(cfg Source) *source {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return quick(c), nil
		},
		Proxy:                  http.ProxyFromEnvironment,
		MaxIdleConnsPerHost:    settlers + 2*max(cfg.Parallel, 1),
		IdleConnTimeout:        60 * time.Second,
		MaxResponseHeaderBytes: maxSourceHeader,
		DisableCompression:     true,
	}
	return &source{
		http:  &http.Client{Transport: transport, Timeout: time.Duration(cfg.Timeout)},
		base:  strings.TrimRight(cfg.URL, "/") + "/api/v1",
		token: cfg.Token,
	}
}

func (s *source) close() { s.http.CloseIdleConnections() }

// do sends a request; the caller closes the answer's body. A status of 300 and more is an error, 404 is errNotFound.
func (s *source) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask the edge store: %w", err)
	}
	return s.send(req)
}

// once is a request that net/http does not send a second time when its connection breaks, as it does with a GET or HEAD without a body. Each page of a query is
// handed out once: the second request would get the next one, and the records of the first would be taken for compared, or for evicted.
func (s *source) once(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, io.NopCloser(strings.NewReader(""))) // of a type that cannot be read again
	if err != nil {
		return nil, fmt.Errorf("ask the edge store: %w", err)
	}
	return s.send(req)
}

func (s *source) send(req *http.Request) (*http.Response, error) {
	method, path := req.Method, strings.TrimPrefix(req.URL.RequestURI(), "/api/v1")
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	why := resp.Header.Get("x-reduct-error")
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("edge store: %s %s: %s: %w", method, path, why, errNotFound)
	}
	if resp.StatusCode == http.StatusTooEarly {
		return nil, fmt.Errorf("edge store: %s %s: %w", method, path, errWriting)
	}
	return nil, fmt.Errorf("edge store: %s %s: %d %s", method, path, resp.StatusCode, why)
}

// json asks and decodes the answer into out.
func (s *source) json(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encode request to the edge store: %w", err)
		}
	}
	resp, err := s.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("decode the edge store's answer to %s %s: %w", method, path, err)
	}
	return nil
}

func (s *source) info(ctx context.Context) (info model.ServerInfo, err error) {
	err = s.json(ctx, http.MethodGet, "/info", nil, &info)
	return info, err
}

// bucket returns a bucket's settings and entries. Attachments ("…/$meta") are not among them.
func (s *source) bucket(ctx context.Context, name string) (b model.FullBucketDetail, err error) {
	err = s.json(ctx, http.MethodGet, "/b/"+url.PathEscape(name), nil, &b)
	return b, err
}

// entries lists a bucket's entries.
func (s *source) entries(ctx context.Context, bucket string) ([]model.EntryInfo, error) {
	b, err := s.bucket(ctx, bucket)
	return b.Entries, err
}

// oldest returns the time of an entry's oldest record, math.MaxInt64 where it has none or is not in the list.
func (s *source) oldest(ctx context.Context, bucket, entry string) (int64, error) {
	entries, err := s.entries(ctx, bucket)
	if err != nil {
		return 0, err
	}
	for i := range entries {
		if entries[i].Name == entry && entries[i].RecordCount > 0 {
			return entries[i].OldestRecord, nil
		}
	}
	return math.MaxInt64, nil
}

// query asks for the records of one entry from start to before stop; stop 0 is the end of time.
type query struct {
	Type  string          `json:"query_type"`
	Start int64           `json:"start,omitempty"`
	Stop  int64           `json:"-"`
	End   uint64          `json:"stop"` // made of Stop by open
	When  json.RawMessage `json:"when,omitempty"`
	Head  bool            `json:"only_metadata,omitempty"`
	TTL   int             `json:"ttl,omitempty"` // seconds that the server keeps a query nobody reads on; 0 = its default, 60
}

const (
	shortTTL = 5   // for queries that are mostly not read to their end
	longTTL  = 600 // for those of a pass, which waits between pages for its pace and for a full ledger
)

// cursor walks the answer to a query, page by page.
type cursor struct {
	source *source
	path   string
	head   bool
	end    bool
	page   head // of the last page; valid until the next
}

// open starts a query. An entry that is not there has no records.
func (s *source) open(ctx context.Context, bucket, entry string, q query) (*cursor, error) {
	q.Type = "QUERY"
	if q.End = uint64(q.Stop); q.Stop == 0 {
		q.End = 1 << 63 // without an end the store takes its latest record for it, and refuses a query that begins behind that
	}
	path := "/b/" + url.PathEscape(bucket) + "/" + escapeEntry(entry)
	var answer struct{ ID uint64 }
	err := s.json(ctx, http.MethodPost, path+"/q", q, &answer)
	if errors.Is(err, errNotFound) {
		return &cursor{end: true}, nil
	}
	if err != nil {
		return nil, err
	}
	return &cursor{source: s, path: path + "/batch?q=" + strconv.FormatUint(answer.ID, 10), head: q.Head}, nil
}

// next reads a page's head into c.page and hands its body, the payloads in ascending time, to body, which may be nil. It returns false at
// the end. After an error the query is of no use: the server has forgotten what it was about to send.
func (c *cursor) next(ctx context.Context, body func(*head, io.Reader) error) (bool, error) {
	if c.end {
		return false, nil
	}
	method := http.MethodGet
	if c.head {
		method = http.MethodHead
	}
	resp, err := c.source.once(ctx, method, c.path)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		c.end = true
		return false, nil
	}
	c.end = resp.Header.Get("x-reduct-last") == "true"
	if err := c.page.fromHeader(resp.Header); err != nil {
		return false, fmt.Errorf("edge store: %s: %w", c.path, err)
	}
	if body != nil {
		if err := body(&c.page, resp.Body); err != nil {
			return false, err
		}
	}
	return true, nil
}

// fromHeader reads a head that net/http has taken apart. It copies what it keeps.
func (h *head) fromHeader(header http.Header) error {
	h.items, h.labels, h.total = h.items[:0], h.labels[:0], 0
	for name, values := range header {
		digits, ok := strings.CutPrefix(name, "X-Reduct-Time-")
		if !ok {
			continue
		}
		for _, v := range values {
			if err := h.add([]byte(digits), []byte(v)); err != nil {
				return err
			}
		}
	}
	return h.sort()
}

// escapeEntry escapes an entry's name for a path, its slashes kept.
func escapeEntry(entry string) string {
	parts := strings.Split(entry, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

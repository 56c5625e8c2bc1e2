package reduct

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"

	"github.com/sluicebridge/sluice/bridge"
)

// Survey reads what a ReductStore has, for whoever compares it: the edge store, as its replication task selects it and under the names that
// arrive here, or any bucket. Its methods may be called concurrently.
type Survey struct {
	source *source
	bucket string
	task   *task  // nil: all of the bucket
	prefix string // of the entries, without a task
	budget *budget
	most   int64 // bytes of a record
	pulled bool  // the task is a pull-only input's: the store knows nothing of it
}

// ErrNotSent: the replication task does not say what of a stream it sends: it does not select the entry, or its condition depends on what it
// saw before.
var ErrNotSent = errors.New("not told by the replication task")

// SurveyEdge reads the replication task of an input's source.
func SurveyEdge(ctx context.Context, c Config) (*Survey, error) {
	s := newSource(c.Source)
	t, err := s.task(ctx, c.Source.Replication)
	if err != nil {
		s.close()
		return nil, err
	}
	return &Survey{source: s, bucket: t.srcBucket, task: t, budget: newBudget(int64(c.MaxMemory)), most: int64(c.MaxRecord)}, nil
}

// SurveyPull reads what a pull-only input does.
func SurveyPull(c Pull) (*Survey, error) {
	t, err := c.task()
	if err != nil {
		return nil, err
	}
	return &Survey{source: newSource(c.source()), bucket: c.Bucket, task: t, budget: newBudget(int64(c.MaxMemory)), most: int64(c.MaxRecord), pulled: true}, nil
}

// SurveyBucket reads the entries of a bucket that begin with prefix.
func SurveyBucket(server, token, bucket, prefix string) *Survey {
	d := Default()
	c := Source{URL: server, Token: token, Timeout: d.Source.Timeout}
	return &Survey{source: newSource(c), bucket: bucket, prefix: prefix, budget: newBudget(int64(d.MaxMemory)), most: int64(d.MaxRecord)}
}

// Close gives idle connections up.
func (s *Survey) Close() { s.source.close() }

// Bucket is the first part of the names of the streams.
func (s *Survey) Bucket() string {
	if s.task == nil {
		return s.bucket
	}
	return s.task.dstBucket
}

// Extent is a stream and what there is of it. Without a task it is named by its entry, the prefix cut off.
type Extent struct {
	Stream         string
	Oldest, Latest int64 // times
}

// Extents lists the streams that have records. Attachments are not in the store's own list, and so not here.
func (s *Survey) Extents(ctx context.Context) (all []Extent, err error) {
	list, err := s.source.entries(ctx, s.bucket)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		name, ours := s.stream(e.Name)
		if ours && e.RecordCount > 0 {
			all = append(all, Extent{name, e.OldestRecord, e.LatestRecord})
		}
	}
	return all, nil
}

func (s *Survey) stream(entry string) (name string, ours bool) {
	if s.task != nil {
		return s.task.stream(entry), s.task.selects(entry)
	}
	return strings.CutPrefix(entry, s.prefix)
}

// entry is the reverse of stream.
func (s *Survey) entry(stream string) (string, error) {
	if s.task == nil {
		return s.prefix + stream, nil
	}
	entry, ours := s.task.entry(stream)
	if !ours {
		return "", fmt.Errorf("task %s does not send it: %w", s.task.name, ErrNotSent)
	}
	return entry, s.Tells()
}

// Tells returns ErrNotSent where nothing of the task's can be asked for.
func (s *Survey) Tells() error {
	if len(s.task.stateful) == 0 {
		return nil
	}
	return fmt.Errorf("the condition of task %s depends on what it saw before (%s): %w", s.task.name, strings.Join(s.task.stateful, " "), ErrNotSent)
}

// Each calls each with the time and labels of a stream's records from (included) to (excluded), ascending. The labels are valid during the
// call; none where the store's answer made no sense.
func (s *Survey) Each(ctx context.Context, stream string, from, to int64, each func(t int64, labels []bridge.Label)) error {
	entry, err := s.entry(stream)
	if err != nil {
		return err
	}
	if from = max(from, 0); from >= to {
		return nil
	}
	q := query{Start: from, Stop: to, Head: true}
	if s.task != nil {
		q.When = s.task.filter(entry)
	}
	c, err := s.source.open(ctx, s.bucket, entry, q)
	if err != nil {
		return err
	}
	for {
		more, err := c.next(ctx, nil)
		if err != nil || !more {
			return err
		}
		for i := range c.page.items {
			it := &c.page.items[i]
			each(it.time, c.page.labels[it.from:it.to])
		}
	}
}

// Record gives one record of a stream to take, whose bytes are valid during the call. found is false where the store has none of
// that time, or the task does not send it any more.
func (s *Survey) Record(ctx context.Context, stream string, t int64, take func(*bridge.Record) error) (found bool, err error) {
	entry, err := s.entry(stream)
	if err != nil {
		return false, err
	}
	q := query{Start: t, Stop: after(t)}
	if s.task != nil {
		q.When = s.task.filter(entry)
	}
	c, err := s.source.open(ctx, s.bucket, entry, q)
	if err != nil {
		return false, err
	}
	for {
		more, err := c.next(ctx, func(h *head, body io.Reader) error {
			n, err := s.take(ctx, h, body, t, take)
			found = found || n
			return err
		})
		if err != nil || !more {
			return found, err
		}
	}
}

// take reads the record of a time from a page.
func (s *Survey) take(ctx context.Context, h *head, body io.Reader, t int64, take func(*bridge.Record) error) (bool, error) {
	for i := range h.items {
		it := &h.items[i]
		switch {
		case it.time != t:
			continue
		case it.garbled:
			return true, fmt.Errorf("record %d: %w", t, errHead)
		case it.size > s.most:
			return true, oversized(it, bridge.Size(s.most)).why
		}
	}
	l := lease{budget: s.budget}
	defer l.free()
	p := payload{ctx: ctx, lease: &l, maxBody: s.most}
	rs, err := p.pick(body, h, func(it *item) bool { return it.time == t })
	if err != nil {
		return false, fmt.Errorf("read record %d: %w", t, err)
	}
	if len(rs) == 0 {
		return false, nil
	}
	return true, take(&rs[0])
}

// Pending returns how many records the task has left to send. Of a pull-only input nobody counts that: it reads on from its mark, however much there is.
func (s *Survey) Pending(ctx context.Context) (int64, error) {
	if s.pulled {
		return math.MaxInt64, nil
	}
	var answer struct {
		Info struct {
			Pending int64 `json:"pending_records"`
		} `json:"info"`
	}
	err := s.source.json(ctx, http.MethodGet, "/replications/"+url.PathEscape(s.task.name), nil, &answer)
	return answer.Info.Pending, err
}

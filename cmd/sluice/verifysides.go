package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/mqtt"
	"github.com/sluicebridge/sluice/bridge/mqtt/recorder"
	"github.com/sluicebridge/sluice/bridge/reduct"
	"github.com/sluicebridge/sluice/bridge/verify"
)

// edges are the edge stores of all inputs of a comparison. They implement verify.Edge.
type edges []edgeSide

type edgeSide struct {
	*reduct.Survey
	input     string
	pipelines []string
}

func (es edges) close() {
	for _, e := range es {
		e.Close()
	}
}

// openEdges opens the inputs' sources. An input that has none, or whose task cannot be asked, is only said.
func (s *side) openEdges(ctx context.Context) error {
	for _, name := range s.inputs {
		if s.flags.noEdge {
			s.extra = append(s.extra, fmt.Sprintf("the edge side of input %s was not compared: --no-edge", name))
			continue
		}
		survey, err := surveyOf(ctx, s.file, s.flags.config, name)
		if err != nil {
			return fmt.Errorf("input %s (--no-edge leaves its store out): %w", name, err)
		}
		if survey == nil {
			s.extra = append(s.extra, fmt.Sprintf("the edge side of input %s was not compared: it has no source", name))
			continue
		}
		if err := survey.Tells(); err != nil {
			survey.Close()
			s.extra = append(s.extra, fmt.Sprintf("the edge side of input %s was not compared: %v", name, err))
			continue
		}
		readers := slices.DeleteFunc(s.file.readersOf(name), func(p string) bool { return !slices.Contains(s.pipelines, p) })
		s.edges = append(s.edges, edgeSide{survey, name, readers})
	}
	return nil
}

// surveyOf opens the edge store of an input of the configuration at path; nil where it has none.
func surveyOf(ctx context.Context, f *file, path, name string) (*reduct.Survey, error) {
	if c, ok := f.Inputs.Reduct[name]; ok {
		if err := readToken(&c.TokenFile, &c.Token); err != nil {
			return nil, problem(path, "inputs.reduct."+name, err)
		}
		return reduct.SurveyPull(c)
	}
	c := f.Inputs.Replication[name]
	if c.Source.URL == "" {
		return nil, nil
	}
	if err := readTokens(&c); err != nil {
		return nil, problem(path, "inputs.replication."+name, err)
	}
	return reduct.SurveyEdge(ctx, c)
}

// Streams implements verify.Edge.
func (es edges) Streams(ctx context.Context) (all []verify.EdgeStream, err error) {
	for _, e := range es {
		pending, err := e.Pending(ctx)
		if err != nil {
			return nil, err
		}
		extents, err := e.Extents(ctx)
		if err != nil {
			return nil, err
		}
		for _, x := range extents {
			all = append(all, verify.EdgeStream{Name: x.Stream, Pipelines: e.pipelines, Oldest: x.Oldest, Sender: e.input, Pending: pending})
		}
	}
	return all, nil
}

// Each implements verify.Edge.
func (es edges) Each(ctx context.Context, stream string, p verify.Period, each func(t int64)) error {
	for _, e := range es {
		if e.Bucket() != bridge.Bucket(stream) {
			continue
		}
		err := e.Survey.Each(ctx, stream, p.From, p.To, func(t int64, _ []bridge.Label) { each(t) })
		if errors.Is(err, reduct.ErrNotSent) {
			return fmt.Errorf("%w: %w", verify.ErrIncomparable, err)
		}
		return err
	}
	return fmt.Errorf("%w: no source has this stream", verify.ErrIncomparable)
}

// openFar opens the far end that --far names. It is read later, by the comparison.
func (s *side) openFar(match func(string) bool) (*verify.Arrivals, error) {
	kind, what, _ := strings.Cut(s.flags.far, ":")
	switch {
	case kind == "record" && what != "":
		return verify.NewArrivals(s.period, match, s.readRecord(what)).InOrder().Growing(), nil
	case kind == "list" && what != "":
		list := verify.NewArrivals(s.period, match, readList(what))
		if s.flags.inOrder {
			list.InOrder()
		}
		return list, nil
	case kind == "reduct":
		return s.openFarStore(what, match)
	}
	return nil, usageError{fmt.Sprintf("verify: --far %q, want record:FILE, list:FILE or reduct:URL/BUCKET", s.flags.far)}
}

func readList(file string) func(context.Context, *verify.Arrivals) error {
	return func(ctx context.Context, a *verify.Arrivals) error {
		in, err := os.Stdin, error(nil)
		if file != "-" {
			if in, err = os.Open(file); err != nil {
				return err
			}
			defer in.Close()
		}
		if err := verify.List(in)(ctx, a); err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		return nil
	}
}

func (s *side) readRecord(file string) func(context.Context, *verify.Arrivals) error {
	return func(ctx context.Context, a *verify.Arrivals) error {
		in, err := os.Open(file)
		if err != nil {
			return err
		}
		defer in.Close()
		sessions, err := recorder.Read(in, func(d *recorder.Delivery) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return a.Add([]byte(d.ID), d.Mark != "", d.Late || d.Mark == mqtt.Refilled)
		})
		s.lostSessions = max(sessions-1, 0)
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		return nil
	}
}

// openFarStore reads URL/BUCKET/PREFIX.
func (s *side) openFarStore(text string, match func(string) bool) (*verify.Arrivals, error) {
	u, err := url.Parse(text)
	var bucket, prefix string
	if err == nil {
		bucket, prefix, _ = strings.Cut(strings.Trim(u.Path, "/"), "/")
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || bucket == "" {
		return nil, usageError{fmt.Sprintf("verify: --far reduct:%s, want reduct:http://HOST:PORT/BUCKET", text)}
	}
	if prefix != "" {
		prefix += "/"
	}
	token, err := secretOf("far-token-file", s.flags.farToken)
	if err != nil {
		return nil, err
	}
	named, err := s.bucket()
	if err != nil {
		return nil, err
	}
	return verify.NewArrivals(s.period, match, func(ctx context.Context, a *verify.Arrivals) error {
		survey := reduct.SurveyBucket(u.Scheme+"://"+u.Host, token, bucket, prefix)
		defer survey.Close()
		return readFarStore(ctx, survey, s.period, named, a)
	}).Growing(), nil
}

// bucket is the first part of the streams' names, for a far end that knows only entries.
func (s *side) bucket() (string, error) {
	var all []string
	for _, e := range s.edges {
		all = append(all, e.Bucket())
	}
	for _, name := range s.inputs {
		if b, _ := s.file.Inputs.bucket(name); b != "*" {
			all = append(all, b)
		}
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) == 1 {
		return all[0], nil
	}
	return "", usageError{fmt.Sprintf("verify: of which of the buckets %v a far entry is cannot be told: give --input", all)}
}

func readFarStore(ctx context.Context, survey *reduct.Survey, p verify.Period, bucket string, a *verify.Arrivals) error {
	extents, err := survey.Extents(ctx)
	if err != nil {
		return fmt.Errorf("far end: %w", err)
	}
	for _, x := range extents {
		stream := bucket + "/" + x.Stream
		var full error
		err := survey.Each(ctx, x.Stream, p.From, p.To, func(t int64, labels []bridge.Label) {
			if full != nil {
				return
			}
			at := slices.IndexFunc(labels, func(l bridge.Label) bool { return string(l.Name) == "sluice-id" })
			if at < 0 {
				full = a.AddTime(stream, t)
				return
			}
			full = a.Add(labels[at].Value, false, false)
		})
		if err = errors.Join(err, full); err != nil {
			return fmt.Errorf("far end: read %s: %w", x.Stream, err)
		}
	}
	return nil
}

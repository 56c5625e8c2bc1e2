package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/verify"
)

const verifyHelp = `usage: sluice verify (--period FROM/TO | --last DURATION) --far FAR [flags]

Compares, stream by stream, what the edge store has, what the ledger recorded, and what the far end has, whether the bridge runs or not.
Exit code 3: something is missing, double, out of order, or strange.

  --far record:FILE                      what sluice record mqtt wrote: its order and its marks count
  --far list:FILE, --far list:-          identities (sluice-id), one a line; of several columns the first
  --far reduct:http://HOST:PORT/BUCKET   a ReductStore; its records count by label sluice-id, else by their time; entries may have a
        .../BUCKET/PREFIX                prefix

`

// verifyFlags are what a comparison is told.
type verifyFlags struct {
	config, period, far, farToken        string
	remote, pipeline, input, stream      string
	last, settle                         time.Duration
	inOrder, noEdge, refill, all, asJSON bool
	url                                  string
}

func defineVerify(fs *flag.FlagSet) *verifyFlags {
	o := new(verifyFlags)
	fs.StringVar(&o.config, "config", "config.toml", "configuration `FILE`")
	fs.StringVar(&o.period, "period", "", "`FROM/TO` of the records' time: RFC 3339, or a date or a date and time in UTC such as 2026-11-23T06:00")
	fs.DurationVar(&o.last, "last", 0, "the period up to now, such as 24h")
	fs.StringVar(&o.far, "far", "", "the far `END`, see above")
	fs.StringVar(&o.farToken, "far-token-file", "", "`FILE` that holds the token of a reduct far end")
	fs.StringVar(&o.remote, "remote", "", "the remote whose far end it is; empty: the only one")
	fs.StringVar(&o.pipeline, "pipeline", "", "only this pipeline's messages; empty: all that the remote gets")
	fs.StringVar(&o.input, "input", "", "only this input's records")
	fs.StringVar(&o.stream, "stream", "*", "only streams bucket/entry like this `PATTERN`, in which * stands for anything")
	fs.DurationVar(&o.settle, "settle", 2*time.Second, "pause before the far end is looked at, for what is on its way there")
	fs.BoolVar(&o.inOrder, "in-order", false, "the lines of a list are in the order of arrival")
	fs.BoolVar(&o.noEdge, "no-edge", false, "do not look at the edge store")
	fs.BoolVar(&o.refill, "refill", false, "ask the running bridge to send again what is missing")
	fs.StringVar(&o.url, "url", "", "address of the running bridge, for --refill; empty: [admin] listen of the configuration")
	fs.BoolVar(&o.all, "all", false, fmt.Sprintf("list every finding, not only the first %d of each kind", maxFindings))
	fs.BoolVar(&o.asJSON, "json", false, "print JSON")
	return o
}

// maxFindings is how many findings of a kind are listed unasked.
const maxFindings = 1000

func runVerify(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("verify")
	fs.Usage = func() { fmt.Fprint(e.err, verifyHelp); fs.PrintDefaults() }
	o := defineVerify(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	period, err := o.parsePeriod(time.Now())
	if err != nil {
		return err
	}
	f, err := loadConfig(o.config)
	if err != nil {
		return err
	}
	s := &side{flags: o, file: f, period: period}
	if err := s.choose(); err != nil {
		return err
	}
	job, done, err := s.job(ctx)
	if err != nil {
		return err
	}
	defer done()
	r, err := job.Run(ctx)
	if err != nil {
		return err
	}
	r.Notes = append(r.Notes, s.notes()...)
	return s.tell(ctx, e, r)
}

// parsePeriod reads --period or --last.
func (o *verifyFlags) parsePeriod(now time.Time) (p verify.Period, err error) {
	if (o.period == "") == (o.last <= 0) {
		return p, usageError{"verify: want --period or --last"}
	}
	if o.period == "" {
		return verify.Period{From: now.Add(-o.last).UnixMicro(), To: now.UnixMicro()}, nil
	}
	from, to, _ := strings.Cut(o.period, "/")
	a, errFrom := parseMoment(from)
	b, errTo := parseMoment(to)
	if errFrom != nil || errTo != nil || !a.Before(b) {
		return p, usageError{fmt.Sprintf("verify: --period %q, want FROM/TO such as 2026-11-23/2026-11-24", o.period)}
	}
	return verify.Period{From: a.UnixMicro(), To: b.UnixMicro()}, nil
}

func parseMoment(text string) (t time.Time, err error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err = time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return t, err
}

// matcher returns what --stream selects.
func matcher(pattern string) (func(string) bool, error) {
	parts := strings.Split(pattern, "*")
	if strings.ContainsAny(pattern, "?[\\") {
		return nil, usageError{fmt.Sprintf("verify: --stream %q, want a name in which only * stands for anything", pattern)}
	}
	return func(stream string) bool {
		rest, ok := strings.CutPrefix(stream, parts[0])
		if !ok || len(parts) == 1 {
			return ok && rest == ""
		}
		for _, part := range parts[1 : len(parts)-1] {
			if _, rest, ok = strings.Cut(rest, part); !ok {
				return false
			}
		}
		return strings.HasSuffix(rest, parts[len(parts)-1])
	}, nil
}

// side is what of a configuration a comparison is about.
type side struct {
	flags     *verifyFlags
	file      *file
	period    verify.Period
	match     func(string) bool
	remote    string
	pipelines []string
	inputs    []string // that they read
	edges     edges
	far       *verify.Arrivals
	extra     []string // notes

	lostSessions int // of the recorder, as its file says
}

// choose finds the remote, its pipelines, and their inputs.
func (s *side) choose() (err error) {
	if s.match, err = matcher(s.flags.stream); err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(s.file.Remotes.MQTT))
	s.remote = s.flags.remote
	if s.remote == "" && len(names) == 1 {
		s.remote = names[0]
	}
	if !slices.Contains(names, s.remote) {
		return usageError{fmt.Sprintf("verify: --remote %q, want one of %v", s.remote, names)}
	}
	for _, name := range slices.Sorted(maps.Keys(s.file.Pipelines)) {
		p := s.file.Pipelines[name]
		if !slices.Contains(p.to(), s.remote) || s.flags.pipeline != "" && s.flags.pipeline != name {
			continue
		}
		if s.flags.input != "" && !slices.Contains(p.Inputs, s.flags.input) {
			continue
		}
		s.pipelines = append(s.pipelines, name)
		for _, in := range p.Inputs {
			if (s.flags.input == "" || s.flags.input == in) && !slices.Contains(s.inputs, in) {
				s.inputs = append(s.inputs, in)
			}
		}
	}
	if len(s.pipelines) == 0 {
		return usageError{fmt.Sprintf("verify: no pipeline sends to remote %s from what --pipeline and --input choose", s.remote)}
	}
	return nil
}

// job puts the comparison together. done frees what it opened.
func (s *side) job(ctx context.Context) (job *verify.Job, done func(), err error) {
	job = &verify.Job{
		Period: s.period, Remote: s.remote, Pipelines: s.pipelines, Settle: s.flags.settle, Most: maxFindings, Unordered: make(map[string]string),
		Match: func(stream string) bool { return s.match(stream) && s.ours(bridge.Bucket(stream)) },
	}
	if s.flags.all || s.flags.refill {
		job.Most = 0
	}
	lanes, err := lanesOf(s.file, s.remote, bridge.Pipelined)
	if err != nil {
		return nil, nil, err
	}
	for name, lane := range lanes {
		switch {
		case s.file.Remotes.MQTT[s.remote].Drain.Priority == bridge.LiveFirst:
			job.Unordered[name] = fmt.Sprintf("priority = \"live\" of remote %s", s.remote)
		case lane.Ordering == bridge.Unordered:
			job.Unordered[name] = "its ordering is none"
		case lane.PerMessage():
			job.Unordered[name] = fmt.Sprintf("its lane is %s, not the stream", s.file.Pipelines[name].Lane)
		}
	}
	if err := s.openEdges(ctx); err != nil {
		s.edges.close()
		return nil, nil, err
	}
	if len(s.edges) > 0 {
		job.Edge = s.edges
	}
	if s.far, err = s.openFar(job.Match); err != nil {
		s.edges.close()
		return nil, nil, err
	}
	job.Far, job.Look = s.far, s.lookAt(job.Match)
	return job, s.edges.close, nil
}

// ours reports whether a bucket is of one of the inputs.
func (s *side) ours(bucket string) bool {
	return slices.ContainsFunc(s.inputs, func(name string) bool {
		b, _ := s.file.Inputs.bucket(name)
		return b == "*" || b == bucket
	})
}

// notes says what the comparison could not see.
func (s *side) notes() []string {
	notes := s.extra
	if s.lostSessions > 0 {
		notes = append(notes, fmt.Sprintf("the broker lost the recorder's session %d times: what it had for it then was never recorded", s.lostSessions))
	}
	if s.far.Foreign > 0 {
		notes = append(notes, fmt.Sprintf("%d lines of the far end are no identities, such as %q", s.far.Foreign, s.far.Strange))
	}
	if s.far.Outside > 0 {
		notes = append(notes, fmt.Sprintf("%d messages of the far end are of other streams or times", s.far.Outside))
	}
	return notes
}

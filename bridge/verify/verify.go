package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// Period is a range of record times in microseconds, To excluded.
type Period struct{ From, To int64 }

// Has reports whether a time is in the period.
func (p Period) Has(t int64) bool { return p.From <= t && t < p.To }

// Edge is where the records come from, as the replication task selects them.
type Edge interface {
	// Streams lists what is there.
	Streams(ctx context.Context) ([]EdgeStream, error)
	// Each calls each with the times of a stream's records in the period, ascending. ErrIncomparable is no failure.
	Each(ctx context.Context, stream string, p Period, each func(t int64)) error
}

// EdgeStream is one stream of an edge store.
type EdgeStream struct {
	Name      string
	Pipelines []string // that shall see it
	Oldest    int64    // time of the oldest record that is still there
	Sender    string   // who sends it; one sends several
	Pending   int64    // records that its sender has left to send, of all its streams together; math.MaxInt64: it reads on from where it is, to the end
}

// ErrIncomparable: the edge store cannot tell what of a stream its sender sends.
var ErrIncomparable = errors.New("cannot be compared")

// Far is where the messages go. It has the identities of one remote's messages.
type Far interface {
	Streams(ctx context.Context) ([]string, error)
	// Each calls each with what is there of a stream's records in the period; in the order of arrival where Ordered.
	Each(ctx context.Context, stream string, p Period, each func(Arrival)) error
	Ordered() bool
	// Live reports that more may arrive while it is looked at: Streams and Each can be called again, and see it.
	Live() bool
}

// Ledger is what a ledger knew at one moment.
type Ledger interface {
	Streams() []LedgerStream
	// Seen gives the keys that are kept one by one of the period that the look was asked for.
	Seen(pipeline, stream string) iter.Seq2[bridge.Key, bridge.Verdict]
	// Closed gives the ranges of older keys that touch it, which do not overlap.
	Closed(pipeline, stream string) []bridge.ClosedRange
	// Unsettled gives the messages that the remote need not have: those that wait for it, and those it refused.
	Unsettled(remote, pipeline, stream string) (waiting, refused []bridge.ID)
}

// LedgerStream is a stream of a pipeline.
type LedgerStream struct {
	Pipeline, Name string
	Newest         int64 // time of the newest record that was ever seen
}

// Look is a ledger and what it lists beside keys.
type Look struct {
	Ledger
	Gaps   []bridge.Gap
	Losses []bridge.Loss
}

// Job is one comparison. It has one user.
type Job struct {
	Period    Period
	Remote    string
	Pipelines []string                 // that send to it; 64 at most
	Match     func(stream string) bool // which streams are looked at
	Edge      Edge                     // nil: not compared
	Far       Far
	// Look opens the ledger as it is now, for the streams and period of the job.
	Look func(ctx context.Context) (*Look, error)
	// Settle is the pause between the look at the ledger and the look at the far end, for what is under way from a broker to there.
	Settle time.Duration
	// Unordered says why a pipeline's messages need not keep the order of their stream; empty: they must.
	Unordered map[string]string
	Most      int // findings of a kind that are kept, 0 = all, but never more than maxListed together; all are counted

	look     *Look // the first
	now      *Look // the last
	asked    int64 // when the edge store was asked for its streams, µs
	edge     map[string]EdgeStream
	known    map[string][]LedgerStream // by name
	rows     map[rowKey]*Counts
	kept     map[Kind]int
	suspects []suspect
	room     int      // for suspects
	names    []string // of the suspects' streams
	tails    []*tail
	first    map[place]int64  // the newest that was seen at the first look
	pending  map[string]int64 // that senders had left at first
	noted    map[string]bool
	keyRoom  []seen    // memory of the stream before
	farRoom  []arrived // the same
	report   *Report
}

type place struct{ pipeline, stream string }

type rowKey struct {
	stream string
	hour   int64 // since the epoch
}

// onTheWay is how old a record is at most of which only that it is new tells that it is on its way from the edge store.
const onTheWay = time.Minute

// Run compares. Memory: about 8 bytes for each identity of a list and of the ledger, 60 for each of the largest stream, and 80 for each of maxSuspects
// differences.
func (j *Job) Run(ctx context.Context) (*Report, error) {
	if len(j.Pipelines) > 64 {
		return nil, fmt.Errorf("%d pipelines at once, want at most 64", len(j.Pipelines))
	}
	j.room = cmp.Or(j.room, maxSuspects)
	j.rows, j.kept, j.noted = make(map[rowKey]*Counts), make(map[Kind]int), make(map[string]bool)
	j.report = &Report{From: time.UnixMicro(j.Period.From).UTC(), To: time.UnixMicro(j.Period.To).UTC(), Remote: j.Remote,
		Rows: []Row{}, Findings: []Finding{}, Ranges: []RangeResult{}, Losses: []Loss{}, Notes: []string{}}
	streams, err := j.begin(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range streams {
		if err := j.stream(ctx, name); err != nil {
			return nil, fmt.Errorf("compare %s: %w", name, err)
		}
	}
	if err := j.lookAgain(ctx); err != nil {
		return nil, err
	}
	j.finish()
	return j.report, nil
}

// begin looks at the three sides, the ledger first: what it calls delivered then, the far end must have a little later.
func (j *Job) begin(ctx context.Context) (streams []string, err error) {
	if j.look, err = j.Look(ctx); err != nil {
		return nil, fmt.Errorf("look at the ledger: %w", err)
	}
	j.now = j.look
	j.known, j.pending = make(map[string][]LedgerStream), make(map[string]int64)
	j.learn(j.look)
	j.first = make(map[place]int64)
	for name, list := range j.known {
		streams = append(streams, name)
		for _, s := range list {
			j.first[place{s.Pipeline, name}] = s.Newest
		}
	}
	if err := pause(ctx, j.Settle); err != nil {
		return nil, err
	}
	far, err := j.Far.Streams(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the streams of the far end: %w", err)
	}
	streams = append(streams, far...)
	edge, err := j.edgeStreams(ctx)
	if err != nil {
		return nil, err
	}
	streams = append(streams, edge...)
	slices.Sort(streams)
	return slices.Compact(streams), nil
}

// learn notes the streams of a look. Pipelines of a stream keep their places.
func (j *Job) learn(l *Look) {
	for _, s := range l.Streams() {
		if !slices.Contains(j.Pipelines, s.Pipeline) || !j.Match(s.Name) {
			continue
		}
		known := j.known[s.Name]
		at := slices.IndexFunc(known, func(k LedgerStream) bool { return k.Pipeline == s.Pipeline })
		if at >= 0 {
			known[at] = s
			continue
		}
		j.known[s.Name] = append(known, s)
	}
}

func (j *Job) edgeStreams(ctx context.Context) (names []string, err error) {
	j.edge = make(map[string]EdgeStream)
	if j.Edge == nil {
		return nil, nil
	}
	j.asked = time.Now().UnixMicro()
	list, err := j.Edge.Streams(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the streams of the edge store: %w", err)
	}
	for _, s := range list {
		if j.Match(s.Name) {
			j.edge[s.Name] = s
			if _, asked := j.pending[s.Sender]; !asked {
				j.pending[s.Sender] = s.Pending
			}
			names = append(names, s.Name)
		}
	}
	return names, nil
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finish adds up. A stream of which nothing is there in the period does not count.
func (j *Job) finish() {
	r := j.report
	for key, c := range j.rows {
		r.Rows = append(r.Rows, Row{Stream: key.stream, Hour: time.Unix(key.hour*3600, 0).UTC(), Counts: *c})
	}
	slices.SortFunc(r.Rows, func(a, b Row) int { return cmp.Or(cmp.Compare(a.Stream, b.Stream), a.Hour.Compare(b.Hour)) })
	last, wrong := "", ""
	for i := range r.Rows {
		row := &r.Rows[i]
		r.Total.add(&row.Counts)
		if row.Stream != last {
			last = row.Stream
			r.Streams++
		}
		if row.Findings() > 0 && row.Stream != wrong {
			wrong = row.Stream
			r.Wrong++
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Or(cmp.Compare(a.Stream, b.Stream), a.Time.Compare(b.Time)) })
	for _, l := range j.look.Losses {
		if l.From < j.Period.To && l.To >= j.Period.From && j.Match(l.Stream) {
			r.Losses = append(r.Losses, Loss{l.Stream, time.UnixMicro(l.From).UTC(), time.UnixMicro(l.To).UTC(), l.Records, l.Reason})
		}
	}
	r.say()
}

// row returns the counts of a stream's hour.
func (j *Job) row(stream string, t int64) *Counts {
	key := rowKey{stream, floorDiv(t, time.Hour.Microseconds())}
	c := j.rows[key]
	if c == nil {
		c = new(Counts)
		j.rows[key] = c
	}
	return c
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// find counts a finding, and keeps it where there is room.
func (j *Job) find(f Finding) {
	c := j.row(f.Stream, f.id.Time)
	f.Number = max(f.Number, 1)
	*c.of(f.Kind) += f.Number
	if f.Marked {
		c.Marked++
	}
	if j.Most > 0 && j.kept[f.Kind] >= j.Most {
		return
	}
	if len(j.report.Findings) >= maxListed {
		j.note("no more than %d findings are listed", maxListed)
		return
	}
	j.kept[f.Kind]++
	f.Time = time.UnixMicro(f.id.Time).UTC()
	if f.ID == "" {
		f.ID = string(f.id.Append(nil, f.Stream))
	}
	j.report.Findings = append(j.report.Findings, f)
}

// note says once what was not compared.
func (j *Job) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !j.noted[text] {
		j.noted[text] = true
		j.report.Notes = append(j.report.Notes, text)
	}
}

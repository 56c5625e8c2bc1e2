package reduct

import (
	"cmp"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// Counts is what comparisons with the edge store found, in records.
type Counts struct {
	Compared int `json:"compared"`
	Missing  int `json:"missing"` // fetched, left and lost together
	Fetched  int `json:"fetched"`
	Late     int `json:"late"`   // of the fetched, those that are older than one taken before: their order could not be kept
	Left     int `json:"left"`   // stay in the edge store, and a gap says why
	Lost     int `json:"lost"`   // evicted from the edge store between comparison and fetch
	Losses   int `json:"losses"` // ranges that went into the list of losses, those of which nobody knows the records included

	Ranges       int `json:"ranges"`       // of which only number and hash of the records are known, and that were compared by these
	Different    int `json:"different"`    // of them
	Incomparable int `json:"incomparable"` // ranges beside those: the edge store has evicted their beginning, or the ledger has no sums of them
}

// OK reports whether nothing was found to be missing.
func (c *Counts) OK() bool { return c.Missing == 0 && c.Losses == 0 && c.Different == 0 }

func (c *Counts) add(f hold.Found) {
	c.Compared += f.Records
	c.Missing += f.Lacking + f.Left
	c.Fetched += f.Lacking - f.Lost
	c.Late += f.Late
	c.Left += f.Left
	c.Lost += f.Lost
}

func (c *Counts) sum(o Counts) {
	c.Compared, c.Missing, c.Fetched, c.Late = c.Compared+o.Compared, c.Missing+o.Missing, c.Fetched+o.Fetched, c.Late+o.Late
	c.Left, c.Lost, c.Losses = c.Left+o.Left, c.Lost+o.Lost, c.Losses+o.Losses
	c.Ranges, c.Different, c.Incomparable = c.Ranges+o.Ranges, c.Different+o.Different, c.Incomparable+o.Incomparable
}

// Summary is what a pass or a Reconcile found in all its streams.
type Summary struct {
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"`
	Error   string    `json:"error,omitempty"` // why some of it was not compared
	Counts
}

// Finds is what a Reconciler has found since it was made.
type Finds struct {
	Total  Counts   // settlings included; a record that stays in the edge store counts each time it is looked at
	Passed *Summary // the last pass, whether it went well or not; nil: none has ended
	Asked  *Summary // the last Reconcile
}

// Finds may be called while Run works.
func (r *Reconciler) Finds() Finds {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Finds{Total: r.total, Passed: r.passed.Load(), Asked: r.asked.Load()}
}

// Report is a Summary and its streams.
type Report struct {
	Input string `json:"input"`
	Summary
	Streams []StreamReport `json:"streams"` // by name, those of which something was found
}

// StreamReport is the part of one stream.
type StreamReport struct {
	Stream  string  `json:"stream"`
	Seconds float64 `json:"seconds"` // spent on it
	Counts
	Differences []Difference `json:"differences,omitempty"` // at most maxDifferences; Different counts all
}

// Difference is a closed range in which edge store and ledger do not have the same records. What the ledger lacks of it cannot be taken any more: a
// time inside a closed range counts as seen.
type Difference struct {
	Pipeline string `json:"pipeline"`
	From     int64  `json:"from"` // microseconds, both included
	To       int64  `json:"to"`
	Store    int64  `json:"store"` // records there
	Ledger   int64  `json:"ledger"`
	Lacks    int64  `json:"lacks,omitempty"` // time of the only record that the ledger lacks, where that can be told
}

// maxDifferences bounds a report.
const maxDifferences = 1000

// count adds to what was found of a stream.
func (x *round) count(stream string, n Counts, took time.Duration) {
	x.guard.Lock()
	defer x.guard.Unlock()
	s := x.found[stream]
	if s == nil {
		if x.found == nil {
			x.found = make(map[string]*StreamReport)
		}
		s = &StreamReport{Stream: stream}
		x.found[stream] = s
	}
	s.Seconds += took.Seconds()
	s.sum(n)
}

// summary sums up what was found, and why some was not.
func (x *round) summary(err error) *Summary {
	s := &Summary{Began: x.began, Seconds: time.Since(x.began).Seconds()}
	if err != nil {
		s.Error = err.Error()
	}
	x.guard.Lock()
	defer x.guard.Unlock()
	for _, f := range x.found {
		s.sum(f.Counts)
	}
	return s
}

func (x *round) report(err error) Report {
	r := Report{Input: x.mind.Name, Summary: *x.summary(err), Streams: []StreamReport{}}
	x.guard.Lock()
	defer x.guard.Unlock()
	for _, f := range x.found {
		if f.Counts != (Counts{}) {
			r.Streams = append(r.Streams, *f)
		}
	}
	slices.SortFunc(r.Streams, func(a, b StreamReport) int { return cmp.Compare(a.Stream, b.Stream) })
	return r
}

// recount takes out what a walk over everything counts again.
func (x *round) recount() {
	x.guard.Lock()
	defer x.guard.Unlock()
	for _, s := range x.found {
		s.Missing -= s.Left
		s.Compared, s.Left = 0, 0
	}
}

// differs adds a difference to what is said of a stream.
func (x *round) differs(stream string, d Difference) {
	x.guard.Lock()
	defer x.guard.Unlock()
	if s := x.found[stream]; s != nil && len(s.Differences) < maxDifferences {
		s.Differences = append(s.Differences, d)
	}
}

package reduct

import (
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
}

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
}

// Summary is what a pass or a Reconcile found in all its streams.
type Summary struct {
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"`
	Error   string    `json:"error,omitempty"` // why some of it was not compared
	Counts
}

// StreamReport is the part of one stream.
type StreamReport struct {
	Stream  string  `json:"stream"`
	Seconds float64 `json:"seconds"` // spent on it
	Counts
}

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

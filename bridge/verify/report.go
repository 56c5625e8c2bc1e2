package verify

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// Kind is what is wrong.
type Kind string

const (
	HoleEdge Kind = "hole at the edge side" // the edge store has it, the ledger never saw it
	HoleFar  Kind = "hole at the far end"   // the ledger says delivered, the far end lacks it
	Double   Kind = "double"                // the far end has it more often than it was sent for
	Misorder Kind = "misorder"              // arrived after a newer one of its stream
	Stranger Kind = "stranger"              // the far end has what the ledger never made
)

// Finding is one thing that is wrong.
type Finding struct {
	Kind     Kind      `json:"kind"`
	Stream   string    `json:"stream"`
	ID       string    `json:"id"`                // the message's; of a hole at the edge side stream@time
	Unnamed  bool      `json:"unnamed,omitempty"` // ID tells only how many of a closed range
	Number   int64     `json:"number"`            // more than 1 only of unnamed ones
	Closed   bool      `json:"closed,omitempty"`  // a hole at the edge side in a closed range: it cannot be taken in any more
	Time     time.Time `json:"time"`
	Pipeline string    `json:"pipeline,omitempty"` // of holes
	Copies   int       `json:"copies,omitempty"`   // of a double: how many there are
	Marked   bool      `json:"marked,omitempty"`   // of a double: a copy says that it may be one
	Why      string    `json:"why,omitempty"`      // what is known of it

	id bridge.ID
}

// Counts are numbers of records and messages. Those of the ledger are only of keys that it has one by one.
type Counts struct {
	Edge      int64 `json:"edge"`       // records that the edge store has and the replication task selects
	Seen      int64 `json:"seen"`       // records and updates that the ledger has decided on
	Late      int64 `json:"late"`       // of them, that came after a newer one
	Dropped   int64 `json:"dropped"`    // of them, by a module
	Absorbed  int64 `json:"absorbed"`   // of them, into a module's state
	Parked    int64 `json:"parked"`     // of them, by a module; and messages that the far end refused
	Messages  int64 `json:"messages"`   // that were made of them
	Waiting   int64 `json:"waiting"`    // of them, not delivered yet
	Arrived   int64 `json:"arrived"`    // at the far end, copies included
	OnTheWay  int64 `json:"on_the_way"` // records that the edge store has still to send
	Evicted   int64 `json:"evicted"`    // records that the ledger saw and the edge store has no more
	GivenUp   int64 `json:"given_up"`   // messages that were dropped with a removed remote
	HolesEdge int64 `json:"holes_edge"`
	HolesFar  int64 `json:"holes_far"`
	Doubles   int64 `json:"doubles"`
	Marked    int64 `json:"doubles_marked"` // of them
	Misorders int64 `json:"misorders"`
	Strangers int64 `json:"strangers"`
}

// fields are all of them, for sums.
func (c *Counts) fields() [18]*int64 {
	return [...]*int64{&c.Edge, &c.Seen, &c.Late, &c.Dropped, &c.Absorbed, &c.Parked, &c.Messages, &c.Waiting, &c.Arrived, &c.OnTheWay,
		&c.Evicted, &c.GivenUp, &c.HolesEdge, &c.HolesFar, &c.Doubles, &c.Marked, &c.Misorders, &c.Strangers}
}

func (c *Counts) add(o *Counts) {
	theirs := o.fields()
	for i, n := range c.fields() {
		*n += *theirs[i]
	}
}

// Findings is how many things are wrong.
func (c *Counts) Findings() int64 {
	return c.HolesEdge + c.HolesFar + c.Doubles + c.Misorders + c.Strangers
}

// of returns the counter of a kind.
func (c *Counts) of(k Kind) *int64 {
	switch k {
	case HoleEdge:
		return &c.HolesEdge
	case HoleFar:
		return &c.HolesFar
	case Double:
		return &c.Doubles
	case Misorder:
		return &c.Misorders
	default:
		return &c.Strangers
	}
}

// Row is what there is of one stream in one hour of its records' time.
type Row struct {
	Stream string    `json:"stream"`
	Hour   time.Time `json:"hour"`
	Counts
}

// RangeResult is what became of the comparison of one closed range, of which the ledger has only numbers and hashes.
type RangeResult struct {
	Pipeline string    `json:"pipeline"`
	Stream   string    `json:"stream"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`      // included
	Records  int64     `json:"records"` // of the ledger
	Edge     int64     `json:"edge"`    // of the edge store
	Messages int64     `json:"messages"`
	Far      int64     `json:"far"` // messages that the far end has, or that are known to wait
	EdgeSays string    `json:"edge_says"`
	FarSays  string    `json:"far_says"` // equal, different, or why it cannot be compared
}

const equal = "equal"

// Loss is an entry of the ledger's list of what is lost for good.
type Loss struct {
	Stream  string    `json:"stream"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`      // included
	Records int64     `json:"records"` // -1: nobody can tell
	Reason  string    `json:"reason"`
}

// Report is the result.
type Report struct {
	From     time.Time     `json:"from"`
	To       time.Time     `json:"to"` // excluded
	Remote   string        `json:"remote"`
	Verdict  string        `json:"verdict"`
	Total    Counts        `json:"total"`
	Streams  int           `json:"streams"`
	Wrong    int           `json:"streams_wrong"`
	Rows     []Row         `json:"rows"`
	Findings []Finding     `json:"findings"` // the first of them
	Ranges   []RangeResult `json:"ranges"`
	Losses   []Loss        `json:"losses"` // that the ledger lists for the period: nobody has these any more
	Notes    []string      `json:"notes"`  // what was not compared, and why
}

// Clean reports whether nothing is wrong.
func (r *Report) Clean() bool { return r.Total.Findings() == 0 }

// say makes the sentence.
func (r *Report) say() {
	c := &r.Total
	if !r.Clean() {
		var parts []string
		for _, p := range []struct {
			n    int64
			what string
		}{{c.HolesEdge + c.HolesFar, "hole"}, {c.Doubles, "double"}, {c.Misorders, "misorder"}, {c.Strangers, "stranger"}} {
			if p.n > 0 {
				parts = append(parts, count(p.n, p.what))
			}
		}
		r.Verdict = fmt.Sprintf("%s in %d of %s", strings.Join(parts, ", "), r.Wrong, count(int64(r.Streams), "stream"))
		return
	}
	r.Verdict = fmt.Sprintf("nothing is missing, double or out of order: %s in %s", count(c.Arrived, "message"), count(int64(r.Streams), "stream"))
	for _, p := range []struct {
		n    int64
		what string
	}{{c.Waiting, "to be delivered"}, {c.OnTheWay, "to be sent by the edge store"}, {c.Parked, "parked"}, {c.GivenUp, "given up"}} {
		if p.n > 0 {
			r.Verdict += fmt.Sprintf("; %d %s", p.n, p.what)
		}
	}
	if lost := r.lost(); lost != "" {
		r.Verdict += "; " + lost
	}
}

// lost says how much the ledger's list of losses has of the period.
func (r *Report) lost() string {
	var known int64
	unknown := false
	for _, l := range r.Losses {
		known += max(l.Records, 0)
		unknown = unknown || l.Records < 0
	}
	switch {
	case len(r.Losses) == 0:
		return ""
	case unknown:
		return fmt.Sprintf("%d lost and more that nobody can count, in %s", known, count(int64(len(r.Losses)), "listed range"))
	}
	return fmt.Sprintf("%d lost, in %s", known, count(int64(len(r.Losses)), "listed range"))
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

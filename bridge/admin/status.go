package admin

import (
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// Status is a snapshot of a bridge: what /statusz says. A Source fills all but the fields marked (counted), which are read from
// bridge.Metrics.
type Status struct {
	Version          string    `json:"version"`
	ConfigHash       string    `json:"config_hash"`
	Started          time.Time `json:"started"`
	UptimeSeconds    float64   `json:"uptime_seconds"` // (counted)
	Ready            bool      `json:"ready"`          // (counted) every check is ok
	Checks           []Check   `json:"checks"`
	LastReloadFailed bool      `json:"last_reload_failed"`

	Ledger    Ledger     `json:"ledger"`
	Inputs    []Input    `json:"inputs"`
	Pipelines []Pipeline `json:"pipelines"`
	Modules   []Module   `json:"modules"`
	Remotes   []Remote   `json:"remotes"`
}

// Check is a part that has to work before the bridge is ready.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"` // why not
}

// Ledger is how full the store is and how fast it writes.
type Ledger struct {
	Bytes     int64   `json:"bytes"`  // live: waiting to be sent
	Quota     int64   `json:"quota"`  // bytes
	Parked    int64   `json:"parked"` // records set aside
	DiskFull  bool    `json:"disk_full"`
	Lost      Lost    `json:"lost"`
	Restored  string  `json:"restored,omitempty"` // why it is taken for an old copy of itself
	LastError string  `json:"last_error,omitempty"`
	Fsync     Latency `json:"fsync"` // (counted)
}

// Lost is the list of what is known to be lost.
type Lost struct {
	Ranges  int    `json:"ranges"`
	Records int64  `json:"records"` // in those of which the number is known
	Unknown int    `json:"unknown"` // ranges of which it is not
	Newest  []Loss `json:"newest"`  // of the ranges, the newest first
}

// Latency sums up a histogram. P99 is the upper bound of the bucket it falls in.
type Latency struct {
	Count       int64   `json:"count"`
	MeanSeconds float64 `json:"mean_seconds"`
	P99Seconds  float64 `json:"p99_seconds"`
}

// Input is where records come in.
type Input struct {
	Name             string     `json:"name"`
	Kind             string     `json:"kind"`
	Listen           string     `json:"listen,omitempty"`
	GapsOpen         int        `json:"gaps_open"`
	Gaps             []Gap      `json:"gaps"`       // the oldest of them
	Reconciles       bool       `json:"reconciles"` // an edge store is asked for what is missing
	LastReconcile    *time.Time `json:"last_reconcile,omitempty"`
	ReconcileMissing int64      `json:"reconcile_missing"` // (counted)
	ReconcileLate    int64      `json:"reconcile_late"`    // of those fetched, the ones that are older than one taken before
	LastPass         *Look      `json:"last_pass,omitempty"`
	LastAsked        *Look      `json:"last_asked,omitempty"` // by `sluice reconcile`
	Forecast         *Forecast  `json:"forecast,omitempty"`   // none before the edge store was looked at
	LastError        string     `json:"last_error,omitempty"`
}

// Look is what a comparison with the edge store found, in records.
type Look struct {
	Began        time.Time `json:"began"`
	Seconds      float64   `json:"seconds"`
	Compared     int       `json:"compared"`
	Missing      int       `json:"missing"` // fetched, left and lost
	Fetched      int       `json:"fetched"`
	Late         int       `json:"late"` // of the fetched
	Left         int       `json:"left"` // in the edge store, with a gap
	Lost         int       `json:"lost"`
	Different    int       `json:"different"`    // closed ranges
	Incomparable int       `json:"incomparable"` // closed ranges
	Error        string    `json:"error,omitempty"`
}

// Forecast is what is to be expected of what waits at the edge store. All of it is estimated.
type Forecast struct {
	At                    time.Time  `json:"at"` // when the store was looked at
	UnsentRecords         int64      `json:"unsent_records"`
	Oldest                *time.Time `json:"oldest,omitempty"`   // time of the oldest of them
	WaitedSeconds         float64    `json:"waited_seconds"`     // for which some of them have been there
	EvictedInSeconds      *float64   `json:"evicted_in_seconds"` // until the quota takes the oldest; null = it does not
	DrainedInSeconds      *float64   `json:"drained_in_seconds"` // until all are taken; null = not at these rates
	WriteBytesPerSecond   float64    `json:"write_bytes_per_second"`
	DrainRecordsPerSecond float64    `json:"drain_records_per_second"` // the best of late where nothing is taken
	Stalled               bool       `json:"stalled"`                  // nothing is taken now
	Loses                 bool       `json:"loses"`                    // evicted before it is drained
	Text                  string     `json:"text"`
}

// Loss is a range of a stream's time of which records are lost for good.
type Loss struct {
	Stream  string    `json:"stream"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Records int64     `json:"records"` // -1: nobody can tell
	Reason  string    `json:"reason"`
	Noted   time.Time `json:"noted"`
}

// Gap is a range of a stream's time that its sender has forgotten and a reconciler still has to fetch.
type Gap struct {
	Stream string    `json:"stream"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
	Noted  time.Time `json:"noted"`
}

// Pipeline is what was decided on its records.
type Pipeline struct {
	Name       string   `json:"name"`
	Inputs     []string `json:"inputs"`
	Modules    []string `json:"modules"`
	Remotes    []string `json:"remotes"`
	Received   int64    `json:"received"`   // (counted)
	Duplicates int64    `json:"duplicates"` // (counted) seen before
	Filtered   int64    `json:"filtered"`   // (counted) dropped or absorbed
	Released   int64    `json:"released"`   // (counted) of the absorbed, passed later: its condition asked for what was before
	Parked     int64    `json:"parked"`     // (counted)
	When       string   `json:"when"`       // its condition; empty: none

	Conditions map[string]int64 `json:"conditions"` // (counted) records that its condition did not pass, or had no answer for, by reason
}

// Module is what a module's calls cost and how often they failed.
type Module struct {
	Name      string           `json:"name"`
	SHA256    string           `json:"sha256"`
	Calls     Latency          `json:"calls"`                // (counted) of a sample
	Fuel      int64            `json:"fuel"`                 // (counted)
	Traps     int64            `json:"traps"`                // (counted)
	Drops     map[string]int64 `json:"drops"`                // (counted) records dropped, by reason
	Tallies   map[string]Tally `json:"tallies"`              // what the module itself counts
	LastError string           `json:"last_error,omitempty"` // why a stream waits because of it
	Shadow    *Shadow          `json:"shadow,omitempty"`     // of the candidate for its place, or of itself where it runs in the shadow for good
	LastSwap  string           `json:"last_swap,omitempty"`  // what became of the last candidate
	Refused   bool             `json:"refused"`              // it was refused
}

// Shadow is how a module does beside a live one.
type Shadow struct {
	SHA256          string `json:"sha256"`
	Of              int    `json:"of"` // batches, after which it takes the place; 0 = never
	Batches         int64  `json:"batches"`
	Records         int64  `json:"records"`
	Different       int64  `json:"different"` // records of which it made something else
	FirstDifference string `json:"first_difference,omitempty"`
	Fuel            int64  `json:"fuel"`
	LiveFuel        int64  `json:"live_fuel"` // for the same records
	Faults          int64  `json:"faults"`
	LastFault       string `json:"last_fault,omitempty"`
}

// Tally is what a module counted, or observed, under a name of its own.
type Tally struct {
	Observed bool    `json:"observed"` // else counted, and only Sum means something
	N        int64   `json:"n"`
	Sum      float64 `json:"sum"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
}

// Remote is where messages go.
type Remote struct {
	Name               string           `json:"name"`
	Kind               string           `json:"kind"`
	Connected          int              `json:"connected"` // of Connections
	Connections        int              `json:"connections"`
	InFlight           int64            `json:"in_flight"`
	Unsure             int64            `json:"unsure"`     // sent before a cut or a crash, and neither acknowledged nor sent again: the far end may have them or not
	HeldLanes          int64            `json:"held_lanes"` // that wait with a message which was refused for now
	HeldReason         string           `json:"held_reason,omitempty"`
	Backlog            Backlog          `json:"backlog"`
	Delivered          int64            `json:"delivered"`           // (counted)
	PossibleDuplicates int64            `json:"possible_duplicates"` // (counted) sent again without knowing whether the first had arrived
	Doubles            map[string]int64 `json:"doubles"`             // (counted) the same by cause
	Parked             int64            `json:"parked"`              // (counted) refused by the far end
	GivenUp            int64            `json:"given_up"`            // messages dropped because no pipeline named the remote any more
	LastError          string           `json:"last_error,omitempty"`
	Note               string           `json:"note,omitempty"` // for people: what bounds its speed, what it waits for
}

// Backlog is what waits for a remote.
type Backlog struct {
	Records       int64   `json:"records"`
	Bytes         int64   `json:"bytes"`
	OldestSeconds float64 `json:"oldest_seconds"` // age of the oldest; 0 where none waits
}

// count fills what is marked (counted).
func (s *Status) count(m *bridge.Metrics, now time.Time) {
	s.UptimeSeconds = now.Sub(s.Started).Seconds()
	s.Ready = true
	for _, c := range s.Checks {
		s.Ready = s.Ready && c.OK
	}
	s.Ledger.Fsync = latency(&m.LedgerFsync)
	s.listAll()
	for i := range s.Inputs {
		in := &s.Inputs[i]
		in.ReconcileMissing = m.ReconcileMissing.At(in.Name).Load()
	}
	for i := range s.Pipelines {
		p := &s.Pipelines[i]
		p.Received, p.Duplicates = m.RecordsReceived.At(p.Name).Load(), m.RecordsDuplicate.At(p.Name).Load()
		p.Filtered, p.Parked = m.RecordsFiltered.At(p.Name).Load(), m.RecordsParked.At(p.Name).Load()
		p.Released = m.RecordsReleased.At(p.Name).Load()
		p.Conditions, _ = parts(&m.Conditions, p.Name)
	}
	for i := range s.Modules {
		x := &s.Modules[i]
		x.Calls = latency(m.ModuleCall.At(x.Name))
		x.Fuel, x.Traps = m.ModuleFuel.At(x.Name).Load(), m.ModuleTraps.At(x.Name).Load()
		x.Drops, _ = parts(&m.ModuleDrops, x.Name)
	}
	for i := range s.Remotes {
		r := &s.Remotes[i]
		r.Delivered, r.Parked = m.MessagesDelivered.At(r.Name).Load(), m.RecordsParked.At(r.Name).Load()
		r.Doubles, r.PossibleDuplicates = parts(&m.PossibleDuplicate, r.Name)
	}
}

// parts collects what is counted by "name/reason", for one name.
func parts(c *bridge.Counters, of string) (by map[string]int64, sum int64) {
	by = make(map[string]int64)
	c.Each(func(value string, n int64) {
		if name, reason, _ := strings.Cut(value, "/"); name == of && n > 0 {
			by[reason] = n
			sum += n
		}
	})
	return by, sum
}

// listAll makes empty lists of missing ones: readers of the JSON get [] and not null.
func (s *Status) listAll() {
	s.Checks, s.Inputs = append([]Check{}, s.Checks...), append([]Input{}, s.Inputs...)
	s.Pipelines, s.Modules = append([]Pipeline{}, s.Pipelines...), append([]Module{}, s.Modules...)
	s.Remotes = append([]Remote{}, s.Remotes...)
	s.Ledger.Lost.Newest = append([]Loss{}, s.Ledger.Lost.Newest...)
}

func latency(h *bridge.Histogram) Latency {
	buckets, count, sum := h.Read()
	if count == 0 {
		return Latency{}
	}
	l := Latency{Count: count, MeanSeconds: sum.Seconds() / float64(count), P99Seconds: bridge.Bounds[len(bridge.Bounds)-1].Seconds()}
	var below int64
	for i, bound := range bridge.Bounds {
		if below += buckets[i]; below*100 >= count*99 {
			l.P99Seconds = bound.Seconds()
			break
		}
	}
	return l
}

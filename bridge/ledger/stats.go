package ledger

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// Stats is what the status page and the metrics show of a ledger.
type Stats struct {
	Epoch    string
	Restored string // why the database is taken for an old copy; empty: it is not
	Rows     uint64 // batches ever stored
	Live     int64  // bytes that wait, parked records included; what the quota is about
	Kept     int64  // bytes of settled messages that are still there
	Quota    bridge.Size
	DiskFull bool // the reserve is in use, Appends are refused
	Parked   int64
	Gaps     int

	// The list of what is known to be lost: its rows, the records of those that have a number, and how many rows have none.
	Losses      int
	LostRecords int64
	LostUnknown int

	Backlog   []Backlog
	GivenUp   map[string]int64 // by remote, mostly ones that are gone: messages that were dropped with it, since the ledger was made
	LastError error            // of a write; nil: none since Open
}

// Backlog is what a remote has not settled of a pipeline's messages.
type Backlog struct {
	Remote, Pipeline string
	Records          int64
	Bytes            int64         // stored, by the share of records that is not settled
	Oldest           time.Duration // age of the oldest
}

// Stats looks at every live row once.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := Stats{
		Epoch: l.Epoch(), Restored: l.epoch.restored, Rows: l.nextRow, Live: l.live, Kept: l.kept, Quota: l.cfg.Quota,
		DiskFull: l.diskFull, Parked: l.parked.records, Gaps: len(l.gaps),
		Losses: l.losses.rows, LostRecords: l.losses.records, LostUnknown: l.losses.unknown, GivenUp: maps.Clone(l.givenUp), LastError: l.lastError,
	}
	now := time.Now().UnixMicro()
	sums := make(map[[2]string]*Backlog)
	for _, o := range l.outboxes {
		for pipeline, ids := range l.routes {
			if slices.Contains(ids, o.id) {
				sums[[2]string{o.name, pipeline}] = &Backlog{Remote: o.name, Pipeline: pipeline}
			}
		}
	}
	for _, r := range l.rows.rows {
		if r.stream != nil {
			l.addBacklog(sums, r, now)
		}
	}
	for _, b := range sums {
		st.Backlog = append(st.Backlog, *b)
	}
	slices.SortFunc(st.Backlog, func(a, b Backlog) int {
		return cmp.Or(cmp.Compare(a.Remote, b.Remote), cmp.Compare(a.Pipeline, b.Pipeline))
	})
	return st
}

func (l *Log) addBacklog(sums map[[2]string]*Backlog, r *row, now int64) {
	for _, id := range r.remotes {
		o := l.outboxes[id]
		if o == nil || o.shares[r.number] == nil {
			continue
		}
		left := o.shares[r.number].left
		k := [2]string{o.name, r.stream.pipeline}
		b := sums[k]
		if b == nil {
			b = &Backlog{Remote: k[0], Pipeline: k[1]}
			sums[k] = b
		}
		b.Records += int64(left)
		b.Bytes += int64(r.bytes) * int64(left) / int64(r.count)
		b.Oldest = max(b.Oldest, time.Duration(now-r.noted)*time.Microsecond)
	}
}

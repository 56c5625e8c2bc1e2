package simulation

import (
	"encoding/binary"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// verdict compares what was handed on with what was written.
func (w *world) verdict() {
	w.arrivals()
	for _, e := range w.edge.list {
		w.stream(e)
	}
}

// arrivals: no double without a mark and a cause, and in order. What is late has an order of its own.
func (w *world) arrivals() {
	times := map[string]int{}
	type place struct {
		row uint64
		at  uint32
	}
	last, newest := map[string]place{}, map[string]int64{}
	for _, p := range w.broker.out {
		stream, m := w.rows[p.ref.Row-1].stream, w.message(p.ref)
		id := w.words(p.ref)
		if times[id]++; times[id] > 1 {
			switch {
			case !p.mark:
				w.failf("unmarked double: %s", id)
			case !w.lossy && w.qos == 2:
				w.failf("double without a cause: %s", id)
			}
			w.fire("marked double")
			continue
		}
		if w.ordering == bridge.Unordered {
			continue
		}
		class := stream
		if p.late {
			class += " late"
		}
		if l := last[class]; l.row > p.ref.Row || l.row == p.ref.Row && l.at > p.ref.Index {
			w.failf("order: %s after row %d message %d", id, l.row, l.at)
		}
		last[class] = place{p.ref.Row, p.ref.Index}
		if r := w.edge.entries[stream].ever(m.Time); m.Time < newest[class] && m.Revision == 0 && !r.late && !r.loose {
			w.failf("order: %s after %d, although nothing let it be late", id, newest[class])
		}
		newest[class] = max(newest[class], m.Time)
	}
}

// stream: every record was decided on once, and what it became is at the far end or parked.
func (w *world) stream(e *entry) {
	arrived := map[string]bool{}
	for _, p := range w.broker.out {
		if w.rows[p.ref.Row-1].stream == e.stream {
			arrived[w.words(p.ref)] = true
		}
	}
	for _, p := range w.disk.store.Parked() {
		if p.Module == remoteName {
			arrived[string(p.Message.AppendID(nil, e.stream))] = true // refused there
		}
	}
	decided := uint64(0)
	for _, r := range e.records {
		decided += w.record(e, r, arrived)
	}
	w.numbers(e, decided)
	w.windows(e, arrived)
}

// record returns how often a record was decided on.
func (w *world) record(e *entry, r *record, arrived map[string]bool) (decided uint64) {
	keys := []bridge.Key{{Time: r.time}}
	for v := range r.version {
		keys = append(keys, bridge.Key{Time: r.time, Revision: revision(v + 1)})
	}
	for _, k := range keys {
		v, seen := w.disk.store.Seen(pipeline, e.stream, k)
		if !seen {
			continue
		}
		decided++
		if want := fate(r.time); v.Kind != want.Kind || v.Outputs != want.Outputs {
			w.failf("verdict on %s %v is %v, want %v", e.stream, k, v, want)
		}
		for i := range v.Outputs {
			m := bridge.Message{Record: bridge.Record{Time: k.Time, Revision: k.Revision}, Index: i}
			if id := string(m.AppendID(nil, e.stream)); !arrived[id] {
				w.failf("lost: %s", id)
			}
		}
	}
	if decided == 0 && r.evicted && !r.unseen && !w.listed(e.stream, r.time) {
		w.failf("lost: record %s %d was evicted and is not listed", e.stream, r.time)
	}
	if decided == 0 && !r.evicted {
		w.failf("lost: record %s %d was never taken in", e.stream, r.time)
	}
	if at := (recordName{e.stream, r.time}); r.version > r.lapsed && !r.evicted && w.disk.version[at] != r.version {
		w.failf("lost: update %d of %s %d", r.version, e.stream, r.time)
	}
	return decided
}

// listed reports whether the bridge knows that a record is lost, or where it is missing, or will know at its next pass: what lies between the mark and the
// oldest record. An entry that is empty has none yet.
func (w *world) listed(stream string, t int64) bool {
	if t > w.disk.marks[stream] && t < w.edge.entries[stream].extent().Oldest {
		return true
	}
	return slices.ContainsFunc(w.disk.losses, func(l loss) bool { return l.stream == stream && l.From <= t && t <= l.To }) ||
		slices.ContainsFunc(w.gaps(), func(x bridge.Gap) bool { return x.Stream == stream && x.From <= t && t <= x.To })
}

// numbers: the module counted each record once, in the order of the Appends (rules 3 and 4).
func (w *world) numbers(e *entry, decided uint64) {
	last := uint64(0)
	for _, r := range w.rows {
		if r.stream != e.stream {
			continue
		}
		for i := range r.messages {
			if r.messages[i].ID().Flushed() {
				continue
			}
			n := binary.LittleEndian.Uint64(r.messages[i].Payload)
			if n < last || n == last && r.messages[i].Index == 0 {
				w.failf("state: record %d has number %d after %d", r.messages[i].Time, n, last)
			}
			last = n
		}
	}
	s, _, _ := w.disk.store.State(pipeline, e.stream, moduleName)
	if count := tallyOf(s.Bytes).n; count != decided {
		w.failf("state: the module counted %d records of %s, %d were decided on", count, e.stream, decided)
	}
}

// windows: what the module said between batches adds up to what its state says that it has said, and all of it is at the far end (rule 3).
func (w *world) windows(e *entry, arrived map[string]bool) {
	sum, ids := uint64(0), map[string]bool{}
	for _, r := range w.rows {
		for i := range r.messages {
			m := &r.messages[i]
			if r.stream != e.stream || !m.ID().Flushed() {
				continue
			}
			id := string(m.AppendID(nil, e.stream))
			if ids[id] || !arrived[id] {
				w.failf("window: %s is there twice (%v), or not at the far end (%v)", id, ids[id], !arrived[id])
			}
			ids[id] = true
			sum += binary.LittleEndian.Uint64(m.Payload)
		}
	}
	s, _, _ := w.disk.store.State(pipeline, e.stream, moduleName)
	if said := tallyOf(s.Bytes).said; sum != said {
		w.failf("window: %d records of %s were said, the state says %d", sum, e.stream, said)
	}
}

// has reports whether some version of a record is durably ours.
func (d *disk) has(stream string, t int64) bool {
	return slices.ContainsFunc(d.w.edge.entries[stream].records, func(r *record) bool { return r.time == t && d.anyVersion(stream, r) })
}

func (d *disk) anyVersion(stream string, r *record) bool {
	for v := range r.version + 1 {
		k := bridge.Key{Time: r.time}
		if v > 0 {
			k.Revision = revision(v)
		}
		if _, seen := d.store.Seen(pipeline, stream, k); seen {
			return true
		}
	}
	return false
}

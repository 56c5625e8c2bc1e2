package simulation

import (
	"math"
	"slices"
	"strconv"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// The edge store, and the senders of its replication tasks. A sender forgets as the real one does: after any answer but 503, and when its
// connection breaks under a request that was on its way.

// record is one record of the edge store.
type record struct {
	time    int64
	version int  // of its labels: 0 as written, one more at each update
	late    bool // written with a time older than one before it
	loose   bool // may come late: a live sender forgot it, so that nothing holds back what comes after
	lapsed  int  // version up to which an update of it was forgotten: nobody can find that again
	evicted bool
	unseen  bool // evicted before the bridge ever looked: nobody can know of it
}

func (r *record) labels() []bridge.Label { return labelsOf(r.version) }

func labelsOf(version int) []bridge.Label {
	if version == 0 {
		return nil
	}
	return []bridge.Label{{Name: []byte("v"), Value: strconv.AppendInt(nil, int64(version), 10)}}
}

func versionOf(labels []bridge.Label) int {
	if len(labels) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(string(labels[0].Value))
	return n
}

// revision is what the bridge calls a version that it was told of by an update.
func revision(version int) uint64 { return bridge.LabelHash(labelsOf(version)) }

type edge struct {
	list    []*entry
	entries map[string]*entry // by stream
	senders []*sender
}

type entry struct {
	stream  string
	number  int
	records []*record // by time
	coming  int       // records still to be written
	updates int       // updates still to be made
}

// find returns a record that is in the store.
func (e *entry) find(t int64) *record {
	if r := e.ever(t); r != nil && !r.evicted {
		return r
	}
	return nil
}

// ever returns a record that was written at any time.
func (e *entry) ever(t int64) *record {
	for _, r := range e.records {
		if r.time == t {
			return r
		}
	}
	return nil
}

// extent is what the store lists of an entry.
func (e *entry) extent() hold.Extent {
	x := hold.Extent{Oldest: math.MaxInt64}
	for _, r := range e.records {
		if !r.evicted {
			x.Oldest, x.Latest, x.Some = min(x.Oldest, r.time), max(x.Latest, r.time), true
		}
	}
	return x
}

// evict is the store's quota: the oldest record of an entry goes.
func (w *world) evict() bool {
	e := w.edge.list[w.pick(len(w.edge.list))]
	if !w.evicts || !w.chance(20) {
		return false
	}
	for _, r := range e.records {
		if r.evicted {
			continue
		}
		r.evicted = true
		r.loose = r.loose || w.underway(e.stream, r.time)
		_, marked := w.disk.marks[e.stream]
		r.unseen = !marked && !w.disk.has(e.stream, r.time)
		w.note("edge: %s %d evicted", e.stream, r.time)
		w.fire("evicted")
		return true
	}
	return false
}

// underway reports whether a record is in a request, one of a broken connection perhaps. Evicted now, it cannot be fetched together with what has to come before the rest of that request, and
// comes after it.
func (w *world) underway(stream string, t int64) bool {
	has := func(r *request) bool { return r.stream == stream && slices.Contains(timesOf(r.records), t) }
	return w.gate != nil && slices.ContainsFunc(w.gate.serving, has) ||
		slices.ContainsFunc(w.edge.senders, func(s *sender) bool { return s.batch != nil && s.batch.request != nil && has(s.batch.request) })
}

// line is one of a replication log.
type line struct {
	time   int64
	update bool
}

// sender is a replication task.
type sender struct {
	logs    map[string][]line
	size    int    // of a log
	conn    int    // its connection, 0: none
	turn    int    // entry that was served last
	batch   *batch // in flight
	started bool
}

type batch struct {
	stream  string
	lines   int      // to be taken from the log
	shifted int      // lines that the log dropped meanwhile: as many too many will be taken
	write   []line   // for POST
	update  []line   // for PATCH, before that
	request *request // on its way
}

// request is one of a batch. The bridge answers it, or is not there any more.
type request struct {
	from    *sender
	conn    int
	stream  string
	patch   bool
	garbled bool
	records []bridge.Record
	read    bool
	status  int            // 0: no answer yet
	refused map[int64]bool // of a PATCH: records to come whole
}

const step = 10 // of record times

// write puts a record into the store, or changes the labels of one.
func (w *world) write() bool {
	e := w.edge.list[w.pick(len(w.edge.list))]
	switch {
	case e.updates > 0 && len(e.records) > 0 && w.chance(4):
		e.updates--
		r := e.records[w.pick(len(e.records))]
		if r.evicted {
			return false
		}
		if r.version++; !slices.ContainsFunc(w.edge.senders, func(s *sender) bool { return s.started }) {
			r.lapsed = r.version
		}
		w.note("edge: %s %d relabelled, version %d", e.stream, r.time, r.version)
		w.notify(e, line{r.time, true})
		return true
	case e.coming == 0:
		return false
	}
	e.coming--
	r := &record{time: step}
	if n := len(e.records); n > 0 {
		r.time = e.records[n-1].time + step
	}
	if w.lates && len(e.records) > 0 && w.chance(6) {
		if at := e.records[w.pick(len(e.records))].time - 1 - int64(w.pick(step-2)); e.ever(at) == nil && at > 0 {
			w.fire("written late")
			r.time, r.late = at, true
		}
	}
	at, _ := slices.BinarySearchFunc(e.records, r.time, func(x *record, t int64) int { return int(x.time - t) })
	e.records = slices.Insert(e.records, at, r)
	w.note("edge: %s %d written", e.stream, r.time)
	w.notify(e, line{r.time, false})
	return true
}

// notify tells every task. A log that is full drops its oldest line.
func (w *world) notify(e *entry, l line) {
	for _, s := range w.edge.senders {
		if !s.started {
			continue
		}
		s.logs[e.stream] = append(s.logs[e.stream], l)
		if len(s.logs[e.stream]) >= s.size {
			w.fire("replication log overrun")
			w.forget(s, e.stream, s.logs[e.stream][:1], s.conn != 0)
			s.logs[e.stream] = s.logs[e.stream][1:]
			if s.batch != nil && s.batch.stream == e.stream {
				s.batch.shifted++
			}
		}
	}
}

// forget notes what a sender will not send any more. loose: its connection lives on, so that nothing tells the bridge.
func (w *world) forget(s *sender, stream string, lines []line, loose bool) {
	e := w.edge.entries[stream]
	for _, l := range lines {
		r := e.find(l.time)
		if r == nil {
			continue
		}
		if l.update {
			r.lapsed = r.version
		}
		r.loose = r.loose || loose
	}
}

// post sends the next request of a sender whose connection is free.
func (w *world) post() bool {
	s := w.edge.senders[w.pick(len(w.edge.senders))]
	if w.gate == nil || !s.started || s.batch != nil && s.batch.request != nil {
		return false
	}
	if s.batch == nil && !w.prepare(s) {
		return false
	}
	if s.conn == 0 {
		w.connections++
		s.conn = w.connections
		w.note("sender: connection %d", s.conn)
	}
	b := s.batch
	r := &request{from: s, conn: s.conn, stream: b.stream, patch: len(b.update) > 0}
	lines := b.write
	if r.patch {
		lines = b.update
	}
	e := w.edge.entries[b.stream]
	for _, l := range lines {
		if x := e.find(l.time); x != nil { // read when it is sent, with the labels of now
			r.records = append(r.records, bridge.Record{Time: x.time, Labels: x.labels()})
		}
	}
	slices.SortFunc(r.records, func(a, b bridge.Record) int { return int(a.Time - b.Time) })
	r.records = slices.CompactFunc(r.records, func(a, b bridge.Record) bool { return a.Time == b.Time })
	b.request = r
	w.note("sender: connection %d posts %s %v patch %v", r.conn, r.stream, timesOf(r.records), r.patch)
	if len(r.records) == 0 { // all evicted
		r.status = 200
	}
	return true
}

// prepare takes the front of the next log that has something.
func (w *world) prepare(s *sender) bool {
	for range w.edge.list {
		s.turn = (s.turn + 1) % len(w.edge.list)
		stream := w.edge.list[s.turn].stream
		log := s.logs[stream]
		if len(log) == 0 {
			continue
		}
		b := &batch{stream: stream, lines: min(len(log), 1+w.pick(4))}
		for _, l := range log[:b.lines] {
			if l.update {
				b.update = append(b.update, l)
			} else {
				b.write = append(b.write, l)
			}
		}
		s.batch = b
		return true
	}
	return false
}

// hear is the sender reading its answer.
func (w *world) hear() bool {
	s := w.edge.senders[w.pick(len(w.edge.senders))]
	if s.batch == nil || s.batch.request == nil || s.batch.request.status == 0 {
		return false
	}
	b, r := s.batch, s.batch.request
	b.request = nil
	w.note("sender: connection %d hears %d", r.conn, r.status)
	switch {
	case r.status == 503:
		s.batch = nil
	case r.patch && r.status == 200:
		for _, l := range b.update {
			if r.refused[l.time] {
				b.write = append(b.write, l)
			}
		}
		if b.update = nil; len(b.write) == 0 {
			w.pop(s, b)
		}
	default:
		if r.status != 200 {
			w.forget(s, b.stream, s.logs[b.stream][:min(b.lines, len(s.logs[b.stream]))], false) // a gap holds the stream
		}
		w.pop(s, b)
	}
	return true
}

// pop takes a batch from its log, whatever is at the front of that by now.
func (w *world) pop(s *sender, b *batch) {
	log := s.logs[b.stream]
	n := min(b.lines, len(log))
	if b.shifted > 0 && n > 0 {
		w.fire("lines popped that were never sent")
		w.forget(s, b.stream, log[max(0, n-b.shifted):n], true)
	}
	s.logs[b.stream] = log[n:]
	s.batch = nil
}

// cutSender breaks a sender's connection: what it had on its way it forgets.
func (w *world) cutSender(s *sender) {
	b := s.batch
	if s.conn = 0; b == nil {
		return
	}
	log := s.logs[b.stream]
	switch r := b.request; {
	case r == nil && len(b.update) > 0: // nothing of it was sent
		s.batch = nil
		return
	case r == nil: // between PATCH and POST: the POST opens a new connection
		return
	case !r.read && w.chance(2): // it had not left yet
		s.batch = nil
		return
	case r.status == 503:
		w.fire("sender cut: 503 never read")
	case r.status > 0:
		w.fire("sender cut: answer never read")
	case r.read:
		w.fire("sender cut: request read")
	default:
		w.fire("sender cut: request unread")
	}
	w.note("sender: connection %d cut, %d lines of %s forgotten", b.request.conn, b.lines, b.stream)
	w.forget(s, b.stream, log[:min(b.lines, len(log))], false)
	w.pop(s, b)
}

// restartEdge kills the store: what was in flight stays in the log. It may have lost a log.
func (w *world) restartEdge() {
	for _, s := range w.edge.senders {
		s.batch, s.conn = nil, 0
		for _, e := range w.edge.list {
			if len(s.logs[e.stream]) > 0 && w.chance(4) {
				w.fire("replication log lost")
				w.forget(s, e.stream, s.logs[e.stream], false)
				s.logs[e.stream] = nil
			}
		}
	}
}

// begin starts a replication task after its store had data: what was there it never sends.
func (w *world) begin() bool {
	for _, s := range w.edge.senders {
		if !s.started && w.chance(20) {
			s.started = true
			w.fire("task made after the data")
			return true
		}
	}
	return false
}

func timesOf(rs []bridge.Record) (ts []int64) {
	for i := range rs {
		ts = append(ts, rs[i].Time)
	}
	return ts
}

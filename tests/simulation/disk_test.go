package simulation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/bridgetest"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// disk is the ledger's file and its committer. store is what is durable: the fake that passes the same suite as the real ledger. tail is what
// was handed in and is not: writes that wait, the first of them perhaps inside a commit.
//
//	store │ tail[:taken] in a commit │ tail[taken:] waiting
//
// A crash keeps the commit whole or not at all, and loses the rest.
type disk struct {
	w       *world
	store   *bridgetest.Ledger
	newest  map[string]int64   // time of the newest record taken, by stream; durable
	version map[recordName]int // of the labels that a record was taken with last; durable
	losses  []loss             // durable
	marks   map[string]int64   // reconciled up to, by stream; durable
	tail    []*write
	taken   int
	hangs   bool // an fsync that does not come back
	full    bool // no space: what is not small fails
}

// recordName is a record of a stream.
type recordName struct {
	stream string
	time   int64
}

func newDisk(w *world) disk {
	return disk{w: w, store: bridgetest.Model(remoteName), newest: make(map[string]int64), version: make(map[recordName]int), marks: make(map[string]int64)}
}

// loss is a range of a stream of which records are known to be lost.
type loss struct {
	stream string
	hold.Range
}

// row is what was appended at once; row n of the ledger is rows[n-1].
type row struct {
	stream   string
	messages []bridge.Message
}

// write is one caller's part of a commit.
type write struct {
	what   string
	stream string // that it belongs to; "" for none
	small  bool   // fits into the reserve of a full disk
	put    func() error
	taken  bool
	done   bool
	err    error
}

var (
	remoteName  = "far"
	pipeline    = "p"
	errDeadline = errors.New("commit was not begun in time")
	bg          = context.Background()
	ended       = func() context.Context { ctx, cancel := context.WithCancel(context.Background()); cancel(); return ctx }()
)

func (d *disk) busy(stream string) bool {
	return slices.ContainsFunc(d.tail, func(x *write) bool { return x.stream == stream })
}

// commit begins or ends a commit of what waits.
func (w *world) commit() bool {
	d := &w.disk
	switch {
	case len(d.tail) == 0 || d.hangs:
		return false
	case d.taken == 0:
		d.taken = 1 + w.pick(len(d.tail))
		for _, x := range d.tail[:d.taken] {
			x.taken = true
		}
		return true
	}
	w.note("commit of %d", d.taken)
	d.sync()
	return true
}

// sync makes the commit durable and reports to its callers.
func (d *disk) sync() {
	group := d.tail[:d.taken]
	d.tail, d.taken = d.tail[d.taken:], 0
	for _, x := range group {
		x.done = true
		if d.full && !x.small {
			d.w.fire("disk full")
			x.err = bridge.ErrFull
			continue
		}
		if x.err = x.put(); x.err != nil {
			d.w.failf("%s: %v", x.what, x.err) // nobody may ask for what the ledger has to refuse
		}
	}
}

// crash loses what is not durable.
func (d *disk) crash() {
	if d.taken > 0 {
		if d.w.chance(2) {
			d.w.fire("crash: commit in progress is durable")
			d.sync()
		} else {
			d.w.fire("crash: commit in progress is gone")
		}
	}
	d.tail, d.taken, d.hangs = nil, 0, false
}

// ledger is the disk as one process sees it.
type ledger struct{ g *gate }

// submit hands a write in and waits for its commit, as the real ledger's does.
func (l ledger) submit(x *write) error {
	if l.g.dead() {
		return bridge.ErrClosed
	}
	d := &l.g.w.disk
	d.tail = append(d.tail, x)
	if l.g.wait(func() bool { return x.done }) {
		return x.err
	}
	switch {
	case l.g.dead():
		return bridge.ErrClosed
	case x.taken:
		l.g.w.fire("outcome of a commit unknown")
		return fmt.Errorf("%s: %w", x.what, bridge.ErrUnknown)
	}
	d.tail = slices.DeleteFunc(d.tail, func(y *write) bool { return x == y })
	l.g.w.fire("commit not begun in time")
	return errDeadline
}

// Fresh implements bridge.Ledger.
func (l ledger) Fresh(p, stream string, rs []bridge.Record, fresh []bool) error {
	if l.g.w.disk.busy(stream) {
		return bridge.ErrUnknown
	}
	return l.g.w.disk.store.Fresh(p, stream, rs, fresh)
}

// Append implements bridge.Ledger.
func (l ledger) Append(_ context.Context, a *bridge.Append) error {
	w := l.g.w
	switch {
	case w.disk.busy(a.Stream):
		return bridge.ErrUnknown
	case len(a.Messages) > 0 && w.waiting() >= w.quota:
		w.fire("quota reached")
		return bridge.ErrFull
	}
	a = cloneAppend(a)
	version := make(map[recordName]int)
	for _, k := range a.Keys {
		if name := (recordName{a.Stream, k.Time}); !k.Flushed() {
			version[name] = l.g.applied[name]
		}
	}
	return l.submit(&write{what: "Append to " + a.Stream, stream: a.Stream, put: func() error {
		w.note("durable: %s %v", a.Stream, a.Keys)
		for i, k := range a.Keys {
			newest, any := w.disk.newest[a.Stream]
			if late := any && k.Time < newest; a.Verdicts[i].Late != late {
				w.failf("late: verdict on %s %v says %v, want %v", a.Stream, k, a.Verdicts[i].Late, late)
			}
			w.disk.newest[a.Stream] = max(newest, k.Time)
		}
		maps.Copy(w.disk.version, version)
		if len(a.Messages) > 0 {
			w.rows = append(w.rows, row{a.Stream, a.Messages})
		}
		return w.disk.store.Append(bg, a)
	}})
}

// cloneAppend: the caller's memory is its own again as soon as it has given up waiting.
func cloneAppend(a *bridge.Append) *bridge.Append {
	c := *a
	c.Keys, c.Verdicts = slices.Clone(a.Keys), slices.Clone(a.Verdicts)
	c.Messages, c.Parked, c.States = slices.Clone(a.Messages), slices.Clone(a.Parked), slices.Clone(a.States)
	for i := range c.Messages {
		c.Messages[i].Payload = slices.Clone(c.Messages[i].Payload)
	}
	for i := range c.States {
		c.States[i].Bytes = slices.Clone(c.States[i].Bytes)
	}
	return &c
}

// Want implements bridge.Ledger.
func (l ledger) Want(ctx context.Context, p, stream string, keys []bridge.Key, known []bool) error {
	w := l.g.w
	if w.disk.busy(stream) {
		return bridge.ErrUnknown
	}
	keys = slices.Clone(keys)
	answer := make([]bool, len(keys))
	err := l.submit(&write{what: "Want of " + stream, stream: stream, put: func() error {
		return w.disk.store.Want(bg, p, stream, keys, answer)
	}})
	copy(known, answer)
	return err
}

// NextFlush implements bridge.Ledger.
func (l ledger) NextFlush(p, stream string) (bridge.Key, bool, error) {
	if l.g.w.disk.busy(stream) {
		return bridge.Key{}, false, bridge.ErrUnknown
	}
	return l.g.w.disk.store.NextFlush(p, stream)
}

// State implements bridge.States.
func (l ledger) State(p, stream, module string) (bridge.State, bool, error) {
	return l.g.w.disk.store.State(p, stream, module)
}

// gaps of a stream, oldest first.
func (l ledger) gaps(stream string) []bridge.Gap {
	all, _ := l.g.w.disk.store.OpenGaps()
	return slices.DeleteFunc(all, func(x bridge.Gap) bool { return x.Stream != stream })
}

func (l ledger) noteGap(gap bridge.Gap) error {
	return l.submit(&write{what: "gap", small: true, put: func() error { return l.g.w.disk.store.NoteGap(bg, gap) }})
}

func (l ledger) lose(stream string, lost hold.Range) error {
	return l.submit(&write{what: "loss", small: true, put: func() error {
		l.g.w.note("lost: %s %v", stream, lost)
		l.g.w.disk.losses = append(l.g.w.disk.losses, loss{stream, lost})
		return nil
	}})
}

func (l ledger) closeGap(id int64) error {
	return l.submit(&write{what: "end of a gap", small: true, put: func() error { return l.g.w.disk.store.CloseGap(bg, id) }})
}

func (l ledger) setReconciled(stream string, upTo int64) error {
	return l.submit(&write{what: "mark", small: true, put: func() error { l.g.w.disk.marks[stream] = upTo; return nil }})
}

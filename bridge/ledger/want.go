package ledger

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// Want implements bridge.Ledger. Known is what is the last that was taken in of its record: labels that were changed and changed back are
// another update. A revision that has become part of a closed range is not known any more: the record is asked for again. Of a
// record, the update that was wanted last is waited for; one before it cannot come any more.
func (l *Log) Want(ctx context.Context, pipeline, name string, keys []bridge.Key, known []bool) error {
	if err := l.want(ctx, pipeline, name, keys, known); err != nil {
		return fmt.Errorf("want %d updates of %s: %w", len(keys), name, err)
	}
	return nil
}

func (l *Log) want(ctx context.Context, pipeline, name string, keys []bridge.Key, known []bool) error {
	s, err := l.settledStream(pipeline, name)
	if err != nil {
		return err
	}
	if err := l.markKnown(s, keys, known); err != nil {
		return err
	}
	var add []bridge.Key
	for i, k := range keys {
		if !known[i] && s.wanted[k.Time] != k.Revision {
			add = append(add, k)
		}
	}
	switch {
	case len(add) == 0:
		return nil
	case len(add)+len(s.wanted) > maxWanted:
		return fmt.Errorf("%d are wanted already: %w", len(s.wanted), bridge.ErrFull)
	}
	l.mu.Lock()
	s.busy = true
	l.mu.Unlock()
	w := &write{size: 64 * len(add)}
	w.put = func(t *tx) error { return t.want(s, add) }
	w.end = func(err error) {
		s.busy = false
		if err != nil {
			return
		}
		s.stored = true
		if s.wanted == nil {
			s.wanted = make(map[int64]uint64)
		}
		for _, k := range add {
			s.wanted[k.Time] = k.Revision
		}
	}
	return l.submit(ctx, w)
}

func (t *tx) want(s *stream, keys []bridge.Key) error {
	if err := t.putStream(s); err != nil {
		return err
	}
	for _, k := range keys {
		if err := t.exec(sqlWant, int64(s.id), k.Time, int64(k.Revision)); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) putStream(s *stream) error {
	if s.stored {
		return nil
	}
	return t.exec(sqlStream, int64(s.id), s.pipeline, s.name)
}

// markKnown sets known[i] where that very revision is the last that was appended of its time.
func (l *Log) markKnown(s *stream, keys []bridge.Key, known []bool) error {
	clear(known[:len(keys)])
	if len(keys) == 0 {
		return nil
	}
	lo, hi := slices.MinFunc(keys, compareTimes).Time, slices.MaxFunc(keys, compareTimes).Time
	for _, g := range s.segments { // in the order of the Appends
		if !g.overlaps(lo, hi) {
			continue
		}
		ks, err := l.keys(s, g)
		if err != nil {
			return err
		}
		for i, k := range keys {
			if last, ok := lastRevision(ks, k.Time); ok {
				known[i] = last == k.Revision
			}
		}
	}
	return nil
}

// NextFlush implements bridge.Ledger. The number is that of the Append to come: it is dense, durable with the key, and not given again before it is.
func (l *Log) NextFlush(pipeline, name string) (k bridge.Key, found bool, err error) {
	s, err := l.settledStream(pipeline, name)
	if err != nil {
		return k, false, fmt.Errorf("next flush of %s: %w", name, err)
	}
	return bridge.Key{Time: s.newest, Revision: s.appends + 1}, s.any, nil
}

// StreamInfo is what is known of a stream.
type StreamInfo struct {
	Pipeline, Stream string
	Newest           int64 // time of the newest record seen, microseconds
	Seen             int64 // keys, those in closed ranges included
	Exact            int   // keys that are kept one by one
}

// Streams returns all streams of which a record was seen, in no order.
func (l *Log) Streams() []StreamInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []StreamInfo
	for k, s := range l.streams {
		if !s.any {
			continue
		}
		n := int64(s.exact)
		for _, r := range s.closed {
			n += r.count
		}
		out = append(out, StreamInfo{Pipeline: k.pipeline, Stream: k.name, Newest: s.newest, Seen: n, Exact: s.exact})
	}
	return out
}

// Newest returns the time of the newest record seen of a stream; found is false where none was.
func (l *Log) Newest(pipeline, name string) (t int64, found bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[streamKey{pipeline, name}]
	if s == nil {
		return 0, false
	}
	return s.newest, s.any
}

// Seen walks the exact keys of a stream between two times, both included, with their verdicts: by Append, ascending within one or a few. It
// ends early with an error in err. What is appended meanwhile may be missing.
func (l *Log) Seen(pipeline, name string, from, to int64, err *error) iter.Seq2[bridge.Key, bridge.Verdict] {
	return func(yield func(bridge.Key, bridge.Verdict) bool) {
		l.mu.Lock()
		s := l.streams[streamKey{pipeline, name}]
		var blocks []*segment
		if s != nil {
			blocks = slices.Clone(s.segments)
		}
		l.mu.Unlock()
		for _, g := range blocks {
			if !g.overlaps(from, to) {
				continue
			}
			var more bool
			if more, *err = l.yieldBlock(s, g, from, to, yield); *err != nil || !more {
				return
			}
		}
	}
}

func (l *Log) yieldBlock(s *stream, g *segment, from, to int64, yield func(bridge.Key, bridge.Verdict) bool) (more bool, err error) {
	data, err := l.blockData(s, g)
	if err != nil {
		return false, err
	}
	ks, vs, err := readBlock(data)
	if err != nil {
		return false, l.stop(fmt.Errorf("seen keys %d to %d of %s: %w", g.first, g.last, s.name, err))
	}
	for i := range ks {
		if from <= ks[i].Time && ks[i].Time <= to && !yield(ks[i], vs[i]) {
			return false, nil
		}
	}
	return true, nil
}

// SetReconciled notes up to which time a stream has been compared with its source. Durable on return.
func (l *Log) SetReconciled(ctx context.Context, name string, upTo int64) error {
	w := &write{small: true, end: func(err error) {
		if err == nil {
			l.reconciled[name] = upTo
		}
	}}
	w.put = func(t *tx) error { return t.exec(sqlReconciled, name, upTo) }
	if err := l.submit(ctx, w); err != nil {
		return fmt.Errorf("note %s as reconciled: %w", name, err)
	}
	return nil
}

// Reconciled returns what SetReconciled noted last.
func (l *Log) Reconciled(name string) (upTo int64, found bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	upTo, found = l.reconciled[name]
	return upTo, found
}

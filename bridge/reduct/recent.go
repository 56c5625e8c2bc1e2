package reduct

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sluicebridge/sluice/bridge"
)

// recent remembers which records were taken in with which labels, about the last 200,000: one word for each, 2 MiB in all.
//
// The sender reads a record when it sends it. Where labels were added a moment after the write, and a backlog waits, the POST for the
// write carries them already, and a PATCH with the same labels follows in a later batch. Answered 404, it would bring every such
// record twice. The ledger cannot tell: it keeps the labels' hash of updates only. What is forgotten here is sent twice, under another
// revision, and lost never: a record is put in only when it was taken in with these very labels by every pipeline.
type recent struct {
	slots [1 << 18]atomic.Uint64
}

// fingerprint is of a record and its labels; place says where it stands.
func fingerprint(stream string, t int64, labels []bridge.Label) (print, place uint64) {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	for i := range len(stream) {
		h = (h ^ uint64(stream[i])) * prime
	}
	place = mix(h ^ mix(uint64(t)))
	return mix(place^bridge.LabelHash(labels)) | 1, place // 0 is an empty slot
}

// mix spreads every bit over all others (the finisher of splitmix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (r *recent) add(stream string, t int64, labels []bridge.Label) {
	print, place := fingerprint(stream, t, labels)
	r.slots[place%uint64(len(r.slots))].Store(print)
}

// drop forgets a record, and whatever else shares its place.
func (r *recent) drop(stream string, t int64) {
	_, place := fingerprint(stream, t, nil)
	r.slots[place%uint64(len(r.slots))].Store(0)
}

func (r *recent) has(stream string, t int64, labels []bridge.Label) bool {
	print, place := fingerprint(stream, t, labels)
	return r.slots[place%uint64(len(r.slots))].Load() == print
}

// taker delivers batches and keeps recent true. Whoever feeds a stream uses the same one: between asking what is new and delivering it,
// nobody else may deliver other labels of the same records.
type taker struct {
	recent recent
	mu     sync.Mutex
	turns  map[string]*turn // by stream; guarded by mu; never shrinks, as the streams of an Intake
}

// turn is the right to deliver to a stream, and the buffers used under it.
type turn struct {
	free  chan struct{} // holds one token while nobody delivers
	times []int64
	first []bool // nobody has taken the record before
}

// Take is in.Deliver, remembered for Took. ErrRetry where ctx ends before it is this caller's turn.
func (k *taker) Take(ctx context.Context, in Intake, b *bridge.Batch) error {
	w := k.turn(b.Stream)
	select {
	case <-w.free:
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", b.Stream, bridge.ErrRetry)
	}
	defer func() { w.free <- struct{}{} }()
	w.times, w.first = w.times[:0], w.first[:0]
	for i := range b.Records {
		w.times, w.first = append(w.times, b.Records[i].Time), append(w.first, false)
	}
	if err := in.Untouched(ctx, b.Stream, w.times, w.first); err != nil {
		return err
	}
	if err := in.Deliver(ctx, b); err != nil {
		return err
	}
	for i := range b.Records {
		r := &b.Records[i]
		switch {
		case w.first[i]:
			k.recent.add(b.Stream, r.Time, r.Labels)
		case !k.recent.has(b.Stream, r.Time, r.Labels):
			// Taken before by one pipeline at least, with other labels or an update just taken: what is known of its labels is not the last word
			// any more.
			k.recent.drop(b.Stream, r.Time)
		}
	}
	return nil
}

// Took reports whether Take took the record in with these very labels a short while ago.
func (k *taker) Took(stream string, t int64, labels []bridge.Label) bool {
	return k.recent.has(stream, t, labels)
}

func (k *taker) turn(stream string) *turn {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.turns[stream]
	if w == nil {
		if k.turns == nil {
			k.turns = make(map[string]*turn)
		}
		w = &turn{free: make(chan struct{}, 1)}
		w.free <- struct{}{}
		k.turns[stream] = w
	}
	return w
}

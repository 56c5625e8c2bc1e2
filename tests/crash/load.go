package crash

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/tests/real"
)

// The entries that are written, side by side.
var entries = [...]string{"acc-1", "acc-2", "acc-3", "acc-4"}

// Records of an entry are so far apart, µs. Their times begin in the past and are passed by those of the writing: a clock that jumps has
// records on both sides.
const spacing = 100

var began = time.Now().Truncate(time.Second).UnixMicro()

// id is the identity of record i of entry e.
func id(e, i int) string { return fmt.Sprintf("gate/%s@%d", entries[e], began+int64(i)*spacing) }

// payload is what record i of entry e carries.
func (l *load) payload(e, i int) string {
	return fmt.Sprintf(`{"entry":%q,"seq":%d,"pad":%q}`, entries[e], i, strings.Repeat("x", 40+i%97+l.pad))
}

// load writes numbered records into the store, all entries at once, never more than ahead of them before the far end.
type load struct {
	site    *site
	pad     int // bytes that payloads have beside their hundred
	written [len(entries)]atomic.Int64
	running sync.WaitGroup
	stop    chan struct{} // closed by end
	failed  atomic.Pointer[error]
	late    [len(entries)]map[string]bool // written after a newer one; each of its entry's writer
}

// ahead is how many records may be under way: enough to hit full batches wherever a test breaks something.
const ahead = 6000

func (l *load) total() (n int) {
	for _, c := range l.counts() {
		n += c
	}
	return n
}

// begin writes until end, and least records at least.
func (l *load) begin(t *testing.T, least int) {
	l.stop = make(chan struct{})
	for e := range entries {
		l.running.Go(func() {
			for !l.ended() || l.written[e].Load() < int64(least/len(entries)) {
				if !l.room(t) {
					return
				}
				if err := l.try(t, e, real.BatchSize); err != nil {
					l.failed.Store(&err)
					return
				}
			}
		})
	}
	t.Cleanup(func() { l.end(t) })
}

func (l *load) ended() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// room waits until there may be more under way; false where the test has ended.
func (l *load) room(t *testing.T) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for l.total()-l.site.subscriber.Distinct() >= ahead {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			return false
		}
	}
	return true
}

// outage is how long a store may be away before a writer gives up.
const outage = time.Minute

// try writes the next n records of an entry, again and again while the store is away.
func (l *load) try(t *testing.T, e, n int) error {
	first := int(l.written[e].Load())
	samples := make([]real.Sample, n)
	for i := range samples {
		samples[i] = real.Sample{Time: began + int64(first+i)*spacing, ContentType: "application/json", Payload: []byte(l.payload(e, first+i)),
			Labels: map[string]string{"device": "press-7", "note": "a, b"}}
	}
	late := time.After(outage)
	for {
		there, err := l.site.store.Post(t.Context(), "vib", entries[e], samples)
		if err == nil {
			l.fill(e, samples, there)
			l.written[e].Add(int64(n))
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-late:
			return err
		case <-t.Context().Done():
			return err
		}
	}
}

// fill notes what a second try has put before something that the first had left: a store that is killed keeps any part of a batch.
func (l *load) fill(e int, samples []real.Sample, there map[int64]bool) {
	first := int(l.written[e].Load())
	after := false
	for i, x := range slices.Backward(samples) {
		if after = after || there[x.Time]; !after || there[x.Time] {
			continue
		}
		if l.late[e] == nil {
			l.late[e] = make(map[string]bool)
		}
		l.late[e][id(e, first+i)] = true
	}
}

// write writes the next n records of an entry.
func (l *load) write(t *testing.T, e, n int) {
	t.Helper()
	for ; n > 0; n -= real.BatchSize {
		if err := l.try(t, e, min(n, real.BatchSize)); err != nil {
			t.Fatal(err)
		}
	}
}

// end waits until the writers have written what they have to.
func (l *load) end(t *testing.T) {
	t.Helper()
	if l.stop == nil {
		return
	}
	if !l.ended() {
		close(l.stop)
	}
	l.running.Wait()
	if err := l.failed.Load(); err != nil && t.Context().Err() == nil {
		t.Fatal(*err)
	}
}

// await waits until n more messages have come than at the call, from a bridge that lives.
func (l *load) await(t *testing.T, n int) {
	t.Helper()
	want := l.site.subscriber.Count() + n
	real.Eventually(t, limit, fmt.Sprintf("%d messages", want), func() (bool, string) {
		l.site.alive(t)
		have := l.site.subscriber.Count()
		return have >= want, fmt.Sprintf("%d of %d records", have, l.total())
	})
}

// counts is how many records each entry has.
type counts [len(entries)]int

// counts returns what has been written.
func (l *load) counts() (c counts) {
	for e := range entries {
		c[e] = int(l.written[e].Load())
	}
	return c
}

// between is the records after the first from of each entry and up to to.
func (l *load) between(from, to counts) []wanted {
	var all []wanted
	for e, name := range entries {
		w := wanted{entry: name, before: from[e], late: l.late[e], payloads: func(i int) string { return l.payload(e, from[e]+i) }}
		for i := from[e]; i < to[e]; i++ {
			w.ids = append(w.ids, id(e, i))
		}
		all = append(all, w)
	}
	return all
}

package crash

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/tests/real"
)

// Rules 3 and 4: kill -9 of a bridge whose module says at each tick which records it has counted since the last. The windows of an entry follow one another
// without a gap or an overlap, so none was said twice and none was lost; the records between them are counted as ever.
func TestWindowsKilled(t *testing.T) {
	t.Parallel()
	kills := length(t, "CRASH_KILLS", 5)
	s, chance := newSite(t, options{qos: 2, module: shop.window(t)}), random(t)
	s.load.begin(t, kills*perFault)
	for range kills {
		s.sluice.Start()
		s.load.await(t, 1+chance.IntN(perFault))
		s.sluice.Kill()
	}
	s.sluice.Up()
	r := s.finish(t)
	for _, f := range r.faults() {
		t.Error(f)
	}
	real.Eventually(t, limit, "the last window of each entry", func() (bool, string) {
		said := windows(s.subscriber.Messages())
		for e, n := range s.load.counts() {
			if said[entries[e]].upTo < n {
				return false, fmt.Sprintf("%s: windows up to %d of %d", entries[e], said[entries[e]].upTo, n)
			}
		}
		return true, ""
	})
	n := 0
	for e, w := range windows(s.subscriber.Messages()) {
		n += w.n
		if w.wrong != "" {
			t.Errorf("%s: %s", e, w.wrong)
		}
	}
	if n < kills {
		t.Errorf("%d windows in %d lives", n, kills)
	}
	figures(t, "kill -9 of the bridge, windows", kills, r, fmt.Sprintf("%d windows, exact", n))
}

// said is the windows of an entry, as they arrived.
type said struct {
	n, upTo int
	ids     map[string]bool
	wrong   string
}

func windows(ms []real.Received) map[string]*said {
	all := make(map[string]*said)
	for _, e := range entries {
		all[e] = &said{ids: make(map[string]bool)}
	}
	for i := range ms {
		text, is := ms[i].Properties["window"]
		if !is {
			continue
		}
		w := all[strings.TrimPrefix(ms[i].Topic, "site/")]
		var from, to int
		_, err := fmt.Sscanf(text, "%d-%d", &from, &to)
		switch {
		case w.wrong != "":
		case err != nil || from != w.upTo+1 || to < from:
			w.wrong = fmt.Sprintf("window %s of %s follows %d", text, ms[i].ID, w.upTo)
		case w.ids[ms[i].ID]:
			w.wrong = fmt.Sprintf("identity %s is there twice", ms[i].ID)
		}
		w.n, w.upTo, w.ids[ms[i].ID] = w.n+1, to, true
	}
	return all
}

package crash

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Rules 1 to 14 at every durable boundary, one after the other under load: the bridge dies there, a new one starts, and in the end nothing was lost,
// doubled or out of order. Where a CONNECT was on its way what was open may come again, marked (rule 14), as at QoS 1.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	for _, walk := range []struct {
		name     string
		qos      int
		forgiven []string
		has      func(point) bool
	}{
		{"QoS 2", 2, nil, func(p point) bool { return p.qos != 1 && !p.unsure }},
		{"QoS 2, no answer to CONNECT", 2, []string{repeats}, func(p point) bool { return p.unsure }},
		{"QoS 1", 1, []string{repeats}, func(p point) bool { return p.qos == 1 || p.both || p.unsure }},
	} {
		t.Run(walk.name, func(t *testing.T) {
			t.Parallel()
			dying := shop.dying(t)
			s := newSite(t, options{qos: walk.qos})
			live := s.sluice.Path()
			s.load.begin(t, 0)
			deaths := 0
			for range length(t, "CRASH_ROUNDS", 1) {
				for _, p := range points {
					if !walk.has(p) {
						continue
					}
					if p.unsure { // the next CONNECT finds something open
						s.sluice.Use(live)
						s.sluice.Start()
						s.load.await(t, 1)
						s.sluice.Kill()
					}
					p.die(t, s, dying)
					deaths++
				}
			}
			s.sluice.Use(live)
			s.sluice.Up()
			r := s.finish(t)
			figures(t, "crash points, "+walk.name, deaths, r, "")
			for _, f := range r.faults(walk.forgiven...) {
				t.Error(f)
			}
		})
	}
}

// die starts a bridge that dies at the point, and waits until it has.
func (p point) die(t *testing.T, s *site, dying string) {
	t.Helper()
	s.sluice.Use(dying, fmt.Sprintf("SLUICE_CRASH=%s:%d", p.name, p.chance))
	s.sluice.Start()
	if p.provoke != nil {
		p.provoke(t, s)
	}
	s.died(t, "at "+p.name)
}

// Every point of the sources is walked: one that nobody dies at shows nothing.
func TestCrashPointsAreComplete(t *testing.T) {
	t.Parallel()
	marked := regexp.MustCompile(`CrashPoint\(|crash(Read|Written) +=`)
	text := regexp.MustCompile(`"([a-z0-9%.]+)"`)
	known := []string{"ledger.ballast.removed"}
	for _, p := range points {
		known = append(known, p.name)
	}
	found := 0
	for _, top := range []string{"../../bridge", "../../cmd", "../../runtime"} {
		err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || filepath.Ext(path) != ".go" {
				return err
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(source)) {
				if !marked.MatchString(line) {
					continue
				}
				for _, name := range text.FindAllStringSubmatch(line, -1) {
					found++
					if !slices.ContainsFunc(known, func(k string) bool { return k == name[1] || k == strings.Replace(name[1], "%d", "0", 1) }) {
						t.Errorf("%s: crash point %s is in no table", path, name[1])
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if stages := 4; found+stages != len(known) {
		t.Errorf("%d crash points in the sources, %d in the tables", found+stages, len(known))
	}
}

package host

import (
	"log/slog"
	"sync"
	"time"
)

// Tally is what a guest counted or observed under one name.
type Tally struct {
	Observed       bool    // by observe; else by count, and only Sum means something
	N              int64   // observations
	Sum, Low, High float64 // of the values
}

const (
	maxTallies   = 64 // names of one module; the rest is counted together as "other"
	maxTallyName = 64 // bytes
)

// tallies are a module's counters. They are not tied to the ledger: a batch that comes again is counted again.
type tallies struct {
	mu     sync.Mutex
	byName map[string]*Tally // guarded by mu
}

func (t *tallies) add(name []byte, v float64, observed bool) {
	name = name[:min(len(name), maxTallyName)]
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.byName[string(name)]
	if one == nil {
		one = t.make(string(name))
	}
	if one.N == 0 || v < one.Low {
		one.Low = v
	}
	if one.N == 0 || v > one.High {
		one.High = v
	}
	one.N++
	one.Sum += v
	one.Observed = observed
}

// make is called with mu held.
func (t *tallies) make(name string) *Tally {
	if t.byName == nil {
		t.byName = make(map[string]*Tally)
	}
	if len(t.byName) >= maxTallies {
		name = "other"
	}
	one := t.byName[name]
	if one == nil {
		one = &Tally{}
		t.byName[name] = one
	}
	return one
}

func (t *tallies) copy() map[string]Tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[string]Tally, len(t.byName))
	for name, one := range t.byName {
		out[name] = *one
	}
	return out
}

const linesPerSecond = 20 // of one module's log; the rest is counted

// limiter keeps a chatty module from filling the log.
type limiter struct {
	mu     sync.Mutex
	second int64 // guarded by mu, like all below
	lines  int
	kept   int // lines held back since the last one that went out
}

// allow tells whether a line may go out, and how many were held back before it.
func (l *limiter) allow(now time.Time) (held int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := now.Unix(); s != l.second {
		l.second, l.lines = s, 0
	}
	if l.lines++; l.lines > linesPerSecond {
		l.kept++
		return 0, false
	}
	held, l.kept = l.kept, 0
	return held, true
}

// logLevels are those of the ABI.
var logLevels = [...]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}

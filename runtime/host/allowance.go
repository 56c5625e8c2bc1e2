package host

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero/api"
)

const firstUnits = 10_000 // of the start section's, before the first tick: part of the metered module, hence the same on all machines

// limit is what one call may take: units, or time where units is zero.
type limit struct {
	units int64
	wall  time.Duration
}

func (l limit) times(n int64) limit { return limit{l.units * n, l.wall * time.Duration(n)} }

// worth is the limit in units, of which the machine does so many a millisecond.
func (l limit) worth(speed int64) int64 {
	if l.wall > 0 {
		return speed * l.wall.Milliseconds()
	}
	return l.units
}

// allowance is what the running call may still take. It is handed to the guest in slices: whenever one is used up the guest calls the host (see meter),
// and there the rest of the process gets its turn, so that neither a collection nor another guest waits longer than a slice.
type allowance struct {
	caller context.Context // who waits for the call: with it the call ends too; nil = nobody
	units  api.MutableGlobal
	given  int64 // units handed out to this call
	rest   int64 // units not yet handed out
	slice  int64
	wall   time.Duration // 0 = only units count
	until  time.Time     // zero before the first tick
	why    error         // the host ended the call
}

var (
	errExhausted = errors.New("budget used up")
	errStopped   = errors.New("stopped with the batch that it belongs to")
)

// attach finds the counter of an instance; while it is made, the first call of the host does.
func (a *allowance) attach(mod api.Module, counter string) {
	if a.units == nil {
		a.units = mod.ExportedGlobal(counter).(api.MutableGlobal)
		a.given, a.slice = firstUnits, firstUnits
	}
}

// allow begins a call.
func (a *allowance) allow(l limit, slice int64) {
	a.rest, a.wall, a.slice = l.units, l.wall, slice
	if l.units == 0 {
		a.rest = 1 << 62
	}
	a.until, a.why = time.Time{}, nil
	a.given = min(a.rest, slice)
	a.rest -= a.given
	a.units.Set(uint64(a.given))
}

// used is how many units the call took so far. One that ran out took what it could not pay for, too.
func (a *allowance) used() int64 { return a.given - int64(a.units.Get()) }

// left is how many units the call may still take; where time is the limit, what a machine of that speed, in units a millisecond, does in it.
func (a *allowance) left(speed int64) int64 {
	switch {
	case a.wall == 0:
		return int64(a.units.Get()) + a.rest
	case a.until.IsZero():
		return speed * a.wall.Milliseconds()
	}
	return max(speed*time.Until(a.until).Milliseconds(), 0)
}

// charge takes units off the running call, for work that the host does for it.
func (a *allowance) charge(n int64) {
	left := int64(a.units.Get()) - n
	a.units.Set(uint64(left))
	if left < 0 {
		a.tick()
	}
}

// tick hands out the next slice, or ends the call. The counter is below zero; what a call took is the same however it was sliced.
func (a *allowance) tick() {
	left := int64(a.units.Get())
	if left >= 0 {
		return
	}
	if left+a.rest < 0 {
		a.end(errExhausted)
	}
	if a.caller != nil && a.caller.Err() != nil {
		a.end(errStopped)
	}
	if now := time.Now; a.wall > 0 && a.until.IsZero() {
		a.until = now().Add(a.wall)
	} else if a.wall > 0 && now().After(a.until) {
		a.end(fmt.Errorf("%w: it took longer than %s", errExhausted, a.wall))
	}
	next := min(max(a.slice, -left), a.rest)
	a.rest -= next
	a.given += next
	a.units.Set(uint64(left + next))
	runtime.Gosched()
}

// end traps.
func (a *allowance) end(why error) {
	a.why = why
	panic(why)
}

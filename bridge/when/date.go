package when

import (
	"time"
	_ "time/tzdata" // for systems that have no time zones, as small containers do
)

func second(t time.Time) int { return t.Second() }
func minute(t time.Time) int { return t.Minute() }
func hour(t time.Time) int   { return t.Hour() }
func day(t time.Time) int    { return t.Day() }
func month(t time.Time) int  { return int(t.Month()) }
func year(t time.Time) int   { return t.Year() }

// weekday begins with Monday, as 0.
func weekday(t time.Time) int { return (int(t.Weekday()) + 6) % 7 }

// The store's calendar ends there, in microseconds; further away is an error.
const (
	firstTime = -8_334_601_228_800_000_000
	lastTime  = 8_210_266_876_799_999_999
)

func dated(part func(time.Time) int) func(*compiler, *node) expr {
	return func(_ *compiler, n *node) expr {
		arg, path := n.args[0].eval, n.path
		zone := func(*env) (*time.Location, Reason) { return time.UTC, Unmet }
		if len(n.args) == 2 {
			zone = zoneOf(n.args[1])
		}
		return func(e *env) (value, bool) {
			us, ok := wholeOf(e, arg, path)
			if !ok {
				return value{}, false
			}
			if us < firstTime || us > lastTime {
				return e.fail(NoResult, path)
			}
			in, why := zone(e)
			if why == Absent {
				return value{}, false // said already
			}
			if why != Unmet {
				return e.fail(why, path)
			}
			return ofInt(int64(part(time.UnixMicro(us).In(in)))), true
		}
	}
}

// zoneOf looks a constant zone up once. The store finds out at each record that there is none, so neither is that refused here.
func zoneOf(n *node) func(*env) (*time.Location, Reason) {
	if c := n.constant; c != nil {
		if c.kind != text {
			return func(*env) (*time.Location, Reason) { return nil, Mistyped }
		}
		in := findZone(string(*c.s))
		return func(*env) (*time.Location, Reason) { return in, missingZone(in) }
	}
	return func(e *env) (*time.Location, Reason) {
		v, ok := n.eval(e)
		if !ok {
			return nil, Absent
		}
		if v.kind != text {
			return nil, Mistyped
		}
		in, known := e.zones[string(*v.s)]
		if !known {
			if in = findZone(string(*v.s)); len(e.zones) >= maxZones || e.zones == nil {
				e.zones = make(map[string]*time.Location)
			}
			e.zones[string(*v.s)] = in
		}
		return in, missingZone(in)
	}
}

func missingZone(in *time.Location) Reason {
	if in == nil {
		return NoResult
	}
	return Unmet
}

// findZone returns nil for a name that the IANA database does not have. Go's own names for none and for the machine's are not in it.
func findZone(name string) *time.Location {
	if name == "" || name == "Local" {
		return nil
	}
	in, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return in
}

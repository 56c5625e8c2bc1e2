package bridge

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Drain is [remotes.KIND.NAME.drain]: how fast what waits for a remote is sent, and in which order. The zero Drain sends in the order of the
// Appends, as fast as the far end takes it. With LiveFirst the limits are on the backlog alone.
type Drain struct {
	MaxRecordsPerS int      `toml:"max_records_per_s"` // 0 = as fast as the far end takes it
	MaxBytesPerS   Size     `toml:"max_bytes_per_s"`   // payload and headers as stored; 0B = no limit
	RampUp         Duration `toml:"ramp_up"`           // after a connection the rate rises from a tenth to the maximum in this time
	Jitter         Duration `toml:"jitter"`            // after a connection with a backlog nothing new is sent for a random part of this time
	Priority       Priority `toml:"priority"`          // order, or live: what came in since the connection overtakes the backlog
}

// Limits reports whether there is a maximum.
func (d *Drain) Limits() bool { return d.MaxRecordsPerS > 0 || d.MaxBytesPerS > 0 }

// Validate returns all that is wrong, each named by its key below a table, such as "drain.".
func (d *Drain) Validate(table string) error {
	var errs []error
	for _, n := range []struct {
		key         string
		value, most int64
	}{
		{"max_records_per_s", int64(d.MaxRecordsPerS), maxRate}, {"max_bytes_per_s", int64(d.MaxBytesPerS), maxByteRate},
	} {
		if n.value < 0 || n.value > n.most {
			errs = append(errs, fmt.Errorf("%s%s: %d, want 0..%d", table, n.key, n.value, n.most))
		}
	}
	for _, t := range []struct {
		key   string
		value Duration
	}{{"ramp_up", d.RampUp}, {"jitter", d.Jitter}} {
		if v := time.Duration(t.value); v < 0 || v > 24*time.Hour {
			errs = append(errs, fmt.Errorf("%s%s: %v, want 0s..24h0m0s", table, t.key, v))
		}
	}
	if d.RampUp > 0 && !d.Limits() {
		errs = append(errs, fmt.Errorf("%sramp_up: %v, but there is no maximum to rise to, want max_records_per_s or max_bytes_per_s",
			table, time.Duration(d.RampUp)))
	}
	return errors.Join(errs...)
}

// Beyond these no far end would notice a limit, and a float64 still counts single ones.
const (
	maxRate     = 1_000_000_000
	maxByteRate = 1 << 50
)

// Priority says what goes first where more waits than can be sent.
type Priority uint8

const (
	InOrder   Priority = iota // what was appended first
	LiveFirst                 // what was appended since the remote came back; order between that and the backlog is given up
)

var priorities = [...]string{InOrder: "order", LiveFirst: "live"}

// UnmarshalText reads order or live.
func (p *Priority) UnmarshalText(text []byte) error {
	for i, name := range priorities {
		if string(text) == name {
			*p = Priority(i)
			return nil
		}
	}
	return fmt.Errorf("priority %q, want order or live", text)
}

// MarshalText writes what UnmarshalText reads.
func (p Priority) MarshalText() ([]byte, error) { return []byte(priorities[p]), nil }

// Limiter keeps a remote to its Drain: two token buckets, of records and of bytes, whose rate may rise after a connection. It has no clock:
// At tells it the time. What a caller takes, it may take whole, so a message that is larger than a bucket goes too, and the next ones wait until
// it is paid for. In any time T at most max × T and a burst (and the rest of one message) are taken.
type Limiter struct {
	records, bytes bucket
	now            time.Time
	rising         time.Time // when the rate began to rise
	rampUp         time.Duration
	pause          time.Time // nothing is given before
	open           bool
	busy           time.Time // until then a person should know of the limit: somebody has to wait
}

// bucket is filled with tokens at a rate. Without a rate it is never empty.
type bucket struct {
	rate  float64 // a second
	level float64 // below 0: owed
}

const (
	burst = 0.25 // seconds: what may gather while it is not needed, and is sent at once then
	grain = 0.05 // seconds: what has to gather before anything is given again, so that a limit does not cost a commit for each message
	least = 0.1  // part of the rate at which a ramp begins
	tiny  = 1e-9 // seconds: what a sum of fractions may be wrong by
)

// NewLimiter returns one that gives nothing until it was told the time.
func NewLimiter(d Drain) *Limiter {
	return &Limiter{
		records: bucket{rate: float64(d.MaxRecordsPerS)}, bytes: bucket{rate: float64(d.MaxBytesPerS)}, rampUp: time.Duration(d.RampUp),
	}
}

// Connected says that the remote has come back: what gathered while it was away is gone, the rate starts to rise, and nothing is given
// before pause is over.
func (l *Limiter) Connected(now time.Time, pause time.Duration) {
	l.At(now)
	l.rising, l.pause, l.open = now, now.Add(pause), false
	l.records.level, l.bytes.level = min(l.records.level, 0), min(l.bytes.level, 0)
}

// At says what time it is. It never goes back.
func (l *Limiter) At(now time.Time) {
	if now.After(l.now) {
		seconds := l.earned(now)
		l.records.fill(seconds)
		l.bytes.fill(seconds)
		l.now = now
	}
	if !l.open {
		l.open = !now.Before(l.pause) && max(l.records.missing(), l.bytes.missing()) <= tiny
	}
}

// Open reports whether one more message may be taken.
func (l *Limiter) Open() bool { return l.open }

// Take takes a message of so many bytes, whether Open or not: what has to go has to be paid for.
func (l *Limiter) Take(bytes int) {
	l.records.take(1)
	l.bytes.take(float64(bytes))
	l.open = l.open && !l.records.empty() && !l.bytes.empty()
}

// Wait returns how long after At it will be open again; 0 where it is. The caller has something that waits for it.
func (l *Limiter) Wait() time.Duration {
	if l.open {
		return 0
	}
	wait := l.takes(max(l.records.missing(), l.bytes.missing(), 0))
	wait = max(wait, l.pause.Sub(l.now))
	l.busy = l.now.Add(wait + time.Second)
	return wait
}

// Note says what the limit does at the moment, "" where nobody waits for it.
func (l *Limiter) Note(now time.Time) string {
	switch left := l.pause.Sub(now); {
	case now.After(l.busy):
		return ""
	case left > 0:
		return fmt.Sprintf("the backlog waits %v more (drain.jitter)", left.Round(time.Second))
	case !l.records.limited() && !l.bytes.limited():
		return ""
	case now.Sub(l.rising) < l.rampUp:
		return "ramping up, " + l.rates(l.factor(now))
	}
	return "drain limited to " + l.rates(1)
}

// rates writes the maxima, and before them the part of them that counts now.
func (l *Limiter) rates(part float64) string {
	var all []string
	for _, r := range []struct {
		rate float64
		unit string
		text func(float64) string
	}{
		{l.records.rate, " records/s", func(x float64) string { return fmt.Sprintf("%.0f", x) }},
		{l.bytes.rate, "/s", func(x float64) string { return Size(x).String() }},
	} {
		switch {
		case r.rate <= 0:
		case part < 1:
			all = append(all, r.text(r.rate*part)+" of "+r.text(r.rate)+r.unit)
		default:
			all = append(all, r.text(r.rate)+r.unit)
		}
	}
	return strings.Join(all, " and ")
}

// factor is the part of the rate that counts at a moment.
func (l *Limiter) factor(now time.Time) float64 {
	if since := now.Sub(l.rising); since < l.rampUp {
		return least + (1-least)*max(0, since.Seconds())/l.rampUp.Seconds()
	}
	return 1
}

// earned is how many seconds at the full rate the time from l.now to now is worth.
func (l *Limiter) earned(now time.Time) float64 {
	top := l.rising.Add(l.rampUp)
	if !l.now.Before(top) {
		return now.Sub(l.now).Seconds()
	}
	from, to := l.now, now
	if to.After(top) {
		to = top
	}
	return (l.factor(from)+l.factor(to))/2*to.Sub(from).Seconds() + now.Sub(to).Seconds()
}

// takes is the inverse of earned: how long from l.now until so many seconds at the full rate have gone by.
func (l *Limiter) takes(seconds float64) time.Duration {
	left := l.rising.Add(l.rampUp).Sub(l.now).Seconds()
	if left > 0 {
		// The rate is f + g t, what it gives until t is f t + g t²/2.
		f, g := l.factor(l.now), (1-least)/l.rampUp.Seconds()
		if whole := f*left + g*left*left/2; seconds > whole {
			seconds += left - whole
		} else {
			seconds = (math.Sqrt(f*f+2*g*seconds) - f) / g
		}
	}
	return time.Duration(math.Ceil(seconds * float64(time.Second)))
}

func (b *bucket) limited() bool { return b.rate > 0 }

func (b *bucket) fill(seconds float64) {
	if b.limited() {
		b.level = min(b.level+b.rate*seconds, max(2, b.rate*burst)) // two: who comes a little late loses nothing
	}
}

func (b *bucket) take(n float64) {
	if b.limited() {
		b.level -= n
	}
}

// empty reports whether not even one is left.
func (b *bucket) empty() bool { return b.limited() && b.level < 1 }

// missing is how many seconds at the full rate the bucket needs before it gives again.
func (b *bucket) missing() float64 {
	if !b.limited() {
		return 0
	}
	return (max(1, b.rate*grain) - b.level) / b.rate
}

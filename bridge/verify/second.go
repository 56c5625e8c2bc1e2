package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// suspect is what the first look does not account for, and may be no fault: time has passed between the looks at the three sides. 80 bytes.
type suspect struct {
	id     bridge.ID
	kind   Kind
	stream uint32 // in Job.names
	pipe   uint8  // of a hole: place in Job.Pipelines
	copies int    // at the far end
	marked bool
	closed bool // a double of a closed range: no key can account for it
	coarse bool // the far end knows only the time
	why    string
}

// maxSuspects bounds what waits for the second look, and maxListed the findings that are listed: a far end that is the wrong one lacks everything.
const (
	maxSuspects = 1 << 20
	maxListed   = 1 << 18
)

// suspect keeps one for the second look. Of those that there is no room for only the number is kept.
func (c *comparison) suspect(s suspect) {
	if len(c.suspects) >= c.room {
		c.overflow(&s)
		return
	}
	if n := len(c.names); n == 0 || c.names[n-1] != c.name {
		c.Job.names = append(c.names, c.name)
	}
	s.stream = uint32(len(c.names) - 1)
	c.Job.suspects = append(c.suspects, s)
}

// overflow counts a suspect as what it looks like.
func (c *comparison) overflow(s *suspect) {
	row := c.row(c.name, s.id.Time)
	*row.of(s.kind)++
	if s.marked {
		row.Marked++
	}
	looks := "--far looks like the wrong end"
	if s.kind == HoleEdge {
		looks = "the edge store looks like that of another ledger"
	}
	c.note("the second look was left out for what is beyond %d differences, which is only counted: %s", c.room, looks)
}

const (
	maxAgain = 30 // how often a side that goes on is looked at again
	patience = 3  // how often, though nothing was explained, where a sender may be slow
)

// lookAgain asks the far end about holes there, and then the ledger about what it had not taken in at the first look, each as long as that
// explains some. What is left is a finding.
func (j *Job) lookAgain(ctx context.Context) error {
	never := func() bool { return false }
	if err := j.repeat(ctx, j.farAgain, never); err != nil {
		return err
	}
	if err := j.repeat(ctx, j.ledgerAgain, j.undecided); err != nil {
		return err
	}
	j.judgeTails()
	for i := range j.suspects {
		s := &j.suspects[i]
		f := Finding{Kind: s.kind, Stream: j.names[s.stream], id: s.id, Marked: s.marked, Why: s.why}
		switch s.kind {
		case HoleFar, HoleEdge:
			f.Pipeline = j.Pipelines[s.pipe]
		default:
			f.Copies = s.copies
		}
		j.find(f)
	}
	return nil
}

// repeat looks again until that explains nothing any more, and for a while also where slow says that it may yet.
func (j *Job) repeat(ctx context.Context, again func(context.Context) error, slow func() bool) error {
	for n := 1; n <= maxAgain; n++ {
		before := len(j.suspects)
		if err := again(ctx); err != nil {
			return err
		}
		if len(j.suspects) == before && (n >= patience || !slow()) {
			break
		}
	}
	return nil
}

func (j *Job) has(kinds ...Kind) bool {
	return slices.ContainsFunc(j.suspects, func(s suspect) bool { return slices.Contains(kinds, s.kind) })
}

// sift takes out the suspects that clear accounts for; it is asked of one stream after the other.
func (j *Job) sift(clear func(stream string, of []suspect) (func(*suspect) bool, error)) error {
	kept := j.suspects[:0]
	for rest := j.suspects; len(rest) > 0; {
		n := slices.IndexFunc(rest, func(s suspect) bool { return s.stream != rest[0].stream })
		if n < 0 {
			n = len(rest)
		}
		cleared, err := clear(j.names[rest[0].stream], rest[:n])
		if err != nil {
			return err
		}
		for i := range rest[:n] {
			if s := rest[i]; !cleared(&s) {
				kept = append(kept, s)
			}
		}
		rest = rest[n:]
	}
	j.suspects = kept
	return nil
}

// farAgain takes out the holes that have been filled meanwhile: what the ledger calls delivered may still wait at a broker.
func (j *Job) farAgain(ctx context.Context) error {
	if !j.Far.Live() || !j.has(HoleFar) {
		return nil
	}
	if err := pause(ctx, j.Settle); err != nil {
		return err
	}
	if _, err := j.Far.Streams(ctx); err != nil {
		return fmt.Errorf("look at the far end again: %w", err)
	}
	return j.sift(func(stream string, of []suspect) (func(*suspect) bool, error) {
		holes := make(map[bridge.ID]int)
		for i := range of {
			if of[i].kind == HoleFar {
				holes[of[i].id] = 0
			}
		}
		err := j.Far.Each(ctx, stream, j.Period, func(a Arrival) {
			if n, ok := holes[a.ID]; ok {
				holes[a.ID] = n + 1
			}
		})
		if err != nil {
			return nil, fmt.Errorf("look at %s at the far end again: %w", stream, err)
		}
		return func(s *suspect) bool {
			filled := s.kind == HoleFar && holes[s.id] > s.copies
			if filled {
				j.row(stream, s.id.Time).Arrived++
			}
			return filled
		}, nil
	})
}

// ledgerAgain takes out what the ledger has taken in meanwhile, or is about to. The sender is asked first: what it has sent by then, the
// ledger has.
func (j *Job) ledgerAgain(ctx context.Context) (err error) {
	edge := len(j.tails) > 0 || j.has(HoleEdge)
	if !edge && !j.has(Double, Stranger) {
		return nil
	}
	if edge {
		if err := pause(ctx, j.Settle); err != nil {
			return err
		}
		if _, err := j.edgeStreams(ctx); err != nil {
			return err
		}
	}
	now, err := j.Look(ctx)
	if err != nil {
		return fmt.Errorf("look at the ledger again: %w", err)
	}
	j.learn(now)
	j.now = now
	return j.sift(func(stream string, of []suspect) (func(*suspect) bool, error) {
		c := &comparison{Job: j, name: stream}
		c.findPipes()
		c.keys = c.load(now, nil)
		return func(s *suspect) bool { return c.clears(s, now.Gaps) }, nil
	})
}

// clears reports whether the ledger accounts for a suspect now, and notes what it knows of one that it does not account for.
func (c *comparison) clears(s *suspect, gaps []bridge.Gap) bool {
	taken, made := c.decided(s)
	switch row := c.row(c.name, s.id.Time); s.kind {
	case HoleFar:
		return false
	case HoleEdge:
		if taken {
			row.Seen++
			return true
		}
		s.why = gapOf(gaps, c.name, s.id.Time)
		return false
	default:
		return made >= s.copies && !s.closed
	}
}

// decided reports whether the pipeline of a suspect has taken in its record, and how often the message was made.
func (c *comparison) decided(s *suspect) (taken bool, made int) {
	at, _ := slices.BinarySearchFunc(c.keys, bridge.Key{Time: s.id.Time}, func(k seen, want bridge.Key) int { return compareKeys(k.Key, want) })
	for _, k := range c.keys[at:] {
		if k.Time != s.id.Time {
			break
		}
		taken = taken || k.pipe == s.pipe
		if (k.Key == s.id.Key || s.coarse) && k.outputs > s.id.Index {
			made++
		}
	}
	return taken, made
}

package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// suspect is what the first look at the ledger does not account for, and the ledger may have taken in since.
type suspect struct {
	id     bridge.ID
	kind   Kind
	stream uint32 // in Job.names
	pipe   uint8  // of a hole
	copies int
	marked bool
	closed bool // a double of a closed range: no key can account for it
	coarse bool // only the time of a stranger is known
	why    string
}

// suspect keeps one for the second look.
func (c *comparison) suspect(s suspect) {
	if n := len(c.names); n == 0 || c.names[n-1] != c.name {
		c.Job.names = append(c.names, c.name)
	}
	s.stream = uint32(len(c.names) - 1)
	c.Job.suspects = append(c.suspects, s)
}

// secondLook asks the ledger as it is now about all suspects: what was read later than the first look may have been taken in later, too.
func (j *Job) secondLook(ctx context.Context) error {
	if len(j.suspects) == 0 {
		return nil
	}
	now, err := j.Look(ctx)
	if err != nil {
		return fmt.Errorf("look at the ledger again: %w", err)
	}
	for len(j.suspects) > 0 {
		stream := j.suspects[0].stream
		n := slices.IndexFunc(j.suspects, func(s suspect) bool { return s.stream != stream })
		if n < 0 {
			n = len(j.suspects)
		}
		c := &comparison{Job: j, name: j.names[stream]}
		c.findPipes()
		c.keys = c.load(now)
		for i := range j.suspects[:n] {
			c.judge(&j.suspects[i], now.Gaps)
		}
		j.suspects = j.suspects[n:]
	}
	return nil
}

// judge makes a finding of a suspect unless the ledger accounts for it now.
func (c *comparison) judge(s *suspect, gaps []bridge.Gap) {
	f := Finding{Kind: s.kind, Stream: c.name, id: s.id, Marked: s.marked, Why: s.why}
	at, _ := slices.BinarySearchFunc(c.keys, bridge.Key{Time: s.id.Time}, func(k seen, want bridge.Key) int { return compareKeys(k.Key, want) })
	made, taken := 0, false
	for _, k := range c.keys[at:] {
		if k.Time != s.id.Time {
			break
		}
		taken = taken || k.pipe == s.pipe
		if (k.Key == s.id.Key || s.coarse) && k.outputs > s.id.Index {
			made++
		}
	}
	switch s.kind {
	case HoleEdge:
		if taken {
			c.row(c.name, s.id.Time).Seen++
			return
		}
		f.Pipeline = c.pipes[s.pipe].name
		for _, g := range gaps {
			if g.Stream == c.name && g.From <= s.id.Time && s.id.Time <= g.To {
				f.Why = "an open gap names it: " + g.Reason
			}
		}
	case Double:
		if !s.closed && made >= s.copies {
			return
		}
		f.Copies = s.copies
	case Stranger:
		if made >= s.copies {
			return
		}
		f.Copies = s.copies
	}
	c.find(f)
}

package when

import "fmt"

// Policy is what becomes of a record on which the condition has no answer: a label that it asks for is missing, a text where it needs a
// number, a division by zero. It is counted in any case.
type Policy uint8

const (
	Drop Policy = iota // it does not pass, as in a replication task
	Keep               // it counts as a hit
	Park               // it is set aside, with the place in the condition
)

func (p Policy) String() string {
	if p > Park {
		return fmt.Sprintf("policy %d", uint8(p))
	}
	return [...]string{"drop", "keep", "park"}[p]
}

// MarshalText implements encoding.TextMarshaler.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Policy) UnmarshalText(b []byte) error {
	for q := Drop; q <= Park; q++ {
		if string(b) == q.String() {
			*p = q
			return nil
		}
	}
	return fmt.Errorf("%q, want drop, keep or park", b)
}

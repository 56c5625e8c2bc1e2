package when

// Reason is why a record does not pass. The number is that of a Dropped verdict.
type Reason uint16

// The reasons, as they are counted.
const (
	Unmet    Reason = iota
	Absent          // a label that is asked for is not there
	Mistyped        // a text where a number is needed
	NoResult        // division by zero, a time zone or a type that does not exist
	Ended           // $limit
	Crowded         // it was held for #ctx_before, and the state had no room for more
	reasons
)

// String is the name under which a reason is counted.
func (r Reason) String() string {
	if r >= reasons {
		return "unknown"
	}
	return [...]string{"not met", "label missing", "not a number", "no result", "limit reached", "no room to hold"}[r]
}

// failed tells whether the condition could not be answered, as opposed to answered with no.
func (r Reason) failed() bool { return r == Absent || r == Mistyped || r == NoResult }

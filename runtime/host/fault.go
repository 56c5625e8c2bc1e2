package host

import (
	"errors"
	"fmt"
	"strings"
)

const (
	maxPrinted = 1 << 10 // bytes kept of what a call printed
	maxTrace   = 1 << 10 // bytes kept of wazero's text about a trap
)

// fault is a guest's failure: a trap, a budget used up, an answer that does not add up. The instance it happened in is thrown away.
type fault struct {
	doing   string // such as "process"; empty = err says it all
	err     error
	spent   int64  // units, of budget
	limit   int64  // budget; 0 = not a matter of units
	printed string // by the guest, in that call
	sound   bool   // the guest said so itself: the instance goes on, and no second try would end otherwise
}

func (f *fault) Error() string {
	text := f.err.Error()
	if len(text) > maxTrace {
		text = text[:maxTrace] + " ..."
	}
	if f.doing != "" {
		text = f.doing + ": " + text
	}
	if f.limit > 0 {
		text += fmt.Sprintf(" (%d of %d units spent)", f.spent, f.limit)
	}
	if printed := strings.TrimSpace(f.printed); printed != "" {
		text += "; it printed: " + printed
	}
	return text
}

func (f *fault) Unwrap() error { return f.err }

var errNoAnswer = errors.New("no answer")

// lie is an answer of a guest that is not what the ABI says.
func lie(doing, format string, args ...any) *fault {
	return &fault{doing: doing, err: fmt.Errorf(format, args...)}
}

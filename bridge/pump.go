package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Sender is the far end's half of a pump: it decides what is claimed and does the sending. All its methods are called by Pump.Run
// alone, one at a time, and none of them may wait for the far end.
type Sender interface {
	// Turn handles what happened at the far end since the last call. With stopping, nothing new is claimed any more.
	Turn(stopping bool) (Progress, error)
	// Take queues a row, in the order of their numbers. Where the sender has asked for rows anew, live ones come in an order of their own beside the
	// others, and an empty row once there are no others.
	Take(row Row) error
	// Step returns what is to be made durable next, or nil. It belongs to the caller until Done.
	Step() *Step
	// Done says that the last Step is durable: what it allows may be sent now.
	Done() error
}

// Progress is what a pump needs to know of its sender.
type Progress struct {
	Room     bool // more rows may be taken
	LiveRoom bool // more live rows may be taken

	// What was queued is forgotten, and all rows are to be taken once more: those there are now, and as live ones those appended from now on.
	Anew bool

	Idle bool // nothing is open that could still be answered; a stopping pump may end
	Lazy bool // what Step would return is not waited for by anything that could be sent: it may gather for a few milliseconds

	Again time.Duration // Turn has something to do after so long, even if nothing happens; 0: it has not
}

// Pump carries what was appended to one remote: rows → Step → Commit → send (rules 8 to 16). It knows nothing of the far end's
// protocol.
type Pump struct {
	Outbox Outbox
	Sender Sender
	Wake   <-chan struct{} // has a value when Turn has something to do; with room for one
	Log    *slog.Logger    // nil: none
	Linger time.Duration   // how long a stopping pump waits for open acknowledgements
}

const (
	rowsAtOnce    = 64 // rows asked of the outbox at a time
	commitRetry   = 50 * time.Millisecond
	commitBackoff = 5 * time.Second // longest wait between two tries of a failed commit

	// How long a lazy step gathers. On a fast disk a commit a burst of acknowledgements would cost more than sending them; after a crash what was
	// gathered in this time is sent again, at QoS 1 marked, which is little beside what is in flight.
	gather = 5 * time.Millisecond
)

// Run works until ctx ends, the sender fails, or the outbox's state is not known any more (ErrUnknown, ErrCorrupt, ErrClosed). After the
// end of ctx it claims nothing new, waits up to Linger for what is open, commits what came in, and returns nil.
func (p *Pump) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	defer parts.Wait()
	reading, endReading := context.WithCancel(ctx)
	defer endReading()
	committed, endCommits := context.WithCancel(context.WithoutCancel(ctx)) // outlives ctx by Linger at most
	defer endCommits()
	in := p.read(reading, &parts)
	c := p.commit(committed, &parts)
	defer close(c.steps)
	stop, late := ctx.Done(), (<-chan time.Time)(nil)
	for {
		at, err := p.Sender.Turn(stop == nil)
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if at.Anew {
			in.end()
			in = p.readAnew(reading, &parts)
		}
		c.next(p.Sender, at.Lazy && stop != nil)
		if stop == nil && at.Idle && !c.busy {
			return nil
		}
		var rows, live <-chan Row
		var again <-chan time.Time
		if stop != nil {
			rows, live, again = in.open(at)
		}
		select {
		case row := <-live:
			err = p.take(row, in.live)
		case row := <-rows:
			err = p.take(row, in.rows)
		case err = <-c.done:
			c.busy = false
			if err == nil {
				CrashPoint("pump.committed")
				err = p.Sender.Done()
			}
		case err = <-in.lost:
		case <-p.Wake:
		case <-again:
		case <-c.due:
			c.gathered = true
		case <-stop:
			stop = nil
			late = time.After(p.Linger)
		case <-late:
			return nil // a commit that hangs has to give up now
		}
		if err != nil {
			return err
		}
	}
}

// take hands over a row and those that wait behind it, so that a burst is claimed in one step.
func (p *Pump) take(row Row, rows <-chan Row) error {
	for n := 0; ; n++ {
		if err := p.Sender.Take(row); err != nil {
			return fmt.Errorf("take row %d: %w", row.Number, err)
		}
		if n == rowsAtOnce {
			return nil
		}
		select {
		case row = <-rows:
		default:
			return nil
		}
	}
}

// commits is the way of steps to the outbox, one at a time.
type commits struct {
	steps    chan<- *Step
	done     <-chan error
	busy     bool // a step is on its way
	due      <-chan time.Time
	gathered bool // a lazy step has waited long enough
}

// next sends the sender's next step off, if there is one; a lazy one when it has gathered.
func (c *commits) next(s Sender, lazy bool) {
	switch {
	case c.busy:
	case !lazy || c.gathered:
		c.due, c.gathered = nil, false
		if step := s.Step(); step != nil {
			c.busy = true
			c.steps <- step
		}
	case c.due == nil:
		c.due = time.After(gather)
	}
}

// commit makes the steps durable that are sent to it, each until it succeeds: a full disk is waited for, with everything that was read.
func (p *Pump) commit(ctx context.Context, parts *sync.WaitGroup) commits {
	steps, done := make(chan *Step, 1), make(chan error, 1)
	parts.Go(func() {
		for s := range steps {
			done <- p.commitOne(ctx, s)
		}
	})
	return commits{steps: steps, done: done}
}

func (p *Pump) commitOne(ctx context.Context, s *Step) error {
	for wait := commitRetry; ; wait = min(2*wait, commitBackoff) {
		err := p.Outbox.Commit(ctx, s)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || isFinal(err) {
			return fmt.Errorf("commit %d claims, %d acknowledgements: %w", len(s.Claims), len(s.Acks), err)
		}
		if p.Log != nil {
			p.Log.Warn("commit failed, trying again", "error", err, "wait", wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// isFinal reports whether trying the same step again is of no use, or not allowed.
func isFinal(err error) bool {
	return errors.Is(err, ErrUnknown) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrClosed) || errors.Is(err, ErrRejected)
}

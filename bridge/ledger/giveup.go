package ledger

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnrouted is an Open that would have to drop messages which were acknowledged: the configuration is to be changed, none of them was touched.
var ErrUnrouted = errors.New("no pipeline sends there any more; bring it back until they are sent, or drop them with give_up = true")

// giveUp settles what waits for remotes that no pipeline sends to any more, where the configuration says so; else it is ErrUnrouted. What a
// remote that is still there has of a pipeline that is gone, it sends. Without routes, as tools open a ledger, nothing is given up.
func (l *Log) giveUp() error {
	if l.cfg.Routes == nil {
		return nil
	}
	unrouted := l.unrouted()
	if !l.cfg.GiveUp {
		var waiting []string
		for _, o := range unrouted {
			waiting = append(waiting, o.waiting()...)
		}
		if len(waiting) > 0 {
			return fmt.Errorf("%s: %w", strings.Join(waiting, ", "), ErrUnrouted)
		}
	}
	for _, o := range unrouted {
		if err := l.remove(o); err != nil {
			return fmt.Errorf("give up what remote %s was to get: %w", o.name, err)
		}
	}
	return nil
}

// unrouted returns the outboxes that no pipeline sends to.
func (l *Log) unrouted() []*Outbox {
	routed := make(map[uint32]bool)
	for _, ids := range l.routes {
		for _, id := range ids {
			routed[id] = true
		}
	}
	var out []*Outbox
	for _, id := range sortedKeys(l.outboxes) {
		if !routed[id] {
			out = append(out, l.outboxes[id])
		}
	}
	return out
}

// waiting says how many messages of each pipeline are not settled.
func (o *Outbox) waiting() (out []string) {
	counts := make(map[string]int)
	for _, sh := range o.shares {
		counts[sh.row.stream.pipeline] += sh.left
	}
	for _, pipeline := range sortedKeys(counts) {
		out = append(out, fmt.Sprintf("%d messages of pipeline %s wait for remote %s", counts[pipeline], pipeline, o.name))
	}
	return out
}

// remove settles all that an outbox has, and forgets it but for the count.
func (l *Log) remove(o *Outbox) error {
	n := o.settleAll()
	if err := l.storeRemoved(o, n); err != nil {
		return err
	}
	if n > 0 {
		l.givenUp[o.name] += n
	}
	delete(l.outboxes, o.id)
	delete(l.byName, o.name)
	return nil
}

// settleAll returns how many messages it settled.
func (o *Outbox) settleAll() (n int64) {
	for _, number := range sortedKeys(o.shares) {
		sh := o.shares[number]
		n += int64(sh.left)
		delete(o.shares, number)
		o.log.through(sh.row)
	}
	return n
}

func (l *Log) storeRemoved(o *Outbox, givenUp int64) error {
	t, err := l.writer.Begin()
	if err != nil {
		return classify(err)
	}
	defer t.Rollback() // after Commit it does nothing
	for _, s := range []struct {
		query string
		args  []any
	}{
		{"UPDATE remote SET given_up=given_up+?, removed=1 WHERE id=?", []any{givenUp, o.id}},
		{"DELETE FROM step WHERE remote=?", []any{o.id}},
		{"DELETE FROM outbox WHERE remote=?", []any{o.id}},
	} {
		if _, err := t.Exec(s.query, s.args...); err != nil {
			return fmt.Errorf("%s: %w", s.query, classify(err))
		}
	}
	return classify(t.Commit())
}

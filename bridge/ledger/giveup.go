package ledger

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
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

// remove settles all that an outbox has, and forgets it but for the count and the list of what is lost with it.
func (l *Log) remove(o *Outbox) error {
	losses, err := l.lossesOf(o)
	if err != nil {
		return err
	}
	n := o.settleAll()
	if err := l.storeRemoved(o, n, losses); err != nil {
		return err
	}
	if n > 0 {
		l.givenUp[o.name] += n
	}
	delete(l.outboxes, o.id)
	delete(l.byName, o.name)
	return nil
}

// lossesOf returns what is lost of each stream when an outbox goes with what it has not settled.
func (l *Log) lossesOf(o *Outbox) ([]bridge.Loss, error) {
	byStream := make(map[string]*bridge.Loss)
	for _, number := range sortedKeys(o.shares) {
		sh := o.shares[number]
		name := sh.row.stream.name
		if byStream[name] == nil {
			byStream[name] = &bridge.Loss{
				Stream: name, From: math.MaxInt64, To: math.MinInt64, Noted: time.Now(), Reason: "given up with remote " + o.name,
			}
		}
		err := l.each("SELECT data FROM batch WHERE number=?", func(rows *sql.Rows) error {
			var data []byte
			if err := rows.Scan(&data); err != nil {
				return err
			}
			ms, err := readRow(data, sh.row.count)
			if err != nil {
				return err
			}
			addLost(byStream[name], ms, sh.settled)
			return nil
		}, int64(number))
		if err != nil {
			return nil, err
		}
	}
	var out []bridge.Loss
	for _, name := range sortedKeys(byStream) {
		out = append(out, *byStream[name])
	}
	return out, nil
}

// addLost counts the records of which a message of a row is not settled. Those of one record stand together.
func addLost(l *bridge.Loss, ms []bridge.Message, settled bridge.Bitmap) {
	var last bridge.Key
	counted := false
	for i := range ms {
		if settled.Has(i) {
			continue
		}
		k := ms[i].ID().Key
		if !counted || k != last {
			l.Records++
		}
		last, counted = k, true
		l.From, l.To = min(l.From, k.Time), max(l.To, k.Time)
	}
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

// storeRemoved writes that a remote is gone: its count, its losses, and nothing of its journal, all or nothing.
func (l *Log) storeRemoved(o *Outbox, givenUp int64, losses []bridge.Loss) error {
	t := l.tx
	if err := t.exec(sqlBegin); err != nil {
		return err
	}
	err := func() error {
		for _, loss := range losses {
			if _, err := t.lose(loss); err != nil {
				return err
			}
		}
		if err := t.exec(sqlRemoved, givenUp, int64(o.id)); err != nil {
			return err
		}
		if err := t.exec(sqlDropSteps, int64(o.id), int64(o.number)); err != nil {
			return err
		}
		if err := t.exec(sqlDropOutbox, int64(o.id)); err != nil {
			return err
		}
		return t.exec(sqlCommit)
	}()
	if err != nil {
		return t.abort(err)
	}
	return nil
}

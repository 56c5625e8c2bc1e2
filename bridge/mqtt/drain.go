package mqtt

import (
	"math/rand/v2"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// claimsAhead is how many claims are made beyond what may be in flight: what a connection sends while one commit takes place on a slow disk
// (100,000 messages/s, 10 ms). After a crash as many messages more are resent as if they had been sent before.
const claimsAhead = 1024

// toll is the limit of a machine: it tells the limiter what a message costs.
type toll struct {
	*bridge.Limiter
	rows *rows
}

func (t toll) Take(ref bridge.Ref) { t.Limiter.Take(t.rows.cost(ref)) }

// drain sets what of a machine's configuration the drain decides. With a maximum nothing is claimed ahead: what is claimed goes out as soon as its
// commit is durable, and nothing gathers that could go at once when the far end gets faster. Where live messages go first the machine itself sees to
// that for the others.
func (r *Remote) drain(c *session.Config) {
	c.Ahead, c.Live = claimsAhead, r.live()
	if r.c.Drain.Limits() && !c.Live {
		c.Ahead = 0
	}
	if r.limiter != nil {
		c.Limit = toll{r.limiter, r.rows}
	}
}

func (r *Remote) live() bool { return r.c.Drain.Priority == bridge.LiveFirst }

// cameBack begins what a CONNACK begins, if the remote was away: no other of its connections is up.
func (r *Remote) cameBack() {
	if r.m.Up() {
		return
	}
	if r.live() {
		r.m.Anew()
		r.rows.comeAgain()
		r.anew = true
	}
	if r.limiter == nil {
		return
	}
	var pause time.Duration
	if r.c.Drain.Jitter > 0 && (r.live() || r.m.Behind()) { // of live rows the pause is none, and the others are still to be read
		pause = rand.N(time.Duration(r.c.Drain.Jitter))
	}
	r.limiter.Connected(time.Now(), pause)
}

// wait says how long until more may be claimed; 0 where nothing waits for that. mu is not held.
func (r *Remote) wait() (again time.Duration) {
	if r.limiter == nil {
		return 0
	}
	if r.m.Waits() {
		again = r.limiter.Wait()
	}
	r.mu.Lock()
	r.limit = *r.limiter
	r.mu.Unlock()
	return again
}

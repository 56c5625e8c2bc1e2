package host

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sluicebridge/sluice/bridge"
)

// pool is a module's instances: at most as many alive as there are tokens. A stateful module's instances remember whose state they hold,
// so that a stream finds its own again and need not load.
type pool struct {
	tokens chan struct{} // one for each instance that may be in use
	make   func() (*instance, error)
	ended  func() // called once, when the pool is closed and its last instance has ended

	mu     sync.Mutex
	idle   []*instance // guarded by mu; least recently used first
	alive  int         // guarded by mu; idle or in use
	closed bool        // guarded by mu
}

func newPool(most int, fresh func() (*instance, error), ended func()) *pool {
	p := &pool{tokens: make(chan struct{}, most), make: fresh, ended: ended}
	for range most {
		p.tokens <- struct{}{}
	}
	return p
}

// take returns an instance, if there is one the one that serves o, and waits while all are in use. mine: it holds o's state.
func (p *pool) take(ctx context.Context, o owner) (in *instance, mine bool, err error) {
	select {
	case <-p.tokens:
	case <-ctx.Done():
		return nil, false, fmt.Errorf("wait for an instance: %w", bridge.ErrRetry)
	}
	in, mine, err = p.pick(o)
	if err != nil {
		p.tokens <- struct{}{}
	}
	return in, mine, err
}

func (p *pool) pick(o owner) (in *instance, mine bool, err error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, false, bridge.ErrClosed
	}
	if i := p.choose(o); i >= 0 {
		in = p.idle[i]
		p.idle = slices.Delete(p.idle, i, i+1)
		p.mu.Unlock()
		mine = o != owner{} && in.owner == o
		in.owner = owner{}
		return in, mine, nil
	}
	p.alive++
	p.mu.Unlock()
	if in, err = p.make(); err != nil {
		p.gone()
	}
	return in, false, err
}

// choose returns the index of the idle instance to use, -1 to make one: o's own, then the one used last that is nobody's, and another
// stream's only where no more may be made. It is called with mu held.
func (p *pool) choose(o owner) int {
	free := -1
	for i, in := range p.idle {
		if in.owner == o {
			free = i
		}
	}
	if free >= 0 || o == (owner{}) {
		return free
	}
	for i, in := range p.idle {
		if in.owner == (owner{}) {
			free = i
		}
	}
	if free < 0 && p.alive >= cap(p.tokens) {
		return 0
	}
	return free
}

// put gives an instance back, with the state of o.
func (p *pool) put(in *instance, o owner) {
	in.owner, in.caller = o, nil
	p.mu.Lock()
	end := p.closed || in.full()
	if !end {
		p.idle = append(p.idle, in)
	}
	p.mu.Unlock()
	if end {
		in.close()
		p.gone()
	}
	p.tokens <- struct{}{}
}

// gone counts an instance that was closed.
func (p *pool) gone() {
	p.mu.Lock()
	p.alive--
	last := p.closed && p.alive == 0
	p.mu.Unlock()
	if last {
		p.ended()
	}
}

// end closes an instance that was taken and must not serve again.
func (p *pool) end(in *instance) {
	in.close()
	p.gone()
	p.tokens <- struct{}{}
}

// replace closes an instance that was taken and makes another in its place. On error there is none, and nothing to give back.
func (p *pool) replace(in *instance) (*instance, error) {
	in.close()
	next, err := p.make()
	if err != nil {
		p.gone()
		p.tokens <- struct{}{}
	}
	return next, err
}

// discard ends the idle instance that holds o's state.
func (p *pool) discard(o owner) {
	p.mu.Lock()
	var old []*instance
	p.idle = slices.DeleteFunc(p.idle, func(in *instance) bool {
		if in.owner == o {
			old = append(old, in)
		}
		return in.owner == o
	})
	p.alive -= len(old)
	p.mu.Unlock()
	for _, in := range old {
		in.close()
	}
}

// rest ends the idle instances. More can be made.
func (p *pool) rest() {
	p.mu.Lock()
	old := p.idle
	p.idle = nil
	p.alive -= len(old)
	p.mu.Unlock()
	for _, in := range old {
		in.close()
	}
}

// close ends the idle instances; those in use end when they are given back. A second call does nothing.
func (p *pool) close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	old := p.idle
	p.idle, p.closed = nil, true
	p.alive -= len(old)
	last := p.alive == 0
	p.mu.Unlock()
	for _, in := range old {
		in.close()
	}
	if last {
		p.ended()
	}
}

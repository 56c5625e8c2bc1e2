package simulation

import "iter"

// task is production code that waits, such as an Append for its commit, taken apart at its waits: it runs until it waits, and goes on when
// the schedule says so. It is a coroutine, so that the code itself need not know. Only one runs at a time.
type task struct {
	yield func(struct{}) bool
	next  func() (struct{}, bool)
	stop  func()
	ready func() bool // what it waits for
	most  bool        // it waits as long as that takes; else its deadline may end the wait
	ok    bool        // what it waited for has come
	ended bool
}

// spawn runs f up to its first wait.
func (g *gate) spawn(f func()) {
	t := new(task)
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		f()
	})
	g.tasks = append(g.tasks, t)
	g.resume(t)
}

func (g *gate) resume(t *task) {
	before := g.running
	g.running = t
	if _, more := t.next(); !more {
		t.ended = true
	}
	g.running = before
}

// wait returns true once ready is true, false where its deadline came first or the process ended.
func (g *gate) wait(ready func() bool) bool {
	t := g.running
	t.ready, t.ok = ready, true
	return t.yield(struct{}{}) && t.ok
}

// waitLong is wait without a deadline.
func (g *gate) waitLong(ready func() bool) bool {
	t := g.running
	t.most = true
	defer func() { t.most = false }()
	return g.wait(ready)
}

// work lets one task go on that can.
func (w *world) work() bool {
	g := w.gate
	if g == nil {
		return false
	}
	first := w.pick(len(g.tasks))
	for i := range g.tasks {
		t := g.tasks[(first+i)%len(g.tasks)]
		if t.ready() {
			g.resume(t)
			g.tidy()
			return true
		}
	}
	return false
}

// expire ends a wait by its deadline. With a commit that hangs that is the only way; else it is a slow one.
func (w *world) expire() bool {
	g := w.gate
	if g == nil || !w.chance(8) && !w.disk.hangs {
		return false
	}
	first := w.pick(len(g.tasks))
	for i := range g.tasks {
		t := g.tasks[(first+i)%len(g.tasks)]
		if !t.most && !t.ready() {
			t.ok = false
			g.resume(t)
			g.tidy()
			return true
		}
	}
	return false
}

func (g *gate) tidy() {
	left := g.tasks[:0]
	for _, t := range g.tasks {
		if !t.ended {
			left = append(left, t)
		}
	}
	clear(g.tasks[len(left):])
	g.tasks = left
}

// abandon ends all tasks with the process: their waits return false, and what they do after that is done to nobody.
func (g *gate) abandon() {
	for _, t := range g.tasks {
		g.running = t
		t.stop()
	}
	g.tasks = nil
}

// Package simulation plays a whole site in one goroutine, every choice made by a seed: edge stores and their senders, the bridge with its
// ledger, the network, the broker, and what breaks of them. The step machine of the MQTT remote, the intake, and the rules of the start hold
// and the reconciler (hold/) are those of production; the ledger is the fake that passes the same suite as the real one, behind a model of its committer.
// What only carries these out is written anew here, and tested where it stands: the target, the reconciler's loop, pump and remote, heartbeats.
//
//	edge_test.go    the store, its replication logs, its senders: they forget as the real one does
//	gate_test.go    one life of the bridge: target, start hold, reconciler, intake
//	guest_test.go   a stateful module
//	disk_test.go    the ledger: what is durable, what is in a commit, what waits
//	pump_test.go    the step machine between the ledger and the connections
//	live_test.go    the same where live messages go first, and where a limit is on claims
//	broker_test.go  the far end, its sessions, its moods
//	fault_test.go   what breaks
//	verdict_test.go what must be true in the end
//	task_test.go    code that waits, taken apart at its waits
package simulation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

const maxTurns = 30000

// variant fixes a part of the world; what it leaves open the seed decides.
type variant struct {
	name      string
	qos       byte
	ordering  bridge.Ordering
	loses     bool // a killed broker forgets its sessions
	stale     bool // or comes back with those of some time ago
	silent    bool // and nobody can see that it was started anew
	calm      bool // nothing breaks while a CONNECT is unanswered
	refuses   bool // the broker refuses some messages, for now or for good
	hold      bool // a message refused for good is tried again
	poisons   bool // the broker ends the connection on one message
	farChange bool // a restart may find itself in front of another broker
	lates     bool // records are written with times older than others'
	updates   bool // labels change
	overruns  bool // replication logs are small
	evicts    bool // the edge store's quota takes records away
	twins     bool // two tasks replicate the same entries
	modules   bool // a module asks for a batch again later
	live      bool // what is appended since the remote is back goes first
}

// world is one schedule.
type world struct {
	variant
	*choices
	fired map[string]int
	tell  bool // keep the trace
	trace []string
	turn  int
	fail  string

	edge   edge
	disk   disk
	gate   *gate // nil: the bridge is down
	broker broker
	rows   []row // appended
	sends  sends

	overlap     int64       // record time that a pass looks back
	ids         int         // packet identifiers
	quota       int         // messages that may wait
	conns       int         // of the pump, last
	farEnd      int         // which broker it is
	connections int         // of senders, so far
	faults      int         // still to come
	ticks       int         // still to come
	lives       map[int]int // by client: which life of the broker it spoke to last
	lossy       bool        // a session was lost, or had to be taken for lost
}

func newWorld(v variant, c *choices, fired map[string]int) *world {
	w := &world{variant: v, choices: c, fired: fired, sends: newSends(), lives: make(map[int]int)}
	w.ids, w.quota, w.faults = 5+w.pick(3), 3+w.pick(12), w.pick(7)
	w.ticks = w.pick(5)
	w.overlap = int64(w.pick(3 * step))
	if w.lates { // a record that is written later than this, and forgotten, is not found
		w.overlap = 1 << 40
	}
	w.disk = newDisk(w)
	w.edge.entries = make(map[string]*entry)
	for n := range 1 + w.pick(3) {
		e := &entry{stream: "b/" + string(rune('a'+n)), number: n, coming: 3 + w.pick(6)}
		if w.updates {
			e.updates = w.pick(4)
		}
		w.edge.list = append(w.edge.list, e)
		w.edge.entries[e.stream] = e
	}
	for n := range w.senders() {
		s := &sender{logs: make(map[string][]line), size: 1000, started: n == 0 && !w.chance(4)}
		if w.overruns {
			s.size = 2 + w.pick(4)
		}
		w.edge.senders = append(w.edge.senders, s)
	}
	w.broker = broker{atPublish: w.chance(2), says91: w.chance(2), refusals: make(map[int64]int)}
	if w.refuses {
		for n := range 6 {
			if w.chance(3) {
				w.broker.refusals[int64(step*(n+1))] = 1 + w.pick(2)
			}
		}
	}
	if w.poisons {
		w.broker.poison = int64(step * (1 + w.pick(3)))
	}
	w.boot(true)
	return w
}

func (w *world) senders() int {
	if w.twins {
		return 2
	}
	return 1
}

func (w *world) fire(what string) { w.fired[what]++ }

// note adds a line to the trace.
func (w *world) note(format string, args ...any) {
	if w.tell {
		w.trace = append(w.trace, fmt.Sprintf("%5d ", w.turn)+fmt.Sprintf(format, args...))
	}
}

// failf says what is wrong; the first word counts.
func (w *world) failf(format string, args ...any) {
	if w.fail == "" {
		w.fail = fmt.Sprintf(format, args...)
		w.note("FAILED: %s", w.fail)
	}
}

// now is the clock: it moves with every turn.
func (w *world) now() time.Time { return time.UnixMicro(int64(w.turn)) }

func (w *world) message(ref bridge.Ref) *bridge.Message {
	return &w.rows[ref.Row-1].messages[ref.Index]
}

func (w *world) timeOf(ref bridge.Ref) int64 { return w.message(ref).Time }

// words names a message for people.
func (w *world) words(ref bridge.Ref) string {
	if ref.Row == 0 {
		return "somebody else's"
	}
	return string(w.message(ref).AppendID(nil, w.rows[ref.Row-1].stream))
}

// waiting counts the messages that are not settled.
func (w *world) waiting() (n int) {
	rows, _ := w.disk.store.Outbox(remoteName).Next(ended, 0, 1<<30)
	for _, r := range rows {
		for i := range r.Count {
			if !r.Settled.Has(i) {
				n++
			}
		}
	}
	return n
}

var acts = []func(*world) bool{
	(*world).write, (*world).post, (*world).serve, (*world).hear, (*world).begin, (*world).evict, // the edge and the target
	(*world).work, (*world).work, (*world).expire, (*world).pass, // code that waits
	(*world).commit, (*world).commit, (*world).offer, (*world).handIn, (*world).stepped, (*world).giveUp, // the ledger and the pump
	(*world).dial, (*world).brokerReads, (*world).weRead, (*world).brokerReads, (*world).weRead, (*world).retry, (*world).fill, // the far end
	(*world).recover, (*world).tick,
}

// run plays the schedule and returns what failed.
func (w *world) run() string {
	defer w.end()
	slow := w.pick(2 * len(acts))
	for w.turn = 1; w.fail == "" && !w.finished(); w.turn++ {
		if w.turn > maxTurns {
			w.failf("stuck: %s", w.state())
			break
		}
		if w.faults > 0 && w.chance(30) {
			w.fault()
			continue
		}
		first := w.pick(len(acts))
		for i := range acts {
			if a := (first + i) % len(acts); (a != slow || w.chance(8)) && acts[a](w) {
				break
			}
		}
		w.carry()
	}
	if w.fail == "" {
		w.verdict()
	}
	return w.fail
}

func (w *world) end() {
	if w.gate != nil {
		w.gate.abandon()
	}
}

// finished: nothing is left to be done by anybody.
func (w *world) finished() bool {
	if w.gate == nil || len(w.gate.tasks) > 0 || len(w.disk.tail) > 0 || w.gate.pump.step != nil || w.gate.pump.m.Held() > 0 || len(w.sends.open) > 0 {
		return false
	}
	for _, e := range w.edge.list {
		if e.coming > 0 || len(w.lacking(e)) > 0 {
			return false
		}
	}
	for _, s := range w.edge.senders {
		for _, log := range s.logs {
			if len(log) > 0 {
				return false
			}
		}
	}
	return w.waiting() == 0 && !slices.ContainsFunc(w.gaps(), func(x bridge.Gap) bool { return !w.gate.hopeless[x.ID] })
}

// lacking returns the records of an entry that the ledger has not taken in.
func (w *world) lacking(e *entry) (ts []int64) {
	for _, r := range e.records {
		if !r.evicted && !w.disk.has(e.stream, r.time) {
			ts = append(ts, r.time)
		}
	}
	return ts
}

func (w *world) gaps() []bridge.Gap {
	gaps, _ := w.disk.store.OpenGaps()
	return gaps
}

// state says where everybody is, of a schedule that does not end.
func (w *world) state() string {
	var b strings.Builder
	for _, e := range w.edge.list {
		fmt.Fprintf(&b, "%s: %d to come, lacking %v; ", e.stream, e.coming, w.lacking(e))
	}
	for i, s := range w.edge.senders {
		fmt.Fprintf(&b, "sender %d: started %v logs %v batch %v; ", i, s.started, s.logs, s.batch)
	}
	fmt.Fprintf(&b, "%d wait, %d claims open, %d writes (%d in commit, hangs %v, full %v), gaps %v", w.waiting(), len(w.sends.open),
		len(w.disk.tail), w.disk.taken, w.disk.hangs, w.disk.full, w.gaps())
	if w.gate != nil {
		fmt.Fprintf(&b, ", %d tasks, %d lanes held, locks %v", len(w.gate.tasks), w.gate.pump.m.Held(), w.gate.locks)
	}
	return b.String()
}

// schedule is the trace for people.
func (w *world) schedule() string { return strings.Join(slices.Clone(w.trace), "\n") }

package host

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"

	"github.com/sluicebridge/sluice/bridge"
)

// aside names the state of a version that was set aside: NAME@VERSION, so that one that nobody has read yet is not written over by the next. No
// module's name has an @ in it.
func aside(module string, version uint32) string { return fmt.Sprintf("%s@%d", module, version) }

// Follow says that m takes the place of another module of its name. Chains made of m from now on let that one say what it holds where its state
// cannot be taken over. The other must not be closed while they are in use.
func (m *Module) Follow(other *Module) {
	m.before, other.before = other, nil
}

// Resets tells whether m, in the place of another module, begins anew: their states are of different versions.
func (m *Module) Resets(other *Module) bool {
	return m.Stateful() && other.Stateful() && m.manifest.StateVersion != other.manifest.StateVersion
}

// Rest ends the instances that are idle: what they remember of their streams is another's now. No chain may use the module any more.
func (m *Module) Rest() { m.pool.rest() }

// Accepts tries whether m takes a state that another module has written; one of another version is none of its business.
func (m *Module) Accepts(ctx context.Context, st bridge.State) error {
	if !m.Stateful() || st.Version != m.manifest.StateVersion {
		return nil
	}
	in, _, err := m.pool.take(ctx, owner{})
	if err != nil {
		return err
	}
	if err := in.restore(st.Bytes); err != nil {
		m.pool.end(in)
		return fmt.Errorf("module %s: %w", m.name, err)
	}
	m.pool.put(in, owner{}) // nobody's: whoever is next loads his own
	return nil
}

// adopt gets the guest a state where the committed one is of another version: that one is set aside, and stored as that with what comes of this
// batch. One that was set aside before and is of this version is taken up.
func (s *stage) adopt(ctx context.Context, old bridge.State) (bridge.State, error) {
	s.kept = &old
	if s.before != nil && s.before.manifest.StateVersion == old.Version && !s.shadow {
		if err := s.handOver(s.kept); err != nil {
			return bridge.State{}, retry(err)
		}
	}
	st, found, err := s.chain.states.State(s.chain.pipeline, s.stream, aside(s.name, s.manifest.StateVersion))
	if err != nil {
		return bridge.State{}, fmt.Errorf("state that was set aside: %w", err)
	}
	text := "module begins anew: its state is of another version, and set aside"
	if found = found && st.Version == s.manifest.StateVersion; found {
		text = "module goes on from the state that was set aside for its version"
	}
	if s.rt.log != nil && !s.shadow {
		s.rt.log.Warn(text, "module", s.name, "stream", s.stream, "state_version", old.Version, "want", s.manifest.StateVersion)
	}
	if !found {
		return bridge.State{}, nil
	}
	return st, nil
}

// handOver lets the module before say what it holds of the stream, for nobody else can read its state. Where it cannot, the state stays as it
// was and is set aside whole. An error is none of its own, and passes.
func (s *stage) handOver(old *bridge.State) error {
	if !s.before.flushes {
		return nil
	}
	// Not one of the pool's: whoever holds an instance of each of two pools may wait for another who does.
	in, err := s.before.fresh()
	if err != nil {
		return fmt.Errorf("module %s, the one before: %w", s.name, err)
	}
	defer in.close()
	in.muted = s.reached > 0
	mark := len(s.next)
	if err := s.lastWords(in, old); err != nil {
		clear(s.next[mark:])
		s.next = s.next[:mark]
		s.say(slog.LevelError, "the module before did not say what it holds; it is in the state that is set aside", s.stream, err)
	}
	s.forget()
	return nil
}

func (s *stage) lastWords(in *instance, old *bridge.State) error {
	it := s.origin
	if len(s.items) > 0 {
		first := &s.items[0]
		it = item{from: first.from, Message: bridge.Message{Shift: first.Shift, Record: bridge.Record{Time: first.Time, Revision: first.Revision}}}
	}
	if err := in.restore(old.Bytes); err != nil {
		return err
	}
	b := stage{run: s.run, link: s.before, in: in, record: -1}
	if _, err := b.flushed(&it, int32(bridge.FlushSwap)); err != nil {
		return err
	}
	rest, err := in.state()
	if err != nil {
		return err
	}
	old.Bytes, s.record, s.first = bytes.Clone(rest), b.record, b.first
	return nil
}

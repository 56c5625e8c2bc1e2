package host

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"

	"github.com/sluicebridge/sluice/bridge"
)

// kept follows a module's name where the ledger has a state of it that was set aside. No name has an @ in it.
const kept = "@old"

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
		s.handOver(ctx, s.kept)
	}
	st, found, err := s.chain.states.State(s.chain.pipeline, s.stream, s.name+kept)
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
// was and is set aside whole.
func (s *stage) handOver(ctx context.Context, old *bridge.State) {
	mark := len(s.next)
	if err := s.lastWords(ctx, old); err != nil {
		clear(s.next[mark:])
		s.next = s.next[:mark]
		s.say(slog.LevelError, "the module before did not say what it holds; it is in the state that is set aside", s.stream, err)
	}
	s.forget()
}

func (s *stage) lastWords(ctx context.Context, old *bridge.State) error {
	if !s.before.flushes {
		return nil
	}
	in, _, err := s.before.pool.take(ctx, owner{})
	if err != nil {
		return err
	}
	defer s.before.pool.end(in)
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

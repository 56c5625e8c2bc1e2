package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/admin"
	"github.com/sluicebridge/sluice/bridge/ledger"
)

// Refill implements admin.Refiller: it appends what a far end was found to lack for that one remote, from the ledger where that still has
// the message, else anew from its record.
func (g *gate) Refill(ctx context.Context, q admin.RefillRequest) (answer admin.RefillAnswer, err error) {
	f := g.current()
	p, ok := f.Pipelines[q.Pipeline]
	if !ok || !slices.Contains(p.to(), q.Remote) {
		return answer, fmt.Errorf("pipeline %q does not exist or does not send to %q", q.Pipeline, q.Remote)
	}
	r := &refill{request: q, answer: &answer, intake: g.intakes[q.Pipeline], stored: g.store.Stored, stateful: g.stateful(p)}
	streams := r.sort()
	if len(streams) == 0 {
		return answer, nil
	}
	if r.view, err = g.viewOf(ctx, f, q.Pipeline, streams); err != nil {
		return answer, err
	}
	for _, name := range slices.Sorted(maps.Keys(streams)) {
		r.record = g.sourceOf(f, p, name)
		if err := r.stream(ctx, name, streams[name]); err != nil {
			for id := range r.left {
				r.refuse(name, id, err.Error())
			}
		}
	}
	return answer, nil
}

// stateful names what of a pipeline keeps a state; empty: nothing does, and its records can be run through it again.
func (g *gate) stateful(p pipelineConfig) string {
	if c, err := p.condition(); err != nil || c != nil && c.Stateful() {
		return "its condition"
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range p.Modules {
		if g.modules[name].Stateful() {
			return "module " + name
		}
	}
	return ""
}

// viewOf looks at the bridge's own ledger as it is, for the streams and times of a refill.
func (g *gate) viewOf(ctx context.Context, f *file, pipeline string, streams map[string][]bridge.ID) (*ledger.View, error) {
	filter := ledger.ViewFilter{Streams: func(p, s string) bool { return p == pipeline && streams[s] != nil }}
	first := true
	for _, ids := range streams {
		from, to := ids[0].Time, ids[len(ids)-1].Time
		if first || from < filter.From {
			filter.From = from
		}
		if first || to > filter.To {
			filter.To = to
		}
		first = false
	}
	return ledger.OpenView(ctx, filepath.Join(f.DataDir, "ledger"), filter)
}

// sourceOf finds the edge store that a stream comes from. The error says why there is none.
func (g *gate) sourceOf(f *file, p pipelineConfig, stream string) recordSource {
	return func(ctx context.Context, t int64, take func(*bridge.Record) error) (bool, error) {
		for _, name := range p.Inputs {
			if bucket, _ := f.Inputs.bucket(name); bucket != "*" && bucket != bridge.Bucket(stream) {
				continue
			}
			survey, err := surveyOf(ctx, f, g.path, name)
			if err != nil {
				return false, err
			}
			if survey == nil {
				continue
			}
			defer survey.Close()
			return survey.Record(ctx, stream, t, take)
		}
		return false, errors.New("its input has no source to fetch the record from")
	}
}

// recordSource gives one record of a stream to take, whose bytes are valid during the call.
type recordSource func(ctx context.Context, t int64, take func(*bridge.Record) error) (found bool, err error)

// refill is one request at work.
type refill struct {
	request  admin.RefillRequest
	answer   *admin.RefillAnswer
	intake   *bridge.Intake
	view     *ledger.View
	stored   func(pipeline, stream string, from, to int64) iter.Seq2[bridge.Message, error]
	record   recordSource
	stateful string             // what keeps a state
	left     map[bridge.ID]bool // of the stream, neither queued nor refused yet
}

// refillAtOnce is how many stored messages are appended in one write.
const refillAtOnce = 100

// sort groups the identities by stream, each in ascending order and once.
func (r *refill) sort() map[string][]bridge.ID {
	streams := make(map[string][]bridge.ID)
	for _, text := range r.request.IDs {
		stream, id, ok := bridge.ParseID([]byte(text))
		if !ok {
			r.answer.Refused = append(r.answer.Refused, admin.Refused{ID: text, Why: "is not an identity"})
			continue
		}
		streams[string(stream)] = append(streams[string(stream)], id)
	}
	for name, ids := range streams {
		slices.SortFunc(ids, bridge.ID.Compare)
		streams[name] = slices.Compact(ids)
	}
	return streams
}

func (r *refill) refuse(stream string, id bridge.ID, why string) {
	delete(r.left, id)
	r.answer.Refused = append(r.answer.Refused, admin.Refused{ID: string(id.Append(nil, stream)), Why: why})
}

func (r *refill) queued(id bridge.ID) {
	delete(r.left, id)
	r.answer.Queued++
}

// stream refills one stream.
func (r *refill) stream(ctx context.Context, name string, ids []bridge.ID) error {
	r.left = make(map[bridge.ID]bool, len(ids))
	for _, id := range ids {
		r.left[id] = true
	}
	r.refuseOthers(name)
	if err := r.fromLedger(ctx, name, ids[0].Time, ids[len(ids)-1].Time); err != nil {
		return err
	}
	for _, id := range ids {
		if !r.left[id] {
			continue
		}
		if r.stateful != "" {
			r.refuse(name, id, fmt.Sprintf("the ledger has it no more (keep_delivered), and %s keeps a state: its record cannot be run again", r.stateful))
			continue
		}
		if err := r.fromSource(ctx, name, id.Key); err != nil {
			return err
		}
	}
	return nil
}

// refuseOthers takes out what the ledger never made, and what waits to be sent anyway.
func (r *refill) refuseOthers(name string) {
	made := make(map[bridge.ID]bool)
	for k, v := range r.view.Seen(r.request.Pipeline, name) {
		for index := range v.Outputs {
			if id := (bridge.ID{Key: k, Index: index}); r.left[id] {
				made[id] = true
			}
		}
	}
	closed := r.view.Closed(r.request.Pipeline, name)
	for id := range r.left {
		if !made[id] && !slices.ContainsFunc(closed, func(c bridge.ClosedRange) bool { return c.From <= id.Time && id.Time <= c.To }) {
			r.refuse(name, id, "the ledger never made it")
		}
	}
	for _, id := range r.view.Waiting(r.request.Remote, r.request.Pipeline, name) {
		if r.left[id] {
			r.refuse(name, id, "waits to be sent already")
		}
	}
}

// fromLedger appends what the ledger still has.
func (r *refill) fromLedger(ctx context.Context, name string, from, to int64) error {
	var batch []bridge.Message
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := r.intake.Resend(ctx, name, r.request.Remote, batch); err != nil {
			return err
		}
		for i := range batch {
			r.queued(batch[i].ID())
		}
		batch = batch[:0]
		return nil
	}
	for m, err := range r.stored(r.request.Pipeline, name, from, to) {
		if err != nil {
			return fmt.Errorf("read stored messages: %w", err)
		}
		if !r.left[m.ID()] || slices.ContainsFunc(batch, func(x bridge.Message) bool { return x.ID() == m.ID() }) {
			continue
		}
		if batch = append(batch, m); len(batch) == refillAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// fromSource makes what is wanted of a record anew.
func (r *refill) fromSource(ctx context.Context, name string, k bridge.Key) error {
	var want, made []bridge.ID
	for id := range r.left {
		if id.Key == k {
			want = append(want, id)
		}
	}
	if k.Flushed() {
		for _, id := range want {
			r.refuse(name, id, "modules have said it between records: the ledger has it no more (keep_delivered), and no record makes it again")
		}
		return nil
	}
	why := "its modules make something else of the record now"
	found, err := r.record(ctx, k.Time, func(rec *bridge.Record) (err error) {
		if k.Revision != 0 && k.Revision != bridge.LabelHash(rec.Labels) {
			why = "the edge store has other labels of the record now"
			return nil
		}
		rec.Revision = k.Revision
		made, err = r.intake.Remake(ctx, name, r.request.Remote, *rec, want)
		return err
	})
	switch {
	case errors.Is(err, bridge.ErrUnknown):
		why = "whether it was queued is unknown: " + err.Error()
	case err != nil:
		why = err.Error()
	case !found:
		why = "the ledger has it no more (keep_delivered), and the edge store has no such record any more"
	}
	for _, id := range made {
		r.queued(id)
	}
	for _, id := range want {
		if r.left[id] {
			r.refuse(name, id, why)
		}
	}
	return ctx.Err()
}

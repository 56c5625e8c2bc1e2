package reduct

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// request is one batch on its way in, its memory reused from request to request.
type request struct {
	t      *Target
	ctx    *fasthttp.RequestCtx
	stream string
	head   head
	lease  lease
	batch  bridge.Batch
	keys   []bridge.Key
	times  []int64
	wants  []item // records of a PATCH that may have to come whole
	flags  []bool // what the intake said of wants
}

func (r *request) begin(t *Target, ctx *fasthttp.RequestCtx, stream string) {
	r.t, r.ctx, r.stream = t, ctx, stream
	r.lease = lease{budget: t.budget}
	r.batch = bridge.Batch{Stream: stream, Records: r.batch.Records[:0]}
}

func (r *request) end() {
	t := r.t
	r.lease.free()
	clear(r.batch.Records) // no views into the next request's header section
	clear(r.head.labels)
	clear(r.head.items)
	clear(r.wants)
	r.t, r.ctx = nil, nil
	t.requests.Put(r)
}

// write takes a POST in.
func (r *request) write() {
	if err := r.head.parse(r.ctx.Request.Header.RawHeaders()); err != nil {
		r.refuse(err)
		return
	}
	for _, it := range r.head.items {
		r.batch.Records = append(r.batch.Records, bridge.Record{
			Time: it.time, ContentType: it.contentType, Labels: r.head.labels[it.from:it.to:it.to],
		})
	}
	large, err := r.body()
	switch {
	case errors.Is(err, errNoMemory):
		r.keep("other requests use all of max_memory", err)
		return
	case err != nil:
		r.refuse(err)
		return
	}
	var left []aside
	if large > 0 {
		left = r.dropOversized()
	}
	wrong, err := r.deliver()
	switch {
	case err != nil:
		r.keep(reason(err), err)
	case len(wrong) > 0 && len(wrong) == len(r.batch.Records):
		r.refuse(wrong[0].why)
	default:
		r.setAside(append(left, wrong...))
	}
}

// body reads the payloads.
func (r *request) body() (large int, err error) {
	ctx, cancel := r.deadline()
	defer cancel()
	body, done, err := r.t.decoders.open(string(r.ctx.Request.Header.ContentEncoding()), patient{r.ctx})
	if err != nil {
		return 0, err
	}
	defer done()
	p := payload{ctx: ctx, lease: &r.lease, maxRecord: int64(r.t.cfg.MaxRecord), maxBody: int64(r.t.cfg.MaxBody)}
	return p.read(body, &r.head, r.batch.Records)
}

// deliver hands the batch to the intake, waits as long as an answer may be held where that may help, and returns nil when it is ours, but
// for the records that are refused for good.
func (r *request) deliver() (wrong []aside, err error) {
	if len(r.batch.Records) == 0 {
		return nil, nil
	}
	ctx, cancel := r.deadline()
	defer cancel()
	if h := r.t.part.Holder; h != nil {
		r.times = r.times[:0]
		for i := range r.batch.Records {
			r.times = append(r.times, r.batch.Records[i].Time)
		}
		w := Waiting{Stream: r.stream, Accepted: r.accepted(), Batch: hold.Batch{Times: r.times, Updates: r.asked()}}
		if err := h.Settle(ctx, w); err != nil {
			return nil, fmt.Errorf("reconcile before the first batch of a connection: %w", err)
		}
		defer h.Release(r.stream)
	}
	return sift(&r.batch, func(b *bridge.Batch) error {
		return r.insist(ctx, func() error { return r.t.taker.Take(ctx, r.t.part.Intake, b) })
	})
}

// insist calls f until it succeeds, fails for good, ctx ends or the target shuts down.
func (r *request) insist(ctx context.Context, f func() error) error {
	return retry(ctx, r.t.stopped, f)
}

// update takes a PATCH in. Each record that we want whole is answered 404, on its own: the sender then POSTs it at once. For PATCH,
// and only there, an error of one record does not make the sender forget it.
func (r *request) update() {
	if err := r.head.parse(r.ctx.Request.Header.RawHeaders()); err != nil {
		r.refuse(err)
		return
	}
	ctx, cancel := r.deadline()
	defer cancel()
	if err := r.insist(ctx, func() error { return r.wanted(ctx) }); err != nil {
		r.keep(reason(err), err)
		return
	}
	m, _ := r.ctx.Conn().(*member)
	if m != nil {
		m.asked = nil
	}
	for i, it := range r.wants {
		if !r.flags[i] {
			if m != nil {
				m.asked = append(m.asked, it.time)
			}
			r.ctx.Response.Header.Set("x-reduct-error-"+strconv.FormatInt(it.time, 10), "404,not seen with these labels")
		}
	}
}

// wanted puts the records that may have to come whole into r.wants, and sets r.flags[i] where r.wants[i] need not.
func (r *request) wanted(ctx context.Context) error {
	r.wants, r.keys, r.times = r.wants[:0], r.keys[:0], r.times[:0]
	for _, it := range r.head.items {
		labels := r.head.labels[it.from:it.to]
		if r.t.taker.Took(r.stream, it.time, labels) {
			continue
		}
		r.wants = append(r.wants, it)
		r.keys = append(r.keys, bridge.Key{Time: it.time, Revision: bridge.LabelHash(labels)})
		r.times = append(r.times, it.time)
	}
	r.flags = append(r.flags[:0], make([]bool, len(r.wants))...)
	if len(r.wants) == 0 {
		return nil
	}
	if r.t.cfg.OnUpdate == "resend" {
		return r.t.part.Intake.Update(ctx, r.stream, r.keys, r.flags)
	}
	if err := r.t.part.Intake.Unseen(ctx, r.stream, r.times, r.flags); err != nil {
		return err
	}
	for i := range r.flags {
		r.flags[i] = !r.flags[i] // seen at all is known well enough
	}
	return nil
}

// refuse answers 422, which makes the sender forget, after a durable gap says what (rule 6).
func (r *request) refuse(cause error) {
	g := bridge.Gap{Stream: r.stream, From: 0, To: math.MaxInt64, Reason: cause.Error(), Noted: time.Now()}
	if r.ctx.IsPatch() {
		g.Reason = updateReason + g.Reason
	}
	if from, to, ok := span(r.ctx.Request.Header.RawHeaders()); ok {
		g.From, g.To = from, to
	}
	if err := r.note(g); err != nil {
		r.keep("a gap could not be noted", err)
		return
	}
	bridge.CrashPoint("target.gap.noted")
	r.t.loud.warn("replicated batch refused; noted as a gap", "stream", r.stream, "from", g.From, "to", g.To, "err", cause)
	r.ctx.SetConnectionClose() // the rest of its body is not worth reading
	r.t.answer(r.ctx, fasthttp.StatusUnprocessableEntity, "sluice: "+cause.Error())
}

// dropOversized takes the records without payload that are over max_record out of the batch.
func (r *request) dropOversized() (left []aside) {
	kept := r.batch.Records[:0]
	for i, rec := range r.batch.Records {
		if it := &r.head.items[i]; it.size > int64(r.t.cfg.MaxRecord) {
			left = append(left, oversized(it, r.t.cfg.MaxRecord))
			continue
		}
		kept = append(kept, rec)
	}
	r.batch.Records = kept
	return left
}

// setAside parks records by reference: a gap for each says where they are.
func (r *request) setAside(left []aside) {
	for _, a := range left {
		if err := r.note(a.gap(r.stream)); err != nil {
			r.keep("a gap could not be noted", err)
			return
		}
		r.t.loud.warn("record left in the edge store", "stream", r.stream, "time", a.time, "err", a.why)
	}
}

func (r *request) note(g bridge.Gap) error {
	ctx, cancel := context.WithTimeout(context.Background(), noteTime)
	defer cancel()
	if err := noteGap(ctx, r.t.part.Gaps, g); err != nil {
		return err
	}
	if h := r.t.part.Holder; h != nil {
		h.Noted(r.stream)
	}
	return nil
}

func (r *request) keep(message string, err error) {
	r.t.loud.warn("replicated batch not taken; answered 503, the sender repeats it", "stream", r.stream, "err", err)
	if errors.Is(err, bridge.ErrClosed) {
		r.ctx.SetConnectionClose()
	}
	r.t.keep(r.ctx, "sluice: "+message)
}

// deadline bounds what an answer waits for. It does not depend on the shutdown: what was read is finished.
func (r *request) deadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Duration(r.t.cfg.Hold))
}

// asked returns which records the sender was asked for by the answer to the PATCH before, ascending: they come in its very next POST.
func (r *request) asked() (times []int64) {
	if m, ok := r.ctx.Conn().(*member); ok {
		times, m.asked = m.asked, nil
	}
	return times
}

// accepted returns when the request's connection was.
func (r *request) accepted() time.Time {
	if m, ok := r.ctx.Conn().(*member); ok {
		return m.accepted
	}
	return time.Now()
}

func reason(err error) string {
	switch {
	case errors.Is(err, bridge.ErrFull):
		return "ledger is full"
	case errors.Is(err, bridge.ErrUnknown):
		return "outcome of the last write unknown"
	case errors.Is(err, bridge.ErrRetry):
		return "busy or paused"
	case errors.Is(err, bridge.ErrClosed):
		return "shutting down"
	}
	return "batch could not be taken"
}

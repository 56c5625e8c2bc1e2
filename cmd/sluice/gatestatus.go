package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/admin"
	"github.com/sluicebridge/sluice/bridge/ledger"
	"github.com/sluicebridge/sluice/bridge/reduct"
	"github.com/sluicebridge/sluice/runtime/host"
)

// Status implements admin.Source.
func (g *gate) Status() admin.Status {
	g.mu.Lock()
	f, modules := g.file, maps.Clone(g.modules)
	g.mu.Unlock()
	stats := g.store.Stats()
	s := admin.Status{
		Version: version, ConfigHash: f.hash(), Started: g.started, LastReloadFailed: g.reloadFailed.Load(),
		Ledger: admin.Ledger{
			Bytes: stats.Live, Quota: int64(stats.Quota), Parked: stats.Parked, DiskFull: stats.DiskFull, Restored: stats.Restored,
		},
	}
	if stats.LastError != nil {
		s.Ledger.LastError = stats.LastError.Error()
	}
	s.Ledger.Lost = admin.Lost{Ranges: stats.Losses, Records: stats.LostRecords, Unknown: stats.LostUnknown}
	if stats.Losses > 0 {
		g.listLosses(&s.Ledger)
	}
	s.Checks = g.checks()
	for _, name := range slices.Sorted(maps.Keys(f.Pipelines)) {
		p := f.Pipelines[name]
		s.Pipelines = append(s.Pipelines, admin.Pipeline{Name: name, Inputs: p.Inputs, Modules: p.Modules, Remotes: p.to(), When: string(p.When)})
	}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		tallies := make(map[string]admin.Tally)
		m := modules[name]
		for what, t := range m.Tallies() {
			tallies[what] = admin.Tally(t)
		}
		x := admin.Module{Name: name, SHA256: m.SHA256(), Tallies: tallies, LastError: m.LastError()}
		g.swaps.show(&x, m, f.Modules[name])
		s.Modules = append(s.Modules, x)
	}
	s.Inputs = g.inputStatus()
	for _, r := range g.remotes {
		x := r.status(stats.Backlog)
		x.GivenUp = stats.GivenUp[r.name]
		delete(stats.GivenUp, r.name)
		s.Remotes = append(s.Remotes, x)
	}
	for _, name := range slices.Sorted(maps.Keys(stats.GivenUp)) { // what the configuration no longer has still has a loss to show
		s.Remotes = append(s.Remotes, admin.Remote{Name: name, Kind: "removed", GivenUp: stats.GivenUp[name]})
	}
	return s
}

// checks is what /readyz goes by. The ledger, the modules and the ports are there, or there would be no gate; a remote that is away is
// no reason to send records elsewhere.
func (g *gate) checks() []admin.Check {
	all := []admin.Check{{Name: "ledger", OK: true}, {Name: "modules", OK: true}}
	for _, in := range g.inputs {
		c := admin.Check{Name: "input " + in.name, OK: true}
		if g.stopping.Load() {
			c.OK, c.Detail = false, "shutting down"
		}
		all = append(all, c)
	}
	return all
}

// maxGaps is how many gaps and losses are listed; all are counted.
const maxGaps = 100

// listLosses reads the newest of what is lost.
func (g *gate) listLosses(to *admin.Ledger) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	losses, err := g.store.Losses(ctx, maxGaps)
	if err != nil {
		to.LastError = cmp.Or(to.LastError, err.Error())
	}
	for _, l := range losses {
		to.Lost.Newest = append(to.Lost.Newest, admin.Loss{
			Stream: l.Stream, From: time.UnixMicro(l.From).UTC(), To: time.UnixMicro(l.To).UTC(), Records: l.Records, Reason: l.Reason, Noted: l.Noted,
		})
	}
}

func (g *gate) inputStatus() []admin.Input {
	gaps, err := g.store.OpenGaps()
	var all []admin.Input
	for _, in := range g.inputs {
		s := admin.Input{
			Name: in.name, Kind: in.kind, Reconciles: in.reconciler != nil, Gaps: []admin.Gap{},
		}
		if in.listener != nil {
			s.Listen = in.listener.Addr().String()
		}
		for _, gap := range gaps {
			if in.bucket != "*" && in.bucket != bridge.Bucket(gap.Stream) {
				continue
			}
			if s.GapsOpen++; s.GapsOpen <= maxGaps {
				s.Gaps = append(s.Gaps, admin.Gap{
					Stream: gap.Stream, From: time.UnixMicro(gap.From).UTC(), To: time.UnixMicro(gap.To).UTC(), Reason: gap.Reason, Noted: gap.Noted,
				})
			}
		}
		if err != nil {
			s.LastError = err.Error()
		}
		if in.reconciler != nil {
			finds := in.reconciler.Finds()
			s.LastReconcile, s.ReconcileLate = in.reconciler.Last(), int64(finds.Total.Late)
			s.LastPass, s.LastAsked = look(finds.Passed), look(finds.Asked)
			s.Forecast = forecast(in.reconciler.Forecast())
		}
		all = append(all, s)
	}
	return all
}

// look shows what a comparison found; nil where there was none.
func look(s *reduct.Summary) *admin.Look {
	if s == nil {
		return nil
	}
	return &admin.Look{
		Began: s.Began, Seconds: s.Seconds, Compared: s.Compared, Missing: s.Missing, Fetched: s.Fetched, Late: s.Late, Left: s.Left, Lost: s.Lost,
		Different: s.Different, Incomparable: s.Incomparable, Error: s.Error,
	}
}

// forecast shows what is to be expected at the edge store; nil where nobody knows.
func forecast(f *reduct.Forecast) *admin.Forecast {
	if f == nil {
		return nil
	}
	s := &admin.Forecast{
		At: f.At.UTC(), UnsentRecords: f.Unsent, WaitedSeconds: f.Waited.Seconds(), WriteBytesPerSecond: f.Writes, DrainRecordsPerSecond: f.Drains,
		Stalled: f.Stalled, Loses: f.Loses(), Text: f.String(),
	}
	if f.Unsent > 0 {
		s.Oldest = new(time.UnixMicro(f.Oldest).UTC())
	}
	if f.Evicted != reduct.Never {
		s.EvictedInSeconds = new(f.Evicted.Seconds())
	}
	if f.Drained != reduct.Never {
		s.DrainedInSeconds = new(f.Drained.Seconds())
	}
	return s
}

func (r *remote) status(backlog []ledger.Backlog) admin.Remote {
	m := r.mqtt.Status()
	s := admin.Remote{Name: r.name, Kind: "mqtt", Connections: len(m.Connections), InFlight: int64(m.Inflight), Note: m.Note(),
		Unsure: int64(m.Unsure), HeldLanes: int64(m.Held)}
	if m.Held > 0 {
		s.HeldReason = m.HeldWhy
	}
	var errs []string
	for _, c := range m.Connections {
		if c.Connected {
			s.Connected++
		}
		if c.LastError != "" && !slices.Contains(errs, c.LastError) {
			errs = append(errs, c.LastError)
		}
	}
	s.LastError = strings.Join(errs, "; ")
	for _, b := range backlog {
		if b.Remote == r.name {
			s.Backlog.Records += b.Records
			s.Backlog.Bytes += b.Bytes
			s.Backlog.OldestSeconds = max(s.Backlog.OldestSeconds, b.Oldest.Seconds())
		}
	}
	return s
}

// show tells what goes on in a module's place.
func (s *swaps) show(x *admin.Module, live *host.Module, c host.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, of := live, 0
	if at := s.seats[x.Name]; at != nil {
		x.LastSwap, x.Refused = at.last, at.refused
		if at.candidate != nil {
			m, of = at.candidate, c.ShadowBatches
		}
	}
	if m == live && !c.Shadow {
		return
	}
	d := m.Compared()
	x.Shadow = &admin.Shadow{
		SHA256: m.SHA256(), Of: of, Batches: d.Batches, Records: d.Records, Different: d.Different, FirstDifference: d.First,
		Fuel: d.Units, LiveFuel: d.LiveUnits, Faults: d.Faults, LastFault: d.LastFault,
	}
}

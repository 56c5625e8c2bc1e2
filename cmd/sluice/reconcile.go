package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/sluicebridge/sluice/bridge/admin"
	"github.com/sluicebridge/sluice/bridge/reduct"
)

// Reconcile implements admin.Reconciler: what went wrong is in the reports.
func (g *gate) Reconcile(ctx context.Context, q admin.ReconcileRequest) (any, error) {
	if q.From < 0 || q.To < 0 || q.To > 0 && q.To < q.From {
		return nil, fmt.Errorf("from %d to %d: want microseconds, the later last", q.From, q.To)
	}
	var asked []*reduct.Reconciler
	found := q.Input == ""
	for _, in := range g.inputs {
		if q.Input != "" && q.Input != in.name {
			continue
		}
		if found = true; in.reconciler != nil {
			asked = append(asked, in.reconciler)
		}
	}
	switch {
	case !found:
		return nil, fmt.Errorf("no input %q", q.Input)
	case len(asked) == 0:
		return nil, errors.New("no source: without the edge store's address there is nothing to compare with")
	}
	reports := make([]reduct.Report, len(asked))
	for i, r := range asked {
		reports[i], _ = r.Reconcile(ctx, reduct.Want{Stream: q.Stream, Whole: q.Whole, From: q.From, To: q.To}) // the report has the error
	}
	return reports, nil
}

// runReconcile asks a running bridge. Its own part is to say what was found.
func runReconcile(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("reconcile")
	file, asJSON := configFlag(fs), jsonFlag(fs)
	url := fs.String("url", "", "address of the running bridge's page; empty: [admin] listen of the configuration")
	var q admin.ReconcileRequest
	fs.StringVar(&q.Input, "input", "", "`NAME` of an input; empty: all that have a source")
	fs.StringVar(&q.Stream, "stream", "", "only streams or entries like `PATTERN`, as in a replication task; empty: all")
	fs.BoolVar(&q.Whole, "whole", false, "everything that the edge store has, not only what is new since the last pass")
	from := fs.String("from", "", "everything since this `TIME` (2026-01-31T00:00:00Z) of the records")
	to := fs.String("to", "", "everything up to this `TIME`")
	if err := parse(fs, args); err != nil {
		return err
	}
	var wrong [2]error
	q.From, wrong[0] = moment("from", *from)
	q.To, wrong[1] = moment("to", *to)
	if err := errors.Join(wrong[:]...); err != nil {
		return usageError{err.Error()}
	}
	q.Whole = q.Whole || *from != "" || *to != ""
	base, err := bridgeOf(*file, *url)
	if err != nil {
		return err
	}
	reports, err := askReconcile(ctx, base, q)
	if err != nil {
		return err
	}
	if *asJSON {
		err = e.printJSON(reports)
	} else {
		err = printReports(e.out, reports)
	}
	return errors.Join(err, outcome(reports))
}

// moment reads a time of the command line; empty is 0.
func moment(name, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.UnixMicro() <= 0 {
		return 0, fmt.Errorf("--%s: %q, want a time such as 2026-01-31T00:00:00Z", name, text)
	}
	return t.UnixMicro(), nil
}

// askReconcile waits for as long as it takes; whoever ends it ends the reconcile.
func askReconcile(ctx context.Context, base string, q admin.ReconcileRequest) (reports []reduct.Report, err error) {
	err = ask(ctx, base+"/reconcile", q, &reports)
	return reports, err
}

// outcome is what the exit code says: an error before anything missing.
func outcome(reports []reduct.Report) error {
	var errs []error
	ok := true
	for _, r := range reports {
		if r.Error != "" {
			errs = append(errs, fmt.Errorf("input %s: %s", r.Input, r.Error))
		}
		ok = ok && r.OK()
	}
	if len(errs) == 0 && !ok {
		return errDifferences
	}
	return errors.Join(errs...)
}

func printReports(out io.Writer, reports []reduct.Report) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, r := range reports {
		fmt.Fprintf(w, "input %s: %s\n", r.Input, sentence(&r))
		fmt.Fprintln(w, "STREAM\tCOMPARED\tMISSING\tFETCHED\tLATE\tLEFT\tLOST\tRANGES\tDIFFERENT\tNOT COMPARABLE\tTOOK")
		for _, s := range r.Streams {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%v\n", s.Stream, s.Compared, s.Missing, s.Fetched, s.Late, s.Left, s.Lost,
				s.Ranges, s.Different, s.Incomparable, seconds(s.Seconds))
		}
		if err := w.Flush(); err != nil {
			return fmt.Errorf("print: %w", err)
		}
		for _, s := range r.Streams {
			for _, d := range s.Differences {
				fmt.Fprintln(w, different(s.Stream, d))
			}
			if n := s.Different - len(s.Differences); n > 0 {
				fmt.Fprintf(w, "%s: and %d ranges more\n", s.Stream, n)
			}
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// sentence is a report in one.
func sentence(r *reduct.Report) string {
	s := fmt.Sprintf("%d records compared in %v", r.Compared, seconds(r.Seconds))
	if r.Ranges+r.Incomparable > 0 {
		s += fmt.Sprintf(", %d of %d closed ranges by number and hash", r.Ranges, r.Ranges+r.Incomparable)
	}
	if r.OK() {
		return s + ", nothing is missing"
	}
	if r.Missing > 0 {
		s += fmt.Sprintf(", %d were missing: %d fetched", r.Missing, r.Fetched)
		for _, part := range []struct {
			n    int
			what string
		}{{r.Late, "of them too late for their order"}, {r.Left, "left in the edge store"}, {r.Lost, "lost"}} {
			if part.n > 0 {
				s += fmt.Sprintf(", %d %s", part.n, part.what)
			}
		}
	}
	if n := r.Losses; n > 0 {
		s += fmt.Sprintf(", %d ranges went into the list of losses", n)
	}
	if r.Different > 0 {
		s += fmt.Sprintf(", %d ranges differ", r.Different)
	}
	return s
}

// different is one range that differs. What the ledger lacks of it cannot be fetched any more, so that the operator has to know.
func different(stream string, d reduct.Difference) string {
	at := func(t int64) string { return time.UnixMicro(t).UTC().Format(time.RFC3339Nano) }
	s := fmt.Sprintf("%s, pipeline %s, %s to %s: the edge store has %d records, the ledger %d", stream, d.Pipeline, at(d.From), at(d.To), d.Store, d.Ledger)
	if d.Lacks != 0 {
		s += fmt.Sprintf("; it lacks %s (%d)", at(d.Lacks), d.Lacks)
	}
	return s
}

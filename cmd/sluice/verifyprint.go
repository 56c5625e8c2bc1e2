package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/sluicebridge/sluice/bridge/verify"
)

// told is what --json prints.
type told struct {
	*verify.Report
	Refill *refilled `json:"refill,omitempty"`
}

// tell prints a report, with what became of the refill where one is asked for.
func (s *side) tell(ctx context.Context, e *environment, r *verify.Report) error {
	out := told{Report: r}
	var failed error
	if s.flags.refill {
		out.Refill, failed = s.refill(ctx, r)
		if !s.flags.all {
			r.Findings = firstOfKinds(r.Findings, maxFindings)
		}
	}
	var err error
	if s.flags.asJSON {
		err = e.printJSON(out)
	} else {
		err = out.print(e.out)
	}
	switch {
	case failed != nil || err != nil:
		return errors.Join(failed, err)
	case !r.Clean():
		return errDifferences
	}
	return nil
}

// firstOfKinds keeps n findings of each kind.
func firstOfKinds(all []verify.Finding, n int) []verify.Finding {
	kept := make(map[verify.Kind]int)
	return slices.DeleteFunc(all, func(f verify.Finding) bool {
		kept[f.Kind]++
		return kept[f.Kind] > n
	})
}

func (t told) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STREAM\tHOUR (UTC)\tEDGE\tON THE WAY\tSEEN\tLATE\tDROPPED\tABSORBED\tPARKED\tMESSAGES\tWAITING\tARRIVED\tHOLES EDGE/FAR\tDOUBLES\tMISORDERS\tSTRANGERS")
	for _, row := range t.Rows {
		printRow(w, row.Stream, row.Hour.Format("2006-01-02 15h"), &row.Counts)
	}
	printRow(w, "total", "", &t.Total)
	if len(t.Findings) > 0 {
		fmt.Fprintln(w, "\nFINDING\tID\tTIME (UTC)\t")
	}
	for _, f := range t.Findings {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Kind, f.ID, f.Time.Format("2006-01-02 15:04:05.000000"), detail(&f))
	}
	if n := t.Total.Findings() - int64(len(t.Findings)); n > 0 {
		fmt.Fprintf(w, "and %d more; --all lists them\n", n)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	t.printRest(out)
	_, err := fmt.Fprintln(out, t.Verdict)
	return err
}

func printRow(w io.Writer, stream, hour string, c *verify.Counts) {
	fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d/%d\t%d\t%d\t%d\n", stream, cmp.Or(hour, "-"), c.Edge, c.OnTheWay, c.Seen, c.Late, c.Dropped,
		c.Absorbed, c.Parked, c.Messages, c.Waiting, c.Arrived, c.HolesEdge, c.HolesFar, c.Doubles, c.Misorders, c.Strangers)
}

// detail says what is known of a finding.
func detail(f *verify.Finding) string {
	text := ""
	if f.Copies > 1 {
		text = fmt.Sprintf("%d copies, ", f.Copies)
	}
	if f.Kind == verify.Double && f.Marked {
		text += "marked, "
	}
	if f.Pipeline != "" {
		text += "pipeline " + f.Pipeline + ", "
	}
	if f.Why != "" {
		return text + f.Why
	}
	return text[:max(len(text)-2, 0)]
}

// printRest prints what there is beside rows and findings.
func (t told) printRest(out io.Writer) {
	fmt.Fprintln(out)
	for _, l := range t.Losses {
		number := fmt.Sprint(l.Records)
		if l.Records < 0 {
			number = "an unknown number of"
		}
		fmt.Fprintf(out, "lost: %s records of %s, %s to %s: %s\n", number, l.Stream, l.From.Format(time.RFC3339Nano), l.To.Format(time.RFC3339Nano), l.Reason)
	}
	alike := make(map[string]int)
	for _, x := range t.Ranges {
		alike["at the edge side: "+x.EdgeSays]++
		alike["at the far end: "+x.FarSays]++
	}
	for _, says := range slices.Sorted(maps.Keys(alike)) {
		fmt.Fprintf(out, "closed ranges %s (%d)\n", says, alike[says])
	}
	for _, n := range t.Notes {
		fmt.Fprintf(out, "note: %s\n", n)
	}
	if t.Total.Evicted > 0 {
		fmt.Fprintf(out, "note: the edge store has %d records no more that the ledger saw\n", t.Total.Evicted)
	}
	if t.Refill != nil {
		t.Refill.print(out)
	}
}

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/admin"
)

// maxStatus bounds what is read from an address that may be anyone's.
const maxStatus = 16 << 20

func runStatus(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("status")
	file, asJSON := configFlag(fs), jsonFlag(fs)
	url := fs.String("url", "", "address of the running bridge's page; empty: [admin] listen of the configuration")
	if err := parse(fs, args); err != nil {
		return err
	}
	base, err := bridgeOf(*file, *url)
	if err != nil {
		return err
	}
	s, err := fetchStatus(ctx, base)
	if err != nil {
		return err
	}
	if *asJSON {
		return e.printJSON(s)
	}
	return printStatus(e.out, s)
}

// bridgeOf returns where the bridge that runs with the configuration in file answers; url, if there is one, says so instead.
func bridgeOf(file, url string) (string, error) {
	if url != "" {
		return bridgeAt(url, "")
	}
	c, err := loadConfig(file)
	if err != nil {
		return "", err
	}
	return bridgeAt("", c.Admin.Listen)
}

// bridgeAt is the base URL of a running bridge: the one that was given, else where [admin] listen says.
func bridgeAt(url, listen string) (string, error) {
	switch {
	case url != "":
		return strings.TrimSuffix(url, "/"), nil
	case listen == "":
		return "", usageError{"[admin] listen is empty, the bridge answers nobody"}
	case strings.HasPrefix(listen, ":"):
		return "http://127.0.0.1" + listen, nil
	}
	return "http://" + strings.Replace(listen, "0.0.0.0", "127.0.0.1", 1), nil
}

func fetchStatus(ctx context.Context, base string) (s admin.Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/statusz", nil)
	if err != nil {
		return s, usageError{err.Error()}
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return s, fmt.Errorf("ask the running bridge: %w", err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return s, fmt.Errorf("ask the running bridge at %s: %s", base, reply.Status)
	}
	if err := json.NewDecoder(io.LimitReader(reply.Body, maxStatus)).Decode(&s); err != nil {
		return s, fmt.Errorf("read the status of %s: %w", base, err)
	}
	return s, nil
}

func printStatus(out io.Writer, s admin.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "sluice %s, up %v, configuration %s, %s\n", s.Version, seconds(s.UptimeSeconds), s.ConfigHash, readiness(s))
	fmt.Fprintf(w, "ledger %v of %v, %d records parked\n", bytesOf(s.Ledger.Bytes), bytesOf(s.Ledger.Quota), s.Ledger.Parked)
	fmt.Fprintln(w, "\nPIPELINE\tRECEIVED\tSEEN BEFORE\tFILTERED\tBY ITS CONDITION\tPASSED LATER\tPARKED")
	for _, p := range s.Pipelines {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%d\t%d\n", p.Name, p.Received, p.Duplicates, p.Filtered, reasonsText(p.Conditions), p.Released, p.Parked)
	}
	printRemotes(w, s.Remotes)
	printInputs(w, s.Inputs)
	printForecasts(w, s.Inputs)
	printLost(w, s.Ledger.Lost)
	if len(s.Modules) > 0 {
		fmt.Fprintln(w, "\nMODULE\tA CALL\tFUEL\tTRAPS\tSHA256\tLAST ERROR")
	}
	for _, m := range s.Modules {
		fmt.Fprintf(w, "%s\t%v\t%d\t%d\t%.12s\t%s\n", m.Name, seconds(m.Calls.MeanSeconds), m.Fuel, m.Traps, m.SHA256, cmp.Or(m.LastError, "-"))
	}
	printSwaps(w, s.Modules)
	return w.Flush()
}

// printSwaps shows the modules that are, or were, to take another's place.
func printSwaps(w io.Writer, all []admin.Module) {
	head := "\nSWAP\tSHADOW\tBATCHES\tRECORDS\tDIFFERENT\tFUEL\tFAULTS\tLAST OUTCOME\n"
	for _, m := range all {
		if m.Shadow == nil && m.LastSwap == "" {
			continue
		}
		fmt.Fprint(w, head)
		head = ""
		last := cmp.Or(m.LastSwap, "-")
		if m.Refused {
			last = "refused: " + last
		}
		x := m.Shadow
		if x == nil {
			fmt.Fprintf(w, "%s\t-\t-\t-\t-\t-\t-\t%s\n", m.Name, last)
			continue
		}
		batches := strconv.FormatInt(x.Batches, 10)
		if x.Of > 0 {
			batches += fmt.Sprintf(" of %d", x.Of)
		}
		different := strconv.FormatInt(x.Different, 10)
		if x.FirstDifference != "" {
			different += " (" + x.FirstDifference + ")"
		}
		faults := strconv.FormatInt(x.Faults, 10)
		if x.LastFault != "" {
			faults += " (" + x.LastFault + ")"
		}
		fmt.Fprintf(w, "%s\t%.12s\t%s\t%d\t%s\t%d, live %d\t%s\t%s\n", m.Name, x.SHA256, batches, x.Records, different, x.Fuel, x.LiveFuel, faults, last)
	}
}

// reasonsText is what was counted by reason, in a line.
func reasonsText(by map[string]int64) string {
	var all []string
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		all = append(all, fmt.Sprintf("%d %s", by[reason], reason))
	}
	return cmp.Or(strings.Join(all, ", "), "-")
}

func printRemotes(w io.Writer, all []admin.Remote) {
	fmt.Fprintln(w, "\nREMOTE\tCONNECTED\tDELIVERED\tWAITING\tOLDEST\tIN FLIGHT\tUNSURE\tHELD LANES\tPOSSIBLE DOUBLES\tREFUSED\tLAST ERROR")
	for _, r := range all {
		doubles := strconv.FormatInt(r.PossibleDuplicates, 10)
		for _, cause := range slices.Sorted(maps.Keys(r.Doubles)) {
			doubles += fmt.Sprintf(" (%d %s)", r.Doubles[cause], cause)
		}
		held := strconv.FormatInt(r.HeldLanes, 10)
		if r.HeldLanes > 0 {
			held += " (" + r.HeldReason + ")"
		}
		fmt.Fprintf(w, "%s\t%d of %d\t%d\t%d (%v)\t%v\t%d\t%d\t%s\t%s\t%d\t%s\n", r.Name, r.Connected, r.Connections, r.Delivered, r.Backlog.Records,
			bytesOf(r.Backlog.Bytes), seconds(r.Backlog.OldestSeconds), r.InFlight, r.Unsure, held, doubles, r.Parked, cmp.Or(r.LastError, "-"))
	}
}

func printInputs(w io.Writer, all []admin.Input) {
	fmt.Fprintln(w, "\nINPUT\tKIND\tLISTENS ON\tFETCHED AFTER A LOSS\tOF THEM LATE\tGAPS OPEN\tLAST PASS\tLAST ERROR")
	gaps := 0
	for _, in := range all {
		gaps += in.GapsOpen
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", in.Name, in.Kind, cmp.Or(in.Listen, "-"), in.ReconcileMissing, in.ReconcileLate, in.GapsOpen,
			lookText(in.LastPass), cmp.Or(firstLine(in.LastError), lookError(in.LastPass), "-"))
	}
	if gaps == 0 {
		return
	}
	fmt.Fprintln(w, "\nGAP IN\tFROM\tTO\tNOTED\tREASON")
	for _, in := range all {
		for _, g := range in.Gaps {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", g.Stream, g.From.Format(time.RFC3339Nano), g.To.Format(time.RFC3339Nano),
				g.Noted.Local().Format(time.DateTime), g.Reason)
			gaps--
		}
	}
	if gaps > 0 {
		fmt.Fprintf(w, "and %d gaps more\n", gaps)
	}
}

// printForecasts says what waits at the edge stores, where something does.
func printForecasts(w io.Writer, all []admin.Input) {
	for _, in := range all {
		f := in.Forecast
		if f == nil || f.UnsentRecords == 0 {
			continue
		}
		begin := "\n"
		if f.Loses {
			begin = "\nRECORDS ARE ABOUT TO BE LOST: "
		}
		fmt.Fprintf(w, "%s%s: %s (as of %s)\n", begin, in.Name, f.Text, f.At.Local().Format(time.TimeOnly))
	}
}

func printLost(w io.Writer, lost admin.Lost) {
	if lost.Ranges == 0 {
		return
	}
	fmt.Fprintf(w, "\nLOST FOR GOOD: %d records, and %d ranges of which nobody knows how many\n", lost.Records, lost.Unknown)
	fmt.Fprintln(w, "STREAM\tFROM\tTO\tRECORDS\tNOTED\tREASON")
	for _, l := range lost.Newest {
		n := strconv.FormatInt(l.Records, 10)
		if l.Records < 0 {
			n = "?"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Stream, l.From.Format(time.RFC3339Nano), l.To.Format(time.RFC3339Nano), n,
			l.Noted.Local().Format(time.DateTime), l.Reason)
	}
	if n := lost.Ranges - len(lost.Newest); n > 0 {
		fmt.Fprintf(w, "and %d older ranges\n", n)
	}
}

// lookText is a comparison in a few words.
func lookText(l *admin.Look) string {
	if l == nil {
		return "-"
	}
	s := fmt.Sprintf("%s: %d compared in %v, %d missing", l.Began.Local().Format(time.TimeOnly), l.Compared, seconds(l.Seconds), l.Missing)
	if l.Error != "" {
		s += ", failed"
	}
	return s
}

// lookError is why a pass failed, "" where it did not.
func lookError(l *admin.Look) string {
	if l == nil {
		return ""
	}
	return firstLine(l.Error)
}

// firstLine keeps the errors of many streams from breaking a table.
func firstLine(s string) string {
	first, rest, more := strings.Cut(s, "\n")
	if more {
		first += fmt.Sprintf(" (and %d more)", 1+strings.Count(rest, "\n"))
	}
	return first
}

func readiness(s admin.Status) string {
	var missing []string
	for _, c := range s.Checks {
		if !c.OK {
			missing = append(missing, c.Name+": "+cmp.Or(c.Detail, "no"))
		}
	}
	if len(missing) > 0 {
		return "not ready: " + strings.Join(missing, "; ")
	}
	return "ready"
}

// seconds is rounded to three figures or so.
func seconds(s float64) time.Duration {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d > time.Minute:
		return d.Round(time.Second)
	case d > time.Second:
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(10 * time.Nanosecond)
}

func bytesOf(n int64) string {
	for _, unit := range []bridge.Size{1 << 40, 1 << 30, 1 << 20, 1 << 10} {
		if n >= int64(unit) {
			return fmt.Sprintf("%.1f%s", float64(n)/float64(unit), strings.TrimPrefix(unit.String(), "1"))
		}
	}
	return bridge.Size(n).String()
}

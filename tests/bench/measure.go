package bench

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pairs is how often each comparison is made.
const pairs = 3

// median of an odd number of values.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// compare runs bare and ours alternately, bare first, and reports the median of each rate and of their ratios.
func compare(b *testing.B, unit string, bare, ours func() float64) {
	b.Helper()
	var first, second, ratios []float64
	for range pairs {
		x, y := bare(), ours()
		first, second, ratios = append(first, x), append(second, y), append(ratios, y/x)
	}
	b.ReportMetric(median(first), "bare_"+unit)
	b.ReportMetric(median(second), "ours_"+unit)
	b.ReportMetric(median(ratios), "ours/bare")
	b.ReportMetric(0, "ns/op")
	b.Logf("bare %.0f, ours %.0f, ratios %.2f", first, second, ratios)
}

// metric reads the sum of a metric over all its labels from a bridge's metrics page; 0 while there is none.
func metric(admin, name string) float64 {
	r, err := http.Get(admin + "/metrics")
	if err != nil {
		return 0
	}
	defer r.Body.Close()
	sum := 0.0
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		line, value, _ := strings.Cut(lines.Text(), " ")
		if bare, _, _ := strings.Cut(line, "{"); bare == name {
			n, err := strconv.ParseFloat(value, 64)
			if err == nil {
				sum += n
			}
		}
	}
	return sum
}

// await asks done every 5 ms until it is true, so that a second is known to a percent.
func await(b *testing.B, what string, done func() bool) {
	b.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(10 * time.Minute)
	for !done() {
		select {
		case <-tick.C:
		case <-limit:
			b.Fatalf("waited 10 minutes for %s", what)
		}
	}
}

// stopwatch takes the time from the first look at which a count was above zero to the first at which it had reached its goal.
type stopwatch struct {
	goal       float64
	start, end time.Time
}

func (w *stopwatch) see(count float64) {
	if w.start.IsZero() && count > 0 {
		w.start = time.Now()
	}
	if w.end.IsZero() && count >= w.goal {
		w.end = time.Now()
	}
}

func (w *stopwatch) done() bool { return !w.end.IsZero() }

func (w *stopwatch) elapsed() time.Duration { return w.end.Sub(w.start) }

// memory is the resident memory of a process in MiB: VmRSS now, VmHWM at its highest so far.
func memory(b *testing.B, pid int, field string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatalf("read memory of process %d: %v", pid, err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == field+":" {
			kib, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				b.Fatalf("read memory of process %d: %v", pid, err)
			}
			return kib / 1024
		}
	}
	b.Fatalf("process %d has no %s", pid, field)
	return 0
}

// copyDir copies a directory for a run that will change it.
func copyDir(b *testing.B, from string) string {
	b.Helper()
	to := b.TempDir()
	if out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		b.Fatalf("copy %s: %v %s", from, err, out)
	}
	return to
}

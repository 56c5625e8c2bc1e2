package real

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge/admin"
)

// Status asks the bridge for its status.
func (s *Sluice) Status() (status admin.Status, err error) {
	r, err := s.get("/statusz")
	if err != nil {
		return status, err
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&status); err != nil {
		return status, fmt.Errorf("read status: %w", err)
	}
	return status, nil
}

// Metric asks the bridge for a metric, and sums up all lines of it that have label, such as status="503"; "" is all of them.
func (s *Sluice) Metric(name, label string) (sum float64, err error) {
	r, err := s.get("/metrics")
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		series, value, _ := strings.Cut(lines.Text(), " ")
		if of, labels, _ := strings.Cut(series, "{"); of != name || !strings.Contains(labels, label) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("read metric: %s: %w", lines.Text(), err)
		}
		sum += n
	}
	return sum, nil
}

// get gives up after a while: a bridge that does not answer is a fault that tests look for.
func (s *Sluice) get(path string) (*http.Response, error) {
	r, err := (&http.Client{Timeout: 10 * time.Second}).Get(s.Admin + path)
	if err != nil {
		return nil, err
	}
	if r.StatusCode != http.StatusOK {
		r.Body.Close()
		return nil, fmt.Errorf("%s%s: %s", s.Admin, path, r.Status)
	}
	return r, nil
}

// Drained waits until the bridge has nothing left to send.
func (s *Sluice) Drained(t testing.TB, limit time.Duration) {
	t.Helper()
	Eventually(t, limit, "an empty backlog", func() (bool, string) {
		status, err := s.Status()
		if err != nil {
			return false, err.Error()
		}
		waiting := int64(0)
		for _, r := range status.Remotes {
			waiting += r.Backlog.Records
		}
		return waiting == 0, fmt.Sprintf("backlog %d", waiting)
	})
}

// Reconciled waits until every edge store was asked for what is missing, from after the call on.
func (s *Sluice) Reconciled(t testing.TB, limit time.Duration) {
	t.Helper()
	ends := make(map[string][]time.Time) // by input: what its last pass was at first, and then
	Eventually(t, limit, "a reconcile", func() (bool, string) {
		status, err := s.Status()
		if err != nil {
			return false, err.Error()
		}
		done := true
		for _, in := range status.Inputs {
			last := time.Time{}
			if in.LastReconcile != nil {
				last = *in.LastReconcile
			}
			if had := ends[in.Name]; len(had) == 0 || !had[len(had)-1].Equal(last) {
				ends[in.Name] = append(had, last)
			}
			done = done && len(ends[in.Name]) > 2 // the pass that ended first may have begun before the call
		}
		return done, fmt.Sprint(ends, status.Inputs)
	})
}

package real

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Sample is a record to be written into the edge store.
type Sample struct {
	Time        int64 // microseconds
	ContentType string
	Labels      map[string]string
	Payload     []byte
}

// ask sends a request to the store; the caller closes the answer's body.
func (s *Store) ask(t testing.TB, method, path, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if s.Token != "" {
		r.Header.Set("Authorization", "Bearer "+s.Token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp
}

// Status sends a request without a body to the store and returns the status of its answer.
func (s *Store) Status(t testing.TB, method, path string) int {
	t.Helper()
	resp := s.ask(t, method, path, "")
	resp.Body.Close()
	return resp.StatusCode
}

// Call sends a request to the store and fails the test unless the status is one of want (200 if none is named). It returns the body.
func (s *Store) Call(t testing.TB, method, path, body string, want ...int) string {
	t.Helper()
	if len(want) == 0 {
		want = []int{http.StatusOK}
	}
	resp := s.ask(t, method, path, body)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: read answer: %v", method, path, err)
	}
	for _, code := range want {
		if resp.StatusCode == code {
			return string(text)
		}
	}
	t.Fatalf("%s %s: %s %s, want %v", method, path, resp.Status, resp.Header.Get("X-Reduct-Error"), want)
	return ""
}

// Bucket makes a bucket; settings is ReductStore's JSON, empty for its defaults.
func (s *Store) Bucket(t testing.TB, name, settings string) {
	t.Helper()
	s.Call(t, http.MethodPost, "/b/"+name, settings)
}

// Replicate makes a replication task from JSON settings.
func (s *Store) Replicate(t testing.TB, name, settings string) {
	t.Helper()
	s.Call(t, http.MethodPost, "/replications/"+name, settings)
}

// Sent waits until a replication task has nothing left to send.
func (s *Store) Sent(t testing.TB, task string, limit time.Duration) {
	t.Helper()
	Eventually(t, limit, "the log of "+task+" to be empty", func() (bool, string) {
		state := s.Call(t, http.MethodGet, "/replications/"+task, "")
		return strings.Contains(state, `"pending_records":0`), state[:min(len(state), 300)]
	})
}

// Write writes samples into one entry, 80 to a request.
func (s *Store) Write(t testing.TB, bucket, entry string, samples []Sample) {
	t.Helper()
	for len(samples) > 0 {
		n := min(BatchSize, len(samples))
		if _, err := s.Post(t.Context(), bucket, entry, samples[:n]); err != nil {
			t.Fatal(err)
		}
		samples = samples[n:]
	}
}

// BatchSize is how many records Write puts into a request.
const BatchSize = 80

// Post writes samples in one request, and returns the times of those that were there already, as after an earlier try whose answer was lost.
func (s *Store) Post(ctx context.Context, bucket, entry string, samples []Sample) (there map[int64]bool, err error) {
	var body bytes.Buffer
	for _, x := range samples {
		body.Write(x.Payload)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/api/v1/b/%s/%s/batch", s.URL, bucket, entry), &body)
	if err != nil {
		return nil, fmt.Errorf("write to %s/%s: %w", bucket, entry, err)
	}
	for _, x := range samples {
		r.Header.Set(fmt.Sprintf("x-reduct-time-%d", x.Time), x.head())
	}
	if s.Token != "" {
		r.Header.Set("Authorization", "Bearer "+s.Token)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("write to %s/%s: %w", bucket, entry, err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("write to %s/%s: %s %s", bucket, entry, resp.Status, resp.Header.Get("X-Reduct-Error"))
	}
	there = make(map[int64]bool)
	for name, values := range resp.Header {
		text, found := strings.CutPrefix(name, "X-Reduct-Error-")
		if !found {
			continue
		}
		at, err := strconv.ParseInt(text, 10, 64)
		if err != nil || !strings.HasPrefix(values[0], "409") {
			return nil, fmt.Errorf("write to %s/%s: %s: %s", bucket, entry, name, values[0])
		}
		there[at] = true
	}
	return there, nil
}

// head is the sample as one header of a batch.
func (x *Sample) head() string {
	value := fmt.Sprintf("%d,%s", len(x.Payload), x.ContentType)
	names := make([]string, 0, len(x.Labels))
	for name := range x.Labels {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		label := x.Labels[name]
		if strings.ContainsRune(label, ',') {
			label = `"` + label + `"`
		}
		value += "," + name + "=" + label
	}
	return value
}

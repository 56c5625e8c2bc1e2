package real

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"testing"
)

// Sample is a record to be written into the edge store.
type Sample struct {
	Time        int64 // microseconds
	ContentType string
	Labels      map[string]string
	Payload     []byte
}

// Call sends a request to the store and fails the test unless the status is one of want (200 if none is named). It returns the body.
func (s *Store) Call(t testing.TB, method, path, body string, want ...int) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return s.send(t, r, want...)
}

func (s *Store) send(t testing.TB, r *http.Request, want ...int) string {
	t.Helper()
	if len(want) == 0 {
		want = []int{http.StatusOK}
	}
	if s.Token != "" {
		r.Header.Set("Authorization", "Bearer "+s.Token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: read answer: %v", r.Method, r.URL.Path, err)
	}
	for _, code := range want {
		if resp.StatusCode == code {
			return string(text)
		}
	}
	t.Fatalf("%s %s: %s %s, want %v", r.Method, r.URL.Path, resp.Status, resp.Header.Get("X-Reduct-Error"), want)
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

// Write writes samples into one entry, 80 to a request.
func (s *Store) Write(t testing.TB, bucket, entry string, samples []Sample) {
	t.Helper()
	for len(samples) > 0 {
		n := min(80, len(samples))
		s.writeBatch(t, bucket, entry, samples[:n])
		samples = samples[n:]
	}
}

func (s *Store) writeBatch(t testing.TB, bucket, entry string, samples []Sample) {
	t.Helper()
	var body bytes.Buffer
	for _, x := range samples {
		body.Write(x.Payload)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("%s/api/v1/b/%s/%s/batch", s.URL, bucket, entry), &body)
	if err != nil {
		t.Fatalf("write to %s/%s: %v", bucket, entry, err)
	}
	for _, x := range samples {
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
		r.Header.Set(fmt.Sprintf("x-reduct-time-%d", x.Time), value)
	}
	s.send(t, r)
}

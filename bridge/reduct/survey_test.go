package reduct

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

func survey(t *testing.T, e *edge, change func(*Config)) *Survey {
	t.Helper()
	c := Default()
	c.Source.URL, c.Source.Replication = e.server.URL, "task"
	if change != nil {
		change(&c)
	}
	s, err := SurveyEdge(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func timesOf(t *testing.T, s *Survey, stream string, from, to int64) (ts []int64) {
	t.Helper()
	if err := s.Each(t.Context(), stream, from, to, func(at int64, _ []bridge.Label) { ts = append(ts, at) }); err != nil {
		t.Fatal(err)
	}
	return ts
}

// TestSurveyEdge: the store is seen as its task sends it: entries, condition and names.
func TestSurveyEdge(t *testing.T) {
	e := newEdge(t)
	e.settings["entries"], e.settings["dst_prefix"], e.settings["when"] = []string{"acc-*"}, "site", `{"&pass":{"$eq":true}}`
	for at := int64(1); at <= 300; at++ {
		pass := map[bool]string{true: "true", false: "false"}[at%2 == 0]
		e.write("acc-1", stored{at, "text/plain", map[string]string{"pass": pass}, "p"})
	}
	e.write("other", stored{1, "", map[string]string{"pass": "true"}, "p"})
	s := survey(t, e, nil)
	all, err := s.Extents(t.Context())
	if want := []Extent{{"dst/site/acc-1", 1, 300}}; err != nil || !slices.Equal(all, want) {
		t.Errorf("extents %v, %v, want %v", all, err, want)
	}
	if got := timesOf(t, s, "dst/site/acc-1", 101, 300); len(got) != 99 || got[0] != 102 || got[98] != 298 {
		t.Errorf("%d times, want 99 from 102 to 298: %v", len(got), got)
	}
	if got := timesOf(t, s, "dst/site/acc-9", 0, 300); len(got) != 0 {
		t.Errorf("times of an entry that is gone: %v", got)
	}
	if err := s.Each(t.Context(), "dst/site/other", 0, 9, nil); !errors.Is(err, ErrNotSent) {
		t.Errorf("an entry that is not sent: %v, want %v", err, ErrNotSent)
	}
	if n, err := s.Pending(t.Context()); n != 0 || err != nil {
		t.Errorf("pending %v, %v", n, err)
	}
}

// TestSurveyStateful: a condition that depends on what it saw before cannot be asked again.
func TestSurveyStateful(t *testing.T) {
	e := newEdge(t)
	e.settings["when"] = `{"$each_t":"10m"}`
	e.fill("acc-1", 1, 3)
	s := survey(t, e, nil)
	if err := s.Each(t.Context(), "dst/acc-1", 0, 9, nil); !errors.Is(err, ErrNotSent) || !strings.Contains(err.Error(), "$each_t") {
		t.Errorf("got %v, want %v with its reason", err, ErrNotSent)
	}
}

// TestSurveyRecord: one record comes whole, or it is said why it does not.
func TestSurveyRecord(t *testing.T) {
	e := newEdge(t)
	e.fill("acc-1", 1, 100)
	e.write("acc-1", stored{200, "text/plain", nil, strings.Repeat("x", 1000)})
	s := survey(t, e, func(c *Config) { c.MaxRecord = 500 })
	for _, tt := range []struct {
		t     int64
		want  string
		found bool
		wrong string
	}{{7, "7 text/plain a=x,y n=7 p7", true, ""}, {101, "", false, ""}, {200, "", true, "max_record"}} {
		var got string
		found, err := s.Record(t.Context(), "dst/acc-1", tt.t, func(r *bridge.Record) error {
			got = describe(r)
			return nil
		})
		if got != tt.want || found != tt.found || (err != nil) != (tt.wrong != "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("record %d: %q, %v, %v, want %q, %v, %q", tt.t, got, found, err, tt.want, tt.found, tt.wrong)
		}
	}
}

func describe(r *bridge.Record) string {
	text := []string{strconv.FormatInt(r.Time, 10), string(r.ContentType)}
	for _, l := range r.Labels {
		text = append(text, string(l.Name)+"="+string(l.Value))
	}
	return strings.Join(append(text, string(r.Payload)), " ")
}

// TestSurveyBucket: entries of a bucket under a prefix, with their labels.
func TestSurveyBucket(t *testing.T) {
	e := newEdge(t)
	e.fill("far/acc-1", 1, 3)
	e.fill("near", 1, 3)
	s := SurveyBucket(e.server.URL, "", "src", "far/")
	defer s.Close()
	all, err := s.Extents(t.Context())
	if want := []Extent{{"acc-1", 1, 3}}; err != nil || !slices.Equal(all, want) {
		t.Errorf("extents %v, %v, want %v", all, err, want)
	}
	var got []string
	err = s.Each(t.Context(), "acc-1", 2, 9, func(_ int64, labels []bridge.Label) {
		for _, l := range labels {
			got = append(got, string(l.Name)+"="+string(l.Value))
		}
	})
	if want := []string{"a=x,y", "n=2", "a=x,y", "n=3"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("labels %q, %v, want %q", got, err, want)
	}
}

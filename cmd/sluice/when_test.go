package main

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
)

// TestWhen: a pipeline's condition counts on after a restart (rule 3), a reload takes over another one, and both are seen in the status.
func TestWhen(t *testing.T) {
	b := newBench(t)
	text := func(when string) string {
		return strings.Replace(b.config(), "[pipelines.p]", "[pipelines.p]\nwhen = "+when, 1)
	}
	path := b.write(text(`{ "$has" = "rpm", "$each_n" = 4 }`))
	g, stop := b.start(path)
	b.send(g, 0, 10)
	b.await(4)
	stop()

	g, stop = b.start(path)
	defer stop()
	b.send(g, 10, 12) // the 12th of each sensor
	b.await(2)
	p := b.status(g).Pipelines[0]
	if p.When != `{"$has":"rpm","$each_n":4}` || p.Filtered != 2 || p.Conditions["not met"] != 2 {
		t.Errorf("status: got %+v, want the condition and 2 that it did not pass", p)
	}

	b.write(text(`'{"&nowhere": {"$eq": 1}}'` + "\nwhen_error = \"keep\""))
	if err := g.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.send(g, 12, 15)
	b.await(6)
	if p := b.status(g).Pipelines[0]; p.Conditions["label missing, kept"] != 6 {
		t.Errorf("status: got %+v, want 6 that were kept", p)
	}
	b.write(text(`{ "&rpm" = 5 }`))
	if err := g.reload(t.Context()); err == nil || !strings.Contains(err.Error(), "pipelines.p.when: at &rpm") {
		t.Errorf("got %v, want the place in the condition", err)
	}
}

// TestCheckWarnsOfConditions: what means something else than it seems to, in a pipeline's condition and in that of a pull-only input.
func TestCheckWarnsOfConditions(t *testing.T) {
	b := newBench(t)
	path := b.write(strings.Replace(b.config(), "[pipelines.p]\ninputs = [\"edge\"]", `[inputs.reduct.pull]
url = "http://127.0.0.1:1"
bucket = "other"
when = { "&mode" = { "$eq" = "s3" } }
[pipelines.p]
inputs = ["edge", "pull"]
when = { "$limit" = 2, "&stable" = { "$eq" = "true" } }`, 1))
	var out bytes.Buffer
	e := &environment{out: &out, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if err := runCheck(t.Context(), e, []string{"--config", path}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`warning: pipelines.p.when: at $limit: $limit counts records`, `warning: pipelines.p.when: at &stable.$eq: the text "true" never matches`,
		`warning: inputs.reduct.pull: when: at &mode.$eq: "s3" is read as a duration`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("check says\n%s\nwant %q", out.String(), want)
		}
	}
}

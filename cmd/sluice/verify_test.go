package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge/mqtt"
	"github.com/sluicebridge/sluice/bridge/reduct"
)

func TestPeriod(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	day := func(d, h int) int64 { return time.Date(2026, 11, d, h, 0, 0, 0, time.UTC).UnixMicro() }
	for _, tt := range []struct {
		period   string
		last     time.Duration
		from, to int64
		wrong    string
	}{
		{"2026-11-23/2026-11-24", 0, day(23, 0), day(24, 0), ""},
		{"2026-11-23T06:00/2026-11-23T07:00:00", 0, day(23, 6), day(23, 7), ""},
		{"2026-11-23T06:00:00+02:00/2026-11-23T06:00:00Z", 0, day(23, 4), day(23, 6), ""},
		{"", 24 * time.Hour, day(23, 12), day(24, 12), ""},
		{"", 0, 0, 0, "want --period or --last"},
		{"2026-11-23/2026-11-24", time.Hour, 0, 0, "want --period or --last"},
		{"2026-11-24/2026-11-23", 0, 0, 0, "want FROM/TO"},
		{"2026-11-23", 0, 0, 0, "want FROM/TO"},
		{"yesterday/today", 0, 0, 0, "want FROM/TO"},
	} {
		p, err := (&verifyFlags{period: tt.period, last: tt.last}).parsePeriod(now)
		if tt.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%q, %v: got %v, want %q", tt.period, tt.last, err, tt.wrong)
			}
			continue
		}
		if err != nil || p.From != tt.from || p.To != tt.to {
			t.Errorf("%q, %v: got %+v, %v, want %d to %d", tt.period, tt.last, p, err, tt.from, tt.to)
		}
	}
}

func TestMatcher(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		yes, no []string
	}{
		{"*", []string{"", "b/e", "b/a/c"}, nil},
		{"b/e", []string{"b/e"}, []string{"b/ee", "b/", "a/b/e"}},
		{"b/acc-*", []string{"b/acc-", "b/acc-1", "b/acc-1/x"}, []string{"b/acc", "c/b/acc-1"}},
		{"*/x", []string{"b/x", "a/b/x"}, []string{"b/xy", "x"}},
		{"b/*-*-z", []string{"b/a-b-z", "b/--z", "b/a-b-c-z"}, []string{"b/a-z", "b/-z", "b/a-b-zz"}},
	} {
		match, err := matcher(tt.pattern)
		if err != nil {
			t.Errorf("%q: %v", tt.pattern, err)
			continue
		}
		for _, s := range tt.yes {
			if !match(s) {
				t.Errorf("%q does not match %q", tt.pattern, s)
			}
		}
		for _, s := range tt.no {
			if match(s) {
				t.Errorf("%q matches %q", tt.pattern, s)
			}
		}
	}
	if _, err := matcher("b/[ab]"); err == nil {
		t.Error("b/[ab] is taken for a pattern")
	}
}

// TestChoose: which remote, pipelines and inputs a comparison is about.
func TestChoose(t *testing.T) {
	f := &file{Inputs: inputs{Replication: map[string]reduct.Config{"e1": {Bucket: "b1"}, "e2": {Bucket: "b2"}}},
		Remotes: remotes{MQTT: map[string]mqtt.Config{"near": {}, "far": {}}},
		Pipelines: map[string]pipelineConfig{
			"p": {Inputs: []string{"e1"}, Remotes: []string{"near", "far"}}, "q": {Inputs: []string{"e1", "e2"}, Remote: "far"}, "r": {Inputs: []string{"e2"}, Remote: "near"},
		}}
	for _, tt := range []struct {
		flags             verifyFlags
		pipelines, inputs string
		wrong             string
	}{
		{verifyFlags{remote: "far"}, "p q", "e1 e2", ""},
		{verifyFlags{remote: "far", pipeline: "p"}, "p", "e1", ""},
		{verifyFlags{remote: "near", input: "e2"}, "r", "e2", ""},
		{verifyFlags{remote: "far", input: "e2"}, "q", "e2", ""},
		{verifyFlags{}, "", "", "[far near]"},
		{verifyFlags{remote: "other"}, "", "", "[far near]"},
		{verifyFlags{remote: "far", pipeline: "r"}, "", "", "no pipeline"},
	} {
		tt.flags.stream = "*"
		s := &side{flags: &tt.flags, file: f}
		err := s.choose()
		if tt.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%+v: got %v, want %q", tt.flags, err, tt.wrong)
			}
			continue
		}
		slices.Sort(s.inputs)
		if err != nil || strings.Join(s.pipelines, " ") != tt.pipelines || strings.Join(s.inputs, " ") != tt.inputs {
			t.Errorf("%+v: pipelines %v, inputs %v, %v, want %s and %s", tt.flags, s.pipelines, s.inputs, err, tt.pipelines, tt.inputs)
		}
	}
}

// TestVerifyCommand: the exit code, the table and the sentence, beside a bridge that runs and when it is stopped.
func TestVerifyCommand(t *testing.T) {
	b := newBench(t)
	text := b.keeping()
	path := b.write(text)
	g, stop := b.start(path)
	b.send(g, 0, 50)
	var ids []string
	for range 100 {
		ids = append(ids, b.take())
	}
	b.drained(g)
	verifyList := func(ids []string, more ...string) (code int, out string) {
		list := filepath.Join(b.dir, "ids")
		if err := os.WriteFile(list, []byte(strings.Join(ids, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		var text, complaints bytes.Buffer
		args := append([]string{"verify", "--config", path, "--period", "2026-01-01/2026-01-02", "--far", "list:" + list, "--settle", "0s"}, more...)
		code = run(t.Context(), args, &text, &complaints)
		return code, text.String() + complaints.String()
	}
	missing := slices.Delete(slices.Clone(ids), 5, 6)
	for _, tt := range []struct {
		name string
		ids  []string
		more []string
		code int
		says []string
	}{
		{"clean", ids, nil, 0, []string{"gate/acc-1", "nothing is missing, double or out of order: 100 messages in 2 streams", "has no source"}},
		{"hole", missing, nil, 3, []string{"hole at the far end  " + ids[5], "1 hole in 1 of 2 streams"}},
		{"hole as JSON", missing, []string{"--json"}, 3, []string{`"kind": "hole at the far end"`, `"id": "` + ids[5] + `"`, `"holes_far": 1`}},
		{"one stream", missing, []string{"--stream", "gate/acc-2"}, -1, []string{"messages of the far end are of other streams"}},
		{"in order", ids, []string{"--in-order"}, 0, nil},
		{"no far end", ids, []string{"--far", "kafka:x"}, 2, []string{"want record:FILE"}},
		{"no such list", ids, []string{"--far", "list:" + filepath.Join(b.dir, "none")}, 1, []string{"no such file"}},
		{"refill without a bridge", missing, []string{"--refill", "--url", "http://127.0.0.1:1"}, 1, []string{"1 hole in 1 of 2 streams", "is it running?"}},
		{"refill", missing, []string{"--refill", "--url", strings.TrimSuffix(g.page(), "/")}, 3, []string{"refill: 1 messages queued, 0 records fetched, 0 not refilled"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out := verifyList(tt.ids, tt.more...)
			if code != tt.code && tt.code >= 0 {
				t.Errorf("exit %d, want %d", code, tt.code)
			}
			for _, s := range tt.says {
				if !strings.Contains(out, s) {
					t.Errorf("does not say %q:\n%s", s, out)
				}
			}
		})
	}
	b.drained(g)
	stop()
	if code, out := verifyList(missing); code != 3 || !strings.Contains(out, ids[5]) {
		t.Errorf("with the bridge stopped: exit %d, want 3:\n%s", code, out)
	}
	backwards := slices.Clone(ids)
	slices.Reverse(backwards)
	if code, out := verifyList(backwards, "--in-order"); code != 3 || !strings.Contains(out, "98 misorders in 2 of 2 streams") {
		t.Errorf("backwards: exit %d, want 3:\n%s", code, out)
	}
	b.write(text + "\n[remotes.mqtt.far.drain]\npriority = \"live\"\n")
	code, out := verifyList(backwards, "--in-order")
	if said := `the order of pipeline p was not compared: priority = "live" of remote far`; code != 0 || !strings.Contains(out, said) {
		t.Errorf("backwards with live messages first: exit %d, want 0 and %q:\n%s", code, said, out)
	}
}

package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// goGuest builds testdata/guest.
func goGuest(tb testing.TB) []byte {
	tb.Helper()
	to := filepath.Join(tb.TempDir(), "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", to, "./testdata/guest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build the Go guest: %v\n%s", err, out)
	}
	wasm, err := os.ReadFile(to)
	if err != nil {
		tb.Fatal(err)
	}
	return wasm
}

func TestGoGuest(t *testing.T) {
	b, wasm := newBench(t), goGuest(t)
	cfg := testConfig()
	cfg.Memory, cfg.BudgetUnits = 16<<20, 2_000_000
	cfg.Config = map[string]any{"b": int64(1), "a": "<x>"}
	m := b.load(t, "go", wasm, cfg)
	c, err := b.Chain("p", []*Module{m}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	do := func(what string) *bridge.Results {
		return apply(t, c, "b/e", []bridge.Record{{Time: 1_700_000_000_000_000, Labels: labels("do", what)}})
	}
	for what, want := range map[string]string{
		"nothing":     "nothing",
		"config":      `{"a":"<x>","b":1}`,
		"time":        "2023-11-14T22:13:20Z", // of the record, after an hour of sleep
		"environment": "[] []",
		"garbage":     "garbage",
		"print":       "print",
	} {
		if got := text(do(what).Messages[0].Labels); got != ",do="+what+",did="+want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	if !strings.Contains(b.logs.String(), "a line from the guest") {
		t.Error("what the guest printed is not in the log")
	}
	for what, want := range map[string]string{
		"file":    "open /etc/passwd: ",
		"socket":  "dial tcp ",
		"panic":   "it printed: panic: the guest's own words",
		"exit":    "the guest exited with code 3",
		"loop":    "budget used up",
		"hog":     "out of memory",
		"recurse": "sluice_process: ",
	} {
		out := do(what)
		if len(out.Parked) != 1 || !strings.Contains(out.Parked[0].Reason, want) {
			t.Errorf("%s: got %s %+v, want %q", what, describe(out), out.Parked, want)
		}
	}
	// Replays are equal: two fresh instances draw the same numbers for the same record.
	var drawn []string
	for range 2 {
		m.pool.close()
		m = b.load(t, "go", wasm, cfg)
		if c, err = b.Chain("p", []*Module{m}, nil, nil); err != nil {
			t.Fatal(err)
		}
		drawn = append(drawn, describe(do("random")))
	}
	if drawn[0] != drawn[1] {
		t.Errorf("a record processed again got other random numbers: %s and %s", drawn[0], drawn[1])
	}
	cfg.Config = map[string]any{"refuse": true}
	if _, err := b.try(t, "go", wasm, cfg); err == nil || err.Error() != "module go: sluice_init: refused: config.refuse: not today" {
		t.Errorf("got %v", err)
	}
}

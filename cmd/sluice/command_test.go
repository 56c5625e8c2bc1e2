package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"testing"

	"github.com/sluicebridge/sluice/bridge/config"
	"github.com/sluicebridge/sluice/bridge/ledger"
)

// Scripts rely on the exit codes.
func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"nothing", nil, 0},
		{"help", flag.ErrHelp, 0},
		{"usage", usageError{"no such flag"}, 2},
		{"configuration", fmt.Errorf("load: %w", config.Problems{{Text: "wrong"}}), 78},
		{"a backlog for a remote that is gone", fmt.Errorf("open ledger: %w", ledger.ErrUnrouted), 78},
		{"something was missing", errDifferences, 3},
		{"anything else", errors.New("disk gone"), 1},
	} {
		if got := exitCode(c.err, io.Discard); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

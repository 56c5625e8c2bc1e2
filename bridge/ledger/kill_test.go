package ledger

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// killDir, where it is set, makes the test binary the process that is killed.
const killDir = "SLUICE_LEDGER_KILL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		if err := appendForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// appendForEver appends, claims and settles, and prints each number that was acknowledged.
func appendForEver(dir string) error {
	ctx := context.Background()
	l, err := openWith(ctx, dir, testConfig(), smallLimits())
	if err != nil {
		return err
	}
	go l.Run(ctx)
	_, newest, _ := newestOf(&running{Log: l})
	restored, err := l.Outbox("a").Restore(ctx, "far")
	if err != nil {
		return err
	}
	for n := newest + 1; ; n++ {
		if err := l.Append(ctx, passing("b/e", 500, n)); err != nil {
			return err
		}
		fmt.Println(n)
		if n%3 == 0 {
			continue
		}
		number := restored.Next[0]
		restored.Next[0]++
		rows, err := l.Outbox("a").Next(ctx, l.Stats().Rows-1, 1)
		if err != nil {
			return err
		}
		step := &bridge.Step{Claims: []bridge.Claim{{Ref: bridge.Ref{Row: rows[0].Number}, Number: number}}}
		if number > 0 {
			step.Acks = []bridge.Ack{{Number: number - 1, Kind: bridge.AckDelivered}}
		}
		if err := l.Outbox("a").Commit(ctx, step); err != nil {
			return err
		}
	}
}

// TestKill kills a process with SIGKILL in the midst of its commits, again and again on the same directory: what it had said was durable is
// there (rule 1), and nothing between (rule 3).
func TestKill(t *testing.T) {
	dir := t.TempDir()
	for round := range 5 {
		last := killAfter(t, dir, 20+7*round)
		l := startWith(t, dir, testConfig(), smallLimits())
		_, newest, _ := newestOf(l)
		if newest < last || newest > last+1 {
			t.Fatalf("round %d: the newest is %d, want %d or the one after it", round, newest, last)
		}
		rows, err := l.Outbox("b").Next(context.Background(), 0, 1<<20)
		if err != nil || int64(len(rows)) != newest {
			t.Fatalf("round %d: got %d rows and %v, want %d", round, len(rows), err, newest)
		}
		for _, r := range rows {
			ms, err := l.Outbox("b").Messages(r.Number)
			if err != nil || ms[0].Time != int64(r.Number) {
				t.Fatalf("round %d: row %d holds %+v and %v, want record %d", round, r.Number, ms, err, r.Number)
			}
		}
		l.stop()
	}
}

// killAfter runs the child until it has printed n numbers, kills it, and returns the last one that it got out.
func killAfter(t *testing.T, dir string, n int) (last int64) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killDir+"="+dir)
	var stderr strings.Builder
	child.Stderr = &stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if last, err = strconv.ParseInt(lines.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
		if n--; n == 0 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if child.Wait() == nil || n > 0 {
		t.Fatalf("the child ended by itself: %s", stderr.String())
	}
	return last
}

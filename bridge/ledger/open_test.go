package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// filled makes a ledger with rows of two streams, of which row 1 is settled and gone, parked records, a state, closed ranges and a
// journal.
func filled(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	cfg := testConfig()
	cfg.Exact = 30
	l := startWith(t, dir, cfg, smallLimits())
	for n := range int64(20) {
		a := passing("b/e", 20, n*10, n*10+1, n*10+2)
		a.States = []bridge.State{{Module: "m", SHA256: "00", Bytes: []byte("state")}}
		a.Parked = []bridge.Parking{{Message: a.Messages[0], Module: "m"}}
		mustAppend(t, l, a)
		mustAppend(t, l, passing("b/f", 20, n))
		if n == 0 {
			settleRow(t, l.Outbox("a"), 1)
			settleRow(t, l.Outbox("b"), 1)
		}
	}
	settleRow(t, l.Outbox("a"), 5)
	l.stop()
	return dir
}

func damage(t *testing.T, dir, statement string) {
	t.Helper()
	if n, _ := execute(t, dir, statement).RowsAffected(); n == 0 {
		t.Fatalf("%s damaged nothing", statement)
	}
}

func execute(t *testing.T, dir, statement string) sql.Result {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, dbFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	res, err := db.Exec(statement)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestCorrupt: what was acknowledged and is missing or damaged stops the start or the run, with a message that says what it was (rule 17).
func TestCorrupt(t *testing.T) {
	const flip = "CAST(substr(data,1,8) || x'5a' || substr(data,10) AS BLOB)"
	for _, c := range []struct{ name, damage, says string }{
		{"row is missing", "DELETE FROM batch WHERE number=7", "row 7 was acknowledged and is missing"},
		{"gone row is forgotten", "DELETE FROM gone", "row 1 was acknowledged and is missing"},
		{"row is damaged", "UPDATE batch SET data=" + flip + " WHERE number=7", "row 7 has checksum"},
		{"row has another number", "UPDATE batch SET number=1000 WHERE number=(SELECT max(number) FROM batch)", "row 1000 has checksum"},
		{"row has another count", "UPDATE batch SET count=2 WHERE number=7", "row 7 has checksum"},
		{"keys are missing", "DELETE FROM seen WHERE id=(SELECT max(id)-1 FROM seen WHERE id<2<<36)", "are missing"},
		{"small keys are damaged", "UPDATE seen SET data=" + flip + " WHERE id=(SELECT max(id) FROM seen)", "have checksum"},
		{"journal is damaged", "UPDATE step SET data=data||x'00'", "has checksum"},
		{"journal has a hole", "DELETE FROM step WHERE number=(SELECT max(number)-1 FROM step WHERE remote=1) AND remote=1", "has"},
		{"stream is missing", "DELETE FROM stream WHERE id=1", "which is not there"},
		{"no database", "DROP TABLE batch; DROP TABLE seen; CREATE TABLE batch(a); INSERT INTO batch VALUES(1)", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filled(t)
			damage(t, dir, c.damage)
			l, err := Open(context.Background(), dir, testConfig())
			if err == nil {
				l.Close()
				t.Fatal("it opened")
			}
			if c.says != "" && (!errors.Is(err, bridge.ErrCorrupt) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %v that says %q", err, bridge.ErrCorrupt, c.says)
			}
		})
	}
}

// TestCorruptWhileRunning: what is found later ends Run.
func TestCorruptWhileRunning(t *testing.T) {
	for _, c := range []struct {
		name, damage string
		find         func(*Log) error
	}{
		{"message", "UPDATE batch SET crc=crc+1", func(l *Log) error { _, err := l.Outbox("b").Messages(7); return err }},
		{"message is gone", "DELETE FROM batch WHERE number=7", func(l *Log) error { _, err := l.Outbox("b").Messages(7); return err }},
		{"old keys", "UPDATE seen SET crc=crc+1", func(l *Log) error {
			return l.Fresh("p", "b/e", make([]bridge.Record, 1), make([]bool, 1))
		}},
		{"state", "UPDATE state SET crc=crc+1", func(l *Log) error { _, _, err := l.State("p", "b/e", "m"); return err }},
		{"parked", "UPDATE parked SET crc=crc+1", func(l *Log) error { _, err := l.Parked(context.Background(), 0, 10); return err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filled(t)
			cfg := testConfig()
			cfg.Cache = 0
			limits := smallLimits()
			limits.blockKeys = 2 // so that blocks are not read at Open
			l, err := openWith(context.Background(), dir, cfg, limits)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if c.name == "old keys" {
				for _, s := range l.streams {
					s.closed = nil
					for _, g := range s.segments {
						g.min, g.data = 0, nil
					}
				}
			}
			damage(t, dir, c.damage)
			ended := make(chan error, 1)
			go func() { ended <- l.Run(context.Background()) }()
			if err := c.find(l); !errors.Is(err, bridge.ErrCorrupt) {
				t.Errorf("got %v, want %v", err, bridge.ErrCorrupt)
			}
			if err := <-ended; !errors.Is(err, bridge.ErrCorrupt) {
				t.Errorf("run ended with %v, want %v", err, bridge.ErrCorrupt)
			}
			if err := l.Append(context.Background(), passing("b/e", 1, 9999)); !errors.Is(err, bridge.ErrCorrupt) {
				t.Errorf("append: got %v, want %v", err, bridge.ErrCorrupt)
			}
		})
	}
}

// TestOpenOnFullDisk: a start that fails is tried once more in the room of the ballast, which damage and a wrong configuration leave alone. The
// fault is a trigger on what every start writes.
func TestOpenOnFullDisk(t *testing.T) {
	const fail = "CREATE TRIGGER fault BEFORE INSERT ON meta WHEN (SELECT n FROM faults)<%d" +
		" BEGIN UPDATE faults SET n=n+1; SELECT RAISE(FAIL, 'no space left'); END; UPDATE faults SET n=0"
	for _, c := range []struct {
		name   string
		damage string
		cfg    Config
		faults int // attempts that failed
		opens  bool
		kept   bool // the ballast is the same file as before
	}{
		{"no fault", "UPDATE meta SET name=name", testConfig(), 0, true, true},
		{"fits into the ballast's room", fmt.Sprintf(fail, 1), testConfig(), 1, true, false},
		{"does not", fmt.Sprintf(fail, 9), testConfig(), 2, false, false},
		{"corrupt", "DELETE FROM gone", testConfig(), 0, false, true},
		{"wrong configuration", "UPDATE meta SET name=name", routed(map[string][]string{"p": {"c"}}), 0, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filled(t)
			before, err := os.Stat(filepath.Join(dir, "ballast"))
			if err != nil {
				t.Fatal(err)
			}
			damage(t, dir, "CREATE TABLE faults(n); INSERT INTO faults VALUES(0)")
			damage(t, dir, c.damage)
			l, err := openWith(context.Background(), dir, c.cfg, smallLimits())
			if (err == nil) != c.opens {
				t.Errorf("got %v, want it to open: %v", err, c.opens)
			}
			if err == nil {
				l.Close()
			}
			after, err := os.Stat(filepath.Join(dir, "ballast"))
			if kept := err == nil && os.SameFile(before, after) && before.ModTime().Equal(after.ModTime()); kept != c.kept {
				t.Errorf("kept the ballast: %v, want %v", kept, c.kept)
			}
			if n := faults(t, dir); n != c.faults {
				t.Errorf("%d attempts failed, want %d", n, c.faults)
			}
		})
	}
}

func faults(t *testing.T, dir string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, dbFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT n FROM faults").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestEpochFileFails: it is noted, and the ledger opens.
func TestEpochFileFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, epochFile+".new"), 0o750); err != nil {
		t.Fatal(err)
	}
	l, err := openWith(context.Background(), dir, testConfig(), testLimits())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Stats().LastError; err == nil || !strings.Contains(err.Error(), "note epoch") {
		t.Errorf("got %v, want the file that could not be written", err)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, testConfig())
	_, err := Open(context.Background(), dir, testConfig())
	if want := fmt.Sprintf("process %d has it", os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error that says %q", err, want)
	}
	l.stop()
	start(t, dir, testConfig())
}

// copyDB puts the database of one ledger in the place of another's.
func copyDB(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(from, dbFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, dbFile), b, 0o640); err != nil {
		t.Fatal(err)
	}
}

// made opens a ledger, adds rows and closes it.
func made(t *testing.T, dir string, rows int64) {
	l := start(t, dir, testConfig())
	_, newest, _ := newestOf(l)
	for n := range rows {
		mustAppend(t, l, passing("b/e", 1, newest+1+n))
	}
	l.stop()
}

// TestRestored: a database that was put back from a copy is noticed, until the reconcile is done.
func TestRestored(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, dir string)
		says string
	}{
		{"nothing happened", func(*testing.T, string) {}, ""},
		{"older epoch", func(t *testing.T, dir string) {
			old := t.TempDir()
			copyDB(t, dir, old)
			made(t, dir, 1)
			made(t, dir, 1)
			copyDB(t, old, dir)
		}, "is of epoch"},
		{"another ledger", func(t *testing.T, dir string) {
			other := t.TempDir()
			made(t, other, 1)
			copyDB(t, other, dir)
		}, "is of ledger"},
		{"database is gone", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, dbFile)); err != nil {
				t.Fatal(err)
			}
		}, "is gone"},
		{"older rows", func(t *testing.T, dir string) {
			path := filepath.Join(dir, epochFile)
			e, err := readEpoch(path)
			if err != nil {
				t.Fatal(err)
			}
			text := fmt.Sprintf("sluice-epoch 1\n%s %d %d\n", e.id, e.number, e.row+10)
			if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
				t.Fatal(err)
			}
		}, "ends at row"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			made(t, dir, 3)
			before := identityOf(t, dir)
			c.do(t, dir)
			after := identityOf(t, dir)
			if (after == before) != (c.says == "") {
				t.Errorf("identity %s after %s, want another one only for an old copy", after, before)
			}
			for range 2 { // it is remembered
				l := start(t, dir, testConfig())
				if got := l.Identity(); got != after {
					t.Errorf("identity %s at a later start, want %s", got, after)
				}
				if got := l.Restored(); (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
					t.Errorf("got %q, want %q", got, c.says)
				}
				l.stop()
			}
			checkWhole(t, dir, after)
		})
	}
}

// checkWhole ends the reconcile: the ledger keeps its identity, and is no old copy at the next start.
func checkWhole(t *testing.T, dir, identity string) {
	t.Helper()
	l := start(t, dir, testConfig())
	if err := l.ClearRestored(context.Background()); err != nil {
		t.Fatal(err)
	}
	first := l.Epoch()
	l.stop()
	l = start(t, dir, testConfig())
	if l.Identity() != identity {
		t.Errorf("identity %s once it is whole again, want %s as before", l.Identity(), identity)
	}
	if l.Restored() != "" || l.Epoch() == first {
		t.Errorf("got %q in epoch %s after %s, want nothing in a new one", l.Restored(), l.Epoch(), first)
	}
}

func identityOf(t *testing.T, dir string) string {
	l := start(t, dir, testConfig())
	defer l.stop()
	return l.Identity()
}

func newestOf(l *running) (found bool, newest int64, n int) {
	t, ok := l.Newest("p", "b/e")
	return ok, t, len(l.Streams())
}

// routed is a configuration with these routes.
func routed(rs map[string][]string) Config {
	cfg := testConfig()
	cfg.Routes = rs
	return cfg
}

// TestRemovedPipeline: what a remote that is still there has of a pipeline that is gone or was renamed, is sent.
func TestRemovedPipeline(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, routed(map[string][]string{"p": {"a", "b"}, "q": {"b"}}))
	mustAppend(t, l, passing("b/e", 10, 1, 2))
	l.stop()
	l = start(t, dir, routed(map[string][]string{"renamed": {"a"}, "q": {"b"}}))
	for _, remote := range []string{"a", "b"} {
		settleRow(t, l.Outbox(remote), 1)
	}
	if st := l.Stats(); len(st.GivenUp) > 0 || st.Live > 0 {
		t.Errorf("got %+v, want both messages delivered to both", st)
	}
	if err := l.Append(context.Background(), passing("b/e", 10, 3)); err == nil {
		t.Error("a pipeline without remotes was taken")
	}
}

// TestRemovedRemote: while messages wait for it, an Open says so and changes nothing (rule 20); with give_up they are dropped, and
// their count stays. A remote that waits for nothing goes without a word.
func TestRemovedRemote(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	l := start(t, dir, routed(map[string][]string{"p": {"a", "b"}, "q": {"b"}, "r": {"idle"}}))
	mustAppend(t, l, passing("b/e", 10, 1, 2))
	q := passing("b/e", 10, 1, 2, 3)
	q.Pipeline = "q"
	mustAppend(t, l, q)
	if err := l.Outbox("b").Commit(ctx, &bridge.Step{Claims: []bridge.Claim{{Ref: bridge.Ref{Row: 2}}}}); err != nil {
		t.Fatal(err)
	}
	settleBut(t, l.Outbox("b"), 1, 1)
	l.stop()

	cfg := routed(map[string][]string{"p": {"a"}, "q": {"renamed"}})
	for range 2 {
		_, err := openWith(ctx, dir, cfg, testLimits())
		const want = "1 messages of pipeline p wait for remote b, 3 messages of pipeline q wait for remote b: no pipeline sends there"
		if !errors.Is(err, ErrUnrouted) || !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v, want it to say %q", err, want)
		}
	}
	l = start(t, dir, routed(nil)) // a tool
	if st := l.Stats(); len(st.GivenUp) > 0 || l.Outbox("b") == nil || l.Outbox("b").shares[2].left != 3 {
		t.Errorf("got %+v of a tool, want nothing given up", st)
	}
	l.stop()

	cfg.GiveUp = true
	for n := range 3 { // the count is durable, and needs the key once
		l = start(t, dir, cfg)
		if got := l.Stats().GivenUp; len(got) != 1 || got["b"] != 4 {
			t.Errorf("start %d: gave up %v, want 4 of b", n, got)
		}
		if l.Outbox("b") != nil || l.Outbox("idle") != nil {
			t.Error("a removed remote has an outbox")
		}
		if list := l.allLosses(); len(list) != 1 || list[0].From != 1 || list[0].To != 3 || list[0].Records != 4 || list[0].Reason != "given up with remote b" {
			t.Errorf("losses %+v, want the records 1 to 3 of which b lacks something", list)
		}
		l.stop()
		cfg.GiveUp = false
	}
	l = start(t, dir, routed(map[string][]string{"p": {"a"}, "q": {"b"}}))
	for _, b := range l.Stats().Backlog {
		if b.Remote == "b" && b.Records != 0 {
			t.Errorf("got backlog %+v, want none: a name that comes back is another remote", b)
		}
	}
	settleRow(t, l.Outbox("a"), 1)
	if st := l.Stats(); st.Live > 0 || st.GivenUp["b"] != 4 {
		t.Errorf("got %+v, want all settled and the count kept", st)
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"default", Default(), ""},
		{"quota", Config{Quota: 5}, "quota: 5B, want 1MiB or more"},
		{"keep", Config{Quota: 1 << 30, KeepDelivered: -1}, "keep_delivered: -1ns, want 0s or more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if err := c.cfg.Validate(); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestOpenWaits: a ledger that another process has locked for a moment, as a view does that finds a log to be recovered, is opened when that is over.
func TestOpenWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), dbFile)
	db, err := sql.Open("sqlite", fileURL(path, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, text := range []string{fmt.Sprintf("PRAGMA page_size=%d", pageSize), "CREATE TABLE x(y)", "BEGIN EXCLUSIVE"} {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	unlocked := make(chan error, 1)
	time.AfterFunc(50*time.Millisecond, func() {
		_, err := db.Exec("ROLLBACK")
		unlocked <- err
	})
	got, err := openDB(path)
	if err != nil {
		t.Errorf("got %v, want a ledger once it is unlocked", err)
	} else {
		got.Close()
	}
	if err := <-unlocked; err != nil {
		t.Fatal(err)
	}
}

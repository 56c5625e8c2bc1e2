package ledger

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// schema2 is a ledger as the version before wrote it: 20 Appends of b/e (keys n*10 to n*10+2) and 20 of b/f (key n) for remotes a and b.
func schema2(t *testing.T) snapshot {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "schema2.db.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	db, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot{db: db}
}

// putSchema2 puts it into a directory, with the epoch file that was beside it.
func putSchema2(t *testing.T, s snapshot) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s.put(t, dir)
	if err := os.WriteFile(filepath.Join(dir, epochFile), []byte("sluice-epoch 1\n27ded00052f476de 1 40\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestMigrate: everything that a ledger of the version before held is found, twice, and it goes on.
func TestMigrate(t *testing.T) {
	dir := putSchema2(t, schema2(t))
	for range 2 {
		l := startWith(t, dir, testConfig(), smallLimits())
		checkSchema2(t, l)
		l.stop()
	}
	cfg := testConfig()
	cfg.Exact = 20
	l := startWith(t, dir, cfg, smallLimits())
	for n := range int64(30) {
		mustAppend(t, l, passing("b/e", 20, 200+10*n, 201+10*n))
		mustAppend(t, l, passing("b/g", 20, n))
	}
	l.stop()
	l = startWith(t, dir, cfg, smallLimits())
	known := 0
	for _, r := range l.Closed("p", "b/e") {
		if r.Known {
			known++
		}
		if r.Known != (r.From > 70) {
			t.Errorf("range %+v, want only those of this version to have sums", r)
		}
	}
	if known == 0 {
		t.Error("no keys were closed since")
	}
	if st := l.Stats(); st.Rows != 100 || st.Backlog[0].Records != 77+90 {
		t.Errorf("got %+v, want 100 rows, and 90 messages more to send", st)
	}
	if fresh, err := isFresh(l, "b/e", 491); err != nil || fresh {
		t.Errorf("what was appended: got fresh %v and %v, want it to be seen", fresh, err)
	}
}

func checkSchema2(t *testing.T, l *running) {
	t.Helper()
	if l.Identity() != "27ded00052f476de" || l.Restored() != "" {
		t.Errorf("identity %s, restored %q, want those before", l.Identity(), l.Restored())
	}
	st := l.Stats()
	for _, b := range st.Backlog {
		if b.Records != 77 {
			t.Errorf("%d messages wait for %s, want 77", b.Records, b.Remote)
		}
	}
	if len(st.Backlog) != 2 || st.Rows != 40 || st.Gaps != 1 || st.Parked != 1 {
		t.Errorf("got %+v, want 40 rows for two remotes, a gap and a parked record", st)
	}
	checkSchema2Keys(t, l)
	checkSchema2Lists(t, l)
	r, err := l.Outbox("a").Restore(context.Background(), "far")
	want := bridge.Restored{
		Claims: []bridge.OpenClaim{
			{Claim: bridge.Claim{Ref: bridge.Ref{Row: 3}, Number: 3}, Received: true},
			{Claim: bridge.Claim{Ref: bridge.Ref{Row: 3, Index: 1}, Number: 4}},
		},
		Next: map[uint16]uint64{0: 6}, Trying: map[uint16]bool{0: true}, Marked: []bridge.Ref{{Row: 3, Index: 2}}, Far: "far",
	}
	if err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("restored %+v and %v, want %+v", r, err, want)
	}
	ms, err := l.Outbox("a").Messages(3)
	if err != nil || len(ms) != 3 || ms[2].Time != 12 || len(ms[2].Payload) != 20 {
		t.Errorf("row 3 holds %+v and %v, want records 10 to 12", ms, err)
	}
}

func checkSchema2Keys(t *testing.T, l *running) {
	t.Helper()
	for at := range int64(200) {
		if fresh, err := isFresh(l, "b/e", at); err != nil || fresh != (at%10 > 2) {
			t.Errorf("b/e %d: got fresh %v and %v", at, fresh, err)
		}
		if fresh, err := isFresh(l, "b/f", at); err != nil || fresh != (at > 19) {
			t.Errorf("b/f %d: got fresh %v and %v", at, fresh, err)
		}
	}
	if got, want := unknownRanges(t, l, "b/e"), "0-2:3 10-12:3 20-22:3 30-32:3 40-42:3 50-52:3 60-62:3 70-72:3"; got != want {
		t.Errorf("closed ranges %s, want %s", got, want)
	}
	if vs := l.verdicts("p", "b/e"); len(vs) != 36 || vs[bridge.Key{Time: 152}] != (bridge.Verdict{Kind: bridge.Passed, Outputs: 1}) {
		t.Errorf("got %d verdicts, that on 152 %+v, want 36", len(vs), vs[bridge.Key{Time: 152}])
	}
	if want := map[int64]uint64{19: 77}; !reflect.DeepEqual(l.streams[streamKey{"p", "b/f"}].wanted, want) {
		t.Errorf("wanted %v, want %v", l.streams[streamKey{"p", "b/f"}].wanted, want)
	}
}

// unknownRanges are the closed ranges of a stream, which must not have sums: schema 2 had none that mean anything.
func unknownRanges(t *testing.T, l *running, stream string) string {
	t.Helper()
	var out []string
	for _, r := range l.Closed("p", stream) {
		out = append(out, fmt.Sprintf("%d-%d:%d", r.From, r.To, r.Keys))
		if r != (bridge.ClosedRange{From: r.From, To: r.To, Keys: r.Keys}) {
			t.Errorf("range %+v, want its sums to be unknown", r)
		}
	}
	return strings.Join(out, " ")
}

func checkSchema2Lists(t *testing.T, l *running) {
	t.Helper()
	s, found, err := l.State("p", "b/e", "m")
	if want := (bridge.State{Module: "m", SHA256: "00", Version: 3, Bytes: []byte("state")}); err != nil || !found || !reflect.DeepEqual(s, want) {
		t.Errorf("state %+v, %v and %v, want %+v", s, found, err, want)
	}
	if ps := l.allParked(); len(ps) != 1 || ps[0].Time != 40 || ps[0].Module != "m" || ps[0].Reason != "a module said so" {
		t.Errorf("parked %+v, want record 40", ps)
	}
	gaps, err := l.OpenGaps()
	want := bridge.Gap{ID: 1, Stream: "b/e", From: 5, To: 9, Reason: "a body that broke off", Noted: time.UnixMicro(1_700_000_000_000_000)}
	if err != nil || len(gaps) != 1 || gaps[0] != want {
		t.Errorf("gaps %+v and %v, want %+v", gaps, err, want)
	}
	if upTo, found := l.Reconciled("b/e"); !found || upTo != 150 {
		t.Errorf("reconciled up to %d, %v, want 150", upTo, found)
	}
}

// TestMigrateRanges: those that overlap, as the version before made them, become one.
func TestMigrateRanges(t *testing.T) {
	dir := putSchema2(t, schema2(t))
	damage(t, dir, "INSERT INTO closed VALUES(1,2,12,1,0), (1,5,6,2,0), (1,71,71,1,0), (1,73,75,1,0), (2,-9,-3,7,0), (2,-9,-9,1,0)")
	l := startWith(t, dir, testConfig(), smallLimits())
	for stream, want := range map[string]string{
		"b/e": "0-12:9 20-22:3 30-32:3 40-42:3 50-52:3 60-62:3 70-72:4 73-75:1", "b/f": "-9--3:8",
	} {
		if got := unknownRanges(t, l, stream); got != want {
			t.Errorf("ranges of %s: got %s, want %s", stream, got, want)
		}
	}
}

// TestMigrateCrash cuts the log of a migration everywhere: what is left is of the version before, or of this one, and opens.
func TestMigrateCrash(t *testing.T) {
	before := schema2(t)
	dir := putSchema2(t, before)
	l, err := openWith(context.Background(), dir, testConfig(), smallLimits())
	if err != nil {
		t.Fatal(err)
	}
	after := takeSnapshot(t, dir)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(after.db, before.db) {
		t.Fatal("the database was written to, want the log to have all of the migration")
	}
	versions := make(map[int]int)
	const head, frame = 32, pageSize + 24
	for cut := head; cut <= len(after.wal); cut += frame {
		for _, garbled := range []bool{false, true} {
			image := snapshot{db: before.db, wal: slices.Clone(after.wal[:cut])}
			if garbled {
				image.wal = append(image.wal, after.wal[cut:min(cut+frame/2, len(after.wal))]...)
			}
			versions[versionOf(t, putSchema2(t, image))]++
			dir := putSchema2(t, image)
			l := startWith(t, dir, testConfig(), smallLimits())
			checkSchema2(t, l)
			l.stop()
			if v := versionOf(t, dir); v != schemaVersion {
				t.Errorf("schema %d after the next start, want %d", v, schemaVersion)
			}
		}
	}
	if versions[2] == 0 || versions[schemaVersion] == 0 || len(versions) != 2 {
		t.Errorf("images of schemas %v, want some of both", versions)
	}
}

func versionOf(t *testing.T, dir string) (v int) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, dbFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("PRAGMA user_version").Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestMigrateFullDisk: nothing of a migration that finds no room is there, and it says so. max_page_count stands for the disk.
func TestMigrateFullDisk(t *testing.T) {
	dir := putSchema2(t, schema2(t))
	for pages := 1; ; pages++ {
		db, err := sql.Open("sqlite", filepath.Join(dir, dbFile))
		if err != nil {
			t.Fatal(err)
		}
		db.SetMaxOpenConns(1)
		var limit, count int
		if err := db.QueryRow("PRAGMA page_count").Scan(&count); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRow(fmt.Sprintf("PRAGMA max_page_count=%d", count+pages-1)).Scan(&limit); err != nil {
			t.Fatal(err)
		}
		err = migrate(db)
		db.Close()
		if err == nil {
			if pages == 1 {
				t.Error("it needed no room")
			}
			break
		}
		if !errors.Is(err, bridge.ErrFull) || !strings.Contains(err.Error(), "from schema 2 to 3") {
			t.Errorf("got %v, want %v that says what was tried", err, bridge.ErrFull)
		}
		if v := versionOf(t, dir); v != 2 {
			t.Fatalf("schema %d after it failed, want 2", v)
		}
	}
	checkSchema2(t, startWith(t, dir, testConfig(), smallLimits()))
}

// TestOtherSchema: what this program does not know is not touched.
func TestOtherSchema(t *testing.T) {
	for _, v := range []int{1, 4, 99} {
		dir := putSchema2(t, schema2(t))
		execute(t, dir, fmt.Sprintf("PRAGMA user_version=%d", v))
		before, err := os.ReadFile(filepath.Join(dir, dbFile))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(context.Background(), dir, testConfig())
		if want := fmt.Sprintf("ledger has schema %d, this program knows 3", v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
		if after, err := os.ReadFile(filepath.Join(dir, dbFile)); err != nil || !bytes.Equal(after, before) {
			t.Errorf("the database was touched (%v)", err)
		}
	}
}

package recorder

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func delivery(pid uint16, id string) *Delivery {
	return &Delivery{Received: time.Unix(1, 0), ID: id, Topic: "site/x", qos: 2, pid: pid, sum: uint32(pid) + 1}
}

// openTest opens a record, and gives it up with the test.
func openTest(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path, testSession, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func commit(t testing.TB, f *File) {
	t.Helper()
	if err := f.commit(); err != nil {
		t.Fatal(err)
	}
}

// TestLines: whatever a publisher writes into names comes back as it was, one line each.
func TestLines(t *testing.T) {
	for _, text := range []string{"", "-", "--", `\-`, "gate/acc-1@1700000000000000#3~9f", "tab\tnewline\nreturn\r", `\x09`, `back\slash\`, "\x00\x7f", "Grüße"} {
		d := Delivery{Received: time.Date(2026, 11, 24, 1, 2, 3, 4000, time.UTC), ID: text, Mark: text, Topic: text, Late: true, qos: 1, pid: 65535, sum: 1 << 31}
		line := appendMessage(nil, &d)
		if bytes.Count(line, []byte{'\n'}) != 1 || line[len(line)-1] != '\n' {
			t.Errorf("%q: not one line: %q", text, line)
		}
		fields, ok := unseal(line[:len(line)-1])
		if !ok {
			t.Errorf("%q: not whole: %q", text, line)
			continue
		}
		if got, err := readMessage(fields); err != nil || got != d {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, d)
		}
	}
}

// TestTorn: a crash tears the last batch anywhere; what was durable before is found, what was not is cut off, and the file goes on.
func TestTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	f := openTest(t, path)
	f.newSession(time.Unix(1, 0))
	f.message(delivery(1, "s@1"))
	f.message(delivery(2, "s@2"))
	f.release(1)
	commit(t, f)
	durable := f.size
	f.message(delivery(3, "s@3"))
	f.release(2)
	commit(t, f)
	f.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	message := durable + int64(bytes.IndexByte(whole[durable:], '\n')) + 1
	for at := durable; at <= int64(len(whole)); at++ {
		for _, garbage := range []string{"", "\x00\x00\x00", "M\tno line\n\x00"} {
			if at == int64(len(whole)) && garbage != "" {
				break
			}
			torn := filepath.Join(t.TempDir(), "torn")
			if err := os.WriteFile(torn, append(whole[:at:at], garbage...), 0o600); err != nil {
				t.Fatal(err)
			}
			f := openTest(t, torn)
			wantOpen, wantIDs := []uint16{2}, []string{"s@1", "s@2"}
			if at >= message {
				wantOpen, wantIDs = []uint16{2, 3}, []string{"s@1", "s@2", "s@3"}
			}
			if at == int64(len(whole)) {
				wantOpen = []uint16{3}
			}
			if got := slices.Sorted(maps.Keys(f.state.two)); !slices.Equal(got, wantOpen) {
				t.Fatalf("torn at %d of %d with %q: open %v, want %v", at, len(whole), garbage, got, wantOpen)
			}
			f.message(delivery(4, "s@4"))
			commit(t, f)
			f.Close()
			wantRecorded(t, torn, append(wantIDs, "s@4")...)
		}
	}
}

// TestBegin: a file that was torn in its first line is begun anew; one that is no record is left as it is.
func TestBegin(t *testing.T) {
	first := string(testSession.line())
	for _, tt := range []struct{ name, text, wrong string }{
		{"empty", "", ""},
		{"torn", first[:20], ""},
		{"torn at once", "slu", ""},
		{"another text", "gate/acc-1@1\n", "not a record"},
		{"another text without end", "gate/acc-1@1", "not a record"},
		{"damaged", strings.Replace(first, "watcher", "watched", 1), "not a record"},
		{"another client", string(Session{"broker:1883", "other", "site/#", 2}.line()), "needs another file"},
		{"another QoS", string(Session{"broker:1883", "watcher", "site/#", 1}.line()), "needs another file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "record")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := Open(path, testSession, false)
			if tt.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("got %v, want %q", err, tt.wrong)
				}
				if got, _ := os.ReadFile(path); string(got) != tt.text {
					t.Errorf("changed to %q", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			f.message(delivery(1, "s@1"))
			commit(t, f)
			f.Close()
			wantRecorded(t, path, "s@1")
		})
	}
}

// TestOneProcess: a second recorder would write between the lines of the first.
func TestOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	f := openTest(t, path)
	if _, err := Open(path, testSession, false); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v, want that another process writes it", err)
	}
	f.Close()
	openTest(t, path)
}

// TestClientOfFile: a file's own client identifier counts where the caller says so.
func TestClientOfFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	other := testSession
	other.Client = "another"
	openTest(t, path).Close()
	f, err := Open(path, other, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Session() != testSession {
		t.Errorf("session %+v, want %+v", f.Session(), testSession)
	}
}

// TestStates: the state is found from the last S line on, however long the file is, and is the one that was.
func TestStates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	f := openTest(t, path)
	f.message(delivery(9, "s@0")) // stays open throughout
	long := strings.Repeat("x", 2000)
	for n := 1; f.size < 3*stateEvery; n++ {
		pid := uint16(10 + n%1000)
		f.message(delivery(pid, fmt.Sprintf("%s@%d", long, n)))
		one := delivery(uint16(2000+n%3000), "one")
		one.qos = 1
		f.message(one)
		if n%100 == 0 {
			for pid := range maps.Clone(f.state.two) {
				if pid != 9 && pid%7 > 0 {
					f.release(pid)
				}
			}
			commit(t, f)
		}
	}
	commit(t, f)
	f.Close()
	again := openTest(t, path)
	if again.stated == 0 || again.stated < again.size-2*stateEvery {
		t.Errorf("read from byte %d of %d", again.stated, again.size)
	}
	if !maps.Equal(again.state.two, f.state.two) || !maps.Equal(again.state.one, f.state.one) || !slices.Equal(again.state.queue, f.state.queue) {
		t.Errorf("state: %d and %d open, want %d and %d, or others", len(again.state.two), len(again.state.one), len(f.state.two), len(f.state.one))
	}
	if len(f.state.queue) != receiveMaximum {
		t.Errorf("%d deliveries of QoS 1 are remembered, want %d", len(f.state.queue), receiveMaximum)
	}
}

// TestDamaged: damage before the end is never taken for a torn batch.
func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	f := openTest(t, path)
	for n := range 12 {
		f.message(delivery(1, fmt.Sprintf("s@%d%s", n, strings.Repeat("x", 600_000))))
		f.release(1)
		f.stated = f.size // no S line in between
		commit(t, f)
	}
	f.Close()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte("!"), 1000); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, testSession, false); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Open: %v, want that it is damaged", err)
	}
	if _, err := Read(file, func(*Delivery) error { return nil }); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Read: %v, want that it is damaged", err)
	}
}

// FuzzOpen: any file is a record or an error, and what was cut off stays away.
func FuzzOpen(f *testing.F) {
	first := string(testSession.line())
	f.Add([]byte(first))
	f.Add(append([]byte(first), appendMessage(nil, delivery(1, "s@1"))...))
	f.Add(append([]byte(first), appendReleases(nil, []uint16{1, 2})...))
	f.Add([]byte(first + "S\t2:1:00000001\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "record")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := Open(path, testSession, false)
		if err != nil {
			return
		}
		a.Close()
		b := openTest(t, path)
		if a.size != b.size || !maps.Equal(a.state.two, b.state.two) {
			t.Errorf("opened twice: %d bytes and %v, then %d bytes and %v", a.size, a.state.two, b.size, b.state.two)
		}
	})
}

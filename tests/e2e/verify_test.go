package e2e

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver of emptied

	"github.com/sluicebridge/sluice/bridge/verify"
	"github.com/sluicebridge/sluice/tests/real"
)

// compared is what `sluice verify --json` says.
type compared struct {
	verify.Report
	Refill struct {
		Queued  int
		Fetched int
		Refused []struct{ ID, Why string }
	}
}

// verify runs the command for all of the site's records, and returns its exit code with what it says.
func (s *site) verify(t *testing.T, stdin string, args ...string) (code int, r compared) {
	t.Helper()
	from := time.UnixMicro(s.start).UTC()
	args = append([]string{"verify", "--json", "--all", "--config", filepath.Join(s.dir, "config.toml"), "--settle", "100ms",
		"--period", from.Format(time.RFC3339) + "/" + from.Add(time.Hour).Format(time.RFC3339)}, args...)
	cmd := exec.Command(filepath.Join(real.Binary(t), "bin", "sluice"), args...)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &complaints
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) {
		t.Fatalf("verify %v: %v\n%s", args, err, &complaints)
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("verify %v: %v in %s", args, err, &out)
	}
	return cmd.ProcessState.ExitCode(), r
}

// wantFindings runs the command and wants exactly these findings, each as kind and identity, and the exit code that goes with them.
func (s *site) wantFindings(t *testing.T, stdin string, args []string, want ...string) compared {
	t.Helper()
	code, r := s.verify(t, stdin, args...)
	var got []string
	for _, f := range r.Findings {
		got = append(got, string(f.Kind)+" "+f.ID)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("verify %v found %q, want %q", args, head(got), want)
	}
	if wantCode := map[bool]int{true: 0, false: 3}[len(want) == 0]; code != wantCode {
		t.Errorf("verify %v: exit %d, want %d: %s", args, code, wantCode, r.Verdict)
	}
	if len(r.Notes) > 0 {
		t.Logf("verify %v: %q", args, r.Notes)
	}
	return r
}

func (s *site) id(entry string, i int) string { return fmt.Sprintf("gate/%s@%d", entry, s.time(i)) }

// TestVerify: 20,000 records arrive; then holes, doubles, swaps and strangers are planted at each far end, and found, and nothing else.
func TestVerify(t *testing.T) {
	s := newSite(t, options{open: true, ledger: `keep_delivered = "1h"`})
	r := newRecord(t, s.broker, "site/#")
	r.Start()
	r.subscribed(t)
	s.sluice.Up()
	s.write(t, 0, perEntry)
	s.settled(t, 3*time.Minute, eligible*2)
	r.await(t, eligible*2)
	start := time.Now()
	clean := s.wantFindings(t, "", []string{"--far", "record:" + r.file})
	t.Logf("clean in %v: %s", time.Since(start), clean.Verdict)
	if c := clean.Total; c.Edge != 20000 || c.Seen != 20000 || c.Arrived != 20000 || c.Waiting != 0 {
		t.Errorf("counted %+v, want 20,000 everywhere", c)
	}
	t.Run("record", func(t *testing.T) { s.plantInRecord(t, r) })
	t.Run("list", func(t *testing.T) { s.plantInList(t, r) })
	t.Run("store", func(t *testing.T) { s.plantInStore(t, r) })
	t.Run("edge", func(t *testing.T) { s.plantAtEdge(t, r) })
}

// TestVerifyLive: while records are written, sent and delivered, what is only under way is no finding.
func TestVerifyLive(t *testing.T) {
	s := newSite(t, options{open: true})
	r := newRecord(t, s.broker, "site/#")
	r.Start()
	r.subscribed(t)
	s.sluice.Up()
	for from := 0; from < perEntry; from += 500 {
		s.write(t, from, from+500)
		s.wantFindings(t, "", []string{"--far", "record:" + r.file, "--settle", "1s"}) // the records' times are old: that they come tells that they are on the way
	}
	s.settled(t, time.Minute, eligible*2)
	r.await(t, eligible*2)
	if c := s.wantFindings(t, "", []string{"--far", "record:" + r.file}).Total; c.Arrived != 20000 || c.OnTheWay != 0 || c.Waiting != 0 {
		t.Errorf("at the end %+v, want 20,000 arrived and nothing under way", c)
	}
}

// lines returns those of a record that are messages of one topic, by their place in all.
func lines(t *testing.T, file, topic string) (all [][]byte, places []int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all = bytes.SplitAfter(text, []byte{'\n'})
	for i, line := range all {
		if bytes.HasPrefix(line, []byte("M\t")) && bytes.Contains(line, []byte("\t"+topic+"\t")) {
			places = append(places, i)
		}
	}
	return all, places
}

// edited is a copy of a record that was changed.
func edited(t *testing.T, all [][]byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "edited")
	if err := os.WriteFile(file, bytes.Join(all, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (s *site) plantInRecord(t *testing.T, r *record) {
	all, at := lines(t, r.file, "site/acc-2")
	hole, double := at[1000], at[2000]
	all[hole] = nil
	all[double] = append(bytes.Clone(all[double]), all[double]...)
	all[at[3000]], all[at[3001]] = all[at[3001]], all[at[3000]]
	s.wantFindings(t, "", []string{"--far", "record:" + edited(t, all)}, "hole at the far end "+s.id("acc-2", 1000),
		"double "+s.id("acc-2", 2000), "misorder "+s.id("acc-2", 3000))
}

func (s *site) plantInList(t *testing.T, r *record) {
	ids := []string{"sluice_id,received"}
	for _, d := range r.deliveries(t) {
		ids = append(ids, d.ID+",2026-11-24 00:00:00 UTC")
	}
	s.wantFindings(t, strings.Join(ids, "\n"), []string{"--far", "list:-", "--in-order"})
	place := func(id string) int {
		return slices.IndexFunc(ids, func(line string) bool { return strings.HasPrefix(line, id+",") })
	}
	a, b := place(s.id("acc-3", 3000)), place(s.id("acc-3", 3001))
	ids[a], ids[b] = ids[b], ids[a]
	ids[place(s.id("acc-3", 1000))] = ""
	ids = append(ids, s.id("acc-3", 2000), s.id("acc-3", 5)+"#1")
	want := []string{"hole at the far end " + s.id("acc-3", 1000), "double " + s.id("acc-3", 2000), "stranger " + s.id("acc-3", 5) + "#1"}
	s.wantFindings(t, strings.Join(ids, "\n"), []string{"--far", "list:-"}, want...)
	file := filepath.Join(t.TempDir(), "ids.csv")
	if err := os.WriteFile(file, []byte(strings.Join(ids, "\r\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	s.wantFindings(t, "", []string{"--far", "list:" + file, "--in-order"}, append(want, "misorder "+s.id("acc-3", 3000))...)
}

// plantInStore plays a consumer that writes what arrives into another ReductStore: once with the identity as a label, once by time alone.
func (s *site) plantInStore(t *testing.T, r *record) {
	far := real.StartStore(t, "", "")
	for _, labelled := range []bool{true, false} {
		bucket := fmt.Sprintf("labelled-%v", labelled)
		far.Bucket(t, bucket, "{}")
		label := func(id string) map[string]string {
			if labelled {
				return map[string]string{"sluice-id": id}
			}
			return map[string]string{"device": "press-7"}
		}
		for _, entry := range entries {
			var samples []real.Sample
			for i := range perEntry {
				if entry == "acc-4" && i == 1000 {
					continue // the hole
				}
				samples = append(samples, real.Sample{Time: s.time(i), ContentType: "text/plain", Payload: []byte("x"), Labels: label(s.id(entry, i))})
			}
			far.Write(t, bucket, "site/"+entry, samples)
		}
		args := []string{"--far", "reduct:" + far.URL + "/" + bucket + "/site"}
		s.wantFindings(t, "", args, "hole at the far end "+s.id("acc-4", 1000))
		add := real.Sample{Time: s.time(3000) + 1, ContentType: "text/plain", Payload: []byte("x")}
		if want := "stranger " + fmt.Sprintf("gate/acc-4@%d", s.time(3000)+1); !labelled {
			add.Labels = label("")
			far.Write(t, bucket, "site/acc-4", []real.Sample{add})
			s.wantFindings(t, "", args, "hole at the far end "+s.id("acc-4", 1000), want)
			continue
		}
		add.Labels = label(s.id("acc-4", 3000))
		far.Write(t, bucket, "site/acc-4", []real.Sample{add})
		s.wantFindings(t, "", args, "hole at the far end "+s.id("acc-4", 1000), "double "+s.id("acc-4", 3000))
	}
}

// plantAtEdge writes records while the bridge is away: one between others is missing, one behind all is only on its way. Both come when it
// is back.
func (s *site) plantAtEdge(t *testing.T, r *record) {
	if err := s.sluice.Stop(); err != nil {
		t.Fatalf("SIGTERM: %v", err)
	}
	args := []string{"--far", "record:" + r.file}
	s.wantFindings(t, "", args) // a ledger that nobody has open
	late, next := s.time(2500)+1, s.time(perEntry)
	for _, at := range []int64{late, next} {
		s.store.Write(t, "vib", "acc-1", []real.Sample{{Time: at, ContentType: "text/plain", Payload: []byte("x")}})
	}
	found := s.wantFindings(t, "", args, fmt.Sprintf("hole at the edge side gate/acc-1@%d", late))
	if found.Total.OnTheWay != 1 {
		t.Errorf("%d records on their way, want 1", found.Total.OnTheWay)
	}
	s.sluice.Up()
	r.await(t, eligible*2+2)
	s.wantFindings(t, "", args)
}

// TestRefill: what is missing at the far end comes back, from what the ledger keeps or anew from its record, marked; or it is said why not.
func TestRefill(t *testing.T) {
	const records = 600
	for _, tt := range []struct {
		name string
		options
		why string // it cannot be refilled
	}{
		{"kept in the ledger, a chain with a state", options{ledger: `keep_delivered = "1h"`}, ""},
		{"a chain without state", options{remap: true}, ""},
		{"a chain with a state", options{}, "keep_delivered), and module stable-speed keeps a state"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, tt.options)
			r := newRecord(t, s.broker, "site/#")
			r.Start()
			r.subscribed(t)
			s.sluice.Up()
			s.write(t, 0, records)
			all := 4 * len(s.expected("acc-1", records, nil))
			s.settled(t, time.Minute, all)
			r.await(t, all)
			if tt.ledger == "" {
				s.emptied(t)
			}
			if err := r.Stop(); err != nil {
				t.Fatalf("SIGTERM of the recorder: %v", err)
			}
			forgotten := []string{s.id("acc-1", 130), s.id("acc-1", 131), s.id("acc-3", 550)}
			r.forget(t, forgotten)
			r.Start()
			var holes []string
			for _, id := range forgotten {
				holes = append(holes, "hole at the far end "+id)
			}
			args := []string{"--far", "record:" + r.file}
			found := s.wantFindings(t, "", append(args, "--refill"), holes...)
			if tt.why != "" {
				if n := len(found.Refill.Refused); found.Refill.Queued != 0 || n != 3 || !strings.Contains(found.Refill.Refused[0].Why, tt.why) {
					t.Errorf("refill %+v, want 3 refused because of %q", found.Refill, tt.why)
				}
				s.wantFindings(t, "", args, holes...)
				return
			}
			if found.Refill.Queued != 3 || len(found.Refill.Refused) != 0 {
				t.Errorf("refill %+v, want 3 queued", found.Refill)
			}
			r.await(t, all)
			s.wantFindings(t, "", args)
			s.checkRefilled(t, all, forgotten)
		})
	}
}

// TestRefillEdge: a record that no sender will send any more, in the midst of what was reconciled, is fetched when it is asked for.
func TestRefillEdge(t *testing.T) {
	s := newSite(t, options{open: true, rarely: true})
	r := newRecord(t, s.broker, "site/#")
	r.Start()
	r.subscribed(t)
	s.sluice.Up()
	s.write(t, 0, 500)
	s.settled(t, time.Minute, 2000)
	s.store.Call(t, http.MethodDelete, "/replications/to-gate", "")
	for _, i := range []int{100, 300} {
		s.store.Write(t, "vib", "acc-2", []real.Sample{{Time: s.time(i) + 1, ContentType: "text/plain", Payload: []byte("x")}})
	}
	s.replicate(t)
	r.await(t, 2000)
	args := []string{"--far", "record:" + r.file}
	holes := []string{fmt.Sprintf("hole at the edge side gate/acc-2@%d", s.time(100)+1), fmt.Sprintf("hole at the edge side gate/acc-2@%d", s.time(300)+1)}
	found := s.wantFindings(t, "", append(args, "--refill"), holes...)
	if found.Refill.Fetched != 2 || len(found.Refill.Refused) != 0 {
		t.Errorf("refill %+v, want 2 fetched", found.Refill)
	}
	r.await(t, 2002)
	if clean := s.wantFindings(t, "", args); clean.Total.Late != 2 {
		t.Errorf("%d late, want 2", clean.Total.Late)
	}
}

// checkRefilled wants exactly these messages once more behind all others, as they were but for their mark.
func (s *site) checkRefilled(t *testing.T, before int, ids []string) {
	t.Helper()
	s.subscriber.Await(t, before+len(ids), time.Minute)
	first := map[string]real.Received{}
	for i, m := range s.subscriber.Messages() {
		if i < before {
			first[m.ID] = m
			continue
		}
		if !slices.Contains(ids, m.ID) || m.Properties["possible-duplicate"] != "refilled" {
			t.Errorf("message %d is %s, marked %q, want one of %v, marked refilled", i, m.ID, m.Properties["possible-duplicate"], ids)
		}
		was := first[m.ID]
		if m.Topic != was.Topic || !bytes.Equal(m.Payload, was.Payload) || m.Properties["source"] != was.Properties["source"] {
			t.Errorf("%s came again as %+v, want %+v", m.ID, m, was)
		}
	}
}

// emptied waits until the ledger has deleted what was delivered, which it does when it finds the time.
func (s *site) emptied(t *testing.T) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "data", "ledger", "ledger.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	real.Eventually(t, time.Minute, "an empty ledger", func() (bool, string) {
		rows := 0
		err := db.QueryRow("SELECT count(*) FROM batch").Scan(&rows)
		return err == nil && rows == 0, fmt.Sprintf("%d rows, %v", rows, err)
	})
}

// forget takes messages out of the file of a recorder that does not run.
func (r *record) forget(t *testing.T, ids []string) {
	t.Helper()
	all, _ := lines(t, r.file, "")
	for i, line := range all {
		if fields := strings.Split(string(line), "\t"); len(fields) > 2 && slices.Contains(ids, fields[2]) {
			all[i] = nil
		}
	}
	if err := os.WriteFile(r.file, bytes.Join(all, nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

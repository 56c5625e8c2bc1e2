package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicebridge/sluice/bridge/admin"
)

// take is the next identity that arrives.
func (b *bench) take() string {
	b.t.Helper()
	select {
	case id := <-b.arrived:
		return id
	case <-time.After(30 * time.Second):
		b.t.Fatal("nothing arrived")
		return ""
	}
}

// drained waits until the ledger knows that everything was delivered.
func (b *bench) drained(g *gate) {
	b.t.Helper()
	for late := time.Now().Add(30 * time.Second); b.status(g).Remotes[0].Backlog.Records > 0; {
		if time.Now().After(late) {
			b.t.Fatal("what arrived still waits to be sent")
		}
	}
}

// keeping is the configuration of a bridge that keeps what it has delivered.
func (b *bench) keeping() string {
	return strings.Replace(b.config(), "[admin]", "[ledger]\nkeep_delivered = \"1h\"\n[admin]", 1)
}

// TestRefill: what the ledger still has goes out once more; of all else it is said why it does not.
func TestRefill(t *testing.T) {
	b := newBench(t)
	g, stop := b.start(b.write(b.keeping()))
	defer stop()
	b.send(g, 0, 50)
	var ids []string
	for range 100 {
		ids = append(ids, b.take())
	}
	b.drained(g)
	url := strings.TrimSuffix(g.page(), "/") + "/refill"
	var answer admin.RefillAnswer
	wrong := []string{"nonsense", ids[0] + "#7", ids[0] + "0", "gate/nobody@5"}
	if err := ask(t.Context(), url, admin.RefillRequest{Pipeline: "p", Remote: "far", IDs: append(wrong, ids[3], ids[70], ids[3])}, &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Queued != 2 || len(answer.Refused) != len(wrong) {
		t.Errorf("got %+v, want 2 queued and %d refused", answer, len(wrong))
	}
	for _, r := range answer.Refused {
		if !slices.Contains(wrong, r.ID) || r.Why == "" {
			t.Errorf("refused %+v", r)
		}
	}
	got, want := []string{b.take(), b.take()}, []string{ids[3], ids[70]}
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("%v arrived again, want %v", got, want)
	}
	for _, q := range []admin.RefillRequest{{Pipeline: "x", Remote: "far", IDs: ids[:1]}, {Pipeline: "p", Remote: "x", IDs: ids[:1]}} {
		if err := ask(t.Context(), url, q, &answer); err == nil || !strings.Contains(err.Error(), "does not exist or does not send") {
			t.Errorf("%+v: got %v, want that it does not exist", q, err)
		}
	}
}

// TestRefillGone: a message that the ledger has no more, of an input without a source, does not come back, and says so.
func TestRefillGone(t *testing.T) {
	b := newBench(t)
	g, stop := b.start(b.write(b.config()))
	defer stop()
	b.send(g, 0, 50)
	id := b.take()
	b.await(99)
	var answer admin.RefillAnswer
	for { // settled rows are deleted when the ledger finds the time
		b.drained(g)
		if err := ask(t.Context(), strings.TrimSuffix(g.page(), "/")+"/refill", admin.RefillRequest{Pipeline: "p", Remote: "far", IDs: []string{id}}, &answer); err != nil {
			t.Fatal(err)
		}
		if answer.Queued == 0 {
			break
		}
		b.take()
	}
	if len(answer.Refused) != 1 || !strings.Contains(answer.Refused[0].Why, "no source") {
		t.Errorf("got %+v, want that there is no source", answer)
	}
}

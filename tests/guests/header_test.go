package guests

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

func wave(values ...float32) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// Everything of sluice.h, in a module made for it.
func TestHeaderOfC(t *testing.T) {
	shop.buildGuest(t, "header", "testdata/header.c")
	kept := new(states)
	c := shop.chain(t, kept, guest{"header", nil})
	for _, step := range []struct {
		labels  string
		payload []byte
		kind    bridge.Kind
		want    string
	}{
		{"do=pass", nil, bridge.Passed, "do=pass payload"},
		{"do=drop", nil, bridge.Dropped, ""},
		{"do=absorb", nil, bridge.Absorbed, ""},
		{"do=keep number=1", nil, bridge.Passed, "type  number=1 payload"},
		{"", nil, bridge.Parked, "nothing to do"},
		{"do=mean number=-1.005e1", wave(1, 2, 4.5), bridge.Passed, "topic acc-1 type text/plain do=mean number=-1.005e1 payload 2.500 -10.05 6"},
		{"do=mean number=x", wave(-0.0004), bridge.Passed, "payload -0.000 null 7"},
		{"do=mean number=1e309", wave(-1.9996), bridge.Passed, "payload -2.000 null 8"},
		{"do=full", make([]byte, 4000), bridge.Parked, "answer longer than SLUICE_OUT_MAX"},
		{"do=name", bytes.Repeat([]byte("k"), 1<<16-1), bridge.Passed, "kkkkk=1"},
		{"do=name", bytes.Repeat([]byte("k"), 1<<16+1), bridge.Parked, "a label's name is longer than 65535 bytes"},
		{"do=pass", make([]byte, 200_000), bridge.Passed, "payload"},
		{"do=crash", nil, bridge.Parked, "unreachable"},
	} {
		out := apply(t, c, []bridge.Record{{Time: 1, Labels: labels(step.labels), Payload: step.payload}})
		kept.commit(stream, out)
		if got := text(out); out.Verdicts[0].Kind != step.kind || !strings.Contains(got, step.want) {
			t.Errorf("%s: %v %.300s, want %d with %q", step.labels, out.Verdicts, got, step.kind, step.want)
		}
	}
}

func TestFlushAndStateOfC(t *testing.T) {
	shop.buildGuest(t, "header", "testdata/header.c")
	kept := new(states)
	for batch := range 5 { // a new process for each batch
		out := apply(t, shop.chain(t, kept, guest{"header", nil}), []bridge.Record{
			{Time: 1, Labels: labels("do=drop")}, {Time: 2, Labels: labels("do=drop")}, {Time: 3, Labels: labels("do=drop")},
		})
		kept.commit(stream, out)
		want := ""
		if batch == 4 {
			want = "payload 15\n"
		}
		if got := text(out); !strings.HasSuffix(got, want) || (got == "") != (want == "") {
			t.Errorf("batch %d: %q, want %q", batch, got, want)
		}
	}
	c := shop.chain(t, kept, guest{"header", nil})
	err := c.Apply(context.Background(), stream, []bridge.Record{{Time: 1, Labels: labels("do=retry")}}, new(bridge.Results))
	if !errors.Is(err, bridge.ErrRetry) || !strings.Contains(err.Error(), "not now") {
		t.Errorf("retry: %v, want bridge.ErrRetry with its text", err)
	}
	if m, err := shop.load(shop.runtime(t), guest{"header", table{"refuse": true}}); err == nil || !strings.Contains(err.Error(), "told to refuse") {
		if err == nil {
			m.Close()
		}
		t.Errorf("refused config: %v", err)
	}
}

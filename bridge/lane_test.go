package bridge_test

import (
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

func labelled(pairs ...string) *bridge.Message {
	m := new(bridge.Message)
	for i := 0; i < len(pairs); i += 2 {
		m.Labels = append(m.Labels, bridge.Label{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return m
}

func TestTemplate(t *testing.T) {
	for _, tt := range []struct {
		text    string
		message *bridge.Message
		want    string
		fails   string // of Parse or Append
	}{
		{text: "", want: ""},
		{text: "plain", want: "plain"},
		{text: "{bucket}/{entry}", want: "b/e/f"},
		{text: "event/{tenant}/{label:device}", message: labelled("device", "d1"), want: "event/t/d1"},
		{text: "{label:a}{label:b}", message: labelled("b", "2", "a", "1"), want: "12"},
		{text: "{label:missing}", message: labelled("a", "1"), fails: "no label missing"},
		{text: "{label:}", fails: "unknown place {label:}"},
		{text: "{entri}", fails: "unknown place {entri}"},
		{text: "a{entry", fails: "{ without }"},
		{text: "a}b", fails: "} without {"},
		{text: "{entry}}", fails: "} without {"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			p, err := bridge.ParseTemplate(tt.text)
			var got []byte
			if err == nil {
				got, err = p.Append(nil, "b/e/f", "t", tt.message)
			}
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("got %q and %v, want an error with %q", got, err, tt.fails)
				}
				return
			}
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q and %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestLaneHash(t *testing.T) {
	lane := func(text string) *bridge.Lane {
		p, err := bridge.ParseTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		return &bridge.Lane{Template: p}
	}
	d1, d2, none := labelled("device", "1", "x", "1"), labelled("x", "2", "device", "2"), labelled()
	for _, tt := range []struct {
		name string
		a, b uint64
		same bool
	}{
		{"zero template, same stream", lane("").Hash("p", "b/e", nil), lane("").Hash("p", "b/e", nil), true},
		{"zero template, other entry", lane("").Hash("p", "b/e", nil), lane("").Hash("p", "b/f", nil), false},
		{"entry, other bucket", lane("{entry}").Hash("p", "a/e", nil), lane("{entry}").Hash("p", "b/e", nil), true},
		{"other pipeline", lane("{entry}").Hash("p", "a/e", nil), lane("{entry}").Hash("q", "a/e", nil), false},
		{"same label", lane("{label:device}").Hash("p", "a/e", d1), lane("{label:device}").Hash("p", "a/f", d1), true},
		{"other label", lane("{label:device}").Hash("p", "a/e", d1), lane("{label:device}").Hash("p", "a/e", d2), false},
		{"without the label", lane("{label:device}").Hash("p", "a/e", none), lane("{label:device}").Hash("p", "a/f", none), true},
		{"parts do not run together", lane("{bucket}{entry}").Hash("p", "ab/c", nil), lane("{bucket}{entry}").Hash("p", "a/bc", nil), false},
	} {
		if (tt.a == tt.b) != tt.same {
			t.Errorf("%s: %x and %x, want same %v", tt.name, tt.a, tt.b, tt.same)
		}
	}
	if lane("{entry}").PerMessage() || !lane("{entry}/{label:a}").PerMessage() {
		t.Error("PerMessage is not that of a label in the template")
	}
}

func TestOrderingText(t *testing.T) {
	for _, o := range []bridge.Ordering{bridge.Strict, bridge.Pipelined, bridge.Unordered} {
		text, _ := o.MarshalText()
		var got bridge.Ordering
		if err := got.UnmarshalText(text); err != nil || got != o {
			t.Errorf("%s: got %v and %v", text, got, err)
		}
	}
	var o bridge.Ordering
	if err := o.UnmarshalText([]byte("loose")); err == nil {
		t.Error("loose was taken")
	}
}

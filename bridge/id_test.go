package bridge_test

import (
	"math"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

func TestParseID(t *testing.T) {
	id := func(t int64, revision uint64, index uint16) bridge.ID {
		return bridge.ID{Key: bridge.Key{Time: t, Revision: revision}, Index: index}
	}
	tests := []struct {
		text   string
		stream string // empty: no identity
		id     bridge.ID
	}{
		{"gate/acc-1@1700000000000000", "gate/acc-1", id(1700000000000000, 0, 0)},
		{"gate/a/b@5#3", "gate/a/b", id(5, 0, 3)},
		{"gate/a@5~9f", "gate/a", id(5, 0x9f, 0)},
		{"gate/a@5#65535~ffffffffffffffff", "gate/a", id(5, math.MaxUint64, 65535)},
		{"gate/a@b@0", "gate/a@b", id(0, 0, 0)},
		{"gate/a@-5", "gate/a", id(-5, 0, 0)},
		{"gate/a@9223372036854775807", "gate/a", id(math.MaxInt64, 0, 0)},
		{"", "", bridge.ID{}}, {"id", "", bridge.ID{}}, {"@5", "", bridge.ID{}}, {"gate/a@", "", bridge.ID{}},
		{"gate/a@05", "", bridge.ID{}}, {"gate/a@+5", "", bridge.ID{}}, {"gate/a@-0", "", bridge.ID{}}, {"gate/a@5 ", "", bridge.ID{}},
		{"gate/a@5#0", "", bridge.ID{}}, {"gate/a@5#65536", "", bridge.ID{}}, {"gate/a@5#", "", bridge.ID{}},
		{"gate/a@5~0", "", bridge.ID{}}, {"gate/a@5~9F", "", bridge.ID{}}, {"gate/a@5~1ffffffffffffffff", "", bridge.ID{}},
		{"gate/a@5~9f#3", "", bridge.ID{}}, {"gate/a@9223372036854775808", "", bridge.ID{}},
	}
	for _, tt := range tests {
		stream, got, ok := bridge.ParseID([]byte(tt.text))
		if ok != (tt.stream != "") || ok && (string(stream) != tt.stream || got != tt.id) {
			t.Errorf("%q: got %q, %+v, %v, want %q, %+v", tt.text, stream, got, ok, tt.stream, tt.id)
		}
		if ok && string(got.Append(nil, tt.stream)) != tt.text {
			t.Errorf("%q: written again it is %q", tt.text, got.Append(nil, tt.stream))
		}
	}
}

// FuzzParseID: what is read is written the same, and what is written is read the same.
func FuzzParseID(f *testing.F) {
	f.Add([]byte("gate/acc-1@1700000000000000#3~9f"), "s", int64(5), uint64(0), uint16(0))
	f.Fuzz(func(t *testing.T, text []byte, stream string, at int64, revision uint64, index uint16) {
		if s, id, ok := bridge.ParseID(text); ok {
			if got := id.Append(nil, string(s)); string(got) != string(text) {
				t.Errorf("%q is %q when written again", text, got)
			}
		}
		if stream == "" || at == math.MinInt64 {
			return
		}
		want := bridge.ID{Key: bridge.Key{Time: at, Revision: revision}, Index: index}
		written := want.Append(nil, stream)
		if s, got, ok := bridge.ParseID(written); !ok || string(s) != stream || got != want {
			t.Errorf("%q: read as %q %+v, %v, want %+v", written, s, got, ok, want)
		}
	})
}

package ledger

import (
	"reflect"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// TestRowKeepsEveryField: a message that was read back is the one that was appended, in every field. One that a row forgets would give
// the message another identity, or another content, after a restart only (rule 18).
func TestRowKeepsEveryField(t *testing.T) {
	whole := bridge.Message{
		Record: bridge.Record{
			Time: 1_700_000_000_000_123, Revision: 1<<63 + 5, Flags: bridge.Late | bridge.LastOfBatch, ContentType: []byte("a/b"),
			Labels: []bridge.Label{{Name: []byte("n"), Value: []byte("v")}}, Payload: []byte("payload"),
		},
		Index: 65_535, Topic: []byte("sub/topic"), Shift: -1_000_000,
	}
	wantNoZeroField(t, reflect.ValueOf(whole))
	ms := []bridge.Message{{Record: bridge.Record{Time: -1 << 60}}, whole, {}, whole}
	got, err := readRow(appendMessages(nil, []uint32{1, 300}, ms), len(ms))
	if err != nil || !reflect.DeepEqual(got, ms) {
		t.Fatalf("got %+v and %v, want %+v", got, err, ms)
	}
	if got, want := string(got[1].AppendID(nil, "b/e")), string(whole.AppendID(nil, "b/e")); got != want {
		t.Errorf("got id %s, want %s", got, want)
	}
}

// wantNoZeroField fails where the sample does not speak of a field, as of one that was added since.
func wantNoZeroField(t *testing.T, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		if f := v.Field(i); v.Type().Field(i).Anonymous {
			wantNoZeroField(t, f)
		} else if f.IsZero() {
			t.Errorf("the sample has no %s", v.Type().Field(i).Name)
		}
	}
}

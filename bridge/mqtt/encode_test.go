package mqtt

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

func testMessage() bridge.Message {
	return bridge.Message{Index: 2, Record: bridge.Record{
		Time: 1_700_000_000_000_000, Revision: 0xab, ContentType: []byte("application/json"), Payload: []byte("{}"),
		Labels: []bridge.Label{{Name: []byte("device"), Value: []byte("d1")}, {Name: []byte("empty")}},
	}}
}

// decode reads one packet with the library, so that both ways are not wrong alike.
func decode(t *testing.T, raw []byte) *packets.Publish {
	t.Helper()
	r := bytes.NewReader(raw)
	p, err := packets.ReadPacket(r)
	if err != nil || r.Len() > 0 {
		t.Fatalf("read %x: %v, %d B left", raw, err, r.Len())
	}
	return p.Content.(*packets.Publish)
}

const lateRow = 7 // whose messages are late

func TestEncode(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config)
		frame  session.Frame
		want   packets.Publish
		user   string
	}{
		{"QoS 2", func(*Config) {}, session.Frame{ID: 7}, packets.Publish{QoS: 2, PacketID: 7, Topic: "f/a/b"},
			"device=d1 empty= sluice-id=bucket/a/b@1700000000000000#2~ab sluice-time=1700000000000000"},
		{"again and marked", func(*Config) {}, session.Frame{ID: 65535, Dup: true, Mark: session.SessionLost},
			packets.Publish{QoS: 2, PacketID: 65535, Duplicate: true, Topic: "f/a/b"},
			"device=d1 empty= sluice-id=bucket/a/b@1700000000000000#2~ab sluice-time=1700000000000000 possible-duplicate=session-lost"},
		{"QoS 1, only the mark", func(c *Config) { c.QoS, c.IDIn, c.LabelsIn = 1, "none", "none" }, session.Frame{ID: 1, Mark: session.SentBefore},
			packets.Publish{QoS: 1, PacketID: 1, Topic: "f/a/b"}, "possible-duplicate=sent-before"},
		{"QoS 0 has no DUP", func(c *Config) { c.QoS, c.IDIn, c.LabelsIn = 0, "none", "none" }, session.Frame{ID: 1, Dup: true},
			packets.Publish{Topic: "f/a/b"}, ""},
		{"late", func(c *Config) { c.LabelsIn = "none" }, session.Frame{ID: 1, Ref: bridge.Ref{Row: lateRow}}, packets.Publish{QoS: 2, PacketID: 1, Topic: "f/a/b"},
			"sluice-id=bucket/a/b@1700000000000000#2~ab sluice-time=1700000000000000 sluice-late=true"},
		{"overtaken", func(c *Config) { c.LabelsIn = "none" }, session.Frame{ID: 1, Late: true}, packets.Publish{QoS: 2, PacketID: 1, Topic: "f/a/b"},
			"sluice-id=bucket/a/b@1700000000000000#2~ab sluice-time=1700000000000000 sluice-late=true"},
		{"late, without identity", func(c *Config) { c.IDIn, c.LabelsIn = "none", "none" }, session.Frame{ID: 1, Ref: bridge.Ref{Row: lateRow}},
			packets.Publish{QoS: 2, PacketID: 1, Topic: "f/a/b"}, ""},
		{"retained, with expiry", func(c *Config) {
			c.Retain, c.Expiry, c.IDIn, c.LabelsIn = true, bridge.Duration(90*time.Second), "none", "none"
		}, session.Frame{ID: 1}, packets.Publish{QoS: 2, PacketID: 1, Retain: true, Topic: "f/a/b"}, ""},
		{"places", func(c *Config) {
			c.Topic, c.Tenant, c.IDIn, c.LabelsIn = "{tenant}/{bucket}/{label:device}", "t1", "none", "none"
		},
			session.Frame{ID: 1}, packets.Publish{QoS: 2, PacketID: 1, Topic: "t1/bucket/d1"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testConfig("localhost:1883")
			c.Topic = "f/{entry}"
			tt.change(&c)
			e, err := newEncoder(&c)
			if err != nil {
				t.Fatal(err)
			}
			m := testMessage()
			if tt.frame.Row == lateRow {
				m.Flags |= bridge.Late
			}
			raw, err := e.publish(nil, &tt.frame, "bucket/a/b", &m, 0)
			if err != nil {
				t.Fatal(err)
			}
			got := decode(t, raw)
			if got.QoS != tt.want.QoS || got.PacketID != tt.want.PacketID || got.Duplicate != tt.want.Duplicate || got.Retain != tt.want.Retain ||
				got.Topic != tt.want.Topic || string(got.Payload) != "{}" || got.Properties.ContentType != "application/json" {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			var user []string
			for _, u := range got.Properties.User {
				user = append(user, u.Key+"="+u.Value)
			}
			if s := strings.Join(user, " "); s != tt.user {
				t.Errorf("user properties %q, want %q", s, tt.user)
			}
			want := uint32(time.Duration(c.Expiry) / time.Second)
			if e := got.Properties.MessageExpiry; want > 0 && (e == nil || *e != want) {
				t.Errorf("expiry %v, want %d", e, want)
			}
		})
	}
}

// TestEncodeSize has messages around the largest packet; a mark always fits into a message that was sent without, and where live messages go first
// that it is late.
func TestEncodeSize(t *testing.T) {
	for _, p := range []bridge.Priority{bridge.InOrder, bridge.LiveFirst} {
		testEncodeSize(t, p)
	}
}

func testEncodeSize(t *testing.T, p bridge.Priority) {
	c := testConfig("localhost:1883")
	c.Drain.Priority = p
	e, err := newEncoder(&c)
	if err != nil {
		t.Fatal(err)
	}
	reserve := markSize
	if e.live {
		reserve += lateSize
	}
	for _, payload := range []int{0, 1, 100, 127, 128, 16_300, 16_383, 16_500, 2_097_000, 2_097_300} {
		m := bridge.Message{Record: bridge.Record{Payload: make([]byte, payload)}}
		raw, err := e.publish(nil, &session.Frame{ID: 1}, "b/e", &m, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := decode(t, raw); len(got.Payload) != payload {
			t.Errorf("payload of %d B became %d", payload, len(got.Payload))
		}
		most := len(raw) + reserve
		if _, err := e.publish(nil, &session.Frame{ID: 1}, "b/e", &m, most); err != nil {
			t.Errorf("%d B with %d B allowed: %v", len(raw), most, err)
		}
		marked, err := e.publish(nil, &session.Frame{ID: 1, Mark: session.SessionLost, Late: e.live}, "b/e", &m, most)
		if err != nil || len(marked) > most {
			t.Errorf("marked: %d B and %v with %d B allowed", len(marked), err, most)
		}
		if out, err := e.publish([]byte("kept"), &session.Frame{ID: 1}, "b/e", &m, most-1); err == nil || string(out) != "kept" {
			t.Errorf("%d B with %d B allowed: no error, or something was appended", len(raw), most-1)
		}
	}
}

// TestCause: of several causes the one that explains most is told, and none is longer than what is kept free for it.
func TestCause(t *testing.T) {
	for mark, want := range map[session.Mark]string{
		session.Unmarked: "", session.SessionLost: "session-lost", session.SentBefore: "sent-before",
		session.SessionLost | session.SentBefore: "session-lost", session.SessionLost | session.Unanswered | session.SentBefore: "connack-lost",
		session.OtherFarEnd | session.SessionLost: "far-changed",
	} {
		if got := cause(&session.Frame{Mark: mark}, &bridge.Message{}); got != want || len(got) > maxCause {
			t.Errorf("mark %d: got %q, want %q", mark, got, want)
		}
	}
}

func TestEncodeTopicFollowsRow(t *testing.T) {
	c := testConfig("localhost:1883")
	e, err := newEncoder(&c)
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		row    uint64
		stream string
		suffix string
		want   string
	}{
		{1, "b/a", "", "factory/a"}, {1, "b/a", "", "factory/a"}, {2, "b/c", "", "factory/c"}, {2, "b/c", "/x", "factory/c/x"},
		{2, "b/c", "", "factory/c"}, {1, "b/a", "", "factory/a"},
	} {
		m := bridge.Message{Topic: []byte(tt.suffix)}
		raw, err := e.publish(nil, &session.Frame{ID: 1, Ref: bridge.Ref{Row: tt.row}}, tt.stream, &m, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := decode(t, raw).Topic; got != tt.want {
			t.Errorf("%d: topic %q, want %q", i, got, tt.want)
		}
	}
}

// TestTopicRoot: labels and names choose a name in the configured tree, never the tree.
func TestTopicRoot(t *testing.T) {
	for _, tt := range []struct{ topic, stream, label, module, want string }{
		{"{label:x}/a", "b/e", "v", "", "v/a"},
		{"{label:x}/a", "b/e", "$SYS", "", "error: begins with $"},
		{"{label:x}{entry}", "b/e", "$", "", "error: begins with $"},
		{"{label:x}/a", "b/e", "", "", "error: begins with /"},
		{"{label:x}", "b/e", "", "a", "error: begins with /"},
		{"/{label:x}", "b/e", "v", "", "/v"},
		{"{bucket}/a", "$system/e", "v", "", "error: begins with $"},
		{"$share/{label:x}", "b/e", "$v", "", "$share/$v"},
		{"f/{label:x}", "b/e", "$v", "", "f/$v"},
		{"f/{label:x}", "b/e", "a/b", "", "error: value \"a/b\" of label x has a /"},
		{"f/{tenant}/{label:x}", "b/e", "/", "", "error: value \"/\" of label x has a /"},
		{"f/{entry}", "b/e/1", "a/b", "m/n", "f/e/1/m/n"},
	} {
		c := testConfig("localhost:1883")
		c.Topic, c.Tenant = tt.topic, "t"
		e, err := newEncoder(&c)
		if err != nil {
			t.Fatal(err)
		}
		m := bridge.Message{Topic: []byte(tt.module), Record: bridge.Record{Labels: []bridge.Label{{Name: []byte("x"), Value: []byte(tt.label)}}}}
		raw, err := e.publish(nil, &session.Frame{ID: 1, Ref: bridge.Ref{Row: 1}}, tt.stream, &m, 0)
		got := ""
		if err != nil {
			got = "error: " + err.Error()
		} else {
			got = decode(t, raw).Topic
		}
		want, isError := strings.CutPrefix(tt.want, "error: ")
		if isError != (err != nil) || isError && !strings.Contains(got, want) || !isError && got != want {
			t.Errorf("%s with %q of %s: got %q, want %q", tt.topic, tt.label, tt.stream, got, tt.want)
		}
	}
}

func TestCheckText(t *testing.T) {
	for text, ok := range map[string]bool{
		"": true, "plain": true, "Köln": true, "日本": true, "\U0001F600": true,
		"a\tb": false, "a\x7fb": false, "a\u0085b": false, "\x00": false,
		"\xff": false, "\xc3": false, "\xed\xa0\x80": false, "\ufdd0": false, "\uffff": false, "\U0001FFFE": false,
	} {
		if err := checkText([]byte(text)); (err == nil) != ok {
			t.Errorf("checkText(%q): %v", text, err)
		}
	}
}

// FuzzEncode: whatever a message has in it, the result is a packet that the library reads back, or an error.
func FuzzEncode(f *testing.F) {
	f.Add("topic", "name", "value", "type", []byte("payload"), uint16(1))
	f.Add("a+b", "\x00", "\xff", "", []byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, topic, name, value, contentType string, payload []byte, id uint16) {
		c := testConfig("localhost:1883")
		c.Topic = "f/{label:topic}"
		e, err := newEncoder(&c)
		if err != nil {
			t.Fatal(err)
		}
		m := bridge.Message{Record: bridge.Record{
			ContentType: []byte(contentType), Payload: payload,
			Labels: []bridge.Label{{Name: []byte("topic"), Value: []byte(topic)}, {Name: []byte(name), Value: []byte(value)}},
		}}
		raw, err := e.publish(nil, &session.Frame{ID: id}, "b/e", &m, 0)
		if err != nil {
			return
		}
		got := decode(t, raw)
		if got.Topic != "f/"+topic || got.Properties.User[1].Value != value || !bytes.Equal(got.Payload, payload) {
			t.Errorf("got %+v", got)
		}
	})
}

// TestEncodeRefilled: what goes out again because it was missing says so, unless there is a graver reason by then; with room for that kept.
func TestEncodeRefilled(t *testing.T) {
	c := testConfig("localhost:1883")
	c.IDIn, c.LabelsIn = "none", "none"
	e, err := newEncoder(&c)
	if err != nil {
		t.Fatal(err)
	}
	m := testMessage()
	raw, err := e.publish(nil, &session.Frame{ID: 1}, "b/e", &m, 0)
	if err != nil {
		t.Fatal(err)
	}
	most := len(raw) + markSize // what could be sent at first can be sent with any mark
	m.Flags = bridge.Replayed | bridge.Late
	for mark, want := range map[session.Mark]string{session.Unmarked: "refilled", session.SessionLost: "session-lost", session.SentBefore: "sent-before"} {
		raw, err := e.publish(nil, &session.Frame{ID: 1, Mark: mark}, "b/e", &m, most)
		if err != nil {
			t.Fatal(err)
		}
		if got := decode(t, raw).Properties.User; len(got) != 1 || got[0].Key != nameMark || got[0].Value != want {
			t.Errorf("mark %d: properties %v, want %s=%s", mark, got, nameMark, want)
		}
	}
}

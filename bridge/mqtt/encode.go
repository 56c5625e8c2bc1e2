package mqtt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/mqtt/session"
)

// MQTT 5, 3.3: a PUBLISH is
//
//	| 0x30 dup<<3 qos<<1 retain | remaining length, 1 to 4 B | topic: len 2 B, bytes | packet id 2 B, not for QoS 0 |
//	| properties: length 1 to 4 B; expiry 0x02 4 B; content type 0x03 len 2 B, bytes; user property 0x26 name and value as the topic |
//	| payload |
//
// and a PUBREL | 0x62 | 2 | packet id 2 B |. They are written by hand because the library's way costs 63 allocations a message.

const (
	maxRemaining = 268_435_455 // 2.1.4: largest remaining length
	maxString    = 65535

	propExpiry      = 0x02
	propContentType = 0x03
	propUser        = 0x26

	nameID   = "sluice-id"
	nameTime = "sluice-time"
	nameLate = "sluice-late" // "true" on messages that come after a newer one of their stream
	nameMark = "possible-duplicate"
)

// causes are the values of possible-duplicate, and what doubles are counted by. A message that has several has the first.
var causes = [...]struct {
	mark session.Mark
	name string
}{
	{session.OtherFarEnd, "far-changed"}, {session.Unanswered, "connack-lost"}, {session.SessionLost, "session-lost"}, {session.SentBefore, "sent-before"},
}

// Refilled is the cause of a message that goes out again, out of order, because it was found missing at the far end. Another cause, which
// came later, says more.
const Refilled = "refilled"

// cause says why a message may be there already, "" where it cannot.
func cause(f *session.Frame, m *bridge.Message) string {
	if f.Mark != session.Unmarked {
		for i := range causes {
			if f.Mark&causes[i].mark != 0 {
				return causes[i].name
			}
		}
	}
	if m.Flags&bridge.Replayed != 0 {
		return Refilled
	}
	return ""
}

// markSize is kept free in every message, so that one which was sent can always be sent again with its mark, which may also make both
// lengths a byte longer.
const markSize = 1 + 2 + len(nameMark) + 2 + maxCause + 2

const maxCause = len("session-lost") // no cause is longer

// lateSize is kept free as well where a message may be late when its turn comes again: after it was refused for now and overtaken.
const lateSize = 1 + 2 + len(nameLate) + 2 + len("true")

// encoder writes packets. It has one user.
type encoder struct {
	qos      byte
	retain   bool
	expiry   uint32 // seconds
	tenant   string
	template bridge.Template
	id       bool
	labels   bool
	live     bool     // messages may be overtaken
	root     byte     // first of the configured topic
	perLabel bool     // the topic needs the message
	inTopic  []string // names of the labels it needs

	topic    []byte // of topicRow, unless perLabel
	topicRow uint64
	props    []byte
	scratch  []byte
}

func newEncoder(c *Config) (*encoder, error) {
	t, err := parseTopic(c.Topic)
	if err != nil {
		return nil, fmt.Errorf("topic: %w", err)
	}
	return &encoder{
		qos: byte(c.QoS), retain: c.Retain, expiry: uint32(c.expirySeconds()), tenant: c.Tenant,
		template: t, root: c.Topic[0], perLabel: strings.Contains(c.Topic, "{label:"), inTopic: labelsOf(c.Topic), id: c.IDIn == "user-property", labels: c.LabelsIn == "user-property",
		live: c.Drain.Priority == bridge.LiveFirst,
	}, nil
}

// parseTopic checks the part of a topic that does not come from messages.
func parseTopic(text string) (bridge.Template, error) {
	if text == "" {
		return bridge.Template{}, errors.New("empty, want a topic such as factory/{entry}")
	}
	if strings.ContainsAny(text, "+#\x00") || strings.Contains(text, "//") || strings.HasSuffix(text, "/") {
		return bridge.Template{}, fmt.Errorf("%q, want no +, #, NUL or empty level", text)
	}
	if err := checkText([]byte(text)); err != nil {
		return bridge.Template{}, err
	}
	return bridge.ParseTemplate(text)
}

// labelsOf returns the names of the labels that a topic needs, which ParseTemplate has taken.
func labelsOf(topic string) (names []string) {
	for {
		_, after, found := strings.Cut(topic, "{label:")
		if !found {
			return names
		}
		name, rest, _ := strings.Cut(after, "}")
		names, topic = append(names, name), rest
	}
}

// publish appends the PUBLISH of m. An error means that m can never be sent like this, and nothing was appended.
func (e *encoder) publish(dst []byte, f *session.Frame, stream string, m *bridge.Message, most int) ([]byte, error) {
	if err := e.makeTopic(f.Row, stream, m); err != nil {
		return dst, err
	}
	if err := e.makeProps(f, stream, m); err != nil {
		return dst, err
	}
	remaining := 2 + len(e.topic) + sizeOfLength(len(e.props)) + len(e.props) + len(m.Payload)
	if e.qos > 0 {
		remaining += 2
	}
	size, reserve := 1+sizeOfLength(remaining)+remaining, markSize
	if mark := cause(f, m); mark != "" {
		reserve = maxCause - len(mark)
	}
	if e.live && e.id && !late(f, m) {
		reserve += lateSize
	}
	if remaining+reserve > maxRemaining || most > 0 && size+reserve > most {
		if most == 0 {
			most = maxRemaining
		}
		return dst, fmt.Errorf("message of %d B is too large: a packet may have %d B, %d of them kept for what it is marked with when it is sent again",
			size, most, reserve)
	}
	head := byte(0x30 | e.qos<<1)
	if f.Dup && e.qos > 0 {
		head |= 8
	}
	if e.retain {
		head |= 1
	}
	dst = append(dst, head)
	dst = binary.AppendUvarint(dst, uint64(remaining)) // the same encoding
	dst = appendString(dst, e.topic)
	if e.qos > 0 {
		dst = binary.BigEndian.AppendUint16(dst, f.ID)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.props)))
	dst = append(dst, e.props...)
	return append(dst, m.Payload...), nil
}

func pubrel(dst []byte, id uint16) []byte {
	return binary.BigEndian.AppendUint16(append(dst, 0x62, 2), id)
}

// makeTopic fills e.topic. What messages bring along is not trusted: a broker may close the connection on a bad topic, again and again.
func (e *encoder) makeTopic(row uint64, stream string, m *bridge.Message) (err error) {
	if !e.perLabel && len(m.Topic) == 0 && row == e.topicRow && row != 0 {
		return nil
	}
	e.topicRow = 0
	if err := e.checkLabels(m); err != nil {
		return fmt.Errorf("topic: %w", err)
	}
	if e.topic, err = e.template.Append(e.topic[:0], stream, e.tenant, m); err != nil {
		return fmt.Errorf("topic: %w", err)
	}
	if len(m.Topic) > 0 {
		if m.Topic[0] != '/' {
			e.topic = append(e.topic, '/')
		}
		e.topic = append(e.topic, m.Topic...)
	}
	if err := e.checkTopic(); err != nil {
		return fmt.Errorf("topic %q: %w", e.topic[:min(len(e.topic), 200)], err)
	}
	if !e.perLabel && len(m.Topic) == 0 {
		e.topicRow = row
	}
	return nil
}

// checkLabels keeps a label in the level of the topic that the configuration gives it: it chooses a name there, not the tree.
func (e *encoder) checkLabels(m *bridge.Message) error {
	for i := range m.Labels {
		l := &m.Labels[i]
		if bytes.IndexByte(l.Value, '/') >= 0 && slices.Contains(e.inTopic, string(l.Name)) {
			return fmt.Errorf("value %q of label %s has a /", l.Value[:min(len(l.Value), 200)], l.Name)
		}
	}
	return nil
}

// checkTopic wants a topic name as the specification does (4.7), and no empty level but the first: that one only the configuration can make,
// as it alone can choose one of the broker's own trees ($SYS, $share).
func (e *encoder) checkTopic() error {
	t := e.topic
	if len(t) == 0 || len(t) > maxString {
		return fmt.Errorf("%d B, want 1..%d", len(t), maxString)
	}
	if t[0] != e.root && (t[0] == '$' || t[0] == '/') {
		return fmt.Errorf("begins with %c, which the configured topic does not", t[0])
	}
	for i, b := range t {
		switch {
		case b == '+' || b == '#':
			return fmt.Errorf("has a wildcard %c", b)
		case b == '/' && i > 0 && (i+1 == len(t) || t[i-1] == '/'):
			return errors.New("has an empty level")
		}
	}
	return checkText(t)
}

func (e *encoder) makeProps(f *session.Frame, stream string, m *bridge.Message) (err error) {
	e.props = e.props[:0]
	if e.expiry > 0 {
		e.props = binary.BigEndian.AppendUint32(append(e.props, propExpiry), e.expiry)
	}
	if len(m.ContentType) > 0 {
		if err := checkString(m.ContentType); err != nil {
			return fmt.Errorf("content type: %w", err)
		}
		e.props = appendString(append(e.props, propContentType), m.ContentType)
	}
	if e.labels {
		for i := range m.Labels {
			l := &m.Labels[i]
			if err := checkString(l.Name); err != nil {
				return fmt.Errorf("name of label %q: %w", l.Name[:min(len(l.Name), 200)], err)
			}
			if err := checkString(l.Value); err != nil {
				return fmt.Errorf("value of label %s: %w", l.Name, err)
			}
			e.props = appendString(append(e.props, propUser), l.Name)
			e.props = appendString(e.props, l.Value)
		}
	}
	if e.id {
		if err := e.makeID(f, stream, m); err != nil {
			return err
		}
	}
	if mark := cause(f, m); mark != "" {
		e.props = appendString(append(e.props, propUser), nameMark)
		e.props = appendString(e.props, mark)
	}
	return nil
}

// late reports whether a message comes after a newer one: of its stream when it was taken in, or of its lane on the way out.
func late(f *session.Frame, m *bridge.Message) bool { return f.Late || m.Flags&bridge.Late != 0 }

func (e *encoder) makeID(f *session.Frame, stream string, m *bridge.Message) error {
	e.scratch = m.AppendID(e.scratch[:0], stream)
	if err := checkString(e.scratch); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	e.props = appendString(append(e.props, propUser), nameID)
	e.props = appendString(e.props, e.scratch)
	e.scratch = strconv.AppendInt(e.scratch[:0], m.Time, 10)
	e.props = appendString(append(e.props, propUser), nameTime)
	e.props = appendString(e.props, e.scratch)
	if late(f, m) {
		e.props = appendString(append(e.props, propUser), nameLate)
		e.props = appendString(e.props, "true")
	}
	return nil
}

func appendString[T string | []byte](dst []byte, s T) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

func sizeOfLength(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<21:
		return 3
	}
	return 4
}

func checkString(s []byte) error {
	if len(s) > maxString {
		return fmt.Errorf("%d B, want at most %d", len(s), maxString)
	}
	return checkText(s)
}

// checkText wants text that no broker closes the connection on: UTF-8 without control characters and noncharacters (1.5.4).
func checkText(s []byte) error {
	for i := 0; i < len(s); {
		if b := s[i]; b >= 0x20 && b < 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRune(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return fmt.Errorf("is not UTF-8 at byte %d", i)
		case r < 0x20 || r >= 0x7f && r < 0xa0:
			return fmt.Errorf("has the control character U+%04X", r)
		case r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef:
			return fmt.Errorf("has the noncharacter U+%04X", r)
		}
		i += n
	}
	return nil
}

package main

import (
	"errors"
	"hash/fnv"
	"math"
	"strconv"
	"strings"

	"github.com/sluicebridge/sluice/wasm-modules/reading"
	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// settings are the module's configuration, times in microseconds.
type settings struct {
	reading.Reader
	fields                        []field
	key                           int // its source, -1 = the stream is one
	keyText                       string
	dropMissing                   bool
	width, lateness, revise, idle int64
	labels                        bool // are what is given out, and not a payload
	time                          string
	alarm                         alarm
	limit                         int // most keys at once
}

// field is a source whose values are gathered.
type field struct {
	source int
	hash   uint64 // of its text: what a state knows it by
	prints []print
}

// print is one value that is given out.
type print struct {
	stat stat
	name string
}

// stat is what is made of a window's values.
type stat byte

const (
	last stat = iota
	least
	most
	mean
	count
)

var stats = [...]string{"last", "min", "max", "mean", "count"}

// alarm is a field and the range in which there is none.
type alarm struct {
	field        int // -1 = there never is
	of           stat
	below, above float64
}

// Bounds of what is remembered.
const (
	maxKey    = 64 // bytes
	maxLast   = 32 // bytes of a value
	maxFields = 32
	maxKeys   = 4096
	// maxState is what the keys of one configuration may take. It is half of what the host stores: the windows of the configuration before may be in it, too.
	maxState = 512 << 10
)

func readSettings(config sluice.JSON) (*settings, error) {
	s := &settings{key: -1, alarm: alarm{field: -1}}
	if err := errors.Join(s.readKey(config), s.readFields(config), s.readTimes(config), s.readChoices(config), s.readAlarm(config)); err != nil {
		return s, err
	}
	windows := int((s.lateness+s.revise)/s.width) + 2
	s.limit = min(maxKeys, (maxState-headSize-8*maxFields)/(groupSize+maxKey+windows*(windowSize+len(s.fields)*(tallySize+maxLast))))
	if s.limit < 1 {
		return s, errors.New("window: lateness and revise keep " + strconv.Itoa(windows) + " windows of a key, which is more than a state holds")
	}
	return s, nil
}

func (s *settings) readKey(config sluice.JSON) (err error) {
	if s.keyText = config.Get("key").Text(); s.keyText == "" {
		return nil
	}
	if s.key, err = s.Add(s.keyText); err != nil {
		return errors.New("key: " + err.Error())
	}
	return nil
}

func (s *settings) readFields(config sluice.JSON) error {
	var bad []error
	names := map[string]bool{"start": true, "end": true, "alarm": true, "revision": true}
	if s.key >= 0 && len(s.Sources) > 0 {
		names[s.Sources[s.key].Name] = true
	}
	config.Get("fields").Elements(func(value sluice.JSON) bool {
		text, made, _ := strings.Cut(value.Text(), "|")
		source, err := s.Add(text)
		if err != nil {
			bad = append(bad, errors.New("fields: "+err.Error()))
			return true
		}
		hash := fnv.New64a()
		hash.Write([]byte(text))
		f := field{source: source, hash: hash.Sum64()}
		if made == "" {
			made = stats[last]
		}
		for _, name := range strings.Split(made, ",") {
			st, ok := statOf(name)
			if !ok {
				bad = append(bad, errors.New("fields: "+text+"|"+made+", want last, min, max, mean or count behind the bar"))
				return true
			}
			p := print{st, s.Sources[source].Name}
			if st != last {
				p.name += "_" + name
			}
			if names[p.name] {
				bad = append(bad, errors.New("fields: two values are called "+p.name))
			}
			names[p.name] = true
			f.prints = append(f.prints, p)
		}
		s.fields = append(s.fields, f)
		return true
	})
	if n := len(s.fields); (n == 0 || n > maxFields) && bad == nil {
		bad = append(bad, errors.New("fields: want 1 to 32 of them"))
	}
	return errors.Join(bad...)
}

func statOf(name string) (stat, bool) {
	for i, s := range stats {
		if s == name {
			return stat(i), true
		}
	}
	return 0, false
}

func (s *settings) readTimes(config sluice.JSON) error {
	for _, t := range []struct {
		key, without string
		into         *int64
	}{{"window", "1m", &s.width}, {"lateness", "5s", &s.lateness}, {"revise", "1m", &s.revise}, {"idle", "1h", &s.idle}} {
		text := t.without
		if value := config.Get(t.key); value != nil {
			text = value.Text()
		}
		us, err := sluice.Microseconds(text)
		if err != nil {
			return errors.New(t.key + ": " + err.Error())
		}
		*t.into = us
	}
	if s.width < 1000 {
		return errors.New("window: too short, want 1ms or more")
	}
	if s.idle > 0 && s.idle < s.lateness {
		return errors.New("idle: shorter than lateness")
	}
	return nil
}

func (s *settings) readChoices(config sluice.JSON) error {
	output, err := reading.Choice(config, "output", "json labels")
	missing, err2 := reading.Choice(config, "missing", "park drop")
	time, err3 := reading.Choice(config, "time", "start end record")
	s.labels, s.dropMissing, s.time = output == "labels", missing == "drop", time
	return errors.Join(err, err2, err3)
}

func (s *settings) readAlarm(config sluice.JSON) error {
	text := config.Get("alarm_field").Text()
	if text == "" {
		return nil
	}
	a := &s.alarm
	if of := config.Get("alarm_of"); of != nil {
		ok := false
		if a.of, ok = statOf(of.Text()); !ok || a.of == count {
			return errors.New("alarm_of: " + of.Text() + ", want last, min, max or mean")
		}
	}
	var below, above bool
	a.below, below = config.Get("alarm_below").Float()
	a.above, above = config.Get("alarm_above").Float()
	if !below && !above {
		return errors.New("alarm_field: want alarm_below or alarm_above beside it")
	}
	if !below {
		a.below = math.Inf(-1)
	}
	if !above {
		a.above = math.Inf(1)
	}
	hash := fnv.New64a()
	hash.Write([]byte(text))
	for i := range s.fields {
		if s.fields[i].hash == hash.Sum64() {
			a.field = i
			return nil
		}
	}
	return errors.New("alarm_field: " + text + ", want one of fields")
}

// keyOf returns the key of the record that was read.
func (s *settings) keyOf() (key []byte, found bool) {
	if s.key < 0 {
		return nil, true
	}
	key = s.Values[s.key]
	return key, key != nil
}

package main

import (
	"errors"
	"math"
	"strings"

	"github.com/sluicebridge/sluice/wasm-modules/reading"
	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// settings are the module's configuration, ready for use.
type settings struct {
	format, order         string
	scale                 float64
	rate, speed           quantity
	features              []feature
	bands                 []band
	hann                  bool
	bearing               []line
	envelope              band
	tolerance             float64
	harmonics             int
	labels                bool
	payload, missing      string
	digits                int
	tables                int    // bytes that those of all lengths may take
	names                 []name // of all values, in their order
	needsRate, needsSpeed bool
}

// quantity is a number from a label, or a fixed one.
type quantity struct {
	label sluice.Name
	text  string // name of the label, empty = none
	fixed float64
	times float64
}

// of is what a record says; 0 = nothing that could be used.
func (q *quantity) of(r sluice.Record) float64 {
	if q.text != "" {
		if text := q.label.In(r); text != nil {
			v, ok := sluice.Float(text)
			if !ok || v <= 0 {
				return 0
			}
			return v * q.times
		}
	}
	return q.fixed * q.times
}

// band is frequencies, Hz: from the first to below the second.
type band struct {
	from, to float64
}

// line is a frequency of a bearing: its name, and how often it happens in a turn of the shaft.
type line struct {
	name  string
	order float64
}

// name is what a value is called, as a label and as the key of an object with what stands before it.
type name struct {
	label []byte
	key   []byte
}

func (s *settings) name(prefix, text string) {
	key := []byte{','}
	if len(s.names) == 0 {
		key[0] = '{'
	}
	s.names = append(s.names, name{[]byte(prefix + text), append(sluice.AppendString(key, []byte(prefix+text)), ':')})
}

func readSettings(config sluice.JSON) (*settings, error) {
	s := &settings{tolerance: 0.02, harmonics: 1, digits: 6}
	err := errors.Join(s.readChoices(config), s.readNumbers(config), s.readFeatures(config), s.readBands(config), s.readBearing(config), s.readEnvelope(config))
	if err != nil {
		return s, err
	}
	prefix := config.Get("prefix").Text()
	for _, f := range s.features {
		s.name(prefix, features[f])
	}
	config.Get("bands").Members(func(key, _ sluice.JSON) bool {
		s.name(prefix, "energy_"+key.Text())
		return true
	})
	for _, l := range s.bearing {
		s.name(prefix, l.name)
		s.name(prefix, l.name+"_hz")
		for h := 2; h <= s.harmonics; h++ {
			s.name(prefix, l.name+"_"+string(sluice.AppendInt(nil, int64(h))))
		}
	}
	s.labels = string(config.Get("labels")) == "true"
	s.needsSpeed = len(s.bearing) > 0
	s.needsRate = len(s.bands) > 0 || s.needsSpeed
	return s, s.check()
}

func (s *settings) check() error {
	switch {
	case len(s.names) == 0:
		return errors.New("features: none, and no bands and no bearing")
	case s.needsRate && s.rate.text == "" && s.rate.fixed == 0:
		return errors.New("rate: missing, or rate_label: bands and bearing need it")
	case s.needsSpeed && s.speed.text == "" && s.speed.fixed == 0:
		return errors.New("speed: missing, or speed_label: bearing needs it")
	case !s.labels && s.payload != "json":
		return errors.New("payload: " + s.payload + ", want json, or labels = true")
	}
	return nil
}

func (s *settings) readChoices(config sluice.JSON) error {
	var bad []error
	window := ""
	for _, c := range []struct {
		key, choices string
		into         *string
	}{
		{"format", "f32 f64 i16", &s.format}, {"order", "little big", &s.order}, {"window", "hann boxcar", &window},
		{"payload", "json keep none", &s.payload}, {"missing", "park drop null", &s.missing},
	} {
		value, err := reading.Choice(config, c.key, c.choices)
		*c.into, bad = value, append(bad, err)
	}
	s.hann = window == "hann"
	return errors.Join(bad...)
}

func (s *settings) readNumbers(config sluice.JSON) error {
	harmonics, digits, tables := 1.0, 6.0, 8.0
	for _, c := range []struct {
		key         string
		least, most float64
		without     float64
		into        *float64
	}{
		{"scale", -math.MaxFloat64, math.MaxFloat64, 1, &s.scale}, {"rate", 0, 1e12, 0, &s.rate.fixed}, {"speed", 0, 1e9, 0, &s.speed.fixed},
		{"speed_ratio", 0, 1e6, 1, &s.speed.times}, {"tolerance", 0, 0.5, 0.02, &s.tolerance}, {"harmonics", 1, 10, 1, &harmonics}, {"digits", 1, 17, 6, &digits}, {"tables", 1, 512, 8, &tables},
	} {
		*c.into = c.without
		if value := config.Get(c.key); value != nil {
			v, ok := value.Float()
			if !ok || v < c.least || v > c.most {
				return errors.New(c.key + ": " + string(value) + ", want " + string(sluice.AppendFloat(nil, c.least, -1)) + " to " + string(sluice.AppendFloat(nil, c.most, -1)))
			}
			*c.into = v
		}
	}
	s.harmonics, s.digits, s.tables, s.rate.times = int(harmonics), int(digits), int(tables)<<20, 1
	for _, q := range []struct {
		key  string
		into *quantity
	}{{"rate_label", &s.rate}, {"speed_label", &s.speed}} {
		q.into.text = config.Get(q.key).Text()
		q.into.label = sluice.NewName(q.into.text)
	}
	if s.scale == 0 || s.speed.times == 0 {
		return errors.New("scale, speed_ratio: 0, want another number")
	}
	return nil
}

func (s *settings) readFeatures(config sluice.JSON) (err error) {
	list := config.Get("features")
	if list == nil {
		s.features = []feature{rms, peak, crest, skewness, kurtosis}
	}
	list.Elements(func(value sluice.JSON) bool {
		for i, text := range features {
			if text == value.Text() {
				s.features = append(s.features, feature(i))
				return true
			}
		}
		err = errors.New("features: " + string(value) + ", want some of " + strings.Join(features[:], " "))
		return false
	})
	return err
}

func (s *settings) readBands(config sluice.JSON) (err error) {
	config.Get("bands").Members(func(key, value sluice.JSON) bool {
		b, ok := bandOf(value)
		if !ok || key.Text() == "" {
			err = errors.New("bands: " + key.Text() + " = " + string(value) + ", want a name = [from, to], Hz")
		}
		s.bands = append(s.bands, b)
		return err == nil
	})
	if len(s.bands) > 64 {
		return errors.New("bands: more than 64")
	}
	return err
}

func (s *settings) readEnvelope(config sluice.JSON) error {
	s.envelope = band{0, math.Inf(1)}
	value := config.Get("envelope_band")
	if value == nil {
		return nil
	}
	b, ok := bandOf(value)
	if !ok {
		return errors.New("envelope_band: " + string(value) + ", want [from, to], Hz")
	}
	s.envelope = b
	return nil
}

func bandOf(value sluice.JSON) (b band, ok bool) {
	var ends []float64
	ok = true
	value.Elements(func(v sluice.JSON) bool {
		end, is := v.Float()
		ends, ok = append(ends, end), ok && is
		return true
	})
	if !ok || len(ends) != 2 || ends[0] < 0 || ends[1] <= ends[0] {
		return b, false
	}
	return band{ends[0], ends[1]}, true
}

package main

import (
	"errors"
	"hash/fnv"
	"math"
	"strings"

	"github.com/sluicebridge/sluice/wasm-modules/reading"
	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// settings are the module's configuration.
type settings struct {
	reading.Reader
	fields  []field
	key     int    // its source, -1 = the stream is one
	silence int64  // microseconds; 0 = no limit
	layout  uint64 // of the state: a hash of key and fields
	limit   int    // most keys at once
}

// field is a source whose values are compared.
type field struct {
	source  int
	band    float64 // how far a number may be from the one sent last
	percent float64 // the same as a part of that one
}

const maxFields = 32

func readSettings(config sluice.JSON) (*settings, error) {
	s, hash := &settings{key: -1}, fnv.New64a()
	var bad []error
	config.Get("fields").Elements(func(value sluice.JSON) bool {
		name, band, _ := strings.Cut(value.Text(), "|")
		f, err := s.field(name, band)
		if err != nil {
			bad = append(bad, errors.New("fields: "+err.Error()))
		}
		s.fields = append(s.fields, f)
		hash.Write([]byte(name + "\n"))
		return true
	})
	if n := len(s.fields); n == 0 || n > maxFields {
		bad = append(bad, errors.New("fields: want 1 to 32 of them"))
	}
	if key := config.Get("key").Text(); key != "" {
		var err error
		if s.key, err = s.Add(key); err != nil {
			bad = append(bad, errors.New("key: "+err.Error()))
		}
		hash.Write([]byte(key))
	}
	if value := config.Get("max_silence"); value != nil {
		var err error
		if s.silence, err = sluice.Microseconds(value.Text()); err != nil {
			bad = append(bad, errors.New("max_silence: "+err.Error()))
		}
	}
	s.layout = hash.Sum64()
	s.limit = min(maxKeys, (maxState-stateHead)/(keyHead+maxText+len(s.fields)*(1+maxText)))
	return s, errors.Join(bad...)
}

// field reads a source and its deadband: a number, or a percentage.
func (s *settings) field(name, band string) (f field, err error) {
	if f.source, err = s.Add(name); err != nil || band == "" {
		return f, err
	}
	number, relative := strings.CutSuffix(band, "%")
	v, ok := sluice.Float([]byte(number))
	if !ok || v < 0 {
		return f, errors.New(name + "|" + band + ", want a deadband of 0 or more such as 0.5 or 2%")
	}
	if relative {
		f.percent = v / 100
	} else {
		f.band = v
	}
	return f, nil
}

// apart reports whether two numbers are further from one another than the deadband.
func (f *field) apart(before, now float64) bool {
	return math.Abs(now-before) > max(f.band, f.percent*math.Abs(before))
}

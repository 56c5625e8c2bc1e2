package main

import (
	"errors"
	"math"
	"math/bits"
	"runtime"
	"strconv"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// feature is one that needs no spectrum.
type feature byte

const (
	mean feature = iota
	rms
	peak
	crest
	skewness
	kurtosis
)

var features = [...]string{"mean", "rms", "peak", "crest", "skewness", "kurtosis"}

// conditions are a record's sample rate and shaft speed, Hz; 0 where there is none, and what a person has to know then.
func (s *settings) conditions(r sluice.Record) (rate, speed float64, lacks string) {
	if s.needsRate {
		if rate = s.rate.of(r); rate == 0 {
			lacks = "no sample rate: label " + s.rate.text
		}
	}
	if s.needsSpeed {
		if speed = s.speed.of(r) / 60; speed == 0 {
			lacks = "no speed: label " + s.speed.text
		}
	}
	return rate, speed, lacks
}

// analysis computes the values of one waveform after the other. Its zero value is ready.
type analysis struct {
	wave    []float64
	spectra []*spectrum // of the lengths that came
	kept    int         // bytes of their tables
}

// of appends the values of a payload, in the order of the settings' names. What cannot be had is NaN.
func (a *analysis) of(s *settings, payload []byte, rate, speed float64, values []float64) ([]float64, error) {
	size := sizes[s.format]
	if n := len(payload); n == 0 || n%size != 0 {
		return nil, errors.New("payload: " + strconv.Itoa(n) + " bytes, want numbers of " + strconv.Itoa(size) + " (" + s.format + ")")
	}
	var f sluice.Features
	if !s.needsRate && s.format == "f32" && s.order == "little" && s.scale == 1 {
		f = sluice.FeaturesF32(sluice.F32(payload)) // where it lies
	} else {
		a.wave = s.decode(a.wave, payload)
		f = sluice.FeaturesF64(a.wave)
	}
	for _, want := range s.features {
		values = append(values, [...]float64{f.Mean, f.RMS, f.Peak, f.Crest, f.Skewness, f.Kurtosis}[want])
	}
	if !s.needsRate {
		return values, nil
	}
	sp, err := a.spectrum(s, len(a.wave))
	if err != nil {
		return nil, err
	}
	lines := float64(sp.n) / rate // of a Hz; infinite without a rate
	if len(s.bands) > 0 {
		spectral := sp.of(a.wave, f.Mean, sp.window)
		for _, b := range s.bands {
			if rate == 0 {
				values = append(values, math.NaN())
				continue
			}
			values = append(values, sp.energy(spectral, lineFrom(b.from*lines, sp.n), lineFrom(b.to*lines, sp.n)))
		}
	}
	if s.needsSpeed {
		values = s.bearingLines(sp, a.wave, f.Mean, lines, speed, values)
	}
	return values, nil
}

// lineFrom is the first line at a place or above, at most n.
func lineFrom(place float64, n int) int { return int(math.Ceil(min(place, float64(n)))) }

// spectrum returns the tables for a length. Those of others are kept as long as all fit. What does not fit is said here: Go has no other end for a
// memory that is used up than the instance's, whose words nobody could make sense of.
func (a *analysis) spectrum(s *settings, n int) (*spectrum, error) {
	for _, sp := range a.spectra {
		if sp.n == n {
			return sp, nil
		}
	}
	need := sizeOfSpectrum(n, s.needsSpeed)
	if need > s.tables {
		return nil, errors.New("payload: the tables for " + strconv.Itoa(n) + " samples take " + mebibytes(need) + " MiB, want at most tables = " + mebibytes(s.tables) +
			" (more needs more memory of the module; a power of two takes least)")
	}
	if a.kept+need > s.tables {
		a.spectra, a.kept = nil, 0
		runtime.GC() // or old and new would be in the memory together
	}
	a.kept += need
	a.spectra = append(a.spectra, newSpectrum(n, s.hann, s.needsSpeed))
	return a.spectra[len(a.spectra)-1], nil
}

func mebibytes(n int) string { return strconv.Itoa((n + 1<<20 - 1) >> 20) }

// bearingLines appends, for each frequency of the bearing, the amplitude of the envelope's largest line near it, where that is, and the amplitudes near its multiples.
func (s *settings) bearingLines(sp *spectrum, wave []float64, mean, lines, speed float64, values []float64) []float64 {
	last := (sp.n - 1) / 2 // the line below half the sample rate
	known := speed > 0 && !math.IsInf(lines, 0) && last > 0
	var spectral []complex128
	if known {
		envelope, level := sp.demodulate(wave, mean, lineFrom(s.envelope.from*lines, sp.n), lineFrom(s.envelope.to*lines, sp.n))
		spectral = sp.of(envelope, level, sp.window)
	}
	for _, l := range s.bearing {
		for h := 1; h <= s.harmonics; h++ {
			amplitude, at := math.NaN(), math.NaN()
			if place := float64(h) * l.order * speed * lines; known && math.Round(place) <= float64(last) {
				from, to := lineFrom(place*(1-s.tolerance), sp.n), int(place*(1+s.tolerance))+1
				if from >= to { // the lines are further apart than that
					from = int(math.Round(place))
					to = from + 1
				}
				top, line := sp.peak(spectral, max(from, 1), max(min(to, last+1), 2))
				amplitude, at = top, float64(line)/lines
			}
			if values = append(values, amplitude); h == 1 {
				values = append(values, at)
			}
		}
	}
	return values
}

var sizes = map[string]int{"f32": 4, "f64": 8, "i16": 2}

// decode makes the payload's numbers float64.
func (s *settings) decode(into []float64, payload []byte) []float64 {
	n := len(payload) / sizes[s.format]
	if cap(into) < n {
		into = make([]float64, n)
	}
	into = into[:n]
	switch s.format {
	case "f32":
		if wave := sluice.F32(payload); s.order == "little" {
			widen(into, wave, s.scale)
		} else {
			for i, v := range wave {
				into[i] = float64(math.Float32frombits(bits.ReverseBytes32(math.Float32bits(v)))) * s.scale
			}
		}
	case "f64":
		if wave := sluice.F64(payload); s.order == "little" {
			widen(into, wave, s.scale)
		} else {
			for i, v := range wave {
				into[i] = math.Float64frombits(bits.ReverseBytes64(math.Float64bits(v))) * s.scale
			}
		}
	default:
		if wave := sluice.I16(payload); s.order == "little" {
			widen(into, wave, s.scale)
		} else {
			for i, v := range wave {
				into[i] = float64(int16(bits.ReverseBytes16(uint16(v)))) * s.scale
			}
		}
	}
	return into
}

// widen takes eight values a turn, each of which is metered.
func widen[T float32 | float64 | int16](into []float64, wave []T, scale float64) {
	for ; len(wave) >= 8 && len(into) >= 8; wave, into = wave[8:], into[8:] {
		v, to := (*[8]T)(wave), (*[8]float64)(into)
		to[0], to[1], to[2], to[3] = float64(v[0])*scale, float64(v[1])*scale, float64(v[2])*scale, float64(v[3])*scale
		to[4], to[5], to[6], to[7] = float64(v[4])*scale, float64(v[5])*scale, float64(v[6])*scale, float64(v[7])*scale
	}
	for i, v := range wave {
		into[i] = float64(v) * scale
	}
}
